// Bytes of calls, as encoded by common/wire; calls without an encoding of their own count the bytes
// of their fields.  Framing of the transport is not counted.
#ifndef LORIKEET_SIMULATIONS_WORLD_TRAFFIC_H_
#define LORIKEET_SIMULATIONS_WORLD_TRAFFIC_H_

#include <cstdint>
#include <map>
#include <optional>

#include "device/agent/requests.h"

namespace lorikeet {

uint64_t RequestBytes(const AgentRequest& request);
uint64_t ResponseBytes(const AgentResponse& response);
// The session that a request belongs to; nullopt: to none (releases, hello).
std::optional<SessionId> SessionOfRequest(const AgentRequest& request);

struct Traffic {
  uint64_t bytes_up = 0;
  uint64_t bytes_down = 0;
};

// By session, and the rest.  Lost requests count for their sender, lost answers for theirs.
class TrafficMeter {
 public:
  void CountRequest(const AgentRequest& request);
  void CountResponse(const AgentRequest& request, const AgentResponse& response);
  Traffic OfSession(const SessionId& session) const;
  const Traffic& others() const { return others_; }

 private:
  Traffic& Account(const AgentRequest& request);
  std::map<SessionId, Traffic> sessions_;
  Traffic others_;
};

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_WORLD_TRAFFIC_H_
