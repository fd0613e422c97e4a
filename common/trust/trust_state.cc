#include "common/trust/trust_state.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

std::string TimeText(absl::Time time) {
  return absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone());
}

absl::Status CheckSigned(TrustRole role, const SignedMetadata& document, const RoleKeys& keys,
                         std::string_view whose) {
  if (document.signatures.size() > kMaxTrustSignatures) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%s metadata: expected at most %d signatures, got %d (endless data)",
                        TrustRoleName(role), kMaxTrustSignatures, document.signatures.size()));
  }
  const uint64_t good = CountSignatures(role, document, keys);
  if (good >= keys.threshold) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrFormat(
      "%s metadata: expected signatures by %d of the %d keys of %s, got %d (%d signatures came)",
      TrustRoleName(role), keys.threshold, keys.keys.size(), whose, good,
      document.signatures.size()));
}

// Before anything is hashed or parsed.
absl::Status CheckSize(TrustRole role, const SignedMetadata& document) {
  if (document.bytes.size() <= MaxMetadataBytes(role)) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrFormat("%s metadata: expected at most %d bytes, got %d (endless data)",
                      TrustRoleName(role), MaxMetadataBytes(role), document.bytes.size()));
}

absl::Status CheckReference(TrustRole role, const SignedMetadata& document,
                            const MetadataReference& reference) {
  if (document.bytes.size() > reference.length) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%s metadata: expected the %d bytes that are referred to, got %d (endless "
                        "data)",
                        TrustRoleName(role), reference.length, document.bytes.size()));
  }
  const Hash256 hash = Blake2b(AsBytes(document.bytes));
  if (document.bytes.size() == reference.length && hash == reference.hash) return absl::OkStatus();
  return absl::DataLossError(absl::StrFormat(
      "%s metadata: expected the hash %s that is referred to, got %s (mixed with another time)",
      TrustRoleName(role), ToHex(reference.hash), ToHex(hash)));
}

absl::Status CheckVersion(TrustRole role, uint64_t referred, uint64_t version) {
  if (referred == version) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrFormat("%s metadata: expected version %d that is referred to, got %d",
                      TrustRoleName(role), referred, version));
}

absl::Status RolledBack(TrustRole role, uint64_t trusted, uint64_t version) {
  return absl::FailedPreconditionError(
      absl::StrFormat("%s metadata: expected version %d or newer, got %d (rolled back)",
                      TrustRoleName(role), trusted, version));
}

absl::Status CheckExpiry(TrustRole role, absl::Time expires, absl::Time now) {
  if (now < expires) return absl::OkStatus();
  return absl::DeadlineExceededError(absl::StrFormat(
      "%s metadata: expected one that is valid at %s, got one that expired at %s (frozen?)",
      TrustRoleName(role), TimeText(now), TimeText(expires)));
}

absl::Status Missing(TrustRole role) {
  return absl::NotFoundError(
      absl::StrCat(ToAbsl(TrustRoleName(role)), " metadata: expected one, got none"));
}

}  // namespace

absl::Time TrustState::AtLeast(absl::Time now) const {
  return timestamp_ ? std::max(now, timestamp_->signed_at) : now;
}

absl::StatusOr<TrustState> TrustState::FromRoot(SignedMetadata root) {
  TrustState state;
  RETURN_IF_ERROR(CheckSize(TrustRole::kRoot, root));
  ASSIGN_OR_RETURN(state.root_, ParseRoot(root.bytes));
  RETURN_IF_ERROR(
      CheckSigned(TrustRole::kRoot, root, state.root_.role(TrustRole::kRoot), "this root"));
  state.documents_.root = std::move(root);
  return state;
}

absl::StatusOr<TrustState> TrustState::Load(const TrustedDocuments& stored) {
  const auto load = [&]() -> absl::StatusOr<TrustState> {
    ASSIGN_OR_RETURN(TrustState state, FromRoot(stored.root));
    if (stored.timestamp) RETURN_IF_ERROR(state.TakeTimestamp(*stored.timestamp));
    // An update may have stopped between two documents, so references are not checked here:
    // FindTarget and the next update do.
    if (stored.snapshot) {
      RETURN_IF_ERROR(CheckSigned(TrustRole::kSnapshot, *stored.snapshot,
                                  state.root_.role(TrustRole::kSnapshot), "the stored root"));
      ASSIGN_OR_RETURN(state.snapshot_, ParseSnapshot(stored.snapshot->bytes));
      state.documents_.snapshot = stored.snapshot;
    }
    if (stored.targets) {
      RETURN_IF_ERROR(CheckSigned(TrustRole::kTargets, *stored.targets,
                                  state.root_.role(TrustRole::kTargets), "the stored root"));
      ASSIGN_OR_RETURN(state.targets_, ParseTargets(stored.targets->bytes));
      state.documents_.targets = stored.targets;
    }
    return state;
  };
  absl::StatusOr<TrustState> state = load();
  if (state.ok()) return state;
  return absl::DataLossError(absl::StrCat("stored metadata: ", ToAbsl(Message(state.status()))));
}

absl::Status TrustState::Update(const TrustUpdate& update, absl::Time now) {
  if (update.roots.size() > kMaxRootsPerUpdate) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("root metadata: expected at most %d roots, got %d (endless data)",
                        kMaxRootsPerUpdate, update.roots.size()));
  }
  for (const SignedMetadata& root : update.roots) RETURN_IF_ERROR(UpdateRoot(root));
  // Of the last root only (TUF 5.3.10): a device that was off must get past those in between.
  RETURN_IF_ERROR(CheckExpiry(TrustRole::kRoot, root_.expires, AtLeast(now)));
  if (!update.timestamp) return Missing(TrustRole::kTimestamp);
  TrustState tried = *this;
  RETURN_IF_ERROR(tried.TakeTimestamp(*update.timestamp));
  if (tried.timestamp_->signed_at > now + kMaxClockSkew) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "timestamp metadata: signed at %s, and this device's clock says %s: expected a clock that "
        "is right to a day",
        TimeText(tried.timestamp_->signed_at), TimeText(now)));
  }
  RETURN_IF_ERROR(
      CheckExpiry(TrustRole::kTimestamp, tried.timestamp_->expires, tried.AtLeast(now)));
  *this = std::move(tried);
  RETURN_IF_ERROR(UpdateSnapshot(update, now));
  return UpdateTargets(update, now);
}

absl::Status TrustState::UpdateRoot(const SignedMetadata& document) {
  RETURN_IF_ERROR(CheckSize(TrustRole::kRoot, document));
  RETURN_IF_ERROR(CheckSigned(TrustRole::kRoot, document, root_.role(TrustRole::kRoot),
                              absl::StrFormat("root version %d", root_.version)));
  ASSIGN_OR_RETURN(RootMetadata root, ParseRoot(document.bytes));
  if (root.version != root_.version + 1) {
    if (root.version <= root_.version) {
      return RolledBack(TrustRole::kRoot, root_.version + 1, root.version);
    }
    return absl::FailedPreconditionError(
        absl::StrFormat("root metadata: expected version %d, got %d (one was left out)",
                        root_.version + 1, root.version));
  }
  RETURN_IF_ERROR(CheckSigned(TrustRole::kRoot, document, root.role(TrustRole::kRoot),
                              absl::StrFormat("root version %d itself", root.version)));
  ForgetRotated(root);
  root_ = std::move(root);
  documents_.root = document;
  return absl::OkStatus();
}

// Nothing stays that only the old keys vouch for.
void TrustState::ForgetRotated(const RootMetadata& root) {
  const auto rotated = [&](TrustRole role) { return root.role(role) != root_.role(role); };
  // Whoever held the old keys may have signed versions near the largest number (TUF 5.3.11).
  if (rotated(TrustRole::kTimestamp) || rotated(TrustRole::kSnapshot)) {
    timestamp_.reset();
    snapshot_.reset();
    documents_.timestamp.reset();
    documents_.snapshot.reset();
  }
  if (rotated(TrustRole::kTargets)) {
    targets_.reset();
    documents_.targets.reset();
  }
}

absl::Status TrustState::TakeTimestamp(const SignedMetadata& document) {
  RETURN_IF_ERROR(CheckSize(TrustRole::kTimestamp, document));
  RETURN_IF_ERROR(CheckSigned(TrustRole::kTimestamp, document, root_.role(TrustRole::kTimestamp),
                              "the trusted root"));
  ASSIGN_OR_RETURN(TimestampMetadata timestamp, ParseTimestamp(document.bytes));
  if (timestamp_) {
    if (timestamp.version < timestamp_->version) {
      return RolledBack(TrustRole::kTimestamp, timestamp_->version, timestamp.version);
    }
    if (timestamp.snapshot.version < timestamp_->snapshot.version) {
      return RolledBack(TrustRole::kSnapshot, timestamp_->snapshot.version,
                        timestamp.snapshot.version);
    }
    // Nothing newer: the one that is trusted stays (TUF 5.4.3).
    if (timestamp.version == timestamp_->version) return absl::OkStatus();
  }
  timestamp_ = timestamp;
  documents_.timestamp = document;
  return absl::OkStatus();
}

absl::Status TrustState::UpdateSnapshot(const TrustUpdate& update, absl::Time now) {
  const bool same =
      documents_.snapshot &&
      CheckReference(TrustRole::kSnapshot, *documents_.snapshot, timestamp_->snapshot).ok();
  if (!same) {
    if (!update.snapshot) return Missing(TrustRole::kSnapshot);
    RETURN_IF_ERROR(TakeSnapshot(*update.snapshot));
  }
  return CheckExpiry(TrustRole::kSnapshot, snapshot_->expires, AtLeast(now));
}

absl::Status TrustState::TakeSnapshot(const SignedMetadata& document) {
  RETURN_IF_ERROR(CheckSize(TrustRole::kSnapshot, document));
  RETURN_IF_ERROR(CheckReference(TrustRole::kSnapshot, document, timestamp_->snapshot));
  RETURN_IF_ERROR(CheckSigned(TrustRole::kSnapshot, document, root_.role(TrustRole::kSnapshot),
                              "the trusted root"));
  ASSIGN_OR_RETURN(SnapshotMetadata snapshot, ParseSnapshot(document.bytes));
  RETURN_IF_ERROR(
      CheckVersion(TrustRole::kSnapshot, timestamp_->snapshot.version, snapshot.version));
  if (snapshot_ && snapshot.targets.version < snapshot_->targets.version) {
    return RolledBack(TrustRole::kTargets, snapshot_->targets.version, snapshot.targets.version);
  }
  snapshot_ = snapshot;
  documents_.snapshot = document;
  return absl::OkStatus();
}

absl::Status TrustState::UpdateTargets(const TrustUpdate& update, absl::Time now) {
  const bool same =
      documents_.targets &&
      CheckReference(TrustRole::kTargets, *documents_.targets, snapshot_->targets).ok();
  if (!same) {
    if (!update.targets) return Missing(TrustRole::kTargets);
    RETURN_IF_ERROR(TakeTargets(*update.targets));
  }
  return CheckExpiry(TrustRole::kTargets, targets_->expires, AtLeast(now));
}

absl::Status TrustState::TakeTargets(const SignedMetadata& document) {
  RETURN_IF_ERROR(CheckSize(TrustRole::kTargets, document));
  RETURN_IF_ERROR(CheckReference(TrustRole::kTargets, document, snapshot_->targets));
  RETURN_IF_ERROR(CheckSigned(TrustRole::kTargets, document, root_.role(TrustRole::kTargets),
                              "the trusted root"));
  ASSIGN_OR_RETURN(TargetsMetadata targets, ParseTargets(document.bytes));
  RETURN_IF_ERROR(CheckVersion(TrustRole::kTargets, snapshot_->targets.version, targets.version));
  targets_ = std::move(targets);
  documents_.targets = document;
  return absl::OkStatus();
}

absl::StatusOr<TargetFile> TrustState::FindTarget(std::string_view name, absl::Time now) const {
  if (!timestamp_) return Missing(TrustRole::kTimestamp);
  if (!snapshot_) return Missing(TrustRole::kSnapshot);
  if (!targets_) return Missing(TrustRole::kTargets);
  // An update may have stopped half way: what is left over from before it says nothing of now.
  RETURN_IF_ERROR(CheckReference(TrustRole::kSnapshot, *documents_.snapshot, timestamp_->snapshot));
  RETURN_IF_ERROR(CheckReference(TrustRole::kTargets, *documents_.targets, snapshot_->targets));
  const absl::Time time = AtLeast(now);
  RETURN_IF_ERROR(CheckExpiry(TrustRole::kRoot, root_.expires, time));
  RETURN_IF_ERROR(CheckExpiry(TrustRole::kTimestamp, timestamp_->expires, time));
  RETURN_IF_ERROR(CheckExpiry(TrustRole::kSnapshot, snapshot_->expires, time));
  RETURN_IF_ERROR(CheckExpiry(TrustRole::kTargets, targets_->expires, time));
  const auto it = targets_->targets.find(std::string(name));
  if (it != targets_->targets.end()) return it->second;
  return absl::NotFoundError(absl::StrFormat("targets version %d: expected %s, found no such file",
                                             targets_->version, ToAbsl(name)));
}

absl::StatusOr<RoleKeys> TrustState::KeysOf(TrustRole role, absl::Time now) const {
  if (!timestamp_) return Missing(TrustRole::kTimestamp);
  RETURN_IF_ERROR(CheckExpiry(TrustRole::kRoot, root_.expires, AtLeast(now)));
  RETURN_IF_ERROR(CheckExpiry(TrustRole::kTimestamp, timestamp_->expires, AtLeast(now)));
  return root_.role(role);
}

absl::Status CheckTarget(std::string_view name, const TargetFile& target,
                         std::span<const uint8_t> bytes) {
  if (bytes.size() != target.length) {
    return absl::DataLossError(absl::StrFormat("%s: expected %d bytes, got %d", ToAbsl(name),
                                               target.length, bytes.size()));
  }
  const Hash256 hash = Blake2b(bytes);
  if (hash == target.hash) return absl::OkStatus();
  return absl::DataLossError(absl::StrFormat("%s: expected the hash %s, got %s", ToAbsl(name),
                                             ToHex(target.hash), ToHex(hash)));
}

}  // namespace lorikeet
