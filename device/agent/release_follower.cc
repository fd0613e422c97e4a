#include "device/agent/release_follower.h"

#include <algorithm>

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
  if (store_->HasFile(file().hash)) {
    offset_ = file().bytes;
  } else {
    ASSIGN_OR_RETURN(const uint64_t there, store_->PartialBytes(file().hash));
    offset_ = std::min(there - there % file().chunk_bytes, file().bytes);
  }
  return NextChunk();
}

absl::StatusOr<std::optional<AgentRequest>> ReleaseFollower::NextChunk() {
  if (offset_ < file().bytes) {
    const uint64_t left = file().bytes - offset_;
    return AgentRequest(ChunkQuery{
        file().hash, offset_, static_cast<uint32_t>(std::min<uint64_t>(left, file().chunk_bytes))});
  }
  if (!store_->HasFile(file().hash)) RETURN_IF_ERROR(store_->FinishFile(file()));
  installed_ = InstalledRelease{manifest_.version, file().hash, manifest_.base_fingerprint};
  changed_ = true;
  return std::nullopt;
}

absl::StatusOr<std::optional<AgentRequest>> ReleaseFollower::HandleChunk(const ChunkResult& chunk) {
  RETURN_IF_ERROR(VerifyFileChunk(file(), offset_ / file().chunk_bytes, AsBytes(chunk.data)));
  RETURN_IF_ERROR(store_->AppendPartial(file().hash, offset_, chunk.data));
  offset_ += chunk.data.size();
  bytes_fetched_ += chunk.data.size();
  return NextChunk();
}

}  // namespace lorikeet
