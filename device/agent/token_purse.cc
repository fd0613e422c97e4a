#include "device/agent/token_purse.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace lorikeet {

absl::Status TokenPurse::AcceptKeys(const SignedTokenKeys& keys) {
  ASSIGN_OR_RETURN(TokenKeySet set, VerifyTokenKeys(keys, issuer_));
  RETURN_IF_ERROR(CheckAndRemember(set, &state_->token_keys));
  // A round that opened at the end of the last epoch may still be joined.
  const uint64_t present = set.keys.front().epoch;
  std::erase_if(state_->tokens, [&](const PurseToken& t) { return t.epoch + 1 < present; });
  RETURN_IF_ERROR(AddEntries(set));
  RETURN_IF_ERROR(KeepSeedsOfEntries());
  next_keys_at_ = set.schedule.StartOf(present + 1);
  keys_ = std::move(set);
  return absl::OkStatus();
}

absl::Status TokenPurse::AddEntries(const TokenKeySet& keys) {
  for (const TokenKeySet::Key& key : keys.keys) {
    if (key.epoch < state_->next_token_epoch) continue;
    for (uint32_t i = 0; i < keys.schedule.tokens_per_epoch; ++i) {
      const SecretBytes seed = SecretBytes::Random(kOneTimeSeedBytes, random_);
      ASSIGN_OR_RETURN(const OneTimeKeys one_time, OneTimeKeys::FromSeed(seed));
      const Hash256 hash = OneTimeKeysHash(one_time.ForSession({}));
      RETURN_IF_ERROR(store_->KeepSeed(hash, seed));
      state_->tokens.push_back({.epoch = key.epoch,
                                .keys_hash = hash,
                                .key_id = TokenKeyId(key.public_key),
                                .output = std::nullopt});
    }
    state_->next_token_epoch = key.epoch + 1;
  }
  return absl::OkStatus();
}

absl::Status TokenPurse::KeepSeedsOfEntries() {
  std::vector<Hash256> seeds;
  for (const PurseToken& token : state_->tokens) seeds.push_back(token.keys_hash);
  return store_->KeepOnlySeeds(seeds);
}

std::vector<PurseToken*> TokenPurse::Waiting(uint64_t epoch) {
  std::vector<PurseToken*> waiting;
  for (PurseToken& token : state_->tokens) {
    if (token.epoch == epoch && !token.output) waiting.push_back(&token);
  }
  return waiting;
}

absl::StatusOr<std::vector<PendingToken>> TokenPurse::Prepare(uint64_t epoch) {
  std::vector<PendingToken> pending;
  for (const PurseToken* token : Waiting(epoch)) {
    ASSIGN_OR_RETURN(const SecretBytes seed, store_->ReadSeed(token->keys_hash));
    ASSIGN_OR_RETURN(PendingToken prepared, PrepareToken(epoch, token->keys_hash, seed));
    pending.push_back(std::move(prepared));
  }
  return pending;
}

absl::StatusOr<std::optional<IssueRequest>> TokenPurse::NextRequest() {
  if (!keys_) return std::nullopt;
  for (const TokenKeySet::Key& key : keys_->keys) {
    if (Waiting(key.epoch).empty()) continue;
    requested_epoch_ = key.epoch;
    ASSIGN_OR_RETURN(const auto pending, Prepare(key.epoch));
    IssueRequest request{.epoch = key.epoch, .blinded = {}};
    for (const PendingToken& token : pending) request.blinded.push_back(token.blinded.element);
    return request;
  }
  return std::nullopt;
}

absl::Status TokenPurse::AcceptEvaluation(const BatchEvaluation& evaluation) {
  ASSIGN_OR_RETURN(const GroupElement key, keys_->KeyOf(requested_epoch_));
  ASSIGN_OR_RETURN(const auto pending, Prepare(requested_epoch_));
  ASSIGN_OR_RETURN(const auto tokens, FinishTokens(key, pending, evaluation));
  const auto waiting = Waiting(requested_epoch_);
  for (size_t i = 0; i < waiting.size(); ++i) waiting[i]->output = tokens[i].output;
  return absl::OkStatus();
}

void TokenPurse::DropRequest() {
  std::erase_if(state_->tokens, [this](const PurseToken& token) {
    return token.epoch == requested_epoch_ && !token.output;
  });
}

absl::Status TokenPurse::CanMeet(const TokenDemand& demand) const {
  for (const PurseToken& token : state_->tokens) {
    if (token.epoch != demand.epoch || !token.output) continue;
    if (token.key_id == demand.key_id) return absl::OkStatus();
    return absl::DataLossError(absl::StrFormat(
        "round refused: expected the token key of epoch %d that this device was shown, got "
        "another: its cohort could be told from others",
        demand.epoch));
  }
  return absl::FailedPreconditionError(absl::StrFormat(
      "round left out: expected an anonymous token of epoch %d, none is left", demand.epoch));
}

PurseToken TokenPurse::Take(const TokenDemand& demand) {
  auto& tokens = state_->tokens;
  const auto it = std::ranges::find_if(tokens, [&](const PurseToken& token) {
    return token.epoch == demand.epoch && token.key_id == demand.key_id && token.output;
  });
  LORIKEET_CHECK(it != tokens.end());
  const PurseToken taken = *it;
  tokens.erase(it);
  return taken;
}

absl::StatusOr<RoundAdmission> TokenPurse::Open(const PurseToken& token) {
  ASSIGN_OR_RETURN(const SecretBytes seed, store_->ReadSeed(token.keys_hash));
  RETURN_IF_ERROR(KeepSeedsOfEntries());
  ASSIGN_OR_RETURN(OneTimeKeys keys, OneTimeKeys::FromSeed(seed));
  ASSIGN_OR_RETURN(const PendingToken prepared, PrepareToken(token.epoch, token.keys_hash, seed));
  return RoundAdmission{.keys = std::move(keys),
                        .token = {.nonce = prepared.nonce,
                                  .epoch = token.epoch,
                                  .key_id = token.key_id,
                                  .keys_hash = token.keys_hash,
                                  .output = *token.output}};
}

}  // namespace lorikeet
