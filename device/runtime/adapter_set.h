// The adapters that are active in a session, in the form that its arithmetic wants.
//
// Exact arithmetic uses each adapter's float factors as they are.  Fast arithmetic uses, for each
// layer and input of products, one first factor: the rows of A of all adapters and of all weights
// that multiply this input, rounded like a quantized weight and multiplied by the same kernels; and
// for each weight one second factor B of IEEE halves.  Every row of A and column of B is divided by
// its largest magnitude first, so that neither rounding depends on how an adapter splits its size
// between A and B; the scale of the hidden value makes up for it.
#ifndef LORIKEET_DEVICE_RUNTIME_ADAPTER_SET_H_
#define LORIKEET_DEVICE_RUNTIME_ADAPTER_SET_H_

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "kernels/views.h"

namespace lorikeet {

// Names an active adapter of one session.  Never used twice.
using AdapterHandle = int64_t;

// Products of one input.
enum class ProductInput : uint8_t { kAttention, kOutput, kFeedForward, kDown };
inline constexpr int kProductInputCount = 4;
// The weights that multiply it: Q, K, V; O; gate, up; down.
std::span<const Module> ModulesOf(ProductInput input);
inline constexpr int kMaxModulesOfInput = 3;

// One adapter's factors beside one weight; borrowed.
struct LowRank {
  ConstMatrix a;  // [R, C]
  ConstMatrix b;  // [OC, R]
  float scale = 1.0f;
};

// All adapters' factors beside the weights of one input, rounded.
struct RoundedLowRank {
  WeightView a;               // [sum R, C]; empty: no adapter here
  std::vector<float> scales;  // [sum R], of the hidden values
  struct Part {
    int64_t begin = 0, end = 0;    // columns of the hidden values
    MatrixView<const uint16_t> b;  // [OC, end - begin]
  };
  std::array<Part, kMaxModulesOfInput> parts;  // by position in ModulesOf

  // Storage and what scales are made of.
  std::vector<uint8_t> a_bytes;
  std::vector<uint16_t> b_halves;
  std::vector<float> units;
  std::vector<AdapterHandle> owners;
};

// Not thread-safe.
class AdapterSet {
 public:
  // exact: factors are used as floats, else rounded.
  AdapterSet(std::shared_ptr<const Model> model, bool exact);

  // `ref` is borrowed until removed.  Errors as Model::CheckAdapter.
  absl::StatusOr<AdapterHandle> Add(const AdapterRef& ref);
  // NOT_FOUND: no such adapter here.
  absl::Status Remove(AdapterHandle handle);
  absl::Status SetScale(AdapterHandle handle, float scale);
  void Clear();
  // In the order of adding.
  std::vector<AdapterRef> refs() const;

  // Must be called after changes and before the look-ups below.
  void Prepare(ThreadPool* pool);

  // Exact arithmetic only.
  std::span<const LowRank> Floats(int layer, Module module) const;
  // Fast arithmetic only.
  const RoundedLowRank& Rounded(int layer, ProductInput input) const {
    return rounded_[layer * kProductInputCount + static_cast<int>(input)];
  }

 private:
  struct Active {
    AdapterHandle handle = 0;
    AdapterRef ref;
    std::vector<std::vector<float>> effective_b;  // of core adapters, by matrix
  };
  // One matrix of one adapter beside one weight.
  struct Piece {
    const Active* active = nullptr;
    const AdapterMatrix* matrix = nullptr;
    const float* b = nullptr;
  };
  std::vector<Piece> PiecesOf(int layer, Module module) const;
  void FillFloats();
  // Rounds the factors of one matrix behind those that `group` holds; halves [OC, ranks of part].
  static void AppendRounded(const Piece& piece, const RoundedLowRank::Part& part, uint16_t* halves,
                            RoundedLowRank& group);
  void FillRounded(int layer, ProductInput input, RoundedLowRank& group) const;
  void FillScales(RoundedLowRank& group) const;
  absl::StatusOr<size_t> Find(AdapterHandle handle) const;

  std::shared_ptr<const Model> model_;
  const bool exact_;
  std::vector<Active> active_;
  AdapterHandle next_handle_ = 1;
  bool factors_changed_ = false;
  bool scales_changed_ = false;
  std::vector<std::vector<LowRank>> floats_;  // [layer * kModuleCount + module]
  std::vector<RoundedLowRank> rounded_;       // [layer * kProductInputCount + input]
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_ADAPTER_SET_H_
