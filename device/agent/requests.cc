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

absl::Status NobodyIssues() { return absl::UnimplementedError("nobody issues tokens here"); }

struct Caller {
  FederationService* service;
  TokenIssuerService* issuer;
  const DeviceId& device;

  AgentResponse operator()(const HelloCall& call) const {
    return From<HelloResult>(service->Hello(device, call.protocol_version));
  }
  AgentResponse operator()(const ReleaseQuery& query) const {
    return From<SignedManifest>(service->GetRelease(device, query));
  }
  AgentResponse operator()(const TrustQuery& query) const {
    return From<TrustUpdate>(service->GetTrust(device, query));
  }
  AgentResponse operator()(const LogQuery& query) const {
    return From<LogEvidence>(service->GetLogProof(device, query));
  }
  AgentResponse operator()(const ChunkQuery& query) const {
    return From<ChunkResult>(service->FetchChunk(device, query));
  }
  AgentResponse operator()(const RoundQuery& query) const {
    return From<RoundOffer>(service->GetRound(device, query));
  }
  AgentResponse operator()(const JoinRequest& request) const {
    return From<Ticket>(service->AdvertiseKeys(device, request));
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
  AgentResponse operator()(const TokenKeysQuery&) const {
    if (issuer == nullptr) return {NobodyIssues(), {}};
    return From<SignedTokenKeys>(issuer->GetTokenKeys(device));
  }
  AgentResponse operator()(const IssueRequest& request) const {
    if (issuer == nullptr) return {NobodyIssues(), {}};
    return From<BatchEvaluation>(issuer->IssueTokens(device, request));
  }
};

}  // namespace

AgentResponse Execute(const AgentServices& services, const DeviceId& device,
                      const AgentRequest& request) {
  return std::visit(Caller{services.federation, services.issuer, device}, request);
}

std::string_view RequestName(const AgentRequest& request) {
  static constexpr std::string_view kNames[] = {
      "Hello",        "GetRelease",         "FetchChunk",  "GetRound",   "AdvertiseKeys",
      "ShareKeys",    "SubmitMaskedUpdate", "Acknowledge", "Unmask",     "Poll",
      "GetTokenKeys", "IssueTokens",        "GetTrust",    "GetLogProof"};
  static_assert(std::size(kNames) == std::variant_size_v<AgentRequest>);
  return kNames[request.index()];
}

}  // namespace lorikeet
