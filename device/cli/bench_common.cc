#include "device/cli/bench_common.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>

#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"

namespace lorikeet {

double Rates::Median() const {
  std::vector<double> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const size_t n = sorted.size();
  return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

double Rates::Best() const { return *std::max_element(values.begin(), values.end()); }

nlohmann::json Rates::ToJson() const {
  if (values.empty()) return nullptr;
  return {{"median", Median()},
          {"min", *std::min_element(values.begin(), values.end())},
          {"max", Best()}};
}

Rates RatioOf(const Rates& a, const Rates& b) {
  Rates ratios;
  for (size_t i = 0; i < a.values.size(); ++i) ratios.values.push_back(a.values[i] / b.values[i]);
  return ratios;
}

absl::StatusOr<double> SecondsOf(const std::function<absl::Status()>& work) {
  const auto start = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(work());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int64_t MemoryStatus(std::string_view field) {
  const absl::StatusOr<std::string> status = ReadFile("/proc/self/status");
  if (!status.ok()) return 0;
  const size_t at = status->find(field);
  if (at == std::string::npos) return 0;
  return std::strtoll(status->c_str() + at + field.size(), nullptr, 10) * 1024;
}

std::vector<TokenId> RandomTokens(const Model& model, int count) {
  Rng rng(1);
  std::vector<TokenId> tokens(static_cast<size_t>(count));
  for (TokenId& token : tokens) {
    token = static_cast<TokenId>(rng.Below(model.config().vocabulary_size));
  }
  return tokens;
}

}  // namespace lorikeet
