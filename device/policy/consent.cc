#include "device/policy/consent.h"

#include "absl/strings/str_cat.h"
#include "common/base/strings.h"

namespace lorikeet {

std::string_view PurposeName(Purpose purpose) {
  switch (purpose) {
    case Purpose::kTrain:
      return "train";
    case Purpose::kFederate:
      return "federate";
    case Purpose::kRetrieve:
      return "retrieve";
  }
  return "unknown";
}

absl::StatusOr<Purpose> ParsePurpose(std::string_view name) {
  for (const Purpose purpose : {Purpose::kTrain, Purpose::kFederate, Purpose::kRetrieve}) {
    if (PurposeName(purpose) == name) return purpose;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("purpose: expected train, federate or retrieve, got '", ToAbsl(name), "'"));
}

bool SourceConsent::Allows(Purpose purpose) const {
  switch (purpose) {
    case Purpose::kTrain:
      return train;
    case Purpose::kFederate:
      return federate;
    case Purpose::kRetrieve:
      return retrieve;
  }
  return false;
}

void SourceConsent::Set(Purpose purpose, bool allowed) {
  switch (purpose) {
    case Purpose::kTrain:
      train = allowed;
      break;
    case Purpose::kFederate:
      federate = allowed;
      break;
    case Purpose::kRetrieve:
      retrieve = allowed;
      break;
  }
}

}  // namespace lorikeet
