// lorikeet bench: speed and memory of prefill, decoding and training on this machine.
#include <algorithm>
#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/cli/progress.h"
#include "device/cli/bench_common.h"
#include "device/cli/bench_training.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"
#include "device/cli/memory_bandwidth.h"
#include "kernels/isa.h"

namespace lorikeet {
namespace {

using nlohmann::json;

// A prompt of this many tokens is what "time to the first token" means.
constexpr int kShortPrompt = 16;

struct BenchArguments {
  EngineArguments engine = EngineArguments::Fast();
  int prompt = 512;
  int generate = 128;
  int depth = 0;
  int train = 256;
  std::string train_plan = "both";
  std::string train_precision = "fast";
  int learners = 0;
  int repeat = 5;
};

struct InferenceRates {
  Rates prefill, decode, first_token;
};

// Seconds of decoding `tokens` in one call, behind the first `depth` positions of the cache.
absl::StatusOr<double> TimePrompt(Session& session, int depth, std::span<const TokenId> tokens) {
  session.Rewind(depth);
  return SecondsOf([&] { return session.Decode(tokens, false).status(); });
}

absl::StatusOr<double> TimeSingleTokens(Session& session, int depth,
                                        std::span<const TokenId> tokens) {
  session.Rewind(depth);
  return SecondsOf([&] {
    for (size_t i = 0; i < tokens.size(); ++i) {
      RETURN_IF_ERROR(session.Decode(tokens.subspan(i, 1), false).status());
    }
    return absl::OkStatus();
  });
}

// Prefill, decoding and a short prompt, each from the same depth of the cache (as llama-bench
// does).
absl::Status MeasureInference(Session& session, const BenchArguments& arguments, bool warm_up,
                              InferenceRates& rates) {
  const std::vector<TokenId> tokens =
      RandomTokens(session.model(), std::max({arguments.prompt, arguments.generate, kShortPrompt}));
  const std::span<const TokenId> all(tokens);
  const int depth = arguments.depth;
  ASSIGN_OR_RETURN(const double prompt, TimePrompt(session, depth, all.first(arguments.prompt)));
  ASSIGN_OR_RETURN(const double decode,
                   TimeSingleTokens(session, depth, all.first(arguments.generate)));
  ASSIGN_OR_RETURN(const double first, TimePrompt(session, depth, all.first(kShortPrompt)));
  if (warm_up) return absl::OkStatus();
  rates.prefill.Add(arguments.prompt, prompt);
  if (arguments.generate > 0) rates.decode.Add(arguments.generate, decode);
  rates.first_token.values.push_back(first);
  return absl::OkStatus();
}

// All tensors, as they lie in the mapped file.
std::span<const uint8_t> TensorBytes(const Model& model) {
  const std::vector<GgufTensor>& tensors = model.file().tensors();  // in file order
  return {tensors.front().data.data(), tensors.back().data.data() + tensors.back().data.size()};
}

// Bytes that decoding one token reads of the weights: all but an embedding table of which it reads
// one row.
int64_t WeightBytesPerToken(const Model& model) {
  const auto bytes = [](const WeightView& w) { return w.rows * w.row_bytes; };
  int64_t total = bytes(model.output());
  for (int layer = 0; layer < model.config().layer_count; ++layer) {
    for (const WeightView& w : model.layer(layer).weights) total += bytes(w);
  }
  return total;
}

void PrintRate(Output& output, std::string_view name, const Rates& rates) {
  if (rates.values.empty()) return;
  const json r = rates.ToJson();
  output.Line(absl::StrFormat("%-8s %10.1f tokens/s  (%.1f to %.1f)", ToAbsl(name),
                              r["median"].get<double>(), r["min"].get<double>(),
                              r["max"].get<double>()));
}

struct Memory {
  int64_t peak = 0;
  int64_t anonymous = 0;
  MemoryEstimate predicted = {};
};

absl::StatusOr<Memory> MeasureAllInference(const Engine& engine, const BenchArguments& arguments,
                                           ProgressLine& progress, InferenceRates& rates) {
  const int longest = std::max({arguments.prompt, arguments.generate, kShortPrompt});
  ASSIGN_OR_RETURN(const std::unique_ptr<Session> session,
                   engine.MakeSession(arguments.depth + longest));
  if (arguments.depth > 0) {
    const std::vector<TokenId> before = RandomTokens(*engine.model(), arguments.depth);
    RETURN_IF_ERROR(session->Decode(before, false).status());
  }
  // The first round warms up and is dropped.
  for (int i = 0; i <= arguments.repeat && !StopRequested(); ++i) {
    RETURN_IF_ERROR(MeasureInference(*session, arguments, i == 0, rates));
    progress.Update(i, arguments.repeat, "inference");
  }
  // While the session lives, and before training, whose activations are another matter.
  return Memory{.peak = MemoryStatus("VmHWM:"),
                .anonymous = MemoryStatus("RssAnon:"),
                .predicted = session->estimate()};
}

TrainingBenchOptions TrainingOptionsOf(const BenchArguments& arguments) {
  const std::string& plan = arguments.train_plan;
  return {.tokens = arguments.train,
          .repeat = arguments.repeat,
          .recompute = plan == "recompute" || plan == "both",
          .keep = plan == "keep" || plan == "both",
          .precision = arguments.train_precision == "exact" ? TrainPrecision::kExact
                                                            : TrainPrecision::kFast};
}

absl::Status RunBench(const BenchArguments& arguments, Output& output) {
  const auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  const std::chrono::duration<double> open = std::chrono::steady_clock::now() - start;
  ProgressLine progress(output.progress(), "bench");
  InferenceRates rates;
  ASSIGN_OR_RETURN(const Memory memory, MeasureAllInference(engine, arguments, progress, rates));
  const TrainingBenchOptions training = TrainingOptionsOf(arguments);
  ASSIGN_OR_RETURN(const TrainingRates train, MeasureTraining(engine, training, progress));
  ASSIGN_OR_RETURN(const SideBySideRates side_by_side,
                   MeasureSideBySide(engine, training, arguments.learners, progress));
  if (rates.prefill.values.empty()) {
    return absl::CancelledError("stopped before anything was measured");
  }
  const double bandwidth = MeasureReadBandwidth(TensorBytes(*engine.model()), engine.pool());
  const int64_t weight_bytes = WeightBytesPerToken(*engine.model());
  const double share = rates.decode.values.empty()
                           ? 0
                           : rates.decode.Median() * static_cast<double>(weight_bytes) / bandwidth;

  PrintRate(output, "prefill", rates.prefill);
  PrintRate(output, "decode", rates.decode);
  PrintTraining(output, train);
  PrintSideBySide(output, side_by_side);
  output.Line(
      absl::StrFormat("decode reads %.1f MB of weights a token: %.0f %% of the %.1f GB/s "
                      "that memory gives",
                      weight_bytes / 1e6, 100 * share, bandwidth / 1e9));
  output.Line(absl::StrFormat("open     %.2f s, first token of a prompt of %d: %.3f s",
                              open.count(), kShortPrompt, rates.first_token.Median()));
  output.Line(absl::StrFormat("memory   %.1f MB peak, %.1f MB not shared with the file",
                              memory.peak / 1e6, memory.anonymous / 1e6));
  output.Line(absl::StrFormat(
      "         predicted: %.1f MB of file, %.1f MB of cache when full, %.1f MB of activations",
      memory.predicted.file / 1e6, memory.predicted.cache / 1e6,
      memory.predicted.activations / 1e6));
  output.Line(absl::StrFormat("with %s kernels on %d threads", ToAbsl(IsaName()),
                              engine.pool()->threads()));
  output.SetJson({{"prefill_tokens_per_s", rates.prefill.ToJson()},
                  {"decode_tokens_per_s", rates.decode.ToJson()},
                  {"train_tokens_per_s", train.steps().ToJson()},
                  {"memory_bytes_per_s", bandwidth},
                  {"weight_bytes_per_token", weight_bytes},
                  {"decode_share_of_memory", share},
                  {"open_seconds", open.count()},
                  {"first_token_seconds", rates.first_token.ToJson()},
                  {"peak_rss", memory.peak},
                  {"anonymous_rss", memory.anonymous},
                  {"predicted_bytes",
                   {{"file", memory.predicted.file},
                    {"cache", memory.predicted.cache},
                    {"activations", memory.predicted.activations}}},
                  {"train_peak_rss", MemoryStatus("VmHWM:")},
                  {"model_bytes", engine.model()->file().size_bytes()},
                  {"isa", IsaName()},
                  {"threads", engine.pool()->threads()},
                  {"precision", arguments.engine.precision},
                  {"prompt", arguments.prompt},
                  {"gen", arguments.generate},
                  {"depth", arguments.depth},
                  {"train", TrainingJson(train)},
                  {"side_by_side", SideBySideJson(side_by_side)},
                  {"repeat", arguments.repeat}});
  return absl::OkStatus();
}

}  // namespace

void AddBenchCommand(Program& program) {
  auto arguments = std::make_shared<BenchArguments>();
  CLI::App* command =
      program.Add("bench", "Tokens a second and memory; medians, warm-up dropped",
                  [arguments](Output& output) { return RunBench(*arguments, output); });
  arguments->engine.AddAll(command);
  command->add_option("--prompt", arguments->prompt, "Tokens of the prompt")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--gen", arguments->generate, "Tokens decoded one by one")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--depth", arguments->depth,
                   "Positions already in the cache when prompt and decoding begin")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--train", arguments->train,
                   "Tokens of a training sequence (LoRA of rank 8 on all matrices); 0 = none")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--train-plan", arguments->train_plan,
                   "Steps that recompute layers, steps that keep all activations, or both in turns")
      ->check(CLI::IsMember({"recompute", "keep", "both", "none"}))
      ->capture_default_str();
  command
      ->add_option("--train-precision", arguments->train_precision,
                   "fast: activations and gradients rounded to 8 bit beside quantized weights")
      ->check(CLI::IsMember({"exact", "fast"}))
      ->capture_default_str();
  command
      ->add_option("--learners", arguments->learners,
                   "Adapters trained side by side, a sequence each, beside one on all of them")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  command->add_option("--repeat", arguments->repeat, "Measurements")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

}  // namespace lorikeet
