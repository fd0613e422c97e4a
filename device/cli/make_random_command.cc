// lorikeet make-random: a model of a given shape with random weights, to repeat the benchmarks
// with, or to train from scratch (finetune --form full).
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/base/thread_pool.h"
#include "common/cli/progress.h"
#include "common/gguf/reader.h"
#include "device/cli/command.h"
#include "device/model/random_model.h"

namespace lorikeet {
namespace {

struct MakeRandomArguments {
  std::string out;
  std::string shape;
  std::optional<std::string> type;
  std::string init = "measuring";
  std::string vocab;
  std::optional<std::string> architecture;
  std::optional<int> layers, embedding, heads, kv_heads, head_size, ffn, vocabulary, context;
  bool untied = false;
  uint64_t seed = 1;
  int threads = 0;
};

absl::StatusOr<RandomModelOptions> ToOptions(const MakeRandomArguments& arguments) {
  RandomModelOptions options;
  if (!arguments.shape.empty()) {
    const auto shape = FindModelShape(arguments.shape);
    if (!shape) {
      return UsageError(absl::StrCat("--shape: expected one of ", ModelShapeNames(), ", got '",
                                     arguments.shape, "'"));
    }
    options.shape = *shape;
  }
  const bool training = arguments.init == "training";
  const std::string name = arguments.type.value_or(training ? "F32" : "F16");
  const auto type = ParseFileType(name);
  if (!type) {
    return UsageError(
        absl::StrCat("--type: expected one of ", FileTypeNames(), ", got '", name, "'"));
  }
  options.type = *type;
  ModelShape& shape = options.shape;
  shape.architecture = arguments.architecture.value_or(shape.architecture);
  shape.layers = arguments.layers.value_or(shape.layers);
  shape.embedding = arguments.embedding.value_or(shape.embedding);
  shape.heads = arguments.heads.value_or(shape.heads);
  shape.kv_heads = arguments.kv_heads.value_or(shape.kv_heads);
  shape.head_size = arguments.head_size.value_or(shape.head_size);
  shape.ffn = arguments.ffn.value_or(shape.ffn);
  shape.vocabulary = arguments.vocabulary.value_or(shape.vocabulary);
  shape.context = arguments.context.value_or(shape.context);
  if (arguments.untied) shape.tied = false;
  if (training) options.init = WeightInit::kTraining;
  options.seed = arguments.seed;
  if (arguments.vocab.empty()) return options;
  ASSIGN_OR_RETURN(options.vocabulary, GgufFile::Open(arguments.vocab));
  if (!arguments.vocabulary && arguments.shape.empty()) {
    ASSIGN_OR_RETURN(const GgufArray* tokens,
                     options.vocabulary->GetArray("tokenizer.ggml.tokens"));
    shape.vocabulary = static_cast<int>(tokens->strings.size());
  }
  return options;
}

absl::Status RunMakeRandom(const MakeRandomArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(const RandomModelOptions options, ToOptions(arguments));
  ThreadPool pool(arguments.threads);
  ProgressLine line(output.progress(), "writing");
  ASSIGN_OR_RETURN(const uint64_t bytes, WriteRandomModel(options, arguments.out, &pool,
                                                          [&](int64_t done, int64_t total) {
                                                            line.Update(done, total);
                                                          }));
  output.Line(absl::StrFormat("%s: %s, %d layers, %s, %d bytes", arguments.out,
                              options.shape.architecture, options.shape.layers,
                              FileTypeName(options.type), bytes));
  output.SetJson({{"bytes", bytes},
                  {"architecture", options.shape.architecture},
                  {"layers", options.shape.layers},
                  {"type", FileTypeName(options.type)},
                  {"seed", options.seed}});
  return absl::OkStatus();
}

}  // namespace

void AddMakeRandomCommand(Program& program) {
  auto arguments = std::make_shared<MakeRandomArguments>();
  CLI::App* command =
      program.Add("make-random", "Write a model of a given shape with random weights",
                  [arguments](Output& output) { return RunMakeRandom(*arguments, output); });
  command->group("");  // a tool for makers of models, not for users: not in the help
  command->add_option("out", arguments->out, "File to write")->required();
  command->add_option("--shape", arguments->shape, ModelShapeNames());
  command->add_option("--type", arguments->type,
                      absl::StrCat(FileTypeNames(), " (default: F16; to train, F32)"));
  command->add_option("--arch", arguments->architecture, "llama, qwen2 or qwen3");
  command->add_option("--layers", arguments->layers, "Instead of the shape's");
  command->add_option("--embedding", arguments->embedding, "Width of the residual stream");
  command->add_option("--heads", arguments->heads, "Query heads");
  command->add_option("--kv-heads", arguments->kv_heads, "Key and value heads");
  command->add_option("--head-size", arguments->head_size, "Even");
  command->add_option("--ffn", arguments->ffn, "Width of the feed-forward part");
  command->add_option("--context", arguments->context, "Tokens, as trained");
  command->add_flag("--untied", arguments->untied, "An output matrix of its own");
  command->add_option("--vocabulary", arguments->vocabulary,
                      "Tokens (default: the shape's, or those of --vocab)");
  command
      ->add_option("--init", arguments->init,
                   "measuring: activations keep their size; training: what to train from scratch")
      ->check(CLI::IsMember({"measuring", "training"}))
      ->capture_default_str();
  command->add_option("--vocab", arguments->vocab,
                      "GGUF file whose tokenizer is copied (default: a synthetic one)");
  command->add_option("--seed", arguments->seed)->capture_default_str();
  command->add_option("--threads", arguments->threads, "0: all")->check(CLI::NonNegativeNumber);
}

}  // namespace lorikeet
