#include "kernels/matmul.h"

#include <algorithm>

#include "common/base/status_macros.h"
#include "kernels/kernel_table.h"
#include "kernels/parallel.h"

namespace lorikeet {
namespace {

int64_t DivideUp(int64_t a, int64_t b) { return (a + b - 1) / b; }

double Work(int64_t a, int64_t b, int64_t c) {
  return 2.0 * static_cast<double>(a) * static_cast<double>(b) * static_cast<double>(c);
}

// body(begin, end) over [0, count) in whole units.
template <typename Body>
void SplitUnits(ThreadPool* pool, int64_t count, int64_t unit, double work, const Body& body) {
  Split(pool, DivideUp(count, unit), work,
        [&](int64_t begin, int64_t end) { body(begin * unit, std::min(count, end * unit)); });
}

void GemmSplit(const GemmArgs& args, ThreadPool* pool) {
  const auto& kernels = Kernels();
  const double work = Work(args.m, args.n, args.k);
  if (args.n >= args.m) {
    SplitUnits(pool, args.n, kPanelColumns, work, [&](int64_t begin, int64_t end) {
      GemmArgs part = args;
      part.b += begin * args.b_col;
      part.c += begin;
      part.n = end - begin;
      kernels.gemm(part);
    });
    return;
  }
  constexpr int64_t kRows = 96;  // every range packs all of b
  SplitUnits(pool, args.m, kRows, work, [&](int64_t begin, int64_t end) {
    GemmArgs part = args;
    part.a += begin * args.a_row;
    part.c += begin * args.c_row;
    part.m = end - begin;
    kernels.gemm(part);
  });
}

}  // namespace

void MatMul(ConstMatrix x, const WeightView& w, Matrix y, ThreadPool* pool) {
  LORIKEET_CHECK(x.cols == w.cols && y.cols == w.rows && x.rows == y.rows);
  const auto& kernels = Kernels();
  SplitUnits(pool, w.rows, kPanelColumns, Work(x.rows, w.rows, w.cols),
             [&](int64_t begin, int64_t end) {
               kernels.mat_mul(x, w, y, begin, end, /*accumulate=*/false);
             });
}

void MatMulBackwardInput(ConstMatrix d_y, const WeightView& w, Matrix d_x, ThreadPool* pool) {
  LORIKEET_CHECK(d_y.cols == w.rows && d_x.cols == w.cols && d_y.rows == d_x.rows);
  const auto& kernels = Kernels();
  const int64_t unit = std::max<int64_t>(kPanelColumns, TraitsOf(w.type).block_elements);
  SplitUnits(pool, w.cols, unit, Work(d_y.rows, w.rows, w.cols), [&](int64_t begin, int64_t end) {
    kernels.mat_mul_backward_input(d_y, w, d_x, begin, end);
  });
}

void GemmNN(ConstMatrix a, ConstMatrix b, Matrix c, float alpha, bool accumulate,
            ThreadPool* pool) {
  LORIKEET_CHECK(a.cols == b.rows && c.rows == a.rows && c.cols == b.cols);
  GemmSplit({.a = a.data,
             .a_row = a.stride,
             .a_k = 1,
             .b = b.data,
             .b_k = b.stride,
             .b_col = 1,
             .c = c.data,
             .c_row = c.stride,
             .m = c.rows,
             .n = c.cols,
             .k = a.cols,
             .alpha = alpha,
             .accumulate = accumulate},
            pool);
}

void GemmNT(ConstMatrix a, ConstMatrix b, Matrix c, float alpha, bool accumulate,
            ThreadPool* pool) {
  LORIKEET_CHECK(a.cols == b.cols && c.rows == a.rows && c.cols == b.rows);
  GemmSplit({.a = a.data,
             .a_row = a.stride,
             .a_k = 1,
             .b = b.data,
             .b_k = 1,
             .b_col = b.stride,
             .c = c.data,
             .c_row = c.stride,
             .m = c.rows,
             .n = c.cols,
             .k = a.cols,
             .alpha = alpha,
             .accumulate = accumulate},
            pool);
}

void GemmTN(ConstMatrix a, ConstMatrix b, Matrix c, float alpha, bool accumulate,
            ThreadPool* pool) {
  LORIKEET_CHECK(a.rows == b.rows && c.rows == a.cols && c.cols == b.cols);
  GemmSplit({.a = a.data,
             .a_row = 1,
             .a_k = a.stride,
             .b = b.data,
             .b_k = b.stride,
             .b_col = 1,
             .c = c.data,
             .c_row = c.stride,
             .m = c.rows,
             .n = c.cols,
             .k = a.rows,
             .alpha = alpha,
             .accumulate = accumulate},
            pool);
}

}  // namespace lorikeet
