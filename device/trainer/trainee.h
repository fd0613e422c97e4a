// What a training run trains: numbers, where they lie, and where their gradient comes from.  An
// adapter on a frozen base, or all weights of a model.
#ifndef LORIKEET_DEVICE_TRAINER_TRAINEE_H_
#define LORIKEET_DEVICE_TRAINER_TRAINEE_H_

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"
#include "device/model/trainable_model.h"
#include "device/trainer/gradient.h"
#include "device/trainer/parameters.h"

namespace lorikeet {

// Not thread-safe.
class Trainee {
 public:
  Trainee() = default;
  virtual ~Trainee() = default;
  Trainee(const Trainee&) = delete;
  Trainee& operator=(const Trainee&) = delete;

  const std::vector<ParameterSpan>& parameters() const { return parameters_; }
  int64_t parameter_count() const { return static_cast<int64_t>(CountOf(parameters_)); }

  // Loss of `batch` with the numbers as they are, by an engine of the trainee's base; with
  // `wants_gradient`, its gradient is in gradient() until the next call.  Errors as
  // GradientEngine::Compute.
  virtual absl::StatusOr<GradientResult> Compute(GradientEngine& engine,
                                                 std::span<const Sequence> batch,
                                                 bool wants_gradient) = 0;
  // In the order of parameters().
  virtual std::vector<std::span<const float>> gradient() const = 0;

 protected:
  std::vector<ParameterSpan> parameters_;
};

// `start` with the `frozen` adapters active; frozen is borrowed.
class AdapterTrainee final : public Trainee {
 public:
  AdapterTrainee(Adapter start, std::span<const AdapterRef> frozen);
  absl::StatusOr<GradientResult> Compute(GradientEngine& engine, std::span<const Sequence> batch,
                                         bool wants_gradient) override;
  std::vector<std::span<const float>> gradient() const override;
  const Adapter& adapter() const { return adapter_; }
  // Ends training.
  Adapter Take() { return std::move(adapter_); }

 private:
  Adapter adapter_;
  std::span<const AdapterRef> frozen_;
  std::vector<MatrixGradient> gradients_;
};

// All tensors of `model`, which is borrowed and changed.  Weight decay is for matrices: norms and
// biases keep out of it.
class ModelTrainee final : public Trainee {
 public:
  explicit ModelTrainee(const TrainableModel& model);
  absl::StatusOr<GradientResult> Compute(GradientEngine& engine, std::span<const Sequence> batch,
                                         bool wants_gradient) override;
  std::vector<std::span<const float>> gradient() const override;

 private:
  std::vector<float> values_;  // of all gradients, one after the other
  ModelGradients gradients_;   // views of it
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_TRAINEE_H_
