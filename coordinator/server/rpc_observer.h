// Told of every call that a server answered: which method, with what, after how long.  Never whose.
#ifndef LORIKEET_COORDINATOR_SERVER_RPC_OBSERVER_H_
#define LORIKEET_COORDINATOR_SERVER_RPC_OBSERVER_H_

#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace lorikeet {

class RpcObserver {
 public:
  virtual ~RpcObserver() = default;
  // `method`: as in "AdvertiseKeys".  Called from the server's threads.
  virtual void OnCall(std::string_view method, absl::StatusCode code, absl::Duration took) = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_SERVER_RPC_OBSERVER_H_
