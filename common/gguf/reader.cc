#include "common/gguf/reader.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/gguf/parser.h"

namespace lorikeet {
namespace {

const char* KindOf(const GgufValue& value) {
  constexpr const char* kNames[] = {"a bool",  "an integer", "an integer",
                                    "a float", "a string",   "an array"};
  return kNames[value.index()];
}

absl::Status Missing(std::string_view key, std::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("GGUF key ", ToAbsl(key), ": expected ", ToAbsl(expected), ", it is missing"));
}

absl::Status WrongType(std::string_view key, std::string_view expected, const GgufValue& found) {
  return absl::InvalidArgumentError(absl::StrCat("GGUF key ", ToAbsl(key), ": expected ",
                                                 ToAbsl(expected), ", found ", KindOf(found)));
}

template <typename T, typename Metadata>
absl::StatusOr<T> Get(const Metadata& metadata, std::string_view key, std::string_view expected) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return Missing(key, expected);
  if (const T* value = std::get_if<T>(&found->second)) return *value;
  return WrongType(key, expected, found->second);
}

}  // namespace

int64_t GgufTensor::rows() const {
  int64_t rows = 1;
  for (size_t d = 1; d < shape.size(); ++d) rows *= shape[d];
  return rows;
}

int64_t GgufTensor::elements() const { return row_length() * rows(); }

absl::StatusOr<std::shared_ptr<const GgufFile>> GgufFile::Open(const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> mapping, MappedFile::Open(path));
  const std::span<const uint8_t> bytes = mapping->bytes();
  std::shared_ptr<GgufFile> file = GgufParser::NewFile(path, std::move(mapping), bytes);
  RETURN_IF_ERROR(Annotate(GgufParser(*file).Parse(), path));
  return file;
}

absl::StatusOr<std::shared_ptr<const GgufFile>> GgufFile::Parse(std::span<const uint8_t> bytes,
                                                                std::string name) {
  std::shared_ptr<GgufFile> file = GgufParser::NewFile(std::move(name), nullptr, bytes);
  RETURN_IF_ERROR(Annotate(GgufParser(*file).Parse(), file->path_));
  return file;
}

const GgufTensor* GgufFile::FindTensor(std::string_view name) const {
  const auto found = tensor_index_.find(name);
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

absl::StatusOr<std::string_view> GgufFile::GetString(std::string_view key) const {
  return Get<std::string_view>(metadata_, key, "a string");
}

absl::StatusOr<int64_t> GgufFile::GetInt(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return Missing(key, "an integer");
  if (const auto* value = std::get_if<int64_t>(&found->second)) return *value;
  if (const auto* value = std::get_if<uint64_t>(&found->second)) {
    if (*value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return static_cast<int64_t>(*value);
    }
    return absl::InvalidArgumentError(
        absl::StrCat("GGUF key ", ToAbsl(key), ": expected a 63 bit integer, found ", *value));
  }
  return WrongType(key, "an integer", found->second);
}

absl::StatusOr<double> GgufFile::GetFloat(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return Missing(key, "a float");
  if (const auto* value = std::get_if<double>(&found->second)) return *value;
  if (const auto* value = std::get_if<int64_t>(&found->second)) return static_cast<double>(*value);
  if (const auto* value = std::get_if<uint64_t>(&found->second)) return static_cast<double>(*value);
  return WrongType(key, "a float", found->second);
}

absl::StatusOr<bool> GgufFile::GetBool(std::string_view key) const {
  return Get<bool>(metadata_, key, "a bool");
}

absl::StatusOr<const GgufArray*> GgufFile::GetArray(std::string_view key) const {
  ASSIGN_OR_RETURN(const auto array,
                   Get<std::shared_ptr<const GgufArray>>(metadata_, key, "an array"));
  return array.get();  // metadata_ keeps it alive
}

absl::StatusOr<std::string_view> GgufFile::GetString(std::string_view key,
                                                     std::string_view missing) const {
  if (!Has(key)) return missing;
  return GetString(key);
}

absl::StatusOr<int64_t> GgufFile::GetInt(std::string_view key, int64_t missing) const {
  if (!Has(key)) return missing;
  return GetInt(key);
}

absl::StatusOr<double> GgufFile::GetFloat(std::string_view key, double missing) const {
  if (!Has(key)) return missing;
  return GetFloat(key);
}

absl::StatusOr<bool> GgufFile::GetBool(std::string_view key, bool missing) const {
  if (!Has(key)) return missing;
  return GetBool(key);
}

std::span<const uint8_t> GgufFile::RawMetadata(std::string_view key) const {
  const auto found = raw_metadata_.find(key);
  return found == raw_metadata_.end() ? std::span<const uint8_t>() : found->second;
}

Hash256 GgufFile::Fingerprint() const {
  Hasher hasher;
  for (const auto& [name, index] : tensor_index_) {
    const GgufTensor& tensor = tensors_[index];
    hasher.UpdateSized(AsBytes(name));
    hasher.UpdateUint64(static_cast<uint64_t>(tensor.type));
    hasher.UpdateUint64(tensor.shape.size());
    for (const int64_t size : tensor.shape) hasher.UpdateUint64(static_cast<uint64_t>(size));
    hasher.UpdateSized(tensor.data);
  }
  return hasher.Finish();
}

}  // namespace lorikeet
