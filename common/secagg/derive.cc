#include "common/secagg/derive.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_format.h"
#include "common/base/strings.h"
#include "common/crypto/hkdf.h"

namespace lorikeet {
namespace {

constexpr int kLargestCohort = 1 << 20;
constexpr int64_t kLargestDimension = int64_t{1} << 28;

void Append(std::vector<uint8_t>* bytes, std::span<const uint8_t> more) {
  bytes->insert(bytes->end(), more.begin(), more.end());
}

void AppendUint32(std::vector<uint8_t>* bytes, uint32_t value) {
  for (int i = 0; i < 4; ++i) bytes->push_back(static_cast<uint8_t>(value >> (8 * i)));
}

void AppendList(std::vector<uint8_t>* bytes, const std::vector<ClientIndex>& list) {
  AppendUint32(bytes, static_cast<uint32_t>(list.size()));
  for (ClientIndex client : list) AppendUint32(bytes, client);
}

SecretBytes DerivePairKey(std::string_view label, const SessionId& session, ClientIndex one,
                          ClientIndex other, const SecretBytes& shared) {
  std::vector<uint8_t> info;
  Append(&info, AsBytes(label));
  AppendUint32(&info, std::min(one, other));
  AppendUint32(&info, std::max(one, other));
  return HkdfSha256(shared, session, info, 32);
}

void UpdateList(Hasher* hasher, const std::vector<ClientIndex>& list) {
  hasher->UpdateUint64(list.size());
  for (ClientIndex client : list) hasher->UpdateUint64(client);
}

void UpdateShares(Hasher* hasher, const std::vector<RevealedShare>& shares) {
  hasher->UpdateUint64(shares.size());
  for (const RevealedShare& share : shares)
    hasher->UpdateUint64(share.owner).UpdateSized(share.share);
}

}  // namespace

absl::Status ValidateParameters(const SecAggParameters& p) {
  if (p.cohort_min < 2 || p.cohort_max < p.cohort_min || p.cohort_max > kLargestCohort) {
    return absl::InvalidArgumentError(
        absl::StrFormat("cohort: expected 2 <= minimum <= maximum <= %d, got %d and %d",
                        kLargestCohort, p.cohort_min, p.cohort_max));
  }
  if (p.degree < 0 || p.degree % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("degree: expected an even number or 0, got %d", p.degree));
  }
  // More than half of the holders: else both kinds of share of one client could be collected from
  // disjoint halves.
  const int holders = p.degree == 0 ? p.cohort_max : p.degree;
  if (p.threshold < 2 || p.threshold > holders || 2 * p.threshold <= holders) {
    return absl::InvalidArgumentError(
        absl::StrFormat("threshold: expected more than half of %d holders and at most all, got %d",
                        holders, p.threshold));
  }
  if (p.dimension < 1 || p.dimension > kLargestDimension) {
    return absl::InvalidArgumentError(
        absl::StrFormat("dimension: expected 1..2^28, got %d", p.dimension));
  }
  if (p.modulus_bits < 8 || p.modulus_bits > 32) {
    return absl::InvalidArgumentError(
        absl::StrFormat("modulus bits: expected 8..32, got %d", p.modulus_bits));
  }
  return absl::OkStatus();
}

Hash256 AdvertisementHash(const KeyAdvertisement& keys) {
  return Hasher()
      .Update("lorikeet secagg keys")
      .Update(keys.session)
      .Update(keys.mask_key)
      .Update(keys.transport_key)
      .Update(keys.signing_key)
      .Finish();
}

Hash256 SeedCommitment(const SessionId& session, ClientIndex owner, const SecretBytes& seed) {
  return Hasher()
      .Update("lorikeet secagg seed commitment")
      .Update(session)
      .UpdateUint64(owner)
      .Update(seed.Open(SecretAccess("commit to the self seed")))
      .Finish();
}

SecretBytes SelfMaskKey(const SessionId& session, ClientIndex owner, const SecretBytes& seed) {
  std::vector<uint8_t> info;
  Append(&info, AsBytes("self mask"));
  AppendUint32(&info, owner);
  return HkdfSha256(seed, session, info, 32);
}

SecretBytes PairMaskKey(const SessionId& session, ClientIndex one, ClientIndex other,
                        const SecretBytes& shared) {
  return DerivePairKey("pair mask", session, one, other, shared);
}

SecretBytes BoxKey(const SessionId& session, ClientIndex one, ClientIndex other,
                   const SecretBytes& shared) {
  return DerivePairKey("share box", session, one, other, shared);
}

std::vector<uint8_t> BoxContext(const SessionId& session, ClientIndex sender,
                                ClientIndex recipient) {
  std::vector<uint8_t> context(session.begin(), session.end());
  AppendUint32(&context, sender);
  AppendUint32(&context, recipient);
  return context;
}

std::vector<uint8_t> AcknowledgementStatement(const Acknowledgement& statement, const Hash256& root,
                                              uint32_t survivor_count) {
  std::vector<uint8_t> bytes(statement.session.begin(), statement.session.end());
  Append(&bytes, root);
  AppendUint32(&bytes, survivor_count);
  AppendUint32(&bytes, statement.sender);
  AppendList(&bytes, statement.alive);
  AppendList(&bytes, statement.dropped);
  return bytes;
}

Hash256 MessageHash(const ShareKeysMessage& message) {
  Hasher hasher;
  hasher.Update("R1")
      .Update(message.session)
      .UpdateUint64(message.sender)
      .Update(message.seed_commitment);
  hasher.UpdateUint64(message.boxes.size());
  for (const ShareBox& box : message.boxes)
    hasher.UpdateUint64(box.recipient).UpdateSized(box.sealed);
  return hasher.Finish();
}

Hash256 MessageHash(const Acknowledgement& message) {
  Hasher hasher;
  hasher.Update("R3").Update(message.session).UpdateUint64(message.sender);
  UpdateList(&hasher, message.alive);
  UpdateList(&hasher, message.dropped);
  return hasher.Update(message.signature).Finish();
}

Hash256 MessageHash(const UnmaskResponse& message) {
  Hasher hasher;
  hasher.Update("R4").Update(message.session).UpdateUint64(message.sender);
  UpdateShares(&hasher, message.seed_shares);
  UpdateShares(&hasher, message.mask_key_shares);
  return hasher.Finish();
}

}  // namespace lorikeet
