// A repository of metadata for tests: keys of every role, and documents that are right unless a
// test changes them.
#ifndef LORIKEET_TESTS_UNIT_TRUST_TRUST_REPOSITORY_H_
#define LORIKEET_TESTS_UNIT_TRUST_TRUST_REPOSITORY_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/base/random.h"
#include "common/base/strings.h"
#include "common/trust/trust_state.h"

namespace lorikeet {

inline absl::Time TrustEpoch() { return absl::FromUnixSeconds(1790000000); }

class TrustRepository {
 public:
  using Keys = std::vector<std::shared_ptr<const SigningKey>>;

  // Three root keys of which two must sign; one key for every other role.
  explicit TrustRepository(uint64_t seed = 1) : random_("trust-repository", seed) {
    root.expires = TrustEpoch() + absl::Hours(24 * 365);
    timestamp.signed_at = TrustEpoch();
    timestamp.expires = TrustEpoch() + absl::Hours(24 * 3);
    snapshot.expires = TrustEpoch() + absl::Hours(24 * 30);
    targets.expires = TrustEpoch() + absl::Hours(24 * 90);
    targets.targets["catalog/a/1"] = {.length = 5, .hash = Blake2b(AsBytes("hello"))};
    SetKeys(TrustRole::kRoot, NewKeys(3), 2);
    for (const TrustRole role : {TrustRole::kTimestamp, TrustRole::kSnapshot, TrustRole::kTargets,
                                 TrustRole::kLog, TrustRole::kRounds}) {
      SetKeys(role, NewKeys(1), 1);
    }
  }

  Keys NewKeys(int count) {
    Keys made;
    for (int i = 0; i < count; ++i) {
      made.push_back(std::make_shared<SigningKey>(SigningKey::Generate(&random_)));
    }
    return made;
  }
  void SetKeys(TrustRole role, Keys role_keys, uint64_t threshold) {
    std::vector<Ed25519PublicKey> public_keys;
    for (const auto& key : role_keys) public_keys.push_back(key->public_key());
    root.role(role) = MakeRoleKeys(public_keys, threshold);
    keys[role] = std::move(role_keys);
  }

  static SignedMetadata Sign(TrustRole role, const std::string& bytes, const Keys& signers) {
    std::vector<const SigningKey*> raw;
    for (const auto& key : signers) raw.push_back(key.get());
    return SignMetadata(role, bytes, raw);
  }
  SignedMetadata SignedRoot() const {
    return Sign(TrustRole::kRoot, SerializeRoot(root), keys.at(TrustRole::kRoot));
  }
  // The next root, signed by its own and by `old` keys.
  SignedMetadata NextRoot(const Keys& old) {
    ++root.version;
    Keys signers = keys.at(TrustRole::kRoot);
    signers.insert(signers.end(), old.begin(), old.end());
    return Sign(TrustRole::kRoot, SerializeRoot(root), signers);
  }

  // All three documents, each naming the one below.
  TrustUpdate Publish() {
    const std::string targets_bytes = SerializeTargets(targets);
    snapshot.targets = ReferTo(targets_bytes, targets.version);
    const std::string snapshot_bytes = SerializeSnapshot(snapshot);
    timestamp.snapshot = ReferTo(snapshot_bytes, snapshot.version);
    TrustUpdate update;
    update.timestamp =
        Sign(TrustRole::kTimestamp, SerializeTimestamp(timestamp), keys.at(TrustRole::kTimestamp));
    update.snapshot = Sign(TrustRole::kSnapshot, snapshot_bytes, keys.at(TrustRole::kSnapshot));
    update.targets = Sign(TrustRole::kTargets, targets_bytes, keys.at(TrustRole::kTargets));
    return update;
  }
  // The same with every version one higher.
  TrustUpdate PublishNext() {
    ++targets.version;
    ++snapshot.version;
    ++timestamp.version;
    return Publish();
  }

  RootMetadata root;
  TimestampMetadata timestamp;
  SnapshotMetadata snapshot;
  TargetsMetadata targets;
  std::map<TrustRole, Keys> keys;

 private:
  SeededRandom random_;
};

// A device that enrolled and updated once.
inline TrustState UpdatedState(TrustRepository& repository) {
  TrustState state = TrustState::FromRoot(repository.SignedRoot()).value();
  const absl::Status updated = state.Update(repository.Publish(), TrustEpoch());
  if (!updated.ok()) std::abort();
  return state;
}

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_UNIT_TRUST_TRUST_REPOSITORY_H_
