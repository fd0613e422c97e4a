// F16 and BF16 values as adapter files hold them, without the kernels (which have faster ones).
#ifndef LORIKEET_COMMON_ADAPTER_HALF_FLOATS_H_
#define LORIKEET_COMMON_ADAPTER_HALF_FLOATS_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/base/tensor_type.h"

namespace lorikeet {

// True for the types below: F32, F16, BF16.
bool IsFloatType(TensorType type);

// `bytes` of little-endian values, widened without loss.  Need not be aligned.
// REQUIRES: IsFloatType(type), bytes.size() a multiple of the value's size.
std::vector<float> WidenFloats(TensorType type, std::span<const uint8_t> bytes);

// The inverse, rounded to nearest even; what is too large becomes infinite.
// REQUIRES: IsFloatType(type).
std::string NarrowFloats(TensorType type, std::span<const float> values);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_ADAPTER_HALF_FLOATS_H_
