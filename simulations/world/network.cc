#include "simulations/world/network.h"

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

absl::Status SetFault(const std::string& key, double value, FaultOptions* faults) {
  const bool is_chance = key == "loss" || key == "duplicate" || key == "tamper";
  // Above one half hardly any exchange of several calls would ever end.
  const double largest = is_chance ? 0.5 : 1e6;
  if (!(value >= 0 && value <= largest)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("faults: %s: expected 0 to %g, got %g", key, largest, value));
  }
  if (key == "loss") {
    faults->loss = value;
  } else if (key == "duplicate") {
    faults->duplicate = value;
  } else if (key == "tamper") {
    faults->tamper = value;
  } else if (key == "delay") {
    faults->delay = absl::Seconds(value);
  } else if (key == "jitter") {
    faults->jitter = absl::Seconds(value);
  } else if (key == "timeout") {
    faults->timeout = absl::Seconds(value);
  } else if (key == "restart") {
    faults->restart = absl::Seconds(value);
  } else {
    return absl::InvalidArgumentError(absl::StrCat(
        "faults: expected loss, duplicate, tamper, delay, jitter, timeout or restart, got ", key));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FaultOptions> ParseFaults(std::string_view spec) {
  FaultOptions faults;
  const std::vector<std::string> items = absl::StrSplit(ToAbsl(spec), ',', absl::SkipWhitespace());
  for (const std::string& item : items) {
    const std::vector<std::string> parts = absl::StrSplit(item, absl::MaxSplits('=', 1));
    double value = 0;
    if (parts.size() != 2 || !absl::SimpleAtod(parts[1], &value)) {
      return absl::InvalidArgumentError(absl::StrCat("faults: expected name=number, got ", item));
    }
    RETURN_IF_ERROR(SetFault(parts[0], value, &faults));
  }
  return faults;
}

std::string FaultsToString(const FaultOptions& faults) {
  return absl::StrFormat("loss=%g,duplicate=%g,tamper=%g,delay=%g,jitter=%g,timeout=%g,restart=%g",
                         faults.loss, faults.duplicate, faults.tamper,
                         absl::ToDoubleSeconds(faults.delay), absl::ToDoubleSeconds(faults.jitter),
                         absl::ToDoubleSeconds(faults.timeout),
                         absl::ToDoubleSeconds(faults.restart));
}

absl::Duration Network::Delay() { return faults_.delay + faults_.jitter * rng_.Uniform(); }

// Always the same number of dice, so that one fault does not shift all others.
CallFate Network::NextCall() {
  CallFate fate;
  fate.request_arrives = rng_.Uniform() >= faults_.loss;
  fate.answer_arrives = rng_.Uniform() >= faults_.loss;
  fate.duplicated = rng_.Uniform() < faults_.duplicate;
  fate.tampered = rng_.Uniform() < faults_.tamper;
  fate.request_delay = Delay();
  fate.answer_delay = Delay();
  // Anywhere from just before the first copy to long after it.
  fate.duplicate_delay = Delay() + faults_.timeout * (rng_.Uniform() * 0.5);
  return fate;
}

}  // namespace lorikeet
