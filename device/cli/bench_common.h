// What the parts of `lorikeet bench` share: rates, seconds, memory of the process.
#ifndef LORIKEET_DEVICE_CLI_BENCH_COMMON_H_
#define LORIKEET_DEVICE_CLI_BENCH_COMMON_H_

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "device/model/model.h"

namespace lorikeet {

struct Rates {
  std::vector<double> values;

  void Add(int tokens, double seconds) { values.push_back(tokens / seconds); }
  bool empty() const { return values.empty(); }
  // REQUIRES: not empty.
  double Median() const;
  double Best() const;
  // Null when nothing was measured.
  nlohmann::json ToJson() const;
};

// Round by round a / b.  REQUIRES: as many values in both.
Rates RatioOf(const Rates& a, const Rates& b);

// Wall-clock seconds of `work`; its error if it has one.
absl::StatusOr<double> SecondsOf(const std::function<absl::Status()>& work);

// Bytes of a line of /proc/self/status such as "VmHWM:  1234 kB"; 0 where there is none.
int64_t MemoryStatus(std::string_view field);

// The same ones in every call.
std::vector<TokenId> RandomTokens(const Model& model, int count);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_BENCH_COMMON_H_
