// Before and after: what the bare base, the persona and the personalized model write after the same
// beginning.
//
// The beginnings are the owner's: of held-out passages, beside how the owner went on, or prompts
// that the owner gave.  So everything here is private text; it goes into a file only its owner can
// read (personal_report.h) and nowhere else.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_WRITING_SAMPLES_H_
#define LORIKEET_DEVICE_PERSONALIZATION_WRITING_SAMPLES_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/runtime/session.h"
#include "device/trainer/gradient.h"

namespace lorikeet {

struct Beginning {
  std::vector<TokenId> tokens;  // BOS included where the vocabulary has one; not empty
  std::string text;
  std::string written;  // how the owner went on; empty for a prompt
};

// The beginnings of at most `count` held-out sequences, spread over them: `words` words or so of
// each, of those that have at least as much again to compare with.  May be fewer, or none.
absl::StatusOr<std::vector<Beginning>> BeginningsOf(const Model& model,
                                                    std::span<const Sequence> held_out, int count,
                                                    int words = 8);
// INVALID_ARGUMENT: an empty prompt.
absl::StatusOr<Beginning> BeginningOfPrompt(const Model& model, const std::string& prompt);

struct WritingSample {
  std::string beginning;
  std::string written;
  std::vector<std::string> sides;  // in the order of `sides` below; without the beginning
};

struct WritingOptions {
  int max_tokens = 40;
  double temperature = 0.6;
  uint64_t seed = 1;  // the same for every side
};

// Each side is a set of adapters, borrowed; an empty one is the bare base.  Errors as
// Session::Create and Generate.
absl::StatusOr<std::vector<WritingSample>> WriteSamples(
    std::shared_ptr<const Model> model, ThreadPool* pool, std::span<const Beginning> beginnings,
    std::span<const std::vector<AdapterRef>> sides, const WritingOptions& options = {});

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_WRITING_SAMPLES_H_
