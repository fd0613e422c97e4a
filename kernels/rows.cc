// Row-wise kernels: normalization, rotation, gate, softmax.  Rows are split over the pool.
#include <cmath>

#include "common/base/status_macros.h"
#include "kernels/kernel_table.h"
#include "kernels/parallel.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/softmax_xent.h"
#include "kernels/swiglu.h"

namespace lorikeet {
namespace {

// body(t) for every row; `cost` operations an element.
template <typename Body>
void ForRows(ThreadPool* pool, int64_t rows, int64_t cols, double cost, const Body& body) {
  const double work = cost * static_cast<double>(rows) * static_cast<double>(cols);
  Split(pool, rows, work, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) body(t);
  });
}

// Rotates the pairs of one head by the angles of `table` (cosines, then sines), or back (sign =
// -1).
void RotateHead(float* x, bool half_split, const float* table, int64_t pairs, float sign) {
  const float* cosines = table;
  const float* sines = table + pairs;
  const int64_t step = half_split ? 1 : 2;
  const int64_t partner = half_split ? pairs : 1;
  for (int64_t i = 0; i < pairs; ++i) {
    float* first = x + i * step;
    float* second = first + partner;
    const float a = *first;
    const float b = *second;
    const float sine = sign * sines[i];
    *first = a * cosines[i] - b * sine;
    *second = a * sine + b * cosines[i];
  }
}

void Rotate(const Matrix& x, int head_size, bool half_split, const ConstMatrix& table, float sign,
            ThreadPool* pool) {
  LORIKEET_CHECK(x.rows == table.rows && table.cols <= head_size && table.cols % 2 == 0);
  ForRows(pool, x.rows, x.cols, 4, [&](int64_t t) {
    for (int64_t c = 0; c + head_size <= x.cols; c += head_size) {
      RotateHead(x.row(t) + c, half_split, table.row(t), table.cols / 2, sign);
    }
  });
}

}  // namespace

void RmsNorm(ConstMatrix x, const float* weight, float epsilon, Matrix y, ThreadPool* pool) {
  LORIKEET_CHECK(x.rows == y.rows && x.cols == y.cols);
  const auto& kernels = Kernels();
  ForRows(pool, x.rows, x.cols, 2,
          [&](int64_t t) { kernels.rms_norm(x.row(t), weight, epsilon, x.cols, y.row(t)); });
}

void RmsNormBackward(ConstMatrix x, const float* weight, float epsilon, ConstMatrix d_y, Matrix d_x,
                     ThreadPool* pool) {
  LORIKEET_CHECK(x.rows == d_y.rows && x.cols == d_y.cols && x.rows == d_x.rows &&
                 x.cols == d_x.cols);
  const auto& kernels = Kernels();
  ForRows(pool, x.rows, x.cols, 4, [&](int64_t t) {
    kernels.rms_norm_backward(x.row(t), weight, epsilon, d_y.row(t), x.cols, d_x.row(t));
  });
}

void RmsNormBackwardWeight(ConstMatrix x, float epsilon, ConstMatrix d_y, float* d_weight) {
  LORIKEET_CHECK(x.rows == d_y.rows && x.cols == d_y.cols);
  for (int64_t t = 0; t < x.rows; ++t) {
    double sum = 0;
    for (int64_t c = 0; c < x.cols; ++c) sum += static_cast<double>(x.row(t)[c]) * x.row(t)[c];
    const double mean = sum / static_cast<double>(x.cols);
    const auto inverse = static_cast<float>(1.0 / std::sqrt(mean + epsilon));
    for (int64_t c = 0; c < x.cols; ++c) d_weight[c] += d_y.row(t)[c] * x.row(t)[c] * inverse;
  }
}

void FillRopeTable(const int32_t* positions, const float* inverse_frequencies, Matrix table) {
  const int64_t pairs = table.cols / 2;
  for (int64_t t = 0; t < table.rows; ++t) {
    for (int64_t i = 0; i < pairs; ++i) {
      const double angle = static_cast<double>(positions[t]) * inverse_frequencies[i];
      table.row(t)[i] = static_cast<float>(std::cos(angle));
      table.row(t)[pairs + i] = static_cast<float>(std::sin(angle));
    }
  }
}

void Rope(Matrix x, int head_size, bool half_split, ConstMatrix table, ThreadPool* pool) {
  Rotate(x, head_size, half_split, table, 1.0f, pool);
}

void RopeBackward(Matrix d_x, int head_size, bool half_split, ConstMatrix table, ThreadPool* pool) {
  Rotate(d_x, head_size, half_split, table, -1.0f, pool);
}

void SwiGlu(ConstMatrix gate, ConstMatrix up, Matrix y, ThreadPool* pool) {
  LORIKEET_CHECK(gate.rows == y.rows && gate.cols == y.cols && up.rows == y.rows &&
                 up.cols == y.cols);
  const auto& kernels = Kernels();
  ForRows(pool, y.rows, y.cols, 16,
          [&](int64_t t) { kernels.swiglu(gate.row(t), up.row(t), y.cols, y.row(t)); });
}

void SwiGluBackward(ConstMatrix gate, ConstMatrix up, ConstMatrix d_y, Matrix d_gate, Matrix d_up,
                    ThreadPool* pool) {
  LORIKEET_CHECK(gate.rows == d_y.rows && gate.cols == d_y.cols && up.rows == d_y.rows &&
                 up.cols == d_y.cols);
  LORIKEET_CHECK(d_gate.rows == d_y.rows && d_gate.cols == d_y.cols && d_up.rows == d_y.rows &&
                 d_up.cols == d_y.cols);
  const auto& kernels = Kernels();
  ForRows(pool, d_y.rows, d_y.cols, 24, [&](int64_t t) {
    kernels.swiglu_backward(gate.row(t), up.row(t), d_y.row(t), d_y.cols, d_gate.row(t),
                            d_up.row(t));
  });
}

void CrossEntropy(ConstMatrix logits, const int32_t* targets, float* nll, ThreadPool* pool) {
  const auto& kernels = Kernels();
  ForRows(pool, logits.rows, logits.cols, 16, [&](int64_t t) {
    nll[t] = kernels.log_sum_exp(logits.row(t), logits.cols) - logits.row(t)[targets[t]];
  });
}

void CrossEntropyBackward(Matrix logits, const int32_t* targets, const float* weights, float* nll,
                          ThreadPool* pool) {
  const auto& kernels = Kernels();
  ForRows(pool, logits.rows, logits.cols, 32, [&](int64_t t) {
    float* row = logits.row(t);
    const float log_sum_exp = kernels.log_sum_exp(row, logits.cols);
    nll[t] = log_sum_exp - row[targets[t]];
    kernels.scaled_exp(row, logits.cols, log_sum_exp, weights[t]);
    row[targets[t]] -= weights[t];
  });
}

void Softmax(float* p, int64_t n) {
  if (n <= 0) return;
  const auto& kernels = Kernels();
  kernels.scaled_exp(p, n, kernels.log_sum_exp(p, n), 1.0f);
}

}  // namespace lorikeet
