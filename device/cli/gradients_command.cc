// lorikeet gradients: loss and gradients of a batch of token lists, for comparison with other
// implementations.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/adapter/gguf_io.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"
#include "device/model/trainable_model.h"
#include "device/trainer/gradient.h"
#include "device/trainer/parameters.h"
#include "device/trainer/trainee.h"

namespace lorikeet {
namespace {

using nlohmann::json;

struct GradientsArguments {
  EngineArguments engine;
  std::string adapter;
  std::string batch;
  std::string out;
  bool full = false;
};

// What gradients are wanted of, on which base.
struct Subject {
  std::shared_ptr<const Model> base;
  std::unique_ptr<TrainableModel> model;
  std::unique_ptr<Trainee> trainee;
};

absl::StatusOr<Subject> FindSubject(const GradientsArguments& arguments, const Engine& engine) {
  if (arguments.full == !arguments.adapter.empty()) {
    return UsageError("expected either --adapter FILE or --full");
  }
  Subject subject{.base = engine.model(), .model = nullptr, .trainee = nullptr};
  if (arguments.full) {
    ASSIGN_OR_RETURN(subject.model, TrainableModel::Create(*engine.model()));
    subject.base = subject.model->model();
    subject.trainee = std::make_unique<ModelTrainee>(*subject.model);
  } else {
    ASSIGN_OR_RETURN(Adapter adapter, ReadAdapter(arguments.adapter));
    subject.trainee =
        std::make_unique<AdapterTrainee>(std::move(adapter), std::span<const AdapterRef>());
  }
  return subject;
}

absl::StatusOr<std::vector<float>> ParseMask(const json& list) {
  if (!list.is_array()) {
    return absl::InvalidArgumentError("expected a list of numbers as a loss mask");
  }
  std::vector<float> mask;
  for (const json& item : list) {
    if (!item.is_number()) {
      return absl::InvalidArgumentError("expected numbers in a loss mask, got something else");
    }
    mask.push_back(item.get<float>());
  }
  return mask;
}

// {"sequences": [[ids], ...], "loss_masks": [[numbers], ...]}, masks optional.
absl::StatusOr<std::vector<Sequence>> ParseBatch(const std::string& text) {
  const json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object() || !document.contains("sequences") ||
      !document["sequences"].is_array()) {
    return absl::InvalidArgumentError("expected a JSON object with a list \"sequences\"");
  }
  const json& sequences = document["sequences"];
  const json masks = document.value("loss_masks", json::array());
  if (!masks.is_array() || (!masks.empty() && masks.size() != sequences.size())) {
    return absl::InvalidArgumentError(
        absl::StrFormat("\"loss_masks\": expected a list of %d masks", sequences.size()));
  }
  std::vector<Sequence> batch(sequences.size());
  for (size_t i = 0; i < batch.size(); ++i) {
    ASSIGN_OR_RETURN(batch[i].tokens, ParseTokens(sequences[i].dump()));
    if (!masks.empty()) {
      ASSIGN_OR_RETURN(batch[i].loss_mask, ParseMask(masks[i]));
    }
  }
  return batch;
}

absl::Status RunGradients(const GradientsArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  ASSIGN_OR_RETURN(const Subject subject, FindSubject(arguments, engine));
  ASSIGN_OR_RETURN(const std::string text, ReadFile(arguments.batch));
  const absl::StatusOr<std::vector<Sequence>> batch = ParseBatch(text);
  if (!batch.ok()) return Annotate(batch.status(), arguments.batch);
  ASSIGN_OR_RETURN(const auto gradient_engine, GradientEngine::Create(subject.base, engine.pool()));
  ASSIGN_OR_RETURN(const GradientResult result,
                   subject.trainee->Compute(*gradient_engine, *batch, /*wants_gradient=*/true));

  const std::vector<ParameterSpan>& parameters = subject.trainee->parameters();
  const std::vector<std::span<const float>> spans = subject.trainee->gradient();
  std::string bytes;
  json tensors = json::array();
  for (size_t i = 0; i < spans.size(); ++i) {
    tensors.push_back({{"tensor", parameters[i].name},
                       {"shape", {parameters[i].rows, parameters[i].columns}},
                       {"offset_floats", bytes.size() / sizeof(float)}});
    bytes.append(reinterpret_cast<const char*>(spans[i].data()), spans[i].size_bytes());
  }
  RETURN_IF_ERROR(WriteFileAtomic(arguments.out, bytes));
  output.Line(absl::StrFormat("loss %.6f nats a token; %d gradients in %s", result.loss(),
                              spans.size(), arguments.out));
  output.SetJson({{"loss", result.loss()}, {"tensors", std::move(tensors)}});
  return absl::OkStatus();
}

}  // namespace

void AddGradientsCommand(Program& program) {
  auto arguments = std::make_shared<GradientsArguments>();
  CLI::App* command =
      program.Add("gradients", "Loss and gradients of an adapter, or all weights, on token lists",
                  [arguments](Output& output) { return RunGradients(*arguments, output); });
  arguments->engine.AddModel(command);
  arguments->engine.AddThreads(command);
  command->add_option("--adapter", arguments->adapter, "The adapter (GGUF)");
  command->add_flag("--full", arguments->full, "Of all weights of the model instead");
  command
      ->add_option("--batch", arguments->batch,
                   "JSON: \"sequences\" (token lists) and \"loss_masks\" (optional)")
      ->required();
  command->add_option("--out", arguments->out, "Gradients, float32 little-endian")->required();
}

}  // namespace lorikeet
