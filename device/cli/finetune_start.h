// The adapter that training starts from: a file's, or a fresh one; or none, where all weights are
// trained.
#ifndef LORIKEET_DEVICE_CLI_FINETUNE_START_H_
#define LORIKEET_DEVICE_CLI_FINETUNE_START_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"
#include "device/cli/engine.h"

namespace lorikeet {

struct StartArguments {
  std::string init;
  std::string rank = "8";
  float alpha = 16;
  std::string modules = "all";
  std::string form = "lora";
  std::vector<std::string> basis;            // public text, or one catalog
  std::vector<const CLI::Option*> of_fresh;  // --rank, --alpha, --modules; they know if given

  // All weights instead of an adapter.
  bool full() const { return form == "full"; }
  void Declare(CLI::App* command);
};

struct StartingAdapter {
  Adapter adapter;     // of --form full: empty
  std::string origin;  // one sentence for people: where its numbers come from
};

// Usage errors for words that cannot be meant; errors of the files; FAILED_PRECONDITION: made for
// another base.  `context`: tokens of a window of public text.
absl::StatusOr<StartingAdapter> MakeStartingAdapter(const StartArguments& arguments,
                                                    const Engine& engine, uint64_t seed,
                                                    int context);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_FINETUNE_START_H_
