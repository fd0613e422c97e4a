// Speed of secure aggregation: mask expansion, a client's share and mask steps, the server's
// unmasking.
//
// Rows follow the table in the reference: n clients, degree k, threshold t, 25-bit modulus, 10 %
// dropouts after the share step.  Run: secagg_bench --benchmark_min_time=0.3
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <ctime>
#include <functional>
#include <memory>
#include <vector>

#include "common/secagg/client.h"
#include "common/secagg/masks.h"
#include "common/secagg/server.h"

namespace lorikeet {
namespace {

void MaskExpansion(benchmark::State& state) {
  SeededRandom random("bench", 1);
  std::vector<Mask> masks;
  for (int i = 0; i < 16; ++i) {
    masks.push_back({.key = SecretBytes::Random(32, &random), .subtract = i % 2 == 1});
  }
  std::vector<uint32_t> words(100000);
  for (auto _ : state) {
    AddMasks(masks, static_cast<int>(state.range(0)), words);
    benchmark::DoNotOptimize(words.data());
  }
  state.counters["ns_per_element"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * 16 * 1e5 * 1e-9,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(MaskExpansion)->Arg(16)->Arg(25)->Unit(benchmark::kMillisecond);

// A session up to the unmasking; times are per client, or of the server's Finish.
struct Session {
  Session(int n, int64_t dimension, int degree, int threshold) {
    parameters = {.session = Hasher().Update("bench").Finish(),
                  .cohort_min = n / 2,
                  .cohort_max = n,
                  .degree = degree,
                  .threshold = threshold,
                  .dimension = dimension,
                  .modulus_bits = 25};
    EncodingParameters encoding{
        .dimension = dimension, .clip_norm = 1, .scale = 1, .sigma_local = 0, .modulus_bits = 25};
    input = std::make_unique<EncodedDelta>(
        Encode(Clip(std::vector<float>(dimension, 0.0f), 1).value(), encoding, &random).value());
    parameters.dimension = static_cast<int64_t>(input->words().size());
    server = SecAggServer::Create(parameters).value();
    for (int i = 0; i < n; ++i) {
      clients.push_back(SecAggClient::Create(parameters, &random).value());
      (void)server->AddAdvertisement(clients[i]->AdvertiseKeys().value()).value();
    }
    Check(server->CloseAdvertise());
    for (int i = 0; i < n; ++i) index.push_back(server->IndexFor(i).value());
  }
  static void Check(const absl::Status& status) {
    if (!status.ok()) std::abort();
  }

  SystemRandom random;
  SecAggParameters parameters;
  std::unique_ptr<EncodedDelta> input;
  std::unique_ptr<SecAggServer> server;
  std::vector<std::unique_ptr<SecAggClient>> clients;
  std::vector<ClientIndex> index;
};

// Processor time, so that a busy machine does not spoil it.
double Seconds(const std::function<void()>& work) {
  const std::clock_t start = std::clock();
  work();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

void WholeSession(benchmark::State& state) {
  const int n = static_cast<int>(state.range(0)), survivors = n - n / 10;
  for (auto _ : state) {
    Session session(n, state.range(1), static_cast<int>(state.range(2)),
                    static_cast<int>(state.range(3)));
    std::vector<KeyDirectory> directories;
    for (int i = 0; i < n; ++i) directories.push_back(session.server->DirectoryFor(i).value());
    std::vector<ShareKeysMessage> shares(n);
    const double share = Seconds([&] {
      for (int i = 0; i < n; ++i) shares[i] = session.clients[i]->ShareKeys(directories[i]).value();
    });
    for (const ShareKeysMessage& message : shares)
      Session::Check(session.server->AddShareKeys(message));
    Session::Check(session.server->CloseShare());
    double mask = 0, collect = 0;
    for (int i = 0; i < survivors; ++i) {
      const ShareDelivery delivery = session.server->DeliveryFor(session.index[i]).value();
      MaskedUpdate update;
      mask += Seconds(
          [&] { update = session.clients[i]->MaskInput(delivery, *session.input).value(); });
      collect += Seconds([&] { Session::Check(session.server->AddMaskedUpdate(update)); });
    }
    Session::Check(session.server->CloseMask());
    for (int i = 0; i < survivors; ++i) {
      const SurvivorLists lists = session.server->SurvivorsFor(session.index[i]).value();
      Session::Check(
          session.server->AddAcknowledgement(session.clients[i]->Acknowledge(lists).value()));
    }
    Session::Check(session.server->CloseAcknowledge());
    for (int i = 0; i < survivors; ++i) {
      const AcknowledgementSet set = session.server->AcknowledgementsFor(session.index[i]).value();
      Session::Check(session.server->AddUnmaskResponse(session.clients[i]->Unmask(set).value()));
    }
    const double unmask =
        Seconds([&] { benchmark::DoNotOptimize(session.server->Finish().value().sum.data()); });
    state.counters["client_share_ms"] = 1e3 * share / n;
    state.counters["client_mask_ms"] = 1e3 * mask / survivors;
    state.counters["server_collect_s"] = collect;
    state.counters["server_unmask_s"] = unmask;
  }
}
// The dimension is padded to a power of two.
BENCHMARK(WholeSession)
    ->Args({1000, 100000, 88, 45})
    ->Args({1000, 100000, 194, 124})
    ->Args({500, 1000000, 76, 39})
    ->Args({5000, 10000, 106, 54})
    ->Iterations(1)
    ->Unit(benchmark::kSecond);

}  // namespace
}  // namespace lorikeet

BENCHMARK_MAIN();
