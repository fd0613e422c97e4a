#include "simulations/audit/pipeline_audit.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/dp/accountant.h"
#include "common/dp/encoder.h"
#include "common/secagg/client.h"
#include "common/secagg/parameters.h"
#include "common/secagg/server.h"

namespace lorikeet {
namespace {

constexpr double kClipNorm = 1;
constexpr double kCanaryNorm = 4;  // in clip norms: what clipping has to cut
constexpr int kClaimedPerDevice = 9;

// What the round states, and what its devices do.
struct Setup {
  EncodingParameters stated;
  EncodingParameters used;
  int stated_survivors = 0;
};

absl::StatusOr<Setup> SetupOf(AuditedBuild build, const AuditOptions& options) {
  Setup setup;
  setup.stated_survivors = options.cohort;
  if (build == AuditedBuild::kOverstatedSurvivors) setup.stated_survivors *= kClaimedPerDevice;
  EncodingParameters& stated = setup.stated;
  stated.dimension = options.dimension;
  stated.clip_norm = kClipNorm;
  stated.scale = options.scale / kClipNorm;
  stated.sigma_local = options.noise_multiplier * kClipNorm / std::sqrt(setup.stated_survivors);
  setup.used = stated;
  if (build == AuditedBuild::kHalfNoise) setup.used.sigma_local /= 2;
  if (build == AuditedBuild::kNoClip) setup.used.clip_norm *= kCanaryNorm;
  ASSIGN_OR_RETURN(const int bits, RequiredModulusBits(setup.used, options.cohort));
  setup.stated.modulus_bits = setup.used.modulus_bits = bits;
  return setup;
}

template <typename Message, typename Act>
absl::StatusOr<std::vector<Message>> Each(std::vector<std::unique_ptr<SecAggClient>>& clients,
                                          const Act& act) {
  std::vector<Message> messages;
  for (size_t i = 0; i < clients.size(); ++i) {
    ASSIGN_OR_RETURN(Message message, act(*clients[i], i));
    messages.push_back(std::move(message));
  }
  return messages;
}

// Secure aggregation of one round in which nobody drops out.
absl::StatusOr<std::vector<uint32_t>> SecureSum(const SecAggParameters& parameters,
                                                const std::vector<EncodedDelta>& inputs,
                                                RandomSource* random) {
  ASSIGN_OR_RETURN(const auto server, SecAggServer::Create(parameters));
  std::vector<std::unique_ptr<SecAggClient>> clients;
  std::vector<uint32_t> tickets;
  std::vector<ClientIndex> indices;
  for (size_t i = 0; i < inputs.size(); ++i) {
    ASSIGN_OR_RETURN(clients.emplace_back(), SecAggClient::Create(parameters, random));
    ASSIGN_OR_RETURN(const KeyAdvertisement keys, clients.back()->AdvertiseKeys());
    ASSIGN_OR_RETURN(tickets.emplace_back(), server->AddAdvertisement(keys));
  }
  RETURN_IF_ERROR(server->CloseAdvertise());
  for (const uint32_t ticket : tickets) {
    ASSIGN_OR_RETURN(indices.emplace_back(), server->IndexFor(ticket));
  }
  for (size_t i = 0; i < clients.size(); ++i) {
    ASSIGN_OR_RETURN(const KeyDirectory directory, server->DirectoryFor(tickets[i]));
    ASSIGN_OR_RETURN(const ShareKeysMessage shares, clients[i]->ShareKeys(directory));
    RETURN_IF_ERROR(server->AddShareKeys(shares));
  }
  RETURN_IF_ERROR(server->CloseShare());
  for (size_t i = 0; i < clients.size(); ++i) {
    ASSIGN_OR_RETURN(const ShareDelivery delivery, server->DeliveryFor(indices[i]));
    ASSIGN_OR_RETURN(const MaskedUpdate update, clients[i]->MaskInput(delivery, inputs[i]));
    RETURN_IF_ERROR(server->AddMaskedUpdate(update));
  }
  RETURN_IF_ERROR(server->CloseMask());
  for (size_t i = 0; i < clients.size(); ++i) {
    ASSIGN_OR_RETURN(const SurvivorLists lists, server->SurvivorsFor(indices[i]));
    ASSIGN_OR_RETURN(const Acknowledgement statement, clients[i]->Acknowledge(lists));
    RETURN_IF_ERROR(server->AddAcknowledgement(statement));
  }
  RETURN_IF_ERROR(server->CloseAcknowledge());
  for (size_t i = 0; i < clients.size(); ++i) {
    ASSIGN_OR_RETURN(const AcknowledgementSet set, server->AcknowledgementsFor(indices[i]));
    ASSIGN_OR_RETURN(const UnmaskResponse response, clients[i]->Unmask(set));
    RETURN_IF_ERROR(server->AddUnmaskResponse(response));
  }
  ASSIGN_OR_RETURN(AggregateSum sum, server->Finish());
  return std::move(sum.sum);
}

struct Canary {
  double score = 0;
  bool sent = false;
};

class Audit {
 public:
  static absl::StatusOr<Audit> Create(AuditedBuild build, const AuditOptions& options) {
    Audit audit(build, options);
    ASSIGN_OR_RETURN(audit.setup_, SetupOf(build, options));
    audit.secagg_.cohort_min = audit.secagg_.cohort_max = options.cohort;
    ASSIGN_OR_RETURN(audit.secagg_.threshold, CompleteGraphThreshold(options.cohort, 0));
    audit.secagg_.dimension = audit.setup_.used.padded_dimension();
    audit.secagg_.modulus_bits = audit.setup_.used.modulus_bits;
    return audit;
  }

  absl::Status RunRound(int64_t number) {
    const Hash256 session =
        Hasher().Update("audit").UpdateUint64(options_.seed).UpdateUint64(number).Finish();
    secagg_.session = session;
    setup_.used.rotation_seed = session;
    std::vector<EncodedDelta> inputs;
    std::vector<Canary> round;
    for (int i = 0; i < options_.cohort; ++i) {
      Canary& canary = round.emplace_back();
      canary.sent = (random_.Uint64() & 1) != 0;
      std::vector<float> values(static_cast<size_t>(options_.dimension));
      if (canary.sent) values[static_cast<size_t>(i)] = kCanaryNorm * kClipNorm;
      ASSIGN_OR_RETURN(const ClippedDelta clipped, Clip(std::move(values), setup_.used.clip_norm));
      ASSIGN_OR_RETURN(inputs.emplace_back(), Encode(clipped, setup_.used, &random_));
    }
    ASSIGN_OR_RETURN(const auto sum, SecureSum(secagg_, inputs, &mask_random_));
    ASSIGN_OR_RETURN(const std::vector<float> decoded, DecodeSum(sum, setup_.used));
    for (size_t i = 0; i < round.size(); ++i) round[i].score = decoded[i] / kClipNorm;
    first_.push_back(round.front());
    canaries_.insert(canaries_.end(), round.begin(), round.end());
    return absl::OkStatus();
  }

  absl::StatusOr<AuditResult> Result() {
    AuditResult result;
    result.build = build_;
    ASSIGN_OR_RETURN(result.stated_epsilon,
                     RoundEpsilon(setup_.stated, setup_.stated_survivors, 1, options_.delta));
    for (const Canary& canary : canaries_) {
      (canary.sent ? result.scores_with : result.scores_without).push_back(canary.score);
    }
    result.guesses = Guess();
    result.one_run_epsilon = OneRunEpsilon(result.guesses, options_.delta, options_.confidence);
    result.repeated = Repeat();
    return result;
  }

 private:
  Audit(AuditedBuild build, const AuditOptions& options)
      : build_(build),
        options_(options),
        random_("pipeline audit", options.seed),
        mask_random_("pipeline audit masks", options.seed) {}

  // The highest scores are taken for canaries that were sent, the lowest for others.
  OneRunGuesses Guess() {
    std::ranges::sort(canaries_, {}, &Canary::score);
    const size_t half =
        static_cast<size_t>(options_.guessed / 2 * static_cast<double>(canaries_.size()));
    OneRunGuesses guesses{.canaries = static_cast<int64_t>(canaries_.size()),
                          .guesses = static_cast<int64_t>(2 * half)};
    for (size_t i = 0; i < half; ++i) {
      guesses.correct += canaries_[i].sent ? 0 : 1;
      guesses.correct += canaries_[canaries_.size() - 1 - i].sent ? 1 : 0;
    }
    return guesses;
  }

  RepeatedBound Repeat() const {
    std::vector<double> without, with, thresholds;
    for (const Canary& canary : first_) (canary.sent ? with : without).push_back(canary.score);
    for (const double deviations : {-2, -1, 0, 1, 2}) {
      thresholds.push_back(0.5 + deviations * options_.noise_multiplier);
    }
    return RepeatedEpsilon({without, with}, thresholds, options_.delta, options_.confidence);
  }

  AuditedBuild build_;
  AuditOptions options_;
  SeededRandom random_;       // coins and noise
  SeededRandom mask_random_;  // keys and shares
  Setup setup_;
  SecAggParameters secagg_;
  std::vector<Canary> canaries_;
  std::vector<Canary> first_;  // of each round
};

absl::Status CheckOptions(const AuditOptions& options) {
  if (options.cohort < 2 || options.cohort > options.dimension) {
    return absl::InvalidArgumentError(
        absl::StrFormat("audit: expected a cohort of 2 to %d (the dimension: every canary has an "
                        "axis of its own), got %d",
                        options.dimension, options.cohort));
  }
  if (!(options.guessed > 0 && options.guessed <= 1) || options.guessed * options.canaries < 2) {
    return absl::InvalidArgumentError(
        absl::StrFormat("audit: expected a share that is at least 2 of %d canaries, got %g",
                        options.canaries, options.guessed));
  }
  if (!(options.confidence > 0 && options.confidence < 1) ||
      !(options.delta > 0 && options.delta < 1) || !(options.noise_multiplier > 0)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "audit: expected confidence and delta in (0, 1) and a positive noise multiplier, got %g, "
        "%g and %g",
        options.confidence, options.delta, options.noise_multiplier));
  }
  return absl::OkStatus();
}

}  // namespace

std::string_view AuditedBuildName(AuditedBuild build) {
  switch (build) {
    case AuditedBuild::kFaithful:
      return "faithful";
    case AuditedBuild::kHalfNoise:
      return "half-noise";
    case AuditedBuild::kNoClip:
      return "no-clip";
    case AuditedBuild::kOverstatedSurvivors:
      return "overstated-survivors";
  }
  return "unknown";
}

double AuditResult::EpsilonBound() const {
  return std::max({one_run_epsilon, repeated.epsilon, repeated.gaussian_epsilon});
}

absl::StatusOr<AuditResult> AuditPipeline(AuditedBuild build, const AuditOptions& options,
                                          const std::function<bool()>& progress) {
  RETURN_IF_ERROR(CheckOptions(options));
  ASSIGN_OR_RETURN(Audit audit, Audit::Create(build, options));
  const int rounds = (options.canaries + options.cohort - 1) / options.cohort;
  for (int round = 0; round < rounds; ++round) {
    if (!progress()) return absl::CancelledError("stopped by request");
    RETURN_IF_ERROR(audit.RunRound(round));
  }
  return audit.Result();
}

}  // namespace lorikeet
