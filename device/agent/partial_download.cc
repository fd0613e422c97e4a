#include "device/agent/partial_download.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/posix_file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/delta/byte_source.h"

namespace lorikeet {
namespace {

constexpr std::string_view kMapMagic = "LKCHUNK1";
constexpr size_t kMapHeadBytes = 8 + sizeof(Hash256);

Hash256 PlanOf(const ManifestFile& file) {
  Hasher hasher;
  hasher.Update(file.hash).UpdateUint64(file.bytes).UpdateUint64(file.chunks.size());
  for (size_t i = 0; i < file.chunks.size(); ++i) hasher.UpdateUint64(file.ChunkLength(i));
  return hasher.Finish();
}

absl::Status WriteAt(int fd, uint64_t offset, std::string_view data, const std::string& path) {
  while (!data.empty()) {
    const ssize_t written = pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoError("write", path);
    data.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return fdatasync(fd) == 0 ? absl::OkStatus() : ErrnoError("sync", path);
}

}  // namespace

bool IsPartOfDownload(std::string_view file_name) {
  return file_name.ends_with(".part") || file_name.ends_with(".chunks");
}

PartialDownload::PartialDownload(const ManifestFile& file, std::string path)
    : file_(file), path_(std::move(path)), plan_(PlanOf(file)) {}

absl::StatusOr<std::vector<bool>> PartialDownload::Present() const {
  std::vector<bool> present(file_.chunks.size(), false);
  const size_t map_bytes = kMapHeadBytes + (present.size() + 7) / 8;
  if (!FileExists(part_path())) return present;
  const auto map = ReadFile(map_path(), map_bytes);
  if (absl::IsNotFound(map.status()) || absl::IsResourceExhausted(map.status())) return present;
  RETURN_IF_ERROR(map.status());
  std::string head(kMapMagic);
  head += AsChars(plan_);
  if (map->size() != map_bytes || !map->starts_with(head)) return present;
  for (size_t i = 0; i < present.size(); ++i) {
    present[i] = ((*map)[kMapHeadBytes + i / 8] >> (i % 8) & 1) != 0;
  }
  return present;
}

absl::Status PartialDownload::WriteMap(const std::vector<bool>& present) const {
  std::string map(kMapMagic);
  map += AsChars(plan_);
  map.resize(kMapHeadBytes + (present.size() + 7) / 8);
  for (size_t i = 0; i < present.size(); ++i) {
    if (present[i]) map[kMapHeadBytes + i / 8] |= static_cast<char>(1 << (i % 8));
  }
  return WriteFileAtomic(map_path(), map, 0600);
}

// The room for all of it, and a map without chunks.
absl::Status PartialDownload::Begin() const {
  const FileDescriptor part(open(part_path().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (part.get() < 0) return ErrnoError("open", part_path());
  const off_t bytes = static_cast<off_t>(file_.bytes);
  bool ok = fallocate(part.get(), 0, 0, bytes) == 0;
  // Not every file system can reserve.
  if (!ok && errno == EOPNOTSUPP) ok = true;
  if (!ok || ftruncate(part.get(), bytes) != 0) {
    const absl::Status failed = ErrnoError("reserve room for", part_path());
    unlink(part_path().c_str());
    return Annotate(failed, absl::StrFormat("%s takes %d bytes", file_.name, file_.bytes));
  }
  return WriteMap(std::vector<bool>(file_.chunks.size(), false));
}

absl::Status PartialDownload::Write(size_t chunk, std::string_view data) {
  ASSIGN_OR_RETURN(std::vector<bool> present, Present());
  bool begun = false;
  for (const bool one : present) begun = begun || one;
  if (!begun) RETURN_IF_ERROR(Begin());
  {
    const FileDescriptor part(open(part_path().c_str(), O_WRONLY | O_CLOEXEC));
    if (part.get() < 0) return ErrnoError("open", part_path());
    RETURN_IF_ERROR(WriteAt(part.get(), file_.ChunkOffsets()[chunk], data, part_path()));
  }
  // One byte in place: a map is never half written.
  char bits = 0;
  present[chunk] = true;
  for (size_t i = chunk / 8 * 8; i < std::min(present.size(), chunk / 8 * 8 + 8); ++i) {
    if (present[i]) bits |= static_cast<char>(1 << (i % 8));
  }
  const FileDescriptor map(open(map_path().c_str(), O_WRONLY | O_CLOEXEC));
  if (map.get() < 0) return ErrnoError("open", map_path());
  return WriteAt(map.get(), kMapHeadBytes + chunk / 8, std::string_view(&bits, 1), map_path());
}

absl::Status PartialDownload::ForgetWrongChunks() const {
  ASSIGN_OR_RETURN(std::vector<bool> present, Present());
  ASSIGN_OR_RETURN(const auto part, FileSource::Open(part_path()));
  const std::vector<uint64_t> offsets = file_.ChunkOffsets();
  std::vector<uint8_t> chunk;
  for (size_t i = 0; i < present.size(); ++i) {
    if (!present[i]) continue;
    chunk.resize(file_.ChunkLength(i));
    present[i] = part->Read(offsets[i], chunk).ok() && VerifyFileChunk(file_, i, chunk).ok();
  }
  return WriteMap(present);
}

absl::Status PartialDownload::Finish() {
  {
    ASSIGN_OR_RETURN(const auto part, FileSource::Open(part_path()));
    if (const absl::Status wrong = VerifyFile(file_, *part); !wrong.ok()) {
      RETURN_IF_ERROR(ForgetWrongChunks());
      return wrong;
    }
  }
  std::error_code error;
  std::filesystem::rename(part_path(), path_, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot install ", file_.name, ": ", error.message()));
  }
  RETURN_IF_ERROR(SyncDirectoryOf(path_));
  std::filesystem::remove(map_path(), error);
  return absl::OkStatus();
}

}  // namespace lorikeet
