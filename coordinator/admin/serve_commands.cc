// init, serve.
#include <cstdlib>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/crypto/public_key_file.h"
#include "coordinator/admin/commands.h"
#include "coordinator/admin/serve_check.h"
#include "coordinator/admin/serve_dashboard.h"
#include "coordinator/admin/trust_keys.h"
#include "coordinator/admin/workspace.h"
#include "coordinator/registry/token_office.h"
#include "coordinator/rounds/coordinator.h"
#include "coordinator/server/server.h"

namespace lorikeet {
namespace {

struct InitOptions {
  std::string directory;
  std::string listen = kDefaultListen;
  std::vector<std::string> hosts = {"127.0.0.1", "localhost"};
  std::string store = kDefaultStore;
  RootOptions root;
  double root_days = 730;
};

absl::Status RunInit(const InitOptions& options, Output& out) {
  RootOptions root = options.root;
  root.validity = absl::Hours(24 * options.root_days);
  if (root.threshold > root.keys) {
    return UsageError(
        absl::StrFormat("expected --root-threshold 1 to %d, got %d", root.keys, root.threshold));
  }
  RETURN_IF_ERROR(
      InitWorkspace(options.directory, options.listen, options.hosts, options.store, root));
  const std::string config = absl::StrCat(options.directory, "/", kConfigFileName);
  ASSIGN_OR_RETURN(const Settings settings, ReadSettings(config));
  ASSIGN_OR_RETURN(const Ed25519PublicKey key, ReadPublicKey(settings.release_key_path));
  out.Line(absl::StrCat("coordinator made in ", options.directory));
  out.Line(absl::StrCat("release key ", ToHex(key)));
  out.Line(
      absl::StrFormat("%d root keys in %s/root, %d of which sign the next root: keep them "
                      "offline, each in a place of its own",
                      root.keys, options.directory, root.threshold));
  out.Line(absl::StrCat("next: lorikeet-coordinator serve --config ", config));
  out.SetJson({{"directory", options.directory},
               {"config", config},
               {"listen", options.listen},
               {"hosts", options.hosts},
               {"release_key", ToHex(key)},
               {"root_keys", root.keys},
               {"root_threshold", root.threshold}});
  return absl::OkStatus();
}

struct ServeOptions {
  std::string config;
  std::string listen;     // overrides the config file
  std::string port_file;  // the port, once listening
  std::string dashboard_port_file;
  std::string only;  // "": all; else "rounds" or "issuer"
  std::string replica_address;
  bool check = false;
  double poll_seconds = 0.25;
  double round_seconds = 1;
};

// The two halves of a server: they share no keys but the epochs' and no connection to the store,
// and each can be a process of its own.
struct RoundsHalf {
  SigningKey key;
  OpenTrustOffice trust;
  std::optional<TokenRedeemer> redeemer;
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<Leadership> leadership;  // over a store that several share
  std::unique_ptr<Coordinator> coordinator;
};
struct IssuerHalf {
  SigningKey key;
  std::unique_ptr<SqlStore> store;
  std::unique_ptr<TokenOffice> office;
};

// Where the other coordinators over this store reach this one.
absl::StatusOr<std::string> ReplicaAddress(const ServeOptions& options, const Settings& settings) {
  if (!options.replica_address.empty()) return options.replica_address;
  const std::string& listen = options.listen.empty() ? settings.listen : options.listen;
  const std::string host = listen.substr(0, listen.rfind(':'));
  const bool reachable = !host.empty() && host != "0.0.0.0" && host != "[::]";
  if (reachable && !listen.ends_with(":0")) return listen;
  return absl::InvalidArgumentError(absl::StrCat(
      "a store that several coordinators share: expected --replica-address HOST:PORT, which the "
      "others reach this one by, as it listens on ",
      listen));
}

absl::StatusOr<std::unique_ptr<RoundsHalf>> OpenRounds(const ServeOptions& options,
                                                       Workspace* workspace, RandomSource* random) {
  ASSIGN_OR_RETURN(SigningKey key, workspace->ReadSigningKey());
  ASSIGN_OR_RETURN(OpenTrustOffice trust, OpenTrust(workspace));
  auto half =
      std::make_unique<RoundsHalf>(RoundsHalf{std::move(key), std::move(trust), std::nullopt,
                                              std::make_unique<ThreadPool>(), nullptr, nullptr});
  if (workspace->HasTokens()) {
    ASSIGN_OR_RETURN(SecretBytes seed, workspace->ReadTokenSeed());
    ASSIGN_OR_RETURN(half->redeemer,
                     TokenRedeemer::Create(workspace->settings.tokens, std::move(seed)));
  }
  Coordinator::Options core;
  core.store = workspace->store.get();
  core.blobs = workspace->blobs.get();
  core.clock = &workspace->clock;
  core.random = random;
  core.key = &half->key;
  core.trust = half->trust.office.get();
  core.pool = half->pool.get();
  core.poll_interval = absl::Seconds(options.poll_seconds);
  core.round_interval = absl::Seconds(options.round_seconds);
  core.release_validity = workspace->settings.release_validity;
  if (half->redeemer) core.redeemer = &*half->redeemer;
  core.total_budget = TotalBudgetOf(workspace->settings.policy);
  if (IsPostgresUrl(workspace->settings.store_path)) {
    ASSIGN_OR_RETURN(std::string address, ReplicaAddress(options, workspace->settings));
    half->leadership =
        std::make_unique<Leadership>(Leadership::Options{.store = workspace->store.get(),
                                                         .clock = &workspace->clock,
                                                         .random = random,
                                                         .address = std::move(address)});
    core.leadership = half->leadership.get();
  }
  ASSIGN_OR_RETURN(half->coordinator, Coordinator::Create(core));
  return half;
}

absl::StatusOr<std::unique_ptr<IssuerHalf>> OpenIssuer(Workspace* workspace, RandomSource* random) {
  ASSIGN_OR_RETURN(SigningKey key, workspace->ReadIssuerKey());
  ASSIGN_OR_RETURN(SecretBytes seed, workspace->ReadTokenSeed());
  auto half = std::make_unique<IssuerHalf>(IssuerHalf{std::move(key), nullptr, nullptr});
  ASSIGN_OR_RETURN(half->store, OpenStore(workspace->settings.store_path, false));
  ASSIGN_OR_RETURN(half->office, TokenOffice::Create({.store = half->store.get(),
                                                      .schedule = workspace->settings.tokens,
                                                      .signer = &half->key,
                                                      .clock = &workspace->clock,
                                                      .random = random},
                                                     std::move(seed)));
  return half;
}

absl::StatusOr<FederationServer::Options> ServerOptions(const ServeOptions& options,
                                                        const Settings& settings,
                                                        const RoundsHalf* rounds,
                                                        const IssuerHalf* issuer) {
  FederationServer::Options server;
  server.listen = options.listen.empty() ? settings.listen : options.listen;
  ASSIGN_OR_RETURN(server.ca_certificate, ReadFile(settings.ca_certificate_path, 1 << 20));
  ASSIGN_OR_RETURN(server.server_certificate, ReadFile(settings.server_certificate_path, 1 << 20));
  ASSIGN_OR_RETURN(server.server_key, ReadFile(settings.server_key_path, 1 << 20));
  if (issuer != nullptr) server.issuer = issuer->office.get();
  if (rounds == nullptr) return server;
  Coordinator* coordinator = rounds->coordinator.get();
  server.service = coordinator;
  server.members = rounds->redeemer.has_value();
  server.tick = [coordinator] { return coordinator->Tick(); };
  if (rounds->leadership != nullptr)
    server.leader = [coordinator] { return coordinator->Leader(); };
  return server;
}

// One server a file; of those over PostgreSQL a lease says who runs the rounds.
absl::StatusOr<std::unique_ptr<FileLock>> LockStore(const std::string& store, bool issues_only) {
  if (IsPostgresUrl(store)) return nullptr;
  return FileLock::Acquire(absl::StrCat(store, issues_only ? ".issuing" : ".serving"));
}

absl::Status RunServe(const ServeOptions& options, Output& out) {
  if (options.check) return CheckServe(options.config, options.listen, out);
  ASSIGN_OR_RETURN(const auto workspace, Workspace::Open(options.config));
  const bool issues_only = options.only == "issuer";
  ASSIGN_OR_RETURN(const auto lock, LockStore(workspace->settings.store_path, issues_only));
  SystemRandom random;
  std::unique_ptr<RoundsHalf> rounds;
  std::unique_ptr<IssuerHalf> issuer;
  if (!issues_only) {
    ASSIGN_OR_RETURN(rounds, OpenRounds(options, workspace.get(), &random));
  }
  if (issues_only || (options.only.empty() && workspace->HasTokens())) {
    ASSIGN_OR_RETURN(issuer, OpenIssuer(workspace.get(), &random));
  }
  ASSIGN_OR_RETURN(auto server_options,
                   ServerOptions(options, workspace->settings, rounds.get(), issuer.get()));
  std::unique_ptr<Dashboard> dashboard;
  if (!issues_only && !workspace->settings.dashboard.empty()) {
    ASSIGN_OR_RETURN(dashboard, Dashboard::Start(workspace->settings));
    server_options.observer = dashboard->observer();
  }
  ASSIGN_OR_RETURN(const auto server, FederationServer::Start(server_options));

  const std::string host = server_options.listen.substr(0, server_options.listen.rfind(':'));
  const std::string endpoint = absl::StrCat(host, ":", server->port());
  if (!issues_only) {
    // Another connection: the coordinator's own is used by the server's threads.
    ASSIGN_OR_RETURN(const auto store, OpenStore(workspace->settings.store_path, false));
    RETURN_IF_ERROR(store->SetMeta(kEndpointKey, endpoint));
  }
  if (!options.port_file.empty()) {
    RETURN_IF_ERROR(WriteFileAtomic(options.port_file, absl::StrCat(server->port(), "\n")));
  }
  out.Text(absl::StrCat("listening on ", endpoint, "\n"));
  if (dashboard != nullptr) {
    if (!options.dashboard_port_file.empty()) {
      RETURN_IF_ERROR(
          WriteFileAtomic(options.dashboard_port_file, absl::StrCat(dashboard->port(), "\n")));
    }
    out.Text(absl::StrCat("dashboard on ", dashboard->url(), "\n"));
  }
  while (!StopRequested()) absl::SleepFor(absl::Milliseconds(50));
  out.Line("stopping: running calls end first");
  server->Stop();
  if (rounds != nullptr) rounds->coordinator->Resign();
  out.SetJson({{"endpoint", endpoint}, {"stopped", true}});
  return absl::OkStatus();
}

}  // namespace

void AddConfigOption(CLI::App* command, std::string* path) {
  const char* from_environment = std::getenv("LORIKEET_COORDINATOR_CONFIG");
  *path = from_environment != nullptr ? from_environment : kConfigFileName;
  command->add_option("--config", *path, "The coordinator's config file")->capture_default_str();
}

std::string FormatInstant(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone());
}

void AddInitCommand(Program& program) {
  auto options = std::make_shared<InitOptions>();
  CLI::App* command =
      program.Add("init", "Make a coordinator's directory: keys, certificates, config, store",
                  [options](Output& out) { return RunInit(*options, out); });
  command->add_option("dir", options->directory, "Directory to make")->required();
  command->add_option("--listen", options->listen, "HOST:PORT for devices (port 0: any free one)")
      ->capture_default_str();
  command
      ->add_option("--host", options->hosts,
                   "Names and addresses that devices reach the server by (repeatable)")
      ->capture_default_str();
  command
      ->add_option("--root-keys", options->root.keys,
                   "How many root keys there are, to be kept offline")
      ->check(CLI::Range(1, static_cast<int>(kMaxTrustKeys)))
      ->capture_default_str();
  command
      ->add_option("--root-threshold", options->root.threshold,
                   "How many of them must sign the next root")
      ->check(CLI::Range(1, static_cast<int>(kMaxTrustKeys)))
      ->capture_default_str();
  command->add_option("--root-days", options->root_days, "Validity of the first root")
      ->check(CLI::Range(1.0, 3650.0))
      ->capture_default_str();
  command
      ->add_option("--store", options->store,
                   "Path of the store, or postgresql://USER@HOST/DATABASE for several coordinators")
      ->capture_default_str();
}

void AddServeCommand(Program& program) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* command = program.Add("serve", "Run the coordinator until Ctrl-C",
                                  [options](Output& out) { return RunServe(*options, out); });
  AddConfigOption(command, &options->config);
  command->add_option("--listen", options->listen, "HOST:PORT instead of the config file's");
  command->add_flag("--check", options->check,
                    "Say whether it would start: config, keys, certificates, store, ports");
  command->add_option("--port-file", options->port_file, "Write the port here once listening");
  command->add_option("--dashboard-port-file", options->dashboard_port_file,
                      "Write the dashboard's port here once listening");
  command
      ->add_option(
          "--only", options->only,
          "Serve rounds only, or issue anonymous tokens only (a process that knows devices "
          "and sees no round)")
      ->check(CLI::IsMember({"rounds", "issuer"}));
  command->add_option("--replica-address", options->replica_address,
                      "HOST:PORT that other coordinators over a shared store reach this one by "
                      "(default: where it listens)");
  command->add_option("--poll-seconds", options->poll_seconds, "How often devices in a round ask")
      ->check(CLI::Range(0.001, 3600.0))
      ->capture_default_str();
  command
      ->add_option("--round-seconds", options->round_seconds, "How often devices ask for a round")
      ->check(CLI::Range(0.001, 86400.0))
      ->capture_default_str();
}

}  // namespace lorikeet
