#include "tests/unit/secagg/session_fixture.h"

#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

struct Run {
  const SessionOptions& options;
  SessionResult result;
  std::vector<std::unique_ptr<SeededRandom>> randoms;
  std::vector<std::unique_ptr<SecAggClient>> clients;
  std::unique_ptr<SecAggServer> server;

  // Whether the client takes part in step number `step` and is still well.
  bool Active(size_t i, int step) const {
    return options.steps[i] >= step && result.client_status[i].ok();
  }

  template <typename T>
  bool Keep(size_t i, const absl::StatusOr<T>& message) {
    if (!message.ok()) result.client_status[i] = message.status();
    return message.ok();
  }
  void Deliver(size_t i, const absl::Status& status) {
    if (!status.ok()) result.client_status[i] = status;
  }

  absl::StatusOr<AggregateSum> Go();
};

absl::StatusOr<AggregateSum> Run::Go() {
  const SecAggParameters& p = options.parameters;
  const size_t n = options.steps.size();
  ASSIGN_OR_RETURN(server, SecAggServer::Create(p));
  result.client_status.assign(n, absl::OkStatus());
  result.index.assign(n, 0);
  result.expected.assign(p.dimension, 0);
  std::vector<uint32_t> tickets(n, 0);
  for (size_t i = 0; i < n; ++i) {
    randoms.push_back(std::make_unique<SeededRandom>("client", options.seed * 1000 + i));
    clients.push_back(SecAggClient::Create(p, randoms.back().get()).value());
    if (options.steps[i] < 1) continue;
    ASSIGN_OR_RETURN(tickets[i], server->AddAdvertisement(clients[i]->AdvertiseKeys().value()));
  }
  RETURN_IF_ERROR(server->CloseAdvertise());
  for (size_t i = 0; i < n; ++i) {
    if (!Active(i, 2)) continue;
    KeyDirectory directory = server->DirectoryFor(tickets[i]).value();
    result.index[i] = directory.own_index;
    options.on_directory(tickets[i], &directory);
    auto message = clients[i]->ShareKeys(directory);
    if (!Keep(i, message)) continue;
    options.on_shares(&*message);
    Deliver(i, server->AddShareKeys(*message));
  }
  RETURN_IF_ERROR(server->CloseShare());
  for (size_t i = 0; i < n; ++i) {
    if (!Active(i, 3)) continue;
    ShareDelivery delivery = server->DeliveryFor(result.index[i]).value();
    options.on_delivery(&delivery);
    const EncodedDelta input = RandomInput(p.dimension, p.modulus_bits, options.seed * 1000 + i);
    auto message = clients[i]->MaskInput(delivery, input);
    if (!Keep(i, message)) continue;
    Deliver(i, server->AddMaskedUpdate(*message));
    const uint32_t cut = ~uint32_t{0} >> (32 - p.modulus_bits);
    for (int64_t e = 0; e < p.dimension; ++e) {
      result.expected[e] = (result.expected[e] + input.words()[e]) & cut;
    }
  }
  RETURN_IF_ERROR(server->CloseMask());
  for (size_t i = 0; i < n; ++i) {
    if (!Active(i, 4)) continue;
    SurvivorLists lists = server->SurvivorsFor(result.index[i]).value();
    options.on_survivors(&lists, result.index[i]);
    auto message = clients[i]->Acknowledge(lists);
    if (!Keep(i, message)) continue;
    Deliver(i, server->AddAcknowledgement(*message));
  }
  RETURN_IF_ERROR(server->CloseAcknowledge());
  for (size_t i = 0; i < n; ++i) {
    if (!Active(i, 5)) continue;
    AcknowledgementSet set = server->AcknowledgementsFor(result.index[i]).value();
    options.on_acknowledgements(&set, result.index[i]);
    auto message = clients[i]->Unmask(set);
    if (!Keep(i, message)) continue;
    ++result.responses;
    options.on_response(&*message);
    Deliver(i, server->AddUnmaskResponse(*message));
  }
  return server->Finish(options.pool);
}

}  // namespace

SessionResult RunSession(const SessionOptions& options) {
  Run run{.options = options, .result = {}, .randoms = {}, .clients = {}, .server = nullptr};
  run.result.sum = run.Go();
  return std::move(run.result);
}

}  // namespace lorikeet
