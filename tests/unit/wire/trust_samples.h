// Well-formed answers about trust and the log, to be broken by tests.
#ifndef LORIKEET_TESTS_UNIT_WIRE_TRUST_SAMPLES_H_
#define LORIKEET_TESTS_UNIT_WIRE_TRUST_SAMPLES_H_

#include "common/wire/trust_messages.h"
#include "tests/unit/trust/trust_repository.h"

namespace lorikeet {

inline TrustUpdate SampleTrustUpdate() {
  TrustRepository repository;
  TrustUpdate update = repository.Publish();
  update.roots = {repository.NextRoot({})};
  return update;
}

inline LogQuery SampleLogQuery() {
  return {
      .known_size = 7,
      .entries = {LogEntryOf(LogEntryKind::kRelease, "a"), LogEntryOf(LogEntryKind::kRound, "b")}};
}

inline LogEvidence SampleLogEvidence() {
  SeededRandom random("wire sample", 3);
  LogEvidence evidence;
  evidence.head =
      SignTreeHead({.size = 9, .root = LeafHash({})}, TrustEpoch(), SigningKey::Generate(&random));
  evidence.consistency = {LeafHash({}), EmptyTreeRoot()};
  evidence.places = {{.index = 8, .inclusion = {EmptyTreeRoot()}}, {}};
  return evidence;
}

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_UNIT_WIRE_TRUST_SAMPLES_H_
