// The shared factors of a catalog, see catalog_builder.h.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_BASIS_H_
#define LORIKEET_DEVICE_PERSONALIZATION_BASIS_H_

#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/personalization/catalog_builder.h"
#include "device/trainer/gradient.h"

namespace lorikeet {

// Matrices with orthonormal A rows and B columns, no core.  `groups` are batches of public text.
absl::StatusOr<std::vector<AdapterMatrix>> GradientBasis(
    std::shared_ptr<const Model> model, ThreadPool* pool,
    std::span<const std::vector<Sequence>> groups, const BasisOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_BASIS_H_
