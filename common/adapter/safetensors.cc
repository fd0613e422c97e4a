#include "common/adapter/safetensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/adapter/half_floats.h"
#include "common/adapter/safetensors_header.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "nlohmann/json.hpp"

namespace lorikeet {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors is little-endian");
constexpr size_t kLengthBytes = 8;
constexpr char kSupported[] = "F32, F16 or BF16";

absl::StatusOr<std::string_view> HeaderOf(std::span<const uint8_t> bytes) {
  if (bytes.size() < kLengthBytes) {
    return absl::InvalidArgumentError(absl::StrCat("not a safetensors file: expected at least ",
                                                   kLengthBytes, " bytes, got ", bytes.size()));
  }
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  const uint64_t room = bytes.size() - kLengthBytes;
  if (length < 2 || length > kMaxSafetensorsHeaderBytes || length > room) {
    return absl::InvalidArgumentError(absl::StrCat(
        "not a safetensors file: expected a header of 2 to ",
        std::min(room, kMaxSafetensorsHeaderBytes), " bytes, its length says ", length));
  }
  return AsChars(bytes.subspan(kLengthBytes, length));
}

// elements * bytes of one; nothing if that does not fit in 63 bits.
std::optional<uint64_t> SizeOf(const std::vector<uint64_t>& shape, uint64_t element_bytes) {
  uint64_t size = element_bytes;
  // A zero makes the product zero, whatever the other numbers are.
  if (std::ranges::find(shape, 0u) != shape.end()) size = 0;
  for (const uint64_t length : shape) {
    if (length > uint64_t{INT64_MAX}) return std::nullopt;
    if (size != 0 && length > uint64_t{INT64_MAX} / size) return std::nullopt;
    size *= length;
  }
  return size;
}

// The entry as a tensor that begins at `position` of `data`.
absl::StatusOr<SafetensorsTensor> Place(const SafetensorsEntry& entry,
                                        std::span<const uint8_t> data, uint64_t position) {
  const std::string shown = ShownBytes(entry.name);
  const std::optional<TensorType> type = ParseTensorType(entry.dtype);
  if (!type || !IsFloatType(*type) || TraitsOf(*type).name != entry.dtype) {
    return absl::InvalidArgumentError(
        absl::StrCat(shown, ": expected dtype ", kSupported, ", got ", ShownBytes(entry.dtype)));
  }
  if (entry.begin != position) {
    return absl::InvalidArgumentError(absl::StrCat(
        shown, ": expected data from byte ", position, ", where the data before it ends, got ",
        entry.begin > position ? "a gap up to " : "an overlap from ", entry.begin));
  }
  if (entry.end < entry.begin || entry.end > data.size()) {
    return absl::InvalidArgumentError(absl::StrCat(shown, ": expected an end from ", entry.begin,
                                                   " to ", data.size(), ", the bytes of data, got ",
                                                   entry.end));
  }
  const auto size = SizeOf(entry.shape, static_cast<uint64_t>(TraitsOf(*type).block_bytes));
  if (!size || entry.end - entry.begin != *size) {
    return absl::InvalidArgumentError(absl::StrCat(
        shown, ": expected ", size ? absl::StrCat(*size, " bytes") : "fewer than 2^63 bytes",
        " for its dtype and shape, got ", entry.end - entry.begin));
  }
  SafetensorsTensor tensor;
  tensor.name = entry.name;
  tensor.type = *type;
  tensor.shape.assign(entry.shape.begin(), entry.shape.end());
  tensor.data = data.subspan(entry.begin, *size);
  return tensor;
}

absl::StatusOr<std::vector<SafetensorsTensor>> PlaceAll(std::vector<SafetensorsEntry> entries,
                                                        std::span<const uint8_t> data) {
  std::ranges::stable_sort(
      entries, {}, [](const SafetensorsEntry& entry) { return std::pair(entry.begin, entry.end); });
  std::vector<SafetensorsTensor> tensors;
  uint64_t position = 0;
  for (const SafetensorsEntry& entry : entries) {
    ASSIGN_OR_RETURN(SafetensorsTensor tensor, Place(entry, data, position));
    position += tensor.data.size();
    tensors.push_back(std::move(tensor));
  }
  if (position != data.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected ", position, " bytes of data for all tensors, got ", data.size()));
  }
  return tensors;
}

}  // namespace

int64_t SafetensorsTensor::elements() const {
  return static_cast<int64_t>(data.size()) / TraitsOf(type).block_bytes;
}

std::vector<float> SafetensorsTensor::Values() const { return WidenFloats(type, data); }

absl::StatusOr<SafetensorsFile> SafetensorsFile::Parse(std::span<const uint8_t> bytes) {
  ASSIGN_OR_RETURN(const std::string_view header, HeaderOf(bytes));
  ASSIGN_OR_RETURN(SafetensorsHeader parsed, ParseSafetensorsHeader(header));
  SafetensorsFile file;
  file.metadata_ = std::move(parsed.metadata);
  ASSIGN_OR_RETURN(file.tensors_, PlaceAll(std::move(parsed.entries),
                                           bytes.subspan(kLengthBytes + header.size())));
  return file;
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> mapped, MappedFile::Open(path));
  absl::StatusOr<SafetensorsFile> file = Parse(mapped->bytes());
  if (!file.ok()) return Annotate(file.status(), path);
  file->file_ = std::move(mapped);
  return file;
}

absl::Status SafetensorsWriter::AddTensor(const std::string& name, TensorType type,
                                          std::vector<int64_t> shape,
                                          std::span<const float> values) {
  LORIKEET_CHECK(name != kSafetensorsMetadataKey && names_.insert(name).second);
  const auto size = SizeOf({shape.begin(), shape.end()}, 1);
  LORIKEET_CHECK(size && *size == values.size());
  std::string data = NarrowFloats(type, values);
  if (type != TensorType::kF32) {
    const std::vector<float> back = WidenFloats(type, AsBytes(data));
    for (size_t i = 0; i < back.size(); ++i) {
      if (std::isfinite(values[i]) && !std::isfinite(back[i])) {
        return absl::InvalidArgumentError(absl::StrCat(name, ": expected values that fit ",
                                                       TraitsOf(type).name, ", got ", values[i]));
      }
    }
  }
  tensors_.push_back({name, type, std::move(shape), std::move(data)});
  return absl::OkStatus();
}

std::string SafetensorsWriter::Serialize() const {
  json header = json::object();
  if (!metadata_.empty()) header[kSafetensorsMetadataKey] = metadata_;
  uint64_t position = 0;
  for (const Tensor& tensor : tensors_) {
    header[tensor.name] = {{"dtype", TraitsOf(tensor.type).name},
                           {"shape", tensor.shape},
                           {"data_offsets", {position, position + tensor.data.size()}}};
    position += tensor.data.size();
  }
  std::string text = header.dump(-1, ' ', false, json::error_handler_t::replace);
  text.resize((text.size() + kLengthBytes - 1) / kLengthBytes * kLengthBytes, ' ');
  std::string bytes(kLengthBytes, '\0');
  const uint64_t length = text.size();
  std::memcpy(bytes.data(), &length, kLengthBytes);
  bytes += text;
  for (const Tensor& tensor : tensors_) bytes += tensor.data;
  return bytes;
}

}  // namespace lorikeet
