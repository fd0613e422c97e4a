// What an agent may ask of a coordinator, as data: the state machine returns requests, an edge
// executes them.
#ifndef LORIKEET_DEVICE_AGENT_REQUESTS_H_
#define LORIKEET_DEVICE_AGENT_REQUESTS_H_

#include <cstdint>
#include <string_view>
#include <variant>

#include "absl/status/status.h"
#include "common/wire/federation.h"

namespace lorikeet {

struct HelloCall {
  uint32_t protocol_version = kProtocolVersion;
};
using AgentRequest =
    std::variant<HelloCall, ReleaseQuery, ChunkQuery, RoundQuery, KeyAdvertisement,
                 ShareKeysMessage, MaskedUpdate, Acknowledgement, UnmaskResponse, PollQuery>;

struct Ticket {
  uint32_t value = 0;
};
struct Accepted {};
// The answer, or why there is none.
struct AgentResponse {
  absl::Status status;
  std::variant<std::monostate, HelloResult, SignedManifest, ChunkResult, RoundOffer, Ticket,
               Accepted, PollResult>
      answer;
};

// One call of `service`; blocks as long as the service does.
AgentResponse Execute(FederationService* service, const DeviceId& device,
                      const AgentRequest& request);

// "Hello", "GetRelease", ... for reports.
std::string_view RequestName(const AgentRequest& request);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_REQUESTS_H_
