#include "common/delta/apply_delta.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/atomic_file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/delta/plane_codec.h"

namespace lorikeet {
namespace {

// No packed part is much larger than what comes out of it: a bound on what is read at once.
constexpr uint64_t MostPacked(uint64_t bytes) { return bytes + bytes / 4 + 4096; }

class DeltaApplier {
 public:
  using Sink = std::function<absl::Status(std::span<const uint8_t>)>;
  DeltaApplier(const ByteSource& old_file, const ByteSource& delta, const DeltaHeader& header,
               const Sink& sink)
      : old_file_(old_file), delta_(delta), header_(header), sink_(sink) {}

  absl::Status Run();
  Hash256 Finish() { return hasher_.Finish(); }

 private:
  absl::Status Emit(std::span<const uint8_t> bytes) {
    hasher_.Update(bytes);
    return sink_(bytes);
  }
  // Reads the next part into part_.
  absl::Status NextPart(uint64_t most);
  absl::Status Head();
  absl::StatusOr<std::vector<DeltaSpan>> Spans();
  absl::Status Segment(std::span<const DeltaPiece> pieces);
  absl::Status ReadPartners(std::span<const DeltaPiece> pieces);

  const ByteSource& old_file_;
  const ByteSource& delta_;
  const DeltaHeader& header_;
  const Sink& sink_;
  Hasher hasher_;
  PlaneUnpacker unpacker_;
  uint64_t position_ = kDeltaHeaderBytes;  // in the delta
  std::vector<uint8_t> part_, old_bytes_, new_bytes_, planes_;
};

absl::Status DeltaApplier::NextPart(uint64_t most) {
  std::array<uint8_t, 4> size_bytes;
  RETURN_IF_ERROR(delta_.Read(position_, size_bytes));
  ASSIGN_OR_RETURN(const uint64_t size, DeltaReader(size_bytes).Number(4));
  position_ += size_bytes.size();
  if (size > most || size > delta_.size() - position_) {
    return absl::DataLossError(absl::StrFormat("delta: expected a part of at most %d bytes, got %d",
                                               std::min(most, delta_.size() - position_), size));
  }
  part_.resize(size);
  RETURN_IF_ERROR(delta_.Read(position_, part_));
  position_ += size;
  return absl::OkStatus();
}

absl::Status DeltaApplier::Head() {
  RETURN_IF_ERROR(NextPart(MostPacked(header_.new_head)));
  std::vector<uint8_t> old_head(header_.old_head), new_head(header_.new_head);
  RETURN_IF_ERROR(old_file_.Read(0, old_head));
  DeltaReader reader(part_);
  RETURN_IF_ERROR(unpacker_.UnpackAfter(old_head, &reader, new_head));
  return Emit(new_head);
}

absl::StatusOr<std::vector<DeltaSpan>> DeltaApplier::Spans() {
  // A span takes at most 21 bytes of the list.
  constexpr uint64_t kMostList = kMaxDeltaSpans * 21;
  RETURN_IF_ERROR(NextPart(MostPacked(kMostList)));
  DeltaReader reader(part_);
  ASSIGN_OR_RETURN(const uint64_t count, reader.Varint());
  ASSIGN_OR_RETURN(const uint64_t length, reader.Varint());
  if (count > kMaxDeltaSpans || length > count * 21) {
    return absl::DataLossError(
        absl::StrFormat("delta: expected at most %d spans of 21 bytes, got %d in %d",
                        kMaxDeltaSpans, count, length));
  }
  std::vector<uint8_t> list(length);
  RETURN_IF_ERROR(unpacker_.UnpackAfter({}, &reader, list));
  return ParseSpans(list, count, header_);
}

absl::Status DeltaApplier::ReadPartners(std::span<const DeltaPiece> pieces) {
  uint64_t at = 0;
  for (const DeltaPiece& piece : pieces) {
    if (piece.partner) {
      RETURN_IF_ERROR(
          old_file_.Read(*piece.partner, std::span(old_bytes_).subspan(at, piece.bytes)));
    }
    at += piece.bytes;
  }
  return absl::OkStatus();
}

absl::Status DeltaApplier::Segment(std::span<const DeltaPiece> pieces) {
  const SegmentPlanes planes = PlanesOf(pieces);
  RETURN_IF_ERROR(NextPart(MostPacked(planes.bytes)));
  DeltaReader reader(part_);
  ASSIGN_OR_RETURN(const uint8_t without_partners, reader.Byte());
  old_bytes_.assign(planes.bytes, 0);
  if (without_partners == 0) RETURN_IF_ERROR(ReadPartners(pieces));
  planes_.resize(planes.bytes);
  uint64_t at = 0;
  for (const uint64_t size : planes.sizes) {
    if (size > 0) {
      RETURN_IF_ERROR(unpacker_.Unpack(&reader, std::span(planes_).subspan(at, size)));
    }
    at += size;
  }
  if (!reader.empty()) return absl::DataLossError("delta: expected a segment to end, got more");
  new_bytes_.resize(planes.bytes);
  PlaneCursors cursors = planes.Cursors(planes_.data());
  at = 0;
  for (const DeltaPiece& piece : pieces) {
    JoinChange(*piece.layout, std::span(old_bytes_).subspan(at, piece.bytes), &cursors,
               std::span(new_bytes_).subspan(at, piece.bytes));
    at += piece.bytes;
  }
  return Emit(new_bytes_);
}

absl::Status DeltaApplier::Run() {
  RETURN_IF_ERROR(Head());
  ASSIGN_OR_RETURN(const std::vector<DeltaSpan> spans, Spans());
  DeltaSegmenter segmenter(spans, header_.window);
  for (auto pieces = segmenter.Next(); !pieces.empty(); pieces = segmenter.Next()) {
    RETURN_IF_ERROR(Segment(pieces));
  }
  if (position_ == delta_.size()) return absl::OkStatus();
  return absl::DataLossError(absl::StrFormat("delta: expected %d bytes, got %d more", position_,
                                             delta_.size() - position_));
}

}  // namespace

absl::StatusOr<DeltaHeader> ReadDeltaHeader(const ByteSource& delta) {
  std::array<uint8_t, kDeltaHeaderBytes> bytes;
  if (delta.size() < bytes.size()) {
    return absl::DataLossError(
        absl::StrFormat("delta: expected at least %d bytes, got %d", bytes.size(), delta.size()));
  }
  RETURN_IF_ERROR(delta.Read(0, bytes));
  return ParseDeltaHeader(bytes);
}

absl::Status ApplyDelta(const ByteSource& old_file, const ByteSource& delta,
                        const DeltaTarget& target,
                        const std::function<absl::Status(std::span<const uint8_t>)>& sink) {
  ASSIGN_OR_RETURN(const DeltaHeader header, ReadDeltaHeader(delta));
  if (header.new_bytes != target.bytes || header.new_hash != target.hash) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "delta: expected one to %s of %d bytes, got one to %s of %d", ToHex(target.hash),
        target.bytes, ToHex(header.new_hash), header.new_bytes));
  }
  if (header.old_bytes != old_file.size()) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "delta: expected an old file of %d bytes, got %d", header.old_bytes, old_file.size()));
  }
  DeltaApplier applier(old_file, delta, header, sink);
  const absl::Status status = applier.Run();
  // What a part lacks is the delta's fault, not the caller's.
  if (absl::IsOutOfRange(status)) return absl::DataLossError(ToAbsl(Message(status)));
  RETURN_IF_ERROR(status);
  const Hash256 hash = applier.Finish();
  if (hash == target.hash) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("delta: expected to make ", ToHex(target.hash), ", got ",
                                          ToHex(hash), ": another old file, or altered bytes"));
}

absl::Status ApplyDeltaFile(const std::string& old_path, const std::string& delta_path,
                            const std::string& new_path, const DeltaTarget& target) {
  ASSIGN_OR_RETURN(const auto old_file, FileSource::Open(old_path));
  ASSIGN_OR_RETURN(const auto delta, FileSource::Open(delta_path));
  ASSIGN_OR_RETURN(const auto file, AtomicFile::Create(new_path));
  RETURN_IF_ERROR(ApplyDelta(*old_file, *delta, target, [&](std::span<const uint8_t> bytes) {
    return file->Append(AsChars(bytes));
  }));
  return file->Commit();
}

}  // namespace lorikeet
