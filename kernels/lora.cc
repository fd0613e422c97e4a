#include "kernels/lora.h"

#include "kernels/matmul.h"

namespace lorikeet {

void LoraForward(ConstMatrix x, ConstMatrix a, ConstMatrix b, float scale, Matrix h, Matrix y,
                 ThreadPool* pool) {
  GemmNT(x, a, h, 1.0f, /*accumulate=*/false, pool);
  GemmNT(h, b, y, scale, /*accumulate=*/true, pool);
}

void LoraBackward(const LoraBackwardArgs& args, ThreadPool* pool) {
  if (args.d_b.data != nullptr) {
    GemmTN(args.d_y, args.h, args.d_b, args.scale, /*accumulate=*/true, pool);
  }
  if (args.d_a.data == nullptr && args.d_x.data == nullptr) return;
  GemmNN(args.d_y, args.b, args.d_h, args.scale, /*accumulate=*/false, pool);
  if (args.d_a.data != nullptr) {
    GemmTN(args.d_h, args.x, args.d_a, 1.0f, /*accumulate=*/true, pool);
  }
  if (args.d_x.data != nullptr) {
    GemmNN(args.d_h, args.a, args.d_x, 1.0f, /*accumulate=*/true, pool);
  }
}

void CoreForward(ConstMatrix x, ConstMatrix a, ConstMatrix core, ConstMatrix b, float scale,
                 Matrix h, Matrix g, Matrix y, ThreadPool* pool) {
  GemmNT(x, a, h, 1.0f, /*accumulate=*/false, pool);
  GemmNT(h, core, g, 1.0f, /*accumulate=*/false, pool);
  GemmNT(g, b, y, scale, /*accumulate=*/true, pool);
}

void CoreBackward(const CoreBackwardArgs& args, ThreadPool* pool) {
  GemmNN(args.d_y, args.b, args.d_g, args.scale, /*accumulate=*/false, pool);
  if (args.d_core.data != nullptr) {
    GemmTN(args.d_g, args.h, args.d_core, 1.0f, /*accumulate=*/true, pool);
  }
  if (args.d_x.data != nullptr) {
    GemmNN(args.d_g, args.core, args.d_h, 1.0f, /*accumulate=*/false, pool);
    GemmNN(args.d_h, args.a, args.d_x, 1.0f, /*accumulate=*/true, pool);
  }
}

}  // namespace lorikeet
