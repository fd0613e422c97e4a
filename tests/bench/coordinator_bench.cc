// What one coordinator carries: check-ins in the core, and whole rounds over loopback.
//
//   coordinator_bench checkins [devices]               GetRound in memory, no network
//   coordinator_bench rounds [devices] [rounds] [threads]   d = 172,000 (16 cores of 10,752
//   numbers)
//
// `rounds` runs the coordinator in a process of its own, as `lorikeet-coordinator serve` does, and
// all devices in another: every device has a certificate and a connection of its own, held open
// from its first call to the end, and the production SecAggClient.  Both sides' cryptography, TLS
// and the store (SQLite, every answer durable) are in the figures; training is not.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/adapter/catalog.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/dp/encoder.h"
#include "common/gguf/writer.h"
#include "common/secagg/client.h"
#include "common/wire/sign_round.h"
#include "coordinator/admin/certificate_authority.h"
#include "coordinator/distribution/directory_blob_store.h"
#include "coordinator/distribution/publisher.h"
#include "coordinator/distribution/root_keeper.h"
#include "coordinator/distribution/trust_office.h"
#include "coordinator/registry/device_registry.h"
#include "coordinator/rounds/coordinator.h"
#include "coordinator/server/server.h"
#include "coordinator/storage/sqlite_store.h"
#include "device/agent/grpc_federation.h"

namespace lorikeet {
namespace {

constexpr int kPersonas = 16, kMatrices = 168, kRank = 8;  // blocks of 168 x 8 x 8 = 10,752
constexpr absl::Duration kDay = absl::Hours(24);

double Since(absl::Time start) { return absl::ToDoubleSeconds(absl::Now() - start); }

// Catalog of zeros.
Catalog ZeroCatalog(const std::string& base) {
  Catalog catalog;
  catalog.base_fingerprint = base;
  catalog.architecture = "llama";
  catalog.version = 1;
  catalog.rank = kRank;
  catalog.alpha = kRank;
  for (int i = 0; i < kMatrices; ++i) {
    AdapterMatrix matrix;
    matrix.target = {.layer_index = i / 7, .module = static_cast<Module>(i % 7)};
    matrix.rank = kRank;
    matrix.in_features = matrix.out_features = kRank;
    matrix.a.assign(kRank * kRank, 0);
    matrix.b.assign(kRank * kRank, 0);
    for (size_t j = 0; j < kRank; ++j) matrix.a[j * kRank + j] = matrix.b[j * kRank + j] = 1;
    catalog.basis.push_back(std::move(matrix));
  }
  const std::vector<std::string_view> documents = {"a short line of text", "and one more of them"};
  catalog.background = MakeStyleBackground(documents);
  for (int i = 0; i < kPersonas; ++i) {
    catalog.personas.push_back({.id = absl::StrCat("persona-", i),
                                .cores = std::vector<float>(kMatrices * kRank * kRank),
                                .card = MakeStyleCard(CountStyle(documents), catalog.background)});
  }
  return catalog;
}

// A coordinator's durable state in a temporary directory, one task in it.
struct Fleet {
  std::string directory;
  std::string base;
  std::optional<SigningKey> key;
  CertifiedKey authority, server;
};

std::string DeviceName(int index) { return absl::StrCat("device-", index); }

absl::StatusOr<Fleet> MakeFleet(int devices, int rounds) {
  Fleet fleet;
  fleet.directory =
      (std::filesystem::temp_directory_path() / absl::StrCat("coordinator-bench-", getpid()))
          .string();
  std::filesystem::create_directories(fleet.directory);
  SystemRandom random;
  SystemClock clock;
  fleet.key = SigningKey::Generate(&random);
  ASSIGN_OR_RETURN(fleet.authority, MakeAuthority("bench", absl::Now(), kDay));
  ASSIGN_OR_RETURN(fleet.server,
                   IssueServerCertificate(fleet.authority, {"127.0.0.1"}, absl::Now(), kDay));
  ASSIGN_OR_RETURN(const auto store, SqliteStore::Open(fleet.directory + "/store.sqlite", true));
  const Ed25519PublicKey online = fleet.key->public_key();
  const SigningKey root_key = SigningKey::Generate(&random);
  RETURN_IF_ERROR(AcceptRoot(store.get(), MakeFirstRoot({.root_keys = {&root_key},
                                                         .threshold = 1,
                                                         .online = {{TrustRole::kTimestamp, online},
                                                                    {TrustRole::kSnapshot, online},
                                                                    {TrustRole::kTargets, online},
                                                                    {TrustRole::kLog, online},
                                                                    {TrustRole::kRounds, online}},
                                                         .expires = absl::Now() + 365 * kDay})));
  ASSIGN_OR_RETURN(const auto blobs, DirectoryBlobStore::Open(fleet.directory + "/releases"));
  Publisher publisher(
      {.store = store.get(), .blobs = blobs.get(), .key = &*fleet.key, .clock = &clock});
  GgufWriter writer;
  writer.AddString("general.architecture", "llama");
  writer.AddTensor("token_embd.weight", {4}, std::vector<float>{1, 2, 3, 4});
  RETURN_IF_ERROR(writer.Write(fleet.directory + "/base.gguf"));
  ASSIGN_OR_RETURN(const auto base, publisher.PublishBase(fleet.directory + "/base.gguf", "bench"));
  fleet.base = base.base_fingerprint;
  RETURN_IF_ERROR(WriteCatalog(ZeroCatalog(fleet.base), fleet.directory + "/catalog.gguf"));
  RETURN_IF_ERROR(publisher.PublishCatalog(fleet.directory + "/catalog.gguf", "bench").status());
  TaskConfig task;
  task.name = "bench";
  task.base_fingerprint = fleet.base;
  task.rounds = std::max(rounds, 1);
  task.cohort_max = devices;
  task.cohort_min = std::max(2, devices * 8 / 10);
  task.epsilon_budget = 1e9;
  task.demonstration = true;
  RETURN_IF_ERROR(
      store->AddTask({.name = "bench", .config = TaskConfigToJson(task), .created = absl::Now()}));
  for (int i = 0; i < devices; ++i) {
    RETURN_IF_ERROR(EnrollDevice(store.get(), DeviceName(i), absl::Now()));
  }
  return fleet;
}

struct Core {
  std::unique_ptr<SqliteStore> store;
  std::unique_ptr<DirectoryBlobStore> blobs;
  SystemClock clock;
  SystemRandom random;
  ThreadPool pool;
  std::unique_ptr<TrustOffice> trust;
  std::unique_ptr<Coordinator> coordinator;
};

absl::StatusOr<std::unique_ptr<Core>> OpenCore(const Fleet& fleet) {
  auto core = std::make_unique<Core>();
  ASSIGN_OR_RETURN(core->store, SqliteStore::Open(fleet.directory + "/store.sqlite", false));
  ASSIGN_OR_RETURN(core->blobs, DirectoryBlobStore::Open(fleet.directory + "/releases"));
  ASSIGN_OR_RETURN(
      core->trust,
      TrustOffice::Create({.store = core->store.get(),
                           .clock = &core->clock,
                           .keys = {&*fleet.key, &*fleet.key, &*fleet.key, &*fleet.key}}));
  ASSIGN_OR_RETURN(core->coordinator, Coordinator::Create({.store = core->store.get(),
                                                           .blobs = core->blobs.get(),
                                                           .clock = &core->clock,
                                                           .random = &core->random,
                                                           .key = &*fleet.key,
                                                           .pool = &core->pool,
                                                           .trust = core->trust.get()}));
  return core;
}

absl::Status RunCheckins(int devices) {
  ASSIGN_OR_RETURN(const Fleet fleet, MakeFleet(devices, /*rounds=*/1));
  ASSIGN_OR_RETURN(const auto core, OpenCore(fleet));
  const RoundQuery query{kProtocolVersion, fleet.base, 1};
  for (const bool open : {true, false}) {
    if (!open) {
      RETURN_IF_ERROR(core->store->SetTaskState("bench", TaskState::kPaused));
    }
    const std::clock_t start = std::clock();
    int64_t calls = 0, offered = 0;
    while (std::clock() - start < 2 * CLOCKS_PER_SEC) {
      for (int i = 0; i < 100; ++i, ++calls) {
        ASSIGN_OR_RETURN(
            const RoundOffer offer,
            core->coordinator->GetRound(DeviceName(static_cast<int>(calls % devices)), query));
        offered += offer.rounds.empty() ? 0 : 1;
      }
    }
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    std::printf("check-ins, %-15s %8.0f a core-second (%d devices; %lld of %lld offered one)\n",
                open ? "a round open:" : "none open:", static_cast<double>(calls) / seconds,
                devices, static_cast<long long>(offered), static_cast<long long>(calls));
    // Everybody is offered what is open; a paused task opens nothing new.
    if (open) RETURN_IF_ERROR(core->coordinator->GetRound(DeviceName(0), query).status());
  }
  std::filesystem::remove_all(fleet.directory);
  return absl::OkStatus();
}

// Serves until it is told to stop; writes its port to `port_pipe`.
int Serve(const Fleet& fleet, int port_pipe) {
  auto core = OpenCore(fleet);
  if (!core.ok()) return 1;
  Coordinator* coordinator = (*core)->coordinator.get();
  FederationServer::Options options;
  options.ca_certificate = fleet.authority.certificate;
  options.server_certificate = fleet.server.certificate;
  options.server_key = fleet.server.key;
  options.service = coordinator;
  options.tick = [coordinator] { return coordinator->Tick(); };
  auto server = FederationServer::Start(options);
  if (!server.ok()) return 1;
  const int port = (*server)->port();
  if (write(port_pipe, &port, sizeof port) != sizeof port) return 1;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  int signal = 0;
  sigwait(&set, &signal);
  (*server)->Stop();
  return 0;
}

// A number of /proc/PID/status, in MB; 0 if it is not there.
double StatusMegabytes(pid_t pid, std::string_view key) {
  const auto text = ReadFile(absl::StrCat("/proc/", pid, "/status"), 1 << 16);
  const size_t at = text.ok() ? text->find(key) : std::string::npos;
  if (at == std::string::npos) return 0;
  return std::strtod(text->c_str() + at + key.size() + 1, nullptr) / 1024;
}
double CpuSeconds(pid_t pid) {
  const auto text = ReadFile(absl::StrCat("/proc/", pid, "/stat"), 1 << 16);
  if (!text.ok()) return 0;
  size_t at = text->rfind(')');
  for (int field = 0; field < 12; ++field) at = text->find(' ', at + 1);
  char* end = nullptr;
  const double user = std::strtod(text->c_str() + at, &end);
  return (user + std::strtod(end, nullptr)) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

struct Device {
  std::string name;
  std::unique_ptr<FederationService> service;
  SystemRandom random;
  std::unique_ptr<SecAggClient> client;
  RoundDescription round;
  uint32_t ticket = 0;
  RoundPhase answered = RoundPhase::kAdvertise;
  bool done = false;
};

absl::Status Join(const Fleet& fleet, uint64_t version, Device* device) {
  ASSIGN_OR_RETURN(const RoundOffer offer,
                   device->service->GetRound("", {kProtocolVersion, fleet.base, version}));
  if (offer.rounds.empty()) return absl::UnavailableError("no round is open");
  ASSIGN_OR_RETURN(device->round, VerifyRoundDescription(offer.rounds[0], fleet.key->public_key()));
  ASSIGN_OR_RETURN(device->client, SecAggClient::Create(device->round.secagg, &device->random));
  ASSIGN_OR_RETURN(const KeyAdvertisement keys, device->client->AdvertiseKeys());
  ASSIGN_OR_RETURN(device->ticket, device->service->AdvertiseKeys("", {keys, std::nullopt}));
  device->answered = RoundPhase::kAdvertise;
  device->done = false;
  return absl::OkStatus();
}

// One poll and, where the step is new, the answer to it.
absl::Status Advance(Device* device) {
  const SessionId& session = device->round.secagg.session;
  ASSIGN_OR_RETURN(const PollResult poll, device->service->Poll("", {session, device->ticket}));
  if (poll.phase == RoundPhase::kAborted) return absl::AbortedError(poll.message);
  device->done = poll.phase == RoundPhase::kDone;
  if (device->done || poll.phase <= device->answered) return absl::OkStatus();
  device->answered = poll.phase;
  if (poll.directory) {
    ASSIGN_OR_RETURN(const auto message, device->client->ShareKeys(*poll.directory));
    return device->service->ShareKeys("", message);
  }
  if (poll.delivery) {
    const std::vector<float> zeros(static_cast<size_t>(device->round.layout.dimension()));
    ASSIGN_OR_RETURN(const ClippedDelta clipped, Clip(zeros, device->round.encoding.clip_norm));
    ASSIGN_OR_RETURN(const EncodedDelta encoded,
                     Encode(clipped, device->round.encoding, &device->random));
    ASSIGN_OR_RETURN(const auto update, device->client->MaskInput(*poll.delivery, encoded));
    return device->service->SubmitMaskedUpdate("", update);
  }
  if (poll.survivors) {
    ASSIGN_OR_RETURN(const auto message, device->client->Acknowledge(*poll.survivors));
    return device->service->Acknowledge("", message);
  }
  if (poll.acknowledgements) {
    ASSIGN_OR_RETURN(const auto message, device->client->Unmask(*poll.acknowledgements));
    return device->service->Unmask("", message);
  }
  return absl::OkStatus();
}

// work(device) for all of them, on `threads` threads; the first error.
absl::Status ForAll(std::vector<std::unique_ptr<Device>>* devices, int threads,
                    const std::function<absl::Status(Device*)>& work) {
  std::atomic<size_t> next = 0;
  std::vector<absl::Status> results(static_cast<size_t>(threads));
  std::vector<std::thread> pool;
  for (int t = 0; t < threads; ++t) {
    pool.emplace_back([&, t] {
      for (size_t i = next++; i < devices->size(); i = next++) {
        const absl::Status status = work((*devices)[i].get());
        if (!status.ok() && results[static_cast<size_t>(t)].ok()) {
          results[static_cast<size_t>(t)] = Annotate(status, (*devices)[i]->name);
        }
      }
    });
  }
  for (std::thread& thread : pool) thread.join();
  for (const absl::Status& status : results) RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

absl::Status RunRound(const Fleet& fleet, int threads, uint64_t version,
                      std::vector<std::unique_ptr<Device>>* devices) {
  RETURN_IF_ERROR(ForAll(devices, threads, [&](Device* d) { return Join(fleet, version, d); }));
  for (;;) {
    RETURN_IF_ERROR(ForAll(devices, threads,
                           [](Device* d) { return d->done ? absl::OkStatus() : Advance(d); }));
    if (std::ranges::all_of(*devices, [](const auto& d) { return d->done; })) {
      return absl::OkStatus();
    }
  }
}

absl::Status DriveRounds(const Fleet& fleet, pid_t server, int port, int count, int rounds,
                         int threads) {
  std::vector<std::unique_ptr<Device>> devices;
  for (int i = 0; i < count; ++i) {
    auto device = std::make_unique<Device>();
    device->name = DeviceName(i);
    ASSIGN_OR_RETURN(const CertifiedKey key,
                     IssueClientCertificate(fleet.authority, device->name, absl::Now(), kDay));
    ASSIGN_OR_RETURN(device->service,
                     ConnectGrpcFederation({.target = absl::StrCat("127.0.0.1:", port),
                                            .ca_certificate = fleet.authority.certificate,
                                            .certificate = key.certificate,
                                            .private_key = key.key,
                                            .call_timeout = absl::Seconds(120)}));
    devices.push_back(std::move(device));
  }
  absl::Time start = absl::Now();
  RETURN_IF_ERROR(ForAll(&devices, threads, [](Device* d) {
    return d->service->Hello("", kProtocolVersion).status();
  }));
  std::printf("%d devices connected over mutual TLS in %.1f s; coordinator %.0f MB resident\n",
              count, Since(start), StatusMegabytes(server, "VmRSS:"));
  for (int round = 1; round <= rounds; ++round) {
    start = absl::Now();
    const double cpu = CpuSeconds(server);
    const std::clock_t own = std::clock();
    RETURN_IF_ERROR(RunRound(fleet, threads, static_cast<uint64_t>(round), &devices));
    std::printf(
        "round %2d: %d devices, d = %lld: %.1f s wall; processor seconds: coordinator %.1f, "
        "devices %.1f; coordinator %.0f MB resident (peak %.0f)\n",
        round, count, static_cast<long long>(devices[0]->round.layout.dimension()), Since(start),
        CpuSeconds(server) - cpu, static_cast<double>(std::clock() - own) / CLOCKS_PER_SEC,
        StatusMegabytes(server, "VmRSS:"), StatusMegabytes(server, "VmHWM:"));
    std::fflush(stdout);
  }
  return absl::OkStatus();
}

absl::Status RunRounds(int devices, int rounds, int threads) {
  ASSIGN_OR_RETURN(const Fleet fleet, MakeFleet(devices, rounds));
  std::array<int, 2> ends;
  if (pipe(ends.data()) != 0) return absl::InternalError("pipe");
  sigset_t set;  // blocked in the child's threads, which wait for it
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const pid_t server = fork();  // before gRPC has any threads
  if (server == 0) _exit(Serve(fleet, ends[1]));
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  close(ends[1]);
  int port = 0;
  absl::Status status = absl::UnavailableError("the coordinator did not start");
  if (read(ends[0], &port, sizeof port) == sizeof port) {
    status = DriveRounds(fleet, server, port, devices, rounds, threads);
  }
  kill(server, SIGTERM);
  waitpid(server, nullptr, 0);
  std::filesystem::remove_all(fleet.directory);
  return status;
}

int Main(int argc, char** argv) {
  const auto number = [&](int at, int otherwise) {
    return argc > at ? std::max(1, std::atoi(argv[at])) : otherwise;
  };
  const std::string_view mode = argc > 1 ? argv[1] : "";
  absl::Status status =
      absl::InvalidArgumentError("expected checkins or rounds (see the head of the source)");
  if (mode == "checkins") status = RunCheckins(number(2, 1000));
  if (mode == "rounds") status = RunRounds(number(2, 1000), number(3, 1), number(4, 32));
  if (status.ok()) return 0;
  std::fprintf(stderr, "coordinator_bench: %s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) { return lorikeet::Main(argc, argv); }
