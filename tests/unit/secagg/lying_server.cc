#include "tests/unit/secagg/lying_server.h"

#include <algorithm>

#include "common/base/status_macros.h"

namespace lorikeet {

LyingServer::LyingServer(const SecAggParameters& parameters, int count, uint64_t seed)
    : parameters_(parameters), clients_(count), statements_(count) {
  server_ = SecAggServer::Create(parameters).value();
  std::vector<std::unique_ptr<SecAggClient>> by_ticket;
  for (int i = 0; i < count; ++i) {
    randoms_.push_back(std::make_unique<SeededRandom>("lied to", seed * 100000 + i));
    by_ticket.push_back(SecAggClient::Create(parameters, randoms_.back().get()).value());
    LORIKEET_CHECK(server_->AddAdvertisement(by_ticket[i]->AdvertiseKeys().value()).ok());
  }
  LORIKEET_CHECK(server_->CloseAdvertise().ok());
  neighbours_.resize(count);
  for (int i = 0; i < count; ++i) {
    const KeyDirectory directory = server_->DirectoryFor(i).value();
    for (const NeighbourKeys& neighbour : directory.neighbours)
      neighbours_[directory.own_index].push_back(neighbour.index);
    LORIKEET_CHECK(server_->AddShareKeys(by_ticket[i]->ShareKeys(directory).value()).ok());
    clients_[directory.own_index] = std::move(by_ticket[i]);
  }
  LORIKEET_CHECK(server_->CloseShare().ok());
  for (ClientIndex i = 0; i < clients_.size(); ++i) {
    inputs_.push_back(RandomInput(parameters.dimension, parameters.modulus_bits, seed + i));
    updates_.push_back(
        clients_[i]->MaskInput(server_->DeliveryFor(i).value(), inputs_.back()).value());
    LORIKEET_CHECK(server_->AddMaskedUpdate(updates_.back()).ok());
  }
  LORIKEET_CHECK(server_->CloseMask().ok());
}

SurvivorLists LyingServer::ListsFor(ClientIndex client, const std::set<ClientIndex>& dropped,
                                    uint32_t survivor_count) const {
  SurvivorLists lists{.session = parameters_.session,
                      .survivor_count = survivor_count,
                      .alive = {client},
                      .dropped = {}};
  for (const ClientIndex other : neighbours_[client])
    (dropped.contains(other) ? lists.dropped : lists.alive).push_back(other);
  return lists;
}

AcknowledgementSet LyingServer::StatementsFor(ClientIndex client) const {
  const Acknowledgement& own = *statements_[client];
  const auto lists = [](const std::vector<ClientIndex>& list, ClientIndex who) {
    return std::find(list.begin(), list.end(), who) != list.end();
  };
  AcknowledgementSet set{.session = parameters_.session, .acknowledgements = {}};
  for (const ClientIndex sender : own.alive) {
    const auto& statement = statements_[sender];
    if (!statement || !lists(statement->alive, client)) continue;
    const auto contradicts = [&](const auto& theirs, const auto& ours) {
      return std::any_of(theirs.begin(), theirs.end(),
                         [&](ClientIndex who) { return lists(ours, who); });
    };
    if (contradicts(statement->alive, own.dropped) || contradicts(statement->dropped, own.alive))
      continue;
    set.acknowledgements.push_back(*statement);
  }
  return set;
}

void LyingServer::Play(const std::vector<std::set<ClientIndex>>& told, uint32_t survivor_count) {
  for (ClientIndex i = 0; i < clients_.size(); ++i) {
    auto statement = clients_[i]->Acknowledge(ListsFor(i, told[i], survivor_count));
    if (statement.ok()) statements_[i] = std::move(*statement);
  }
  for (ClientIndex i = 0; i < clients_.size(); ++i) {
    if (!statements_[i]) continue;
    const auto response = clients_[i]->Unmask(StatementsFor(i));
    if (!response.ok()) {
      LORIKEET_CHECK(response.status().code() == absl::StatusCode::kAborted);
      continue;
    }
    ++answers_;
    for (const RevealedShare& share : response->seed_shares) ++seed_shares_[share.owner];
    for (const RevealedShare& share : response->mask_key_shares) ++key_shares_[share.owner];
  }
}

int LyingServer::signers() const {
  return static_cast<int>(std::count_if(statements_.begin(), statements_.end(),
                                        [](const auto& one) { return one.has_value(); }));
}

bool LyingServer::Isolated(const std::vector<ClientIndex>& targets, const Counts& seeds,
                           const Counts& keys) const {
  const auto enough = [&](const Counts& counts, ClientIndex who) {
    const auto found = counts.find(who);
    return found != counts.end() && found->second >= parameters_.threshold;
  };
  for (const ClientIndex target : targets) {
    if (!enough(seeds, target)) return false;
    for (const ClientIndex other : neighbours_[target]) {
      const bool inside = std::find(targets.begin(), targets.end(), other) != targets.end();
      if (!inside && !enough(keys, other) && !enough(keys, target)) return false;
    }
  }
  return true;
}

bool LyingServer::IsolatedWithoutAcknowledgements(const std::vector<ClientIndex>& targets) const {
  Counts seeds, keys;
  for (const auto& statement : statements_) {
    if (!statement) continue;
    for (const ClientIndex owner : statement->alive) seeds[owner] += owner != statement->sender;
    for (const ClientIndex owner : statement->dropped) ++keys[owner];
  }
  return Isolated(targets, seeds, keys);
}

bool LyingServer::AnyClientExposed() const {
  for (const auto& [owner, count] : seed_shares_) {
    const auto found = key_shares_.find(owner);
    if (count >= parameters_.threshold && found != key_shares_.end() &&
        found->second >= parameters_.threshold)
      return true;
  }
  return false;
}

}  // namespace lorikeet
