// Consent of the owner, for each source of text ("notes", "chat", ...).
//
// Enforced by the vault: text of a source leaves it for a purpose only while the source allows that
// purpose, and records older than the retention limit are deleted when the vault is opened.
#ifndef LORIKEET_DEVICE_POLICY_CONSENT_H_
#define LORIKEET_DEVICE_POLICY_CONSENT_H_

#include <optional>
#include <string_view>

#include "absl/status/statusor.h"

namespace lorikeet {

enum class Purpose {
  kTrain,     // the personal adapter, which never leaves the device
  kFederate,  // masked contributions to personas
  kRetrieve,  // passages shown to the model while it answers
};
inline constexpr int kPurposeCount = 3;

// "train", "federate", "retrieve".
std::string_view PurposeName(Purpose purpose);
absl::StatusOr<Purpose> ParsePurpose(std::string_view name);

struct SourceConsent {
  bool train = true;
  bool federate = false;  // must be given explicitly
  bool retrieve = true;
  std::optional<int> retention_days;  // nullopt: until forgotten

  bool Allows(Purpose purpose) const;
  void Set(Purpose purpose, bool allowed);
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_POLICY_CONSENT_H_
