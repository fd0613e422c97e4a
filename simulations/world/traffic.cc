#include "simulations/world/traffic.h"

#include <type_traits>

#include "common/wire/encode.h"

namespace lorikeet {
namespace {

struct RequestSize {
  uint64_t operator()(const HelloCall&) const { return 4; }
  uint64_t operator()(const ReleaseQuery& query) const { return 1 + query.base_fingerprint.size(); }
  uint64_t operator()(const ChunkQuery& query) const { return query.file_hash.size() + 12; }
  uint64_t operator()(const RoundQuery& query) const { return 12 + query.base_fingerprint.size(); }
  uint64_t operator()(const PollQuery& query) const { return query.session.size() + 4; }
  uint64_t operator()(const TokenKeysQuery&) const { return 0; }
  template <typename Message>
  uint64_t operator()(const Message& message) const {
    return Encode(message).size();
  }
};

struct AnswerSize {
  uint64_t operator()(const std::monostate&) const { return 0; }
  uint64_t operator()(const HelloResult&) const { return 16; }
  uint64_t operator()(const TrustUpdate& update) const { return Encode(update).size(); }
  uint64_t operator()(const LogEvidence& evidence) const { return Encode(evidence).size(); }
  uint64_t operator()(const SignedManifest& manifest) const {
    return manifest.manifest.size() + manifest.signature.size() + manifest.key.size();
  }
  uint64_t operator()(const ChunkResult& chunk) const { return chunk.data.size() + 8; }
  uint64_t operator()(const RoundOffer& offer) const {
    uint64_t bytes = 8;
    for (const SignedRoundDescription& round : offer.rounds) {
      bytes += round.description.size() + round.signature.size() + round.key.size();
    }
    return bytes;
  }
  uint64_t operator()(const Ticket&) const { return 4; }
  uint64_t operator()(const SignedTokenKeys& keys) const { return Encode(keys).size(); }
  uint64_t operator()(const BatchEvaluation& evaluation) const { return Encode(evaluation).size(); }
  uint64_t operator()(const Accepted&) const { return 0; }
  uint64_t operator()(const PollResult& poll) const {
    uint64_t bytes = 9 + poll.message.size();
    if (poll.directory) bytes += Encode(*poll.directory).size();
    if (poll.delivery) bytes += Encode(*poll.delivery).size();
    if (poll.survivors) bytes += Encode(*poll.survivors).size();
    if (poll.acknowledgements) bytes += Encode(*poll.acknowledgements).size();
    if (poll.phase == RoundPhase::kDone) bytes += 4 + poll.transcript.size();
    return bytes;
  }
};

struct RequestSession {
  std::optional<SessionId> operator()(const JoinRequest& request) const {
    return request.keys.session;
  }
  template <typename Message>
  std::optional<SessionId> operator()(const Message& message) const {
    if constexpr (requires { message.session; }) {
      return message.session;
    } else {
      return std::nullopt;
    }
  }
};

}  // namespace

uint64_t RequestBytes(const AgentRequest& request) { return std::visit(RequestSize{}, request); }

uint64_t ResponseBytes(const AgentResponse& response) {
  return std::visit(AnswerSize{}, response.answer) + response.status.message().size();
}

std::optional<SessionId> SessionOfRequest(const AgentRequest& request) {
  return std::visit(RequestSession{}, request);
}

Traffic& TrafficMeter::Account(const AgentRequest& request) {
  const auto session = SessionOfRequest(request);
  return session ? sessions_[*session] : others_;
}

void TrafficMeter::CountRequest(const AgentRequest& request) {
  Account(request).bytes_up += RequestBytes(request);
}

void TrafficMeter::CountResponse(const AgentRequest& request, const AgentResponse& response) {
  Account(request).bytes_down += ResponseBytes(response);
}

Traffic TrafficMeter::OfSession(const SessionId& session) const {
  const auto it = sessions_.find(session);
  return it == sessions_.end() ? Traffic{} : it->second;
}

}  // namespace lorikeet
