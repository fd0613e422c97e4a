// Speed of secure aggregation beside the reference's rows: mask expansion, a client's share and
// mask steps, the server's collecting and unmasking.  Processor time, so that a busy machine does
// not spoil it.
//
//   secagg_bench             mask expansion, then all rows (about two minutes)
//   secagg_bench masks       mask expansion only
//   secagg_bench 1 4         rows 1 and 4 only
//
// The reference is Google's C++ SecAgg at equal n, k, d and 25-bit modulus, 10 % of the clients
// dropping out after sharing keys; its figures are those of its authors' run on two cores.  Three
// of its rows take a threshold of at most k / 2, which a server that lies to clients can use to
// collect both kinds of share of one client; ours refuses that and takes the smallest allowed
// instead, which costs us work and saves them some.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/secagg/client.h"
#include "common/secagg/masks.h"
#include "common/secagg/server.h"
#include "common/wire/encode.h"

namespace lorikeet {
namespace {

constexpr int kModulusBits = 25;

struct Row {
  int clients;
  int64_t dimension;
  int degree, their_threshold, threshold;
  double share_ms, mask_ms, collect_s, unmask_s;  // theirs
  double upload_kb[3];                            // shares, input, unmasking
};
constexpr Row kRows[] = {
    {1000, 100000, 88, 36, 45, 23, 33, 0.51, 3.69, {9.3, 312, 3.6}},
    {1000, 100000, 194, 124, 124, 53, 70, 0.57, 7.42, {20.6, 312, 7.8}},
    {500, 1000000, 76, 31, 39, 20, 320, 2.0, 12.4, {8.1, 3125, 3.1}},
    {5000, 10000, 106, 43, 54, 28, 4.1, 0.35, 7.90, {11.2, 31, 4.3}},
};
constexpr double kTheirMaskNanoseconds = 2.7;

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::exit(1);
}

double ProcessorSeconds(const std::function<void()>& work) {
  const std::clock_t start = std::clock();
  work();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

// Median and quartiles of `repeats` measurements, after one that is dropped.
struct Spread {
  double low, median, high;
};
Spread Measure(int repeats, const std::function<void()>& work) {
  work();
  std::vector<double> seconds;
  for (int i = 0; i < repeats; ++i) seconds.push_back(ProcessorSeconds(work));
  std::sort(seconds.begin(), seconds.end());
  return {seconds[repeats / 4], seconds[repeats / 2], seconds[repeats * 3 / 4]};
}

void MaskExpansion() {
  constexpr int kMasks = 32, kDimension = 100000;
  constexpr double kScale = 1e9 / (double{kMasks} * kDimension);
  const char* names[] = {"libsodium", "AVX2", "AVX-512"};
  SystemRandom random;
  std::vector<Mask> masks;
  for (int i = 0; i < kMasks; ++i)
    masks.push_back({.key = SecretBytes::Random(32, &random), .subtract = i % 2 == 1});
  std::vector<uint32_t> words(kDimension);
  std::printf("mask expansion, ns per element and mask: median (quartiles), reference 2.7\n");
  for (const int bits : {16, kModulusBits, 32}) {
    for (const MaskEngine engine : MaskEngines()) {
      const Spread s = Measure(21, [&] { AddMasksWith(engine, masks, bits, words); });
      std::printf("  %2d bits  %-9s %5.2f (%.2f .. %.2f)  %4.1f x\n", bits,
                  names[static_cast<int>(engine)], s.median * kScale, s.low * kScale,
                  s.high * kScale, kTheirMaskNanoseconds / (s.median * kScale));
    }
  }
}

// What a session took, all clients together.
struct Costs {
  double share = 0, mask = 0, collect = 0, unmask = 0;
  double share_bytes = 0, input_bytes = 0, unmask_bytes = 0;
};

struct Session {
  explicit Session(const Row& row) : survivors(row.clients - row.clients / 10) {
    parameters = {.session = Hasher().Update("bench").Finish(),
                  .cohort_min = row.clients / 2,
                  .cohort_max = row.clients,
                  .degree = row.degree,
                  .threshold = row.threshold,
                  .dimension = row.dimension,
                  .modulus_bits = kModulusBits};
    server = SecAggServer::Create(parameters).value();
    for (int i = 0; i < row.clients; ++i) {
      clients.push_back(SecAggClient::Create(parameters, &random).value());
      Check(server->AddAdvertisement(clients[i]->AdvertiseKeys().value()).status());
    }
    Check(server->CloseAdvertise());
    for (int i = 0; i < row.clients; ++i) index.push_back(server->IndexFor(i).value());
  }

  void ShareKeys(Costs* costs) {
    for (size_t i = 0; i < clients.size(); ++i) {
      const KeyDirectory directory = server->DirectoryFor(static_cast<uint32_t>(i)).value();
      ShareKeysMessage message;
      costs->share += ProcessorSeconds([&] { message = clients[i]->ShareKeys(directory).value(); });
      costs->share_bytes += static_cast<double>(Encode(message).size());
      Check(server->AddShareKeys(message));
    }
    Check(server->CloseShare());
  }

  void MaskInputs(Costs* costs) {
    const EncodedDelta input =
        EncodedDelta::ForTest(std::vector<uint32_t>(static_cast<size_t>(parameters.dimension), 1));
    for (int i = 0; i < survivors; ++i) {
      const ShareDelivery delivery = server->DeliveryFor(index[i]).value();
      MaskedUpdate update;
      costs->mask +=
          ProcessorSeconds([&] { update = clients[i]->MaskInput(delivery, input).value(); });
      costs->input_bytes += static_cast<double>(Encode(update).size());
      costs->collect += ProcessorSeconds([&] { Check(server->AddMaskedUpdate(update)); });
    }
    Check(server->CloseMask());
  }

  void Unmask(Costs* costs) {
    for (int i = 0; i < survivors; ++i) {
      const SurvivorLists lists = server->SurvivorsFor(index[i]).value();
      Check(server->AddAcknowledgement(clients[i]->Acknowledge(lists).value()));
    }
    Check(server->CloseAcknowledge());
    for (int i = 0; i < survivors; ++i) {
      const AcknowledgementSet set = server->AcknowledgementsFor(index[i]).value();
      const UnmaskResponse response = clients[i]->Unmask(set).value();
      costs->unmask_bytes += static_cast<double>(Encode(response).size());
      Check(server->AddUnmaskResponse(response));
    }
    AggregateSum sum;
    costs->unmask = ProcessorSeconds([&] { sum = server->Finish().value(); });
    for (const uint32_t word : sum.sum) {
      if (word != static_cast<uint32_t>(survivors)) Check(absl::InternalError("wrong sum"));
    }
  }

  int survivors;
  SystemRandom random;
  SecAggParameters parameters;
  std::unique_ptr<SecAggServer> server;
  std::vector<std::unique_ptr<SecAggClient>> clients;
  std::vector<ClientIndex> index;
};

void Print(const char* what, double ours, double theirs) {
  std::printf("  %-22s %9.2f %9.2f %7.1f x\n", what, ours, theirs, theirs / ours);
}

void RunRow(int number) {
  const Row& row = kRows[number - 1];
  std::printf("row %d: n %d, d %lld, k %d, t %d (theirs %d), %d bits, 10 %% drop out\n", number,
              row.clients, static_cast<long long>(row.dimension), row.degree, row.threshold,
              row.their_threshold, kModulusBits);
  std::printf("  %-22s %9s %9s %9s\n", "", "ours", "theirs", "ratio");
  Session session(row);
  Costs costs;
  session.ShareKeys(&costs);
  session.MaskInputs(&costs);
  session.Unmask(&costs);
  const double n = row.clients, survivors = session.survivors;
  Print("client shares, ms", 1e3 * costs.share / n, row.share_ms);
  Print("client mask, ms", 1e3 * costs.mask / survivors, row.mask_ms);
  Print("server collect, s", costs.collect, row.collect_s);
  Print("server unmask, s", costs.unmask, row.unmask_s);
  Print("upload shares, KB", costs.share_bytes / n / 1e3, row.upload_kb[0]);
  Print("upload input, KB", costs.input_bytes / survivors / 1e3, row.upload_kb[1]);
  Print("upload unmasking, KB", costs.unmask_bytes / survivors / 1e3, row.upload_kb[2]);
}

int Main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.empty() || arguments.front() == "masks") MaskExpansion();
  for (int number = 1; number <= static_cast<int>(std::size(kRows)); ++number) {
    const bool asked =
        std::find(arguments.begin(), arguments.end(), std::to_string(number)) != arguments.end();
    if (arguments.empty() || asked) RunRow(number);
  }
  return 0;
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) { return lorikeet::Main(argc, argv); }
