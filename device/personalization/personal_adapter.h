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
  // means the same).  Info is the residual's, with kind lora; each matrix remembers how many of its
  // ranks are the residual's.  REQUIRES: same base.
  static PersonalAdapter Merge(const Adapter& persona, const Adapter& residual);
  // The two terms apart again, both of kind lora: Merge(persona, residual) adds what this one adds.
  // The persona has scale 1 (its factors are folded); the residual has `residual_alpha`, so that
  // training goes on with the scale it began with.  A matrix without one of the terms is missing in
  // that part.  REQUIRES: residual_alpha > 0.
  // FAILED_PRECONDITION: the adapter does not say which part is personal (made elsewhere, or by an
  // earlier version).
  struct Parts;
  absl::StatusOr<Parts> Split(float residual_alpha) const;
  static PersonalAdapter FromAdapter(Adapter adapter) {
    return PersonalAdapter(std::move(adapter));
  }
  // Errors as ReadAdapter.
  static absl::StatusOr<PersonalAdapter> Load(const std::string& path);
  // Atomic, readable by the owner only.
  absl::Status Save(const std::string& path) const;

  const Adapter& adapter() const { return adapter_; }
  // Of the matrices the largest; 0 where the adapter does not say which part is personal.
  int ResidualRank() const;

 private:
  explicit PersonalAdapter(Adapter adapter) : adapter_(std::move(adapter)) {}
  Adapter adapter_;
};

struct PersonalAdapter::Parts {
  Adapter persona;   // no matrices: the start was the bare base
  Adapter residual;  // no matrices: the persona alone
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_PERSONAL_ADAPTER_H_
