#include "common/secagg/client.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/crypto/aead.h"
#include "common/crypto/key_exchange.h"
#include "common/crypto/sign.h"
#include "common/secagg/derive.h"
#include "common/secagg/graph.h"
#include "common/secagg/masks.h"
#include "common/secagg/merkle.h"
#include "common/secagg/shamir.h"

namespace lorikeet {
namespace {

enum class Phase { kAdvertise, kShare, kMask, kAcknowledge, kUnmask, kDone, kAborted };

struct Neighbour {
  KeyAdvertisement keys;
  SecretBytes box_key;
  bool delivered = false;  // finished R1: we share a mask with it
  SecretBytes shares;      // of its secrets, from its box; empty when the box did not open
};

}  // namespace

struct SecAggClient::State {
  SecAggParameters parameters;
  RandomSource* random = nullptr;
  Phase phase = Phase::kAdvertise;

  std::optional<OneTimeKeys> prepared_keys;
  std::optional<KeyExchangeKey> mask_key, transport_key;
  std::optional<SigningKey> signing_key;
  KeyAdvertisement advertisement;

  Hash256 root = {};
  ClientIndex own_index = 0;
  bool complete = false;
  std::map<ClientIndex, Neighbour> neighbours;
  SecretBytes self_seed;
  SecretBytes own_shares;  // of our own secrets; complete graph only

  uint32_t survivor_count = 0;
  std::vector<ClientIndex> alive, dropped;

  // Wipes every secret; what is left is public.
  void Wipe() {
    prepared_keys.reset();
    mask_key.reset();
    transport_key.reset();
    signing_key.reset();
    self_seed.Wipe();
    own_shares.Wipe();
    neighbours.clear();
  }

  absl::Status Expect(Phase expected) const {
    if (phase == Phase::kAborted)
      return absl::FailedPreconditionError("secure aggregation: session was aborted");
    if (phase == expected) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrFormat("secure aggregation: expected step R%d, got a call of R%d",
                        static_cast<int>(phase), static_cast<int>(expected)));
  }

  // Passes a result on; an error ends the session as ABORTED, with all keys wiped.
  template <typename T>
  absl::StatusOr<T> Conclude(absl::StatusOr<T> result, Phase next) {
    if (result.ok()) {
      phase = next;
      return result;
    }
    phase = Phase::kAborted;
    Wipe();
    return absl::AbortedError(result.status().message());
  }

  absl::Status CheckSession(const SessionId& session) const {
    if (session == parameters.session) return absl::OkStatus();
    return absl::AbortedError(absl::StrFormat("message of another session: expected %s, got %s",
                                              ToHex(parameters.session), ToHex(session)));
  }

  // A component of our acknowledgement or of our masks.
  bool IsNeighbour(ClientIndex client) const { return neighbours.contains(client); }

  absl::Status CheckDirectory(const KeyDirectory& directory) const;
  absl::StatusOr<ShareKeysMessage> ShareKeys(const KeyDirectory& directory);
  absl::Status OpenBoxes(const ShareDelivery& delivery);
  absl::StatusOr<MaskedUpdate> MaskInput(const ShareDelivery& delivery, const EncodedDelta& input);
  absl::Status CheckSurvivors(const SurvivorLists& lists) const;
  absl::StatusOr<Acknowledgement> Acknowledge(const SurvivorLists& lists);
  absl::Status CheckStatement(const Acknowledgement& statement) const;
  absl::StatusOr<UnmaskResponse> Unmask(const AcknowledgementSet& set);
};

SecAggClient::SecAggClient(std::unique_ptr<State> state) : state_(std::move(state)) {}
SecAggClient::~SecAggClient() = default;

absl::StatusOr<std::unique_ptr<SecAggClient>> SecAggClient::Create(
    const SecAggParameters& parameters, RandomSource* random, std::optional<OneTimeKeys> keys) {
  RETURN_IF_ERROR(ValidateParameters(parameters));
  auto state = std::make_unique<State>();
  state->prepared_keys = std::move(keys);
  state->parameters = parameters;
  state->random = random;
  return std::unique_ptr<SecAggClient>(new SecAggClient(std::move(state)));
}

absl::StatusOr<KeyAdvertisement> SecAggClient::AdvertiseKeys() {
  State& s = *state_;
  RETURN_IF_ERROR(s.Expect(Phase::kAdvertise));
  OneTimeKeys keys =
      s.prepared_keys ? *std::move(s.prepared_keys) : OneTimeKeys::Generate(s.random);
  s.prepared_keys.reset();
  s.advertisement = keys.ForSession(s.parameters.session);
  s.mask_key = std::move(keys.mask_key);
  s.transport_key = std::move(keys.transport_key);
  s.signing_key = std::move(keys.signing_key);
  s.phase = Phase::kShare;
  return s.advertisement;
}

// R1 checks: cohort size, own place, neighbours forced by the root, proofs, distinct keys.
absl::Status SecAggClient::State::CheckDirectory(const KeyDirectory& directory) const {
  RETURN_IF_ERROR(CheckSession(directory.session));
  const uint32_t n = directory.client_count;
  if (n < static_cast<uint32_t>(parameters.cohort_min) ||
      n > static_cast<uint32_t>(parameters.cohort_max)) {
    return absl::AbortedError(absl::StrFormat("cohort: expected %d..%d clients, got %d",
                                              parameters.cohort_min, parameters.cohort_max, n));
  }
  if (!VerifyMerkleProof(directory.root, n, directory.own_index, AdvertisementHash(advertisement),
                         directory.own_proof)) {
    return absl::AbortedError("key list: own keys are not at the index given");
  }
  const SessionGraph graph(parameters.session, directory.root, n, parameters.degree);
  if (2 * parameters.threshold <= graph.holder_count() ||
      parameters.threshold > graph.holder_count()) {
    return absl::AbortedError(
        absl::StrFormat("threshold: expected more than half of %d holders, got %d",
                        graph.holder_count(), parameters.threshold));
  }
  const std::vector<ClientIndex> expected = graph.Neighbours(directory.own_index);
  if (directory.neighbours.size() != expected.size()) {
    return absl::AbortedError(absl::StrFormat("key list: expected %d neighbours, got %d",
                                              expected.size(), directory.neighbours.size()));
  }
  std::set<std::array<uint8_t, 32>> keys = {advertisement.mask_key, advertisement.transport_key,
                                            advertisement.signing_key};
  for (size_t i = 0; i < expected.size(); ++i) {
    const NeighbourKeys& neighbour = directory.neighbours[i];
    if (neighbour.index != expected[i]) {
      return absl::AbortedError(
          absl::StrFormat("key list: expected neighbour %d, got %d", expected[i], neighbour.index));
    }
    RETURN_IF_ERROR(CheckSession(neighbour.keys.session));
    if (!VerifyMerkleProof(directory.root, n, neighbour.index, AdvertisementHash(neighbour.keys),
                           neighbour.proof)) {
      return absl::AbortedError(
          absl::StrFormat("key list: keys of client %d are not under the root", neighbour.index));
    }
    if (!keys.insert(neighbour.keys.mask_key).second ||
        !keys.insert(neighbour.keys.transport_key).second ||
        !keys.insert(neighbour.keys.signing_key).second) {
      return absl::AbortedError(
          absl::StrFormat("key list: client %d repeats a key", neighbour.index));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ShareKeysMessage> SecAggClient::State::ShareKeys(const KeyDirectory& directory) {
  RETURN_IF_ERROR(CheckDirectory(directory));
  root = directory.root;
  own_index = directory.own_index;
  const SessionGraph graph(parameters.session, root, directory.client_count, parameters.degree);
  complete = graph.complete();
  const std::vector<ClientIndex> holders = graph.Holders(own_index);
  std::vector<uint64_t> points;
  for (ClientIndex holder : holders) points.push_back(PointOf(holder));

  self_seed = SecretBytes::Random(kSharedSecretBytes, random);
  const SecretBytes seed_shares = SplitSecret(self_seed, parameters.threshold, points, random);
  const SecretBytes key_shares =
      SplitSecret(mask_key->secret(), parameters.threshold, points, random);
  for (const NeighbourKeys& neighbour : directory.neighbours) {
    ASSIGN_OR_RETURN(const SecretBytes shared, transport_key->Agree(neighbour.keys.transport_key));
    Neighbour& entry = neighbours[neighbour.index];
    entry.keys = neighbour.keys;
    entry.box_key = BoxKey(parameters.session, own_index, neighbour.index, shared);
  }
  ShareKeysMessage message{
      .session = parameters.session,
      .sender = own_index,
      .seed_commitment = SeedCommitment(parameters.session, own_index, self_seed),
      .boxes = {}};
  const SecretAccess access("send shares");
  for (size_t i = 0; i < holders.size(); ++i) {
    SecretBytes plain(kBoxPlainBytes);
    const std::span<uint8_t> halves = plain.OpenMutable(access);
    std::ranges::copy(seed_shares.Open(access).subspan(i * kShareBytes, kShareBytes),
                      halves.begin());
    std::ranges::copy(key_shares.Open(access).subspan(i * kShareBytes, kShareBytes),
                      halves.begin() + kShareBytes);
    if (holders[i] == own_index) {
      own_shares = std::move(plain);
      continue;
    }
    message.boxes.push_back(
        {.recipient = holders[i],
         .sealed = AeadSeal(neighbours[holders[i]].box_key, plain.Open(access),
                            BoxContext(parameters.session, own_index, holders[i]), random)});
  }
  return message;
}

absl::StatusOr<ShareKeysMessage> SecAggClient::ShareKeys(const KeyDirectory& directory) {
  RETURN_IF_ERROR(state_->Expect(Phase::kShare));
  return state_->Conclude(state_->ShareKeys(directory), Phase::kMask);
}

// R2 checks: addressed to us, from neighbours, each once; enough boxes open (sealed for this
// session and direction).
absl::Status SecAggClient::State::OpenBoxes(const ShareDelivery& delivery) {
  RETURN_IF_ERROR(CheckSession(delivery.session));
  if (delivery.recipient != own_index) {
    return absl::AbortedError(absl::StrFormat("share delivery: expected recipient %d, got %d",
                                              own_index, delivery.recipient));
  }
  int opened = complete ? 1 : 0;  // our own share needs no box
  for (const DeliveredBox& box : delivery.boxes) {
    const auto found = neighbours.find(box.sender);
    if (found == neighbours.end() || found->second.delivered) {
      return absl::AbortedError(absl::StrFormat(
          "share delivery: expected each neighbour at most once, got client %d", box.sender));
    }
    Neighbour& neighbour = found->second;
    neighbour.delivered = true;
    absl::StatusOr<SecretBytes> plain = AeadOpen(
        neighbour.box_key, box.sealed, BoxContext(parameters.session, box.sender, own_index));
    // A neighbour's bad box costs us its shares, not the session: others may hold enough of them.
    if (!plain.ok() || plain->size_bytes() != kBoxPlainBytes) continue;
    neighbour.shares = std::move(plain).value();
    ++opened;
  }
  if (opened < parameters.threshold) {
    return absl::AbortedError(absl::StrFormat(
        "share delivery: expected at least %d good shares, got %d", parameters.threshold, opened));
  }
  return absl::OkStatus();
}

absl::StatusOr<MaskedUpdate> SecAggClient::State::MaskInput(const ShareDelivery& delivery,
                                                            const EncodedDelta& input) {
  RETURN_IF_ERROR(OpenBoxes(delivery));
  std::vector<Mask> masks;
  masks.push_back(
      {.key = SelfMaskKey(parameters.session, own_index, self_seed), .subtract = false});
  for (auto& [index, neighbour] : neighbours) {
    if (!neighbour.delivered) continue;
    ASSIGN_OR_RETURN(const SecretBytes shared, mask_key->Agree(neighbour.keys.mask_key));
    masks.push_back({.key = PairMaskKey(parameters.session, own_index, index, shared),
                     .subtract = index < own_index});
  }
  std::vector<uint32_t> words = input.words();
  AddMasks(masks, parameters.modulus_bits, words);
  mask_key.reset();  // its work is done: the pairwise masks must never be made again
  self_seed.Wipe();
  return MaskedUpdate{.session = parameters.session,
                      .sender = own_index,
                      .packed = PackBits(words, parameters.modulus_bits)};
}

absl::StatusOr<MaskedUpdate> SecAggClient::MaskInput(const ShareDelivery& delivery,
                                                     const EncodedDelta& input) {
  State& s = *state_;
  RETURN_IF_ERROR(s.Expect(Phase::kMask));
  const std::vector<uint32_t>& words = input.words();
  if (static_cast<int64_t>(words.size()) != s.parameters.dimension) {
    return absl::InvalidArgumentError(
        absl::StrFormat("input: expected %d words, got %d", s.parameters.dimension, words.size()));
  }
  const uint32_t largest = ~uint32_t{0} >> (32 - s.parameters.modulus_bits);
  if (std::any_of(words.begin(), words.end(), [&](uint32_t word) { return word > largest; })) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "input: expected words below 2^%d, got a larger one", s.parameters.modulus_bits));
  }
  return s.Conclude(s.MaskInput(delivery, input), Phase::kAcknowledge);
}

// R3 checks: the two lists are disjoint and cover exactly the neighbours that finished R1 and
// ourselves; we are alive; enough are alive here and in the whole cohort.
absl::Status SecAggClient::State::CheckSurvivors(const SurvivorLists& lists) const {
  RETURN_IF_ERROR(CheckSession(lists.session));
  if (lists.survivor_count < static_cast<uint32_t>(parameters.cohort_min) ||
      lists.survivor_count > static_cast<uint32_t>(parameters.cohort_max)) {
    return absl::AbortedError(absl::StrFormat("survivors: expected %d..%d clients, got %d",
                                              parameters.cohort_min, parameters.cohort_max,
                                              lists.survivor_count));
  }
  std::set<ClientIndex> listed;
  for (const auto* list : {&lists.alive, &lists.dropped}) {
    for (ClientIndex client : *list) {
      const auto found = neighbours.find(client);
      if (client != own_index && (found == neighbours.end() || !found->second.delivered)) {
        return absl::AbortedError(absl::StrFormat(
            "survivors: expected neighbours that shared keys, got client %d", client));
      }
      if (!listed.insert(client).second) {
        return absl::AbortedError(absl::StrFormat("survivors: client %d is listed twice", client));
      }
    }
  }
  const size_t delivered = std::count_if(neighbours.begin(), neighbours.end(),
                                         [](const auto& entry) { return entry.second.delivered; });
  if (listed.size() != delivered + 1) {
    return absl::AbortedError(
        absl::StrFormat("survivors: expected %d clients in both lists together, got %d",
                        delivered + 1, listed.size()));
  }
  if (std::find(lists.alive.begin(), lists.alive.end(), own_index) == lists.alive.end()) {
    return absl::AbortedError("survivors: expected to be listed as alive, got dropped");
  }
  const size_t alive_holders = complete ? lists.alive.size() : lists.alive.size() - 1;
  if (alive_holders < static_cast<size_t>(parameters.threshold) ||
      lists.alive.size() > lists.survivor_count) {
    return absl::AbortedError(
        absl::StrFormat("survivors: expected at least %d alive holders among %d, got %d",
                        parameters.threshold, lists.survivor_count, alive_holders));
  }
  return absl::OkStatus();
}

absl::StatusOr<Acknowledgement> SecAggClient::State::Acknowledge(const SurvivorLists& lists) {
  RETURN_IF_ERROR(CheckSurvivors(lists));
  survivor_count = lists.survivor_count;
  alive = lists.alive;
  dropped = lists.dropped;
  std::sort(alive.begin(), alive.end());
  std::sort(dropped.begin(), dropped.end());
  Acknowledgement acknowledgement{.session = parameters.session,
                                  .sender = own_index,
                                  .alive = alive,
                                  .dropped = dropped,
                                  .signature = {}};
  acknowledgement.signature = signing_key->Sign(
      kAcknowledgementLabel, AcknowledgementStatement(acknowledgement, root, survivor_count));
  signing_key.reset();  // one statement, ever
  return acknowledgement;
}

absl::StatusOr<Acknowledgement> SecAggClient::Acknowledge(const SurvivorLists& lists) {
  RETURN_IF_ERROR(state_->Expect(Phase::kAcknowledge));
  return state_->Conclude(state_->Acknowledge(lists), Phase::kUnmask);
}

// A neighbour's statement: signed over our key list and survivor count, lists us as alive, and says
// nothing of a client we both know that contradicts what we were told.
absl::Status SecAggClient::State::CheckStatement(const Acknowledgement& statement) const {
  const ClientIndex sender = statement.sender;
  if (!std::binary_search(alive.begin(), alive.end(), sender)) {
    return absl::AbortedError(absl::StrFormat(
        "acknowledgements: expected statements of alive neighbours, got client %d", sender));
  }
  const Ed25519PublicKey& key =
      sender == own_index ? advertisement.signing_key : neighbours.at(sender).keys.signing_key;
  if (statement.session != parameters.session ||
      !VerifySignature(key, kAcknowledgementLabel,
                       AcknowledgementStatement(statement, root, survivor_count),
                       statement.signature)) {
    return absl::AbortedError(
        absl::StrFormat("acknowledgements: bad signature of client %d", sender));
  }
  if (std::find(statement.alive.begin(), statement.alive.end(), own_index) ==
      statement.alive.end()) {
    return absl::AbortedError(
        absl::StrFormat("acknowledgements: client %d was told that we dropped out", sender));
  }
  for (ClientIndex client : statement.alive) {
    if (std::binary_search(dropped.begin(), dropped.end(), client)) {
      return absl::AbortedError(absl::StrFormat(
          "acknowledgements: clients were told different things about client %d", client));
    }
  }
  for (ClientIndex client : statement.dropped) {
    if (std::binary_search(alive.begin(), alive.end(), client)) {
      return absl::AbortedError(absl::StrFormat(
          "acknowledgements: clients were told different things about client %d", client));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<UnmaskResponse> SecAggClient::State::Unmask(const AcknowledgementSet& set) {
  RETURN_IF_ERROR(CheckSession(set.session));
  std::set<ClientIndex> senders;
  for (const Acknowledgement& statement : set.acknowledgements) {
    RETURN_IF_ERROR(CheckStatement(statement));
    if (!complete && statement.sender == own_index) continue;  // says nothing about our neighbours
    if (!senders.insert(statement.sender).second) {
      return absl::AbortedError(
          absl::StrFormat("acknowledgements: client %d is there twice", statement.sender));
    }
  }
  if (senders.size() < static_cast<size_t>(parameters.threshold)) {
    return absl::AbortedError(absl::StrFormat("acknowledgements: expected at least %d, got %d",
                                              parameters.threshold, senders.size()));
  }
  UnmaskResponse response{
      .session = parameters.session, .sender = own_index, .seed_shares = {}, .mask_key_shares = {}};
  const SecretAccess access("reveal shares");
  // Of each peer exactly one kind: the lists are disjoint (CheckSurvivors).
  const auto reveal = [&](ClientIndex owner, size_t offset, std::vector<RevealedShare>* out) {
    const SecretBytes& shares = owner == own_index ? own_shares : neighbours.at(owner).shares;
    if (shares.empty()) return;
    const auto bytes = shares.Open(access).subspan(offset, kShareBytes);
    out->push_back({.owner = owner, .share = {bytes.begin(), bytes.end()}});
  };
  for (ClientIndex owner : alive) reveal(owner, 0, &response.seed_shares);
  for (ClientIndex owner : dropped) reveal(owner, kShareBytes, &response.mask_key_shares);
  Wipe();
  return response;
}

absl::StatusOr<UnmaskResponse> SecAggClient::Unmask(const AcknowledgementSet& set) {
  RETURN_IF_ERROR(state_->Expect(Phase::kUnmask));
  return state_->Conclude(state_->Unmask(set), Phase::kDone);
}

}  // namespace lorikeet
