// Bytes -> structs.  Every size, count and range is checked here, once: INVALID_ARGUMENT says which
// field, what was expected and what came.  What only a session can know (is this a neighbour?) is
// checked by common/secagg.
#ifndef LORIKEET_COMMON_WIRE_DECODE_H_
#define LORIKEET_COMMON_WIRE_DECODE_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "common/secagg/masked_update.h"
#include "common/secagg/messages.h"
#include "common/tokens/token.h"
#include "common/tokens/token_keys.h"
#include "common/wire/federation.h"
#include "common/wire/round.h"

namespace lorikeet {

absl::StatusOr<KeyAdvertisement> DecodeKeyAdvertisement(std::string_view bytes);
absl::StatusOr<KeyDirectory> DecodeKeyDirectory(std::string_view bytes);
absl::StatusOr<ShareKeysMessage> DecodeShareKeysMessage(std::string_view bytes);
absl::StatusOr<ShareDelivery> DecodeShareDelivery(std::string_view bytes);
absl::StatusOr<MaskedUpdate> DecodeMaskedUpdate(std::string_view bytes);
absl::StatusOr<SurvivorLists> DecodeSurvivorLists(std::string_view bytes);
absl::StatusOr<Acknowledgement> DecodeAcknowledgement(std::string_view bytes);
absl::StatusOr<AcknowledgementSet> DecodeAcknowledgementSet(std::string_view bytes);
absl::StatusOr<UnmaskResponse> DecodeUnmaskResponse(std::string_view bytes);
absl::StatusOr<JoinRequest> DecodeJoinRequest(std::string_view bytes);
absl::StatusOr<IssueRequest> DecodeIssueRequest(std::string_view bytes);
absl::StatusOr<BatchEvaluation> DecodeBatchEvaluation(std::string_view bytes);
// Unverified: see VerifyTokenKeys.
absl::StatusOr<SignedTokenKeys> DecodeSignedTokenKeys(std::string_view bytes);
// Unverified: see TrustState and CheckEvidence.
absl::StatusOr<TrustQuery> DecodeTrustQuery(std::string_view bytes);
absl::StatusOr<TrustUpdate> DecodeTrustUpdate(std::string_view bytes);
absl::StatusOr<LogQuery> DecodeLogQuery(std::string_view bytes);
absl::StatusOr<LogEvidence> DecodeLogEvidence(std::string_view bytes);
// Sets the session in secagg to BLAKE2b-256 of `bytes`.  FAILED_PRECONDITION: another protocol
// version. Does not verify a signature: devices call VerifyRoundDescription (sign_round.h).
absl::StatusOr<RoundDescription> DecodeRoundDescription(std::string_view bytes);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_WIRE_DECODE_H_
