// mask_kernels.h with AVX-512.
#define LORIKEET_LANES 16
#include "common/secagg/mask_kernels_inl.h"

namespace lorikeet {

void SumStreamsAvx512(const MaskTile& tile, uint8_t* out) {
  tile.half_words ? SumStreams<HalfLanes>(tile, out) : SumStreams<Lanes>(tile, out);
}

}  // namespace lorikeet
