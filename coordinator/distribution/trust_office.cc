#include "coordinator/distribution/trust_office.h"

#include <algorithm>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/wire/manifest.h"

namespace lorikeet {
namespace {

// Another process's releases are listed by itself; this is for one that died in between.
constexpr absl::Duration kLookInterval = absl::Minutes(1);
constexpr size_t kCachedNodes = size_t{1} << 16;
constexpr int kTries = 16;  // against other writers

absl::Time WholeSeconds(absl::Time time) {
  return absl::FromUnixSeconds(absl::ToUnixSeconds(time));
}

struct Renewal {
  TrustRole role;
  const RootMetadata& root;
  const SigningKey& key;
  absl::Time now;
  absl::Duration validity;
  std::vector<TrustRecord>* made;
};
template <typename Metadata>
struct Codec {
  absl::StatusOr<Metadata> (*parse)(std::string_view);
  std::string (*serialize)(const Metadata&);
};

// Refers to the old document if it still says what it should, is signed by a key that the root
// names, and half of its time is left; else to `next`, made the version after it.
template <typename Metadata, typename Same>
absl::StatusOr<MetadataReference> Renew(const Renewal& renewal,
                                        const std::optional<TrustRecord>& old, Metadata next,
                                        const Codec<Metadata>& codec, const Same& same) {
  next.version = old ? old->version + 1 : 1;
  if (old && CountSignatures(renewal.role, old->document, renewal.root.role(renewal.role)) > 0) {
    ASSIGN_OR_RETURN(const Metadata parsed, codec.parse(old->document.bytes));
    if (same(parsed) && parsed.expires - renewal.now >= renewal.validity / 2) {
      return ReferTo(old->document.bytes, old->version);
    }
  }
  next.expires = renewal.now + renewal.validity;
  SignedMetadata document = SignMetadata(renewal.role, codec.serialize(next), {&renewal.key});
  const MetadataReference reference = ReferTo(document.bytes, next.version);
  renewal.made->push_back({renewal.role, next.version, std::move(document)});
  return reference;
}

}  // namespace

// The newest of each role, as the store had them at one moment.
struct TrustOffice::Documents {
  std::optional<TrustRecord> root, timestamp, snapshot, targets;
};

absl::StatusOr<Hash256> TrustOffice::CachedNodes::ReadNode(int level, uint64_t index) {
  const auto it = read_.find({level, index});
  if (it != read_.end()) return it->second;
  ASSIGN_OR_RETURN(const Hash256 hash, nodes_->ReadNode(level, index));
  if (read_.size() >= kCachedNodes) read_.clear();
  read_[{level, index}] = hash;
  return hash;
}

absl::StatusOr<std::unique_ptr<TrustOffice>> TrustOffice::Create(const Options& options) {
  auto office = std::unique_ptr<TrustOffice>(new TrustOffice(options));
  RETURN_IF_ERROR(office->Refresh());
  return office;
}

absl::StatusOr<TrustOffice::Documents> TrustOffice::ReadDocuments() {
  ASSIGN_OR_RETURN(std::vector<TrustRecord> records, options_.store->CurrentTrust());
  Documents documents;
  for (TrustRecord& record : records) {
    switch (record.role) {
      case TrustRole::kRoot:
        documents.root = std::move(record);
        break;
      case TrustRole::kTimestamp:
        documents.timestamp = std::move(record);
        break;
      case TrustRole::kSnapshot:
        documents.snapshot = std::move(record);
        break;
      case TrustRole::kTargets:
        documents.targets = std::move(record);
        break;
      default:
        break;
    }
  }
  if (documents.root) return documents;
  return absl::FailedPreconditionError("trust: expected a root in the store, found none");
}

absl::Status TrustOffice::CheckKeys(const RootMetadata& root) const {
  const std::pair<TrustRole, const SigningKey*> roles[] = {
      {TrustRole::kTargets, options_.keys.targets},
      {TrustRole::kSnapshot, options_.keys.snapshot},
      {TrustRole::kTimestamp, options_.keys.timestamp},
      {TrustRole::kLog, options_.keys.log}};
  for (const auto& [role, key] : roles) {
    if (root.role(role).Has(key->public_key()) && root.role(role).threshold == 1) continue;
    return absl::FailedPreconditionError(absl::StrFormat(
        "trust: expected the %s key %s in root version %d, alone enough to sign: it names other "
        "keys (after `root rotate`, restart the server)",
        TrustRoleName(role), ToHex(key->public_key()), root.version));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, TargetFile>> TrustOffice::ListTargets() {
  ASSIGN_OR_RETURN(const auto releases, options_.store->NewestReleases());
  std::map<std::string, TargetFile> targets;
  uint64_t newest_base = 0;
  for (const ReleaseRecord& release : releases) {
    const std::string& manifest = release.manifest.manifest;
    const LogEntry entry = LogEntryOf(LogEntryKind::kRelease, manifest);
    if (!logged_.contains(entry.content)) {
      RETURN_IF_ERROR(Log(entry));
      logged_.insert(entry.content);
    }
    const TargetFile file{.length = manifest.size(), .hash = entry.content};
    targets[TargetName(release.kind, release.base_fingerprint)] = file;
    if (release.kind == ReleaseKind::kBase && release.version >= newest_base) {
      newest_base = release.version;
      targets[TargetName(release.kind, "")] = file;
    }
  }
  return targets;
}

absl::Status TrustOffice::Refresh() {
  absl::Status status;
  for (int i = 0; i < kTries; ++i) {
    ASSIGN_OR_RETURN(const Documents documents, ReadDocuments());
    ASSIGN_OR_RETURN(const RootMetadata root, ParseRoot(documents.root->document.bytes));
    RETURN_IF_ERROR(CheckKeys(root));
    ASSIGN_OR_RETURN(auto targets, ListTargets());
    status = SignDue(documents, root, std::move(targets));
    if (!absl::IsAlreadyExists(status)) break;
  }
  if (status.ok()) next_look_ = options_.clock->Now() + kLookInterval;
  return status;
}

void TrustOffice::RefreshIfDue() {
  const absl::Time now = options_.clock->Now();
  if (now < next_look_) return;
  next_look_ = now + kLookInterval;
  const absl::Status status = Refresh();
  if (!status.ok()) LogError(absl::StrCat("trust: ", status.message()));
}

absl::Status TrustOffice::SignDue(const Documents& documents, const RootMetadata& root,
                                  std::map<std::string, TargetFile> listed) {
  const absl::Time now = WholeSeconds(options_.clock->Now());
  std::vector<TrustRecord> made;
  const auto renewal = [&](TrustRole role, const SigningKey* key, absl::Duration validity) {
    return Renewal{role, root, *key, now, validity, &made};
  };
  TargetsMetadata targets;
  targets.targets = std::move(listed);
  SnapshotMetadata snapshot;
  ASSIGN_OR_RETURN(
      snapshot.targets,
      Renew<TargetsMetadata>(
          renewal(TrustRole::kTargets, options_.keys.targets, options_.targets_validity),
          documents.targets, targets, {ParseTargets, SerializeTargets},
          [&](const TargetsMetadata& old) { return old.targets == targets.targets; }));
  TimestampMetadata timestamp;
  timestamp.signed_at = now;
  ASSIGN_OR_RETURN(
      timestamp.snapshot,
      Renew<SnapshotMetadata>(
          renewal(TrustRole::kSnapshot, options_.keys.snapshot, options_.targets_validity),
          documents.snapshot, snapshot, {ParseSnapshot, SerializeSnapshot},
          [&](const SnapshotMetadata& old) { return old.targets == snapshot.targets; }));
  RETURN_IF_ERROR(
      Renew<TimestampMetadata>(
          renewal(TrustRole::kTimestamp, options_.keys.timestamp, options_.timestamp_validity),
          documents.timestamp, timestamp, {ParseTimestamp, SerializeTimestamp},
          [&](const TimestampMetadata& old) { return old.snapshot == timestamp.snapshot; })
          .status());
  return made.empty() ? absl::OkStatus() : options_.store->AddTrust(made);
}

absl::StatusOr<TrustUpdate> TrustOffice::Answer(const TrustQuery& query) {
  RefreshIfDue();
  ASSIGN_OR_RETURN(Documents documents, ReadDocuments());
  // Versions are stored in signed 64-bit columns.
  const uint64_t known_root =
      std::min<uint64_t>(query.root_version, std::numeric_limits<int64_t>::max());
  ASSIGN_OR_RETURN(auto roots, options_.store->RootsAfter(known_root, kMaxRootsPerUpdate));
  TrustUpdate update;
  for (TrustRecord& root : roots) update.roots.push_back(std::move(root.document));
  // A root that is new to the device may make it forget what it has.
  const bool same_root = update.roots.empty();
  const auto put = [&](std::optional<TrustRecord>& record, uint64_t known,
                       std::optional<SignedMetadata>* to) {
    if (record && !(same_root && record->version == known)) *to = std::move(record->document);
  };
  put(documents.timestamp, 0, &update.timestamp);
  put(documents.snapshot, query.snapshot_version, &update.snapshot);
  put(documents.targets, query.targets_version, &update.targets);
  return update;
}

absl::Status TrustOffice::Log(const LogEntry& entry) {
  absl::Status status;
  for (int i = 0; i < kTries; ++i) {
    ASSIGN_OR_RETURN(const auto position, options_.store->FindLogEntry(entry));
    if (position) return absl::OkStatus();
    ASSIGN_OR_RETURN(const uint64_t size, options_.store->LogSize());
    ASSIGN_OR_RETURN(auto nodes, CompleteNodes(size, LeafOf(entry), nodes_));
    status = options_.store->AppendLog({size, entry, std::move(nodes)});
    if (!absl::IsAlreadyExists(status)) return status;
  }
  return status;
}

absl::StatusOr<LogEvidence> TrustOffice::Prove(const LogQuery& query) {
  ASSIGN_OR_RETURN(const uint64_t size, options_.store->LogSize());
  if (query.known_size > size) {
    return absl::FailedPreconditionError(
        absl::StrFormat("log: expected a device that knows at most %d entries, got one that knows "
                        "%d: is this an old copy of the store?",
                        size, query.known_size));
  }
  LogEvidence evidence;
  for (const LogEntry& entry : query.entries) {
    ASSIGN_OR_RETURN(const auto position, options_.store->FindLogEntry(entry));
    if (!position || *position >= size) {
      return absl::NotFoundError(absl::StrCat("log: no ", ToAbsl(LogEntryKindName(entry.kind)),
                                              " with the hash ", ToHex(entry.content)));
    }
    LogPlace& place = evidence.places.emplace_back();
    place.index = *position;
    ASSIGN_OR_RETURN(place.inclusion, InclusionProof(place.index, size, nodes_));
  }
  ASSIGN_OR_RETURN(evidence.consistency, ConsistencyProof(query.known_size, size, nodes_));
  ASSIGN_OR_RETURN(const Hash256 root, TreeRoot(size, nodes_));
  evidence.head = SignTreeHead({size, root}, options_.clock->Now(), *options_.keys.log);
  return evidence;
}

}  // namespace lorikeet
