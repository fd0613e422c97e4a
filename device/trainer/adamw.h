// AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) with bias correction, the learning-rate
// schedules, and clipping by global norm.
#ifndef LORIKEET_DEVICE_TRAINER_ADAMW_H_
#define LORIKEET_DEVICE_TRAINER_ADAMW_H_

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "device/trainer/trainer.h"

namespace lorikeet {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.0;
};

// Moments of every parameter, one after the other.  Not thread-safe.
class AdamW {
 public:
  // `decays`: whether weight_decay is for the parameters of each span of Update; empty: it is.
  AdamW(const AdamWOptions& options, size_t parameter_count, std::vector<bool> decays = {})
      : options_(options),
        decays_(std::move(decays)),
        first_(parameter_count, 0.0f),
        second_(parameter_count, 0.0f) {}

  // One step: p -= lr * weight_decay * p, then p -= lr * mhat / (sqrt(vhat) + epsilon), with g
  // scaled by gradient_scale before.  `step` counts from 1. REQUIRES: as many gradients as
  // parameters, of equal sizes; sizes add up to parameter_count.
  void Update(int step, double learning_rate, double gradient_scale,
              std::span<const std::span<const float>> gradients,
              std::span<const std::span<float>> parameters);

  // Takes the last Update back from the parameters: the moments still tell how far it moved each.
  // Exact up to rounding: within a few units in the last place of the larger of a parameter and its
  // move.  Moments stay.  REQUIRES: `step` and `learning_rate` of that Update, and learning_rate *
  // weight_decay < 1.
  void Undo(int step, double learning_rate, std::span<const std::span<float>> parameters) const;

  const std::vector<float>& first_moments() const { return first_; }
  const std::vector<float>& second_moments() const { return second_; }
  // REQUIRES: sizes as before.
  void Restore(std::span<const float> first, std::span<const float> second);

 private:
  // What turns moments into a move.
  struct Factors {
    float keep;        // of the parameter, by weight decay
    float rate;        // learning rate over the first moment's bias
    float root_scale;  // one over the root of the second moment's bias
    float epsilon;
    float Move(float first, float second) const;
  };
  Factors FactorsOf(int step, double learning_rate) const;
  float KeepOf(size_t span, const Factors& factors) const {
    return decays_.empty() || decays_[span] ? factors.keep : 1.0f;
  }

  AdamWOptions options_;
  std::vector<bool> decays_;
  std::vector<float> first_;
  std::vector<float> second_;
};

// L2 norm over all spans, summed in double.
double GlobalNorm(std::span<const std::span<const float>> spans);

// Learning rate of `step` (1-based) of `total_steps`.  Linear warm-up over warmup_steps; then
// constant, or falling along a line or half a cosine so that the step after the last would have
// rate 0.
double LearningRateAt(const TrainOptions& options, int step, int total_steps);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_ADAMW_H_
