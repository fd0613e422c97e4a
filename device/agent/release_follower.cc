#include "device/agent/release_follower.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {

absl::StatusOr<std::optional<AgentRequest>> ReleaseFollower::Handle(const AgentResponse& response,
                                                                    absl::Time now) {
  if (!response.status.ok()) return response.status;
  if (const auto* manifest = std::get_if<SignedManifest>(&response.answer)) {
    return HandleManifest(*manifest, now);
  }
  if (const auto* chunk = std::get_if<ChunkResult>(&response.answer)) return HandleChunk(*chunk);
  return absl::InternalError("release: an answer to another question");
}

absl::StatusOr<std::optional<AgentRequest>> ReleaseFollower::HandleManifest(
    const SignedManifest& signed_manifest, absl::Time now) {
  const uint64_t last_version = installed_ ? installed_->version : 0;
  ASSIGN_OR_RETURN(manifest_,
                   VerifyManifest(signed_manifest, {.pinned_key = key_,
                                                    .kind = kind_,
                                                    .base_fingerprint = base_fingerprint_,
                                                    .min_version = last_version,
                                                    .now = now}));
  if (installed_ && manifest_.version == installed_->version) return std::nullopt;
  if (manifest_.files.size() != 1) {
    return absl::InvalidArgumentError(absl::StrFormat("release %s: expected one file, got %d",
                                                      manifest_.name, manifest_.files.size()));
  }
  if (left_out_ == file().hash) return std::nullopt;
  if (!store_->HasFile(file().hash)) RETURN_IF_ERROR(ChooseFetch());
  return NextChunk();
}

absl::Status ReleaseFollower::ChooseFetch() {
  by_delta_ = false;
  ASSIGN_OR_RETURN(fetch_, ChunkFetch::Create(file(), store_));
  const ManifestDelta* delta = installed_ ? manifest_.DeltaFrom(installed_->file_hash) : nullptr;
  std::vector<Hash256> downloads = {file().hash};
  if (delta != nullptr && store_->HasFile(delta->from)) {
    downloads.push_back(delta->file.hash);
    ASSIGN_OR_RETURN(ChunkFetch smaller, ChunkFetch::Create(delta->file, store_));
    if (smaller.bytes_missing() < fetch_->bytes_missing()) {
      fetch_ = std::move(smaller);
      by_delta_ = true;
    }
  }
  // What was begun of an older base is of no use any more, and large.
  return kind_ == ReleaseKind::kBase ? store_->KeepOnlyDownloads(downloads) : absl::OkStatus();
}

absl::Status ReleaseFollower::FinishFetch() {
  if (!store_->HasFile(fetch_->file().hash)) RETURN_IF_ERROR(store_->FinishFile(fetch_->file()));
  if (!by_delta_) return absl::OkStatus();
  return store_->FinishByDelta(installed_->file_hash, fetch_->file().hash, file());
}

absl::StatusOr<std::optional<AgentRequest>> ReleaseFollower::NextChunk() {
  if (!store_->HasFile(file().hash)) {
    if (const auto query = fetch_->Next()) return AgentRequest(*query);
    const absl::Status finished = FinishFetch();
    // What a delta does not give is fetched whole.
    if (!finished.ok() && by_delta_ && !absl::IsResourceExhausted(finished)) {
      by_delta_ = false;
      ASSIGN_OR_RETURN(fetch_, ChunkFetch::Create(file(), store_));
      return NextChunk();
    }
    RETURN_IF_ERROR(finished);
  }
  installed_ = InstalledRelease{manifest_.version, file().hash, manifest_.base_fingerprint};
  changed_ = true;
  return std::nullopt;
}

absl::StatusOr<std::optional<AgentRequest>> ReleaseFollower::HandleChunk(const ChunkResult& chunk) {
  if (!fetch_) return absl::InternalError("release: a chunk before the manifest");
  RETURN_IF_ERROR(fetch_->Accept(chunk.data));
  bytes_fetched_ += chunk.data.size();
  return NextChunk();
}

}  // namespace lorikeet
