// One plane of changes, packed: mostly zeros as gaps and values, anything else as it is, both
// through zstd.
//
// Bytes: mode (u8), then
//   0  all zeros: nothing
//   1  dense: packed(plane)
//   2  sparse: count of bytes that are not zero (varint), length of the gaps (varint),
//      packed(gaps), packed(values)
// packed: length (varint), a zstd frame.  Gaps: for each byte that is not zero the zeros before it;
// 255 says 255 zeros and more to come.  Zstd's entropy coder spends at least a bit a byte, which
// zeros are not worth; gaps are worth several.
#ifndef LORIKEET_COMMON_DELTA_PLANE_CODEC_H_
#define LORIKEET_COMMON_DELTA_PLANE_CODEC_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/delta/delta_reader.h"

namespace lorikeet {

// Not thread-safe: keeps zstd's working memory and buffers.
class PlanePacker {
 public:
  PlanePacker();
  ~PlanePacker();
  // REQUIRES: not empty; under 2^31 bytes.
  void Pack(std::span<const uint8_t> plane, std::string* out);
  // packed(bytes), after `prefix`, which the reader has, too.
  void PackAfter(std::span<const uint8_t> prefix, std::span<const uint8_t> bytes, std::string* out);

 private:
  struct Zstd;
  void PackBytes(std::span<const uint8_t> bytes, std::string* out);
  void PackSparse(std::span<const uint8_t> plane, std::string* out);

  std::unique_ptr<Zstd> zstd_;
  std::vector<uint8_t> gaps_, values_;
  std::string sparse_;
};

// Not thread-safe.
class PlaneUnpacker {
 public:
  PlaneUnpacker();
  ~PlaneUnpacker();
  // Fills the plane, whose size is known beforehand.  DATA_LOSS: these bytes do not give it.
  absl::Status Unpack(DeltaReader* in, std::span<uint8_t> plane);
  absl::Status UnpackAfter(std::span<const uint8_t> prefix, DeltaReader* in,
                           std::span<uint8_t> bytes);

 private:
  struct Zstd;
  absl::Status UnpackSparse(DeltaReader* in, std::span<uint8_t> plane);

  std::unique_ptr<Zstd> zstd_;
  std::vector<uint8_t> gaps_, values_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DELTA_PLANE_CODEC_H_
