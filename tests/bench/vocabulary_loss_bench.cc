// Time of the token loss over a large vocabulary and of its gradient, beside the product with the
// output weights alone.  Not part of ctest.
//
// Run: vocabulary_loss_bench [--isa=avx2] [--threads=2] [--rounds=5].  The three take turns;
// printed are medians, a row of x each, and the smallest and largest of the ratios of one round.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "common/base/thread_pool.h"
#include "kernels/fast_matmul.h"
#include "kernels/isa.h"
#include "kernels/quant.h"
#include "kernels/vocabulary_loss.h"

namespace lorikeet {
namespace {

constexpr int64_t kVocabulary = 151936, kWidth = 896;  // of Qwen2.5-0.5B

struct Options {
  int threads = 0;
  int rounds = 5;
};

std::vector<float> Gaussian(int64_t n, float deviation) {
  std::mt19937 generator(1);
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& x : values) x = normal(generator);
  return values;
}

template <typename Body>
double SecondsOf(const Body& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Times {
  std::vector<double> product, loss, gradient;
  double longest_piece = 0;  // between two calls of `between`
};

// The product alone: into one matrix of 2048 columns again and again, since that with all logits
// would wait for memory.
void Multiply(const RoundedActivations& x, const WeightView& output, float* logits,
              ThreadPool* pool) {
  constexpr int64_t kColumns = 2048;
  for (int64_t begin = 0; begin < output.rows; begin += kColumns) {
    WeightView slab = output;
    slab.data = output.row(begin);
    slab.rows = std::min(kColumns, output.rows - begin);
    const FastProduct product{.w = slab, .y = {logits, x.x.rows, slab.rows, kColumns + 16}};
    MatMulFast(x, {&product, 1}, pool);
  }
}

Times Measure(const WeightView& output, int64_t rows, int rounds, ThreadPool* pool) {
  const std::vector<float> x = Gaussian(rows * kWidth, 1.0f);
  const ConstMatrix hidden(x.data(), rows, kWidth);
  std::vector<uint8_t> rounded(static_cast<size_t>(RoundedBytes(rows, kWidth)));
  std::vector<float> logits(static_cast<size_t>(rows * 2064));
  std::vector<float> d_x(x.size()), nll(static_cast<size_t>(rows));
  const std::vector<float> weights(static_cast<size_t>(rows), 1.0f);
  std::vector<int32_t> targets(static_cast<size_t>(rows));
  for (size_t s = 0; s < targets.size(); ++s) targets[s] = static_cast<int32_t>(s * 577);
  std::vector<uint8_t> scratch(
      static_cast<size_t>(VocabularyLossBytes(rows, kWidth, kVocabulary, /*backward=*/true)));
  Times times;
  auto last = std::chrono::steady_clock::now();
  const std::function<void()> between = [&] {
    const auto now = std::chrono::steady_clock::now();
    times.longest_piece =
        std::max(times.longest_piece, std::chrono::duration<double>(now - last).count());
    last = now;
  };
  VocabularyLossArgs args{.x = hidden,
                          .output = output,
                          .targets = targets.data(),
                          .weights = weights.data(),
                          .nll = nll.data(),
                          .d_x = {d_x.data(), rows, kWidth},
                          .scratch = scratch.data(),
                          .between = &between};
  VocabularyLossArgs loss_only = args;
  loss_only.d_x = {};
  for (int round = 0; round <= rounds; ++round) {
    const double product = SecondsOf([&] {
      Multiply(RoundActivations(hidden, rounded.data(), pool), output, logits.data(), pool);
    });
    last = std::chrono::steady_clock::now();
    const double loss = SecondsOf([&] { VocabularyLoss(loss_only, pool); });
    last = std::chrono::steady_clock::now();
    const double gradient = SecondsOf([&] { VocabularyLoss(args, pool); });
    if (round == 0) {  // warm-up
      times.longest_piece = 0;
      continue;
    }
    times.product.push_back(product);
    times.loss.push_back(loss);
    times.gradient.push_back(gradient);
  }
  return times;
}

std::string Ratio(const std::vector<double>& over, const std::vector<double>& under) {
  std::vector<double> ratios;
  for (size_t i = 0; i < over.size(); ++i) ratios.push_back(over[i] / under[i]);
  std::sort(ratios.begin(), ratios.end());
  char text[64];
  std::snprintf(text, sizeof(text), "%.2fx (%.2f-%.2f)", Median(ratios), ratios.front(),
                ratios.back());
  return text;
}

void Run(const Options& options) {
  ThreadPool pool(options.threads);
  std::printf("isa %s, %d threads, vocabulary %lld x %lld\n", std::string(IsaName()).c_str(),
              pool.threads(), static_cast<long long>(kVocabulary), static_cast<long long>(kWidth));
  for (const TensorType type : {TensorType::kQ8_0, TensorType::kQ4_0}) {
    const int64_t row_bytes = RowBytes(type, kWidth);
    std::vector<uint8_t> blocks(static_cast<size_t>(kVocabulary * row_bytes));
    const std::vector<float> values = Gaussian(kVocabulary + kWidth, 0.05f);
    for (int64_t v = 0; v < kVocabulary; ++v) {
      QuantizeRow(type, values.data() + v, kWidth, blocks.data() + v * row_bytes);
    }
    const WeightView output{type, blocks.data(), kVocabulary, kWidth, row_bytes};
    for (const int64_t rows : {64, 128, 256}) {
      const Times times = Measure(output, rows, options.rounds, &pool);
      const double us = 1e6 / static_cast<double>(rows);
      std::printf(
          "%s S=%lld: product %.0f us a row; loss %.0f, %s; with gradient %.0f, %s; longest piece "
          "%.1f ms; scratch %.1f MB\n",
          TraitsOf(type).name, static_cast<long long>(rows), us * Median(times.product),
          us * Median(times.loss), Ratio(times.loss, times.product).c_str(),
          us * Median(times.gradient), Ratio(times.gradient, times.product).c_str(),
          1e3 * times.longest_piece,
          1e-6 * static_cast<double>(VocabularyLossBytes(rows, kWidth, kVocabulary, true)));
    }
  }
}

int Main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.starts_with("--threads=")) {
      options.threads = std::atoi(argument.c_str() + 10);
    } else if (argument.starts_with("--rounds=")) {
      options.rounds = std::max(1, std::atoi(argument.c_str() + 9));
    } else if (const auto isa = ParseIsa(argument.starts_with("--isa=") ? argument.substr(6) : "");
               !isa || !SetIsa(*isa)) {
      std::fprintf(stderr, "expected --threads=N, --rounds=N or --isa= one of %s; got %s\n",
                   IsaNames().c_str(), argument.c_str());
      return 1;
    }
  }
  Run(options);
  return 0;
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) { return lorikeet::Main(argc, argv); }
