#include "common/adapter/peft_config.h"

#include <cmath>
#include <limits>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "nlohmann/json.hpp"

namespace lorikeet {
namespace {

using nlohmann::ordered_json;  // the order of patterns decides

// Far above what PEFT writes; a hostile file should not cost minutes.
constexpr size_t kMaxConfigBytes = 1 << 18;
constexpr size_t kMaxPatterns = 4096;

// A value for a line of an error message.
std::string Shown(const ordered_json& value) {
  constexpr size_t kShownBytes = 60;
  const std::string text = value.dump(-1, ' ', true, ordered_json::error_handler_t::replace);
  return text.size() <= kShownBytes ? text : absl::StrCat(text.substr(0, kShownBytes), "...");
}

absl::Status Expected(std::string_view key, std::string_view what, const ordered_json* got) {
  return absl::InvalidArgumentError(absl::StrCat("expected \"", ToAbsl(key), "\" to be ",
                                                 ToAbsl(what), ", got ",
                                                 got == nullptr ? "none" : Shown(*got)));
}

// Null if the key is missing or null.
const ordered_json* Find(const ordered_json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

absl::StatusOr<int> RankFrom(std::string_view key, const ordered_json* value) {
  const bool positive = value != nullptr && value->is_number_integer() && *value >= 1 &&
                        *value <= std::numeric_limits<int>::max();
  if (!positive) return Expected(key, "a rank of 1 or more", value);
  return value->get<int>();
}

absl::StatusOr<double> AlphaFrom(std::string_view key, const ordered_json* value) {
  // Zero, to PEFT a factor that silences the adapter, means "no factor" in a GGUF file.
  const float alpha =
      value != nullptr && value->is_number() ? static_cast<float>(value->get<double>()) : 0;
  const bool usable = alpha != 0 && std::isfinite(alpha);
  if (!usable) return Expected(key, "a number other than 0", value);
  return value->get<double>();
}

template <typename T, typename Read>
absl::Status ReadPatterns(const ordered_json& object, const char* key, const Read& read,
                          PeftConfig::Patterns<T>& patterns) {
  const ordered_json* map = Find(object, key);
  if (map == nullptr) return absl::OkStatus();
  if (!map->is_object() || map->size() > kMaxPatterns) {
    return Expected(key, absl::StrCat("an object of at most ", kMaxPatterns, " patterns"), map);
  }
  for (const auto& [pattern, value] : map->items()) {
    RETURN_IF_ERROR(Annotate(CheckPeftPattern(pattern), key));
    ASSIGN_OR_RETURN(const T number,
                     read(absl::StrCat(key, ".", absl::CHexEscape(pattern)), &value));
    patterns.emplace_back(pattern, number);
  }
  return absl::OkStatus();
}

// Keys whose presence makes an adapter more, or other, than LoRA on frozen weights.
constexpr const char* kRefusedKeys[] = {
    "modules_to_save",  // whole modules, trained and stored
    "use_dora",          "lora_bias",          "layer_replication",       "trainable_token_indices",
    "target_parameters", "use_qalora",         "alora_invocation_tokens", "arrow_config",
    "use_bdlora",        "ensure_weight_tying"};

bool IsOff(const ordered_json& value) { return value == false || value == "" || value.empty(); }

absl::Status CheckPlainLora(const ordered_json& object) {
  const ordered_json* type = Find(object, "peft_type");
  if (type == nullptr || *type != "LORA") return Expected("peft_type", "\"LORA\"", type);
  const ordered_json* bias = Find(object, "bias");
  if (bias != nullptr && *bias != "none") {
    return Expected("bias", "\"none\" (trained biases are not supported)", bias);
  }
  for (const char* key : kRefusedKeys) {
    const ordered_json* value = Find(object, key);
    if (value != nullptr && !IsOff(*value)) {
      return Expected(key, "absent or off (only plain LoRA is supported)", value);
    }
  }
  // Others (pissa, olora, loftq, ...) take something away from the base weights first.
  const ordered_json* init = Find(object, "init_lora_weights");
  const bool keeps_base = init == nullptr || init->is_boolean() || *init == "gaussian" ||
                          *init == "eva" || *init == "orthogonal";
  if (!keeps_base) {
    return Expected("init_lora_weights",
                    "true, false, gaussian, eva or orthogonal (others change the base weights)",
                    init);
  }
  return absl::OkStatus();
}

template <typename T>
T Lookup(const PeftConfig::Patterns<T>& patterns, std::string_view path, T otherwise) {
  for (const auto& [pattern, value] : patterns) {
    if (PeftPatternMatches(pattern, path)) return value;
  }
  return otherwise;
}

// 16 as 16, not as 16.0.
ordered_json Number(double value) {
  constexpr double kExact = 1 << 24;
  if (value == std::floor(value) && std::fabs(value) < kExact) return static_cast<int64_t>(value);
  return value;
}

}  // namespace

int PeftConfig::RankOf(std::string_view path) const { return Lookup(rank_pattern, path, rank); }

double PeftConfig::AlphaOf(std::string_view path) const {
  return Lookup(alpha_pattern, path, alpha);
}

absl::StatusOr<PeftConfig> ParsePeftConfig(std::string_view text) {
  if (text.size() > kMaxConfigBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected at most ", kMaxConfigBytes, " bytes, got ", text.size()));
  }
  const ordered_json object = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) {
    return absl::InvalidArgumentError(
        object.is_discarded() ? "expected a JSON object, got text that is no JSON"
                              : absl::StrCat("expected a JSON object, got ", Shown(object)));
  }
  RETURN_IF_ERROR(CheckPlainLora(object));
  PeftConfig config;
  ASSIGN_OR_RETURN(config.rank, RankFrom("r", Find(object, "r")));
  ASSIGN_OR_RETURN(config.alpha, AlphaFrom("lora_alpha", Find(object, "lora_alpha")));
  RETURN_IF_ERROR(ReadPatterns(object, "rank_pattern", RankFrom, config.rank_pattern));
  RETURN_IF_ERROR(ReadPatterns(object, "alpha_pattern", AlphaFrom, config.alpha_pattern));
  if (const ordered_json* rslora = Find(object, "use_rslora")) {
    if (!rslora->is_boolean()) return Expected("use_rslora", "true or false", rslora);
    config.use_rslora = rslora->get<bool>();
  }
  if (const ordered_json* base = Find(object, "base_model_name_or_path")) {
    if (!base->is_string()) return Expected("base_model_name_or_path", "a string", base);
    config.base_model = base->get<std::string>();
  }
  return config;
}

std::string FormatPeftConfig(const PeftConfig& config) {
  ordered_json ranks = ordered_json::object(), alphas = ordered_json::object();
  for (const auto& [pattern, rank] : config.rank_pattern) ranks[pattern] = rank;
  for (const auto& [pattern, alpha] : config.alpha_pattern) alphas[pattern] = Number(alpha);
  const ordered_json base =
      config.base_model.empty() ? ordered_json(nullptr) : ordered_json(config.base_model);
  ordered_json object = {{"alpha_pattern", std::move(alphas)},
                         {"auto_mapping", nullptr},
                         {"base_model_name_or_path", base},
                         {"bias", "none"},
                         {"fan_in_fan_out", false},
                         {"inference_mode", true},
                         {"init_lora_weights", true},
                         {"layers_pattern", nullptr},
                         {"layers_to_transform", nullptr},
                         {"lora_alpha", Number(config.alpha)},
                         {"lora_dropout", 0.0},
                         {"modules_to_save", nullptr},
                         {"peft_type", "LORA"},
                         {"r", config.rank},
                         {"rank_pattern", std::move(ranks)},
                         {"revision", nullptr},
                         {"target_modules", config.target_modules},
                         {"task_type", "CAUSAL_LM"}};
  if (config.use_rslora) object["use_rslora"] = true;
  return object.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace lorikeet
