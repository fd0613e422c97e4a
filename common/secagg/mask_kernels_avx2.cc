// mask_kernels.h with AVX2.
#define LORIKEET_LANES 8
#include "common/secagg/mask_kernels_inl.h"

namespace lorikeet {

void SumStreamsAvx2(const MaskTile& tile, uint8_t* out) {
  tile.half_words ? SumStreams<HalfLanes>(tile, out) : SumStreams<Lanes>(tile, out);
}

}  // namespace lorikeet
