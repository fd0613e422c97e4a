// Shaped views that kernels take: pointers with sizes, nothing owned.
//
// Dimension letters: T time (positions), C input channels, OC output channels, H heads, R rank.
// Row-major throughout.
#ifndef LORIKEET_KERNELS_VIEWS_H_
#define LORIKEET_KERNELS_VIEWS_H_

#include <cstdint>
#include <type_traits>

#include "common/base/tensor_type.h"

namespace lorikeet {

// A [rows, cols] matrix of T whose rows start `stride` elements apart.
template <typename T>
struct MatrixView {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  MatrixView() = default;
  MatrixView(T* d, int64_t r, int64_t c) : data(d), rows(r), cols(c), stride(c) {}
  MatrixView(T* d, int64_t r, int64_t c, int64_t s) : data(d), rows(r), cols(c), stride(s) {}
  // A view of mutable data is a view of const data.
  template <typename U>
    requires(std::is_same_v<const U, T>)
  MatrixView(const MatrixView<U>& other)  // NOLINT(google-explicit-constructor)
      : data(other.data), rows(other.rows), cols(other.cols), stride(other.stride) {}

  T* row(int64_t r) const { return data + r * stride; }
  MatrixView Rows(int64_t begin, int64_t end) const {
    return {data + begin * stride, end - begin, cols, stride};
  }
};

using Matrix = MatrixView<float>;
using ConstMatrix = MatrixView<const float>;

// A weight matrix W [rows = OC, cols = C] of any TensorType, as it lies in a GGUF file (a row is
// `row_bytes` long).
struct WeightView {
  TensorType type = TensorType::kF32;
  const uint8_t* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_bytes = 0;

  const uint8_t* row(int64_t r) const { return data + r * row_bytes; }
  bool empty() const { return data == nullptr; }
};

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_VIEWS_H_
