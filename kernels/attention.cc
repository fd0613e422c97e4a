#include "kernels/attention.h"

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

}  // namespace

void Attention(ConstMatrix q, ConstMatrix k, ConstMatrix v, const AttentionShape& shape, Matrix out,
               Matrix log_sum_exp, ThreadPool* pool) {
  CheckShape(q, k, v, shape);
  LORIKEET_CHECK(out.rows == q.rows && out.cols == q.cols);
  const auto& kernels = Kernels();
  Split(pool, shape.heads, ScoreWork(q, shape), [&](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; ++head) {
      kernels.attention(q, k, v, shape, out, log_sum_exp, static_cast<int>(head), 0, q.rows);
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
  // Gradients of a key/value head gather from its query heads only, so these are independent.
  Split(pool, shape.kv_heads, 3 * ScoreWork(args.q, shape), [&](int64_t begin, int64_t end) {
    for (int64_t kv_head = begin; kv_head < end; ++kv_head) {
      kernels.attention_backward(args, shape, static_cast<int>(kv_head));
    }
  });
}

}  // namespace lorikeet
