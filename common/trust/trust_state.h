// What a device believes of a fleet's metadata, and how that changes: the client workflow of the
// TUF specification (section 5) as a pure state machine.  No I/O, no clock: whoever calls stores
// what comes back.
//
// Attack -> the rule that stops it:
//   forged documents         thresholds of signatures by the keys that the trusted root names
//   rollback                 versions of timestamp, snapshot and targets never go down
//   freeze                   every document expires; the timestamp soon
//   fast-forward             a root with other timestamp or snapshot keys starts their versions
//   anew mix-and-match            the timestamp names one snapshot by hash, that one targets
//   document endless data             hard caps, then the length that the reference states other
//   software           length and hash of each target (CheckTarget) some stolen keys         fewer
//   than the threshold sign nothing; a key counts once a root by somebody else  each root is signed
//   by a threshold of the old and of its own keys
// A clock may be wrong by a day: documents are made to outlast that (kMaxClockSkew).
#ifndef LORIKEET_COMMON_TRUST_TRUST_STATE_H_
#define LORIKEET_COMMON_TRUST_TRUST_STATE_H_

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/trust/metadata.h"

namespace lorikeet {

// A timestamp signed further than this in the future tells that the device's clock is slow. Whoever
// signs timestamps lets them live for more than this, so that a fast clock does no harm either.
inline constexpr absl::Duration kMaxClockSkew = absl::Hours(24);
// Roots taken in one update; an older device needs several.
inline constexpr size_t kMaxRootsPerUpdate = 64;

// What is stored: documents with their signatures, as they came.
struct TrustedDocuments {
  SignedMetadata root;
  std::optional<SignedMetadata> timestamp;
  std::optional<SignedMetadata> snapshot;
  std::optional<SignedMetadata> targets;

  friend bool operator==(const TrustedDocuments&, const TrustedDocuments&) = default;
};

// What a server answers.
struct TrustUpdate {
  std::vector<SignedMetadata> roots;        // those after the trusted one, in order
  std::optional<SignedMetadata> timestamp;  // absent: the server has none
  std::optional<SignedMetadata> snapshot;   // absent: the device has the one the timestamp names
  std::optional<SignedMetadata> targets;    // likewise
};

// A value: copying it is how an update is tried.
class TrustState {
 public:
  // Trust on first use: `root` is pinned when a device enrols.  Errors as ParseRoot;
  // PERMISSION_DENIED: it is not signed by a threshold of its own keys.
  static absl::StatusOr<TrustState> FromRoot(SignedMetadata root);
  // From what was stored, signatures checked again; expiry is not: a device that was off for a year
  // starts where it stopped.  DATA_LOSS: the documents are not signed as the stored root demands.
  static absl::StatusOr<TrustState> Load(const TrustedDocuments& stored);

  // Takes what an update proves, step by step: root by root, timestamp, snapshot, targets.  The
  // steps before the one that failed stay taken and are to be stored, too: a new root must count
  // although an attacker withholds the rest.
  //   PERMISSION_DENIED    not signed as the trusted root demands
  //   FAILED_PRECONDITION  rolled back, a root left out, or the clock of this device is slow
  //   DEADLINE_EXCEEDED    expired: somebody may be holding back newer documents (freeze)
  //   DATA_LOSS            not the bytes that the document above names (mix-and-match)
  //   RESOURCE_EXHAUSTED   longer than stated or than anybody reads (endless data)
  //   NOT_FOUND            a document is missing
  //   INVALID_ARGUMENT     signed, and malformed nevertheless
  absl::Status Update(const TrustUpdate& update, absl::Time now);

  // One root, whether it is still valid or not.  Errors as Update.
  absl::Status UpdateRoot(const SignedMetadata& document);

  // A file that may be installed now.  NOT_FOUND: none of that name, or no targets yet;
  // DEADLINE_EXCEEDED: a document expired since the last update.
  absl::StatusOr<TargetFile> FindTarget(std::string_view name, absl::Time now) const;

  // Keys for what is signed outside of the metadata (log, rounds).  NOT_FOUND: no timestamp yet;
  // DEADLINE_EXCEEDED: the root or the timestamp expired, so that somebody may be holding back a
  // newer root.
  absl::StatusOr<RoleKeys> KeysOf(TrustRole role, absl::Time now) const;

  const TrustedDocuments& documents() const { return documents_; }
  const RootMetadata& root() const { return root_; }
  const std::optional<TimestampMetadata>& timestamp() const { return timestamp_; }
  const std::optional<SnapshotMetadata>& snapshot() const { return snapshot_; }
  const std::optional<TargetsMetadata>& targets() const { return targets_; }

 private:
  TrustState() = default;
  void ForgetRotated(const RootMetadata& root);
  absl::Status TakeTimestamp(const SignedMetadata& document);
  absl::Status TakeSnapshot(const SignedMetadata& document);
  absl::Status TakeTargets(const SignedMetadata& document);
  absl::Status UpdateSnapshot(const TrustUpdate& update, absl::Time now);
  absl::Status UpdateTargets(const TrustUpdate& update, absl::Time now);
  // A clock that is slow is at least as late as the timestamp says it is.
  absl::Time AtLeast(absl::Time now) const;

  TrustedDocuments documents_;
  RootMetadata root_;
  std::optional<TimestampMetadata> timestamp_;
  std::optional<SnapshotMetadata> snapshot_;
  std::optional<TargetsMetadata> targets_;
};

// Length, then hash.  DATA_LOSS: these are not the bytes of the target.
absl::Status CheckTarget(std::string_view name, const TargetFile& target,
                         std::span<const uint8_t> bytes);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TRUST_TRUST_STATE_H_
