#include "device/cli/sampling_options.h"

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
  command->add_option("--seed", options.seed, "Same seed, same text")->capture_default_str();
}

}  // namespace lorikeet
