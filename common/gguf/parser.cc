#include "common/gguf/parser.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <type_traits>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr size_t kShownBytes = 80;

// Names come from the file: escaped and cut, so that a hostile one cannot play with a terminal.
std::string Quoted(std::string_view name) {
  return absl::StrCat("\"", absl::CHexEscape(ToAbsl(name.substr(0, kShownBytes))),
                      name.size() > kShownBytes ? "..." : "", "\"");
}

}  // namespace

std::shared_ptr<GgufFile> GgufParser::NewFile(std::string path, std::unique_ptr<MappedFile> mapping,
                                              std::span<const uint8_t> bytes) {
  std::shared_ptr<GgufFile> file(new GgufFile());
  file->path_ = std::move(path);
  file->file_ = std::move(mapping);
  file->bytes_ = bytes;
  return file;
}

absl::Status GgufParser::Malformed(std::string_view message) const {
  return absl::InvalidArgumentError(
      absl::StrCat("malformed GGUF at byte ", position_, ": ", ToAbsl(message)));
}

absl::Status GgufParser::Truncated(std::string_view what, uint64_t need) const {
  return absl::InvalidArgumentError(
      absl::StrFormat("truncated GGUF at byte %d: %s needs %d bytes, %d are left", position_,
                      absl::CHexEscape(ToAbsl(what.substr(0, kShownBytes))), need, remaining()));
}

template <typename T>
absl::StatusOr<T> GgufParser::Number(std::string_view what) {
  if (remaining() < sizeof(T)) return Truncated(what, sizeof(T));
  T value;
  std::memcpy(&value, bytes_.data() + position_, sizeof(T));
  position_ += sizeof(T);
  return value;
}

absl::StatusOr<std::string_view> GgufParser::String(std::string_view what, uint64_t limit) {
  ASSIGN_OR_RETURN(const uint64_t length, Number<uint64_t>(what));
  if (length > limit) {
    return Malformed(
        absl::StrCat(ToAbsl(what), " of ", length, " bytes; at most ", limit, " are allowed"));
  }
  if (length > remaining()) return Truncated(what, length);
  const std::string_view value = AsChars(bytes_.subspan(position_, length));
  position_ += length;
  return value;
}

absl::Status GgufParser::Parse() {
  RETURN_IF_ERROR(Header());
  RETURN_IF_ERROR(Metadata());
  RETURN_IF_ERROR(Alignment());
  RETURN_IF_ERROR(TensorInfos());
  return PlaceTensors();
}

absl::Status GgufParser::Header() {
  if (bytes_.size() < sizeof(uint32_t) ||
      std::memcmp(bytes_.data(), &kGgufMagic, sizeof(kGgufMagic)) != 0) {
    return absl::InvalidArgumentError("not a GGUF file: it does not start with \"GGUF\"");
  }
  position_ = sizeof(uint32_t);
  ASSIGN_OR_RETURN(const uint32_t version, Number<uint32_t>("the version"));
  const uint32_t swapped = __builtin_bswap32(version);
  if (swapped >= 1 && swapped <= kGgufNewestVersion) {
    return absl::InvalidArgumentError(
        absl::StrCat("big-endian GGUF (version ", swapped, "): only little-endian is supported"));
  }
  if (version < kGgufOldestVersion || version > kGgufNewestVersion) {
    return absl::InvalidArgumentError(absl::StrCat("GGUF version ", version,
                                                   " is not supported: expected ",
                                                   kGgufOldestVersion, " or ", kGgufNewestVersion));
  }
  file_.version_ = version;
  ASSIGN_OR_RETURN(tensor_count_, Number<uint64_t>("the tensor count"));
  ASSIGN_OR_RETURN(metadata_count_, Number<uint64_t>("the metadata count"));
  if (tensor_count_ > kGgufMaxTensors) {
    return Malformed(absl::StrCat(tensor_count_, " tensors; at most ", kGgufMaxTensors));
  }
  if (metadata_count_ > kGgufMaxMetadata) {
    return Malformed(absl::StrCat(metadata_count_, " metadata keys; at most ", kGgufMaxMetadata));
  }
  return absl::OkStatus();
}

absl::Status GgufParser::Metadata() {
  for (uint64_t i = 0; i < metadata_count_; ++i) {
    ASSIGN_OR_RETURN(const std::string_view key, String("a metadata key", kGgufMaxNameBytes));
    if (key.empty()) return Malformed("an empty metadata key");
    const uint64_t start = position_;
    ASSIGN_OR_RETURN(const uint32_t type, Number<uint32_t>("a metadata type"));
    ASSIGN_OR_RETURN(GgufValue value, Value(key, type));
    const bool is_array = static_cast<GgufType>(type) == GgufType::kArray;
    if (is_array && !without_.empty() && key.starts_with(without_)) continue;
    if (!file_.metadata_.emplace(key, std::move(value)).second) {
      return Malformed(absl::StrCat("metadata key ", Quoted(key), " appears twice"));
    }
    file_.raw_metadata_.emplace(key, bytes_.subspan(start, position_ - start));
  }
  return absl::OkStatus();
}

absl::StatusOr<GgufValue> GgufParser::Value(std::string_view key, uint32_t type) {
  const auto number = [&]<typename Stored, typename Wide>() -> absl::StatusOr<GgufValue> {
    ASSIGN_OR_RETURN(const Stored value, Number<Stored>(key));
    return GgufValue(static_cast<Wide>(value));
  };
  switch (static_cast<GgufType>(type)) {
    case GgufType::kUint8:
      return number.operator()<uint8_t, uint64_t>();
    case GgufType::kUint16:
      return number.operator()<uint16_t, uint64_t>();
    case GgufType::kUint32:
      return number.operator()<uint32_t, uint64_t>();
    case GgufType::kUint64:
      return number.operator()<uint64_t, uint64_t>();
    case GgufType::kInt8:
      return number.operator()<int8_t, int64_t>();
    case GgufType::kInt16:
      return number.operator()<int16_t, int64_t>();
    case GgufType::kInt32:
      return number.operator()<int32_t, int64_t>();
    case GgufType::kInt64:
      return number.operator()<int64_t, int64_t>();
    case GgufType::kFloat32:
      return number.operator()<float, double>();
    case GgufType::kFloat64:
      return number.operator()<double, double>();
    case GgufType::kBool: {
      ASSIGN_OR_RETURN(const uint8_t value, Number<uint8_t>(key));
      if (value > 1) return Malformed(absl::StrCat("bool ", Quoted(key), " is ", value));
      return GgufValue(value == 1);
    }
    case GgufType::kString: {
      ASSIGN_OR_RETURN(const std::string_view value, String(key, bytes_.size()));
      return GgufValue(value);
    }
    case GgufType::kArray:
      return Array(key);
  }
  return Malformed(
      absl::StrCat("metadata key ", Quoted(key), " has unknown type ", type, " (known: 0 to 12)"));
}

absl::StatusOr<GgufValue> GgufParser::Array(std::string_view key) {
  ASSIGN_OR_RETURN(const uint32_t type, Number<uint32_t>("an array type"));
  ASSIGN_OR_RETURN(const uint64_t count, Number<uint64_t>("an array length"));
  auto array = std::make_shared<GgufArray>();
  absl::Status status;
  switch (static_cast<GgufType>(type)) {
    case GgufType::kUint8:
      status = Integers<uint8_t>(key, count, *array);
      break;
    case GgufType::kUint16:
      status = Integers<uint16_t>(key, count, *array);
      break;
    case GgufType::kUint32:
      status = Integers<uint32_t>(key, count, *array);
      break;
    case GgufType::kUint64:
      status = Integers<uint64_t>(key, count, *array);
      break;
    case GgufType::kInt8:
      status = Integers<int8_t>(key, count, *array);
      break;
    case GgufType::kInt16:
      status = Integers<int16_t>(key, count, *array);
      break;
    case GgufType::kInt32:
      status = Integers<int32_t>(key, count, *array);
      break;
    case GgufType::kInt64:
      status = Integers<int64_t>(key, count, *array);
      break;
    case GgufType::kFloat32:
      status = Floats<float>(key, count, *array);
      break;
    case GgufType::kFloat64:
      status = Floats<double>(key, count, *array);
      break;
    case GgufType::kBool:
      status = Bools(key, count, *array);
      break;
    case GgufType::kString:
      status = Strings(key, count, *array);
      break;
    case GgufType::kArray:
      return Malformed(
          absl::StrCat("array ", Quoted(key), " holds arrays, which is not supported"));
    default:
      return Malformed(absl::StrCat("array ", Quoted(key), " has unknown element type ", type));
  }
  RETURN_IF_ERROR(status);
  return GgufValue(std::shared_ptr<const GgufArray>(std::move(array)));
}

template <typename T>
absl::Status GgufParser::Integers(std::string_view key, uint64_t count, GgufArray& array) {
  if (count > remaining() / sizeof(T)) return Truncated(key, count);
  array.integers.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const T value, Number<T>(key));
    if constexpr (std::is_same_v<T, uint64_t>) {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return Malformed(
            absl::StrCat("array ", Quoted(key), " holds ", value, ", which does not fit 63 bits"));
      }
    }
    array.integers.push_back(static_cast<int64_t>(value));
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status GgufParser::Floats(std::string_view key, uint64_t count, GgufArray& array) {
  if (count > remaining() / sizeof(T)) return Truncated(key, count);
  array.floats.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const T value, Number<T>(key));
    array.floats.push_back(value);
  }
  return absl::OkStatus();
}

absl::Status GgufParser::Bools(std::string_view key, uint64_t count, GgufArray& array) {
  RETURN_IF_ERROR(Integers<uint8_t>(key, count, array));
  for (const int64_t value : array.integers) {
    if (value > 1) return Malformed(absl::StrCat("bool array ", Quoted(key), " holds ", value));
  }
  return absl::OkStatus();
}

absl::Status GgufParser::Strings(std::string_view key, uint64_t count, GgufArray& array) {
  if (count > remaining() / sizeof(uint64_t)) return Truncated(key, count);
  array.strings.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(const std::string_view value, String(key, bytes_.size()));
    array.strings.push_back(value);
  }
  return absl::OkStatus();
}

absl::Status GgufParser::Alignment() {
  ASSIGN_OR_RETURN(const int64_t alignment,
                   file_.GetInt("general.alignment", int64_t{kGgufDefaultAlignment}));
  // Below 8, tensor data could not be read in place.
  if (alignment < 8 || alignment > static_cast<int64_t>(kGgufMaxAlignment) ||
      (alignment & (alignment - 1)) != 0) {
    return absl::InvalidArgumentError(absl::StrCat("general.alignment is ", alignment,
                                                   ": expected a power of two from 8 to ",
                                                   kGgufMaxAlignment));
  }
  alignment_ = static_cast<uint64_t>(alignment);
  return absl::OkStatus();
}

absl::Status GgufParser::TensorInfos() {
  for (uint64_t i = 0; i < tensor_count_; ++i) {
    uint64_t offset = 0;
    ASSIGN_OR_RETURN(GgufTensor tensor, TensorInfo(&offset));
    if (!file_.tensor_index_.emplace(tensor.name, file_.tensors_.size()).second) {
      return Malformed(absl::StrCat("tensor ", Quoted(tensor.name), " appears twice"));
    }
    file_.tensors_.push_back(std::move(tensor));
    offsets_.push_back(offset);
  }
  return absl::OkStatus();
}

absl::StatusOr<GgufTensor> GgufParser::TensorInfo(uint64_t* offset) {
  GgufTensor tensor;
  ASSIGN_OR_RETURN(tensor.name, String("a tensor name", kGgufMaxNameBytes));
  if (tensor.name.empty()) return Malformed("an empty tensor name");
  ASSIGN_OR_RETURN(const uint32_t dimensions, Number<uint32_t>("a dimension count"));
  if (dimensions < 1 || dimensions > kGgufMaxDimensions) {
    return Malformed(absl::StrCat("tensor ", Quoted(tensor.name), " has ", dimensions,
                                  " dimensions: expected 1 to ", kGgufMaxDimensions));
  }
  int64_t elements = 1;
  for (uint32_t d = 0; d < dimensions; ++d) {
    ASSIGN_OR_RETURN(const int64_t size, Number<int64_t>("a dimension"));
    if (size < 1 || __builtin_mul_overflow(elements, size, &elements)) {
      return Malformed(absl::StrCat("tensor ", Quoted(tensor.name), " has dimension ", size,
                                    ": expected positive and a product below 2^63"));
    }
    tensor.shape.push_back(size);
  }
  ASSIGN_OR_RETURN(const uint32_t type, Number<uint32_t>("a tensor type"));
  if (FindTensorType(type) == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", Quoted(tensor.name), " has type ", type,
                     ", which is not supported; supported: ", ToAbsl(SupportedTensorTypes())));
  }
  tensor.type = static_cast<TensorType>(type);
  ASSIGN_OR_RETURN(*offset, Number<uint64_t>("a tensor offset"));
  return tensor;
}

absl::Status GgufParser::PlaceTensors() {
  const uint64_t start = (position_ + alignment_ - 1) / alignment_ * alignment_;
  uint64_t end = 0;  // of the tensors before, in offset order: they must not overlap
  std::vector<size_t> order(offsets_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return offsets_[a] < offsets_[b]; });
  for (const size_t i : order) {
    GgufTensor& tensor = file_.tensors_[i];
    const TensorTypeTraits& traits = TraitsOf(tensor.type);
    if (tensor.shape[0] % traits.block_elements != 0) {
      return Malformed(absl::StrCat("tensor ", Quoted(tensor.name), " of type ", traits.name,
                                    " has rows of ", tensor.shape[0],
                                    " values: expected a multiple of ", traits.block_elements));
    }
    uint64_t size = 0;
    if (__builtin_mul_overflow(static_cast<uint64_t>(tensor.elements() / traits.block_elements),
                               static_cast<uint64_t>(traits.block_bytes), &size)) {
      return Malformed(absl::StrCat("tensor ", Quoted(tensor.name), " is too large"));
    }
    if (offsets_[i] % alignment_ != 0) {
      return Malformed(absl::StrCat("tensor ", Quoted(tensor.name), " is at offset ", offsets_[i],
                                    ": expected a multiple of ", alignment_));
    }
    const uint64_t available = bytes_.size() > start ? bytes_.size() - start : 0;
    if (offsets_[i] > available || size > available - offsets_[i]) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "truncated GGUF: tensor %s needs %d bytes at offset %d, the file holds %d bytes of data",
          Quoted(tensor.name), size, offsets_[i], available));
    }
    if (offsets_[i] < end) {
      return Malformed(absl::StrCat("tensor ", Quoted(tensor.name), " overlaps another tensor"));
    }
    end = offsets_[i] + size;
    tensor.data = bytes_.subspan(start + offsets_[i], size);
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
