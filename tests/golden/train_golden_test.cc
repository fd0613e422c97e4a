// Gradients and AdamW steps against exact arithmetic (golden README, section train/).
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "common/adapter/gguf_io.h"
#include "common/base/file.h"
#include "device/trainer/parameters.h"
#include "device/trainer/trainer.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

struct GoldenCase {
  nlohmann::json json;
  std::shared_ptr<const Model> model;
  Adapter adapter;
  std::vector<Sequence> batch;
};

GoldenCase Load(const std::filesystem::path& path) {
  GoldenCase golden;
  auto text = ReadFile(path.string());
  EXPECT_TRUE(text.ok()) << text.status();
  golden.json = nlohmann::json::parse(*text);
  const auto sibling = [&](const char* key) {
    return (path.parent_path() / golden.json[key].get<std::string>()).string();
  };
  auto model = Model::Load(sibling("model"));
  EXPECT_TRUE(model.ok()) << model.status();
  golden.model = *model;
  auto adapter = ReadAdapter(sibling("adapter_init"));
  EXPECT_TRUE(adapter.ok()) << adapter.status();
  golden.adapter = *adapter;
  for (size_t i = 0; i < golden.json["sequences"].size(); ++i) {
    golden.batch.push_back({golden.json["sequences"][i], golden.json["loss_masks"][i]});
  }
  return golden;
}

void ExpectGradients(const GoldenCase& golden, const std::filesystem::path& folder) {
  ThreadPool pool(2);
  auto engine = GradientEngine::Create(golden.model, &pool);
  ASSERT_TRUE(engine.ok());
  std::vector<MatrixGradient> gradients;
  const auto result = (*engine)->Compute(golden.adapter, {}, golden.batch, &gradients);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_NEAR(result->loss(), golden.json["loss"].get<double>(), 1e-4);

  Adapter adapter = golden.adapter;
  const auto parameters = TrainedParameters(adapter);
  const auto spans = GradientSpans(adapter.info.kind, gradients);
  std::map<std::string, std::span<const float>> by_name;
  for (size_t i = 0; i < spans.size(); ++i) by_name[parameters[i].name] = spans[i];

  const auto& listed = golden.json["gradients"];
  auto bytes = ReadFile((folder / listed["file"].get<std::string>()).string());
  ASSERT_TRUE(bytes.ok());
  ASSERT_EQ(listed["tensors"].size(), spans.size());
  double worst = 0;
  for (const auto& tensor : listed["tensors"]) {
    const std::string name = tensor["tensor"];
    ASSERT_TRUE(by_name.contains(name)) << name;
    const std::span<const float> got = by_name[name];
    std::vector<float> expected(got.size());
    const size_t offset = tensor["offset_floats"].get<size_t>() * sizeof(float);
    ASSERT_LE(offset + expected.size() * sizeof(float), bytes->size());
    std::memcpy(expected.data(), bytes->data() + offset, expected.size() * sizeof(float));
    double error = 0, norm = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      error += std::pow(double(got[i]) - expected[i], 2);
      norm += std::pow(double(expected[i]), 2);
    }
    const double relative = std::sqrt(error / norm);
    EXPECT_LE(relative, 1e-4) << name;
    worst = std::max(worst, relative);
  }
  std::cout << "worst relative L2 error of " << spans.size()
            << " gradients: " << std::setprecision(3) << worst << "\n";
}

void ExpectSteps(const GoldenCase& golden, const std::filesystem::path& folder) {
  const auto& optimizer = golden.json["optimizer"];
  TrainOptions options;
  options.max_steps = golden.json["steps"];
  options.batch_size = static_cast<int>(golden.batch.size());
  options.learning_rate = optimizer["lr"];
  options.schedule = Schedule::kConstant;
  options.weight_decay = optimizer["weight_decay"];
  options.beta1 = optimizer["beta1"];
  options.beta2 = optimizer["beta2"];
  options.epsilon = optimizer["eps"];
  options.clip_gradient_norm = 0;
  ThreadPool pool(2);
  auto result =
      Train(golden.model, &pool, SystemClock(), golden.adapter, {}, golden.batch, {}, options);
  ASSERT_TRUE(result.ok()) << result.status();
  const std::vector<double> losses = golden.json["loss_per_step"];
  ASSERT_EQ(result->train_loss.size() + 1, losses.size());
  double worst = 0;
  for (size_t i = 0; i < result->train_loss.size(); ++i) {
    EXPECT_NEAR(result->train_loss[i].loss, losses[i], 1e-4) << "before step " << i + 1;
    worst = std::max(worst, std::abs(result->train_loss[i].loss - losses[i]));
  }
  const AdapterRef trained{&result->adapter, 1.0f};
  const auto after = EvaluateLoss(golden.model, &pool, {&trained, 1}, golden.batch);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_NEAR(after->loss(), losses.back(), 1e-4);

  auto expected = ReadAdapter((folder / golden.json["adapter_after"].get<std::string>()).string());
  ASSERT_TRUE(expected.ok());
  const std::vector<float> got = Flatten(TrainedParameters(result->adapter));
  const std::vector<float> wanted = Flatten(TrainedParameters(*expected));
  ASSERT_EQ(got.size(), wanted.size());
  double error = 0, norm = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    error += std::pow(double(got[i]) - wanted[i], 2);
    norm += std::pow(double(wanted[i]), 2);
  }
  EXPECT_LE(std::sqrt(error / norm), 1e-3);
  std::cout << "worst loss error of " << losses.size() << " steps: " << std::setprecision(3)
            << worst << "; adapter after, relative L2 error: " << std::sqrt(error / norm) << "\n";
}

TEST(TrainGoldenTest, GradientsAndStepsMatchExactArithmetic) {
  LORIKEET_SHARED_OR_SKIP(folder, "golden/train");
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".json") continue;
    SCOPED_TRACE(entry.path().filename().string());
    std::cout << entry.path().filename().string() << "\n";
    const GoldenCase golden = Load(entry.path());
    if (HasFailure()) return;
    ExpectGradients(golden, folder);
    ExpectSteps(golden, folder);
    ++cases;
  }
  EXPECT_GT(cases, 0) << "no cases in " << folder;
}

}  // namespace
}  // namespace lorikeet
