// How fast a mapped file can be read: the ceiling of decoding, which reads every weight once a
// token.
#ifndef LORIKEET_DEVICE_CLI_MEMORY_BANDWIDTH_H_
#define LORIKEET_DEVICE_CLI_MEMORY_BANDWIDTH_H_

#include <cstdint>
#include <span>

#include "common/base/thread_pool.h"

namespace lorikeet {

// Bytes a second that the pool's threads read of `bytes` (not empty), in the pages in
// which the system maps them; the median of some passes behind one that warms up.  Of a file
// smaller than the processor's caches this is what the caches give.
double MeasureReadBandwidth(std::span<const uint8_t> bytes, ThreadPool* pool);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_MEMORY_BANDWIDTH_H_
