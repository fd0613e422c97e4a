// publish, verify-release.
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/crypto/public_key_file.h"
#include "common/wire/manifest.h"
#include "coordinator/admin/commands.h"
#include "coordinator/admin/workspace.h"
#include "coordinator/distribution/publisher.h"

namespace lorikeet {
namespace {

struct PublishOptions {
  std::string config;
  std::string kind;
  std::vector<std::string> files;
  std::string name;
  std::string out;
};

nlohmann::json ToJson(const Manifest& manifest) {
  nlohmann::json files = nlohmann::json::array();
  for (const ManifestFile& file : manifest.files) {
    files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"hash", ToHex(file.hash)}});
  }
  return {{"kind", std::string(ReleaseKindName(manifest.kind))},
          {"name", manifest.name},
          {"version", manifest.version},
          {"base_fingerprint", manifest.base_fingerprint},
          {"created", FormatInstant(manifest.created)},
          {"expires", FormatInstant(manifest.expires)},
          {"parent", manifest.parent},
          {"files", files}};
}

absl::Status WriteRelease(const std::string& directory, const ReleaseRecord& release,
                          const Manifest& manifest, BlobStore* blobs) {
  RETURN_IF_ERROR(WriteReleaseDir(directory, release.manifest));
  for (const ManifestFile& file : manifest.files) {
    ASSIGN_OR_RETURN(const std::string bytes, blobs->Get(file.hash));
    RETURN_IF_ERROR(WriteFileAtomic(absl::StrCat(directory, "/", file.name), bytes));
  }
  return absl::OkStatus();
}

absl::Status RunPublish(const PublishOptions& options, Output& out) {
  if (!options.out.empty() && options.files.size() != 1) {
    return UsageError("--out takes one file");
  }
  ASSIGN_OR_RETURN(const ReleaseKind kind, ParseReleaseKind(options.kind));
  ASSIGN_OR_RETURN(const auto workspace, Workspace::Open(options.config));
  ASSIGN_OR_RETURN(const SigningKey key, workspace->ReadSigningKey());
  Publisher publisher({.store = workspace->store.get(),
                       .blobs = workspace->blobs.get(),
                       .key = &key,
                       .clock = &workspace->clock,
                       .validity = workspace->settings.release_validity});
  nlohmann::json releases = nlohmann::json::array();
  for (const std::string& file : options.files) {
    const std::string name =
        options.name.empty() ? std::filesystem::path(file).stem().string() : options.name;
    ASSIGN_OR_RETURN(const ReleaseRecord release, kind == ReleaseKind::kBase
                                                      ? publisher.PublishBase(file, name)
                                                      : publisher.PublishCatalog(file, name));
    ASSIGN_OR_RETURN(const Manifest manifest, ParseManifest(release.manifest.manifest));
    if (!options.out.empty()) {
      RETURN_IF_ERROR(WriteRelease(options.out, release, manifest, workspace->blobs.get()));
    }
    out.Line(absl::StrFormat("published %s %s, version %d, base %s, %d bytes", options.kind, name,
                             manifest.version, manifest.base_fingerprint, manifest.files[0].bytes));
    releases.push_back(ToJson(manifest));
  }
  out.SetJson({{"releases", releases}});
  return absl::OkStatus();
}

struct VerifyOptions {
  std::string config;
  std::string directory;
  std::string key_file;
};

absl::Status RunVerify(const VerifyOptions& options, Output& out) {
  std::string key_file = options.key_file;
  if (key_file.empty()) {
    ASSIGN_OR_RETURN(const Settings settings, ReadSettings(options.config));
    key_file = settings.release_key_path;
  }
  ManifestExpectation expectation;
  ASSIGN_OR_RETURN(expectation.pinned_key, ReadPublicKey(key_file));
  expectation.now = absl::Now();
  // The kind is what the release says: here any will do, and the signature covers it.
  ASSIGN_OR_RETURN(const SignedManifest signed_manifest, ReadReleaseDir(options.directory));
  ASSIGN_OR_RETURN(const Manifest claimed, ParseManifest(signed_manifest.manifest));
  expectation.kind = claimed.kind;
  ASSIGN_OR_RETURN(const Manifest manifest, VerifyReleaseDir(options.directory, expectation));
  out.Line(absl::StrFormat("verified: %s %s, version %d, expires %s",
                           ToAbsl(ReleaseKindName(manifest.kind)), manifest.name, manifest.version,
                           FormatInstant(manifest.expires)));
  nlohmann::json document = ToJson(manifest);
  document["verified"] = true;
  out.SetJson(std::move(document));
  return absl::OkStatus();
}

}  // namespace

void AddPublishCommand(Program& program) {
  auto options = std::make_shared<PublishOptions>();
  CLI::App* command = program.Add("publish", "Sign and publish base models or catalogs",
                                  [options](Output& out) { return RunPublish(*options, out); });
  AddConfigOption(command, &options->config);
  command->add_option("kind", options->kind, "base or catalog")
      ->required()
      ->check(CLI::IsMember({"base", "catalog"}));
  command->add_option("files", options->files, "GGUF files")->required();
  command->add_option("--name", options->name, "Name of the release (default: of the file)");
  command->add_option("--out", options->out, "Also write the release directory here");
}

void AddVerifyReleaseCommand(Program& program) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command =
      program.Add("verify-release", "Check a release directory: signature, expiry, every file",
                  [options](Output& out) { return RunVerify(*options, out); });
  AddConfigOption(command, &options->config);
  command->add_option("dir", options->directory, "Release directory")->required();
  command->add_option("--key", options->key_file,
                      "File with the release key (default: the coordinator's)");
}

}  // namespace lorikeet
