// The adapters of a computation, ready to be applied: which rows of the batch each one is for, its
// factors and scale, and where its gradient goes.
#ifndef LORIKEET_DEVICE_TRAINER_ACTIVE_ADAPTERS_H_
#define LORIKEET_DEVICE_TRAINER_ACTIVE_ADAPTERS_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "common/adapter/adapter.h"
#include "device/model/model.h"
#include "device/trainer/gradient.h"
#include "kernels/views.h"

namespace lorikeet {

// One adapter on one weight, for the rows [begin, end) of the batch.  Borrows the factors.
struct ActiveMatrix {
  ConstMatrix a = {};     // [R, in]
  ConstMatrix b = {};     // [out, R]; B R for a frozen core
  ConstMatrix core = {};  // [R, R] for a trained core, else no data
  float scale = 1.0f;
  MatrixGradient* gradient = nullptr;  // zeroed, of the right size; null: frozen
  int64_t begin = 0;
  int64_t end = 0;

  int64_t rank() const { return a.rows; }
  int64_t rows() const { return end - begin; }
};
// By Module.
using LayerAdapters = std::array<std::vector<ActiveMatrix>, kModuleCount>;

// Of a call, by layer, with the factors that have to be made for it.
struct ActiveAdapters {
  explicit ActiveAdapters(int layer_count)
      : layers(layer_count), lowest_trained_layer(layer_count) {}

  // Adds one learner's, for rows [begin, end); sizes and zeroes its gradients.  Errors as
  // CheckAdapter.
  absl::Status Add(const Model& model, const LearnerBatch& learner, int64_t begin, int64_t end);

  std::vector<LayerAdapters> layers;
  std::vector<std::vector<float>> owned_factors;  // B R of frozen cores
  int lowest_trained_layer;                       // with a gradient; layer_count: none

 private:
  void AddMatrix(const AdapterMatrix& matrix, float scale, ActiveMatrix active);
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_ACTIVE_ADAPTERS_H_
