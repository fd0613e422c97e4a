// Release directories: manifest.json, manifest.sig and the files.
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/wire/manifest.h"

namespace lorikeet {
namespace {

template <size_t N>
absl::Status ReadHexField(const nlohmann::json& object, const char* field,
                          std::array<uint8_t, N>* out) {
  const auto it = object.find(field);
  if (it == object.end() || !it->is_string()) {
    return absl::InvalidArgumentError(absl::StrCat("manifest.sig: expected text \"", field, "\""));
  }
  ASSIGN_OR_RETURN(const std::string bytes, FromHex(it->get<std::string>()));
  if (bytes.size() != N) {
    return absl::InvalidArgumentError(
        absl::StrCat("manifest.sig: ", field, ": expected ", N, " bytes, got ", bytes.size()));
  }
  std::copy(bytes.begin(), bytes.end(), out->begin());
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteReleaseDir(const std::string& directory, const SignedManifest& signed_manifest) {
  RETURN_IF_ERROR(MakeDirs(directory));
  RETURN_IF_ERROR(
      WriteFileAtomic(absl::StrCat(directory, "/manifest.json"), signed_manifest.manifest));
  const nlohmann::json signature = {{"key", ToHex(signed_manifest.key)},
                                    {"signature", ToHex(signed_manifest.signature)}};
  return WriteFileAtomic(absl::StrCat(directory, "/manifest.sig"), signature.dump() + "\n");
}

absl::StatusOr<SignedManifest> ReadReleaseDir(const std::string& directory) {
  SignedManifest signed_manifest;
  ASSIGN_OR_RETURN(signed_manifest.manifest,
                   ReadFile(absl::StrCat(directory, "/manifest.json"), kMaxManifestBytes));
  ASSIGN_OR_RETURN(const std::string text,
                   ReadFile(absl::StrCat(directory, "/manifest.sig"), 4096));
  const nlohmann::json signature = nlohmann::json::parse(text, nullptr, false);
  if (!signature.is_object()) {
    return absl::InvalidArgumentError("manifest.sig: expected a JSON object");
  }
  RETURN_IF_ERROR(ReadHexField(signature, "key", &signed_manifest.key));
  RETURN_IF_ERROR(ReadHexField(signature, "signature", &signed_manifest.signature));
  return signed_manifest;
}

absl::StatusOr<Manifest> VerifyReleaseDir(const std::string& directory,
                                          const ManifestExpectation& expectation) {
  ASSIGN_OR_RETURN(const SignedManifest signed_manifest, ReadReleaseDir(directory));
  ASSIGN_OR_RETURN(Manifest manifest, VerifyManifest(signed_manifest, expectation));
  for (const ManifestFile& file : manifest.files) {
    ASSIGN_OR_RETURN(const auto content, FileSource::Open(absl::StrCat(directory, "/", file.name)));
    RETURN_IF_ERROR(VerifyFile(file, *content));
  }
  return manifest;
}

}  // namespace lorikeet
