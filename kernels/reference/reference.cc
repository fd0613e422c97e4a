// The kernels in plain portable C++: the oracle of the tests and what runs where no SIMD version
// fits.
//
// Sums are in double: slow, and the most exact of all versions.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/kernel_table.h"
#include "kernels/quant.h"
#include "kernels/simd/cached_attention_kernels.h"

namespace lorikeet {
namespace {

float Half(uint16_t half) { return HalfToFloat(half); }

}  // namespace
}  // namespace lorikeet

#include "kernels/simd/dequantize_inl.h"

namespace lorikeet {
namespace {

inline void DequantizeHalves(const uint8_t* src, int64_t n, float* dst) {
  for (int64_t i = 0; i < n; ++i) {
    uint16_t bits;
    std::memcpy(&bits, src + 2 * i, sizeof(bits));
    dst[i] = HalfToFloat(bits);
  }
}

constexpr int64_t kChunk = 256;

// Dequantizes elements [begin, begin + n) of row `r`; begin on a block border.
void DequantizePart(const WeightView& w, int64_t r, int64_t begin, int64_t n, float* dst) {
  DequantizeRowHere(w.type, w.row(r) + RowBytes(w.type, begin), n, dst);
}

void MatMulRange(const ConstMatrix& x, const WeightView& w, const Matrix& y, int64_t begin,
                 int64_t end, bool accumulate) {
  float part[kChunk];
  for (int64_t o = begin; o < end; ++o) {
    for (int64_t t = 0; t < x.rows; ++t) {
      double sum = accumulate ? y.row(t)[o] : 0;
      for (int64_t c = 0; c < w.cols; c += kChunk) {
        const int64_t n = std::min(kChunk, w.cols - c);
        DequantizePart(w, o, c, n, part);
        const float* row = x.row(t) + c;
        for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(part[i]) * row[i];
      }
      y.row(t)[o] = static_cast<float>(sum);
    }
  }
}

void MatMulBackwardInputRange(const ConstMatrix& d_y, const WeightView& w, const Matrix& d_x,
                              int64_t begin, int64_t end) {
  float part[kChunk];
  double sums[kChunk];
  for (int64_t c = begin; c < end; c += kChunk) {
    const int64_t n = std::min(kChunk, end - c);
    for (int64_t t = 0; t < d_y.rows; ++t) {
      std::fill(sums, sums + n, 0.0);
      for (int64_t o = 0; o < w.rows; ++o) {
        DequantizePart(w, o, c, n, part);
        const double d = d_y.row(t)[o];
        for (int64_t i = 0; i < n; ++i) sums[i] += d * part[i];
      }
      for (int64_t i = 0; i < n; ++i) d_x.row(t)[c + i] += static_cast<float>(sums[i]);
    }
  }
}

void Gemm(const GemmArgs& g) {
  for (int64_t i = 0; i < g.m; ++i) {
    for (int64_t j = 0; j < g.n; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < g.k; ++k) {
        sum += static_cast<double>(g.a[i * g.a_row + k * g.a_k]) * g.b[k * g.b_k + j * g.b_col];
      }
      float& c = g.c[i * g.c_row + j];
      c = static_cast<float>(g.alpha * sum + (g.accumulate ? c : 0.0f));
    }
  }
}

void RoundRows(const RoundedActivations& rounded, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    const float* x = rounded.x.row(t);
    // The views are const for the products; this is what fills them.
    auto* q = const_cast<int8_t*>(rounded.q + t * rounded.q_stride);
    auto* scales = const_cast<float*>(rounded.scales + t * rounded.scale_stride);
    auto* sums = const_cast<float*>(rounded.sums + t * rounded.sum_stride);
    for (int64_t b = 0; b < rounded.x.cols / 32 && rounded.q != nullptr; ++b) {
      float largest = 0;
      for (int j = 0; j < 32; ++j) largest = std::max(largest, std::fabs(x[32 * b + j]));
      // Finite, so that zeros and numbers too small for it become 0.
      const float inverse = std::min(127.0f / largest, std::numeric_limits<float>::max());
      scales[b] = largest / 127.0f;
      int32_t sum[2] = {0, 0};
      for (int j = 0; j < 32; ++j) {
        q[32 * b + j] = static_cast<int8_t>(std::nearbyint(x[32 * b + j] * inverse));
        sum[j / 16] += q[32 * b + j];
      }
      for (int h = 0; h < 2; ++h) sums[2 * b + h] = scales[b] * static_cast<float>(sum[h]);
    }
  }
}

// The oracle of the integer kernels: weights as DequantizeRow gives them, activations as rounded.
void MatMulRounded(const RoundedActivations& x, const WeightView& w, const Matrix& y, int64_t begin,
                   int64_t end, bool accumulate) {
  constexpr int64_t kPiece = 256;  // every block's length divides it
  float piece[kPiece];
  for (int64_t o = begin; o < end; ++o) {
    for (int64_t t = 0; t < x.x.rows; ++t) {
      if (!accumulate) y.row(t)[o] = 0;
    }
    for (int64_t c = 0; c < w.cols; c += kPiece) {
      const int64_t n = std::min(kPiece, w.cols - c);
      DequantizeRow(w.type, w.row(o) + RowBytes(w.type, c), n, piece);
      for (int64_t t = 0; t < x.x.rows; ++t) {
        const int8_t* q = x.q + t * x.q_stride + c;
        const float* scales = x.scales + t * x.scale_stride + c / 32;
        double sum = 0;
        for (int64_t k = 0; k < n; ++k) {
          sum += static_cast<double>(piece[k]) * scales[k / 32] * q[k];
        }
        y.row(t)[o] += static_cast<float>(sum);
      }
    }
  }
}

// Rows [o, o + 32) of w (zeros behind the last) in columns [c, c + n), each column rounded to 8 bit
// as activations are.
void RoundColumns(const WeightView& w, int64_t o, int64_t c, int64_t n, float (*piece)[kChunk]) {
  for (int64_t r = 0; r < 32; ++r) {
    if (o + r < w.rows) {
      DequantizePart(w, o + r, c, n, piece[r]);
    } else {
      std::fill_n(piece[r], n, 0.0f);
    }
  }
  for (int64_t i = 0; i < n; ++i) {
    float largest = 0;
    for (int64_t r = 0; r < 32; ++r) largest = std::max(largest, std::fabs(piece[r][i]));
    const float inverse = std::min(127.0f / largest, std::numeric_limits<float>::max());
    const float scale = largest / 127.0f;
    for (int64_t r = 0; r < 32; ++r) piece[r][i] = scale * std::nearbyint(piece[r][i] * inverse);
  }
}

// The oracle of the integer kernels: both factors as they round them.
void MatMulRoundedBackward(const RoundedActivations& d_y, const WeightView& w, const Matrix& d_x,
                           int64_t begin, int64_t end, bool accumulate) {
  float piece[32][kChunk];
  for (int64_t c = begin; c < end; c += kChunk) {
    const int64_t n = std::min(kChunk, end - c);
    for (int64_t t = 0; t < d_x.rows && !accumulate; ++t) std::fill_n(d_x.row(t) + c, n, 0.0f);
    for (int64_t o = 0; o < w.rows; o += 32) {
      RoundColumns(w, o, c, n, piece);
      for (int64_t t = 0; t < d_x.rows; ++t) {
        const int8_t* q = d_y.q + t * d_y.q_stride + o;
        const double scale = d_y.scales[t * d_y.scale_stride + o / 32];
        for (int64_t i = 0; i < n; ++i) {
          double sum = 0;
          for (int64_t r = 0; r < 32; ++r) sum += static_cast<double>(piece[r][i]) * q[r];
          d_x.row(t)[c + i] += static_cast<float>(scale * sum);
        }
      }
    }
  }
}

void AddLowRank(const ConstMatrix& h, const MatrixView<const uint16_t>& b, const Matrix& y,
                int64_t begin, int64_t end) {
  for (int64_t t = 0; t < y.rows; ++t) {
    for (int64_t o = begin; o < end; ++o) {
      double sum = 0;
      for (int64_t r = 0; r < h.cols; ++r) {
        sum += static_cast<double>(h.row(t)[r]) * HalfToFloat(b.row(o)[r]);
      }
      y.row(t)[o] += static_cast<float>(sum);
    }
  }
}

double InverseRms(const float* x, float epsilon, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * x[i];
  return 1.0 / std::sqrt(sum / static_cast<double>(n) + epsilon);
}

void RmsNormRow(const float* x, const float* weight, float epsilon, int64_t n, float* y) {
  const double r = InverseRms(x, epsilon, n);
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(x[i] * r * weight[i]);
}

// With r = 1 / rms: d_x = r (g - x r^2 mean(g x)), g = weight * d_y.
void RmsNormBackwardRow(const float* x, const float* weight, float epsilon, const float* d_y,
                        int64_t n, float* d_x) {
  const double r = InverseRms(x, epsilon, n);
  double dot = 0;
  for (int64_t i = 0; i < n; ++i) dot += static_cast<double>(weight[i]) * d_y[i] * x[i];
  const double common = r * r * dot / static_cast<double>(n);
  for (int64_t i = 0; i < n; ++i) {
    const double g = static_cast<double>(weight[i]) * d_y[i];
    d_x[i] += static_cast<float>(r * (g - x[i] * common));
  }
}

void SwiGluRow(const float* gate, const float* up, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    const double g = gate[i];
    y[i] = static_cast<float>(g / (1.0 + std::exp(-g)) * up[i]);
  }
}

void SwiGluBackwardRow(const float* gate, const float* up, const float* d_y, int64_t n,
                       float* d_gate, float* d_up) {
  for (int64_t i = 0; i < n; ++i) {
    const double g = gate[i];
    const double u = up[i];
    const double d = d_y[i];
    const double s = 1.0 / (1.0 + std::exp(-g));
    d_gate[i] = static_cast<float>(d * u * s * (1.0 + g * (1.0 - s)));
    d_up[i] = static_cast<float>(d * g * s);
  }
}

float LogSumExp(const float* x, int64_t n) {
  const double largest = *std::max_element(x, x + n);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - largest);
  return static_cast<float>(largest + std::log(sum));
}

void ScaledExp(float* x, int64_t n, float shift, float factor) {
  for (int64_t i = 0; i < n; ++i) {
    x[i] = static_cast<float>(factor * std::exp(static_cast<double>(x[i]) - shift));
  }
}

float Largest(const float* x, int64_t n) { return *std::max_element(x, x + n); }

double Exponentials(float* x, int64_t n, float shift) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    x[i] = static_cast<float>(std::exp(static_cast<double>(x[i]) - shift));
    sum += static_cast<double>(x[i]);
  }
  return sum;
}

int64_t FirstKey(const AttentionShape& shape, int64_t t) {
  return shape.first_key != nullptr ? shape.first_key[t] : 0;
}

double Dot(const float* a, const float* b, int n) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// Adds value row weights[s] * v[s] in one pass with a running maximum.
void AttendHead(const ConstMatrix& q, const ConstMatrix& k, const ConstMatrix& v,
                const AttentionShape& shape, const Matrix& out, const Matrix& log_sum_exp, int head,
                int64_t t_begin, int64_t t_end) {
  const int d = shape.head_size;
  const int kv_head = head / (shape.heads / shape.kv_heads);
  double sums[kMaxHeadSize];
  for (int64_t t = t_begin; t < t_end; ++t) {
    double largest = -std::numeric_limits<double>::infinity();
    double total = 0;
    std::fill(sums, sums + d, 0.0);
    for (int64_t s = FirstKey(shape, t); s <= shape.query_offset + t; ++s) {
      const double score = shape.scale * Dot(q.row(t) + head * d, k.row(s) + kv_head * d, d);
      const double previous = largest;
      largest = std::max(largest, score);
      const double shrink = std::exp(previous - largest);
      const double p = std::exp(score - largest);
      total = total * shrink + p;
      for (int i = 0; i < d; ++i) sums[i] = sums[i] * shrink + p * v.row(s)[kv_head * d + i];
    }
    for (int i = 0; i < d; ++i) out.row(t)[head * d + i] = static_cast<float>(sums[i] / total);
    if (log_sum_exp.data != nullptr) {
      log_sum_exp.row(head)[t] = static_cast<float>(largest + std::log(total));
    }
  }
}

void AttentionRange(const ConstMatrix& q, const ConstMatrix& k, const ConstMatrix& v,
                    const AttentionShape& shape, const Matrix& out, const Matrix& log_sum_exp,
                    int kv_head, int64_t t_begin, int64_t t_end) {
  const int group = shape.heads / shape.kv_heads;
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    AttendHead(q, k, v, shape, out, log_sum_exp, head, t_begin, t_end);
  }
}

void AttentionBackwardPair(const AttentionBackwardArgs& a, const AttentionShape& shape, int head,
                           int kv_head, int64_t t, int64_t s) {
  const int d = shape.head_size;
  const float* q = a.q.row(t) + head * d;
  const float* d_out = a.d_out.row(t) + head * d;
  const float* k = a.k.row(s) + kv_head * d;
  const double p = std::exp(shape.scale * Dot(q, k, d) - a.log_sum_exp.row(head)[t]);
  const double d_p = Dot(d_out, a.v.row(s) + kv_head * d, d);
  const double d_score = p * (d_p - a.delta.row(head)[t]) * shape.scale;
  for (int i = 0; i < d; ++i) {
    a.d_q.row(t)[head * d + i] += static_cast<float>(d_score * k[i]);
    a.d_k.row(s)[kv_head * d + i] += static_cast<float>(d_score * q[i]);
    a.d_v.row(s)[kv_head * d + i] += static_cast<float>(p * d_out[i]);
  }
}

void AttentionBackwardStart(const AttentionBackwardArgs& a, const AttentionShape& shape,
                            int kv_head) {
  const int d = shape.head_size;
  const int group = shape.heads / shape.kv_heads;
  for (int64_t s = 0; s < shape.query_offset + a.q.rows; ++s) {
    std::fill_n(a.d_k.row(s) + kv_head * d, d, 0.0f);
    std::fill_n(a.d_v.row(s) + kv_head * d, d, 0.0f);
  }
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (int64_t t = 0; t < a.q.rows; ++t) {
      std::fill_n(a.d_q.row(t) + head * d, d, 0.0f);
      a.delta.row(head)[t] =
          static_cast<float>(Dot(a.d_out.row(t) + head * d, a.out.row(t) + head * d, d));
    }
  }
}

void AttentionBackwardBlock(const AttentionBackwardArgs& a, const AttentionShape& shape,
                            int kv_head, int64_t t_begin, int64_t key) {
  const int group = shape.heads / shape.kv_heads;
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (int64_t t = t_begin; t < std::min(a.q.rows, t_begin + kAttentionBlock); ++t) {
      const int64_t end = std::min(key + kAttentionBlock, shape.query_offset + t + 1);
      for (int64_t s = std::max(key, FirstKey(shape, t)); s < end; ++s) {
        AttentionBackwardPair(a, shape, head, kv_head, t, s);
      }
    }
  }
}

void LoraProject(const ConstMatrix& x, const ConstMatrix& a, const Matrix& h, int64_t begin,
                 int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    for (int64_t r = 0; r < a.rows; ++r) {
      double sum = 0;
      for (int64_t c = 0; c < x.cols; ++c) sum += static_cast<double>(x.row(t)[c]) * a.row(r)[c];
      h.row(t)[r] = static_cast<float>(sum);
    }
  }
}

void LoraAdd(const ConstMatrix& h, const ConstMatrix& b, float scale, const Matrix& y,
             int64_t begin, int64_t end) {
  for (int64_t t = 0; t < y.rows; ++t) {
    for (int64_t o = begin; o < end; ++o) {
      double sum = 0;
      for (int64_t r = 0; r < h.cols; ++r) sum += static_cast<double>(h.row(t)[r]) * b.row(o)[r];
      y.row(t)[o] = static_cast<float>(y.row(t)[o] + scale * sum);
    }
  }
}

void LoraGather(const LoraGatherArgs& args, int64_t begin, int64_t end) {
  for (int64_t r = 0; r < args.b.cols; ++r) {
    for (int64_t t = 0; t < args.d_y.rows && args.part.data != nullptr; ++t) {
      double sum = 0;
      for (int64_t o = begin; o < end; ++o) {
        sum += static_cast<double>(args.d_y.row(t)[o]) * args.b.row(o)[r];
      }
      args.part.row(t)[r] = static_cast<float>(args.scale * sum);
    }
    for (int64_t o = begin; o < end && args.d_b.data != nullptr; ++o) {
      double sum = 0;
      for (int64_t t = 0; t < args.d_y.rows; ++t) {
        sum += static_cast<double>(args.d_y.row(t)[o]) * args.h.row(t)[r];
      }
      args.d_b.row(o)[r] = static_cast<float>(args.d_b.row(o)[r] + args.scale * sum);
    }
  }
}

void LoraScatter(const LoraScatterArgs& args, int64_t begin, int64_t end) {
  for (int64_t c = begin; c < end; ++c) {
    for (int64_t r = 0; r < args.d_h.cols && args.d_a.data != nullptr; ++r) {
      double sum = args.d_a.row(r)[c];
      for (int64_t t = 0; t < args.d_h.rows; ++t) {
        sum += static_cast<double>(args.d_h.row(t)[r]) * args.x.row(t)[c];
      }
      args.d_a.row(r)[c] = static_cast<float>(sum);
    }
    for (int64_t t = 0; t < args.d_h.rows && args.d_x.data != nullptr; ++t) {
      double sum = args.d_x.row(t)[c];
      for (int64_t r = 0; r < args.d_h.cols; ++r) {
        sum += static_cast<double>(args.d_h.row(t)[r]) * args.a.row(r)[c];
      }
      args.d_x.row(t)[c] = static_cast<float>(sum);
    }
  }
}

}  // namespace

const KernelTable& ReferenceKernels() {
  static constexpr KernelTable kTable = {
      .dequantize_row = DequantizeRowHere,
      .mat_mul = MatMulRange,
      .mat_mul_backward_input = MatMulBackwardInputRange,
      .gemm = Gemm,
      .wants_bf16 = false,
      .few_rows = 8,
      .round_activations = RoundRows,
      .mat_mul_few = MatMulRounded,
      .mat_mul_batch = MatMulRounded,
      .mat_mul_batch_backward = MatMulRoundedBackward,
      .add_low_rank = AddLowRank,
      .rms_norm = RmsNormRow,
      .rms_norm_backward = RmsNormBackwardRow,
      .swiglu = SwiGluRow,
      .swiglu_backward = SwiGluBackwardRow,
      .log_sum_exp = LogSumExp,
      .scaled_exp = ScaledExp,
      .largest = Largest,
      .exponentials = Exponentials,
      .attention = AttentionRange,
      .attention_backward_start = AttentionBackwardStart,
      .attention_backward = AttentionBackwardBlock,
      .lora_project = LoraProject,
      .lora_add = LoraAdd,
      .lora_gather = LoraGather,
      .lora_scatter = LoraScatter,
      .store_cache_row = reference::StoreCacheRow,
      .attend_chunk = reference::AttendChunk,
      .fold_partial = reference::FoldPartial,
  };
  return kTable;
}

}  // namespace lorikeet
