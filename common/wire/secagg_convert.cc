// Conversions of the secure aggregation messages and of MaskedUpdate.
#include "common/base/status_macros.h"
#include "common/wire/limits.h"
#include "common/wire/proto_convert.h"
#include "common/wire/wire_checks.h"

namespace lorikeet {
namespace {

using wire_internal::BytesToString;
using wire_internal::CheckCount;
using wire_internal::CheckRange;
using wire_internal::FixedBytes;
using wire_internal::SizedBytes;

template <typename Repeated>
void HashesToProto(const std::vector<Hash256>& from, Repeated* to) {
  for (const Hash256& hash : from) to->Add(BytesToString(hash));
}

template <typename Repeated>
absl::StatusOr<std::vector<Hash256>> HashesFromProto(const Repeated& from, const char* field) {
  RETURN_IF_ERROR(CheckCount(from.size(), kMaxProofHashes, field));
  std::vector<Hash256> to;
  for (const std::string& bytes : from) {
    ASSIGN_OR_RETURN(to.emplace_back(), FixedBytes<32>(bytes, field));
  }
  return to;
}

// A list of client indices: strictly increasing, so that no index is there twice.
template <typename Repeated>
absl::StatusOr<std::vector<ClientIndex>> IndicesFromProto(const Repeated& from, const char* field) {
  RETURN_IF_ERROR(CheckCount(from.size(), kMaxNeighbours, field));
  std::vector<ClientIndex> to;
  for (const uint32_t index : from) {
    RETURN_IF_ERROR(CheckRange(index, 0, kMaxCohort - 1, field));
    if (!to.empty() && index <= to.back()) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: expected increasing indices, got %d after %d", field, index, to.back()));
    }
    to.push_back(index);
  }
  return to;
}

template <typename Repeated>
absl::StatusOr<std::vector<RevealedShare>> SharesFromProto(const Repeated& from,
                                                           const char* field) {
  RETURN_IF_ERROR(CheckCount(from.size(), kMaxNeighbours, field));
  std::vector<RevealedShare> to;
  for (const proto::RevealedShare& share : from) {
    RETURN_IF_ERROR(CheckRange(share.owner(), 0, kMaxCohort - 1, field));
    RevealedShare& added = to.emplace_back();
    added.owner = share.owner();
    ASSIGN_OR_RETURN(added.share, SizedBytes(share.share(), kMaxShareBytes, field));
  }
  return to;
}

absl::StatusOr<SessionId> SessionFromProto(const std::string& bytes) {
  return FixedBytes<32>(bytes, "session");
}

}  // namespace

void ToProto(const KeyAdvertisement& from, proto::KeyAdvertisement* to) {
  to->set_session(BytesToString(from.session));
  to->set_mask_key(BytesToString(from.mask_key));
  to->set_transport_key(BytesToString(from.transport_key));
  to->set_signing_key(BytesToString(from.signing_key));
}

absl::StatusOr<KeyAdvertisement> FromProto(const proto::KeyAdvertisement& from) {
  KeyAdvertisement to;
  ASSIGN_OR_RETURN(to.session, SessionFromProto(from.session()));
  ASSIGN_OR_RETURN(to.mask_key, FixedBytes<32>(from.mask_key(), "mask_key"));
  ASSIGN_OR_RETURN(to.transport_key, FixedBytes<32>(from.transport_key(), "transport_key"));
  ASSIGN_OR_RETURN(to.signing_key, FixedBytes<32>(from.signing_key(), "signing_key"));
  return to;
}

void ToProto(const KeyDirectory& from, proto::KeyDirectory* to) {
  to->set_session(BytesToString(from.session));
  to->set_client_count(from.client_count);
  to->set_root(BytesToString(from.root));
  to->set_own_index(from.own_index);
  HashesToProto(from.own_proof, to->mutable_own_proof());
  for (const NeighbourKeys& neighbour : from.neighbours) {
    proto::NeighbourKeys* added = to->add_neighbours();
    added->set_index(neighbour.index);
    ToProto(neighbour.keys, added->mutable_keys());
    HashesToProto(neighbour.proof, added->mutable_proof());
  }
}

absl::StatusOr<KeyDirectory> FromProto(const proto::KeyDirectory& from) {
  KeyDirectory to;
  ASSIGN_OR_RETURN(to.session, SessionFromProto(from.session()));
  RETURN_IF_ERROR(CheckRange(from.client_count(), 2, kMaxCohort, "client_count"));
  to.client_count = from.client_count();
  ASSIGN_OR_RETURN(to.root, FixedBytes<32>(from.root(), "root"));
  RETURN_IF_ERROR(CheckRange(from.own_index(), 0, to.client_count - 1, "own_index"));
  to.own_index = from.own_index();
  ASSIGN_OR_RETURN(to.own_proof, HashesFromProto(from.own_proof(), "own_proof"));
  RETURN_IF_ERROR(CheckCount(from.neighbours_size(), kMaxNeighbours, "neighbours"));
  for (const proto::NeighbourKeys& neighbour : from.neighbours()) {
    RETURN_IF_ERROR(CheckRange(neighbour.index(), 0, to.client_count - 1, "neighbour index"));
    NeighbourKeys& added = to.neighbours.emplace_back();
    added.index = neighbour.index();
    ASSIGN_OR_RETURN(added.keys, FromProto(neighbour.keys()));
    ASSIGN_OR_RETURN(added.proof, HashesFromProto(neighbour.proof(), "proof"));
  }
  return to;
}

void ToProto(const ShareKeysMessage& from, proto::ShareKeysMessage* to) {
  to->set_session(BytesToString(from.session));
  to->set_sender(from.sender);
  to->set_seed_commitment(BytesToString(from.seed_commitment));
  for (const ShareBox& box : from.boxes) {
    proto::ShareBox* added = to->add_boxes();
    added->set_recipient(box.recipient);
    added->set_sealed(BytesToString(box.sealed));
  }
}

absl::StatusOr<ShareKeysMessage> FromProto(const proto::ShareKeysMessage& from) {
  ShareKeysMessage to;
  ASSIGN_OR_RETURN(to.session, SessionFromProto(from.session()));
  RETURN_IF_ERROR(CheckRange(from.sender(), 0, kMaxCohort - 1, "sender"));
  to.sender = from.sender();
  ASSIGN_OR_RETURN(to.seed_commitment, FixedBytes<32>(from.seed_commitment(), "seed_commitment"));
  RETURN_IF_ERROR(CheckCount(from.boxes_size(), kMaxNeighbours, "boxes"));
  for (const proto::ShareBox& box : from.boxes()) {
    RETURN_IF_ERROR(CheckRange(box.recipient(), 0, kMaxCohort - 1, "recipient"));
    ShareBox& added = to.boxes.emplace_back();
    added.recipient = box.recipient();
    ASSIGN_OR_RETURN(added.sealed, SizedBytes(box.sealed(), kMaxSealedShareBytes, "sealed"));
  }
  return to;
}

void ToProto(const ShareDelivery& from, proto::ShareDelivery* to) {
  to->set_session(BytesToString(from.session));
  to->set_recipient(from.recipient);
  for (const DeliveredBox& box : from.boxes) {
    proto::DeliveredBox* added = to->add_boxes();
    added->set_sender(box.sender);
    added->set_sealed(BytesToString(box.sealed));
  }
}

absl::StatusOr<ShareDelivery> FromProto(const proto::ShareDelivery& from) {
  ShareDelivery to;
  ASSIGN_OR_RETURN(to.session, SessionFromProto(from.session()));
  RETURN_IF_ERROR(CheckRange(from.recipient(), 0, kMaxCohort - 1, "recipient"));
  to.recipient = from.recipient();
  RETURN_IF_ERROR(CheckCount(from.boxes_size(), kMaxNeighbours, "boxes"));
  for (const proto::DeliveredBox& box : from.boxes()) {
    RETURN_IF_ERROR(CheckRange(box.sender(), 0, kMaxCohort - 1, "sender"));
    DeliveredBox& added = to.boxes.emplace_back();
    added.sender = box.sender();
    ASSIGN_OR_RETURN(added.sealed, SizedBytes(box.sealed(), kMaxSealedShareBytes, "sealed"));
  }
  return to;
}

void ToProto(const MaskedUpdate& from, proto::MaskedUpdate* to) {
  to->set_session(BytesToString(from.session));
  to->set_sender(from.sender);
  to->set_packed(BytesToString(from.packed));
}

absl::StatusOr<MaskedUpdate> FromProto(const proto::MaskedUpdate& from) {
  MaskedUpdate to;
  ASSIGN_OR_RETURN(to.session, SessionFromProto(from.session()));
  RETURN_IF_ERROR(CheckRange(from.sender(), 0, kMaxCohort - 1, "sender"));
  to.sender = from.sender();
  ASSIGN_OR_RETURN(to.packed, SizedBytes(from.packed(), kMaxPackedBytes, "packed"));
  return to;
}

void ToProto(const SurvivorLists& from, proto::SurvivorLists* to) {
  to->set_session(BytesToString(from.session));
  to->set_survivor_count(from.survivor_count);
  to->mutable_alive()->Add(from.alive.begin(), from.alive.end());
  to->mutable_dropped()->Add(from.dropped.begin(), from.dropped.end());
}

absl::StatusOr<SurvivorLists> FromProto(const proto::SurvivorLists& from) {
  SurvivorLists to;
  ASSIGN_OR_RETURN(to.session, SessionFromProto(from.session()));
  RETURN_IF_ERROR(CheckRange(from.survivor_count(), 0, kMaxCohort, "survivor_count"));
  to.survivor_count = from.survivor_count();
  ASSIGN_OR_RETURN(to.alive, IndicesFromProto(from.alive(), "alive"));
  ASSIGN_OR_RETURN(to.dropped, IndicesFromProto(from.dropped(), "dropped"));
  return to;
}

void ToProto(const Acknowledgement& from, proto::Acknowledgement* to) {
  to->set_session(BytesToString(from.session));
  to->set_sender(from.sender);
  to->mutable_alive()->Add(from.alive.begin(), from.alive.end());
  to->mutable_dropped()->Add(from.dropped.begin(), from.dropped.end());
  to->set_signature(BytesToString(from.signature));
}

absl::StatusOr<Acknowledgement> FromProto(const proto::Acknowledgement& from) {
  Acknowledgement to;
  ASSIGN_OR_RETURN(to.session, SessionFromProto(from.session()));
  RETURN_IF_ERROR(CheckRange(from.sender(), 0, kMaxCohort - 1, "sender"));
  to.sender = from.sender();
  ASSIGN_OR_RETURN(to.alive, IndicesFromProto(from.alive(), "alive"));
  ASSIGN_OR_RETURN(to.dropped, IndicesFromProto(from.dropped(), "dropped"));
  ASSIGN_OR_RETURN(to.signature, FixedBytes<64>(from.signature(), "signature"));
  return to;
}

void ToProto(const AcknowledgementSet& from, proto::AcknowledgementSet* to) {
  to->set_session(BytesToString(from.session));
  for (const Acknowledgement& one : from.acknowledgements) {
    ToProto(one, to->add_acknowledgements());
  }
}

absl::StatusOr<AcknowledgementSet> FromProto(const proto::AcknowledgementSet& from) {
  AcknowledgementSet to;
  ASSIGN_OR_RETURN(to.session, SessionFromProto(from.session()));
  RETURN_IF_ERROR(CheckCount(from.acknowledgements_size(), kMaxNeighbours, "acknowledgements"));
  for (const proto::Acknowledgement& one : from.acknowledgements()) {
    ASSIGN_OR_RETURN(to.acknowledgements.emplace_back(), FromProto(one));
  }
  return to;
}

void ToProto(const UnmaskResponse& from, proto::UnmaskResponse* to) {
  to->set_session(BytesToString(from.session));
  to->set_sender(from.sender);
  for (const RevealedShare& share : from.seed_shares) {
    proto::RevealedShare* added = to->add_seed_shares();
    added->set_owner(share.owner);
    added->set_share(BytesToString(share.share));
  }
  for (const RevealedShare& share : from.mask_key_shares) {
    proto::RevealedShare* added = to->add_mask_key_shares();
    added->set_owner(share.owner);
    added->set_share(BytesToString(share.share));
  }
}

absl::StatusOr<UnmaskResponse> FromProto(const proto::UnmaskResponse& from) {
  UnmaskResponse to;
  ASSIGN_OR_RETURN(to.session, SessionFromProto(from.session()));
  RETURN_IF_ERROR(CheckRange(from.sender(), 0, kMaxCohort - 1, "sender"));
  to.sender = from.sender();
  ASSIGN_OR_RETURN(to.seed_shares, SharesFromProto(from.seed_shares(), "seed_shares"));
  ASSIGN_OR_RETURN(to.mask_key_shares, SharesFromProto(from.mask_key_shares(), "mask_key_shares"));
  return to;
}

}  // namespace lorikeet
