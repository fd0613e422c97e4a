// lorikeet agent: take part in a fleet.
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/crypto/public_key_file.h"
#include "device/agent/agent_runner.h"
#include "device/agent/device_work.h"
#include "device/agent/grpc_federation.h"
#include "device/cli/command.h"
#include "device/cli/personalization_common.h"
#include "device/cli/vault_link.h"
#include "device/cli/vault_options.h"

namespace lorikeet {
namespace {

constexpr uint64_t kMaxRootFileBytes = 1 << 20;

using nlohmann::json;

struct AgentArguments {
  std::string coordinator;
  std::string state;
  std::string issuer;    // default: the coordinator
  std::string identity;  // default: STATE/identity
  std::string model;
  VaultOptions vault;
  AgentOptions agent;
  PersonalizeOptions personalize;
  int threads = 1;
  double poll_seconds = 30;
  double step_seconds = 0.5;
  double give_up_seconds = 0;
  double personalize_seconds = 3600;
};

absl::StatusOr<GrpcFederationOptions> ConnectionTo(const std::string& target,
                                                   const AgentArguments& a) {
  GrpcFederationOptions options;
  options.target = target;
  ASSIGN_OR_RETURN(options.ca_certificate, ReadFile(a.identity + "/ca.crt", 1 << 20));
  ASSIGN_OR_RETURN(options.certificate, ReadFile(a.identity + "/client.crt", 1 << 20));
  ASSIGN_OR_RETURN(options.private_key, ReadFile(a.identity + "/client.key", 1 << 20));
  return options;
}

// One line a result, for whoever draws reports; losses and the sentence, never text.
void WritePersonalizeReport(const std::string& state, uint64_t version, const Catalog& catalog,
                            const PersonalizeResult& result) {
  json document = PersonalizeJson(result, catalog);
  document["catalog_version"] = version;
  const absl::Status written = WriteFileAtomic(
      absl::StrCat(state, "/personalize-", version, ".json"), document.dump(1), 0600);
  if (!written.ok()) std::fprintf(stderr, "lorikeet: %s\n", std::string(written.message()).c_str());
}

class EventLog {
 public:
  EventLog(const std::string& path, Output& out)
      : file_(std::fopen(path.c_str(), "a")), out_(out) {}
  ~EventLog() {
    if (file_ != nullptr) std::fclose(file_);
  }
  void Add(const ReportAction& report) {
    out_.Text(absl::StrFormat("%s: %s\n", report.kind, report.message));
    if (file_ == nullptr) return;
    const json line = {{"time_ms", absl::ToUnixMillis(absl::Now())},
                       {"kind", report.kind},
                       {"message", report.message}};
    std::fprintf(file_, "%s\n", line.dump().c_str());
    std::fflush(file_);
  }

 private:
  std::FILE* file_;
  Output& out_;
};

json StateJson(const AgentState& state) {
  json j = {{"rounds_done", state.rounds_done}};
  if (const auto total = TotalOf(state.ledger, state.ledger.terms.delta); total.ok()) {
    j["epsilon_spent"] = total->epsilon;
    j["delta"] = total->delta;
  }
  if (state.catalog) j["catalog_version"] = state.catalog->version;
  if (state.personal) {
    const PersonalSummary& p = *state.personal;
    j["chosen"] = p.chosen;
    j["reason"] = p.reason;
    j["verdict"] = p.verdict;
    j["loss_base"] = p.loss_base;
    j["loss_persona"] = p.loss_persona;
    j["loss_after"] = p.loss_personalized;
    j["kept"] = p.kept;
  }
  return j;
}

absl::StatusOr<AgentOptions> AgentOptionsFor(const AgentArguments& a) {
  AgentOptions options = a.agent;
  const std::string root_path = a.identity + "/root.json";
  ASSIGN_OR_RETURN(const std::string root, ReadFile(root_path, kMaxRootFileBytes));
  auto pinned = ParseSigned(root);
  if (!pinned.ok()) return Annotate(pinned.status(), root_path);
  options.root = *std::move(pinned);
  // Enrolled before there were tokens: rounds that ask for one are left out.
  const std::string issuer_path = a.identity + "/issuer.pub";
  if (FileExists(issuer_path)) {
    ASSIGN_OR_RETURN(options.issuer_key, ReadPublicKey(issuer_path));
  }
  if (!a.model.empty()) {
    ASSIGN_OR_RETURN(const auto model, Model::Load(a.model));
    options.base_fingerprint = model->fingerprint();
  }
  options.poll_interval = absl::Seconds(a.poll_seconds);
  options.step_interval = absl::Seconds(a.step_seconds);
  options.personalize_interval = absl::Seconds(a.personalize_seconds);
  if (a.give_up_seconds > 0) options.give_up_after = absl::Seconds(a.give_up_seconds);
  return options;
}

absl::Status RunAgentCommand(AgentArguments a, Output& out) {
  if (a.identity.empty()) a.identity = a.state + "/identity";
  if (a.vault.dir.empty()) a.vault.dir = a.state + "/vault";
  // The vault and the history remember paths for programs that run elsewhere.
  a.state = AbsolutePath(a.state);
  a.model = AbsolutePath(a.model);
  RETURN_IF_ERROR(OpenVault(a.vault, /*create=*/false).status());
  ASSIGN_OR_RETURN(const AgentOptions options, AgentOptionsFor(a));
  ASSIGN_OR_RETURN(const auto connection, ConnectionTo(a.coordinator, a));
  ASSIGN_OR_RETURN(const auto service, ConnectGrpcFederation(connection));
  ASSIGN_OR_RETURN(const auto issuer_connection,
                   ConnectionTo(a.issuer.empty() ? a.coordinator : a.issuer, a));
  ASSIGN_OR_RETURN(const auto issuer, ConnectGrpcTokenIssuer(issuer_connection));
  ASSIGN_OR_RETURN(const auto store, DirectoryAgentStore::Open(a.state));
  ASSIGN_OR_RETURN(const auto lock, FileLock::Acquire(a.state + "/lock"));
  const SystemClock clock;
  SystemRandom random;
  ThreadPool pool(a.threads);
  DeviceWork work(
      {.model_path = a.model,
       .adapter_path = a.state + "/adapter.gguf",
       .personalize = a.personalize,
       .vault_dir = AbsolutePath(a.vault.dir),
       .open_vault = [&] { return OpenVault(a.vault, /*create=*/false); },
       .on_personalized =
           [&](uint64_t version, const Catalog& catalog, const PersonalizeResult& result) {
             WritePersonalizeReport(a.state, version, catalog, result);
           },
       .progress = [](const TrainProgress&) { return !StopRequested(); }},
      store.get(), &pool, &clock, &random);
  ASSIGN_OR_RETURN(const auto agent, Agent::Create(options, &clock, &random, store.get()));
  EventLog log(a.state + "/events.jsonl", out);
  const absl::Status status =
      RunAgent(agent.get(), {.federation = service.get(), .issuer = issuer.get()}, &work, clock,
               {.report = [&](const ReportAction& report) { log.Add(report); },
                .stop_requested = StopRequested});
  out.SetJson(StateJson(agent->state()));
  return status;
}

}  // namespace

void AddAgentCommand(Program& program) {
  auto a = std::make_shared<AgentArguments>();
  a->personalize.train = DefaultPersonalTraining();
  CLI::App* command = program.Add(
      "agent", "Take part in a fleet: follow releases, personalize, contribute masked updates",
      [a](Output& out) { return RunAgentCommand(*a, out); });
  command->add_option("--coordinator", a->coordinator, "HOST:PORT")->required();
  command->add_option("--issuer", a->issuer,
                      "HOST:PORT of the issuer of anonymous tokens (default: the coordinator's)");
  command->add_option("--state", a->state, "Directory of this device's state")->required();
  command->add_option(
      "--identity", a->identity,
      "Directory with ca.crt, client.crt, client.key, root.json and issuer.pub "
      "(default STATE/identity)");
  command->add_option("--model", a->model, "Base model (default: the coordinator's base release)");
  a->vault.Declare(command, /*required=*/false);
  command->add_flag("--once", a->agent.once, "Do what is due now, then stop");
  command
      ->add_option("--rounds", a->agent.stop_after_rounds,
                   "Stop after this many rounds and their catalog")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--federate,!--no-federate", a->agent.policy.federate,
                    "Take part in rounds (the owner's consent)");
  command->add_flag("--allow-demonstration", a->agent.policy.allow_demonstration,
                    "Also in rounds without real privacy, labelled as demonstrations");
  command->add_flag("--allow-routed", a->agent.policy.allow_routed,
                    "Also in routed rounds, which reveal how many devices chose each group of "
                    "personas, and nothing of any device");
  command->add_flag("--allow-central-noise", a->agent.policy.allow_central_noise,
                    "Also in rounds whose noise the coordinator adds, which sees the sum of all "
                    "devices before");
  command->add_option("--min-cohort", a->agent.policy.min_cohort,
                      "Refuse real rounds with fewer devices");
  command->add_option("--max-epsilon", a->agent.policy.max_round_epsilon,
                      "Refuse real rounds that cost more");
  command->add_option("--max-total-epsilon", a->agent.policy.max_total_epsilon,
                      "Over this device's life, all rounds of all tasks composed");
  command
      ->add_option("--assumed-corrupt-fraction", a->agent.policy.assumed_corrupt_fraction,
                   "Share of a cohort that adds no noise, by this owner's reckoning; rounds that "
                   "state a smaller epsilon than that gives are refused")
      ->check(CLI::Range(0.0, 0.9))
      ->capture_default_str();
  command
      ->add_option("--personalize-seconds", a->personalize_seconds,
                   "Personalize with a newer catalog at most this often")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--threads", a->threads, "Threads for training")->check(CLI::PositiveNumber);
  command->add_option("--poll-seconds", a->poll_seconds, "Between looks for rounds and releases")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--max-download-rate", a->agent.max_download_rate,
                   "Bytes a second of releases at most; 0: no limit")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--step-seconds", a->step_seconds, "Between polls inside a round")
      ->check(CLI::PositiveNumber);
  command->add_option("--give-up-seconds", a->give_up_seconds,
                      "Stop when the coordinator is away this long; 0: never");
}

}  // namespace lorikeet
