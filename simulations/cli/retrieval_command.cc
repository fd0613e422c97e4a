// lorikeet-sim retrieval: what passages of the vault do, beside an adapter and with it.
#include <cstdio>
#include <filesystem>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/personalization/personalizer.h"
#include "simulations/cli/commands.h"
#include "simulations/retrieval/retrieval_page.h"

namespace lorikeet {
namespace {

using nlohmann::json;

struct RetrievalArguments {
  std::string model = LORIKEET_SOURCE_DIR "/deploy/demo_data/finch-7m-q8_0.gguf";
  std::string data;
  std::string report;
  int threads = 0;
  uint64_t seed = 1;
  RetrievalDataOptions people;
  RetrievalExperimentOptions experiment;
};

json ToJson(const Interval& interval) {
  return {{"mean", interval.mean}, {"low", interval.low}, {"high", interval.high}};
}

json ToJson(const RetrievalSummary& summary, const RetrievalSetting& setting) {
  json ways = json::array(), comparisons = json::array();
  for (const WayResult& way : summary.ways) {
    json entry = {{"way", way.way.name},
                  {"loss", ToJson(way.loss)},
                  {"loss_change", ToJson(way.loss_change)},
                  {"fact_loss", ToJson(way.fact_loss)},
                  {"fact_loss_change", ToJson(way.fact_loss_change)}};
    if (way.way.copy) entry["copy_weights"] = way.way.weights;
    if (setting.has_questions) {
      entry["fact_first"] = ToJson(way.recall_first);
      entry["reciprocal_rank"] = ToJson(way.reciprocal_rank);
    }
    ways.push_back(std::move(entry));
  }
  for (const auto& comparison : summary.comparisons) {
    json entry = {{"both_minus", comparison.with},
                  {"loss", ToJson(comparison.loss)},
                  {"fact_loss", ToJson(comparison.fact_loss)}};
    if (setting.has_questions) entry["fact_first"] = ToJson(comparison.recall_first);
    comparisons.push_back(std::move(entry));
  }
  return {{"set", setting.set},
          {"model", setting.model},
          {"users", summary.users},
          {"fitted_users", summary.fitted_users},
          {"texts", summary.texts},
          {"tokens", summary.tokens},
          {"fact_tokens", summary.fact_tokens},
          {"questions", summary.questions},
          {"leaky_texts_left_out", setting.leaky_texts},
          {"vault_bytes", summary.vault_bytes},
          {"passages", summary.passages},
          {"passage_tokens", summary.passage_tokens},
          {"ways", std::move(ways)},
          {"comparisons", std::move(comparisons)}};
}

absl::Status RunRetrieval(const RetrievalArguments& arguments, Output& output) {
  RetrievalDataOptions people = arguments.people;
  people.seed = arguments.seed;
  ASSIGN_OR_RETURN(const RetrievalData data, ReadRetrievalData(arguments.data, people));
  ASSIGN_OR_RETURN(const auto model, Model::Load(arguments.model));
  ThreadPool pool(arguments.threads);
  RetrievalExperimentOptions experiment = arguments.experiment;
  experiment.train = DefaultPersonalTraining();
  experiment.train.seed = arguments.seed;
  ASSIGN_OR_RETURN(const std::vector<ScoredUser> users,
                   ScoreUsers(model, &pool, data, experiment, [&](size_t done, size_t of) {
                     if (output.progress()) {
                       std::fputs(absl::StrCat("\r", done, " of ", of, " users").c_str(), stderr);
                     }
                     return !StopRequested();
                   }));
  if (output.progress()) std::fputs("\n", stderr);
  const std::filesystem::path path(arguments.data);
  const RetrievalSetting setting = {.set = path.parent_path().filename().string(),
                                    .model = std::filesystem::path(arguments.model).filename(),
                                    .leaky_texts = data.leaky_texts,
                                    .has_questions = data.has_questions,
                                    .retrieve_tokens = experiment.retrieve.max_tokens,
                                    .best_last = experiment.retrieve.best_last};
  const RetrievalSummary summary = Summarize(users, experiment, arguments.seed);
  output.Text(RetrievalTable(summary, setting));
  output.SetJson(ToJson(summary, setting));
  if (arguments.report.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(MakeDirs(arguments.report));
  return WriteFileAtomic(arguments.report + "/report.html", RetrievalPage(summary, setting));
}

}  // namespace

void AddRetrievalCommand(Program& program) {
  auto arguments = std::make_shared<RetrievalArguments>();
  CLI::App* command =
      program.Add("retrieval", "Held-out loss and recall of facts: none, vault, adapter, both",
                  [arguments](Output& output) { return RunRetrieval(*arguments, output); });
  command->add_option("--data", arguments->data, "People: a samples.jsonl, users.jsonl beside it")
      ->required();
  command->add_option("--model", arguments->model, "Base model (default: the demo's)");
  command->add_option("--users", arguments->people.users, "Users, evenly; 0: all")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command->add_option("--texts", arguments->people.texts, "Held-out texts of a user at most")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  RetrieveOptions& retrieve = arguments->experiment.retrieve;
  command->add_option("--retrieve-tokens", retrieve.max_tokens, "Tokens of passages in a prompt")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
  command->add_flag("--best-last", retrieve.best_last,
                    "The best passage next to the question, not first");
  command->add_flag("--no-adapter{false}", arguments->experiment.plain_adapter,
                    "Train no adapters: compares ways to retrieve alone");
  command->add_flag("--reading-adapter", arguments->experiment.reading_adapter,
                    "Also an adapter that learned with passages before its examples");
  command->add_option("--threads", arguments->threads, "Threads; 0: as many as there are")
      ->check(CLI::Range(0, 1024));
  command->add_option("--seed", arguments->seed, "Of everything random")->capture_default_str();
  command->add_option("--report", arguments->report, "Folder for report.html");
}

}  // namespace lorikeet
