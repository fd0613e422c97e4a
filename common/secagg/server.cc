#include "common/secagg/server.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/crypto/key_exchange.h"
#include "common/crypto/sign.h"
#include "common/secagg/derive.h"
#include "common/secagg/server_state.h"

namespace lorikeet {

std::string_view SecAggStepName(SecAggStep step) {
  switch (step) {
    case SecAggStep::kAdvertise:
      return "advertise";
    case SecAggStep::kShare:
      return "share";
    case SecAggStep::kMask:
      return "mask";
    case SecAggStep::kAcknowledge:
      return "acknowledge";
    case SecAggStep::kUnmask:
      return "unmask";
    case SecAggStep::kDone:
      return "done";
    case SecAggStep::kAborted:
      return "aborted";
  }
  return "unknown";
}

absl::Status SecAggServer::State::Expect(SecAggStep wanted) const {
  if (step == wanted) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrFormat("secure aggregation: expected step %s, the session is at %s",
                      ToAbsl(SecAggStepName(wanted)), ToAbsl(SecAggStepName(step))));
}

absl::Status SecAggServer::State::Abort(std::string reason) {
  step = SecAggStep::kAborted;
  abort_reason = std::move(reason);
  return absl::AbortedError(abort_reason);
}

absl::Status SecAggServer::State::CheckClient(const SessionId& session, ClientIndex client) const {
  if (session != parameters.session) {
    return absl::InvalidArgumentError("message of another session");
  }
  if (step == SecAggStep::kAborted || clients.empty()) return Expect(SecAggStep::kShare);
  if (client >= clients.size()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("client index: expected below %d, got %d", clients.size(), client));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> SecAggServer::State::IsNew(const std::optional<Hash256>& slot,
                                                const Hash256& hash, ClientIndex client) const {
  if (!slot) return true;
  if (*slot == hash) return false;
  return absl::AlreadyExistsError(
      absl::StrFormat("client %d sent another message in this step", client));
}

template <typename Predicate>
absl::Status SecAggServer::State::CheckHolders(const Predicate& present) const {
  for (ClientIndex owner = 0; owner < clients.size(); ++owner) {
    if (!clients[owner].shared) continue;
    int holders = graph->complete() && present(owner) ? 1 : 0;
    for (ClientIndex holder : clients[owner].neighbours) holders += present(holder) ? 1 : 0;
    if (holders < parameters.threshold) {
      return absl::AbortedError(
          absl::StrFormat("client %d: expected %d holders of its shares, %d are left", owner,
                          parameters.threshold, holders));
    }
  }
  return absl::OkStatus();
}

absl::Status SecAggServer::State::CloseStep(SecAggStep from, SecAggStep to, int minimum) {
  RETURN_IF_ERROR(Expect(from));
  if (arrived < minimum) {
    return Abort(absl::StrFormat("step %s: expected at least %d clients, got %d",
                                 ToAbsl(SecAggStepName(from)), minimum, arrived));
  }
  absl::Status holders;
  if (from == SecAggStep::kShare) {
    holders = CheckHolders([&](ClientIndex c) { return clients[c].shared.has_value(); });
  } else if (from == SecAggStep::kMask) {
    holders = CheckHolders([&](ClientIndex c) { return clients[c].masked.has_value(); });
  } else if (from == SecAggStep::kAcknowledge) {
    holders = CheckHolders([&](ClientIndex c) { return clients[c].acknowledged.has_value(); });
  }
  if (!holders.ok()) return Abort(std::string(Message(holders)));
  step = to;
  expected = std::exchange(arrived, 0);
  return absl::OkStatus();
}

SurvivorLists SecAggServer::State::Survivors(ClientIndex client) const {
  SurvivorLists lists{.session = parameters.session,
                      .survivor_count = survivor_count,
                      .alive = {client},
                      .dropped = {}};
  for (ClientIndex neighbour : clients[client].neighbours) {
    if (alive(neighbour)) lists.alive.push_back(neighbour);
    if (dropped(neighbour)) lists.dropped.push_back(neighbour);
  }
  std::sort(lists.alive.begin(), lists.alive.end());
  return lists;
}

SecAggServer::SecAggServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
SecAggServer::~SecAggServer() = default;

absl::StatusOr<std::unique_ptr<SecAggServer>> SecAggServer::Create(
    const SecAggParameters& parameters) {
  RETURN_IF_ERROR(ValidateParameters(parameters));
  auto state = std::make_unique<State>();
  state->parameters = parameters;
  state->expected = parameters.cohort_max;
  return std::unique_ptr<SecAggServer>(new SecAggServer(std::move(state)));
}

SecAggStep SecAggServer::step() const { return state_->step; }
int SecAggServer::expected() const { return state_->expected; }
int SecAggServer::arrived() const { return state_->arrived; }
std::string_view SecAggServer::abort_reason() const { return state_->abort_reason; }
void SecAggServer::Abort(std::string_view reason) { (void)state_->Abort(std::string(reason)); }

absl::StatusOr<uint32_t> SecAggServer::AddAdvertisement(const KeyAdvertisement& message) {
  State& s = *state_;
  if (message.session != s.parameters.session)
    return absl::InvalidArgumentError("message of another session");
  const Hash256 hash = AdvertisementHash(message);
  if (const auto found = s.ticket_of_advertisement.find(hash);
      found != s.ticket_of_advertisement.end() && s.step != SecAggStep::kAborted) {
    return found->second;
  }
  RETURN_IF_ERROR(s.Expect(SecAggStep::kAdvertise));
  if (s.arrived == s.parameters.cohort_max) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("cohort: all %d places are taken", s.parameters.cohort_max));
  }
  // With such a key its neighbours could agree on nothing, and would leave the round.
  if (!IsUsablePublicKey(message.mask_key) || !IsUsablePublicKey(message.transport_key)) {
    return absl::InvalidArgumentError("advertisement: expected keys of large order");
  }
  const std::set<std::array<uint8_t, 32>> keys = {message.mask_key, message.transport_key,
                                                  message.signing_key};
  if (keys.size() != 3)
    return absl::InvalidArgumentError("advertisement: expected three different keys");
  for (const auto& key : keys) {
    if (s.keys_seen.contains(key)) {
      return absl::InvalidArgumentError(
          "advertisement: expected fresh keys, got one that was seen before");
    }
  }
  s.keys_seen.insert(keys.begin(), keys.end());
  const uint32_t ticket = static_cast<uint32_t>(s.advertisements.size());
  s.advertisements.push_back(message);
  s.ticket_of_advertisement[hash] = ticket;
  ++s.arrived;
  return ticket;
}

absl::Status SecAggServer::CloseAdvertise() {
  State& s = *state_;
  RETURN_IF_ERROR(s.Expect(SecAggStep::kAdvertise));
  const uint32_t n = static_cast<uint32_t>(s.advertisements.size());
  RETURN_IF_ERROR(s.CloseStep(SecAggStep::kAdvertise, SecAggStep::kShare, s.parameters.cohort_min));
  // In the order of their hashes: the order is a function of the set.
  std::vector<Hash256> leaves;
  s.index_of_ticket.resize(n);
  for (const auto& [hash, ticket] : s.ticket_of_advertisement) {
    s.index_of_ticket[ticket] = static_cast<ClientIndex>(leaves.size());
    leaves.push_back(hash);
    s.clients.emplace_back().keys = s.advertisements[ticket];
  }
  s.tree.emplace(std::move(leaves));
  s.graph.emplace(s.parameters.session, s.tree->root(), n, s.parameters.degree);
  if (s.parameters.threshold > s.graph->holder_count() ||
      2 * s.parameters.threshold <= s.graph->holder_count()) {
    return s.Abort(absl::StrFormat(
        "step advertise: expected a threshold of more than half of %d holders, got %d",
        s.graph->holder_count(), s.parameters.threshold));
  }
  for (ClientIndex client = 0; client < n; ++client) {
    s.clients[client].neighbours = s.graph->Neighbours(client);
    s.clients[client].inbox.reserve(s.clients[client].neighbours.size());
  }
  return absl::OkStatus();
}

absl::StatusOr<ClientIndex> SecAggServer::IndexFor(uint32_t ticket) const {
  const State& s = *state_;
  if (s.step == SecAggStep::kAborted || s.clients.empty()) return s.Expect(SecAggStep::kShare);
  if (ticket >= s.index_of_ticket.size()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("ticket: expected below %d, got %d", s.index_of_ticket.size(), ticket));
  }
  return s.index_of_ticket[ticket];
}

absl::StatusOr<KeyDirectory> SecAggServer::DirectoryFor(uint32_t ticket) const {
  const State& s = *state_;
  ASSIGN_OR_RETURN(const ClientIndex own, IndexFor(ticket));
  KeyDirectory directory{.session = s.parameters.session,
                         .client_count = static_cast<uint32_t>(s.clients.size()),
                         .root = s.tree->root(),
                         .own_index = own,
                         .own_proof = s.tree->Proof(own),
                         .neighbours = {}};
  for (ClientIndex neighbour : s.clients[own].neighbours) {
    directory.neighbours.push_back(
        {.index = neighbour, .keys = s.clients[neighbour].keys, .proof = s.tree->Proof(neighbour)});
  }
  return directory;
}

absl::Status SecAggServer::AddShareKeys(const ShareKeysMessage& message) {
  State& s = *state_;
  RETURN_IF_ERROR(s.CheckClient(message.session, message.sender));
  SecAggServerClient& client = s.clients[message.sender];
  const Hash256 hash = MessageHash(message);
  ASSIGN_OR_RETURN(const bool is_new, s.IsNew(client.shared, hash, message.sender));
  if (!is_new) return absl::OkStatus();
  RETURN_IF_ERROR(s.Expect(SecAggStep::kShare));
  if (message.boxes.size() != client.neighbours.size()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "share boxes: expected %d, got %d", client.neighbours.size(), message.boxes.size()));
  }
  for (size_t i = 0; i < message.boxes.size(); ++i) {
    const ShareBox& box = message.boxes[i];
    if (box.recipient != client.neighbours[i] || box.sealed.size() != kBoxBytes) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "share boxes: expected one of %d bytes for client %d, got one of %d bytes for client %d",
          kBoxBytes, client.neighbours[i], box.sealed.size(), box.recipient));
    }
  }
  for (const ShareBox& box : message.boxes) {
    StoredBox& stored = s.clients[box.recipient].inbox.emplace_back();
    stored.sender = message.sender;
    std::copy(box.sealed.begin(), box.sealed.end(), stored.sealed.begin());
  }
  client.seed_commitment = message.seed_commitment;
  client.shared = hash;
  ++s.arrived;
  return absl::OkStatus();
}

absl::Status SecAggServer::CloseShare() {
  RETURN_IF_ERROR(
      state_->CloseStep(SecAggStep::kShare, SecAggStep::kMask, state_->parameters.cohort_min));
  state_->sum.assign(state_->parameters.dimension, 0);
  return absl::OkStatus();
}

absl::StatusOr<ShareDelivery> SecAggServer::DeliveryFor(ClientIndex client) const {
  const State& s = *state_;
  RETURN_IF_ERROR(s.CheckClient(s.parameters.session, client));
  RETURN_IF_ERROR(s.Expect(SecAggStep::kMask));
  if (!s.clients[client].shared) {
    return absl::FailedPreconditionError(
        absl::StrFormat("client %d did not share keys in time", client));
  }
  ShareDelivery delivery{.session = s.parameters.session, .recipient = client, .boxes = {}};
  for (const StoredBox& box : s.clients[client].inbox) {
    delivery.boxes.push_back(
        {.sender = box.sender, .sealed = {box.sealed.begin(), box.sealed.end()}});
  }
  return delivery;
}

uint64_t SecAggServer::State::PackedBytes() const {
  return (static_cast<uint64_t>(parameters.dimension) * parameters.modulus_bits + 7) / 8;
}

absl::StatusOr<bool> SecAggServer::State::MaskedIsNew(ClientIndex sender,
                                                      const Hash256& hash) const {
  ASSIGN_OR_RETURN(const bool is_new, IsNew(clients[sender].masked, hash, sender));
  if (!is_new) return false;
  RETURN_IF_ERROR(Expect(SecAggStep::kMask));
  if (clients[sender].shared) return true;
  return absl::FailedPreconditionError(
      absl::StrFormat("client %d did not share keys in time", sender));
}

void SecAggServer::State::EnterMasked(ClientIndex sender, const Hash256& hash) {
  clients[sender].masked = hash;
  ++arrived;
  ++survivor_count;
}

absl::Status SecAggServer::AddMaskedUpdate(const MaskedUpdate& message) {
  State& s = *state_;
  RETURN_IF_ERROR(s.CheckClient(message.session, message.sender));
  const Hash256 hash = Blake2b(message.packed);
  ASSIGN_OR_RETURN(const bool is_new, s.MaskedIsNew(message.sender, hash));
  if (!is_new) return absl::OkStatus();
  if (message.packed.size() != s.PackedBytes()) {
    return absl::InvalidArgumentError(absl::StrFormat("masked update: expected %d bytes, got %d",
                                                      s.PackedBytes(), message.packed.size()));
  }
  AddPackedBits(message.packed, s.parameters.modulus_bits, s.sum);
  s.EnterMasked(message.sender, hash);
  return absl::OkStatus();
}

absl::Status SecAggServer::AddMaskedElsewhere(ClientIndex sender, const Hash256& hash) {
  State& s = *state_;
  RETURN_IF_ERROR(s.CheckClient(s.parameters.session, sender));
  ASSIGN_OR_RETURN(const bool is_new, s.MaskedIsNew(sender, hash));
  if (is_new) s.EnterMasked(sender, hash);
  return absl::OkStatus();
}

std::vector<uint8_t> SecAggServer::PackedSum() const {
  std::vector<uint32_t> words = state_->sum;
  const int bits = state_->parameters.modulus_bits;
  if (bits < 32) {
    for (uint32_t& word : words) word &= (uint32_t{1} << bits) - 1;
  }
  return PackBits(words, bits);
}

absl::Status SecAggServer::SetOtherSums(const std::vector<std::vector<uint8_t>>& sums) {
  State& s = *state_;
  std::vector<uint32_t> others(sums.empty() ? 0 : static_cast<size_t>(s.parameters.dimension));
  for (const std::vector<uint8_t>& packed : sums) {
    if (packed.size() != s.PackedBytes()) {
      return absl::InvalidArgumentError(absl::StrFormat("partial sum: expected %d bytes, got %d",
                                                        s.PackedBytes(), packed.size()));
    }
    AddPackedBits(packed, s.parameters.modulus_bits, others);
  }
  s.others = std::move(others);
  return absl::OkStatus();
}

absl::Status SecAggServer::CloseMask() {
  RETURN_IF_ERROR(state_->CloseStep(SecAggStep::kMask, SecAggStep::kAcknowledge,
                                    state_->parameters.cohort_min));
  for (SecAggServerClient& client : state_->clients) client.inbox = {};  // nobody reads them now
  return absl::OkStatus();
}

absl::StatusOr<SurvivorLists> SecAggServer::SurvivorsFor(ClientIndex client) const {
  const State& s = *state_;
  RETURN_IF_ERROR(s.CheckClient(s.parameters.session, client));
  if (s.step < SecAggStep::kAcknowledge) return s.Expect(SecAggStep::kAcknowledge);
  if (!s.alive(client)) {
    return absl::FailedPreconditionError(
        absl::StrFormat("client %d did not send its input in time", client));
  }
  return s.Survivors(client);
}

absl::Status SecAggServer::AddAcknowledgement(const Acknowledgement& message) {
  State& s = *state_;
  RETURN_IF_ERROR(s.CheckClient(message.session, message.sender));
  SecAggServerClient& client = s.clients[message.sender];
  const Hash256 hash = MessageHash(message);
  ASSIGN_OR_RETURN(const bool is_new, s.IsNew(client.acknowledged, hash, message.sender));
  if (!is_new) return absl::OkStatus();
  RETURN_IF_ERROR(s.Expect(SecAggStep::kAcknowledge));
  if (!client.masked) {
    return absl::FailedPreconditionError(
        absl::StrFormat("client %d did not send its input in time", message.sender));
  }
  const SurvivorLists lists = s.Survivors(message.sender);
  if (message.alive != lists.alive || message.dropped != lists.dropped) {
    return absl::InvalidArgumentError("acknowledgement: expected the lists that were sent, sorted");
  }
  if (!VerifySignature(client.keys.signing_key, kAcknowledgementLabel,
                       AcknowledgementStatement(message, s.tree->root(), s.survivor_count),
                       message.signature)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("acknowledgement: bad signature of client %d", message.sender));
  }
  client.acknowledgement = message;
  client.acknowledged = hash;
  ++s.arrived;
  return absl::OkStatus();
}

absl::Status SecAggServer::CloseAcknowledge() {
  return state_->CloseStep(SecAggStep::kAcknowledge, SecAggStep::kUnmask, 1);
}

absl::StatusOr<AcknowledgementSet> SecAggServer::AcknowledgementsFor(ClientIndex client) const {
  const State& s = *state_;
  RETURN_IF_ERROR(s.CheckClient(s.parameters.session, client));
  if (s.step < SecAggStep::kUnmask) return s.Expect(SecAggStep::kUnmask);
  if (!s.clients[client].acknowledged) {
    return absl::FailedPreconditionError(
        absl::StrFormat("client %d did not acknowledge in time", client));
  }
  AcknowledgementSet set{.session = s.parameters.session,
                         .acknowledgements = {s.clients[client].acknowledgement}};
  for (ClientIndex neighbour : s.clients[client].neighbours) {
    if (s.clients[neighbour].acknowledged)
      set.acknowledgements.push_back(s.clients[neighbour].acknowledgement);
  }
  return set;
}

}  // namespace lorikeet
