#include "common/wire/manifest.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/wire/wire_checks.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using wire_internal::CheckCount;
using wire_internal::CheckHexHash;
using wire_internal::CheckRange;
using wire_internal::CheckText;

absl::StatusOr<std::string> TextField(const json& object, const char* field, size_t max_bytes) {
  const auto it = object.find(field);
  if (it == object.end() || !it->is_string()) {
    return absl::InvalidArgumentError(absl::StrFormat("manifest: expected text \"%s\"", field));
  }
  std::string text = it->get<std::string>();
  RETURN_IF_ERROR(CheckText(text, 0, max_bytes, field));
  return text;
}

absl::StatusOr<uint64_t> NumberField(const json& object, const char* field) {
  const auto it = object.find(field);
  if (it == object.end() || !it->is_number_unsigned()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("manifest: expected a whole number \"%s\"", field));
  }
  return it->get<uint64_t>();
}

absl::StatusOr<absl::Time> TimeField(const json& object, const char* field) {
  ASSIGN_OR_RETURN(const std::string text, TextField(object, field, 64));
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, text, &time, &error)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("manifest: expected RFC 3339 time \"%s\", got %s", field, text));
  }
  return time;
}

bool IsFileName(const std::string& name) {
  const auto allowed = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name[0] != '.' && std::all_of(name.begin(), name.end(), allowed) &&
         name != "manifest.json" && name != "manifest.sig";
}

absl::Status ParseChunkLengths(const json& object, ManifestFile* file) {
  const auto lengths = object.find("chunk_lengths");
  if (lengths == object.end()) return absl::OkStatus();
  if (!lengths->is_array() || lengths->empty()) {
    return absl::InvalidArgumentError("manifest: expected a list \"chunk_lengths\"");
  }
  uint64_t left = file->bytes;
  for (const json& length : *lengths) {
    if (!length.is_number_unsigned()) {
      return absl::InvalidArgumentError("manifest: expected lengths of chunks");
    }
    const uint64_t bytes = length.get<uint64_t>();
    RETURN_IF_ERROR(
        CheckRange(bytes, 1, std::min<uint64_t>(left, file->chunk_bytes), "chunk length"));
    file->chunk_lengths.push_back(static_cast<uint32_t>(bytes));
    left -= bytes;
  }
  return CheckRange(left, 0, 0, "bytes behind the chunks");
}

absl::StatusOr<ManifestFile> ParseFile(const json& object) {
  ManifestFile file;
  ASSIGN_OR_RETURN(file.name, TextField(object, "name", kMaxNameBytes));
  if (!IsFileName(file.name)) {
    return absl::InvalidArgumentError("manifest: expected a plain file name without directories");
  }
  ASSIGN_OR_RETURN(file.bytes, NumberField(object, "bytes"));
  ASSIGN_OR_RETURN(const std::string hash, TextField(object, "hash", 64));
  ASSIGN_OR_RETURN(const uint64_t chunk_bytes, NumberField(object, "chunk_bytes"));
  RETURN_IF_ERROR(CheckRange(chunk_bytes, 1, kMaxFetchBytes, "chunk_bytes"));
  file.chunk_bytes = static_cast<uint32_t>(chunk_bytes);
  RETURN_IF_ERROR(CheckHexHash(hash, "hash"));
  ASSIGN_OR_RETURN(file.hash, HashFromHex(hash));
  const auto chunks = object.find("chunks");
  if (chunks == object.end() || !chunks->is_array()) {
    return absl::InvalidArgumentError("manifest: expected a list \"chunks\"");
  }
  RETURN_IF_ERROR(ParseChunkLengths(object, &file));
  const uint64_t expected = file.chunk_lengths.empty()
                                ? file.bytes / chunk_bytes + (file.bytes % chunk_bytes != 0)
                                : file.chunk_lengths.size();
  RETURN_IF_ERROR(CheckRange(chunks->size(), expected, expected, "count of chunks"));
  for (const json& chunk : *chunks) {
    if (!chunk.is_string()) return absl::InvalidArgumentError("manifest: expected chunk hashes");
    const std::string hex = chunk.get<std::string>();
    RETURN_IF_ERROR(CheckHexHash(hex, "chunk"));
    ASSIGN_OR_RETURN(file.chunks.emplace_back(), HashFromHex(hex));
  }
  return file;
}

absl::Status ParseFiles(const json& object, std::vector<ManifestFile>* files) {
  const auto list = object.find("files");
  if (list == object.end() || !list->is_array() || list->empty()) {
    return absl::InvalidArgumentError("manifest: expected a list \"files\" of at least one");
  }
  RETURN_IF_ERROR(CheckCount(static_cast<int64_t>(list->size()), kMaxManifestFiles, "files"));
  for (const json& entry : *list) {
    if (!entry.is_object()) return absl::InvalidArgumentError("manifest: expected file objects");
    ASSIGN_OR_RETURN(files->emplace_back(), ParseFile(entry));
    for (size_t i = 0; i + 1 < files->size(); ++i) {
      if ((*files)[i].name == files->back().name) {
        return absl::InvalidArgumentError("manifest: expected different file names");
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Hash256> HashField(const json& object, const char* field) {
  ASSIGN_OR_RETURN(const std::string hex, TextField(object, field, 64));
  RETURN_IF_ERROR(CheckHexHash(hex, field));
  return HashFromHex(hex);
}

absl::Status ParseDeltas(const json& object, Manifest* manifest) {
  const auto list = object.find("deltas");
  if (list == object.end()) return absl::OkStatus();
  if (!list->is_array()) return absl::InvalidArgumentError("manifest: expected a list \"deltas\"");
  RETURN_IF_ERROR(CheckCount(static_cast<int64_t>(list->size()), kMaxManifestDeltas, "deltas"));
  for (const json& entry : *list) {
    if (!entry.is_object() || !entry.contains("file") || !entry["file"].is_object()) {
      return absl::InvalidArgumentError("manifest: expected deltas with a \"file\"");
    }
    ManifestDelta& delta = manifest->deltas.emplace_back();
    ASSIGN_OR_RETURN(delta.from, HashField(entry, "from"));
    ASSIGN_OR_RETURN(delta.to, HashField(entry, "to"));
    ASSIGN_OR_RETURN(delta.file, ParseFile(entry["file"]));
    const auto is_target = [&](const ManifestFile& file) { return file.hash == delta.to; };
    if (std::ranges::none_of(manifest->files, is_target)) {
      return absl::InvalidArgumentError("manifest: expected a delta to one of its files");
    }
  }
  return absl::OkStatus();
}

json ToJson(const ManifestFile& file) {
  json chunks = json::array();
  for (const Hash256& chunk : file.chunks) chunks.push_back(ToHex(chunk));
  json object = {{"name", file.name},
                 {"bytes", file.bytes},
                 {"hash", ToHex(file.hash)},
                 {"chunk_bytes", file.chunk_bytes},
                 {"chunks", std::move(chunks)}};
  if (!file.chunk_lengths.empty()) object["chunk_lengths"] = file.chunk_lengths;
  return object;
}

}  // namespace

uint32_t ManifestFile::ChunkLength(size_t chunk) const {
  if (!chunk_lengths.empty()) return chunk_lengths[chunk];
  const uint64_t offset = static_cast<uint64_t>(chunk) * chunk_bytes;
  return static_cast<uint32_t>(std::min<uint64_t>(chunk_bytes, bytes - offset));
}

std::vector<uint64_t> ManifestFile::ChunkOffsets() const {
  std::vector<uint64_t> offsets = {0};
  for (size_t i = 0; i < chunks.size(); ++i) offsets.push_back(offsets.back() + ChunkLength(i));
  return offsets;
}

const ManifestDelta* Manifest::DeltaFrom(const Hash256& installed) const {
  if (files.size() != 1) return nullptr;
  for (const ManifestDelta& delta : deltas) {
    if (delta.from == installed && delta.to == files.front().hash) return &delta;
  }
  return nullptr;
}

ManifestFile DescribeFile(std::string name, std::span<const uint8_t> content) {
  // Bytes in memory can be read, and equal lengths add up.
  return DescribeFile(std::move(name), MemorySource(content), {}).value();
}

absl::StatusOr<ManifestFile> DescribeFile(std::string name, const ByteSource& content,
                                          std::vector<uint32_t> chunk_lengths) {
  ManifestFile file;
  file.name = std::move(name);
  file.bytes = content.size();
  file.chunk_lengths = std::move(chunk_lengths);
  const uint64_t count = file.chunk_lengths.empty()
                             ? file.bytes / file.chunk_bytes + (file.bytes % file.chunk_bytes != 0)
                             : file.chunk_lengths.size();
  Hasher whole;
  std::vector<uint8_t> chunk;
  uint64_t offset = 0;
  for (uint64_t i = 0; i < count; ++i) {
    chunk.resize(file.ChunkLength(i));
    RETURN_IF_ERROR(content.Read(offset, chunk));
    offset += chunk.size();
    whole.Update(chunk);
    file.chunks.push_back(Blake2b(chunk));
  }
  if (offset != file.bytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: expected chunks of %d bytes together, got %d", file.name, file.bytes, offset));
  }
  file.hash = whole.Finish();
  return file;
}

std::string SerializeManifest(const Manifest& manifest) {
  json files = json::array(), deltas = json::array();
  for (const ManifestFile& file : manifest.files) files.push_back(ToJson(file));
  for (const ManifestDelta& delta : manifest.deltas) {
    deltas.push_back(
        {{"from", ToHex(delta.from)}, {"to", ToHex(delta.to)}, {"file", ToJson(delta.file)}});
  }
  const auto format_time = [](absl::Time time) {
    return absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone());
  };
  json document = {{"format", kReleaseFormat},
                   {"kind", ReleaseKindName(manifest.kind)},
                   {"name", manifest.name},
                   {"version", manifest.version},
                   {"base_fingerprint", manifest.base_fingerprint},
                   {"created", format_time(manifest.created)},
                   {"expires", format_time(manifest.expires)},
                   {"parent", manifest.parent},
                   {"files", std::move(files)}};
  if (!deltas.empty()) document["deltas"] = std::move(deltas);
  return document.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

absl::StatusOr<Manifest> ParseManifest(const std::string& text) {
  RETURN_IF_ERROR(CheckText(text, 1, kMaxManifestBytes, "manifest"));
  const json document = json::parse(text, nullptr, false);
  if (!document.is_object()) {
    return absl::InvalidArgumentError("manifest: expected a JSON object");
  }
  ASSIGN_OR_RETURN(const std::string format, TextField(document, "format", 64));
  if (format != kReleaseFormat) {
    return absl::InvalidArgumentError(
        absl::StrFormat("manifest: expected format %s, got %s", kReleaseFormat, format));
  }
  Manifest manifest;
  ASSIGN_OR_RETURN(const std::string kind, TextField(document, "kind", 64));
  ASSIGN_OR_RETURN(manifest.kind, ParseReleaseKind(kind));
  ASSIGN_OR_RETURN(manifest.name, TextField(document, "name", kMaxNameBytes));
  ASSIGN_OR_RETURN(manifest.version, NumberField(document, "version"));
  // Versions are stored in signed 64-bit columns.
  RETURN_IF_ERROR(CheckRange(manifest.version, 0, std::numeric_limits<int64_t>::max(), "version"));
  ASSIGN_OR_RETURN(manifest.base_fingerprint, TextField(document, "base_fingerprint", 64));
  RETURN_IF_ERROR(CheckHexHash(manifest.base_fingerprint, "base_fingerprint"));
  ASSIGN_OR_RETURN(manifest.created, TimeField(document, "created"));
  ASSIGN_OR_RETURN(manifest.expires, TimeField(document, "expires"));
  ASSIGN_OR_RETURN(manifest.parent, TextField(document, "parent", 64));
  if (!manifest.parent.empty()) RETURN_IF_ERROR(CheckHexHash(manifest.parent, "parent"));
  RETURN_IF_ERROR(ParseFiles(document, &manifest.files));
  RETURN_IF_ERROR(ParseDeltas(document, &manifest));
  return manifest;
}

std::string TargetName(ReleaseKind kind, std::string_view base_fingerprint) {
  std::string name(ReleaseKindName(kind));
  if (!base_fingerprint.empty()) name.append("/").append(base_fingerprint);
  return name;
}

SignedManifest SignManifest(const Manifest& manifest, const SigningKey& key) {
  SignedManifest signed_manifest;
  signed_manifest.manifest = SerializeManifest(manifest);
  signed_manifest.signature = key.Sign(kReleaseLabel, AsBytes(signed_manifest.manifest));
  signed_manifest.key = key.public_key();
  return signed_manifest;
}

absl::Status CheckManifest(const Manifest& manifest, const ManifestExpectation& expectation) {
  if (manifest.kind != expectation.kind) {
    return absl::FailedPreconditionError(
        absl::StrCat("release: expected kind ", ToAbsl(ReleaseKindName(expectation.kind)), ", got ",
                     ToAbsl(ReleaseKindName(manifest.kind))));
  }
  if (!expectation.base_fingerprint.empty() &&
      manifest.base_fingerprint != expectation.base_fingerprint) {
    return absl::FailedPreconditionError(absl::StrCat("release: expected base ",
                                                      expectation.base_fingerprint, ", got ",
                                                      manifest.base_fingerprint));
  }
  if (manifest.version < expectation.min_version) {
    return absl::FailedPreconditionError(
        absl::StrFormat("release: expected version %d or newer, got %d (rolled back)",
                        expectation.min_version, manifest.version));
  }
  if (manifest.expires <= expectation.now) {
    return absl::FailedPreconditionError(absl::StrCat(
        "release: expected one that is valid at ",
        absl::FormatTime(absl::RFC3339_sec, expectation.now, absl::UTCTimeZone()), ", got expiry ",
        absl::FormatTime(absl::RFC3339_sec, manifest.expires, absl::UTCTimeZone())));
  }
  return absl::OkStatus();
}

absl::StatusOr<Manifest> VerifyManifest(const SignedManifest& signed_manifest,
                                        const ManifestExpectation& expectation) {
  if (signed_manifest.key != expectation.pinned_key) {
    return absl::PermissionDeniedError(absl::StrCat("release: expected the key ",
                                                    ToHex(expectation.pinned_key), ", got ",
                                                    ToHex(signed_manifest.key)));
  }
  if (!VerifySignature(expectation.pinned_key, kReleaseLabel, AsBytes(signed_manifest.manifest),
                       signed_manifest.signature)) {
    return absl::DataLossError("release: the signature does not fit the manifest");
  }
  ASSIGN_OR_RETURN(Manifest manifest, ParseManifest(signed_manifest.manifest));
  RETURN_IF_ERROR(CheckManifest(manifest, expectation));
  return manifest;
}

absl::Status VerifyFileChunk(const ManifestFile& file, size_t chunk_index,
                             std::span<const uint8_t> chunk) {
  if (chunk_index >= file.chunks.size()) {
    return absl::OutOfRangeError(absl::StrFormat("%s: expected a chunk under %d, got %d", file.name,
                                                 file.chunks.size(), chunk_index));
  }
  const uint32_t expected = file.ChunkLength(chunk_index);
  if (chunk.size() != expected || Blake2b(chunk) != file.chunks[chunk_index]) {
    return absl::DataLossError(
        absl::StrFormat("%s: chunk %d (%d bytes, expected %d) does not have the signed hash",
                        file.name, chunk_index, chunk.size(), expected));
  }
  return absl::OkStatus();
}

absl::Status VerifyFile(const ManifestFile& file, std::span<const uint8_t> content) {
  return VerifyFile(file, MemorySource(content));
}

absl::Status VerifyFile(const ManifestFile& file, const ByteSource& content) {
  if (content.size() != file.bytes) {
    return absl::DataLossError(
        absl::StrFormat("%s: expected %d bytes, got %d", file.name, file.bytes, content.size()));
  }
  ASSIGN_OR_RETURN(const Hash256 hash, HashOf(content));
  if (hash == file.hash) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrFormat("%s: expected hash %s, got %s", file.name, ToHex(file.hash), ToHex(hash)));
}

}  // namespace lorikeet
