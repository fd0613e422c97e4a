// A whole secure aggregation session in memory: one server, n clients, dropouts at any step,
// messages open to mischief.
#ifndef LORIKEET_TESTS_UNIT_SECAGG_SESSION_FIXTURE_H_
#define LORIKEET_TESTS_UNIT_SECAGG_SESSION_FIXTURE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/secagg/client.h"
#include "common/secagg/server.h"

namespace lorikeet {

inline SessionId SessionNamed(std::string_view name) { return Hasher().Update(name).Finish(); }

// Random words modulo 2^m, as an encoded vector of a device.
inline EncodedDelta RandomInput(int64_t dimension, int modulus_bits, uint64_t seed) {
  SeededRandom random("input", seed);
  Rng rng(seed);
  std::vector<float> values(dimension);
  for (float& value : values) value = static_cast<float>(rng.Normal());
  EncodingParameters encoding{.dimension = dimension,
                              .clip_norm = 1,
                              .scale = 500,
                              .sigma_local = 0.1,
                              .modulus_bits = modulus_bits};
  return Encode(Clip(values, 1).value(), encoding, &random).value();
}

// The steps a client takes part in before it vanishes: 0 none, 1 advertise, ... 5 all.
struct SessionOptions {
  SecAggParameters parameters;
  std::vector<int> steps;
  uint64_t seed = 1;
  ThreadPool* pool = nullptr;  // for the server's unmasking
  // Called on messages on their way; may change them.
  std::function<void(uint32_t ticket, KeyDirectory*)> on_directory = [](uint32_t, KeyDirectory*) {};
  std::function<void(ShareKeysMessage*)> on_shares = [](ShareKeysMessage*) {};
  std::function<void(ShareDelivery*)> on_delivery = [](ShareDelivery*) {};
  std::function<void(SurvivorLists*, ClientIndex)> on_survivors = [](SurvivorLists*, ClientIndex) {
  };
  std::function<void(AcknowledgementSet*, ClientIndex)> on_acknowledgements =
      [](AcknowledgementSet*, ClientIndex) {};
  std::function<void(UnmaskResponse*)> on_response = [](UnmaskResponse*) {};
};

struct SessionResult {
  absl::StatusOr<AggregateSum> sum = absl::UnknownError("not run");
  std::vector<uint32_t> expected;           // of the inputs that arrived, modulo 2^m
  std::vector<absl::Status> client_status;  // by ticket: the first error, or OK
  std::vector<ClientIndex> index;           // by ticket
  int responses = 0;                        // unmask responses that left clients
};

SessionResult RunSession(const SessionOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_UNIT_SECAGG_SESSION_FIXTURE_H_
