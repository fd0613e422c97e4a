#include "device/trainer/gradient.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/trainer/active_adapters.h"
#include "device/trainer/arena.h"
#include "device/trainer/batch_layout.h"
#include "device/trainer/batch_losses.h"
#include "device/trainer/layer_pass.h"
#include "kernels/matmul.h"
#include "kernels/quant.h"
#include "kernels/rmsnorm.h"
#include "kernels/softmax_xent.h"
#include "kernels/vocabulary_loss.h"
#include "kernels/weight_gradients.h"

namespace lorikeet {
namespace {

// In exact precision, logits are made for as many rows at a time as fit here, but for no fewer than
// kMinLogitRows: with fewer, unpacking the output weights would cost more than multiplying by them.
constexpr int64_t kLogitFloats = int64_t{1} << 20;
constexpr int64_t kMinLogitRows = 32;

bool IsFinite(ConstMatrix x) {
  for (int64_t t = 0; t < x.rows; ++t) {
    const float* row = x.row(t);
    if (!std::all_of(row, row + x.cols, [](float value) { return std::isfinite(value); })) {
      return false;
    }
  }
  return true;
}

// What a step computes, besides its tokens.
struct StepShape {
  int64_t rows = 0;
  int64_t scored = 0;
  bool backward = false;
};

class Engine final : public GradientEngine {
 public:
  Engine(std::shared_ptr<const Model> model, ThreadPool* pool, const GradientEngineOptions& options)
      : model_(std::move(model)),
        pool_(pool),
        options_(options),
        pass_(*model_, options.precision, pool, [this] { Between(); }) {}

  absl::StatusOr<std::vector<GradientResult>> ComputeMany(
      std::span<const LearnerBatch> learners) override;
  absl::StatusOr<GradientResult> ComputeAll(std::span<const Sequence> batch,
                                            const ModelGradients& gradients) override;
  int64_t working_set_bytes() const override { return arena_.capacity(); }

  // Bytes of arena that a step takes.
  int64_t BytesOf(const StepShape& shape, const ActiveAdapters& adapters) const;

 private:
  // Buffers that live through a whole step.
  struct StepBuffers {
    Matrix rope_table;
    std::vector<Matrix> inputs;          // of each layer, and what the last puts out
    Matrix d_x;                          // no data: loss only
    int first_kept = 0;                  // layers from here on keep their activations
    std::vector<LayerActivations> kept;  // of those
  };
  struct LossBuffers {
    Matrix scored, normed, d_normed, d_scored;  // [chunk, C]
    Matrix logits;                              // [chunk, V], exact precision
    uint8_t* scratch = nullptr;                 // of VocabularyLoss
  };
  // The rows [begin, end) of the scored ones, and where their gradient goes.
  struct LossChunk {
    int64_t begin, end;
    const LossBuffers& buffers;
    const ModelGradients* all;
  };

  StepBuffers TakeStep(const StepShape& shape, const ActiveAdapters& adapters, Arena& arena) const;
  LossBuffers TakeLoss(const StepShape& shape, Arena& arena) const;
  int64_t LossRows(const StepShape& shape) const;
  bool FastLoss() const { return options_.precision == TrainPrecision::kFast; }

  absl::Status Run(const BatchLayout& layout, const ActiveAdapters& adapters, bool backward,
                   const ModelGradients* all);
  void Embed(const BatchLayout& layout, Matrix x) const;
  absl::Status ForwardLayers(const BatchLayout& layout, const ActiveAdapters& adapters,
                             StepBuffers& step);
  absl::Status Loss(const BatchLayout& layout, const StepShape& shape, const StepBuffers& step,
                    const ModelGradients* all);
  absl::Status LossOfChunk(const BatchLayout& layout, const LossChunk& chunk);
  absl::Status BackwardLayers(const ActiveAdapters& adapters, StepBuffers& step,
                              const ModelGradients* all);
  // Calls the pause point, unless it has already said to stop.
  void Between() {
    if (paused_.ok() && options_.pause_point) paused_ = options_.pause_point();
  }
  absl::Status PausePoint() {
    Between();
    return std::exchange(paused_, absl::OkStatus());
  }
  absl::StatusOr<std::vector<GradientResult>> Results(const BatchLayout& layout,
                                                      const StepBuffers& step) const;
  std::string FirstNonFinite(const BatchLayout& layout, const StepBuffers& step) const;

  std::shared_ptr<const Model> model_;
  ThreadPool* pool_;
  GradientEngineOptions options_;
  LayerPass pass_;
  Arena arena_;
  absl::Status paused_;  // what the pause point said, until it is returned
  StepBuffers step_;
  std::vector<float> nll_;      // per scored row
  std::vector<float> weights_;  // per scored row: of its nll in its learner's loss
};

Engine::StepBuffers Engine::TakeStep(const StepShape& shape, const ActiveAdapters& adapters,
                                     Arena& arena) const {
  const ModelConfig& config = model_->config();
  StepBuffers step;
  step.rope_table = arena.Take(shape.rows, config.rope_dimensions);
  // Layers below the lowest trained one are not gone through again: their inputs need not last.
  const int lowest = shape.backward ? adapters.lowest_trained_layer : config.layer_count;
  Matrix input = arena.Take(shape.rows, config.embedding_length);
  for (int layer = 0; layer <= config.layer_count; ++layer) {
    if (layer > lowest) input = arena.Take(shape.rows, config.embedding_length);
    step.inputs.push_back(input);
  }
  step.first_kept = config.layer_count;
  if (!shape.backward) return step;
  step.d_x = arena.Take(shape.rows, config.embedding_length);
  step.first_kept =
      std::max({0, lowest, config.layer_count - std::max(0, options_.memory.kept_layers)});
  for (int layer = step.first_kept; layer < config.layer_count; ++layer) {
    step.kept.push_back(pass_.TakeActivations(adapters.layers[layer], shape.rows, arena));
  }
  return step;
}

int64_t Engine::LossRows(const StepShape& shape) const {
  const int64_t most = std::max<int64_t>(1, options_.memory.vocabulary_rows);
  if (FastLoss()) return std::min(shape.scored, most);
  const int64_t fit = std::max(kMinLogitRows, kLogitFloats / model_->config().vocabulary_size);
  return std::min({shape.scored, most, fit});
}

Engine::LossBuffers Engine::TakeLoss(const StepShape& shape, Arena& arena) const {
  const ModelConfig& config = model_->config();
  const int64_t rows = LossRows(shape);
  const int64_t width = config.embedding_length;
  LossBuffers buffers;
  buffers.scored = arena.Take(rows, width);
  buffers.normed = arena.Take(rows, width);
  if (shape.backward) {
    buffers.d_normed = arena.Take(rows, width);
    buffers.d_scored = arena.Take(rows, width);
  }
  if (FastLoss()) {
    buffers.scratch =
        arena.TakeBytes(VocabularyLossBytes(rows, width, config.vocabulary_size, shape.backward));
  } else {
    buffers.logits = arena.Take(rows, config.vocabulary_size);
  }
  return buffers;
}

int64_t Engine::BytesOf(const StepShape& shape, const ActiveAdapters& adapters) const {
  Arena count;
  const StepBuffers step = TakeStep(shape, adapters, count);
  {
    ArenaScope scope(count);
    TakeLoss(shape, count);
  }
  for (int layer = 0; layer < model_->config().layer_count; ++layer) {
    ArenaScope scope(count);
    const LayerAdapters& here = adapters.layers[layer];
    if (layer < step.first_kept) pass_.TakeActivations(here, shape.rows, count);
    pass_.CountForward(here, shape.rows, count);
    if (shape.backward && layer >= adapters.lowest_trained_layer) {
      pass_.CountBackward(here, shape.rows, count);
    }
  }
  return count.peak();
}

void Engine::Embed(const BatchLayout& layout, Matrix x) const {
  const WeightView& table = model_->token_embedding();
  for (int64_t t = 0; t < x.rows; ++t) {
    DequantizeRow(table.type, table.row(layout.inputs[t]), table.cols, x.row(t));
  }
}

absl::Status Engine::ForwardLayers(const BatchLayout& layout, const ActiveAdapters& adapters,
                                   StepBuffers& step) {
  pass_.Begin(layout, step.rope_table);
  Embed(layout, step.inputs[0]);
  for (int layer = 0; layer < model_->config().layer_count; ++layer) {
    RETURN_IF_ERROR(PausePoint());
    ArenaScope scope(arena_);
    const LayerAdapters& here = adapters.layers[layer];
    LayerActivations passing;
    const bool keep = layer >= step.first_kept;
    if (!keep) passing = pass_.TakeActivations(here, layout.rows(), arena_);
    pass_.Forward(layer, here, step.inputs[layer],
                  keep ? step.kept[layer - step.first_kept] : passing, step.inputs[layer + 1],
                  arena_);
  }
  return absl::OkStatus();
}

absl::Status Engine::LossOfChunk(const BatchLayout& layout, const LossChunk& chunk) {
  const ModelConfig& config = model_->config();
  const int64_t count = chunk.end - chunk.begin;
  const Matrix scored = chunk.buffers.scored.Rows(0, count);
  const Matrix normed = chunk.buffers.normed.Rows(0, count);
  const bool backward = step_.d_x.data != nullptr;
  for (int64_t i = 0; i < count; ++i) {
    const int32_t row = layout.scored_rows[chunk.begin + i];
    std::copy_n(step_.inputs.back().row(row), scored.cols, scored.row(i));
  }
  RmsNorm(scored, model_->output_norm(), config.rms_epsilon, normed, pool_);
  const int32_t* targets = layout.targets.data() + chunk.begin;
  const float* weights = weights_.data() + chunk.begin;
  float* nll = nll_.data() + chunk.begin;
  const Matrix d_normed = backward ? chunk.buffers.d_normed.Rows(0, count) : Matrix();
  if (FastLoss()) {
    const std::function<void()> between = [this] { Between(); };
    VocabularyLoss({.x = normed,
                    .output = model_->output(),
                    .targets = targets,
                    .weights = weights,
                    .nll = nll,
                    .d_x = d_normed,
                    .scratch = chunk.buffers.scratch,
                    .between = &between},
                   pool_);
    RETURN_IF_ERROR(PausePoint());
  } else {
    const Matrix logits = chunk.buffers.logits.Rows(0, count);
    MatMul(normed, model_->output(), logits, pool_);
    if (backward) {
      CrossEntropyBackward(logits, targets, weights, nll, pool_);
      std::fill_n(d_normed.data, count * d_normed.cols, 0.0f);
      MatMulBackwardInput(logits, model_->output(), d_normed, pool_);
      if (chunk.all != nullptr) {
        GemmTN(logits, normed, chunk.all->output, 1.0f, /*accumulate=*/true, pool_);
      }
    } else {
      CrossEntropy(logits, targets, nll, pool_);
    }
  }
  if (!backward) return absl::OkStatus();
  if (chunk.all != nullptr) {
    RmsNormBackwardWeight(scored, config.rms_epsilon, d_normed, chunk.all->output_norm);
  }
  const Matrix d_scored = chunk.buffers.d_scored.Rows(0, count);
  std::fill_n(d_scored.data, count * d_scored.cols, 0.0f);
  RmsNormBackward(scored, model_->output_norm(), config.rms_epsilon, d_normed, d_scored, pool_);
  for (int64_t i = 0; i < count; ++i) {
    std::copy_n(d_scored.row(i), scored.cols, step_.d_x.row(layout.scored_rows[chunk.begin + i]));
  }
  return absl::OkStatus();
}

// Fills nll_, and d_x with d loss / d (last layer's output).
absl::Status Engine::Loss(const BatchLayout& layout, const StepShape& shape,
                          const StepBuffers& step, const ModelGradients* all) {
  const int64_t count = layout.scored();
  nll_.resize(count);
  weights_.resize(count);
  for (const BatchLayout::Part& part : layout.parts) {
    for (int64_t i = part.scored_begin; i < part.scored_end; ++i) {
      weights_[i] = static_cast<float>(layout.weights[i] / part.weight_sum);
    }
  }
  if (shape.backward) std::fill_n(step.d_x.data, step.d_x.rows * step.d_x.cols, 0.0f);
  ArenaScope scope(arena_);
  const LossBuffers buffers = TakeLoss(shape, arena_);
  const int64_t rows = LossRows(shape);
  for (int64_t begin = 0; begin < count; begin += rows) {
    RETURN_IF_ERROR(PausePoint());
    RETURN_IF_ERROR(LossOfChunk(layout, {begin, std::min(count, begin + rows), buffers, all}));
  }
  return absl::OkStatus();
}

BackwardReach ReachOf(const LayerAdapters& adapters, bool lowest) {
  if (!lowest) return BackwardReach::kInput;
  const auto trains = [&adapters](Module module) {
    const auto& active = adapters[static_cast<int>(module)];
    return std::any_of(active.begin(), active.end(),
                       [](const ActiveMatrix& matrix) { return matrix.gradient != nullptr; });
  };
  return trains(Module::kQ) || trains(Module::kK) || trains(Module::kV) || trains(Module::kO)
             ? BackwardReach::kAttention
             : BackwardReach::kFeedForward;
}

absl::Status Engine::BackwardLayers(const ActiveAdapters& adapters, StepBuffers& step,
                                    const ModelGradients* all) {
  for (int layer = model_->config().layer_count - 1; layer >= adapters.lowest_trained_layer;
       --layer) {
    RETURN_IF_ERROR(PausePoint());
    ArenaScope scope(arena_);
    const LayerAdapters& here = adapters.layers[layer];
    const Matrix x = step.inputs[layer];
    LayerActivations again;
    const bool kept = layer >= step.first_kept;
    if (!kept) {
      again = pass_.TakeActivations(here, x.rows, arena_);
      pass_.Forward(layer, here, x, again, Matrix(), arena_);
      RETURN_IF_ERROR(PausePoint());
    }
    const bool lowest = all == nullptr && layer == adapters.lowest_trained_layer;
    pass_.Backward({.layer_index = layer,
                    .adapters = here,
                    .weights = all != nullptr ? &all->layers[layer] : nullptr,
                    .x = x,
                    .activations = kept ? step.kept[layer - step.first_kept] : again,
                    .reach = ReachOf(here, lowest),
                    .d_x = step.d_x},
                   arena_);
  }
  return absl::OkStatus();
}

absl::Status Engine::Run(const BatchLayout& layout, const ActiveAdapters& adapters, bool backward,
                         const ModelGradients* all) {
  const StepShape shape{.rows = layout.rows(), .scored = layout.scored(), .backward = backward};
  paused_ = absl::OkStatus();
  RETURN_IF_ERROR(arena_.Reserve(BytesOf(shape, adapters)));
  step_ = TakeStep(shape, adapters, arena_);
  RETURN_IF_ERROR(ForwardLayers(layout, adapters, step_));
  RETURN_IF_ERROR(Loss(layout, shape, step_, all));
  const bool finite =
      std::all_of(nll_.begin(), nll_.end(), [](float value) { return std::isfinite(value); });
  if (!finite) {
    return absl::InternalError(absl::StrCat(
        "expected a finite loss, got one that is not; first in ", FirstNonFinite(layout, step_)));
  }
  if (!backward) return absl::OkStatus();
  RETURN_IF_ERROR(BackwardLayers(adapters, step_, all));
  RETURN_IF_ERROR(PausePoint());
  if (all != nullptr) {
    EmbeddingBackward(layout.inputs.data(), step_.d_x, all->token_embedding, pool_);
  }
  return absl::OkStatus();
}

std::string Engine::FirstNonFinite(const BatchLayout& layout, const StepBuffers& step) const {
  const int layer_count = model_->config().layer_count;
  for (int layer = 0; layer <= layer_count; ++layer) {
    const ConstMatrix x = step.inputs[layer];
    // Without a backward pass, layers overwrite their input: only the last output is left to look
    // at.
    const bool overwritten = layer < layer_count && x.data == step.inputs[layer + 1].data;
    if (!overwritten && !IsFinite(x)) {
      return layer == 0 ? "the token embedding" : absl::StrCat("the output of blk.", layer - 1);
    }
  }
  const auto bad = std::find_if(nll_.begin(), nll_.begin() + layout.scored(),
                                [](float value) { return !std::isfinite(value); });
  return absl::StrCat("the token loss (row ", bad - nll_.begin(), ")");
}

absl::StatusOr<std::vector<GradientResult>> Engine::ComputeMany(
    std::span<const LearnerBatch> learners) {
  const ModelConfig& config = model_->config();
  BatchLayout layout;
  ActiveAdapters adapters(config.layer_count);
  bool backward = false;
  for (const LearnerBatch& learner : learners) {
    RETURN_IF_ERROR(AddToLayout(learner.batch, config.vocabulary_size, &layout));
    const BatchLayout::Part& part = layout.parts.back();
    RETURN_IF_ERROR(adapters.Add(*model_, learner, part.begin, part.end));
    backward |= learner.gradients != nullptr && !learner.gradients->empty();
  }
  if (layout.parts.empty()) {
    return absl::InvalidArgumentError("gradients: expected at least one learner, got none");
  }
  RETURN_IF_ERROR(Run(layout, adapters, backward, nullptr));
  std::vector<GradientResult> results;
  for (size_t i = 0; i < learners.size(); ++i) {
    const BatchLayout::Part& part = layout.parts[i];
    results.push_back(ResultOf(layout, part, nll_));
    if (learners[i].per_sequence != nullptr) {
      *learners[i].per_sequence = ResultsBySequence(layout, part, nll_);
    }
  }
  return results;
}

absl::StatusOr<GradientResult> Engine::ComputeAll(std::span<const Sequence> batch,
                                                  const ModelGradients& gradients) {
  const ModelConfig& config = model_->config();
  if (options_.precision != TrainPrecision::kExact) {
    return absl::FailedPreconditionError(
        "training all weights: expected exact precision, got fast");
  }
  if (model_->token_embedding().type != TensorType::kF32) {
    return absl::FailedPreconditionError(
        absl::StrCat("training all weights: expected a base in F32, got a token embedding in ",
                     ToAbsl(TraitsOf(model_->token_embedding().type).name)));
  }
  LORIKEET_CHECK(gradients.layers.size() == static_cast<size_t>(config.layer_count));
  BatchLayout layout;
  RETURN_IF_ERROR(AddToLayout(batch, config.vocabulary_size, &layout));
  ActiveAdapters adapters(config.layer_count);
  adapters.lowest_trained_layer = 0;
  RETURN_IF_ERROR(Run(layout, adapters, /*backward=*/true, &gradients));
  return ResultOf(layout, layout.parts.front(), nll_);
}

absl::Status CheckTrainable(const Model& model) {
  if (model.layer(0).query_norm == nullptr) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat("training: expected an architecture without norms of queries and keys (llama, "
                   "qwen2), got ",
                   model.config().architecture));
}

}  // namespace

absl::StatusOr<std::unique_ptr<GradientEngine>> GradientEngine::Create(
    std::shared_ptr<const Model> model, ThreadPool* pool, const GradientEngineOptions& options) {
  if (model == nullptr || pool == nullptr) {
    return absl::InvalidArgumentError("gradient engine: expected a model and a thread pool");
  }
  RETURN_IF_ERROR(CheckTrainable(*model));
  return std::make_unique<Engine>(std::move(model), pool, options);
}

absl::StatusOr<GradientResult> GradientEngine::Compute(const Adapter& trained,
                                                       std::span<const AdapterRef> frozen,
                                                       std::span<const Sequence> batch,
                                                       std::vector<MatrixGradient>* gradients) {
  const LearnerBatch learner{
      .trained = &trained, .frozen = frozen, .batch = batch, .gradients = gradients};
  ASSIGN_OR_RETURN(const std::vector<GradientResult> results, ComputeMany({&learner, 1}));
  return results.front();
}

absl::StatusOr<MemoryPlan> PlanMemory(const std::shared_ptr<const Model>& model,
                                      const Adapter& trained, std::span<const AdapterRef> frozen,
                                      int64_t rows, TrainPrecision precision, int64_t limit_bytes) {
  RETURN_IF_ERROR(CheckTrainable(*model));
  const int layer_count = model->config().layer_count;
  ActiveAdapters adapters(layer_count);
  RETURN_IF_ERROR(adapters.Add(*model, {.trained = &trained, .frozen = frozen}, 0, rows));
  if (trained.matrices.empty()) adapters.lowest_trained_layer = 0;
  for (const AdapterMatrix& matrix : trained.matrices) {
    adapters.lowest_trained_layer =
        std::min(adapters.lowest_trained_layer, matrix.target.layer_index);
  }
  const auto bytes_with = [&](const EngineMemory& memory) {
    const Engine engine(model, nullptr, {.precision = precision, .memory = memory});
    return engine.BytesOf({.rows = rows, .scored = rows, .backward = true}, adapters);
  };
  const EngineMemory least{.kept_layers = 0, .vocabulary_rows = kMinLogitRows};
  MemoryPlan plan;
  plan.least_bytes = bytes_with(least);
  plan.engine_bytes = bytes_with(plan.memory);
  if (limit_bytes <= 0) return plan;
  if (plan.engine_bytes > limit_bytes) {
    return MemoryPlan{least, plan.least_bytes, plan.least_bytes};
  }
  while (plan.memory.kept_layers < layer_count) {
    EngineMemory more = plan.memory;
    ++more.kept_layers;
    const int64_t bytes = bytes_with(more);
    if (bytes > limit_bytes) break;
    plan.memory = more;
    plan.engine_bytes = bytes;
  }
  return plan;
}

}  // namespace lorikeet
