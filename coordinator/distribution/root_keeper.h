// Roots of a fleet's trust: the first one, and each next one after it.  Needed at `init` and when
// keys rotate; a server has no use for it.
#ifndef LORIKEET_COORDINATOR_DISTRIBUTION_ROOT_KEEPER_H_
#define LORIKEET_COORDINATOR_DISTRIBUTION_ROOT_KEEPER_H_

#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/trust/trust_state.h"
#include "coordinator/storage/trust_store.h"

namespace lorikeet {

struct NewRoot {
  std::vector<const SigningKey*> root_keys;
  uint64_t threshold = 1;  // of root_keys
  // Of every other role; one signs.
  std::map<TrustRole, Ed25519PublicKey> online;
  absl::Time expires;
};
// Version 1, signed by all root keys.
SignedMetadata MakeFirstRoot(const NewRoot& root);

// The newest root.  FAILED_PRECONDITION: there is none.
absl::StatusOr<TrustState> NewestRoot(TrustStore* store);

// Takes a root that follows the newest one, as any device would: errors as TrustState::Update. Into
// an empty store, a first root signed by itself.  ALREADY_EXISTS: somebody else was faster.
absl::Status AcceptRoot(TrustStore* store, const SignedMetadata& root);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_DISTRIBUTION_ROOT_KEEPER_H_
