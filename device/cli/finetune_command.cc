// lorikeet finetune: train an adapter on a text file, or all weights of a small model.
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "common/adapter/gguf_io.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"
#include "device/cli/finetune_full.h"
#include "device/cli/finetune_limits.h"
#include "device/cli/finetune_output.h"
#include "device/cli/finetune_report.h"
#include "device/cli/finetune_start.h"
#include "device/cli/finetune_users.h"
#include "device/trainer/data.h"
#include "device/trainer/energy_meter.h"
#include "device/trainer/governor.h"
#include "device/trainer/memory_meter.h"
#include "device/trainer/trainer.h"

namespace lorikeet {
namespace {

using nlohmann::json;

// Longer windows are possible with --context; most private texts are short.
constexpr int kDefaultContext = 256;

struct FinetuneArguments {
  EngineArguments engine;
  std::string data;
  std::string user;
  std::string out;
  std::string report;
  StartArguments start;
  std::string schedule = "cosine";
  DataOptions text{.context_length = 0, .add_eos = false, .eval_split = 0.1};
  TrainOptions train;
  LimitArguments limits;
  std::string precision = "fast";
  std::string metrics;
  std::string batches;
  bool pack = false;
};

// Tokens of a window.
absl::StatusOr<int> ContextOf(const FinetuneArguments& arguments, const Model& model) {
  const int longest = model.config().context_length;
  const int context = arguments.text.context_length;
  if (context > longest) {
    return UsageError(
        absl::StrFormat("--context: the model was trained with %d, got %d", longest, context));
  }
  return context > 0 ? context : std::min(kDefaultContext, longest);
}

absl::StatusOr<Dataset> LoadData(const FinetuneArguments& arguments, const Model& model,
                                 int context) {
  DataOptions options = arguments.text;
  options.context_length = context;
  ASSIGN_OR_RETURN(const DocumentSet documents, ReadDocuments(arguments.data, arguments.user));
  absl::StatusOr<Dataset> dataset = MakeDataset(model.tokenizer(), documents, options);
  if (!dataset.ok()) return Annotate(dataset.status(), arguments.data);
  return dataset;
}

// Where the best parameters wait: beside what is written anyway.  A device (/dev/null) has no
// beside.
std::string SpillDirectory(const FinetuneArguments& arguments) {
  if (!arguments.train.checkpoint_dir.empty()) return arguments.train.checkpoint_dir;
  std::error_code error;
  const std::filesystem::path out(arguments.out);
  if (std::filesystem::exists(out, error) && !std::filesystem::is_regular_file(out, error)) {
    return "";
  }
  return out.has_parent_path() ? out.parent_path().string() : ".";
}

absl::StatusOr<TrainOptions> TrainOptionsOf(const FinetuneArguments& arguments, int context) {
  TrainOptions options = arguments.train;
  options.pack_rows = arguments.pack ? context : 0;
  const bool exact = arguments.start.full() || arguments.precision == "exact";
  options.precision = exact ? TrainPrecision::kExact : TrainPrecision::kFast;
  options.spill_dir = SpillDirectory(arguments);
  if (arguments.schedule == "constant") options.schedule = Schedule::kConstant;
  if (arguments.schedule == "linear") options.schedule = Schedule::kLinear;
  if (arguments.schedule == "cosine") options.schedule = Schedule::kCosine;
  RETURN_IF_ERROR(arguments.limits.Apply(options));
  return options;
}

// What training needs; nothing of the vocabulary.
struct Material {
  TrainOptions options;
  Dataset dataset;
  int context = 0;                        // tokens of a window
  std::optional<StartingAdapter> start;   // if its making needs a tokenizer
  std::unique_ptr<TrainableModel> model;  // of --form full
};

absl::StatusOr<Material> Prepare(const FinetuneArguments& arguments) {
  EngineArguments opened = arguments.engine;
  opened.adapters.clear();
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(opened));
  ASSIGN_OR_RETURN(const int context, ContextOf(arguments, *engine.model()));
  Material material;
  material.context = context;
  ASSIGN_OR_RETURN(material.options, TrainOptionsOf(arguments, context));
  ASSIGN_OR_RETURN(material.dataset, LoadData(arguments, *engine.model(), context));
  if (!arguments.start.basis.empty()) {
    ASSIGN_OR_RETURN(material.start,
                     MakeStartingAdapter(arguments.start, engine, arguments.train.seed, context));
  }
  return material;
}

// What was learned is written even if training could not go on.
absl::Status Keep(const TrainResult& result, const Material& material, const std::string& path) {
  const bool full = material.model != nullptr;
  const std::string what = full ? "model" : "adapter";
  const absl::Status written =
      full ? material.model->Write(path) : WriteAdapter(result.adapter, path);
  if (result.failure.empty()) return written;
  std::string message = absl::StrCat("training stopped at ", result.failure);
  if (written.ok()) {
    absl::StrAppend(&message, "; the last good ", what, " is in ", path);
  } else {
    absl::StrAppend(&message, "; and the ", what, " so far: ", ToAbsl(Message(written)));
  }
  return absl::InternalError(message);
}

// `material` keeps all but its starting adapter.
absl::StatusOr<TrainResult> TrainWith(const FinetuneArguments& arguments, const Engine& engine,
                                      Material& material, EnergyMeter& energy, Output& output) {
  TrainingLine line(output.progress());
  PausingGovernor governor({.pause_file = arguments.limits.pause_file,
                            .stopped = StopRequested,
                            .resting = [&line] { line.ShowPaused(); }});
  TrainOptions options = material.options;
  options.governor = &governor;
  options.energy = &energy;
  ASSIGN_OR_RETURN(const std::unique_ptr<MetricsFile> metrics,
                   MetricsFile::Open(arguments.metrics, options.resume));
  const auto progress = [&](const TrainProgress& now) {
    if (now.begins) {
      output.Line(absl::StrFormat("%d steps; a working set of %.1f MB is expected",
                                  now.total_steps - now.step,
                                  now.predicted_working_set_bytes / 1e6));
    }
    metrics->Add(now);
    line.Show(now);
    return !StopRequested();
  };
  const SystemClock clock;
  const Dataset& data = material.dataset;
  absl::StatusOr<TrainResult> result =
      material.model != nullptr
          ? TrainModel(*material.model, engine.pool(), clock, data.train, data.eval, options,
                       progress)
          : Train(engine.model(), engine.pool(), clock, std::move(material.start->adapter),
                  engine.adapters(), data.train, data.eval, options, progress);
  if (result.ok()) metrics->Finish(*result);
  return result;
}

// Of training that could not go on as well.
absl::Status WriteReport(const FinetuneArguments& arguments, const Material& material,
                         const Engine& engine, const EnergyMeter& energy,
                         const TrainResult& result) {
  if (arguments.report.empty()) return absl::OkStatus();
  const FinetuneFacts facts{.model = arguments.engine.model,
                            .data = arguments.data,
                            .out = arguments.out,
                            .frozen = arguments.engine.adapters,
                            .origin = material.start->origin,
                            .context = material.context,
                            .options = material.options,
                            .energy_source = std::string(energy.source())};
  return WriteFileAtomic(arguments.report,
                         FinetuneReportPage(facts, engine, material.dataset, result));
}

// Before training, not after it.
absl::Status CheckOutPath(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (folder.empty() || std::filesystem::is_directory(folder, error)) return absl::OkStatus();
  return UsageError(absl::StrCat("--out: expected a path in a folder that exists, got ", path));
}

// One adapter for each of several users.
absl::Status RunForUsers(const FinetuneArguments& arguments, Output& output) {
  const TrainOptions& train = arguments.train;
  if (!train.checkpoint_dir.empty() || !arguments.report.empty() || !arguments.metrics.empty() ||
      arguments.limits.max_joules > 0 || arguments.start.full()) {
    return UsageError(
        "--checkpoint, --report, --metrics, --max-joules and --form full are for one user, got "
        "several");
  }
  FinetuneUsersArguments users{.users = {},
                               .data = arguments.data,
                               .out = arguments.out,
                               .start = arguments.start,
                               .text = arguments.text,
                               .train = {},
                               .pause_file = arguments.limits.pause_file};
  ASSIGN_OR_RETURN(users.users, ParseUsers(arguments.user));
  RETURN_IF_ERROR(arguments.limits.LowerPriority());
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  ASSIGN_OR_RETURN(users.text.context_length, ContextOf(arguments, *engine.model()));
  ASSIGN_OR_RETURN(users.train, TrainOptionsOf(arguments, users.text.context_length));
  return FinetuneUsers(users, engine, output);
}

absl::Status RunFinetune(const FinetuneArguments& arguments, Output& output) {
  if (arguments.train.resume && arguments.train.checkpoint_dir.empty()) {
    return UsageError("--resume needs --checkpoint DIR");
  }
  if (!arguments.batches.empty() && arguments.train.max_steps == 0) {
    return UsageError("--write-batches needs --steps");
  }
  if (arguments.user.find(',') != std::string::npos) return RunForUsers(arguments, output);
  RETURN_IF_ERROR(CheckOutPath(arguments.out));
  RETURN_IF_ERROR(CheckReportPath(arguments.report));
  RETURN_IF_ERROR(arguments.limits.LowerPriority());
  ASSIGN_OR_RETURN(Material material, Prepare(arguments));
  // The vocabulary went with Prepare's engine.
  ReturnFreeMemory();
  EngineArguments weights_only = arguments.engine;
  weights_only.tokenizer = arguments.start.full();  // which is written again
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(weights_only));
  if (!material.start) {
    ASSIGN_OR_RETURN(material.start,
                     MakeStartingAdapter(arguments.start, engine, arguments.train.seed, 0));
  }
  if (arguments.start.full()) {
    ASSIGN_OR_RETURN(material.model, MakeTrainable(engine, output));
  } else {
    output.Line(absl::StrCat("adapter: ", material.start->origin));
  }
  if (!arguments.batches.empty()) {
    RETURN_IF_ERROR(WriteBatches(material.dataset, material.options, arguments.batches));
  }
  const std::unique_ptr<EnergyMeter> energy = MakeEnergyMeter(arguments.limits.energy);
  ASSIGN_OR_RETURN(const TrainResult result,
                   TrainWith(arguments, engine, material, *energy, output));
  const absl::Status kept = Keep(result, material, arguments.out);
  const absl::Status reported = WriteReport(arguments, material, engine, *energy, result);
  RETURN_IF_ERROR(kept);
  RETURN_IF_ERROR(reported);
  const Dataset& dataset = material.dataset;
  if (!dataset.note.empty()) output.Line(dataset.note);
  PrintTrainResult(result, energy->source(), arguments.out, output);
  json document = TrainResultJson(result, energy->source());
  document["train_tokens"] = dataset.train_tokens;
  document["eval_tokens"] = dataset.eval_tokens;
  if (!dataset.note.empty()) document["note"] = dataset.note;
  output.SetJson(std::move(document));
  return absl::OkStatus();
}

void DeclareSchedule(CLI::App* command, FinetuneArguments& arguments) {
  TrainOptions& train = arguments.train;
  command->add_option("--epochs", train.epochs, "Passes over the training part")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--steps", train.max_steps, "Optimizer steps; 0: by epochs")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--lr", train.learning_rate, "Learning rate")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--schedule", arguments.schedule, "Of the learning rate")
      ->check(CLI::IsMember({"constant", "linear", "cosine"}))
      ->capture_default_str();
  command->add_option("--warmup", train.warmup_steps, "Steps of linear warm-up")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--weight-decay", train.weight_decay, "Decoupled weight decay")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--clip", train.clip_gradient_norm, "Largest global gradient norm; 0: none")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--batch", train.batch_size, "Windows that go through the model at once")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--accumulate", train.accumulate, "Batches a step; memory is that of one")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option(
          "--precision", arguments.precision,
          "exact: float activations and gradients; fast: 8-bit where weights are quantized")
      ->check(CLI::IsMember({"exact", "fast"}))
      ->capture_default_str();
  command->add_option("--seed", train.seed, "Of the fresh adapter and the order of batches")
      ->capture_default_str();
}

void DeclareLimits(CLI::App* command, FinetuneArguments& arguments) {
  TrainOptions& train = arguments.train;
  command
      ->add_option("--eval-split", arguments.text.eval_split,
                   "Share of the text, from its end, held out (samples.jsonl: its test lines)")
      ->check(CLI::Range(0.0, 0.9))
      ->capture_default_str();
  command->add_option("--eval-every", train.eval_every, "Steps; 0: once an epoch")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--patience", train.patience,
                   "Evaluations without improvement before stopping; 0: never")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--checkpoint", train.checkpoint_dir, "Directory for checkpoints");
  command->add_option("--checkpoint-every", train.checkpoint_every, "Steps")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--resume", train.resume, "Go on from the checkpoint, if there is one");
  command->add_option(
      "--metrics", arguments.metrics,
      "File of JSON lines: loss, rate, gradient norm, speed and memory of each step");
  // For comparisons with other programs (tests/oracle), not for users: not in the help.
  command
      ->add_option("--write-batches", arguments.batches,
                   "JSON of the token windows and of those that make up each step")
      ->group("");
  arguments.limits.Declare(command);
}

}  // namespace

void AddFinetuneCommand(Program& program) {
  auto arguments = std::make_shared<FinetuneArguments>();
  CLI::App* command =
      program.Add("finetune", "Train an adapter, or all weights of a small model, on text",
                  [arguments](Output& output) { return RunFinetune(*arguments, output); });
  arguments->engine.AddModel(command);
  arguments->engine.AddThreads(command);
  arguments->engine.AddAdapters(command);  // active, but frozen
  command
      ->add_option("--data", arguments->data,
                   ".txt, .jsonl with \"text\" or \"messages\", or a samples.jsonl")
      ->required();
  command->add_option("--user", arguments->user,
                      "Whose lines of a samples.jsonl; of several (a,b,c) each gets an adapter");
  command
      ->add_option(
          "--out", arguments->out,
          "The adapter (--form full: the model; several users: their directory) to write, GGUF")
      ->required();
  command->add_option("--report", arguments->report, "Page to write (HTML, needs nothing else)");
  command
      ->add_option("--context", arguments->text.context_length,
                   "Tokens of a window; 0: 256, or the model's where that is shorter")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag("--eos", arguments->text.add_eos, "Texts end with the end-of-text token");
  command->add_flag("--pack,!--no-pack", arguments->pack,
                    "Short texts share a window, without seeing each other: fewer, larger steps");
  arguments->start.Declare(command);
  DeclareSchedule(command, *arguments);
  DeclareLimits(command, *arguments);
}

}  // namespace lorikeet
