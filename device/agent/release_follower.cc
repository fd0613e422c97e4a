#include "device/agent/release_follower.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {

absl::StatusOr<std::optional<AgentRequest>> ReleaseFollower::Handle(const AgentResponse& response,
                                                                    absl::Time now) {
  if (absl::IsNotFound(response.status) && asked_for_manifest_) return std::nullopt;
  if (!response.status.ok()) return response.status;
  if (const auto* update = std::get_if<TrustUpdate>(&response.answer)) {
    return HandleTrust(*update, now);
  }
  if (const auto* manifest = std::get_if<SignedManifest>(&response.answer)) {
    return HandleManifest(manifest->manifest, now);
  }
  if (const auto* evidence = std::get_if<LogEvidence>(&response.answer)) {
    return HandleProof(*evidence, now);
  }
  if (const auto* chunk = std::get_if<ChunkResult>(&response.answer)) return HandleChunk(*chunk);
  return absl::InternalError("release: an answer to another question");
}

absl::StatusOr<std::optional<AgentRequest>> ReleaseFollower::HandleTrust(const TrustUpdate& update,
                                                                         absl::Time now) {
  RETURN_IF_ERROR(trust_->Accept(update, now));
  if (unlisted_manifest_) return HandleManifest(*unlisted_manifest_, now);
  asked_for_manifest_ = true;
  return AgentRequest(ReleaseQuery{kind_, base_fingerprint_});
}

// Nothing of a manifest is parsed before the metadata has vouched for its bytes.
absl::StatusOr<std::optional<AgentRequest>> ReleaseFollower::HandleManifest(
    const std::string& manifest, absl::Time now) {
  asked_for_manifest_ = false;
  const absl::Status listed = trust_->CheckManifest(kind_, base_fingerprint_, manifest, now);
  if (!listed.ok() && !unlisted_manifest_) {
    // Perhaps it was released between the two calls: once more.
    unlisted_manifest_ = manifest;
    return AgentRequest(trust_->NextQuery());
  }
  RETURN_IF_ERROR(listed);
  ASSIGN_OR_RETURN(manifest_, ParseManifest(manifest));
  RETURN_IF_ERROR(CheckManifest(manifest_, {.kind = kind_,
                                            .base_fingerprint = base_fingerprint_,
                                            .min_version = installed_ ? installed_->version : 0,
                                            .now = now}));
  if (installed_ && manifest_.version == installed_->version) return std::nullopt;
  if (manifest_.files.size() != 1) {
    return absl::InvalidArgumentError(absl::StrFormat("release %s: expected one file, got %d",
                                                      manifest_.name, manifest_.files.size()));
  }
  if (left_out_ == file().hash) return std::nullopt;
  unproven_ = LogEntryOf(LogEntryKind::kRelease, manifest);
  return AgentRequest(trust_->ProofOf({*unproven_}));
}

absl::StatusOr<std::optional<AgentRequest>> ReleaseFollower::HandleProof(
    const LogEvidence& evidence, absl::Time now) {
  if (!unproven_) return absl::InternalError("release: a proof before the manifest");
  RETURN_IF_ERROR(trust_->AcceptProof({&*unproven_, 1}, evidence, now));
  unproven_.reset();
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
  if (!fetch_) return absl::InternalError("release: a chunk before the proof");
  RETURN_IF_ERROR(fetch_->Accept(chunk.data));
  bytes_fetched_ += chunk.data.size();
  return NextChunk();
}

}  // namespace lorikeet
