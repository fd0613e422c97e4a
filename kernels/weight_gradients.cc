#include "kernels/weight_gradients.h"

#include <algorithm>

#include "common/base/status_macros.h"
#include "kernels/parallel.h"

namespace lorikeet {
namespace {

// Columns that one thread takes at a time: a cache line or more of every row.  Work is split over
// columns, so that every sum is made by one thread in the order of rows.
constexpr int64_t kColumns = 64;

double Elements(const ConstMatrix& m) {
  return static_cast<double>(m.rows) * static_cast<double>(m.cols);
}

}  // namespace

void BiasBackward(ConstMatrix d_y, float* d_bias, ThreadPool* pool) {
  Split(
      pool, (d_y.cols + kColumns - 1) / kColumns, Elements(d_y), [&](int64_t first, int64_t last) {
        for (int64_t c = first * kColumns; c < std::min(d_y.cols, last * kColumns); c += kColumns) {
          const int64_t count = std::min(kColumns, d_y.cols - c);
          double sums[kColumns] = {};
          for (int64_t t = 0; t < d_y.rows; ++t) {
            const float* row = d_y.row(t) + c;
            for (int64_t i = 0; i < count; ++i) sums[i] += row[i];
          }
          for (int64_t i = 0; i < count; ++i) d_bias[c + i] += static_cast<float>(sums[i]);
        }
      });
}

void EmbeddingBackward(const int32_t* tokens, ConstMatrix d_x, Matrix d_table, ThreadPool* pool) {
  LORIKEET_CHECK(d_x.cols == d_table.cols);
  Split(pool, (d_x.cols + kColumns - 1) / kColumns, Elements(d_x),
        [&](int64_t first, int64_t last) {
          const int64_t begin = first * kColumns;
          const int64_t end = std::min(d_x.cols, last * kColumns);
          for (int64_t t = 0; t < d_x.rows; ++t) {
            LORIKEET_CHECK(tokens[t] >= 0 && tokens[t] < d_table.rows);
            const float* from = d_x.row(t);
            float* to = d_table.row(tokens[t]);
            for (int64_t c = begin; c < end; ++c) to[c] += from[c];
          }
        });
}

}  // namespace lorikeet
