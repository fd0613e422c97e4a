#include "common/gguf/writer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/gguf/format.h"

namespace lorikeet {
namespace {

template <typename T>
void Put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void PutString(std::string& out, std::string_view value) {
  Put<uint64_t>(out, value.size());
  out.append(value);
}

std::string Typed(GgufType type) {
  std::string out;
  Put(out, static_cast<uint32_t>(type));
  return out;
}

std::string TypedArray(GgufType element, size_t count) {
  std::string out = Typed(GgufType::kArray);
  Put(out, static_cast<uint32_t>(element));
  Put<uint64_t>(out, count);
  return out;
}

template <typename T>
std::string Scalar(GgufType type, T value) {
  std::string out = Typed(type);
  Put(out, value);
  return out;
}

}  // namespace

void GgufWriter::AddEncoded(std::string_view key, std::string encoded) {
  const bool inserted = keys_.insert(std::string(key)).second;
  LORIKEET_CHECK(inserted);
  LORIKEET_CHECK(!key.empty() && key.size() <= kGgufMaxNameBytes);
  entries_.push_back({std::string(key), std::move(encoded)});
}

void GgufWriter::AddString(std::string_view key, std::string_view value) {
  std::string encoded = Typed(GgufType::kString);
  PutString(encoded, value);
  AddEncoded(key, std::move(encoded));
}

void GgufWriter::AddBool(std::string_view key, bool value) {
  AddEncoded(key, Scalar<uint8_t>(GgufType::kBool, value ? 1 : 0));
}

void GgufWriter::AddUint32(std::string_view key, uint32_t value) {
  AddEncoded(key, Scalar(GgufType::kUint32, value));
}

void GgufWriter::AddUint64(std::string_view key, uint64_t value) {
  AddEncoded(key, Scalar(GgufType::kUint64, value));
}

void GgufWriter::AddFloat32(std::string_view key, float value) {
  AddEncoded(key, Scalar(GgufType::kFloat32, value));
}

void GgufWriter::AddStrings(std::string_view key, const std::vector<std::string>& values) {
  std::string encoded = TypedArray(GgufType::kString, values.size());
  for (const std::string& value : values) PutString(encoded, value);
  AddEncoded(key, std::move(encoded));
}

void GgufWriter::AddFloat32s(std::string_view key, std::span<const float> values) {
  std::string encoded = TypedArray(GgufType::kFloat32, values.size());
  for (const float value : values) Put(encoded, value);
  AddEncoded(key, std::move(encoded));
}

void GgufWriter::AddInt32s(std::string_view key, std::span<const int32_t> values) {
  std::string encoded = TypedArray(GgufType::kInt32, values.size());
  for (const int32_t value : values) Put(encoded, value);
  AddEncoded(key, std::move(encoded));
}

void GgufWriter::CopyMetadata(const GgufFile& from, std::string_view key) {
  const std::span<const uint8_t> raw = from.RawMetadata(key);
  LORIKEET_CHECK(!raw.empty());
  // We align to the default, so another file's alignment would be a lie here.
  LORIKEET_CHECK(key != "general.alignment");
  AddEncoded(key, std::string(AsChars(raw)));
}

void GgufWriter::DeclareTensor(std::string_view name, TensorType type, std::vector<int64_t> shape) {
  LORIKEET_CHECK(tensor_names_.insert(std::string(name)).second);
  LORIKEET_CHECK(!name.empty() && name.size() <= kGgufMaxNameBytes);
  LORIKEET_CHECK(!shape.empty() && shape.size() <= kGgufMaxDimensions);
  int64_t rows = 1;
  for (const int64_t size : shape) LORIKEET_CHECK(size > 0);
  for (size_t d = 1; d < shape.size(); ++d) rows *= shape[d];
  LORIKEET_CHECK(shape[0] % TraitsOf(type).block_elements == 0);
  const auto bytes = static_cast<uint64_t>(RowBytes(type, shape[0]) * rows);
  tensors_.push_back({std::string(name), type, std::move(shape), bytes, ""});
}

void GgufWriter::AddTensor(std::string_view name, TensorType type, std::vector<int64_t> shape,
                           std::span<const uint8_t> data) {
  DeclareTensor(name, type, std::move(shape));
  LORIKEET_CHECK(data.size() == tensors_.back().bytes);
  tensors_.back().data = AsChars(data);
}

void GgufWriter::AddTensor(std::string_view name, std::vector<int64_t> shape,
                           std::span<const float> data) {
  AddTensor(name, TensorType::kF32, std::move(shape),
            {reinterpret_cast<const uint8_t*>(data.data()), data.size_bytes()});
}

std::string GgufWriter::SerializeHead() const {
  std::string out;
  Put(out, kGgufMagic);
  Put(out, kGgufNewestVersion);
  Put<uint64_t>(out, tensors_.size());
  Put<uint64_t>(out, entries_.size());
  for (const Entry& entry : entries_) {
    PutString(out, entry.key);
    out.append(entry.encoded);
  }
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    PutString(out, tensor.name);
    Put(out, static_cast<uint32_t>(tensor.shape.size()));
    for (const int64_t size : tensor.shape) Put(out, size);
    Put(out, static_cast<uint32_t>(tensor.type));
    Put(out, offset);
    offset += GgufAligned(tensor.bytes);
  }
  out.resize(GgufAligned(out.size()), '\0');
  return out;
}

std::vector<uint64_t> GgufWriter::TensorSizes() const {
  std::vector<uint64_t> sizes;
  for (const Tensor& tensor : tensors_) sizes.push_back(tensor.bytes);
  return sizes;
}

std::string GgufWriter::Serialize() const {
  std::string out = SerializeHead();
  uint64_t data_bytes = 0;
  for (const Tensor& tensor : tensors_) data_bytes += GgufAligned(tensor.bytes);
  out.reserve(out.size() + data_bytes);
  for (const Tensor& tensor : tensors_) {
    LORIKEET_CHECK(tensor.data.size() == tensor.bytes);
    out.append(tensor.data);
    out.resize(GgufAligned(out.size()), '\0');
  }
  return out;
}

absl::Status GgufWriter::Write(const std::string& path) const {
  return WriteFileAtomic(path, Serialize());
}

}  // namespace lorikeet
