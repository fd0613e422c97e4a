// Fuzz target: everything that the wire decodes, and the manifest parser.  The first byte chooses.
#include <string>

#include "common/base/status_macros.h"
#include "common/wire/decode.h"
#include "common/wire/encode.h"
#include "common/wire/manifest.h"
#include "common/wire/proto_convert.h"
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

// The service's own requests and answers, which gRPC decodes and proto_convert.h checks.
template <typename Message>
void RoundTripService(const std::string& bytes) {
  SilenceProtobuf();
  Message message;
  if (!message.ParseFromString(bytes)) return;
  auto first = FromProto(message);
  if (!first.ok()) return;
  Message again;
  ToProto(*first, &again);
  const std::string written = again.SerializeAsString();
  const auto second = FromProto(again);
  LORIKEET_CHECK(second.ok());
  Message last;
  ToProto(*second, &last);
  LORIKEET_CHECK(last.SerializeAsString() == written);
}

template <typename Message, typename Struct>
std::string ServiceSeed(char tag, const Struct& from) {
  Message message;
  ToProto(from, &message);
  return std::string(1, tag) + message.SerializeAsString();
}

std::vector<std::string> ServiceSeeds() {
  PollResult poll;
  poll.phase = RoundPhase::kAcknowledge;
  poll.survivors = SurvivorLists{
      .session = FilledWith<SessionId>(9), .survivor_count = 5, .alive = {0, 2}, .dropped = {4}};
  RoundOffer offer;
  offer.rounds.emplace_back().description = Encode(SampleRound());
  SignedManifest manifest;
  manifest.manifest = "{}";
  const HelloResult hello = {
      .protocol_version = 2, .oldest_protocol_version = 1, .now = absl::FromUnixSeconds(1000)};
  ReleaseQuery release;
  release.kind = ReleaseKind::kBase;
  ChunkQuery chunk;
  chunk.length = 5;
  RoundQuery round;
  round.base_fingerprint = std::string(64, 'a');
  PollQuery query;
  query.ticket = 3;
  return {ServiceSeed<proto::PollResponse>(16, poll),
          ServiceSeed<proto::GetRoundResponse>(17, offer),
          ServiceSeed<proto::SignedManifest>(18, manifest),
          ServiceSeed<proto::HelloResponse>(19, hello),
          ServiceSeed<proto::GetReleaseRequest>(20, release),
          ServiceSeed<proto::FetchChunkRequest>(21, chunk),
          ServiceSeed<proto::FetchChunkResponse>(22, ChunkResult{.data = "abc", .file_bytes = 3}),
          ServiceSeed<proto::GetRoundRequest>(23, round),
          ServiceSeed<proto::PollRequest>(24, query)};
}

void DecodeService(uint8_t tag, const std::string& bytes) {
  switch (tag) {
    case 16:
      return RoundTripService<proto::PollResponse>(bytes);
    case 17:
      return RoundTripService<proto::GetRoundResponse>(bytes);
    case 18:
      return RoundTripService<proto::SignedManifest>(bytes);
    case 19:
      return RoundTripService<proto::HelloResponse>(bytes);
    case 20:
      return RoundTripService<proto::GetReleaseRequest>(bytes);
    case 21:
      return RoundTripService<proto::FetchChunkRequest>(bytes);
    case 22:
      return RoundTripService<proto::FetchChunkResponse>(bytes);
    case 23:
      return RoundTripService<proto::GetRoundRequest>(bytes);
    case 24:
      return RoundTripService<proto::PollRequest>(bytes);
    default:
      break;
  }
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
  std::vector<std::string> seeds = {
      Tagged(0, Encode(SampleAdvertisement())),
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
  const std::vector<std::string> service = ServiceSeeds();
  seeds.insert(seeds.end(), service.begin(), service.end());
  return seeds;
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
      DecodeService(data[0], bytes);
  }
  return 0;
}
