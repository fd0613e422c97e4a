// lorikeet bench: speed and memory of prefill, decoding and training on this machine.
#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/cli/progress.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"
#include "device/trainer/gradient.h"
#include "device/trainer/trainer.h"
#include "kernels/isa.h"

namespace lorikeet {
namespace {

using nlohmann::json;

struct BenchArguments {
  EngineArguments engine = EngineArguments::Fast();
  int prompt = 512;
  int generate = 128;
  int train = 256;
  int repeat = 5;
};

struct Rates {
  std::vector<double> values;

  void Add(int tokens, double seconds) { values.push_back(tokens / seconds); }
  double Median() const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    const size_t n = sorted.size();
    return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
  }
  // Null when nothing was measured.
  json ToJson() const {
    if (values.empty()) return nullptr;
    return {{"median", Median()},
            {"min", *std::min_element(values.begin(), values.end())},
            {"max", *std::max_element(values.begin(), values.end())}};
  }
};

// Bytes of a line of /proc/self/status such as "VmHWM:  1234 kB"; 0 where there is none.
int64_t MemoryStatus(std::string_view field) {
  const absl::StatusOr<std::string> status = ReadFile("/proc/self/status");
  if (!status.ok()) return 0;
  const size_t at = status->find(field);
  if (at == std::string::npos) return 0;
  return std::strtoll(status->c_str() + at + field.size(), nullptr, 10) * 1024;
}

std::vector<TokenId> RandomTokens(const Model& model, int count) {
  Rng rng(1);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) {
    token = static_cast<TokenId>(rng.Below(model.config().vocabulary_size));
  }
  return tokens;
}

double SecondsOf(const std::function<absl::Status()>& work, absl::Status& status) {
  const auto start = std::chrono::steady_clock::now();
  status = work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Prefill of the prompt from an empty cache, then as many single tokens behind it.
absl::Status MeasureInference(Session& session, const BenchArguments& arguments, bool warm_up,
                              Rates& prefill, Rates& decode) {
  const std::vector<TokenId> tokens =
      RandomTokens(session.model(), arguments.prompt + arguments.generate);
  const std::span<const TokenId> all(tokens);
  absl::Status status;
  session.Rewind(0);
  double seconds = SecondsOf(
      [&] { return session.Decode(all.first(arguments.prompt), false).status(); }, status);
  RETURN_IF_ERROR(status);
  if (!warm_up) prefill.Add(arguments.prompt, seconds);
  if (arguments.generate == 0) return absl::OkStatus();
  seconds = SecondsOf(
      [&] {
        for (int i = 0; i < arguments.generate; ++i) {
          RETURN_IF_ERROR(session.Decode(all.subspan(arguments.prompt + i, 1), false).status());
        }
        return absl::OkStatus();
      },
      status);
  RETURN_IF_ERROR(status);
  if (!warm_up) decode.Add(arguments.generate, seconds);
  return absl::OkStatus();
}

// Loss and gradients of one sequence for a fresh LoRA of rank 8 on all modules.
absl::StatusOr<Rates> MeasureTraining(const Engine& engine, const BenchArguments& arguments,
                                      ProgressLine& progress) {
  Rates rates;
  if (arguments.train == 0) return rates;
  ASSIGN_OR_RETURN(const Adapter adapter, MakeAdapter(*engine.model(), AdapterSpec()));
  ASSIGN_OR_RETURN(const std::unique_ptr<GradientEngine> gradients,
                   GradientEngine::Create(engine.model(), engine.pool()));
  const Sequence sequence{.tokens = RandomTokens(*engine.model(), arguments.train),
                          .loss_mask = {}};
  std::vector<MatrixGradient> result;
  for (int i = 0; i <= arguments.repeat && !StopRequested(); ++i) {
    absl::Status status;
    const double seconds = SecondsOf(
        [&] { return gradients->Compute(adapter, {}, {&sequence, 1}, &result).status(); }, status);
    RETURN_IF_ERROR(status);
    if (i > 0) rates.Add(arguments.train, seconds);
    progress.Update(i, arguments.repeat, "training");
  }
  return rates;
}

void PrintRate(Output& output, std::string_view name, const Rates& rates) {
  if (rates.values.empty()) return;
  const json r = rates.ToJson();
  output.Line(absl::StrFormat("%-8s %10.1f tokens/s  (%.1f to %.1f)", ToAbsl(name),
                              r["median"].get<double>(), r["min"].get<double>(),
                              r["max"].get<double>()));
}

absl::Status RunBench(const BenchArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  Rates prefill, decode;
  ProgressLine progress(output.progress(), "bench");
  int64_t peak_rss = 0, anonymous_rss = 0;
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<Session> session,
                     engine.MakeSession(arguments.prompt + arguments.generate));
    // The first round warms up and is dropped.
    for (int i = 0; i <= arguments.repeat && !StopRequested(); ++i) {
      RETURN_IF_ERROR(MeasureInference(*session, arguments, i == 0, prefill, decode));
      progress.Update(i, arguments.repeat, "inference");
    }
    // While the session lives, and before training, whose activations are another matter.
    peak_rss = MemoryStatus("VmHWM:");
    anonymous_rss = MemoryStatus("RssAnon:");
  }
  ASSIGN_OR_RETURN(const Rates train, MeasureTraining(engine, arguments, progress));
  if (prefill.values.empty()) return absl::CancelledError("stopped before anything was measured");

  PrintRate(output, "prefill", prefill);
  PrintRate(output, "decode", decode);
  PrintRate(output, "train", train);
  output.Line(absl::StrFormat("memory   %.1f MB peak, %.1f MB not shared with the file",
                              peak_rss / 1e6, anonymous_rss / 1e6));
  output.Line(absl::StrFormat("with %s kernels on %d threads", ToAbsl(IsaName()),
                              engine.pool()->threads()));
  output.SetJson({{"prefill_tokens_per_s", prefill.ToJson()},
                  {"decode_tokens_per_s", decode.ToJson()},
                  {"train_tokens_per_s", train.ToJson()},
                  {"peak_rss", peak_rss},
                  {"anonymous_rss", anonymous_rss},
                  {"train_peak_rss", MemoryStatus("VmHWM:")},
                  {"model_bytes", engine.model()->file().size_bytes()},
                  {"isa", IsaName()},
                  {"threads", engine.pool()->threads()},
                  {"precision", arguments.engine.precision},
                  {"prompt", arguments.prompt},
                  {"gen", arguments.generate},
                  {"train", arguments.train},
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
  command->add_option("--prompt", arguments->prompt, "Tokens of the prompt, from an empty cache")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--gen", arguments->generate, "Tokens decoded one by one after the prompt")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--train", arguments->train,
                   "Tokens of a training sequence (LoRA of rank 8 on all matrices); 0 = none")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--repeat", arguments->repeat, "Measurements")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

}  // namespace lorikeet
