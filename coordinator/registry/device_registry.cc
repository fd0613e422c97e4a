#include "coordinator/registry/device_registry.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {

absl::Status CheckDeviceName(std::string_view id) {
  const auto allowed = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-';
  };
  if (!id.empty() && id.size() <= 64 && id[0] != '.' &&
      std::all_of(id.begin(), id.end(), allowed)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "device name: expected 1 to 64 of A-Z a-z 0-9 . _ - and no dot in front");
}

absl::Status EnrollDevice(Store* store, std::string_view id, absl::Time now) {
  RETURN_IF_ERROR(CheckDeviceName(id));
  DeviceRecord device;
  device.id = std::string(id);
  device.enrolled = now;
  return store->AddDevice(device);
}

absl::Status AdmitDevice(Store* store, std::string_view id) {
  ASSIGN_OR_RETURN(const auto device, store->FindDevice(id));
  if (!device) {
    return absl::PermissionDeniedError(absl::StrCat("device ", ToAbsl(id), " is not enrolled"));
  }
  if (device->is_revoked()) {
    return absl::PermissionDeniedError(absl::StrCat("device ", ToAbsl(id), " is revoked"));
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
