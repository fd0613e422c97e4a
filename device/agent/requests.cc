#include "device/agent/requests.h"

#include <utility>

namespace lorikeet {
namespace {

template <typename Answer, typename Result>
AgentResponse From(absl::StatusOr<Result> result) {
  AgentResponse response{result.status(), {}};
  if (result.ok()) response.answer = Answer(std::move(*result));
  return response;
}

AgentResponse From(const absl::Status& status) {
  AgentResponse response{status, {}};
  if (status.ok()) response.answer = Accepted{};
  return response;
}

struct Caller {
  FederationService* service;
  const DeviceId& device;

  AgentResponse operator()(const HelloCall& call) const {
    return From<HelloResult>(service->Hello(device, call.protocol_version));
  }
  AgentResponse operator()(const ReleaseQuery& query) const {
    return From<SignedManifest>(service->GetRelease(device, query));
  }
  AgentResponse operator()(const ChunkQuery& query) const {
    return From<ChunkResult>(service->FetchChunk(device, query));
  }
  AgentResponse operator()(const RoundQuery& query) const {
    return From<RoundOffer>(service->GetRound(device, query));
  }
  AgentResponse operator()(const KeyAdvertisement& message) const {
    return From<Ticket>(service->AdvertiseKeys(device, message));
  }
  AgentResponse operator()(const ShareKeysMessage& message) const {
    return From(service->ShareKeys(device, message));
  }
  AgentResponse operator()(const MaskedUpdate& message) const {
    return From(service->SubmitMaskedUpdate(device, message));
  }
  AgentResponse operator()(const Acknowledgement& message) const {
    return From(service->Acknowledge(device, message));
  }
  AgentResponse operator()(const UnmaskResponse& message) const {
    return From(service->Unmask(device, message));
  }
  AgentResponse operator()(const PollQuery& query) const {
    return From<PollResult>(service->Poll(device, query));
  }
};

}  // namespace

AgentResponse Execute(FederationService* service, const DeviceId& device,
                      const AgentRequest& request) {
  return std::visit(Caller{service, device}, request);
}

std::string_view RequestName(const AgentRequest& request) {
  static constexpr std::string_view kNames[] = {
      "Hello",     "GetRelease",         "FetchChunk",  "GetRound", "AdvertiseKeys",
      "ShareKeys", "SubmitMaskedUpdate", "Acknowledge", "Unmask",   "Poll"};
  static_assert(std::size(kNames) == std::variant_size_v<AgentRequest>);
  return kNames[request.index()];
}

}  // namespace lorikeet
