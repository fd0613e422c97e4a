// PersonalAdapter: what was learned from the owner's text.  It has no wire encoding, and nothing
// turns it into an update; its file stays in the owner's state directory.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_PERSONAL_ADAPTER_H_
#define LORIKEET_DEVICE_PERSONALIZATION_PERSONAL_ADAPTER_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"

namespace lorikeet {

// Persona and residual in one llama.cpp LoRA: usable alone.
class PersonalAdapter {
 public:
  PersonalAdapter() = default;
  // A = [A_p; A_r], B = [s_p B_p R, s_r B_r] with s = alpha / rank of each, so that the sum of both
  // is one LoRA of scale 1 (alpha = rank where all matrices have one rank, else alpha = 0, which
  // means the same).  Info is the residual's, with kind lora.  REQUIRES: same base.
  static PersonalAdapter Merge(const Adapter& persona, const Adapter& residual);
  static PersonalAdapter FromAdapter(Adapter adapter) {
    return PersonalAdapter(std::move(adapter));
  }
  // Errors as ReadAdapter.
  static absl::StatusOr<PersonalAdapter> Load(const std::string& path);
  // Atomic, readable by the owner only.
  absl::Status Save(const std::string& path) const;

  const Adapter& adapter() const { return adapter_; }

 private:
  explicit PersonalAdapter(Adapter adapter) : adapter_(std::move(adapter)) {}
  Adapter adapter_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_PERSONAL_ADAPTER_H_
