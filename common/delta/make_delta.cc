#include "common/delta/make_delta.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/atomic_file.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/delta/byte_source.h"
#include "common/delta/plane_codec.h"
#include "common/gguf/reader.h"

namespace lorikeet {
namespace {

// Where the tensors of a file lie.
struct TensorPlaces {
  std::unique_ptr<MappedFile> mapping;
  std::shared_ptr<const GgufFile> file;   // of the mapping
  uint64_t head = 0;                      // bytes before the first tensor's
  std::vector<const GgufTensor*> placed;  // by position; without empty ones

  uint64_t OffsetOf(const GgufTensor& tensor) const {
    return static_cast<uint64_t>(tensor.data.data() - mapping->bytes().data());
  }
};

absl::StatusOr<TensorPlaces> FindTensors(const std::string& path) {
  TensorPlaces places;
  ASSIGN_OR_RETURN(places.mapping, MappedFile::Open(path));
  ASSIGN_OR_RETURN(places.file, GgufFile::Parse(places.mapping->bytes(), path));
  for (const GgufTensor& tensor : places.file->tensors()) {
    if (!tensor.data.empty()) places.placed.push_back(&tensor);
  }
  std::ranges::sort(places.placed, {}, [](const GgufTensor* t) { return t->data.data(); });
  places.head = places.file->size_bytes();
  if (!places.placed.empty()) places.head = places.OffsetOf(*places.placed.front());
  if (places.head > kMaxDeltaHead) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s: a delta takes at most %d bytes before the tensors, got %d", path,
                        kMaxDeltaHead, places.head));
  }
  return places;
}

// All that follows the head of the new file.
absl::StatusOr<std::vector<DeltaSpan>> PlanSpans(const TensorPlaces& old_file,
                                                 const TensorPlaces& new_file, int* paired) {
  std::vector<DeltaSpan> spans;
  uint64_t position = new_file.head;
  for (const GgufTensor* tensor : new_file.placed) {
    const uint64_t offset = new_file.OffsetOf(*tensor);
    if (offset < position) {
      return absl::FailedPreconditionError(absl::StrCat(new_file.file->path(), ": tensor ",
                                                        ToAbsl(tensor->name), " overlaps another"));
    }
    if (offset > position) spans.push_back({.kind = 0, .bytes = offset - position, .partner = {}});
    const GgufTensor* const partner = old_file.file->FindTensor(tensor->name);
    const bool fits = partner != nullptr && partner->type == tensor->type &&
                      partner->data.size() == tensor->data.size();
    spans.push_back({.kind = static_cast<uint8_t>(1 + static_cast<uint32_t>(tensor->type)),
                     .bytes = tensor->data.size(),
                     .partner = {}});
    if (fits) spans.back().partner = old_file.OffsetOf(*partner);
    *paired += fits ? 1 : 0;
    position = offset + tensor->data.size();
  }
  const uint64_t end = new_file.file->size_bytes();
  if (position < end) spans.push_back({.kind = 0, .bytes = end - position, .partner = {}});
  return spans;
}

class DeltaMaker {
 public:
  using Sink = std::function<absl::Status(std::span<const uint8_t>)>;
  DeltaMaker(const FileSource* old_file, const FileSource* new_file, const Sink* sink)
      : old_file_(old_file), new_file_(new_file), sink_(sink) {}

  absl::Status Emit(std::string_view bytes) {
    emitted_ += bytes.size();
    return (*sink_)(AsBytes(bytes));
  }
  absl::Status EmitPart(std::string_view part) {
    std::string size;
    AppendNumber(part.size(), 4, &size);
    RETURN_IF_ERROR(Emit(size));
    return Emit(part);
  }
  absl::Status Head(const DeltaHeader& header);
  absl::Status Spans(std::span<const DeltaSpan> spans);
  absl::Status Segments(std::span<const DeltaSpan> spans, const DeltaHeader& header);
  uint64_t emitted() const { return emitted_; }

 private:
  absl::Status Segment(std::span<const DeltaPiece> pieces, uint64_t offset);
  // Codes the segment in new_bytes_ against old_bytes_.
  void PackSegment(std::span<const DeltaPiece> pieces, uint8_t without_partners, std::string* out);

  const FileSource* old_file_;
  const FileSource* new_file_;
  const Sink* sink_;
  PlanePacker packer_;
  std::vector<uint8_t> old_bytes_, new_bytes_, planes_;
  uint64_t emitted_ = 0;
};

absl::Status DeltaMaker::Head(const DeltaHeader& header) {
  std::string bytes, part;
  AppendHeader(header, &bytes);
  RETURN_IF_ERROR(Emit(bytes));
  std::vector<uint8_t> old_head(header.old_head), new_head(header.new_head);
  RETURN_IF_ERROR(old_file_->Read(0, old_head));
  RETURN_IF_ERROR(new_file_->Read(0, new_head));
  packer_.PackAfter(old_head, new_head, &part);
  return EmitPart(part);
}

absl::Status DeltaMaker::Spans(std::span<const DeltaSpan> spans) {
  const std::string list = SerializeSpans(spans);
  std::string part;
  AppendVarint(spans.size(), &part);
  AppendVarint(list.size(), &part);
  packer_.PackAfter({}, AsBytes(list), &part);
  return EmitPart(part);
}

absl::Status DeltaMaker::Segments(std::span<const DeltaSpan> spans, const DeltaHeader& header) {
  DeltaSegmenter segmenter(spans, header.window);
  uint64_t offset = header.new_head;
  for (auto pieces = segmenter.Next(); !pieces.empty(); pieces = segmenter.Next()) {
    RETURN_IF_ERROR(Segment(pieces, offset));
    offset += new_bytes_.size();
  }
  return absl::OkStatus();
}

void DeltaMaker::PackSegment(std::span<const DeltaPiece> pieces, uint8_t without_partners,
                             std::string* out) {
  const SegmentPlanes planes = PlanesOf(pieces);
  planes_.resize(planes.bytes);
  PlaneCursors cursors = planes.Cursors(planes_.data());
  uint64_t at = 0;
  for (const DeltaPiece& piece : pieces) {
    SplitChange(*piece.layout, std::span(old_bytes_).subspan(at, piece.bytes),
                std::span(new_bytes_).subspan(at, piece.bytes), &cursors);
    at += piece.bytes;
  }
  out->push_back(static_cast<char>(without_partners));
  at = 0;
  for (const uint64_t size : planes.sizes) {
    if (size > 0) packer_.Pack(std::span(planes_).subspan(at, size), out);
    at += size;
  }
}

absl::Status DeltaMaker::Segment(std::span<const DeltaPiece> pieces, uint64_t offset) {
  const uint64_t bytes = PlanesOf(pieces).bytes;
  new_bytes_.resize(bytes);
  RETURN_IF_ERROR(new_file_->Read(offset, new_bytes_));
  old_bytes_.assign(bytes, 0);
  uint64_t at = 0;
  bool any_partner = false;
  for (const DeltaPiece& piece : pieces) {
    if (piece.partner) {
      any_partner = true;
      RETURN_IF_ERROR(
          old_file_->Read(*piece.partner, std::span(old_bytes_).subspan(at, piece.bytes)));
    }
    at += piece.bytes;
  }
  std::string packed;
  PackSegment(pieces, 0, &packed);
  // A difference that saves next to nothing may be larger than the bytes themselves.
  if (any_partner && packed.size() > bytes / 10 * 8) {
    std::string alone;
    std::ranges::fill(old_bytes_, uint8_t{0});
    PackSegment(pieces, 1, &alone);
    if (alone.size() < packed.size()) packed = std::move(alone);
  }
  return EmitPart(packed);
}

}  // namespace

absl::StatusOr<DeltaSummary> MakeDelta(
    const std::string& old_path, const std::string& new_path, const DeltaOptions& options,
    const std::function<absl::Status(std::span<const uint8_t>)>& sink) {
  DeltaSummary summary;
  DeltaHeader& header = summary.header;
  std::vector<DeltaSpan> spans;
  {
    // Parsed heads are not needed any more when the bytes are gone through.
    ASSIGN_OR_RETURN(const TensorPlaces old_places, FindTensors(old_path));
    ASSIGN_OR_RETURN(const TensorPlaces new_places, FindTensors(new_path));
    header.old_head = old_places.head;
    header.new_head = new_places.head;
    summary.tensors = static_cast<int>(new_places.file->tensors().size());
    ASSIGN_OR_RETURN(spans, PlanSpans(old_places, new_places, &summary.tensors_paired));
  }
  ASSIGN_OR_RETURN(const auto old_file, FileSource::Open(old_path));
  ASSIGN_OR_RETURN(const auto new_file, FileSource::Open(new_path));
  header.window = std::clamp(options.window, kMinDeltaWindow, kMaxDeltaWindow);
  header.old_bytes = old_file->size();
  header.new_bytes = new_file->size();
  ASSIGN_OR_RETURN(header.old_hash, HashOf(*old_file));
  ASSIGN_OR_RETURN(header.new_hash, HashOf(*new_file));
  DeltaMaker maker(old_file.get(), new_file.get(), &sink);
  RETURN_IF_ERROR(maker.Head(header));
  RETURN_IF_ERROR(maker.Spans(spans));
  RETURN_IF_ERROR(maker.Segments(spans, header));
  summary.bytes = maker.emitted();
  return summary;
}

absl::StatusOr<DeltaSummary> MakeDeltaFile(const std::string& old_path, const std::string& new_path,
                                           const std::string& delta_path,
                                           const DeltaOptions& options) {
  ASSIGN_OR_RETURN(const auto file, AtomicFile::Create(delta_path));
  ASSIGN_OR_RETURN(const DeltaSummary summary,
                   MakeDelta(old_path, new_path, options, [&](std::span<const uint8_t> bytes) {
                     return file->Append(AsChars(bytes));
                   }));
  RETURN_IF_ERROR(file->Commit());
  return summary;
}

}  // namespace lorikeet
