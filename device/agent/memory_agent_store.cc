// MemoryAgentStore of agent_store.h.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/delta/apply_delta.h"
#include "device/agent/agent_store.h"

namespace lorikeet {

absl::Status MemoryAgentStore::Save(const AgentState& state) {
  state_ = state;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<bool>> MemoryAgentStore::ChunksPresent(const ManifestFile& file) {
  std::vector<bool> present(file.chunks.size(), false);
  const auto it = partial_.find(file.hash);
  if (it == partial_.end()) return present;
  for (const auto& [chunk, data] : it->second) {
    if (chunk < present.size()) present[chunk] = true;
  }
  return present;
}

absl::Status MemoryAgentStore::WriteChunk(const ManifestFile& file, size_t chunk,
                                          std::string_view data) {
  partial_[file.hash][chunk] = std::string(data);
  return absl::OkStatus();
}

absl::Status MemoryAgentStore::FinishFile(const ManifestFile& file) {
  const auto it = partial_.find(file.hash);
  if (it == partial_.end()) return absl::NotFoundError(absl::StrCat("no download of ", file.name));
  std::string content;
  for (const auto& [chunk, data] : it->second) content += data;
  partial_.erase(it);
  RETURN_IF_ERROR(VerifyFile(file, AsBytes(content)));
  files_[file.hash] = std::move(content);
  return absl::OkStatus();
}

absl::Status MemoryAgentStore::FinishByDelta(const Hash256& from, const Hash256& delta,
                                             const ManifestFile& file) {
  ASSIGN_OR_RETURN(const std::string old_content, FileContent(from));
  ASSIGN_OR_RETURN(const std::string delta_content, FileContent(delta));
  files_.erase(delta);
  std::string content;
  RETURN_IF_ERROR(
      ApplyDelta(MemorySource(AsBytes(old_content)), MemorySource(AsBytes(delta_content)),
                 {.bytes = file.bytes, .hash = file.hash}, [&](std::span<const uint8_t> piece) {
                   content += AsChars(piece);
                   return absl::OkStatus();
                 }));
  files_[file.hash] = std::move(content);
  return absl::OkStatus();
}

absl::StatusOr<std::string> MemoryAgentStore::FileContent(const Hash256& file) {
  const auto it = files_.find(file);
  if (it == files_.end()) return absl::NotFoundError("no such file on this device");
  return it->second;
}

absl::Status MemoryAgentStore::KeepOnly(const std::vector<Hash256>& files) {
  std::erase_if(files_, [&](const auto& entry) {
    return std::find(files.begin(), files.end(), entry.first) == files.end();
  });
  return absl::OkStatus();
}

absl::Status MemoryAgentStore::KeepOnlyDownloads(const std::vector<Hash256>& files) {
  std::erase_if(partial_, [&](const auto& entry) {
    return std::find(files.begin(), files.end(), entry.first) == files.end();
  });
  return absl::OkStatus();
}

absl::Status MemoryAgentStore::KeepSeed(const Hash256& name, const SecretBytes& seed) {
  seeds_[name] = seed.Clone();
  return absl::OkStatus();
}

absl::StatusOr<SecretBytes> MemoryAgentStore::ReadSeed(const Hash256& name) {
  const auto it = seeds_.find(name);
  if (it == seeds_.end()) return absl::NotFoundError("no such seed on this device");
  return it->second.Clone();
}

absl::Status MemoryAgentStore::KeepOnlySeeds(const std::vector<Hash256>& names) {
  std::erase_if(seeds_, [&](const auto& entry) {
    return std::find(names.begin(), names.end(), entry.first) == names.end();
  });
  return absl::OkStatus();
}

}  // namespace lorikeet
