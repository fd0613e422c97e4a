// publish, verify-release.
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/crypto/public_key_file.h"
#include "common/delta/apply_delta.h"
#include "common/delta/make_delta.h"
#include "common/wire/manifest.h"
#include "coordinator/admin/commands.h"
#include "coordinator/admin/trust_keys.h"
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
  nlohmann::json deltas = nlohmann::json::array();
  for (const ManifestDelta& delta : manifest.deltas) {
    deltas.push_back({{"from", ToHex(delta.from)}, {"bytes", delta.file.bytes}});
  }
  return {{"kind", std::string(ReleaseKindName(manifest.kind))},
          {"name", manifest.name},
          {"version", manifest.version},
          {"base_fingerprint", manifest.base_fingerprint},
          {"created", FormatInstant(manifest.created)},
          {"expires", FormatInstant(manifest.expires)},
          {"parent", manifest.parent},
          {"files", files},
          {"deltas", deltas}};
}

absl::Status WriteRelease(const std::string& directory, const ReleaseRecord& release,
                          const Manifest& manifest, BlobStore* blobs) {
  RETURN_IF_ERROR(WriteReleaseDir(directory, release.manifest));
  for (const ManifestFile& file : manifest.files) {
    RETURN_IF_ERROR(CopyBlob(blobs, file.hash, absl::StrCat(directory, "/", file.name)));
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
  Publisher publisher(
      {.store = workspace->store.get(),
       .blobs = workspace->blobs.get(),
       .key = &key,
       .clock = &workspace->clock,
       .validity = workspace->settings.release_validity,
       .scratch = workspace->settings.blobs.url.empty() ? workspace->settings.releases_path : ""});
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
    for (const ManifestDelta& delta : manifest.deltas) {
      out.Line(absl::StrFormat("  delta from %s: %d bytes (%.1f %%)", ToHex(delta.from),
                               delta.file.bytes,
                               100.0 * delta.file.bytes / manifest.files[0].bytes));
    }
    releases.push_back(ToJson(manifest));
  }
  // Logged and listed before anybody is told of them.
  RETURN_IF_ERROR(OpenTrust(workspace.get()).status());
  out.SetJson({{"releases", releases}});
  return absl::OkStatus();
}

struct DeltaCommandOptions {
  std::string old_path;
  std::string new_path;
  std::string out;
};

absl::Status RunDelta(const DeltaCommandOptions& options, Output& out) {
  ASSIGN_OR_RETURN(const DeltaSummary summary,
                   MakeDeltaFile(options.old_path, options.new_path, options.out, {}));
  const DeltaHeader& header = summary.header;
  // Whoever is handed the file later may not have these two any more.
  {
    ASSIGN_OR_RETURN(const auto old_file, FileSource::Open(options.old_path));
    ASSIGN_OR_RETURN(const auto delta, FileSource::Open(options.out));
    RETURN_IF_ERROR(ApplyDelta(*old_file, *delta, {header.new_bytes, header.new_hash},
                               [](std::span<const uint8_t>) { return absl::OkStatus(); }));
  }
  out.Line(absl::StrFormat("%d bytes (%.1f %% of %d); %d of %d tensors from the old file; verified",
                           summary.bytes, 100.0 * summary.bytes / header.new_bytes,
                           header.new_bytes, summary.tensors_paired, summary.tensors));
  out.SetJson({{"bytes", summary.bytes},
               {"old", {{"bytes", header.old_bytes}, {"hash", ToHex(header.old_hash)}}},
               {"new", {{"bytes", header.new_bytes}, {"hash", ToHex(header.new_hash)}}},
               {"tensors", summary.tensors},
               {"tensors_paired", summary.tensors_paired}});
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

void AddDeltaCommand(Program& program) {
  auto options = std::make_shared<DeltaCommandOptions>();
  CLI::App* command = program.Add("delta", "What turns one GGUF file into another, as a small file",
                                  [options](Output& out) { return RunDelta(*options, out); });
  command->add_option("old", options->old_path, "GGUF file that devices have")->required();
  command->add_option("new", options->new_path, "GGUF file that they shall have")->required();
  command->add_option("--out", options->out, "File to write")->required();
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
