// What an agent may ask of a coordinator, as data: the state machine returns requests, an edge
// executes them.
#ifndef LORIKEET_DEVICE_AGENT_REQUESTS_H_
#define LORIKEET_DEVICE_AGENT_REQUESTS_H_

#include <cstdint>
#include <string_view>
#include <variant>

#include "absl/status/status.h"
#include "common/wire/federation.h"
#include "common/wire/token_service.h"

namespace lorikeet {

struct HelloCall {
  uint32_t protocol_version = kProtocolVersion;
};
using AgentRequest = std::variant<HelloCall, ReleaseQuery, ChunkQuery, RoundQuery, JoinRequest,
                                  ShareKeysMessage, MaskedUpdate, Acknowledgement, UnmaskResponse,
                                  PollQuery, TokenKeysQuery, IssueRequest, TrustQuery, LogQuery>;

struct Ticket {
  uint32_t value = 0;
};
struct Accepted {};
// The answer, or why there is none.
struct AgentResponse {
  absl::Status status;
  std::variant<std::monostate, HelloResult, SignedManifest, ChunkResult, RoundOffer, Ticket,
               Accepted, PollResult, SignedTokenKeys, BatchEvaluation, TrustUpdate, LogEvidence>
      answer;
};

// Whom an agent talks to.  They may be one process or two.
struct AgentServices {
  FederationService* federation = nullptr;
  TokenIssuerService* issuer = nullptr;  // null: nobody issues tokens
};

// One call; blocks as long as the service does.
AgentResponse Execute(const AgentServices& services, const DeviceId& device,
                      const AgentRequest& request);

// "Hello", "GetRelease", ... for reports.
std::string_view RequestName(const AgentRequest& request);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_REQUESTS_H_
