// Canaries through the whole contribution pipeline: Clip, Encode, MaskInput, the server's sum,
// DecodeSum; production code only.
//
// A canary is one device's whole contribution, of more than the clip norm, along an axis of its
// own: sums of others do not disturb its score, which is the decoded sum along that axis.  A fair
// coin decides whether it is sent or a zero vector in its place.  Rounds are independent and every
// device takes part in one of them, so all canaries together are one run of one mechanism with the
// epsilon of one round.  The first canary of every round, alone, is a repeated experiment.
#ifndef LORIKEET_SIMULATIONS_AUDIT_PIPELINE_AUDIT_H_
#define LORIKEET_SIMULATIONS_AUDIT_PIPELINE_AUDIT_H_

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "simulations/audit/empirical_epsilon.h"

namespace lorikeet {

// How devices and coordinator differ from what the round states.
enum class AuditedBuild {
  kFaithful,
  kHalfNoise,            // devices add half the noise
  kNoClip,               // contributions are clipped to four times the clip norm
  kOverstatedSurvivors,  // noise is sized for nine times the devices that are there
};
inline constexpr AuditedBuild kAuditedBuilds[] = {AuditedBuild::kFaithful, AuditedBuild::kHalfNoise,
                                                  AuditedBuild::kNoClip,
                                                  AuditedBuild::kOverstatedSurvivors};
std::string_view AuditedBuildName(AuditedBuild build);  // "faithful", "half-noise", ...

struct AuditOptions {
  int canaries = 12000;  // rounded up to whole rounds
  int cohort = 3;        // devices of a round, all of them canaries
  int64_t dimension = 16;
  double noise_multiplier = 2;  // stated
  double scale = 64;            // integer units per clip norm
  double delta = 1e-5;
  double confidence = 0.95;
  double guessed = 0.02;  // share of the canaries guessed about, half of them as sent
  uint64_t seed = 1;
};

struct AuditResult {
  AuditedBuild build = AuditedBuild::kFaithful;
  double stated_epsilon = 0;  // by common/dp/accountant.h
  OneRunGuesses guesses;
  double one_run_epsilon = 0;
  RepeatedBound repeated;
  std::vector<double> scores_without;  // in clip norms, of all canaries
  std::vector<double> scores_with;

  // The largest of the bounds.
  double EpsilonBound() const;
  bool Refuted() const { return EpsilonBound() > stated_epsilon; }
};

// `progress` is called between rounds and stops the audit by returning false: CANCELLED.
// INVALID_ARGUMENT: options that make no round.
absl::StatusOr<AuditResult> AuditPipeline(AuditedBuild build, const AuditOptions& options,
                                          const std::function<bool()>& progress);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_AUDIT_PIPELINE_AUDIT_H_
