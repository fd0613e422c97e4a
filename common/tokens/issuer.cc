#include "common/tokens/issuer.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace lorikeet {

absl::StatusOr<std::unique_ptr<TokenIssuer>> TokenIssuer::Create(const Options& options,
                                                                 SecretBytes seed) {
  RETURN_IF_ERROR(options.schedule.Check());
  if (options.epochs_ahead >= kMaxTokenKeys) {
    return absl::InvalidArgumentError(
        absl::StrFormat("token issuer: expected 0..%d epochs ahead, got %d", kMaxTokenKeys - 1,
                        options.epochs_ahead));
  }
  ASSIGN_OR_RETURN(TokenEpochKeys keys, TokenEpochKeys::Create(std::move(seed)));
  return std::unique_ptr<TokenIssuer>(new TokenIssuer(options, std::move(keys)));
}

absl::StatusOr<SignedTokenKeys> TokenIssuer::Keys() {
  ASSIGN_OR_RETURN(const uint64_t present, options_.schedule.EpochAt(options_.clock->Now()));
  TokenKeySet set{.schedule = options_.schedule, .keys = {}};
  for (uint64_t epoch = present; epoch <= present + options_.epochs_ahead; ++epoch) {
    ASSIGN_OR_RETURN(const VoprfKey* key, keys_.Of(epoch));
    set.keys.push_back({.epoch = epoch, .public_key = key->public_key()});
  }
  return SignTokenKeys(set, *options_.signer);
}

absl::StatusOr<BatchEvaluation> TokenIssuer::Issue(std::string_view device,
                                                   const IssueRequest& request) {
  ASSIGN_OR_RETURN(const uint64_t present, options_.schedule.EpochAt(options_.clock->Now()));
  if (request.epoch < present || request.epoch > present + options_.epochs_ahead) {
    return absl::FailedPreconditionError(
        absl::StrFormat("tokens: expected an epoch of %d..%d, got %d", present,
                        present + options_.epochs_ahead, request.epoch));
  }
  const uint32_t limit = options_.schedule.tokens_per_epoch;
  if (request.blinded.empty() || request.blinded.size() > limit) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "tokens: expected 1..%d blinded inputs, got %d", limit, request.blinded.size()));
  }
  Hasher hash;
  hash.Update("lorikeet token request").UpdateUint64(request.epoch);
  for (const GroupElement& element : request.blinded) hash.Update(element.bytes());
  ASSIGN_OR_RETURN(const bool charged, options_.quota->TryCharge(
                                           {.device = device,
                                            .epoch = request.epoch,
                                            .request = hash.Finish(),
                                            .count = static_cast<uint32_t>(request.blinded.size())},
                                           limit));
  if (!charged) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "tokens: expected at most %d for a device in epoch %d, got a request for %d more", limit,
        request.epoch, request.blinded.size()));
  }
  ASSIGN_OR_RETURN(const VoprfKey* key, keys_.Of(request.epoch));
  return VoprfBlindEvaluate(*key, request.blinded, options_.random);
}

}  // namespace lorikeet
