// Numbers and stretches taken from the front of bytes that nobody vouches for.
#ifndef LORIKEET_COMMON_DELTA_DELTA_READER_H_
#define LORIKEET_COMMON_DELTA_DELTA_READER_H_

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace lorikeet {

class DeltaReader {
 public:
  explicit DeltaReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }

  // DATA_LOSS: fewer bytes are left.
  absl::StatusOr<std::span<const uint8_t>> Bytes(uint64_t count);
  absl::StatusOr<uint8_t> Byte();
  // Little-endian, of `width` bytes.
  absl::StatusOr<uint64_t> Number(int width);
  // Seven bits a byte, the lowest first, the top bit says that more come.  DATA_LOSS: not ended, or
  // over 64 bits.
  absl::StatusOr<uint64_t> Varint();
  absl::StatusOr<int64_t> SignedVarint();  // folded: 0, -1, 1, -2, ...

 private:
  std::span<const uint8_t> bytes_;
};

void AppendNumber(uint64_t value, int width, std::string* out);
void AppendVarint(uint64_t value, std::string* out);
void AppendSignedVarint(int64_t value, std::string* out);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DELTA_DELTA_READER_H_
