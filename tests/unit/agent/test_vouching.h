// Metadata and a log that vouch for whatever a test tells them to.
#ifndef LORIKEET_TESTS_UNIT_AGENT_TEST_VOUCHING_H_
#define LORIKEET_TESTS_UNIT_AGENT_TEST_VOUCHING_H_

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "common/wire/federation.h"
#include "common/wire/manifest.h"
#include "tests/unit/transparency/memory_log.h"
#include "tests/unit/trust/trust_repository.h"

namespace lorikeet {

class TestVouching {
 public:
  // `rounds` signs round descriptions.  The first root is valid for centuries: tests have clocks of
  // their own.
  explicit TestVouching(SigningKey rounds) {
    repository_.root.expires = absl::FromUnixSeconds(int64_t{1} << 33);
    repository_.targets.targets.clear();
    repository_.SetKeys(TrustRole::kRounds, {std::make_shared<SigningKey>(std::move(rounds))}, 1);
    root_ = repository_.SignedRoot();
  }
  const SignedMetadata& root() const { return root_; }

  // The manifest is what devices that ask for this may install.
  void List(const ReleaseQuery& query, const std::string& manifest) {
    repository_.targets.targets[TargetName(query.kind, query.base_fingerprint)] = {
        .length = manifest.size(), .hash = Blake2b(AsBytes(manifest))};
  }
  TrustUpdate Answer(absl::Time now) {
    repository_.timestamp.signed_at = absl::FromUnixSeconds(absl::ToUnixSeconds(now));
    repository_.timestamp.expires = repository_.timestamp.signed_at + absl::Hours(72);
    repository_.snapshot.expires = repository_.targets.expires = repository_.root.expires;
    return repository_.PublishNext();
  }
  // Entries that are not in the log enter it.
  LogEvidence Prove(const LogQuery& query, absl::Time now) {
    for (const LogEntry& entry : query.entries) {
      if (positions_.emplace(entry.content, log_.size()).second) log_.Append(LeafOf(entry));
    }
    LogEvidence evidence;
    evidence.head = SignTreeHead(log_.Tree(), now, *repository_.keys.at(TrustRole::kLog)[0]);
    evidence.consistency = ConsistencyProof(query.known_size, log_.size(), log_).value();
    for (const LogEntry& entry : query.entries) {
      const uint64_t index = positions_.at(entry.content);
      evidence.places.push_back({index, InclusionProof(index, log_.size(), log_).value()});
    }
    return evidence;
  }
  // From here on another log is shown, longer than the first.
  void Fork() {
    const uint64_t size = log_.size();
    log_ = MemoryLog();
    positions_.clear();
    for (uint64_t i = 0; i < size + 3; ++i) log_.Append(LeafHash(AsBytes("another view")));
  }

 private:
  TrustRepository repository_;
  SignedMetadata root_;
  MemoryLog log_;
  std::map<Hash256, uint64_t> positions_;
};

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_UNIT_AGENT_TEST_VOUCHING_H_
