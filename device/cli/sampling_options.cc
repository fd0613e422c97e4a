#include "device/cli/sampling_options.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace lorikeet {

void AddSamplingOptions(CLI::App* command, SamplingOptions& options) {
  command->add_option("--temperature", options.temperature, "0: always the likeliest token")
      ->capture_default_str();
  command->add_option("--top-k", options.top_k, "Only the k likeliest; 0 = all")
      ->capture_default_str();
  command->add_option("--top-p", options.top_p, "Only the likeliest with this much probability")
      ->capture_default_str();
  command->add_option("--min-p", options.min_p, "Only with this share of the largest probability")
      ->capture_default_str();
  command
      ->add_option("--repeat-penalty", options.repeat_penalty,
                   "More than 1: recent tokens become less likely")
      ->capture_default_str();
  command
      ->add_option("--presence-penalty", options.presence_penalty,
                   "Subtracted once from the logit of every recent token")
      ->capture_default_str();
  command
      ->add_option("--frequency-penalty", options.frequency_penalty,
                   "Subtracted for every time that a token came recently")
      ->capture_default_str();
  command
      ->add_option("--repeat-last-n", options.penalty_window,
                   "How many tokens are recent for the penalties, those of the prompt included; "
                   "-1 = all, 0 = none")
      ->capture_default_str();
  command->add_option("--seed", options.seed, "Same seed, same text")->capture_default_str();
}

void AddLookupOption(CLI::App* command, LookupOptions& options) {
  command
      ->add_option_function<std::string>(
          "--lookup",
          [&options](const std::string& text) {
            int count = 0;
            if (text == "auto") {
              options.draft = LookupOptions::kAuto;
            } else if (text == "off") {
              options.draft = 0;
            } else if (absl::SimpleAtoi(text, &count) && count >= 0 &&
                       count <= LookupOptions::kMostDrafted) {
              options.draft = count;
            } else {
              throw CLI::ValidationError("--lookup",
                                         absl::StrCat("expected auto, off or 0 to ",
                                                      LookupOptions::kMostDrafted, ", got ", text));
            }
          },
          "Draft tokens from what the text (and the vault) said before: as many as pay off, none, "
          "or N at a time; the result is the same")
      ->default_str("auto");
}

namespace {

double TokensPerPass(const GenerateResult& result) {
  return result.lookup.passes == 0 ? 0
                                   : static_cast<double>(result.decoded_tokens) /
                                         static_cast<double>(result.lookup.passes);
}

}  // namespace

std::string LookupLine(const GenerateResult& result) {
  return absl::StrFormat("lookup: %d drafted, %d accepted, %.2f tokens a pass",
                         result.lookup.drafted, result.lookup.accepted, TokensPerPass(result));
}

nlohmann::json LookupJson(const GenerateResult& result) {
  return {{"drafted", result.lookup.drafted},
          {"accepted", result.lookup.accepted},
          {"passes", result.lookup.passes},
          {"tokens_per_pass", TokensPerPass(result)}};
}

}  // namespace lorikeet
