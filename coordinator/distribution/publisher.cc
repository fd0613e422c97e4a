#include "coordinator/distribution/publisher.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/gguf/reader.h"

namespace lorikeet {

absl::StatusOr<ReleaseRecord> Publisher::MakeRelease(Manifest manifest, std::string_view file_name,
                                                     std::string_view bytes) {
  manifest.files = {DescribeFile(std::string(file_name), AsBytes(bytes))};
  // Whole seconds: a manifest's times come back as they went.
  manifest.created = absl::FromUnixSeconds(absl::ToUnixSeconds(options_.clock->Now()));
  manifest.expires = manifest.created + options_.validity;
  RETURN_IF_ERROR(options_.blobs->Put(bytes).status());
  ReleaseRecord release;
  release.kind = manifest.kind;
  release.name = manifest.name;
  release.version = manifest.version;
  release.base_fingerprint = manifest.base_fingerprint;
  release.manifest = SignManifest(manifest, *options_.key);
  release.published = options_.clock->Now();
  return release;
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
  ASSIGN_OR_RETURN(const auto mapped, MappedFile::Open(path));
  ASSIGN_OR_RETURN(ReleaseRecord release,
                   MakeRelease(std::move(manifest), kBaseFileName, AsChars(mapped->bytes())));
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
  ASSIGN_OR_RETURN(ReleaseRecord release,
                   MakeRelease(std::move(manifest), kCatalogFileName, bytes));
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
  return MakeRelease(std::move(manifest), kCatalogFileName, SerializeCatalog(catalog));
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
