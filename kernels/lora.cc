#include "kernels/lora.h"

#include <algorithm>

#include "common/base/status_macros.h"
#include "kernels/kernel_table.h"
#include "kernels/matmul.h"
#include "kernels/parallel.h"

namespace lorikeet {
namespace {

double Work(int64_t rows, int64_t cols, int64_t ranks) {
  return 2.0 * static_cast<double>(rows) * static_cast<double>(cols) * static_cast<double>(ranks);
}

int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Columns, or ranks [begin, begin + count) of every row; nothing of nothing.
template <typename T>
MatrixView<T> Columns(MatrixView<T> m, int64_t begin, int64_t count) {
  if (m.data == nullptr) return {};
  return {m.data + begin, m.rows, count, m.stride};
}
template <typename T>
MatrixView<T> Rows(MatrixView<T> m, int64_t begin, int64_t end) {
  return m.data == nullptr ? m : m.Rows(begin, end);
}

// h = x A^T.
void Project(ConstMatrix x, ConstMatrix a, Matrix h, ThreadPool* pool) {
  LORIKEET_CHECK(x.cols == a.cols && h.rows == x.rows && h.cols == a.rows);
  const auto& kernels = Kernels();
  Split(pool, x.rows, Work(x.rows, x.cols, a.rows),
        [&](int64_t begin, int64_t end) { kernels.lora_project(x, a, h, begin, end); });
}

// y += scale h B^T.
void Add(ConstMatrix h, ConstMatrix b, float scale, Matrix y, ThreadPool* pool) {
  LORIKEET_CHECK(y.cols == b.rows && h.rows == y.rows && h.cols == b.cols);
  const auto& kernels = Kernels();
  Split(pool, DivideUp(y.cols, kPanelColumns), Work(y.rows, y.cols, h.cols),
        [&](int64_t begin, int64_t end) {
          kernels.lora_add(h, b, scale, y, begin * kPanelColumns,
                           std::min(y.cols, end * kPanelColumns));
        });
}

// Sums of several threads, in an order of their own: one [T, R] for each group of columns of d_y.
constexpr int64_t kPartFloats = 64 * 1024;

// Columns of a group: a matter of the matrix alone, not of the threads.
int64_t GroupColumns(int64_t columns) {
  constexpr int64_t kMostGroups = 8;
  constexpr int64_t kLeast = 128;
  constexpr int64_t kEnough = 256;  // of more groups than four
  const auto share = [columns](int64_t groups) {
    return DivideUp(DivideUp(columns, groups), kPanelColumns) * kPanelColumns;
  };
  return std::max(share(kMostGroups), std::clamp(share(4), kLeast, kEnough));
}

// Some rows, few enough for the parts on the stack, and at most kLoraRanks ranks.
void GatherRows(const LoraGatherArgs& args, Matrix d_h, ThreadPool* pool) {
  float parts[kPartFloats];
  const int64_t rows = args.d_y.rows;
  const int64_t ranks = args.b.cols;
  const int64_t width = GroupColumns(args.d_y.cols);
  const int64_t groups = DivideUp(args.d_y.cols, width);
  const auto& kernels = Kernels();
  const double sums = (d_h.data != nullptr ? 1 : 0) + (args.d_b.data != nullptr ? 1 : 0);
  Split(pool, groups, sums * Work(rows, args.d_y.cols, ranks), [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; ++group) {
      LoraGatherArgs part = args;
      if (d_h.data != nullptr) part.part = {parts + group * rows * ranks, rows, ranks};
      kernels.lora_gather(part, group * width, std::min(args.d_y.cols, (group + 1) * width));
    }
  });
  for (int64_t t = 0; t < rows && d_h.data != nullptr; ++t) {
    float* to = d_h.row(t);
    for (int64_t r = 0; r < ranks; ++r) to[r] = parts[t * ranks + r];
    for (int64_t group = 1; group < groups; ++group) {
      const float* from = parts + (group * rows + t) * ranks;
      for (int64_t r = 0; r < ranks; ++r) to[r] += from[r];
    }
  }
}

// d_h = scale d_y B and d_b += scale d_y^T h, either of them only if not empty.
void Gather(const LoraGatherArgs& args, Matrix d_h, ThreadPool* pool) {
  LORIKEET_CHECK(args.d_y.cols == args.b.rows && args.d_y.rows == args.h.rows);
  const int64_t groups = DivideUp(args.d_y.cols, GroupColumns(args.d_y.cols));
  for (int64_t rank = 0; rank < args.b.cols; rank += kLoraRanks) {
    const int64_t ranks = std::min(kLoraRanks, args.b.cols - rank);
    const int64_t step = kPartFloats / (groups * ranks);
    for (int64_t t = 0; t < args.d_y.rows; t += step) {
      const int64_t end = std::min(args.d_y.rows, t + step);
      GatherRows({.d_y = args.d_y.Rows(t, end),
                  .b = Columns(args.b, rank, ranks),
                  .h = Rows(Columns(args.h, rank, ranks), t, end),
                  .scale = args.scale,
                  .part = {},
                  .d_b = Columns(args.d_b, rank, ranks)},
                 Rows(Columns(d_h, rank, ranks), t, end), pool);
    }
  }
}

// d_a += d_h^T x and d_x += d_h A, either of them only if not empty.
void Scatter(const LoraScatterArgs& args, ThreadPool* pool) {
  if (args.d_a.data == nullptr && args.d_x.data == nullptr) return;
  LORIKEET_CHECK(args.d_h.cols == args.a.rows);
  LORIKEET_CHECK(args.d_a.data == nullptr ||
                 (args.d_a.cols == args.a.cols && args.x.rows == args.d_h.rows));
  LORIKEET_CHECK(args.d_x.data == nullptr ||
                 (args.d_x.cols == args.a.cols && args.d_x.rows == args.d_h.rows));
  const auto& kernels = Kernels();
  const double sums = (args.d_a.data != nullptr ? 1 : 0) + (args.d_x.data != nullptr ? 1 : 0);
  Split(pool, DivideUp(args.a.cols, kPanelColumns),
        sums * Work(args.d_h.rows, args.a.cols, args.a.rows), [&](int64_t begin, int64_t end) {
          kernels.lora_scatter(args, begin * kPanelColumns,
                               std::min(args.a.cols, end * kPanelColumns));
        });
}

}  // namespace

void LoraForward(ConstMatrix x, ConstMatrix a, ConstMatrix b, float scale, Matrix h, Matrix y,
                 ThreadPool* pool) {
  Project(x, a, h, pool);
  Add(h, b, scale, y, pool);
}

void LoraBackward(const LoraBackwardArgs& args, ThreadPool* pool) {
  const bool wants_h = args.d_a.data != nullptr || args.d_x.data != nullptr;
  if (!wants_h && args.d_b.data == nullptr) return;
  Gather(
      {.d_y = args.d_y, .b = args.b, .h = args.h, .scale = args.scale, .part = {}, .d_b = args.d_b},
      wants_h ? args.d_h : Matrix{}, pool);
  Scatter({.x = args.x, .d_h = args.d_h, .a = args.a, .d_a = args.d_a, .d_x = args.d_x}, pool);
}

void CoreForward(ConstMatrix x, ConstMatrix a, ConstMatrix core, ConstMatrix b, float scale,
                 Matrix h, Matrix g, Matrix y, ThreadPool* pool) {
  Project(x, a, h, pool);
  GemmNT(h, core, g, 1.0f, /*accumulate=*/false, pool);
  Add(g, b, scale, y, pool);
}

void CoreBackward(const CoreBackwardArgs& args, ThreadPool* pool) {
  Gather({.d_y = args.d_y, .b = args.b, .h = args.h, .scale = args.scale, .part = {}, .d_b = {}},
         args.d_g, pool);
  if (args.d_core.data != nullptr) {
    GemmTN(args.d_g, args.h, args.d_core, 1.0f, /*accumulate=*/true, pool);
  }
  if (args.d_x.data == nullptr) return;
  GemmNN(args.d_g, args.core, args.d_h, 1.0f, /*accumulate=*/false, pool);
  Scatter({.x = {}, .d_h = args.d_h, .a = args.a, .d_a = {}, .d_x = args.d_x}, pool);
}

}  // namespace lorikeet
