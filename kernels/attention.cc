#include "kernels/attention.h"

#include <algorithm>

#include "common/base/status_macros.h"
#include "kernels/kernel_table.h"
#include "kernels/parallel.h"

namespace lorikeet {
namespace {

void CheckShape(const ConstMatrix& q, const ConstMatrix& k, const ConstMatrix& v,
                const AttentionShape& shape) {
  LORIKEET_CHECK(shape.head_size > 0 && shape.head_size <= kMaxHeadSize);
  LORIKEET_CHECK(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0);
  LORIKEET_CHECK(q.cols == shape.heads * shape.head_size);
  LORIKEET_CHECK(k.cols == shape.kv_heads * shape.head_size && v.cols == k.cols);
  LORIKEET_CHECK(k.rows >= shape.query_offset + q.rows && v.rows >= shape.query_offset + q.rows);
}

double ScoreWork(const ConstMatrix& q, const AttentionShape& shape) {
  const double keys = static_cast<double>(shape.query_offset) + static_cast<double>(q.rows) / 2;
  return 4.0 * static_cast<double>(q.rows * q.cols) * keys;
}

int64_t Blocks(int64_t rows) { return (rows + kAttentionBlock - 1) / kAttentionBlock; }

// The last, the first, the last but one, the second, ...: blocks of queries have the more keys the
// later they are, and neighbours in this order together the same.
int64_t InBalance(int64_t i, int64_t blocks) { return i % 2 == 0 ? blocks - 1 - i / 2 : i / 2; }

}  // namespace

void Attention(ConstMatrix q, ConstMatrix k, ConstMatrix v, const AttentionShape& shape, Matrix out,
               Matrix log_sum_exp, ThreadPool* pool) {
  CheckShape(q, k, v, shape);
  LORIKEET_CHECK(out.rows == q.rows && out.cols == q.cols);
  const auto& kernels = Kernels();
  const int64_t blocks = Blocks(q.rows);
  Split(pool, shape.kv_heads * blocks, ScoreWork(q, shape), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t t = InBalance(i % blocks, blocks) * kAttentionBlock;
      kernels.attention(q, k, v, shape, out, log_sum_exp, static_cast<int>(i / blocks), t,
                        std::min(q.rows, t + kAttentionBlock));
    }
  });
}

void AttentionBackward(const AttentionBackwardArgs& args, const AttentionShape& shape,
                       ThreadPool* pool) {
  CheckShape(args.q, args.k, args.v, shape);
  LORIKEET_CHECK(args.d_k.rows >= shape.query_offset + args.q.rows);
  LORIKEET_CHECK(args.d_v.rows >= shape.query_offset + args.q.rows);
  LORIKEET_CHECK(args.delta.rows == shape.heads && args.delta.cols == args.q.rows);
  LORIKEET_CHECK(args.log_sum_exp.rows == shape.heads && args.log_sum_exp.cols == args.q.rows);
  const auto& kernels = Kernels();
  const int64_t blocks = Blocks(args.q.rows);
  const int64_t diagonal = Blocks(shape.query_offset);
  const double work = 3 * ScoreWork(args.q, shape);
  Split(pool, shape.kv_heads, work, [&](int64_t begin, int64_t end) {
    for (int64_t kv_head = begin; kv_head < end; ++kv_head) {
      kernels.attention_backward_start(args, shape, static_cast<int>(kv_head));
    }
  });
  // Block i of queries against block i + diagonal - distance of keys: at one distance no two pairs
  // of blocks share queries or keys, so that nobody adds to another's sums, and every sum has its
  // order.
  for (int64_t distance = 0; distance < blocks + diagonal; ++distance) {
    const int64_t first = std::max<int64_t>(0, distance - diagonal);
    const int64_t count = blocks - first;
    Split(pool, shape.kv_heads * count, work / static_cast<double>(blocks + diagonal),
          [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) {
              const int64_t block = first + i % count;
              kernels.attention_backward(args, shape, static_cast<int>(i / count),
                                         block * kAttentionBlock,
                                         (block + diagonal - distance) * kAttentionBlock);
            }
          });
  }
}

}  // namespace lorikeet
