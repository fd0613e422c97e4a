// Structs -> bytes of their protobuf messages: what is stored, signed or sent by transports other
// than gRPC.
//
// Deterministic: equal structs give equal bytes.  Of the update types only MaskedUpdate can be
// encoded.
#ifndef LORIKEET_COMMON_WIRE_ENCODE_H_
#define LORIKEET_COMMON_WIRE_ENCODE_H_

#include <string>

#include "common/secagg/masked_update.h"
#include "common/secagg/messages.h"
#include "common/tokens/token.h"
#include "common/tokens/token_keys.h"
#include "common/wire/federation.h"
#include "common/wire/round.h"

namespace lorikeet {

std::string Encode(const KeyAdvertisement& message);
std::string Encode(const KeyDirectory& message);
std::string Encode(const ShareKeysMessage& message);
std::string Encode(const ShareDelivery& message);
std::string Encode(const MaskedUpdate& message);
std::string Encode(const SurvivorLists& message);
std::string Encode(const Acknowledgement& message);
std::string Encode(const AcknowledgementSet& message);
std::string Encode(const UnmaskResponse& message);
std::string Encode(const RoundDescription& description);
std::string Encode(const JoinRequest& request);
std::string Encode(const IssueRequest& request);
std::string Encode(const BatchEvaluation& evaluation);
std::string Encode(const SignedTokenKeys& keys);
std::string Encode(const TrustQuery& query);
std::string Encode(const TrustUpdate& update);
std::string Encode(const LogQuery& query);
std::string Encode(const LogEvidence& evidence);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_WIRE_ENCODE_H_
