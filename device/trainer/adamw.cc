#include "device/trainer/adamw.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "common/base/status_macros.h"

namespace lorikeet {

AdamW::Factors AdamW::FactorsOf(int step, double learning_rate) const {
  const double correction1 = 1.0 - std::pow(options_.beta1, step);
  const double correction2 = 1.0 - std::pow(options_.beta2, step);
  return {.keep = static_cast<float>(1.0 - learning_rate * options_.weight_decay),
          .rate = static_cast<float>(learning_rate / correction1),
          .root_scale = static_cast<float>(1.0 / std::sqrt(correction2)),
          .epsilon = static_cast<float>(options_.epsilon)};
}

inline float AdamW::Factors::Move(float first, float second) const {
  return rate * first / (std::sqrt(second) * root_scale + epsilon);
}

void AdamW::Update(int step, double learning_rate, double gradient_scale,
                   std::span<const std::span<const float>> gradients,
                   std::span<const std::span<float>> parameters) {
  LORIKEET_CHECK(gradients.size() == parameters.size());
  const Factors factors = FactorsOf(step, learning_rate);
  const float beta1 = static_cast<float>(options_.beta1);
  const float beta2 = static_cast<float>(options_.beta2);
  const float scale = static_cast<float>(gradient_scale);
  size_t offset = 0;
  for (size_t i = 0; i < gradients.size(); ++i) {
    const std::span<const float> gradient = gradients[i];
    const std::span<float> parameter = parameters[i];
    const float keep = KeepOf(i, factors);
    LORIKEET_CHECK(gradient.size() == parameter.size());
    LORIKEET_CHECK(offset + gradient.size() <= first_.size());
    float* first = first_.data() + offset;
    float* second = second_.data() + offset;
    for (size_t j = 0; j < gradient.size(); ++j) {
      const float g = gradient[j] * scale;
      first[j] = beta1 * first[j] + (1.0f - beta1) * g;
      second[j] = beta2 * second[j] + (1.0f - beta2) * g * g;
      parameter[j] = parameter[j] * keep - factors.Move(first[j], second[j]);
    }
    offset += gradient.size();
  }
  LORIKEET_CHECK(offset == first_.size());
}

void AdamW::Undo(int step, double learning_rate,
                 std::span<const std::span<float>> parameters) const {
  const Factors factors = FactorsOf(step, learning_rate);
  size_t offset = 0;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const float keep = KeepOf(i, factors);
    LORIKEET_CHECK(offset + parameters[i].size() <= first_.size());
    for (float& value : parameters[i]) {
      value = (value + factors.Move(first_[offset], second_[offset])) / keep;
      ++offset;
    }
  }
  LORIKEET_CHECK(offset == first_.size());
}

void AdamW::Restore(std::span<const float> first, std::span<const float> second) {
  LORIKEET_CHECK(first.size() == first_.size() && second.size() == second_.size());
  std::copy(first.begin(), first.end(), first_.begin());
  std::copy(second.begin(), second.end(), second_.begin());
}

double GlobalNorm(std::span<const std::span<const float>> spans) {
  double sum = 0;
  for (const auto& span : spans) {
    for (const float value : span) sum += static_cast<double>(value) * value;
  }
  return std::sqrt(sum);
}

double LearningRateAt(const TrainOptions& options, int step, int total_steps) {
  if (step <= options.warmup_steps) {
    return options.learning_rate * step / (options.warmup_steps + 1);
  }
  const int falling_steps = std::max(1, total_steps - options.warmup_steps);
  const double done = std::clamp(double(step - options.warmup_steps - 1) / falling_steps, 0.0, 1.0);
  switch (options.schedule) {
    case Schedule::kConstant:
      return options.learning_rate;
    case Schedule::kLinear:
      return options.learning_rate * (1.0 - done);
    case Schedule::kCosine:
      return options.learning_rate * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
  }
  return options.learning_rate;
}

}  // namespace lorikeet
