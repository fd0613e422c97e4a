// Model deltas: what turns one GGUF file into the next, much smaller than the next one itself.
//
// A tensor of the new file is coded as its difference to the tensor of the same name, type and size
// of the old one, field by field (block_planes.h), packed by zstd (plane_codec.h); what has no
// partner, or would be larger so, is coded without one.  A delta needs no knowledge of GGUF to be
// applied: it says for each stretch where the old bytes lie.  Memory on both sides is a few windows
// and the heads of the files (all that stands before the tensor data).  Both files must be exactly
// those that the delta was made from; the new one is checked against its BLAKE2b-256.
//
// Bytes, little-endian:
//   "LKDELTA1"  8    · window u32 · old size u64 · old hash 32 · new size u64 · new hash 32
//   · old head u64 · new head u64 · size of the next part u32
//   part 1: packed(new head), coded after the old head: the first bytes of the files
//   · size u32 · part 2: count of spans (varint), length of the list (varint), packed(list)
//   then, for each segment: size u32, segment
// List: for each span of the rest of the new file, in order: kind (u8: 0 plain bytes, else 1 + the
// GGUF number of the tensor type; 0x80 is added if the old file has its partner), length (varint),
// and with a partner its offset in the old file less the end of the partner before (signed varint).
// Segment: as many bytes of the spans, whole blocks, as fit into the window; u8 1 if coded without
// partners, else 0; then each plane that has any bytes, by number.
#ifndef LORIKEET_COMMON_DELTA_DELTA_FILE_H_
#define LORIKEET_COMMON_DELTA_DELTA_FILE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/hash.h"
#include "common/delta/block_planes.h"
#include "common/delta/delta_reader.h"

namespace lorikeet {

inline constexpr std::string_view kDeltaMagic = "LKDELTA1";
inline constexpr uint64_t kDeltaHeaderBytes = 8 + 4 + 8 + 32 + 8 + 32 + 8 + 8;
inline constexpr uint32_t kMinDeltaWindow = 1 << 16;
inline constexpr uint32_t kMaxDeltaWindow = 1 << 24;
inline constexpr uint32_t kDeltaWindow = 1 << 20;
// A vocabulary of a million tokens fits.
inline constexpr uint64_t kMaxDeltaHead = uint64_t{1} << 26;
inline constexpr uint64_t kMaxDeltaSpans = uint64_t{1} << 19;

struct DeltaHeader {
  uint32_t window = kDeltaWindow;
  uint64_t old_bytes = 0;
  Hash256 old_hash = {};
  uint64_t new_bytes = 0;
  Hash256 new_hash = {};
  uint64_t old_head = 0;
  uint64_t new_head = 0;
};

struct DeltaSpan {
  uint8_t kind = 0;  // 0: plain bytes; else 1 + the number of a tensor type
  uint64_t bytes = 0;
  std::optional<uint64_t> partner;  // offset in the old file
};

void AppendHeader(const DeltaHeader& header, std::string* out);
// DATA_LOSS: another format, or sizes that cannot be.  Reads kDeltaHeaderBytes.
absl::StatusOr<DeltaHeader> ParseDeltaHeader(std::span<const uint8_t> bytes);

std::string SerializeSpans(std::span<const DeltaSpan> spans);
// DATA_LOSS: an unknown kind, a partner outside the old file, or lengths that do not add up to what
// follows the new head.
absl::StatusOr<std::vector<DeltaSpan>> ParseSpans(std::span<const uint8_t> list, uint64_t count,
                                                  const DeltaHeader& header);

// Null for a kind that is none.
const BlockLayout* LayoutOfKind(uint8_t kind);

// A stretch of a segment.
struct DeltaPiece {
  const BlockLayout* layout = nullptr;
  uint64_t bytes = 0;
  std::optional<uint64_t> partner;
};

// Cuts spans into segments, the same on both sides.  Borrows the spans.
class DeltaSegmenter {
 public:
  DeltaSegmenter(std::span<const DeltaSpan> spans, uint32_t window)
      : spans_(spans), window_(window) {}
  // The pieces of the next segment; none: that was all.
  std::vector<DeltaPiece> Next();

 private:
  std::span<const DeltaSpan> spans_;
  uint32_t window_;
  size_t span_ = 0;
  uint64_t position_ = 0;  // in it
};

// What the planes of a segment hold, and in which order they lie.
struct SegmentPlanes {
  PlaneSizes sizes = {};
  uint64_t bytes = 0;
  // The first byte of each plane when they lie one after another in `memory`.
  PlaneCursors Cursors(uint8_t* memory) const;
};
SegmentPlanes PlanesOf(std::span<const DeltaPiece> pieces);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DELTA_DELTA_FILE_H_
