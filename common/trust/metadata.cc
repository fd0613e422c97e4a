#include "common/trust/metadata.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

using nlohmann::json;

constexpr std::array<TrustRole, kTrustRoleCount> kRoles = {
    TrustRole::kRoot,    TrustRole::kTimestamp, TrustRole::kSnapshot,
    TrustRole::kTargets, TrustRole::kLog,       TrustRole::kRounds};

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d%ET%H:%M:%SZ", time, absl::UTCTimeZone());
}

absl::Status Malformed(TrustRole role, std::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat(ToAbsl(TrustRoleName(role)), " metadata: expected ", ToAbsl(expected)));
}

// Reads the members of one object and reports the first thing that is not as it should be.  That
// nothing else is in it follows from the comparison with the canonical bytes.
class Reader {
 public:
  Reader(TrustRole role, const json& object) : role_(role), object_(object) {}

  const json& Member(const char* name) {
    static const json* const missing = new json();
    const auto it = object_.find(name);
    return it == object_.end() ? *missing : *it;
  }
  void Number(const char* name, uint64_t min, uint64_t max, uint64_t* to) {
    const json& value = Member(name);
    if (value.is_number_unsigned() && value.get<uint64_t>() >= min &&
        value.get<uint64_t>() <= max) {
      *to = value.get<uint64_t>();
      return;
    }
    Fail(absl::StrFormat("a whole number \"%s\" between %d and %d", name, min, max));
  }
  void Version(uint64_t* to) { Number("version", 1, std::numeric_limits<int64_t>::max(), to); }
  void Time(const char* name, absl::Time* to) {
    const json& value = Member(name);
    std::string error;
    // The length leaves out what absl also takes: "infinite-future" never expires.
    if (value.is_string() && value.get_ref<const std::string&>().size() == 20 &&
        absl::ParseTime(absl::RFC3339_full, value.get_ref<const std::string&>(), to, &error)) {
      return;
    }
    Fail(absl::StrFormat("an RFC 3339 time \"%s\"", name));
  }
  void Hash(const char* name, Hash256* to) {
    const json& value = Member(name);
    const auto hash = HashFromHex(value.is_string() ? value.get<std::string>() : "");
    if (!hash.ok()) return Fail(absl::StrFormat("a hash \"%s\" of 64 hex digits", name));
    *to = *hash;
  }
  void Reference(const char* name, TrustRole of, MetadataReference* to) {
    Reader inner(role_, Member(name));
    inner.Version(&to->version);
    inner.Number("length", 1, MaxMetadataBytes(of), &to->length);
    inner.Hash("hash", &to->hash);
    if (!inner.status_.ok()) Keep(inner.status_);
  }
  void Fail(std::string_view expected) { Keep(Malformed(role_, expected)); }
  void Keep(const absl::Status& status) {
    if (status_.ok()) status_ = status;
  }
  const absl::Status& status() const { return status_; }

 private:
  TrustRole role_;
  const json& object_;
  absl::Status status_;
};

json ReferenceJson(const MetadataReference& reference) {
  return {{"hash", ToHex(reference.hash)},
          {"length", reference.length},
          {"version", reference.version}};
}

json Document(TrustRole role, uint64_t version, absl::Time expires) {
  return {{"expires", TimeText(expires)},
          {"format", kTrustFormat},
          {"role", TrustRoleName(role)},
          {"version", version}};
}

// Size, JSON, format and role.  Nesting is bounded, so that nobody's brackets use up the stack.
absl::StatusOr<json> ReadDocument(TrustRole role, std::string_view bytes) {
  if (bytes.size() > MaxMetadataBytes(role)) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%s metadata: expected at most %d bytes, got %d (endless data)",
                        TrustRoleName(role), MaxMetadataBytes(role), bytes.size()));
  }
  bool too_deep = false;
  const json document = json::parse(
      bytes,
      [&](int depth, json::parse_event_t, json&) {
        too_deep |= depth > 8;
        return !too_deep;
      },
      false);
  if (too_deep || !document.is_object()) return Malformed(role, "a JSON object");
  const auto format = document.find("format");
  if (format == document.end() || *format != kTrustFormat) {
    return Malformed(role, absl::StrCat("the format ", ToAbsl(kTrustFormat)));
  }
  const auto name = document.find("role");
  if (name == document.end() || *name != TrustRoleName(role)) {
    return Malformed(role, absl::StrCat("the role ", ToAbsl(TrustRoleName(role))));
  }
  return document;
}

template <typename T>
absl::StatusOr<T> Canonical(TrustRole role, std::string_view bytes, const Reader& reader,
                            const T& parsed, std::string (*serialize)(const T&)) {
  RETURN_IF_ERROR(reader.status());
  if (serialize(parsed) != bytes) {
    return Malformed(role, "canonical JSON (sorted, without white space, no other members)");
  }
  return parsed;
}

absl::Status ReadRoleKeys(TrustRole role, Reader& roles, RoleKeys* to) {
  const std::string name(TrustRoleName(role));
  const json& object = roles.Member(name.c_str());
  Reader reader(TrustRole::kRoot, object);
  const json& keys = reader.Member("keys");
  if (!keys.is_array() || keys.empty() || keys.size() > kMaxTrustKeys) {
    return Malformed(TrustRole::kRoot, absl::StrFormat("1 to %d keys of %s", kMaxTrustKeys, name));
  }
  for (const json& key : keys) {
    const auto parsed = HashFromHex(key.is_string() ? key.get<std::string>() : "");
    if (!parsed.ok()) return Malformed(TrustRole::kRoot, "keys of 64 hex digits");
    if (!to->keys.empty() && to->keys.back() >= *parsed) {
      return Malformed(TrustRole::kRoot, absl::StrCat("different keys of ", name, ", ascending"));
    }
    to->keys.push_back(*parsed);
  }
  reader.Number("threshold", 1, to->keys.size(), &to->threshold);
  return reader.status();
}

bool IsTargetName(const std::string& name) {
  const auto allowed = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-' || c == '/';
  };
  return !name.empty() && name.size() <= kMaxTargetNameBytes &&
         std::all_of(name.begin(), name.end(), allowed);
}

std::string Label(TrustRole role) {
  return absl::StrCat("lorikeet-trust-", ToAbsl(TrustRoleName(role)), "-v1");
}

}  // namespace

std::string_view TrustRoleName(TrustRole role) {
  static constexpr std::string_view kNames[] = {"root",    "timestamp", "snapshot",
                                                "targets", "log",       "rounds"};
  return kNames[static_cast<size_t>(role)];
}

absl::StatusOr<TrustRole> ParseTrustRole(std::string_view name) {
  for (const TrustRole role : kRoles) {
    if (TrustRoleName(role) == name) return role;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "expected the role root, timestamp, snapshot, targets, log or rounds, got ", ToAbsl(name)));
}

size_t MaxMetadataBytes(TrustRole role) {
  switch (role) {
    case TrustRole::kRoot:
      return size_t{16} << 10;
    case TrustRole::kTargets:
      return size_t{1} << 20;
    default:
      return 1024;
  }
}

bool RoleKeys::Has(const Ed25519PublicKey& key) const {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

std::string SerializeRoot(const RootMetadata& root) {
  json document = Document(TrustRole::kRoot, root.version, root.expires);
  for (const TrustRole role : kRoles) {
    json keys = json::array();
    for (const Ed25519PublicKey& key : root.role(role).keys) keys.push_back(ToHex(key));
    document["roles"][std::string(TrustRoleName(role))] = {
        {"keys", std::move(keys)}, {"threshold", root.role(role).threshold}};
  }
  return document.dump();
}

std::string SerializeTimestamp(const TimestampMetadata& timestamp) {
  json document = Document(TrustRole::kTimestamp, timestamp.version, timestamp.expires);
  document["signed"] = TimeText(timestamp.signed_at);
  document["snapshot"] = ReferenceJson(timestamp.snapshot);
  return document.dump();
}

std::string SerializeSnapshot(const SnapshotMetadata& snapshot) {
  json document = Document(TrustRole::kSnapshot, snapshot.version, snapshot.expires);
  document["targets"] = ReferenceJson(snapshot.targets);
  return document.dump();
}

std::string SerializeTargets(const TargetsMetadata& targets) {
  json document = Document(TrustRole::kTargets, targets.version, targets.expires);
  json files = json::object();
  for (const auto& [name, file] : targets.targets) {
    files[name] = {{"hash", ToHex(file.hash)}, {"length", file.length}};
  }
  document["targets"] = std::move(files);
  return document.dump();
}

absl::StatusOr<RootMetadata> ParseRoot(std::string_view bytes) {
  ASSIGN_OR_RETURN(const json document, ReadDocument(TrustRole::kRoot, bytes));
  Reader reader(TrustRole::kRoot, document);
  RootMetadata root;
  reader.Version(&root.version);
  reader.Time("expires", &root.expires);
  Reader roles(TrustRole::kRoot, reader.Member("roles"));
  for (const TrustRole role : kRoles) {
    RETURN_IF_ERROR(ReadRoleKeys(role, roles, &root.role(role)));
  }
  return Canonical(TrustRole::kRoot, bytes, reader, root, SerializeRoot);
}

absl::StatusOr<TimestampMetadata> ParseTimestamp(std::string_view bytes) {
  ASSIGN_OR_RETURN(const json document, ReadDocument(TrustRole::kTimestamp, bytes));
  Reader reader(TrustRole::kTimestamp, document);
  TimestampMetadata timestamp;
  reader.Version(&timestamp.version);
  reader.Time("expires", &timestamp.expires);
  reader.Time("signed", &timestamp.signed_at);
  reader.Reference("snapshot", TrustRole::kSnapshot, &timestamp.snapshot);
  return Canonical(TrustRole::kTimestamp, bytes, reader, timestamp, SerializeTimestamp);
}

absl::StatusOr<SnapshotMetadata> ParseSnapshot(std::string_view bytes) {
  ASSIGN_OR_RETURN(const json document, ReadDocument(TrustRole::kSnapshot, bytes));
  Reader reader(TrustRole::kSnapshot, document);
  SnapshotMetadata snapshot;
  reader.Version(&snapshot.version);
  reader.Time("expires", &snapshot.expires);
  reader.Reference("targets", TrustRole::kTargets, &snapshot.targets);
  return Canonical(TrustRole::kSnapshot, bytes, reader, snapshot, SerializeSnapshot);
}

absl::StatusOr<TargetsMetadata> ParseTargets(std::string_view bytes) {
  ASSIGN_OR_RETURN(const json document, ReadDocument(TrustRole::kTargets, bytes));
  Reader reader(TrustRole::kTargets, document);
  TargetsMetadata targets;
  reader.Version(&targets.version);
  reader.Time("expires", &targets.expires);
  const json& files = reader.Member("targets");
  if (!files.is_object() || files.size() > kMaxTargets) {
    return Malformed(TrustRole::kTargets, absl::StrFormat("at most %d targets", kMaxTargets));
  }
  for (const auto& [name, value] : files.items()) {
    if (!IsTargetName(name)) {
      return Malformed(TrustRole::kTargets,
                       "target names of letters, digits, '.', '_', '-' and '/'");
    }
    Reader file(TrustRole::kTargets, value);
    TargetFile& target = targets.targets[name];
    file.Number("length", 0, std::numeric_limits<int64_t>::max(), &target.length);
    file.Hash("hash", &target.hash);
    RETURN_IF_ERROR(file.status());
  }
  return Canonical(TrustRole::kTargets, bytes, reader, targets, SerializeTargets);
}

MetadataReference ReferTo(std::string_view bytes, uint64_t version) {
  return {.version = version, .length = bytes.size(), .hash = Blake2b(AsBytes(bytes))};
}

RoleKeys MakeRoleKeys(std::vector<Ed25519PublicKey> keys, uint64_t threshold) {
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return {std::move(keys), threshold};
}

void AddSignature(TrustRole role, const SigningKey& key, SignedMetadata* document) {
  std::erase_if(document->signatures,
                [&](const TrustSignature& s) { return s.key == key.public_key(); });
  document->signatures.push_back(
      {key.public_key(), key.Sign(Label(role), AsBytes(document->bytes))});
}

SignedMetadata SignMetadata(TrustRole role, std::string bytes,
                            const std::vector<const SigningKey*>& keys) {
  SignedMetadata document{std::move(bytes), {}};
  for (const SigningKey* key : keys) AddSignature(role, *key, &document);
  return document;
}

uint64_t CountSignatures(TrustRole role, const SignedMetadata& document, const RoleKeys& keys) {
  const std::string label = Label(role);
  const auto signed_by = [&](const Ed25519PublicKey& key) {
    return std::any_of(
        document.signatures.begin(), document.signatures.end(), [&](const TrustSignature& s) {
          return s.key == key && VerifySignature(key, label, AsBytes(document.bytes), s.signature);
        });
  };
  return static_cast<uint64_t>(std::count_if(keys.keys.begin(), keys.keys.end(), signed_by));
}

std::string SerializeSigned(const SignedMetadata& document) {
  json signatures = json::array();
  for (const TrustSignature& signature : document.signatures) {
    signatures.push_back(
        {{"key", ToHex(signature.key)}, {"signature", ToHex(signature.signature)}});
  }
  return json{{"signatures", std::move(signatures)}, {"signed", document.bytes}}.dump(
             1, ' ', true, json::error_handler_t::replace) +
         "\n";
}

absl::StatusOr<SignedMetadata> ParseSigned(std::string_view text) {
  const auto expected = [](std::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("signed metadata: expected ", ToAbsl(what)));
  };
  // Quotes double in a JSON text.
  if (text.size() > 2 * MaxMetadataBytes(TrustRole::kTargets) + (size_t{16} << 10)) {
    return absl::ResourceExhaustedError("signed metadata: too many bytes (endless data)");
  }
  const json file = json::parse(text, nullptr, false);
  const auto bytes = file.is_object() ? file.find("signed") : file.end();
  const auto list = file.is_object() ? file.find("signatures") : file.end();
  if (!file.is_object() || bytes == file.end() || !bytes->is_string() || list == file.end() ||
      !list->is_array() || list->size() > kMaxTrustSignatures) {
    return expected(
        absl::StrFormat("\"signed\" and at most %d \"signatures\"", kMaxTrustSignatures));
  }
  SignedMetadata document{bytes->get<std::string>(), {}};
  for (const json& entry : *list) {
    const auto text_of = [&](const char* name) {
      const auto it = entry.is_object() ? entry.find(name) : entry.end();
      return it != entry.end() && it->is_string() ? it->get<std::string>() : std::string();
    };
    const auto key = HashFromHex(text_of("key"));
    const auto signature = FromHex(text_of("signature"));
    if (!key.ok() || !signature.ok() || signature->size() != sizeof(Ed25519Signature)) {
      return expected("keys of 64 and signatures of 128 hex digits");
    }
    TrustSignature& added = document.signatures.emplace_back();
    added.key = *key;
    std::copy(signature->begin(), signature->end(), added.signature.begin());
  }
  return document;
}

}  // namespace lorikeet
