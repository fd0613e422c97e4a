#include "device/agent/chunk_fetch.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {

absl::StatusOr<ChunkFetch> ChunkFetch::Create(ManifestFile file, AgentStore* store) {
  ASSIGN_OR_RETURN(std::vector<bool> present, store->ChunksPresent(file));
  return ChunkFetch(std::move(file), store, std::move(present));
}

ChunkFetch::ChunkFetch(ManifestFile file, AgentStore* store, std::vector<bool> present)
    : file_(std::move(file)),
      store_(store),
      present_(std::move(present)),
      offsets_(file_.ChunkOffsets()) {
  GoToMissing();
}

void ChunkFetch::GoToMissing() {
  bytes_.clear();
  while (chunk_ < present_.size() && present_[chunk_]) ++chunk_;
}

uint64_t ChunkFetch::bytes_missing() const {
  uint64_t bytes = 0;
  for (size_t i = 0; i < present_.size(); ++i) bytes += present_[i] ? 0 : file_.ChunkLength(i);
  return bytes;
}

std::optional<ChunkQuery> ChunkFetch::Next() const {
  if (chunk_ == present_.size()) return std::nullopt;
  const uint32_t left = file_.ChunkLength(chunk_) - static_cast<uint32_t>(bytes_.size());
  return ChunkQuery{.file_hash = file_.hash,
                    .offset = offsets_[chunk_] + bytes_.size(),
                    .length = std::min(left, kPieceBytes)};
}

absl::Status ChunkFetch::Accept(std::string_view piece) {
  const std::optional<ChunkQuery> asked = Next();
  if (!asked || piece.size() != asked->length) {
    return absl::DataLossError(absl::StrFormat("%s: expected %d bytes of chunk %d, got %d",
                                               file_.name, asked ? asked->length : 0, chunk_,
                                               piece.size()));
  }
  bytes_ += piece;
  if (bytes_.size() < file_.ChunkLength(chunk_)) return absl::OkStatus();
  const std::string chunk = std::exchange(bytes_, {});
  RETURN_IF_ERROR(VerifyFileChunk(file_, chunk_, AsBytes(chunk)));
  RETURN_IF_ERROR(store_->WriteChunk(file_, chunk_, chunk));
  present_[chunk_] = true;
  GoToMissing();
  return absl::OkStatus();
}

}  // namespace lorikeet
