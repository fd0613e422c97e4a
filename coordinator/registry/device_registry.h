// Which devices may talk to this coordinator.
//
// A device proves who it is with its client certificate (its common name is the id); the registry
// says whether that id is enrolled and not revoked.  Read from the store at every call, so that a
// revocation by the admin program holds from the next call on.
#ifndef LORIKEET_COORDINATOR_REGISTRY_DEVICE_REGISTRY_H_
#define LORIKEET_COORDINATOR_REGISTRY_DEVICE_REGISTRY_H_

#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/storage/store.h"

namespace lorikeet {

// [A-Za-z0-9._-]{1,64}: safe as a file name, a certificate's common name and in a log line.
// INVALID_ARGUMENT.
absl::Status CheckDeviceName(std::string_view id);

// INVALID_ARGUMENT: bad name; ALREADY_EXISTS: enrolled before (also if revoked since).
absl::Status EnrollDevice(Store* store, std::string_view id, absl::Time now);

// OK if the device may call.  PERMISSION_DENIED: never enrolled, or revoked.
absl::Status AdmitDevice(Store* store, std::string_view id);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_REGISTRY_DEVICE_REGISTRY_H_
