#include "kernels/vocabulary_loss.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/base/status_macros.h"
#include "common/base/tensor_type.h"
#include "kernels/fast_matmul.h"
#include "kernels/kernel_table.h"
#include "kernels/parallel.h"

namespace lorikeet {
namespace {

constexpr int64_t kAlignment = 64;
// A logit below all others.
constexpr float kLowest = -1e30f;

// Logits of a slab: so many that they stay in the caches, and rows of output weights enough for
// both products to run well.
constexpr int64_t kLogits = 1 << 19;
constexpr int64_t kSlabUnit = 512;
constexpr int64_t kSlabUnits = 8;

int64_t RoundUp(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Of one row of x: the softmax over all tokens but the target, as far as it has been seen.
struct RowState {
  double sum;     // of exp(logit - largest)
  double added;   // of these as rounded to 8 bit and multiplied; 0: not rounded so
  float largest;  // logit
  float target;   // its logit
};

struct Layout {
  Layout(int64_t rows, int64_t width, int64_t vocabulary, bool backward)
      : slab(SlabRows(rows, vocabulary)),
        stride(slab + 16),
        states(RoundUp(rows * static_cast<int64_t>(sizeof(RowState)), kAlignment)),
        logits(RoundUp(rows * stride * static_cast<int64_t>(sizeof(float)), kAlignment)),
        x(RoundUp(RoundedBytes(rows, width), kAlignment)),
        p(backward ? RoundedBytes(rows, slab) : 0) {}

  static int64_t SlabRows(int64_t rows, int64_t vocabulary) {
    const int64_t units = std::clamp<int64_t>(kLogits / (rows * kSlabUnit), 1, kSlabUnits);
    return std::min(RoundUp(vocabulary, 32), units * kSlabUnit);
  }
  int64_t total() const { return states + logits + x + p; }

  int64_t slab;    // rows of output weights at a time
  int64_t stride;  // of rows of logits, no power of two: these fall into the same sets of a cache
  int64_t states, logits, x, p;  // bytes
};

struct Pass {
  const VocabularyLossArgs& args;
  ThreadPool* pool;
  RowState* states;
  float* logits;
  int64_t stride;
  RoundedActivations x;
  uint8_t* p_scratch;
};

// Logits of rows [begin, begin + n) of the output weights become exp(logit - largest so far), that
// of the target 0; what was summed up before is brought to the same scale.
void Exponentiate(const Pass& pass, int64_t begin, int64_t n, int64_t s) {
  RowState& state = pass.states[s];
  float* row = pass.logits + s * pass.stride;
  const int64_t target = pass.args.targets[s] - begin;
  if (target >= 0 && target < n) {
    state.target = row[target];
    row[target] = kLowest;
  }
  const float largest = Kernels().largest(row, n);
  if (largest > state.largest) {
    const double shrink = std::exp(static_cast<double>(state.largest) - largest);
    state.largest = largest;
    state.sum *= shrink;
    state.added *= shrink;
    if (pass.args.d_x.data != nullptr && begin > 0) {
      float* d_x = pass.args.d_x.row(s);
      for (int64_t c = 0; c < pass.args.d_x.cols; ++c) d_x[c] *= static_cast<float>(shrink);
    }
  }
  state.sum += Kernels().exponentials(row, n, state.largest);
  std::fill(row + n, row + RoundUp(n, 32), 0.0f);
}

// Takes down what the rounded exponentials of a slab sum up to.
void SumRounded(const Pass& pass, const RoundedActivations& p) {
  if (p.q == nullptr) return;
  const int64_t count = p.x.cols / 16;
  const auto body = [&](int64_t from, int64_t to) {
    for (int64_t s = from; s < to; ++s) {
      const float* sums = p.sums + s * p.sum_stride;
      for (int64_t i = 0; i < count; ++i) pass.states[s].added += static_cast<double>(sums[i]);
    }
  };
  Split(pass.pool, p.x.rows, 4.0 * static_cast<double>(p.x.rows * count), body);
}

void AddSlab(const Pass& pass, int64_t begin, int64_t n) {
  const VocabularyLossArgs& args = pass.args;
  const int64_t rows = args.x.rows;
  WeightView slab = args.output;
  slab.data = args.output.row(begin);
  slab.rows = n;
  const FastProduct forward{.w = slab, .y = {pass.logits, rows, n, pass.stride}};
  MatMulFast(pass.x, {&forward, 1}, pass.pool);
  if (args.between != nullptr) (*args.between)();
  Split(pass.pool, rows, 20.0 * static_cast<double>(rows * n), [&](int64_t from, int64_t to) {
    for (int64_t s = from; s < to; ++s) Exponentiate(pass, begin, n, s);
  });
  if (args.d_x.data == nullptr) return;
  const ConstMatrix p(pass.logits, rows, RoundUp(n, 32), pass.stride);
  const bool floats = TraitsOf(slab.type).block_elements == 1;
  const FastBackwardProduct backward{
      .d_y = floats ? RoundedActivations{.x = p} : RoundActivations(p, pass.p_scratch, pass.pool),
      .w = slab};
  SumRounded(pass, backward.d_y);
  MatMulFastBackward({&backward, 1}, args.d_x, /*accumulate=*/begin > 0, pass.pool);
  if (args.between != nullptr) (*args.between)();
}

bool IsFinite(const float* x, int64_t n) {
  float zero = 0;
  for (int64_t i = 0; i < n; ++i) zero += x[i] * 0.0f;
  return zero == 0.0f;
}

// d_x = weight * share * (d_x / sum - weights of the target).  With `sum` that of the exponentials
// as rounded, what all rows of weights have in common cancels, as it does exactly.
void FinishGradient(const VocabularyLossArgs& args, int64_t s, double share, double sum) {
  constexpr int64_t kPiece = 256;  // every block's length divides it
  float target[kPiece];
  const uint8_t* weights = args.output.row(args.targets[s]);
  const auto scale = static_cast<float>(args.weights[s] * share / sum);
  const auto subtracted = static_cast<float>(args.weights[s] * share);
  for (int64_t c = 0; c < args.d_x.cols; c += kPiece) {
    const int64_t n = std::min(kPiece, args.d_x.cols - c);
    Kernels().dequantize_row(args.output.type, weights + RowBytes(args.output.type, c), n, target);
    float* d_x = args.d_x.row(s) + c;
    for (int64_t i = 0; i < n; ++i) d_x[i] = d_x[i] * scale - target[i] * subtracted;
  }
}

void Finish(const Pass& pass, int64_t s) {
  const RowState& state = pass.states[s];
  // Log of the odds against the target.
  double odds = std::log(state.sum) + state.largest - state.target;
  // Rounding x to 8 bit may have hidden what is not finite.
  if (!std::isfinite(state.target) || !IsFinite(pass.args.x.row(s), pass.args.x.cols)) {
    odds = std::numeric_limits<double>::quiet_NaN();
  }
  pass.args.nll[s] =
      static_cast<float>(std::max(odds, 0.0) + std::log1p(std::exp(-std::fabs(odds))));
  if (pass.args.d_x.data == nullptr) return;
  FinishGradient(pass.args, s, 1.0 / (1.0 + std::exp(-odds)),
                 state.added > 0 ? state.added : state.sum);
}

}  // namespace

int64_t VocabularyLossBytes(int64_t rows, int64_t width, int64_t vocabulary, bool backward) {
  // Fewer rows have longer slabs: of those with slabs of a length, the most want most.
  int64_t most = rows == 0 ? 0 : Layout(rows, width, vocabulary, backward).total();
  for (int64_t units = 1; units <= kSlabUnits && rows > 0; ++units) {
    const int64_t fewer = std::min(rows, kLogits / (units * kSlabUnit));
    most = std::max(most, Layout(fewer, width, vocabulary, backward).total());
  }
  return most + kAlignment - 1;
}

void VocabularyLoss(const VocabularyLossArgs& args, ThreadPool* pool) {
  const int64_t rows = args.x.rows;
  const int64_t vocabulary = args.output.rows;
  LORIKEET_CHECK(args.output.cols == args.x.cols && vocabulary >= 2);
  LORIKEET_CHECK(args.d_x.data == nullptr ||
                 (args.d_x.rows == rows && args.d_x.cols == args.x.cols));
  if (rows == 0) return;
  const Layout layout(rows, args.x.cols, vocabulary, args.d_x.data != nullptr);
  const auto address = reinterpret_cast<uintptr_t>(args.scratch);
  uint8_t* states = args.scratch + (kAlignment - address % kAlignment) % kAlignment;
  uint8_t* logits = states + layout.states;
  uint8_t* x = logits + layout.logits;
  const Pass pass{.args = args,
                  .pool = pool,
                  .states = reinterpret_cast<RowState*>(states),
                  .logits = reinterpret_cast<float*>(logits),
                  .stride = layout.stride,
                  .x = RoundActivations(args.x, x, pool),
                  .p_scratch = x + layout.x};
  std::fill_n(pass.states, rows, RowState{.sum = 0, .added = 0, .largest = kLowest, .target = 0});
  for (int64_t begin = 0; begin < vocabulary; begin += layout.slab) {
    AddSlab(pass, begin, std::min(layout.slab, vocabulary - begin));
  }
  Split(pool, rows, 8.0 * static_cast<double>(rows * args.x.cols), [&](int64_t from, int64_t to) {
    for (int64_t s = from; s < to; ++s) Finish(pass, s);
  });
}

}  // namespace lorikeet
