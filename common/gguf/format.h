// Numbers of the GGUF format that reader and writer share.
#ifndef LORIKEET_COMMON_GGUF_FORMAT_H_
#define LORIKEET_COMMON_GGUF_FORMAT_H_

#include <bit>
#include <cstddef>
#include <cstdint>

namespace lorikeet {

// File: "GGUF" · version u32 · tensor count u64 · metadata count u64 · metadata (key string, type
// u32, value)... · tensor infos (name string, dimension count u32, dimensions u64..., type u32,
// offset u64)... · padding to the alignment · tensor data at the offsets.  A string is a u64 length
// and that many bytes.  All little-endian.
inline constexpr uint32_t kGgufMagic = 0x46554747;  // "GGUF"
inline constexpr uint32_t kGgufOldestVersion = 2;
inline constexpr uint32_t kGgufNewestVersion = 3;
inline constexpr uint64_t kGgufDefaultAlignment = 32;
inline constexpr size_t kGgufHeaderBytes = 24;

// The next multiple of the default alignment.
inline constexpr uint64_t GgufAligned(uint64_t bytes) {
  return (bytes + kGgufDefaultAlignment - 1) / kGgufDefaultAlignment * kGgufDefaultAlignment;
}

enum class GgufType : uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

// Limits of what we read.  Far above any real file; they keep a hostile header from costing memory.
inline constexpr uint64_t kGgufMaxTensors = uint64_t{1} << 17;
inline constexpr uint64_t kGgufMaxMetadata = uint64_t{1} << 16;
inline constexpr uint64_t kGgufMaxNameBytes = 1024;
inline constexpr uint64_t kGgufMaxAlignment = uint64_t{1} << 20;
inline constexpr uint32_t kGgufMaxDimensions = 4;

// Values are copied byte for byte between file and memory.
static_assert(std::endian::native == std::endian::little, "GGUF code needs a little-endian host");

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_GGUF_FORMAT_H_
