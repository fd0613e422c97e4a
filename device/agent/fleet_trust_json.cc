#include "device/agent/fleet_trust_json.h"

#include <algorithm>
#include <string>

#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

using nlohmann::json;

constexpr std::pair<const char*, std::optional<SignedMetadata> TrustedDocuments::*> kOptional[] = {
    {"timestamp", &TrustedDocuments::timestamp},
    {"snapshot", &TrustedDocuments::snapshot},
    {"targets", &TrustedDocuments::targets}};

}  // namespace

json ToJson(const StoredTrust& trust) {
  json j = {{"pinned", ToHex(trust.pinned)}, {"root", SerializeSigned(trust.documents.root)}};
  for (const auto& [name, field] : kOptional) {
    if (trust.documents.*field) j[name] = SerializeSigned(*(trust.documents.*field));
  }
  return j;
}

json ToJson(const TreeHead& head) {
  return {{"size", head.tree.size},
          {"root", ToHex(head.tree.root)},
          {"unix_seconds", absl::ToUnixSeconds(head.time)},
          {"key", ToHex(head.key)},
          {"signature", ToHex(head.signature)}};
}

absl::StatusOr<StoredTrust> StoredTrustFromJson(const json& j) {
  StoredTrust trust;
  ASSIGN_OR_RETURN(trust.pinned, HashFromHex(j.at("pinned").get<std::string>()));
  ASSIGN_OR_RETURN(trust.documents.root, ParseSigned(j.at("root").get<std::string>()));
  for (const auto& [name, field] : kOptional) {
    if (!j.contains(name)) continue;
    ASSIGN_OR_RETURN(trust.documents.*field, ParseSigned(j.at(name).get<std::string>()));
  }
  return trust;
}

absl::StatusOr<TreeHead> TreeHeadFromJson(const json& j) {
  TreeHead head;
  head.tree.size = j.at("size").get<uint64_t>();
  ASSIGN_OR_RETURN(head.tree.root, HashFromHex(j.at("root").get<std::string>()));
  head.time = absl::FromUnixSeconds(j.at("unix_seconds").get<int64_t>());
  ASSIGN_OR_RETURN(head.key, HashFromHex(j.at("key").get<std::string>()));
  ASSIGN_OR_RETURN(const std::string signature, FromHex(j.at("signature").get<std::string>()));
  if (signature.size() != head.signature.size()) {
    return absl::DataLossError("tree head: expected a signature of 64 bytes");
  }
  std::ranges::copy(signature, head.signature.begin());
  return head;
}

}  // namespace lorikeet
