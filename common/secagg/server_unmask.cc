// R4 of the server: collecting shares, recovering secrets, removing masks.
#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/crypto/key_exchange.h"
#include "common/secagg/derive.h"
#include "common/secagg/masks.h"
#include "common/secagg/server.h"
#include "common/secagg/server_state.h"

namespace lorikeet {
namespace {

using Revealed = std::vector<std::pair<ClientIndex, ShamirShare>>;

// Checks one of the two lists of a response: sorted, of owners in `allowed`, well-formed.
absl::StatusOr<Revealed> DecodeShares(const std::vector<RevealedShare>& shares,
                                      const std::vector<ClientIndex>& allowed) {
  Revealed decoded;
  for (const RevealedShare& share : shares) {
    if (!std::binary_search(allowed.begin(), allowed.end(), share.owner) ||
        (!decoded.empty() && decoded.back().first >= share.owner)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "revealed shares: expected each peer once, in order and of its kind, got client %d",
          share.owner));
    }
    ASSIGN_OR_RETURN(const ShamirShare value, DecodeShare(share.share));
    decoded.emplace_back(share.owner, value);
  }
  return decoded;
}

// Recovers the secret of `owner`, trusting clients that were wrong before least.  Adds to `blamed`.
absl::StatusOr<SecretBytes> RecoverFor(ClientIndex owner, std::vector<PointShare> shares,
                                       int threshold,
                                       const std::function<bool(const SecretBytes&)>& is_right,
                                       std::set<ClientIndex>* blamed) {
  const auto holder = [](const PointShare& share) {
    return static_cast<ClientIndex>(share.point - 1);
  };
  std::stable_partition(shares.begin(), shares.end(),
                        [&](const PointShare& share) { return !blamed->contains(holder(share)); });
  absl::StatusOr<RecoveredSecret> recovered = RecoverSecret(shares, threshold, is_right);
  if (!recovered.ok()) return Annotate(recovered.status(), absl::StrFormat("client %d", owner));
  for (uint64_t point : recovered->wrong_points)
    blamed->insert(static_cast<ClientIndex>(point - 1));
  return std::move(recovered->secret);
}

}  // namespace

absl::Status SecAggServer::AddUnmaskResponse(const UnmaskResponse& message) {
  State& s = *state_;
  RETURN_IF_ERROR(s.CheckClient(message.session, message.sender));
  SecAggServerClient& client = s.clients[message.sender];
  const Hash256 hash = MessageHash(message);
  ASSIGN_OR_RETURN(const bool is_new, s.IsNew(client.unmasked, hash, message.sender));
  if (!is_new) return absl::OkStatus();
  RETURN_IF_ERROR(s.Expect(SecAggStep::kUnmask));
  if (!client.acknowledged) {
    return absl::FailedPreconditionError(
        absl::StrFormat("client %d did not acknowledge in time", message.sender));
  }
  SurvivorLists lists = s.Survivors(message.sender);
  if (!s.graph->complete())
    std::erase(lists.alive, message.sender);  // it holds no share of its own there
  ASSIGN_OR_RETURN(const Revealed seeds, DecodeShares(message.seed_shares, lists.alive));
  ASSIGN_OR_RETURN(const Revealed keys, DecodeShares(message.mask_key_shares, lists.dropped));
  for (const Revealed* list : {&seeds, &keys}) {
    for (const auto& [owner, share] : *list) {
      s.clients[owner].revealed.push_back({.point = PointOf(message.sender), .share = share});
    }
  }
  client.unmasked = hash;
  ++s.arrived;
  return absl::OkStatus();
}

bool SecAggServer::CanFinish() const {
  const State& s = *state_;
  if (s.step != SecAggStep::kUnmask) return false;
  return std::all_of(s.clients.begin(), s.clients.end(), [&](const SecAggServerClient& client) {
    return !client.shared || client.revealed.size() >= static_cast<size_t>(s.parameters.threshold);
  });
}

absl::Status SecAggServer::State::Unmask(std::set<ClientIndex>* blamed) {
  std::vector<Mask> masks;
  for (ClientIndex owner = 0; owner < clients.size(); ++owner) {
    const SecAggServerClient& client = clients[owner];
    if (!client.shared) continue;
    if (alive(owner)) {
      const auto is_right = [&](const SecretBytes& seed) {
        return SeedCommitment(parameters.session, owner, seed) == client.seed_commitment;
      };
      ASSIGN_OR_RETURN(const SecretBytes seed,
                       RecoverFor(owner, client.revealed, parameters.threshold, is_right, blamed));
      masks.push_back({.key = SelfMaskKey(parameters.session, owner, seed), .subtract = true});
      continue;
    }
    const auto is_right = [&](const SecretBytes& secret) {
      const auto key = KeyExchangeKey::FromSecret(secret);
      return key.ok() && key->public_key() == client.keys.mask_key;
    };
    ASSIGN_OR_RETURN(const SecretBytes secret,
                     RecoverFor(owner, client.revealed, parameters.threshold, is_right, blamed));
    ASSIGN_OR_RETURN(const KeyExchangeKey key, KeyExchangeKey::FromSecret(secret));
    for (ClientIndex peer : client.neighbours) {
      if (!alive(peer)) continue;
      ASSIGN_OR_RETURN(const SecretBytes shared, key.Agree(clients[peer].keys.mask_key));
      // The peer subtracted this mask if the owner's index is the smaller one; undo it.
      masks.push_back(
          {.key = PairMaskKey(parameters.session, owner, peer, shared), .subtract = peer < owner});
    }
  }
  AddMasks(masks, parameters.modulus_bits, sum);
  return absl::OkStatus();
}

Hash256 SecAggServer::State::Transcript() const {
  Hasher hasher;
  hasher.Update("lorikeet secagg transcript").Update(parameters.session).Update(tree->root());
  hasher.UpdateUint64(clients.size()).UpdateUint64(survivor_count);
  for (const SecAggServerClient& client : clients) {
    for (const auto* slot :
         {&client.shared, &client.masked, &client.acknowledged, &client.unmasked}) {
      hasher.Update(slot->value_or(Hash256{}));
    }
  }
  for (uint32_t word : sum) hasher.UpdateUint64(word);
  return hasher.Finish();
}

absl::StatusOr<AggregateSum> SecAggServer::Finish() {
  State& s = *state_;
  RETURN_IF_ERROR(s.Expect(SecAggStep::kUnmask));
  if (!CanFinish()) {
    return absl::FailedPreconditionError(
        absl::StrFormat("unmasking: expected more responses, got %d of %d", s.arrived, s.expected));
  }
  std::set<ClientIndex> blamed;
  if (const absl::Status status = s.Unmask(&blamed); !status.ok()) {
    if (s.arrived < s.expected) return absl::UnavailableError(status.message());
    return s.Abort(std::string(Message(status)));
  }
  AggregateSum result{.session = s.parameters.session,
                      .sum = {},
                      .survivor_count = s.survivor_count,
                      .transcript = s.Transcript(),
                      .blamed = {blamed.begin(), blamed.end()}};
  result.sum = std::move(s.sum);
  s.step = SecAggStep::kDone;
  return result;
}

}  // namespace lorikeet
