// lorikeet finetune: train an adapter on a text file.
#include <sys/resource.h>

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
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/cli/progress.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"
#include "device/trainer/data.h"
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
  std::string init;
  std::string rank = "8";
  std::string modules = "all";
  std::string form = "lora";
  std::string schedule = "cosine";
  float alpha = 16;
  DataOptions text{.context_length = 0, .add_eos = false, .eval_split = 0.1};
  TrainOptions train;
  double max_seconds = 0;
  bool pack = false;
};

int64_t PeakRss() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

// --init's adapter, or a fresh one.
absl::StatusOr<Adapter> StartingAdapter(const FinetuneArguments& arguments, const Model& model) {
  if (!arguments.init.empty()) {
    ASSIGN_OR_RETURN(const std::string bytes, ReadFile(arguments.init));
    ASSIGN_OR_RETURN(Adapter adapter, ReadAdapter(arguments.init));
    RETURN_IF_ERROR(Annotate(model.CheckAdapter(adapter), arguments.init));
    adapter.info.base_fingerprint = model.fingerprint();
    adapter.info.parent = ToHex(Blake2b(AsBytes(bytes)));
    return adapter;
  }
  absl::StatusOr<AdapterSpec> spec = ParseAdapterSpec(arguments.rank, arguments.modules);
  if (!spec.ok()) return UsageError(Message(spec.status()));
  spec->kind = arguments.form == "core" ? AdapterKind::kCore : AdapterKind::kLora;
  spec->alpha = arguments.alpha;
  spec->seed = arguments.train.seed;
  return MakeAdapter(model, *spec);
}

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

TrainOptions TrainOptionsOf(const FinetuneArguments& arguments, int context) {
  TrainOptions options = arguments.train;
  options.pack_rows = arguments.pack ? context : 0;
  if (arguments.schedule == "constant") options.schedule = Schedule::kConstant;
  if (arguments.schedule == "linear") options.schedule = Schedule::kLinear;
  if (arguments.schedule == "cosine") options.schedule = Schedule::kCosine;
  if (arguments.max_seconds > 0) options.max_duration = absl::Seconds(arguments.max_seconds);
  return options;
}

json LossJson(const std::vector<LossPoint>& points) {
  json list = json::array();
  for (const LossPoint& point : points)
    list.push_back({{"step", point.step}, {"loss", point.loss}});
  return list;
}

json ResultJson(const TrainResult& result, const Dataset& dataset) {
  json document = {{"steps", result.steps},
                   {"tokens", result.tokens},
                   {"train_loss", LossJson(result.train_loss)},
                   {"eval_loss", LossJson(result.eval_loss)},
                   {"tokens_per_s", result.tokens_per_second},
                   {"peak_rss", PeakRss()},
                   {"working_set", result.working_set_bytes},
                   {"stopped_because", result.stopped_because},
                   {"parameters", result.adapter.ParameterCount()},
                   {"train_tokens", dataset.train_tokens},
                   {"eval_tokens", dataset.eval_tokens}};
  if (!dataset.note.empty()) document["note"] = dataset.note;
  return document;
}

void Print(const TrainResult& result, const Dataset& dataset, const std::string& path,
           Output& output) {
  if (!dataset.note.empty()) output.Line(dataset.note);
  output.Line(absl::StrFormat("%d steps, %d tokens at %.0f tokens/s; stopped because: %s",
                              result.steps, result.tokens, result.tokens_per_second,
                              result.stopped_because));
  if (!result.train_loss.empty()) {
    output.Line(absl::StrFormat("training loss %.4f at first, %.4f at last (nats a token)",
                                result.train_loss.front().loss, result.train_loss.back().loss));
  }
  if (!result.eval_loss.empty()) {
    double best = result.eval_loss.front().loss;
    for (const LossPoint& point : result.eval_loss) best = std::min(best, point.loss);
    output.Line(absl::StrFormat("held-out loss %.4f before, %.4f at best",
                                result.eval_loss.front().loss, best));
  }
  output.Line(absl::StrFormat("%s: %d trained numbers; working set %.1f MB", path,
                              result.adapter.ParameterCount(), result.working_set_bytes / 1e6));
}

absl::Status RunFinetune(const FinetuneArguments& arguments, Output& output) {
  if (arguments.train.resume && arguments.train.checkpoint_dir.empty()) {
    return UsageError("--resume needs --checkpoint DIR");
  }
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  ASSIGN_OR_RETURN(Adapter start, StartingAdapter(arguments, *engine.model()));
  ASSIGN_OR_RETURN(const int context, ContextOf(arguments, *engine.model()));
  ASSIGN_OR_RETURN(const Dataset dataset, LoadData(arguments, *engine.model(), context));
  const SystemClock clock;
  std::optional<ProgressLine> line;
  line.emplace(output.progress(), "finetune");
  std::string held_out;
  const auto progress = [&](const TrainProgress& now) {
    if (now.eval_loss) held_out = absl::StrFormat(", held-out %.3f", *now.eval_loss);
    line->Update(
        now.step, now.total_steps,
        absl::StrFormat("loss %.3f%s, %.0f tokens/s", now.loss, held_out, now.tokens_per_second));
    return !StopRequested();
  };
  ASSIGN_OR_RETURN(
      const TrainResult result,
      Train(engine.model(), engine.pool(), clock, std::move(start), engine.adapters(),
            dataset.train, dataset.eval, TrainOptionsOf(arguments, context), progress));
  line.reset();
  RETURN_IF_ERROR(WriteAdapter(result.adapter, arguments.out));
  if (!result.failure.empty()) {
    return absl::InternalError(absl::StrCat("training stopped at ", result.failure,
                                            "; the last good adapter is in ", arguments.out));
  }
  Print(result, dataset, arguments.out, output);
  output.SetJson(ResultJson(result, dataset));
  return absl::OkStatus();
}

void DeclareAdapter(CLI::App* command, FinetuneArguments& arguments) {
  command
      ->add_option("--rank", arguments.rank,
                   "Of all matrices (8), with exceptions (8,down=16), or of some alone (q=16,v=16)")
      ->capture_default_str();
  command->add_option("--alpha", arguments.alpha, "A matrix is scaled by alpha / its rank")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--modules", arguments.modules, "all, or of q,k,v,o,gate,up,down")
      ->capture_default_str();
  command
      ->add_option("--form", arguments.form,
                   "lora: A and B are trained; core: R between fixed orthonormal A and B")
      ->check(CLI::IsMember({"lora", "core"}))
      ->capture_default_str();
  command->add_option("--init", arguments.init,
                      "Adapter to start from; its form, rank, alpha and modules are kept");
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
  command->add_option("--batch", train.batch_size, "Windows a step")
      ->check(CLI::PositiveNumber)
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
  command->add_option("--max-seconds", arguments.max_seconds, "Stop after; 0: no limit")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--max-memory", train.max_memory_bytes,
                   "Bytes of training's buffers (the mapped model is not counted); 0: no limit")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--checkpoint", train.checkpoint_dir, "Directory for checkpoints");
  command->add_option("--checkpoint-every", train.checkpoint_every, "Steps")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--resume", train.resume, "Go on from the checkpoint, if there is one");
}

}  // namespace

void AddFinetuneCommand(Program& program) {
  auto arguments = std::make_shared<FinetuneArguments>();
  CLI::App* command =
      program.Add("finetune", "Train an adapter on text",
                  [arguments](Output& output) { return RunFinetune(*arguments, output); });
  arguments->engine.AddModel(command);
  arguments->engine.AddThreads(command);
  arguments->engine.AddAdapters(command);  // active, but frozen
  command
      ->add_option("--data", arguments->data,
                   ".txt, .jsonl with \"text\" or \"messages\", or a samples.jsonl")
      ->required();
  command->add_option("--user", arguments->user, "Whose lines of a samples.jsonl");
  command->add_option("--out", arguments->out, "The adapter to write (GGUF)")->required();
  command
      ->add_option("--context", arguments->text.context_length,
                   "Tokens of a window; 0: 256, or the model's where that is shorter")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag("--eos", arguments->text.add_eos, "Texts end with the end-of-text token");
  command->add_flag("--pack,!--no-pack", arguments->pack,
                    "Short texts share a window, without seeing each other: fewer, larger steps");
  DeclareAdapter(command, *arguments);
  DeclareSchedule(command, *arguments);
  DeclareLimits(command, *arguments);
}

}  // namespace lorikeet
