#include "common/adapter/safetensors_header.h"

#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/strings.h"
#include "nlohmann/json.hpp"

namespace lorikeet {
namespace {

using nlohmann::json;

// Follows the parser instead of building a document, which a hostile header could make large.  The
// first surprise stops it; `error` says which.
class HeaderHandler : public nlohmann::json_sax<json> {
 public:
  SafetensorsHeader header;
  std::string error;

  bool start_object(size_t) override {
    if (state_ == State::kStart) {
      state_ = State::kTop;
    } else if (state_ == State::kTopValue) {
      state_ = is_metadata_ ? State::kMetadata : State::kEntry;
    } else {
      return Unexpected("an object");
    }
    return true;
  }

  bool end_object() override {
    if (state_ == State::kEntry) {
      for (const char* field : {"dtype", "shape", "data_offsets"}) {
        if (!fields_.contains(field)) return Fail(absl::StrCat(Entry(), " without ", field));
      }
    }
    state_ = state_ == State::kTop ? State::kDone : State::kTop;
    return true;
  }

  bool key(std::string& text) override {
    if (state_ == State::kTop) {
      if (!names_.insert(text).second) return Twice("the name", text);
      is_metadata_ = text == kSafetensorsMetadataKey;
      if (!is_metadata_) header.entries.emplace_back().name = text;
      fields_.clear();
      state_ = State::kTopValue;
    } else if (state_ == State::kMetadata) {
      if (header.metadata.contains(text)) return Twice("the metadata key", text);
      field_ = text;
      state_ = State::kMetadataValue;
    } else {
      if (text != "dtype" && text != "shape" && text != "data_offsets") {
        return Fail(absl::StrCat("the field ", ShownBytes(text), " of ", Entry(),
                                 " (expected dtype, shape and data_offsets)"));
      }
      if (!fields_.insert(text).second)
        return Twice(absl::StrCat("of ", Entry(), " the field"), text);
      field_ = text;
      state_ = State::kField;
    }
    return true;
  }

  bool string(std::string& text) override {
    if (state_ == State::kMetadataValue) {
      header.metadata.emplace(field_, text);
      state_ = State::kMetadata;
      return true;
    }
    if (state_ != State::kField || field_ != "dtype") return Unexpected("a string");
    header.entries.back().dtype = text;
    state_ = State::kEntry;
    return true;
  }

  bool start_array(size_t) override {
    if (state_ != State::kField || field_ == "dtype") return Unexpected("a list");
    numbers_.clear();
    state_ = State::kNumbers;
    return true;
  }

  bool end_array() override {
    SafetensorsEntry& entry = header.entries.back();
    if (field_ == "shape") {
      entry.shape = numbers_;
    } else if (numbers_.size() == 2) {
      entry.begin = numbers_[0];
      entry.end = numbers_[1];
    } else {
      return Fail(absl::StrCat("data_offsets of ", numbers_.size(), " numbers for ", Entry(),
                               " (expected 2: begin and end)"));
    }
    state_ = State::kEntry;
    return true;
  }

  bool number_unsigned(uint64_t value) override {
    if (state_ != State::kNumbers) return Unexpected("a number");
    numbers_.push_back(value);
    return true;
  }

  bool number_integer(int64_t value) override { return Unexpected(absl::StrCat(value)); }
  bool number_float(double value, const std::string&) override {
    return Unexpected(absl::StrCat(value));
  }
  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("true or false"); }
  bool binary(json::binary_t&) override { return Unexpected("binary"); }
  bool parse_error(size_t position, const std::string&, const json::exception&) override {
    return Fail(absl::StrCat("text that is no JSON at byte ", position));
  }

 private:
  enum class State : uint8_t {
    kStart,          // the header's object
    kTop,            // a name
    kTopValue,       // what the name stands for
    kEntry,          // a field of a tensor
    kField,          // its value
    kNumbers,        // the numbers of shape or data_offsets
    kMetadata,       // a key
    kMetadataValue,  // its value
    kDone,
  };

  bool Fail(std::string what) {
    error = std::move(what);
    return false;
  }
  bool Twice(std::string_view what, const std::string& name) {
    return Fail(absl::StrCat(ToAbsl(what), " ", ShownBytes(name), " twice"));
  }
  std::string Entry() const { return ShownBytes(header.entries.back().name); }

  bool Unexpected(std::string_view what) {
    std::string where = "at the top (expected an object)";
    if (state_ == State::kField || state_ == State::kNumbers) {
      where = absl::StrCat("in ", field_, " of ", Entry(), " (expected ",
                           field_ == "dtype" ? "a string" : "a list of whole numbers", ")");
    } else if (state_ == State::kMetadataValue) {
      where = absl::StrCat("under the metadata key ", ShownBytes(field_), " (expected a string)");
    } else if (state_ == State::kTopValue) {
      where = absl::StrCat("for ", is_metadata_ ? kSafetensorsMetadataKey : Entry(),
                           " (expected an object)");
    }
    return Fail(absl::StrCat(ToAbsl(what), " ", where));
  }

  State state_ = State::kStart;
  bool is_metadata_ = false;
  std::string field_;
  std::vector<uint64_t> numbers_;
  std::set<std::string> names_, fields_;
};

}  // namespace

std::string ShownBytes(std::string_view text) {
  constexpr size_t kMostBytes = 120;
  return absl::StrCat("\"", absl::CHexEscape(ToAbsl(text.substr(0, kMostBytes))),
                      text.size() > kMostBytes ? "..." : "", "\"");
}

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view text) {
  HeaderHandler handler;
  if (!json::sax_parse(text, &handler)) {
    return absl::InvalidArgumentError(
        absl::StrCat("header: expected the JSON of a safetensors file, got ", handler.error));
  }
  return std::move(handler.header);
}

}  // namespace lorikeet
