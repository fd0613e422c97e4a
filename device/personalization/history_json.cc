#include "device/personalization/history_json.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

using nlohmann::json;

constexpr std::string_view kFormat = "lorikeet-history";
constexpr int kVersion = 1;

json OrNull(const std::optional<double>& value) { return value ? json(*value) : json(nullptr); }

// 1, 2, 3, 7 -> [[1, 3], [7, 7]].
json Ranges(const std::vector<int64_t>& ids) {
  json ranges = json::array();
  for (const int64_t id : ids) {
    if (!ranges.empty() && ranges.back()[1].get<int64_t>() + 1 == id) {
      ranges.back()[1] = id;
    } else {
      ranges.push_back({id, id});
    }
  }
  return ranges;
}

// Reads the keys of one object; the first thing that is not as expected is kept as the error.
class Fields {
 public:
  Fields(const json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) Fail("", "an object", object);
  }

  std::string Text(const char* key) {
    const json* value = Get(key, "a string", &json::is_string);
    return value != nullptr ? value->get<std::string>() : "";
  }
  bool Flag(const char* key) {
    const json* value = Get(key, "true or false", &json::is_boolean);
    return value != nullptr && value->get<bool>();
  }
  int64_t Count(const char* key, int64_t least = 0, int64_t most = int64_t{1} << 53) {
    const json* value = Get(key, "an integer", &json::is_number_integer);
    if (value == nullptr) return least;
    if (*value < least || *value > most) {
      Fail(key, absl::StrCat("an integer of ", least, " to ", most), *value);
      return least;
    }
    return value->get<int64_t>();
  }
  double Number(const char* key) {
    const json* value = Get(key, "a number", &json::is_number);
    return value != nullptr ? value->get<double>() : 0;
  }
  std::optional<double> MaybeNumber(const char* key) {
    const json* value = Any(key);
    if (value == nullptr || value->is_null()) return std::nullopt;
    return Number(key);
  }
  absl::Time Time(const char* key) {
    const std::string text = Text(key);
    absl::Time time;
    std::string problem;
    if (status_.ok() && !absl::ParseTime(absl::RFC3339_full, text, &time, &problem)) {
      Fail(key, "a time such as 2026-01-31T12:00:00Z", text);
    }
    return time;
  }
  std::string Hash(const char* key) {  // 64 hex digits or nothing
    std::string text = Text(key);
    if (!text.empty() && !HashFromHex(text).ok()) Fail(key, "64 hex digits", text);
    return text;
  }
  std::vector<int64_t> Ids(const char* key);
  const json& Child(const char* key) {
    static const json empty = json::object();
    const json* value = Any(key);
    return value != nullptr ? *value : empty;
  }
  void Fail(std::string_view key, std::string_view expected, const json& got) {
    if (!status_.ok()) return;
    status_ = absl::DataLossError(absl::StrCat(
        where_, key.empty() ? "" : ".", ToAbsl(key), ": expected ", ToAbsl(expected), ", got ",
        got.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 60)));
  }
  // Also complains about keys that nobody asked for.
  absl::Status Finish() {
    if (!status_.ok()) return status_;
    for (const auto& item : object_.items()) {
      if (!known_.contains(item.key())) {
        return absl::DataLossError(absl::StrCat(where_, ": unknown key \"", item.key(), "\""));
      }
    }
    return status_;
  }

 private:
  const json* Any(const char* key) {
    known_.insert(key);
    if (!status_.ok()) return nullptr;
    const auto found = object_.find(key);
    if (found == object_.end()) {
      status_ = absl::DataLossError(absl::StrCat(where_, ": the key \"", key, "\" is missing"));
      return nullptr;
    }
    return &*found;
  }
  const json* Get(const char* key, std::string_view expected, bool (json::*is)() const noexcept) {
    const json* value = Any(key);
    if (value != nullptr && !(value->*is)()) {
      Fail(key, expected, *value);
      return nullptr;
    }
    return value;
  }

  const json& object_;
  std::string where_;
  std::set<std::string> known_;
  absl::Status status_;
};

std::vector<int64_t> Fields::Ids(const char* key) {
  constexpr int64_t kMostIds = int64_t{1} << 24;
  std::vector<int64_t> ids;
  const json* ranges = Get(key, "a list of ranges", &json::is_array);
  if (ranges == nullptr) return ids;
  for (const json& range : *ranges) {
    const bool well_formed = range.is_array() && range.size() == 2 &&
                             range[0].is_number_integer() && range[1].is_number_integer() &&
                             range[0] <= range[1] && (ids.empty() || range[0] > ids.back()) &&
                             range[0] >= 0 && range[1] <= (int64_t{1} << 53);
    if (!well_formed || range[1].get<int64_t>() - range[0].get<int64_t>() >
                            kMostIds - static_cast<int64_t>(ids.size())) {
      Fail(key, "ascending ranges [first, last] of record ids", range);
      return {};
    }
    for (int64_t id = range[0].get<int64_t>(); id <= range[1].get<int64_t>(); ++id) {
      ids.push_back(id);
    }
  }
  return ids;
}

// "NNN.gguf" of the entry itself: nothing that names another file.
std::string VersionName(int number) { return absl::StrFormat("%03d.gguf", number); }

absl::StatusOr<HistoryLosses> LossesFrom(const json& object, const std::string& where) {
  Fields fields(object, where + ".losses");
  HistoryLosses losses;
  losses.base = fields.MaybeNumber("base");
  losses.persona = fields.MaybeNumber("persona");
  losses.personalized = fields.MaybeNumber("personalized");
  losses.in_use = fields.MaybeNumber("in_use");
  losses.tokens = fields.Count("tokens");
  losses.bytes = fields.Count("bytes");
  RETURN_IF_ERROR(fields.Finish());
  return losses;
}

absl::StatusOr<HistoryEntry> EntryFrom(const json& object, const std::string& where) {
  constexpr int64_t kMostNumber = 1'000'000'000;
  Fields fields(object, where);
  HistoryEntry entry;
  entry.number = static_cast<int>(fields.Count("number", 1, kMostNumber));
  entry.time = fields.Time("time");
  entry.kind = fields.Text("kind");
  entry.outcome = fields.Text("outcome");
  entry.verdict = fields.Text("verdict");
  entry.before = static_cast<int>(fields.Count("before", 0, kMostNumber));
  entry.in_use = static_cast<int>(fields.Count("in_use", 0, kMostNumber));
  entry.adapter_file = fields.Text("adapter_file");
  entry.adapter_hash = fields.Hash("adapter_hash");
  entry.model_path = fields.Text("model_path");
  entry.base_fingerprint = fields.Hash("base_fingerprint");
  entry.catalog_path = fields.Text("catalog_path");
  entry.catalog_hash = fields.Hash("catalog_hash");
  entry.persona = fields.Text("persona");
  entry.vault_dir = fields.Text("vault_dir");
  entry.records = fields.Ids("records");
  entry.residual_rank = static_cast<int>(fields.Count("residual_rank", 0, kMostNumber));
  const json& losses = fields.Child("losses");
  Fields cost(fields.Child("cost"), where + ".cost");
  entry.seconds = cost.Number("seconds");
  entry.cpu_seconds = cost.Number("cpu_seconds");
  entry.joules = cost.Number("joules");
  if (!entry.adapter_file.empty() && entry.adapter_file != VersionName(entry.number)) {
    fields.Fail("adapter_file", VersionName(entry.number), entry.adapter_file);
  }
  if (!entry.adapter_file.empty() && entry.adapter_hash.empty()) {
    fields.Fail("adapter_hash", "64 hex digits", entry.adapter_hash);
  }
  RETURN_IF_ERROR(fields.Finish());
  RETURN_IF_ERROR(cost.Finish());
  ASSIGN_OR_RETURN(entry.losses, LossesFrom(losses, where));
  return entry;
}

}  // namespace

json HistoryEntryJson(const HistoryEntry& entry) {
  return {
      {"number", entry.number},
      {"time", absl::FormatTime(absl::RFC3339_sec, entry.time, absl::UTCTimeZone())},
      {"kind", entry.kind},
      {"outcome", entry.outcome},
      {"verdict", entry.verdict},
      {"before", entry.before},
      {"in_use", entry.in_use},
      {"adapter_file", entry.adapter_file},
      {"adapter_hash", entry.adapter_hash},
      {"model_path", entry.model_path},
      {"base_fingerprint", entry.base_fingerprint},
      {"catalog_path", entry.catalog_path},
      {"catalog_hash", entry.catalog_hash},
      {"persona", entry.persona},
      {"vault_dir", entry.vault_dir},
      {"records", Ranges(entry.records)},
      {"residual_rank", entry.residual_rank},
      {"losses",
       {{"base", OrNull(entry.losses.base)},
        {"persona", OrNull(entry.losses.persona)},
        {"personalized", OrNull(entry.losses.personalized)},
        {"in_use", OrNull(entry.losses.in_use)},
        {"tokens", entry.losses.tokens},
        {"bytes", entry.losses.bytes}}},
      {"cost",
       {{"seconds", entry.seconds}, {"cpu_seconds", entry.cpu_seconds}, {"joules", entry.joules}}}};
}

std::string SerializeHistory(const HistoryFile& file) {
  json entries = json::array();
  for (const HistoryEntry& entry : file.entries) entries.push_back(HistoryEntryJson(entry));
  const json document = {{"format", kFormat},
                         {"version", kVersion},
                         {"settled", file.settled},
                         {"entries", std::move(entries)}};
  return document.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

absl::StatusOr<HistoryFile> ParseHistory(std::string_view text) {
  const json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) {
    return absl::DataLossError("expected JSON, got something else or a part of it");
  }
  Fields fields(document, "history");
  const std::string format = fields.Text("format");
  if (format != kFormat) fields.Fail("format", kFormat, format);
  const int64_t version = fields.Count("version");
  if (version > kVersion) {
    return absl::DataLossError(absl::StrCat("expected version ", kVersion, ", got ", version,
                                            ": written by a newer program"));
  }
  HistoryFile file;
  file.settled = fields.Flag("settled");
  const json& entries = fields.Child("entries");
  RETURN_IF_ERROR(fields.Finish());
  if (!entries.is_array()) {
    return absl::DataLossError("history.entries: expected a list, got something else");
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    ASSIGN_OR_RETURN(HistoryEntry entry, EntryFrom(entries[i], absl::StrCat("entries[", i, "]")));
    if (!file.entries.empty() && entry.number <= file.entries.back().number) {
      return absl::DataLossError(absl::StrCat("entries[", i, "].number: expected more than ",
                                              file.entries.back().number, ", got ", entry.number));
    }
    file.entries.push_back(std::move(entry));
  }
  return file;
}

}  // namespace lorikeet
