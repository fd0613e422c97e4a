#include "common/base/tensor_type.h"

#include <algorithm>
#include <cctype>

#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

constexpr TensorTypeTraits kTraits[] = {
    {TensorType::kF32, "F32", 1, 4},       {TensorType::kF16, "F16", 1, 2},
    {TensorType::kBF16, "BF16", 1, 2},     {TensorType::kI32, "I32", 1, 4},
    {TensorType::kQ8_0, "Q8_0", 32, 34},   {TensorType::kQ4_0, "Q4_0", 32, 18},
    {TensorType::kQ4_1, "Q4_1", 32, 20},   {TensorType::kQ5_0, "Q5_0", 32, 22},
    {TensorType::kQ5_1, "Q5_1", 32, 24},   {TensorType::kIQ4_NL, "IQ4_NL", 32, 18},
    {TensorType::kQ2_K, "Q2_K", 256, 84},  {TensorType::kQ3_K, "Q3_K", 256, 110},
    {TensorType::kQ4_K, "Q4_K", 256, 144}, {TensorType::kQ5_K, "Q5_K", 256, 176},
    {TensorType::kQ6_K, "Q6_K", 256, 210},
};

}  // namespace

const TensorTypeTraits* FindTensorType(uint32_t ggml_type) {
  for (const auto& traits : kTraits) {
    if (static_cast<uint32_t>(traits.type) == ggml_type) return &traits;
  }
  return nullptr;
}

std::optional<TensorType> ParseTensorType(std::string_view name) {
  const auto same = [](char a, char b) {
    return std::toupper(static_cast<unsigned char>(a)) ==
           std::toupper(static_cast<unsigned char>(b));
  };
  for (const auto& traits : kTraits) {
    const std::string_view known = traits.name;
    if (std::equal(known.begin(), known.end(), name.begin(), name.end(), same)) return traits.type;
  }
  return std::nullopt;
}

const TensorTypeTraits& TraitsOf(TensorType type) {
  const TensorTypeTraits* traits = FindTensorType(static_cast<uint32_t>(type));
  LORIKEET_CHECK(traits != nullptr);
  return *traits;
}

std::string_view SupportedTensorTypes() {
  return "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL";
}

}  // namespace lorikeet
