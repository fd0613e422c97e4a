#include "kernels/fast_matmul.h"

#include <algorithm>

#include "common/base/status_macros.h"
#include "common/base/tensor_type.h"
#include "kernels/kernel_table.h"
#include "kernels/parallel.h"

namespace lorikeet {
namespace {

constexpr int64_t kAlignment = 64;

int64_t RoundUp(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Strides that are a multiple of a cache line but not of many: rows of a power of two would fall
// into the same sets of the cache.
int64_t PaddedBytes(int64_t row_bytes) {
  const int64_t lines = RoundUp(row_bytes, kAlignment) / kAlignment;
  return (lines | 1) * kAlignment;
}

struct Layout {
  int64_t q = 0, scales = 0, sums = 0, bf16 = 0;  // bytes a row
  int64_t total() const { return q + scales + sums + bf16; }
};

// Bfloat16 for a batch where that is wanted, otherwise 8 bit.
Layout LayoutOf(int64_t t, int64_t c) {
  const auto& kernels = Kernels();
  if (kernels.wants_bf16 && t > kernels.few_rows) return {.bf16 = PaddedBytes(2 * RoundUp(c, 32))};
  if (c % 32 != 0) return {};
  return {.q = PaddedBytes(c), .scales = PaddedBytes(c / 32 * 4), .sums = PaddedBytes(c / 16 * 4)};
}

bool IsFloat(TensorType type) { return TraitsOf(type).block_elements == 1; }

// Asks for the rows of b that follow a product of few rows: that product takes long enough for them
// to arrive, and each is read only once.
void PrefetchLowRank(const FastProduct& p, int64_t begin, int64_t end) {
  const auto* from = reinterpret_cast<const char*>(p.b.row(begin));
  const auto* to = reinterpret_cast<const char*>(p.b.row(end));
  for (; from < to; from += kAlignment) __builtin_prefetch(from, 0, 2);
}

void RunRange(const RoundedActivations& x, const FastProduct& p, int64_t begin, int64_t end) {
  const auto& kernels = Kernels();
  if (p.h.data != nullptr && x.x.rows <= kernels.few_rows) PrefetchLowRank(p, begin, end);
  if (IsFloat(p.w.type) && !(x.bf16 != nullptr && p.w.type == TensorType::kBF16)) {
    kernels.mat_mul(x.x, p.w, p.y, begin, end, p.accumulate);
  } else if (x.x.rows <= kernels.few_rows) {
    kernels.mat_mul_few(x, p.w, p.y, begin, end, p.accumulate);
  } else {
    kernels.mat_mul_batch(x, p.w, p.y, begin, end, p.accumulate);
  }
  if (p.bias != nullptr) {
    for (int64_t t = 0; t < p.y.rows; ++t) {
      float* row = p.y.row(t);
      for (int64_t o = begin; o < end; ++o) row[o] += p.bias[o];
    }
  }
  if (p.h.data != nullptr) kernels.add_low_rank(p.h, p.b, p.y, begin, end);
}

// In pieces: what is added to the product of a batch is added while that lies in the cache.
void RunPieces(const RoundedActivations& x, const FastProduct& p, int64_t begin, int64_t end) {
  const bool batch = x.bf16 == nullptr && x.x.rows > Kernels().few_rows;
  const int64_t piece = batch ? 4 * kPanelColumns : end - begin;
  for (int64_t o = begin; o < end; o += piece) RunRange(x, p, o, std::min(end, o + piece));
}

// Columns [begin, end) of d_x.
void BackwardRange(std::span<const FastBackwardProduct> products, const Matrix& d_x, int64_t begin,
                   int64_t end, bool accumulate) {
  const auto& kernels = Kernels();
  const auto clear = [&] {
    for (int64_t t = 0; t < d_x.rows; ++t) std::fill(d_x.row(t) + begin, d_x.row(t) + end, 0.0f);
  };
  bool add = accumulate;
  for (const FastBackwardProduct& p : products) {
    const bool rounded = p.d_y.q != nullptr || p.d_y.bf16 != nullptr;
    if (p.w.rows > 0 && rounded && !IsFloat(p.w.type)) {
      kernels.mat_mul_batch_backward(p.d_y, p.w, d_x, begin, end, add);
    } else {
      if (!add) clear();
      kernels.mat_mul_backward_input(p.d_y.x, p.w, d_x, begin, end);
    }
    add = true;
  }
  if (!add) clear();
}

// Columns are shared out in units; a thread takes as many units at a time as gives all the same
// number of turns, up to what the kernels take at once.
int64_t BackwardGrain(int64_t units, int64_t unit, int threads) {
  const int64_t most = std::max<int64_t>(1, kBackwardColumns / unit);
  const int64_t turns = RoundUp((units + most - 1) / most, threads);
  return std::max<int64_t>(1, (units + turns - 1) / turns);
}

}  // namespace

int64_t RoundedBytes(int64_t t, int64_t c) {
  const int64_t few = std::min(t, Kernels().few_rows);  // may want more than a batch
  return std::max(t * LayoutOf(t, c).total(), few * LayoutOf(few, c).total()) + kAlignment;
}

RoundedActivations RoundActivations(ConstMatrix x, uint8_t* scratch, ThreadPool* pool) {
  const Layout layout = LayoutOf(x.rows, x.cols);
  const auto address = reinterpret_cast<uintptr_t>(scratch);
  uint8_t* at = scratch + (RoundUp(static_cast<int64_t>(address % kAlignment), kAlignment) -
                           static_cast<int64_t>(address % kAlignment));
  RoundedActivations rounded{.x = x};
  const auto take = [&](int64_t row_bytes) {
    uint8_t* start = at;
    at += row_bytes * x.rows;
    return start;
  };
  if (layout.q > 0) {
    rounded.q = reinterpret_cast<int8_t*>(take(layout.q));
    rounded.scales = reinterpret_cast<float*>(take(layout.scales));
    rounded.sums = reinterpret_cast<float*>(take(layout.sums));
    rounded.q_stride = layout.q;
    rounded.scale_stride = layout.scales / 4;
    rounded.sum_stride = layout.sums / 4;
  }
  if (layout.bf16 > 0) {
    rounded.bf16 = reinterpret_cast<uint16_t*>(take(layout.bf16));
    rounded.bf16_stride = layout.bf16 / 2;
  }
  const auto& kernels = Kernels();
  Split(pool, x.rows, 8.0 * static_cast<double>(x.rows * x.cols),
        [&](int64_t begin, int64_t end) { kernels.round_activations(rounded, begin, end); });
  return rounded;
}

void MatMulFast(const RoundedActivations& x, std::span<const FastProduct> products,
                ThreadPool* pool) {
  int64_t units = 0;
  double work = 0;
  for (const FastProduct& p : products) {
    LORIKEET_CHECK(x.x.cols == p.w.cols && p.y.cols == p.w.rows && x.x.rows == p.y.rows);
    LORIKEET_CHECK(x.q != nullptr || x.bf16 != nullptr || IsFloat(p.w.type));
    LORIKEET_CHECK(p.h.data == nullptr || (p.h.rows == x.x.rows && p.b.rows == p.w.rows));
    units += RoundUp(p.w.rows, kPanelColumns) / kPanelColumns;
    work += 2.0 * static_cast<double>(x.x.rows * p.w.rows * p.w.cols);
  }
  // A batch of bfloat16 reads all activations again for every range: two ranges a thread.
  const int64_t ranges = pool == nullptr ? 1 : 2 * pool->threads();
  const int64_t grain = x.bf16 == nullptr ? 1 : (units + ranges - 1) / ranges;
  const auto body = [&](int64_t begin, int64_t end) {
    int64_t first = 0;  // unit of the product's first row
    for (const FastProduct& p : products) {
      const int64_t count = RoundUp(p.w.rows, kPanelColumns) / kPanelColumns;
      const int64_t from = std::max(begin, first) - first;
      const int64_t to = std::min(end, first + count) - first;
      if (from < to) {
        RunPieces(x, p, from * kPanelColumns, std::min(p.w.rows, to * kPanelColumns));
      }
      first += count;
    }
  };
  Split(pool, units, work, body, grain);
}

void MatMulFastBackward(std::span<const FastBackwardProduct> products, Matrix d_x, bool accumulate,
                        ThreadPool* pool) {
  int64_t unit = kPanelColumns;
  double work = 0;
  for (const FastBackwardProduct& p : products) {
    LORIKEET_CHECK(p.d_y.x.cols >= p.w.rows && p.d_y.x.rows == d_x.rows && p.w.cols == d_x.cols);
    unit = std::max<int64_t>(unit, TraitsOf(p.w.type).block_elements);
    work += 2.0 * static_cast<double>(d_x.rows * p.w.rows * p.w.cols);
  }
  const int64_t units = (d_x.cols + unit - 1) / unit;
  const auto body = [&](int64_t begin, int64_t end) {
    const int64_t grain = BackwardGrain(units, unit, 1);
    for (int64_t u = begin; u < end; u += grain) {
      BackwardRange(products, d_x, u * unit, std::min(d_x.cols, std::min(end, u + grain) * unit),
                    accumulate);
    }
  };
  Split(pool, units, work, body, BackwardGrain(units, unit, pool == nullptr ? 1 : pool->threads()));
}

}  // namespace lorikeet
