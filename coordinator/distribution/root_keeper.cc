#include "coordinator/distribution/root_keeper.h"

#include <utility>

#include "common/base/status_macros.h"

namespace lorikeet {

SignedMetadata MakeFirstRoot(const NewRoot& root) {
  RootMetadata metadata;
  metadata.version = 1;
  metadata.expires = absl::FromUnixSeconds(absl::ToUnixSeconds(root.expires));
  std::vector<Ed25519PublicKey> keys;
  for (const SigningKey* key : root.root_keys) keys.push_back(key->public_key());
  metadata.role(TrustRole::kRoot) = MakeRoleKeys(std::move(keys), root.threshold);
  for (const auto& [role, key] : root.online) metadata.role(role) = MakeRoleKeys({key}, 1);
  return SignMetadata(TrustRole::kRoot, SerializeRoot(metadata), root.root_keys);
}

absl::StatusOr<TrustState> NewestRoot(TrustStore* store) {
  ASSIGN_OR_RETURN(const auto current, store->CurrentTrust());
  for (const TrustRecord& record : current) {
    if (record.role == TrustRole::kRoot) return TrustState::FromRoot(record.document);
  }
  return absl::FailedPreconditionError("trust: expected a root in the store, found none");
}

absl::Status AcceptRoot(TrustStore* store, const SignedMetadata& root) {
  ASSIGN_OR_RETURN(const auto roots, store->RootsAfter(0, 1));
  if (roots.empty()) {
    ASSIGN_OR_RETURN(const TrustState first, TrustState::FromRoot(root));
    return store->AddTrust({{TrustRole::kRoot, first.root().version, root}});
  }
  ASSIGN_OR_RETURN(TrustState state, NewestRoot(store));
  RETURN_IF_ERROR(state.UpdateRoot(root));
  return store->AddTrust({{TrustRole::kRoot, state.root().version, root}});
}

}  // namespace lorikeet
