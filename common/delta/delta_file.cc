#include "common/delta/delta_file.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr uint8_t kPartnerBit = 0x80;

absl::StatusOr<Hash256> TakeHash(DeltaReader* reader) {
  Hash256 hash;
  ASSIGN_OR_RETURN(const auto bytes, reader->Bytes(hash.size()));
  std::ranges::copy(bytes, hash.begin());
  return hash;
}

absl::Status CheckHeader(const DeltaHeader& header) {
  if (header.window < kMinDeltaWindow || header.window > kMaxDeltaWindow) {
    return absl::DataLossError(absl::StrFormat("delta: expected a window of %d to %d bytes, got %d",
                                               kMinDeltaWindow, kMaxDeltaWindow, header.window));
  }
  const auto check_head = [](uint64_t head, uint64_t file) {
    const uint64_t most = std::min(file, kMaxDeltaHead);
    if (head <= most) return absl::OkStatus();
    return absl::DataLossError(
        absl::StrFormat("delta: expected a head of at most %d bytes, got %d", most, head));
  };
  RETURN_IF_ERROR(check_head(header.old_head, header.old_bytes));
  return check_head(header.new_head, header.new_bytes);
}

// Where in the old file a span's partner lies; `*end` is where the one before ended.
absl::Status TakePartner(DeltaReader* reader, uint64_t old_bytes, uint64_t* end, DeltaSpan* span) {
  ASSIGN_OR_RETURN(const int64_t step, reader->SignedVarint());
  // Modulo 2^64; what came out is checked, whatever it is.
  const uint64_t offset = *end + static_cast<uint64_t>(step);
  if (offset > old_bytes || span->bytes > old_bytes - offset) {
    return absl::DataLossError(
        absl::StrFormat("delta: expected old bytes inside the %d there are, got %d + %d", old_bytes,
                        offset, span->bytes));
  }
  span->partner = offset;
  *end = offset + span->bytes;
  return absl::OkStatus();
}

}  // namespace

void AppendHeader(const DeltaHeader& header, std::string* out) {
  out->append(kDeltaMagic);
  AppendNumber(header.window, 4, out);
  AppendNumber(header.old_bytes, 8, out);
  out->append(AsChars(header.old_hash));
  AppendNumber(header.new_bytes, 8, out);
  out->append(AsChars(header.new_hash));
  AppendNumber(header.old_head, 8, out);
  AppendNumber(header.new_head, 8, out);
}

absl::StatusOr<DeltaHeader> ParseDeltaHeader(std::span<const uint8_t> bytes) {
  DeltaReader reader(bytes);
  ASSIGN_OR_RETURN(const auto magic, reader.Bytes(kDeltaMagic.size()));
  if (AsChars(magic) != kDeltaMagic) {
    return absl::DataLossError(
        absl::StrFormat("delta: expected a file that begins with %s", kDeltaMagic));
  }
  DeltaHeader header;
  ASSIGN_OR_RETURN(const uint64_t window, reader.Number(4));
  header.window = static_cast<uint32_t>(window);
  ASSIGN_OR_RETURN(header.old_bytes, reader.Number(8));
  ASSIGN_OR_RETURN(header.old_hash, TakeHash(&reader));
  ASSIGN_OR_RETURN(header.new_bytes, reader.Number(8));
  ASSIGN_OR_RETURN(header.new_hash, TakeHash(&reader));
  ASSIGN_OR_RETURN(header.old_head, reader.Number(8));
  ASSIGN_OR_RETURN(header.new_head, reader.Number(8));
  RETURN_IF_ERROR(CheckHeader(header));
  return header;
}

const BlockLayout* LayoutOfKind(uint8_t kind) {
  if (kind == 0) return &PlainLayout();
  const TensorTypeTraits* const traits = FindTensorType(kind - 1u);
  return traits == nullptr ? nullptr : &LayoutOf(traits->type);
}

std::string SerializeSpans(std::span<const DeltaSpan> spans) {
  std::string list;
  uint64_t end = 0;
  for (const DeltaSpan& span : spans) {
    list.push_back(static_cast<char>(span.kind | (span.partner ? kPartnerBit : 0)));
    AppendVarint(span.bytes, &list);
    if (!span.partner) continue;
    AppendSignedVarint(static_cast<int64_t>(*span.partner - end), &list);
    end = *span.partner + span.bytes;
  }
  return list;
}

absl::StatusOr<std::vector<DeltaSpan>> ParseSpans(std::span<const uint8_t> list, uint64_t count,
                                                  const DeltaHeader& header) {
  DeltaReader reader(list);
  std::vector<DeltaSpan> spans;
  uint64_t left = header.new_bytes - header.new_head, end = 0;
  for (uint64_t i = 0; i < count; ++i) {
    DeltaSpan& span = spans.emplace_back();
    ASSIGN_OR_RETURN(const uint8_t kind, reader.Byte());
    span.kind = kind & static_cast<uint8_t>(~kPartnerBit);
    const BlockLayout* const layout = LayoutOfKind(span.kind);
    if (layout == nullptr) {
      return absl::DataLossError(
          absl::StrFormat("delta: expected the kind of a span, got %d", span.kind));
    }
    ASSIGN_OR_RETURN(span.bytes, reader.Varint());
    if (span.bytes == 0 || span.bytes > left || span.bytes % layout->block_bytes != 0) {
      return absl::DataLossError(
          absl::StrFormat("delta: expected a span of whole blocks of %d bytes, at most %d, got %d",
                          layout->block_bytes, left, span.bytes));
    }
    left -= span.bytes;
    if ((kind & kPartnerBit) != 0) {
      RETURN_IF_ERROR(TakePartner(&reader, header.old_bytes, &end, &span));
    }
  }
  if (left == 0 && reader.empty()) return spans;
  return absl::DataLossError("delta: expected spans that make up the new file");
}

std::vector<DeltaPiece> DeltaSegmenter::Next() {
  std::vector<DeltaPiece> pieces;
  for (uint64_t room = window_; span_ < spans_.size();) {
    const DeltaSpan& span = spans_[span_];
    const BlockLayout* const layout = LayoutOfKind(span.kind);
    const uint64_t take = std::min(span.bytes - position_, room - room % layout->block_bytes);
    if (take == 0) break;
    DeltaPiece& piece = pieces.emplace_back();
    piece.layout = layout;
    piece.bytes = take;
    if (span.partner) piece.partner = *span.partner + position_;
    room -= take;
    position_ += take;
    if (position_ < span.bytes) continue;
    ++span_;
    position_ = 0;
  }
  return pieces;
}

PlaneCursors SegmentPlanes::Cursors(uint8_t* memory) const {
  PlaneCursors cursors = {};
  for (int i = 0; i < kPlanes; ++i) {
    cursors[i] = memory;
    memory += sizes[i];
  }
  return cursors;
}

SegmentPlanes PlanesOf(std::span<const DeltaPiece> pieces) {
  SegmentPlanes planes;
  for (const DeltaPiece& piece : pieces) {
    AddPlaneSizes(*piece.layout, piece.bytes, &planes.sizes);
    planes.bytes += piece.bytes;
  }
  return planes;
}

}  // namespace lorikeet
