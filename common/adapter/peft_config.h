// adapter_config.json of Hugging Face's PEFT: what a LoRA's numbers mean.
//
// Read are the keys that change what the adapter computes; a key that would make it something
// other than plain LoRA is refused by name, the rest (dropout, layer lists, ...) is ignored.
// Written are keys that every PEFT since 0.5 knows: older ones refuse a config with others.
// Source: src/peft/tuners/lora/config.py of https://github.com/huggingface/peft.
#ifndef LORIKEET_COMMON_ADAPTER_PEFT_CONFIG_H_
#define LORIKEET_COMMON_ADAPTER_PEFT_CONFIG_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace lorikeet {

struct PeftConfig {
  // Exceptions from `rank` and `alpha`: the first pattern that matches a module's path decides.
  template <typename T>
  using Patterns = std::vector<std::pair<std::string, T>>;

  std::string base_model;  // base_model_name_or_path
  int rank = 8;
  double alpha = 8;
  bool use_rslora = false;  // scale alpha / sqrt(rank) instead of alpha / rank
  Patterns<int> rank_pattern;
  Patterns<double> alpha_pattern;
  std::vector<std::string> target_modules;  // not read: the tensors' names say it

  // `path`: of a module in the base model, "model.layers.0.self_attn.q_proj".
  int RankOf(std::string_view path) const;
  double AlphaOf(std::string_view path) const;
};

// INVALID_ARGUMENT: not a JSON object, keys missing or of another type, a rank below 1, an alpha
// that is zero or not finite, a pattern that we cannot match, something other than plain LoRA.
absl::StatusOr<PeftConfig> ParsePeftConfig(std::string_view text);
// The same as JSON, with a newline at its end.
std::string FormatPeftConfig(const PeftConfig& config);

// True if `pattern` describes all of `path` or what follows one of its dots, as PEFT matches the
// keys of rank_pattern and alpha_pattern.  A pattern is a name; of regular expressions it may use
// . \. \d \w [a-z0] with * + or ? behind them, ^ at its beginning and $ at its end.  Any other
// pattern (CheckPeftPattern) matches nothing.
bool PeftPatternMatches(std::string_view pattern, std::string_view path);
// INVALID_ARGUMENT for what PeftPatternMatches does not know: groups, alternatives, counts.
absl::Status CheckPeftPattern(std::string_view pattern);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_ADAPTER_PEFT_CONFIG_H_
