// Fuzz target: everything that the wire decodes, and the manifest parser.  The first byte chooses.
#include <string>

#include "common/base/status_macros.h"
#include "common/wire/decode.h"
#include "common/wire/encode.h"
#include "common/wire/manifest.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/wire/wire_samples.h"

namespace lorikeet {
namespace {

// What was accepted must survive another round trip.
template <typename Decode>
void RoundTrip(const std::string& bytes, const Decode& decode) {
  const auto message = decode(bytes);
  if (!message.ok()) return;
  const std::string again = Encode(*message);
  LORIKEET_CHECK(Encode(*decode(again)) == again);
}

void ParseManifestTwice(const std::string& bytes) {
  const auto manifest = ParseManifest(bytes);
  if (!manifest.ok()) return;
  const std::string again = SerializeManifest(*manifest);
  LORIKEET_CHECK(SerializeManifest(*ParseManifest(again)) == again);
}

// The encoding is canonical: what was accepted is encoded to the same bytes.
void DecodeTokenKeys(const std::string& bytes) {
  const auto keys = TokenKeySet::Decode(bytes);
  if (keys.ok()) LORIKEET_CHECK(keys->Encode() == bytes);
}

TokenKeySet SampleTokenKeys() {
  TokenKeySet keys;
  uint64_t epoch = 12;
  for (const GroupElement& element : SampleIssueRequest().blinded) {
    keys.keys.push_back({.epoch = epoch++, .public_key = element});
  }
  return keys;
}

std::string Tagged(char tag, const std::string& bytes) { return std::string(1, tag) + bytes; }

}  // namespace

std::vector<std::string> FuzzSeeds() {
  const SessionId session = FilledWith<SessionId>(9);
  KeyDirectory directory;
  directory.session = session;
  directory.client_count = 4;
  directory.neighbours = {
      {.index = 1, .keys = SampleAdvertisement(20), .proof = {FilledWith<Hash256>(4)}}};
  ShareKeysMessage shares;
  shares.session = session;
  shares.boxes = {{.recipient = 1, .sealed = {1, 2, 3}}};
  ShareDelivery delivery;
  delivery.session = session;
  delivery.boxes = {{.sender = 1, .sealed = {1, 2, 3}}};
  const MaskedUpdate update = {.session = session, .sender = 2, .packed = {7, 8, 9}};
  const SurvivorLists lists = {
      .session = session, .survivor_count = 5, .alive = {0, 2}, .dropped = {4}};
  const AcknowledgementSet set = {.session = session,
                                  .acknowledgements = {SampleAcknowledgement()}};
  UnmaskResponse unmask;
  unmask.session = session;
  unmask.seed_shares = {{.owner = 2, .share = {1}}};
  Manifest manifest;
  manifest.name = "voices";
  manifest.base_fingerprint = std::string(64, 'a');
  manifest.created = absl::FromUnixSeconds(1000);
  manifest.expires = absl::FromUnixSeconds(2000);
  const std::vector<uint8_t> content = {1, 2, 3};
  manifest.files = {DescribeFile("catalog.gguf", content)};
  return {Tagged(0, Encode(SampleAdvertisement())),
          Tagged(1, Encode(directory)),
          Tagged(2, Encode(shares)),
          Tagged(3, Encode(delivery)),
          Tagged(4, Encode(update)),
          Tagged(5, Encode(lists)),
          Tagged(6, Encode(SampleAcknowledgement())),
          Tagged(7, Encode(set)),
          Tagged(8, Encode(unmask)),
          Tagged(9, Encode(SampleRound())),
          Tagged(10, SerializeManifest(manifest)),
          Tagged(11, Encode(SampleJoinRequest())),
          Tagged(12, Encode(SampleIssueRequest())),
          Tagged(13, Encode(SampleEvaluation())),
          Tagged(14, Encode(SignedTokenKeys{SampleTokenKeys().Encode(), {}})),
          Tagged(15, SampleTokenKeys().Encode())};
}

}  // namespace lorikeet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lorikeet;
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 0:
      RoundTrip(bytes, DecodeKeyAdvertisement);
      break;
    case 1:
      RoundTrip(bytes, DecodeKeyDirectory);
      break;
    case 2:
      RoundTrip(bytes, DecodeShareKeysMessage);
      break;
    case 3:
      RoundTrip(bytes, DecodeShareDelivery);
      break;
    case 4:
      RoundTrip(bytes, DecodeMaskedUpdate);
      break;
    case 5:
      RoundTrip(bytes, DecodeSurvivorLists);
      break;
    case 6:
      RoundTrip(bytes, DecodeAcknowledgement);
      break;
    case 7:
      RoundTrip(bytes, DecodeAcknowledgementSet);
      break;
    case 8:
      RoundTrip(bytes, DecodeUnmaskResponse);
      break;
    case 9:
      RoundTrip(bytes, DecodeRoundDescription);
      break;
    case 10:
      ParseManifestTwice(bytes);
      break;
    case 11:
      RoundTrip(bytes, DecodeJoinRequest);
      break;
    case 12:
      RoundTrip(bytes, DecodeIssueRequest);
      break;
    case 13:
      RoundTrip(bytes, DecodeBatchEvaluation);
      break;
    case 14:
      RoundTrip(bytes, DecodeSignedTokenKeys);
      break;
    case 15:
      DecodeTokenKeys(bytes);
      break;
    default:
      break;
  }
  return 0;
}
