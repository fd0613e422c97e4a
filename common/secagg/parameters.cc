#include "common/secagg/parameters.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/secagg/hypergeometric.h"

namespace lorikeet {
namespace {

// Keeps c n = 330 from becoming 329.999...
constexpr double kRounding = 1e-14;
constexpr int64_t kLargestCohort = 1000000;

double LogFactorial(int64_t n) { return std::lgamma(static_cast<double>(n) + 1); }

struct Setting {
  int64_t clients = 0;
  int64_t corrupt = 0;
  int64_t dropped = 0;                // at most
  int64_t surviving = 0;              // at least
  double log_security_per_event = 0;  // natural logarithm
  double log_correctness = 0;
  bool semi_malicious = true;
};

// The first value in [begin, end] for which a monotone condition holds; `end` if none below does.
template <typename Condition>
int64_t FirstTrue(int64_t begin, int64_t end, const Condition& condition) {
  while (begin < end) {
    const int64_t middle = begin + (end - begin) / 2;
    if (condition(middle)) {
      end = middle;
    } else {
      begin = middle + 1;
    }
  }
  return begin;
}

// Condition (a): log of a bound on the probability that honest survivors are not connected.  To cut
// the ring, two disjoint runs of k/2 bad clients are needed; union bound over their places.
double LogDisconnected(const Setting& s, int64_t degree) {
  const int64_t bad = s.corrupt + s.dropped;
  if (degree > bad) return -std::numeric_limits<double>::infinity();
  const double n = static_cast<double>(s.clients);
  return std::log(n) + std::log(n - static_cast<double>(degree) - 1) - std::numbers::ln2 +
         LogFactorial(bad) + LogFactorial(s.clients - degree) - LogFactorial(s.clients) -
         LogFactorial(bad - degree);
}

// Conditions (a) to (c) for one degree: the threshold, or nothing.
std::optional<int> ThresholdFor(const Setting& s, int64_t degree) {
  if (LogDisconnected(s, degree) >= s.log_security_per_event) return std::nullopt;
  const double log_clients = std::log(static_cast<double>(s.clients));
  // (b) lower: the most corrupt neighbours anyone has, except with small probability.
  const Hypergeometric corrupt{.population = s.clients, .marked = s.corrupt, .draws = degree};
  const double log_security = s.log_security_per_event - log_clients;
  int64_t lower =
      FirstTrue(1, degree + 1,
                [&](int64_t count) { return corrupt.LogAtLeast(count) < log_security; }) -
      1;
  // (c) upper: the fewest surviving neighbours anyone has.
  const Hypergeometric surviving{.population = s.clients, .marked = s.surviving, .draws = degree};
  const double log_correctness = s.log_correctness - log_clients;
  const int64_t upper = FirstTrue(
      0, degree, [&](int64_t count) { return surviving.LogAtMost(count) >= log_correctness; });
  if (s.semi_malicious) {
    // So that both kinds of share of one client can never be collected, whoever is told what.
    lower = static_cast<int64_t>(std::ceil((static_cast<double>(lower + degree) - 1.25) / 2));
  }
  if (upper <= lower) return std::nullopt;
  return static_cast<int>(std::max<int64_t>(lower + 1, 2));
}

absl::Status Validate(const GraphRequest& r) {
  if (r.clients < 1 || r.clients > kLargestCohort) {
    return absl::InvalidArgumentError(
        absl::StrFormat("clients: expected 1..%d, got %d", kLargestCohort, r.clients));
  }
  if (!(r.corrupt_fraction >= 0 && r.corrupt_fraction < 1) ||
      !(r.dropout_fraction >= 0 && r.dropout_fraction < 1)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("corrupt and dropout fractions: expected 0 <= f < 1, got %g and %g",
                        r.corrupt_fraction, r.dropout_fraction));
  }
  if (!(r.security_bits > 0 && r.security_bits <= 256) ||
      !(r.correctness_bits > 0 && r.correctness_bits <= 256)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("security and correctness bits: expected 0 < b <= 256, got %g and %g",
                        r.security_bits, r.correctness_bits));
  }
  const double load = r.corrupt_fraction + (r.semi_malicious ? 2 : 1) * r.dropout_fraction;
  if (load > 0.9) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "infeasible: expected corrupt + %sdropout fraction <= 0.9, got %g; plan for "
        "fewer dropouts, admit more clients and give up rounds that lose more",
        r.semi_malicious ? "2 x " : "", load));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GraphParameters> ChooseGraph(const GraphRequest& request) {
  RETURN_IF_ERROR(Validate(request));
  const double n = static_cast<double>(request.clients);
  const Setting setting{
      .clients = request.clients,
      .corrupt = static_cast<int64_t>(std::floor((request.corrupt_fraction + kRounding) * n)),
      .dropped = static_cast<int64_t>(std::floor((request.dropout_fraction + kRounding) * n)),
      .surviving = static_cast<int64_t>(std::ceil((1 - request.dropout_fraction - kRounding) * n)),
      .log_security_per_event = -(request.security_bits + 1) * std::numbers::ln2,
      .log_correctness = -request.correctness_bits * std::numbers::ln2,
      .semi_malicious = request.semi_malicious};
  for (int64_t degree = 2; degree < request.clients - 1; degree += 2) {
    if (const std::optional<int> threshold = ThresholdFor(setting, degree)) {
      return GraphParameters{.degree = static_cast<int>(degree), .threshold = *threshold};
    }
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("infeasible: no degree below %d leaves room between the corrupt and the "
                      "surviving neighbours of %d clients; use a complete graph or a larger cohort",
                      request.clients - 1, request.clients));
}

absl::StatusOr<int> CompleteGraphThreshold(int cohort_max, double corrupt_fraction) {
  if (cohort_max < 2 || !(corrupt_fraction >= 0 && corrupt_fraction < 1)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "complete graph: expected at least 2 clients and 0 <= corrupt fraction < 1, got %d and %g",
        cohort_max, corrupt_fraction));
  }
  const int corrupt = static_cast<int>(std::floor((corrupt_fraction + kRounding) * cohort_max));
  return std::min((cohort_max + corrupt) / 2 + 1, cohort_max);
}

}  // namespace lorikeet
