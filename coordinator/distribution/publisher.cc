#include "coordinator/distribution/publisher.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/delta/make_delta.h"
#include "common/gguf/reader.h"
#include "common/wire/tensor_chunks.h"
#include "coordinator/distribution/scratch_directory.h"

namespace lorikeet {
namespace {

// A delta that saves less is not worth the time to apply it.
constexpr double kWorthwhileDelta = 0.9;

absl::Status StoreCatalog(std::string_view bytes, BlobStore* blobs, Manifest* manifest) {
  manifest->files = {DescribeFile(kCatalogFileName, AsBytes(bytes))};
  return blobs->Put(bytes).status();
}

}  // namespace

ReleaseRecord Publisher::MakeRelease(Manifest manifest) const {
  // Whole seconds: a manifest's times come back as they went.
  manifest.created = absl::FromUnixSeconds(absl::ToUnixSeconds(options_.clock->Now()));
  manifest.expires = manifest.created + options_.validity;
  ReleaseRecord release;
  release.kind = manifest.kind;
  release.name = manifest.name;
  release.version = manifest.version;
  release.base_fingerprint = manifest.base_fingerprint;
  release.manifest = SignManifest(manifest, *options_.key);
  release.published = options_.clock->Now();
  return release;
}

absl::StatusOr<ManifestDelta> Publisher::MakeBaseDelta(const ReleaseRecord& from,
                                                       const std::string& path,
                                                       const ManifestFile& to) const {
  ASSIGN_OR_RETURN(const Manifest manifest, ParseManifest(from.manifest.manifest));
  ManifestDelta delta;
  delta.from = manifest.files[0].hash;
  delta.to = to.hash;
  ASSIGN_OR_RETURN(const auto scratch, ScratchDirectory::Create(options_.scratch));
  std::optional<std::string> old_path = options_.blobs->LocalPath(delta.from);
  if (!old_path) {
    old_path = scratch->path() + "/old.gguf";
    RETURN_IF_ERROR(CopyBlob(options_.blobs, delta.from, *old_path));
  }
  const std::string delta_path = scratch->path() + "/" + kBaseDeltaName;
  ASSIGN_OR_RETURN(const DeltaSummary summary, MakeDeltaFile(*old_path, path, delta_path, {}));
  if (summary.header.new_hash != to.hash) {
    return absl::DataLossError(absl::StrCat(path, " changed while it was published"));
  }
  if (static_cast<double>(summary.bytes) > kWorthwhileDelta * static_cast<double>(to.bytes)) {
    return absl::FailedPreconditionError(
        absl::StrFormat("a delta of %d bytes to a file of %d", summary.bytes, to.bytes));
  }
  ASSIGN_OR_RETURN(const auto content, FileSource::Open(delta_path));
  ASSIGN_OR_RETURN(delta.file, DescribeFile(kBaseDeltaName, *content, {}));
  RETURN_IF_ERROR(options_.blobs->PutFile(delta_path).status());
  return delta;
}

absl::StatusOr<ReleaseRecord> Publisher::PublishBase(const std::string& path,
                                                     std::string_view name) {
  ASSIGN_OR_RETURN(const auto file, GgufFile::Open(path));
  ASSIGN_OR_RETURN(const std::string_view type, file->GetString("general.type", "model"));
  if (type != "model") {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected a base model, got a GGUF file of type ", ToAbsl(type)));
  }
  Manifest manifest;
  manifest.kind = ReleaseKind::kBase;
  manifest.name = std::string(name);
  manifest.base_fingerprint = ToHex(file->Fingerprint());
  ASSIGN_OR_RETURN(const auto same,
                   options_.store->LatestRelease(ReleaseKind::kBase, manifest.base_fingerprint));
  if (same) {
    return absl::AlreadyExistsError(
        absl::StrCat(path, ": base ", manifest.base_fingerprint, " is published already"));
  }
  ASSIGN_OR_RETURN(const auto newest, options_.store->LatestRelease(ReleaseKind::kBase, ""));
  manifest.version = newest ? newest->version + 1 : 1;
  ASSIGN_OR_RETURN(const auto content, FileSource::Open(path));
  ASSIGN_OR_RETURN(std::vector<uint32_t> lengths, TensorChunkLengths(path));
  ASSIGN_OR_RETURN(const ManifestFile described,
                   DescribeFile(kBaseFileName, *content, std::move(lengths)));
  manifest.files = {described};
  ASSIGN_OR_RETURN(const Hash256 stored, options_.blobs->PutFile(path));
  if (stored != described.hash) {
    return absl::DataLossError(absl::StrCat(path, " changed while it was published"));
  }
  if (newest) {
    // Without a delta devices fetch the whole file: no reason not to publish.
    auto delta = MakeBaseDelta(*newest, path, described);
    if (delta.ok()) manifest.deltas.push_back(*std::move(delta));
    if (!delta.ok()) {
      LogWarning(absl::StrCat("publish: without a delta: ", delta.status().message()));
    }
  }
  const ReleaseRecord release = MakeRelease(std::move(manifest));
  RETURN_IF_ERROR(options_.store->AddRelease(release));
  return release;
}

absl::StatusOr<ReleaseRecord> Publisher::PublishCatalog(const std::string& path,
                                                        std::string_view name) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  auto parsed = ParseCatalog(bytes);
  if (!parsed.ok()) return Annotate(parsed.status(), path);
  const Catalog& catalog = *parsed;
  ASSIGN_OR_RETURN(const auto base,
                   options_.store->LatestRelease(ReleaseKind::kBase, catalog.base_fingerprint));
  if (!base) {
    return absl::FailedPreconditionError(absl::StrCat(
        path, ": expected its base ", catalog.base_fingerprint, " to be published first"));
  }
  ASSIGN_OR_RETURN(const auto newest,
                   options_.store->LatestRelease(ReleaseKind::kCatalog, catalog.base_fingerprint));
  if (newest && catalog.version <= newest->version) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s: expected a version above %d (published), got %d", path,
                        newest->version, catalog.version));
  }
  Manifest manifest;
  manifest.kind = ReleaseKind::kCatalog;
  manifest.name = std::string(name);
  manifest.version = catalog.version;
  manifest.base_fingerprint = catalog.base_fingerprint;
  RETURN_IF_ERROR(StoreCatalog(bytes, options_.blobs, &manifest));
  const ReleaseRecord release = MakeRelease(std::move(manifest));
  RETURN_IF_ERROR(options_.store->AddRelease(release));
  return release;
}

absl::StatusOr<ReleaseRecord> Publisher::MakeCatalogRelease(const Catalog& catalog,
                                                            std::string_view name,
                                                            std::string_view parent) {
  RETURN_IF_ERROR(CheckCatalog(catalog));
  Manifest manifest;
  manifest.kind = ReleaseKind::kCatalog;
  manifest.name = std::string(name);
  manifest.version = catalog.version;
  manifest.base_fingerprint = catalog.base_fingerprint;
  manifest.parent = std::string(parent);
  RETURN_IF_ERROR(StoreCatalog(SerializeCatalog(catalog), options_.blobs, &manifest));
  return MakeRelease(std::move(manifest));
}

absl::StatusOr<Catalog> LoadCatalog(const ReleaseRecord& release, BlobStore* blobs) {
  ASSIGN_OR_RETURN(const Manifest manifest, ParseManifest(release.manifest.manifest));
  ASSIGN_OR_RETURN(const std::string bytes, blobs->Get(manifest.files[0].hash));
  RETURN_IF_ERROR(VerifyFile(manifest.files[0], AsBytes(bytes)));
  return ParseCatalog(bytes);
}

absl::StatusOr<std::string> ReleaseFileHash(const ReleaseRecord& release) {
  ASSIGN_OR_RETURN(const Manifest manifest, ParseManifest(release.manifest.manifest));
  return ToHex(manifest.files[0].hash);
}

}  // namespace lorikeet
