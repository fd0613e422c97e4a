// Products of few rows of rounded activations: weights are read once, where they lie in the file.
//
// The activations are first put into the order in which the decoders of few_512_inl.h or
// few_256_inl.h give weights, group by group of 256, with everything that does not depend on the
// weights: scales spread over lanes, and what the offset of unsigned weights adds, to be taken off.
#ifndef LORIKEET_KERNELS_SIMD_FEW_INL_H_
#define LORIKEET_KERNELS_SIMD_FEW_INL_H_

#include "kernels/fast_matmul.h"
#include "kernels/simd/matmul_inl.h"
#ifdef LORIKEET_SIMD_512
#include "kernels/simd/few_512_inl.h"
#else
#include "kernels/simd/few_256_inl.h"
#endif

namespace lorikeet {
namespace {

constexpr int64_t kGroup = 256;
constexpr int kMaxRows = 8;
// Groups of a row of x that are prepared at a time, on the stack.  Their number does not depend on
// that of the rows: sums are the same, however many tokens are decoded together.
constexpr int64_t kPreparedGroups = 64;
// How far ahead of the weights in use the processor is told to read.
constexpr int64_t kPrefetchBytes = 2048;

// The first eight weights, of the group's 32 pieces, that lane l of scales belongs to.
template <typename Format>
constexpr int FirstPiece(int vector, int l) {
  const Lane lane = LaneOf(Format::kUnits, vector, l);
  return Format::PieceOf(lane.unit * kVectors / Format::kUnits, lane.quadword);
}

// Which lanes of scales hold blocks of the row, of which a group has `blocks`.
template <typename Format>
ValidLanes<Format::kUnits> LanesOfBlocks(int64_t blocks) {
  ValidLanes<Format::kUnits> valid{};
  for (int s = 0; s < ScaleVectorsOf(Format::kUnits); ++s) {
    for (int l = 0; l < kLanes; ++l) {
      if (8 * FirstPiece<Format>(s, l) < blocks * Format::kBlockWeights) valid.Add(s, l);
    }
  }
  return valid;
}

template <int kUnits>
struct alignas(64) Prepared {
  int8_t q[kGroup];
  float scale[ScaleVectorsOf(kUnits)][kLanes];
  union {                           // a format has an offset or minima
    int32_t start[kUnits][kLanes];  // -offset * sum of the lane's q
    float sums[16];  // scale * sum of q of the sixteens whose minimum the decoder gives here
  };
};

// One group of one row of x, of which `columns` exist; the others count as 0.
template <typename Format>
void PrepareGroup(const int8_t* q, const float* scales, const float* sums, int64_t columns,
                  Prepared<Format::kUnits>& out) {
  constexpr int kUnitVectors = kVectors / Format::kUnits;
  alignas(64) int8_t whole[kGroup] = {};
  float scale[kGroup / 32] = {};
  float sum[kGroup / 16] = {};
  __builtin_memcpy(whole, q, static_cast<size_t>(columns));
  __builtin_memcpy(scale, scales, static_cast<size_t>(columns / 32) * sizeof(float));
  __builtin_memcpy(sum, sums, static_cast<size_t>(columns / 16) * sizeof(float));
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 8
    for (int k = 0; k < kPieces; ++k) {
      __builtin_memcpy(out.q + (v * kPieces + k) * 8, whole + 8 * Format::PieceOf(v, k), 8);
    }
  }
  for (int s = 0; s < ScaleVectorsOf(Format::kUnits); ++s) {
    for (int l = 0; l < kLanes; ++l) out.scale[s][l] = scale[FirstPiece<Format>(s, l) / 4];
  }
  for (int u = 0; u < Format::kUnits && !Format::kHasMin; ++u) {
    for (int l = 0; l < kLanes; ++l) {
      int32_t lane_sum = 0;
      for (int v = u * kUnitVectors; v < (u + 1) * kUnitVectors; ++v) {
        const int8_t* lane = out.q + (v * kLanes + l) * 4;
        lane_sum += lane[0] + lane[1] + lane[2] + lane[3];
      }
      out.start[u][l] = -Format::kOffset * lane_sum;
    }
  }
  if constexpr (Format::kHasMin) {
    for (int i = 0; i < 16; ++i) out.sums[i] = Format::kMinSign * sum[Format::SumOf(i)];
  }
}

struct FewJob {
  const RoundedActivations* x;
  const WeightView* w;
  const Matrix* y;
  int64_t begin, end;  // rows of w
  bool accumulate;
};

// A part of the columns, of rows [t, t + rows) of x.
struct FewPart {
  int64_t t, rows;
  int64_t column, columns;
};

// The products of one row of weights with kRows rows of x, lane by lane.
template <typename Format, int kRows>
struct RowSums {
  static constexpr int kUnits = Format::kUnits;
  static constexpr int kScales = ScaleVectorsOf(kUnits);
  Vf sums[kRows];

  __attribute__((always_inline)) inline void Add(const uint8_t* group, const Prepared<kUnits>* x,
                                                 const ValidLanes<kUnits>& valid) {
    Decoded<kUnits> w;
    Format::Decode(group, valid, w);
#pragma GCC unroll 4
    for (int s = 0; s < kScales; ++s) {
#pragma GCC unroll 8
      for (int t = 0; t < kRows; ++t) {
        const Vf dots = Dots<Format>(w.w, x[t].q, x[t].start[0], s);
        sums[t] += dots * (w.scale[s] * Load(x[t].scale[s]));
      }
    }
    if constexpr (Format::kHasMin) {
#pragma GCC unroll 8
      for (int t = 0; t < kRows; ++t) {
#pragma GCC unroll 2
        for (int i = 0; i < 16 / kLanes; ++i) sums[t] += w.min[i] * Load(x[t].sums + i * kLanes);
      }
    }
  }
};

// The last group of a row, where it is not whole.  What follows belongs to the next row and is
// masked out; behind the last row there may be nothing to read.
template <typename Format>
struct TailGroup {
  const uint8_t* tensor_end;
  int64_t bytes;
  alignas(64) uint8_t copy[Format::kGroupBytes];

  const uint8_t* At(const uint8_t* group) {
    if (group + Format::kGroupBytes <= tensor_end) return group;
    __builtin_memcpy(copy, group, static_cast<size_t>(bytes));
    return copy;
  }
};

template <typename Format, int kRows>
void MultiplyRows(const FewJob& job, const FewPart& part,
                  const Prepared<Format::kUnits>* prepared) {
  constexpr int64_t kBlockBytes = Format::kGroupBytes / (kGroup / Format::kBlockWeights);
  const WeightView& w = *job.w;
  const int64_t whole_groups = part.columns / kGroup;
  const int64_t tail_blocks = part.columns % kGroup / Format::kBlockWeights;
  const auto all = LanesOfBlocks<Format>(kGroup / Format::kBlockWeights);
  const auto some = LanesOfBlocks<Format>(tail_blocks);
  TailGroup<Format> tail{w.data + w.rows * w.row_bytes, tail_blocks * kBlockBytes, {}};
  const uint8_t* const first = w.data + part.column / Format::kBlockWeights * kBlockBytes;
  for (int64_t o = job.begin; o < job.end; ++o) {
    RowSums<Format, kRows> row{};
    const uint8_t* group = first + o * w.row_bytes;
    const Prepared<Format::kUnits>* x = prepared;
    for (int64_t g = 0; g < whole_groups; ++g, group += Format::kGroupBytes, x += kRows) {
#pragma GCC unroll 5
      for (int64_t line = 0; line < Format::kGroupBytes; line += 64) {
        _mm_prefetch(group + kPrefetchBytes + line, _MM_HINT_T0);
      }
      row.Add(group, x, all);
    }
    if (tail_blocks > 0) row.Add(tail.At(group), x, some);
#pragma GCC unroll 8
    for (int t = 0; t < kRows; ++t) {
      if (t >= part.rows) break;
      float& out = job.y->data[(part.t + t) * job.y->stride + o];
      out = (job.accumulate || part.column > 0 ? out : 0.0f) + Sum(row.sums[t]);
    }
  }
}

template <typename Format, int kRows>
void MultiplyPart(const FewJob& job, const FewPart& part) {
  Prepared<Format::kUnits> prepared[kPreparedGroups * kRows];
  const RoundedActivations& x = *job.x;
  for (int64_t c = 0, g = 0; c < part.columns; c += kGroup, ++g) {
    const int64_t columns = Min(kGroup, part.columns - c);
    const int64_t at = part.column + c;
    for (int64_t t = 0; t < kRows; ++t) {
      // Rows that the number of rows is rounded up by: any, since their products are not used.
      const int64_t row = part.t + Min(t, part.rows - 1);
      PrepareGroup<Format>(x.q + row * x.q_stride + at, x.scales + row * x.scale_stride + at / 32,
                           x.sums + row * x.sum_stride + at / 16, columns, prepared[g * kRows + t]);
    }
  }
  MultiplyRows<Format, kRows>(job, part, prepared);
}

template <typename Format>
void MultiplyFew(const FewJob& job) {
  for (int64_t t = 0; t < job.y->rows; t += kMaxRows) {
    const int64_t rows = Min(kMaxRows, job.y->rows - t);
    for (int64_t c = 0; c < job.w->cols; c += kPreparedGroups * kGroup) {
      const FewPart part{t, rows, c, Min(kPreparedGroups * kGroup, job.w->cols - c)};
      if (rows == 1) {
        MultiplyPart<Format, 1>(job, part);
      } else if (rows == 2) {
        MultiplyPart<Format, 2>(job, part);
      } else if (rows <= 4) {
        MultiplyPart<Format, 4>(job, part);
      } else if (rows <= 6) {
        MultiplyPart<Format, 6>(job, part);
      } else {
        MultiplyPart<Format, 8>(job, part);
      }
    }
  }
}

void MatMulFewRange(const RoundedActivations& x, const WeightView& w, const Matrix& y,
                    int64_t begin, int64_t end, bool accumulate) {
  const FewJob job{&x, &w, &y, begin, end, accumulate};
  switch (w.type) {
    case TensorType::kQ8_0:
      return MultiplyFew<FewQ8_0>(job);
    case TensorType::kQ4_0:
      return MultiplyFew<FewQ4_0>(job);
    case TensorType::kQ4_1:
      return MultiplyFew<FewQ4_1>(job);
    case TensorType::kQ5_0:
      return MultiplyFew<FewQ5_0>(job);
    case TensorType::kQ5_1:
      return MultiplyFew<FewQ5_1>(job);
    case TensorType::kIQ4_NL:
      return MultiplyFew<FewIq4Nl>(job);
    case TensorType::kQ2_K:
      return MultiplyFew<FewQ2_K>(job);
    case TensorType::kQ3_K:
      return MultiplyFew<FewQ3_K>(job);
    case TensorType::kQ4_K:
      return MultiplyFew<FewQ4_K>(job);
    case TensorType::kQ5_K:
      return MultiplyFew<FewQ5_K>(job);
    case TensorType::kQ6_K:
      return MultiplyFew<FewQ6_K>(job);
    default:
      return MatMulRange(x.x, w, y, begin, end, accumulate);
  }
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_FEW_INL_H_
