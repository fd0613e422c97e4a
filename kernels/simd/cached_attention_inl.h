// Cached attention: rows of the cache become f32 tiles once, and are used for all queries.
//
// Per chunk of keys: scores of all rows (keys in the lanes, so a panel of keys is transposed while
// it is converted), one softmax a row, then the sum of values.  Every number of the result is one
// sum over the keys in their order, whatever rows are computed beside it.
#ifndef LORIKEET_KERNELS_SIMD_CACHED_ATTENTION_INL_H_
#define LORIKEET_KERNELS_SIMD_CACHED_ATTENTION_INL_H_

#include "kernels/simd/gemm_inl.h"

namespace lorikeet {
namespace {

constexpr int64_t kValueTile = 64;  // keys whose values are converted at a time
// Between rows of scores: not a power of two, whose multiples share sets of the cache.
constexpr int64_t kScoreStride = kChunkKeys + 16;
constexpr float kLog2E = 1.44269504f;

inline float LargestLane(Vf v) {
#ifdef LORIKEET_SIMD_512
  return _mm512_reduce_max_ps(v);
#else
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
#endif
}

// 2^x within 3 ulp for x in [-126, 126]; 0 from -150 downwards.  An integer power times a
// polynomial on [-1/2, 1/2] that interpolates at Chebyshev nodes and is 1 at 0.
inline Vf Exp2(Vf x) {
  const Vf clamped = VecMax(x, Splat(-200.0f));
  const Vf n = RoundNearest(clamped);
  const Vf r = clamped - n;
  Vf p = r * 1.33813021e-3f + 9.66636837e-3f;
  p = p * r + 5.55038117e-2f;
  p = p * r + 2.40223497e-1f;
  p = p * r + 6.93147182e-1f;
  p = p * r + 1.0f;
#ifdef LORIKEET_SIMD_512
  return _mm512_scalef_ps(p, n);
#else
  const Vi scaled = reinterpret_cast<Vi>(p) + (ToInt(n) << 23);
  return x < Splat(-126.0f) ? Vf{} : reinterpret_cast<Vf>(scaled);
#endif
}

// --- Rows of the cache ---

struct RowsF32 {
  static __m256 LoadEight(const uint8_t* row, int64_t i) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(row + 4 * i));
  }
  static Vf LoadLanes(const uint8_t* row, int64_t i) {
    return *reinterpret_cast<const VfAnywhere*>(row + 4 * i);
  }
  static float LoadOne(const uint8_t* row, int64_t i) {
    float x;
    __builtin_memcpy(&x, row + 4 * i, sizeof(x));
    return x;
  }
};

struct RowsF16 {
  static __m256 LoadEight(const uint8_t* row, int64_t i) {
    return _mm256_cvtph_ps(LoadBytes(row + 2 * i));
  }
  static Vf LoadLanes(const uint8_t* row, int64_t i) { return LoadHalves(row + 2 * i); }
  static float LoadOne(const uint8_t* row, int64_t i) {
    uint16_t x;
    __builtin_memcpy(&x, row + 2 * i, sizeof(x));
    return Half(x);
  }
};

struct RowsQ8_0 {
  static float Scale(const uint8_t* block) {
    uint16_t d;
    __builtin_memcpy(&d, block, sizeof(d));
    return Half(d);
  }
  static const uint8_t* Block(const uint8_t* row, int64_t i) { return row + i / 32 * 34; }
  static __m256 LoadEight(const uint8_t* row, int64_t i) {
    const uint8_t* block = Block(row, i);
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(block + 2 + i % 32));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)) * _mm256_set1_ps(Scale(block));
  }
  static Vf LoadLanes(const uint8_t* row, int64_t i) {
#ifdef LORIKEET_SIMD_512
    const uint8_t* block = Block(row, i);
    return FloatsOf(LoadBytes(block + 2 + i % 32)).v[0] * Splat(Scale(block));
#else
    return LoadEight(row, i);
#endif
  }
  static float LoadOne(const uint8_t* row, int64_t i) {
    const uint8_t* block = Block(row, i);
    return Scale(block) * static_cast<float>(static_cast<int8_t>(block[2 + i % 32]));
  }
};

inline const uint8_t* RowAt(const CacheView& cache, int64_t kv_head, int64_t position) {
  return cache.data + kv_head * cache.head_bytes + position * cache.row_bytes;
}

// Walks over memory that will be read next, bringing it into the cache while a product is computed.
// (Nothing is read: addresses beyond the cache do no harm.)
struct Ahead {
  const uint8_t* at;
  int64_t step;
  void operator()() {
    _mm_prefetch(at, _MM_HINT_T1);
    at += step;
  }
};

// to [head_size, kTileCols]: column j is row j of `rows`; columns from `keys` on repeat the last.
template <typename Rows>
void TransposeKeys(const uint8_t* rows, int64_t row_bytes, int64_t keys, int64_t head_size,
                   float* to) {
  for (int64_t j = 0; j < keys; j += 8) {
    const uint8_t* row[8];
    for (int64_t i = 0; i < 8; ++i) row[i] = rows + Min(j + i, keys - 1) * row_bytes;
    int64_t k = 0;
    for (; k + 8 <= head_size; k += 8) {
      __m256 r[8];
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) r[i] = Rows::LoadEight(row[i], k);
      StoreTransposed8(r, to + k * kTileCols + j, kTileCols);
    }
    for (; k < head_size; ++k) {
      for (int i = 0; i < 8; ++i) to[k * kTileCols + j + i] = Rows::LoadOne(row[i], k);
    }
  }
}

// to [keys, width]: rows as floats; columns from head_size on are 0.
template <typename Rows>
void ConvertValues(const uint8_t* rows, int64_t row_bytes, int64_t keys, int64_t head_size,
                   int64_t width, float* to) {
  for (int64_t s = 0; s < keys; ++s) {
    const uint8_t* row = rows + s * row_bytes;
    float* out = to + s * width;
    int64_t i = 0;
    for (; i + kLanes <= head_size; i += kLanes) Store(out + i, Rows::LoadLanes(row, i));
    for (; i < width; ++i) out[i] = i < head_size ? Rows::LoadOne(row, i) : 0.0f;
  }
}

// --- Products ---

template <int kRows, int kVecs, typename EachStep>
inline void RunExactly(int64_t rows, const Tile& tile, EachStep each_step) {
  if (rows == kRows) return RunTile<kRows, kVecs, /*kUnitK=*/true>(tile, each_step);
  if constexpr (kRows > 1) RunExactly<kRows - 1, kVecs>(rows, tile, each_step);
}

// All rows against kVecs * kLanes columns, in register tiles of about equal height.  depth(r) <=
// tile.depth is how much of its depth row r needs, not decreasing in r.
template <int kVecs, typename Depth>
void RunBalanced(Tile tile, int64_t rows, Ahead ahead, const Depth& depth) {
  if (rows <= kTileRows) {  // few queries: memory is what takes the time
    tile.depth = depth(rows - 1);
    return RunExactly<kTileRows, kVecs>(rows, tile, ahead);
  }
  int64_t row = 0;
  for (int64_t left = (rows + kTileRows - 1) / kTileRows; left > 0; --left) {
    const int64_t height = (rows - row + left - 1) / left;
    row += height;
    tile.depth = depth(row - 1);
    RunExactly<kTileRows, kVecs>(height, tile, Nothing());
    tile.a += height * tile.a_stride;
    tile.c += height * tile.c_row;
  }
}

// --- A chunk ---

// What AttendChunk keeps on the stack.
struct ChunkBuffers {
  alignas(64) float q[kChunkNumbers];                   // [rows, head_size], times scale log2(e)
  alignas(64) float scores[kChunkRows * kScoreStride];  // [rows, kScoreStride]
  alignas(64) float tile[kValueTile * kMaxHeadSize];    // keys or values
};

struct ChunkSize {
  int64_t rows, keys, head_size, group, offset;
  // How many of the chunk's keys a row sees.
  int64_t Seen(const AttentionChunk& c, int64_t row) const {
    return Min(keys, offset + (c.row_begin + row) / group + 1 - c.key_begin);
  }
  // The first row that sees key `key` of the chunk.
  int64_t FirstRow(const AttentionChunk& c, int64_t key) const {
    return Max(0, (c.key_begin + key - offset) * group - c.row_begin);
  }
};

void PackQueries(const AttentionChunk& c, const ChunkSize& n, float* to) {
  const float scale = c.shape.scale * kLog2E;
  for (int64_t r = 0; r < n.rows; ++r) {
    const int64_t row = c.row_begin + r;
    const int64_t head = c.kv_head * n.group + row % n.group;
    const float* q = c.q.data + row / n.group * c.q.stride + head * n.head_size;
    for (int64_t i = 0; i < n.head_size; ++i) to[r * n.head_size + i] = q[i] * scale;
  }
}

template <typename Rows>
void Scores(const AttentionChunk& c, const ChunkSize& n, ChunkBuffers& buffers) {
  const uint8_t* rows = RowAt(c.k, c.kv_head, c.key_begin);
  const uint8_t* values = RowAt(c.v, c.kv_head, c.key_begin);
  for (int64_t key = 0; key < n.keys; key += kTileCols) {
    const int64_t keys = Min(kTileCols, n.keys - key);
    TransposeKeys<Rows>(rows + key * c.k.row_bytes, c.k.row_bytes, keys, n.head_size, buffers.tile);
    const int64_t first = n.FirstRow(c, key);
    RunBalanced<2>({.a = buffers.q + first * n.head_size,
                    .a_stride = n.head_size,
                    .b = buffers.tile,
                    .b_stride = kTileCols,
                    .depth = n.head_size,
                    .c = buffers.scores + first * kScoreStride + key,
                    .c_row = kScoreStride,
                    .alpha = 1.0f,
                    .accumulate = false},
                   n.rows - first,
                   {values + key * c.v.row_bytes, keys * c.v.row_bytes / n.head_size},
                   [&](int64_t) { return n.head_size; });
  }
}

// Turns the first `seen` scores, in powers of two, into 2^(score - largest), those up to `keys`
// into 0.
void SoftmaxRow(float* scores, int64_t seen, int64_t keys, float* partial) {
  const int64_t end = (seen + kLanes - 1) / kLanes * kLanes;
  for (int64_t i = seen; i < end; ++i) scores[i] = -3e38f;
  Vf top = Load(scores);
  for (int64_t i = kLanes; i < end; i += kLanes) top = VecMax(top, Load(scores + i));
  const float largest = LargestLane(top);
  Vf total = {};
  for (int64_t i = 0; i < end; i += kLanes) {
    const Vf p = Exp2(Load(scores + i) - largest);
    Store(scores + i, p);
    total += p;
  }
  for (int64_t i = end; i < keys; ++i) scores[i] = 0.0f;
  partial[0] = largest;
  partial[1] = Sum(total);
}

template <typename Rows>
void SumValues(const AttentionChunk& c, const ChunkSize& n, ChunkBuffers& buffers) {
  const uint8_t* rows = RowAt(c.v, c.kv_head, c.key_begin);
  const int64_t width = (n.head_size + kLanes - 1) / kLanes * kLanes;
  const int64_t stride = PartialStride(n.head_size);
  const uint8_t* next = c.next_keys == nullptr ? rows : c.next_keys;
  for (int64_t key = 0; key < n.keys; key += kValueTile) {
    const int64_t keys = Min(kValueTile, n.keys - key);
    ConvertValues<Rows>(rows + key * c.v.row_bytes, c.v.row_bytes, keys, n.head_size, width,
                        buffers.tile);
    const int64_t first = n.FirstRow(c, key);
    Tile tile{.a = buffers.scores + first * kScoreStride + key,
              .a_stride = kScoreStride,
              .b = buffers.tile,
              .b_stride = width,
              .depth = keys,
              .c = c.partials + first * stride + kPartialHeader,
              .c_row = stride,
              .alpha = 1.0f,
              .accumulate = key > 0};
    const auto depth = [&](int64_t r) { return Min(keys, n.Seen(c, first + r) - key); };
    Ahead ahead{next + key * c.k.row_bytes, c.k.row_bytes * kTileCols / width};
    for (int64_t i = 0; i < width; i += kTileCols) {
      tile.b = buffers.tile + i;
      tile.c = c.partials + first * stride + kPartialHeader + i;
      i + kTileCols <= width ? RunBalanced<2>(tile, n.rows - first, ahead, depth)
                             : RunBalanced<1>(tile, n.rows - first, ahead, depth);
      ahead.at += keys * ahead.step;
    }
  }
}

void AttendToChunk(const AttentionChunk& c) {
  ChunkBuffers buffers;
  const ChunkSize n{.rows = c.row_end - c.row_begin,
                    .keys = c.key_end - c.key_begin,
                    .head_size = c.shape.head_size,
                    .group = c.shape.heads / c.shape.kv_heads,
                    .offset = c.shape.query_offset};
  PackQueries(c, n, buffers.q);
  if (c.k.type == TensorType::kF16) {
    Scores<RowsF16>(c, n, buffers);
  } else {
    c.k.type == TensorType::kF32 ? Scores<RowsF32>(c, n, buffers) : Scores<RowsQ8_0>(c, n, buffers);
  }
  const int64_t stride = PartialStride(n.head_size);
  for (int64_t r = 0; r < n.rows; ++r) {
    SoftmaxRow(buffers.scores + r * kScoreStride, n.Seen(c, r), n.keys, c.partials + r * stride);
  }
  if (c.v.type == TensorType::kF16) {
    SumValues<RowsF16>(c, n, buffers);
  } else {
    c.v.type == TensorType::kF32 ? SumValues<RowsF32>(c, n, buffers)
                                 : SumValues<RowsQ8_0>(c, n, buffers);
  }
}

void FoldInto(const float* partial, int64_t head_size, float* sums) {
  const float largest = partial[0] > sums[0] ? partial[0] : sums[0];
  const float shrink_new = Exp2(Splat(partial[0] - largest))[0];
  const float shrink_old = Exp2(Splat(sums[0] - largest))[0];
  sums[0] = largest;
  sums[1] = sums[1] * shrink_old + partial[1] * shrink_new;
  // What lies between head_size and the stride is padding of both.
  for (int64_t i = kPartialHeader; i < kPartialHeader + head_size; i += kLanes) {
    Store(sums + i, Load(sums + i) * shrink_old + Load(partial + i) * shrink_new);
  }
}

// --- Storing ---

inline void StoreHalves(const float* src, int64_t n, uint8_t* dst) {
  const auto convert = [](__m256 x) {
    const __m256 low = _mm256_max_ps(_mm256_set1_ps(-65504.0f), x);  // NaN stays
    return _mm256_cvtps_ph(_mm256_min_ps(_mm256_set1_ps(65504.0f), low),
                           _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  };
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + 2 * i), convert(_mm256_loadu_ps(src + i)));
  }
  if (i == n) return;
  float lanes[8] = {};
  for (int64_t j = i; j < n; ++j) lanes[j - i] = src[j];
  const __m128i halves = convert(_mm256_loadu_ps(lanes));
  __builtin_memcpy(dst + 2 * i, &halves, 2 * (n - i));
}

inline void StoreQ8Block(const float* x, uint8_t* block) {
  Vf top = {};
  for (int j = 0; j < 32; j += kLanes) top = VecMax(top, VecMax(Load(x + j), -Load(x + j)));
  const float wanted = LargestLane(top) / 127.0f;
  const uint16_t d = _cvtss_sh(wanted < 65504.0f ? wanted : 65504.0f, _MM_FROUND_TO_NEAREST_INT);
  const float scale = Half(d);
  const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
  __builtin_memcpy(block, &d, sizeof(d));
  for (int j = 0; j < 32; j += kLanes) {
    const Vf clamped = VecMin(VecMax(Load(x + j) * inverse, Splat(-127.0f)), Splat(127.0f));
    const Vi q = ToInt(clamped);
    for (int i = 0; i < kLanes; ++i) block[2 + j + i] = static_cast<uint8_t>(q[i]);
  }
}

void StoreRow(const float* src, int64_t n, TensorType type, uint8_t* dst) {
  if (type == TensorType::kF16) return StoreHalves(src, n, dst);
  if (type == TensorType::kF32) {
    __builtin_memcpy(dst, src, 4 * n);
    return;
  }
  for (int64_t i = 0; i < n; i += 32) StoreQ8Block(src + i, dst + i / 32 * 34);
}

}  // namespace
}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_SIMD_CACHED_ATTENTION_INL_H_
