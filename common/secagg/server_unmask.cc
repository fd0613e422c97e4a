// R4 of the server: collecting shares, recovering secrets, removing masks.
#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/crypto/key_exchange.h"
#include "common/secagg/derive.h"
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

// Calls body(begin, end) for pieces of [0, count), by the pool if there is one.
void ForRanges(ThreadPool* pool, size_t count, const std::function<void(size_t, size_t)>& body) {
  if (pool == nullptr) return body(0, count);
  pool->ParallelFor(static_cast<int64_t>(count), 8, [&](int64_t begin, int64_t end) {
    body(static_cast<size_t>(begin), static_cast<size_t>(end));
  });
}

// Recovers a secret of which some shares are wrong, trusting clients that were wrong before least.
// Adds to `blamed`.
absl::StatusOr<SecretBytes> RecoverFromSome(ClientIndex owner, std::vector<PointShare> shares,
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

// What the secret of a client must be: that of its commitment if alive, of its mask key if dropped.
bool IsSecretOf(const SessionId& session, const SecAggServerClient& client, ClientIndex owner,
                const SecretBytes& secret) {
  if (client.masked) return SeedCommitment(session, owner, secret) == client.seed_commitment;
  const auto key = KeyExchangeKey::FromSecret(secret);
  return key.ok() && key->public_key() == client.keys.mask_key;
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

absl::StatusOr<std::vector<SecretBytes>> SecAggServer::State::RecoverSecrets(
    ThreadPool* pool, std::set<ClientIndex>* blamed) const {
  std::vector<SecretBytes> secrets(clients.size());
  const auto check = [&](ClientIndex owner) {
    return [this, owner](const SecretBytes& secret) {
      return IsSecretOf(parameters.session, clients[owner], owner, secret);
    };
  };
  ForRanges(pool, clients.size(), [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      if (!clients[i].shared) continue;
      auto secret = RecoverFromAll(clients[i].revealed, parameters.threshold,
                                   check(static_cast<ClientIndex>(i)));
      if (secret) secrets[i] = std::move(*secret);
    }
  });
  // What is left has wrong shares: rare, and one after the other, since blame found with one secret
  // helps with the next.
  for (ClientIndex owner = 0; owner < clients.size(); ++owner) {
    if (!clients[owner].shared || !secrets[owner].empty()) continue;
    ASSIGN_OR_RETURN(secrets[owner], RecoverFromSome(owner, clients[owner].revealed,
                                                     parameters.threshold, check(owner), blamed));
  }
  return secrets;
}

absl::StatusOr<std::vector<Mask>> SecAggServer::State::MasksLeft(
    const std::vector<SecretBytes>& secrets, ThreadPool* pool) const {
  struct Pair {
    ClientIndex owner, peer;  // the same: the owner's self mask
  };
  std::vector<Pair> pairs;
  for (ClientIndex owner = 0; owner < clients.size(); ++owner) {
    if (alive(owner)) pairs.push_back({owner, owner});
    if (!dropped(owner)) continue;
    for (ClientIndex peer : clients[owner].neighbours) {
      if (alive(peer)) pairs.push_back({owner, peer});
    }
  }
  std::vector<Mask> masks(pairs.size());
  ForRanges(pool, pairs.size(), [&](size_t begin, size_t end) {
    std::optional<KeyExchangeKey> key;
    for (size_t i = begin; i < end; ++i) {
      const auto [owner, peer] = pairs[i];
      if (owner == peer) {
        masks[i] = {.key = SelfMaskKey(parameters.session, owner, secrets[owner]),
                    .subtract = true};
        continue;
      }
      if (!key || i == begin || pairs[i - 1].owner != owner)
        key = KeyExchangeKey::FromSecret(secrets[owner]).value();
      const absl::StatusOr<SecretBytes> shared = key->Agree(clients[peer].keys.mask_key);
      if (!shared.ok()) continue;  // its key stays empty, see below
      // The peer subtracted this mask if the owner's index is the smaller one; undo it.
      masks[i] = {.key = PairMaskKey(parameters.session, owner, peer, *shared),
                  .subtract = peer < owner};
    }
  });
  for (size_t i = 0; i < masks.size(); ++i) {
    if (masks[i].key.empty()) {
      return absl::DataLossError(
          absl::StrFormat("clients %d and %d: no key agreement", pairs[i].owner, pairs[i].peer));
    }
  }
  return masks;
}

absl::Status SecAggServer::State::Unmask(ThreadPool* pool, std::set<ClientIndex>* blamed) {
  ASSIGN_OR_RETURN(const std::vector<SecretBytes> secrets, RecoverSecrets(pool, blamed));
  ASSIGN_OR_RETURN(const std::vector<Mask> masks, MasksLeft(secrets, pool));
  for (size_t i = 0; i < others.size(); ++i) sum[i] += others[i];
  AddMasks(masks, parameters.modulus_bits, sum, pool);
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

absl::StatusOr<AggregateSum> SecAggServer::Finish(ThreadPool* pool) {
  State& s = *state_;
  RETURN_IF_ERROR(s.Expect(SecAggStep::kUnmask));
  if (!CanFinish()) {
    return absl::FailedPreconditionError(
        absl::StrFormat("unmasking: expected more responses, got %d of %d", s.arrived, s.expected));
  }
  std::set<ClientIndex> blamed;
  if (const absl::Status status = s.Unmask(pool, &blamed); !status.ok()) {
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
