#include "device/runtime/session_file.h"

#include <cstring>
#include <memory>
#include <string_view>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr std::string_view kMagic = "LORIKEET-SESSION";
constexpr uint32_t kVersion = 1;
constexpr unsigned kOwnerOnly = 0600;

// Between magic, version, size and the lists; copied byte for byte.
struct Header {
  uint8_t base[32];
  uint32_t precision;
  uint32_t cache_type;
  uint32_t row_bytes;
  uint32_t stretches;
  uint32_t adapters;
  uint32_t tokens;
};
static_assert(sizeof(Header) == 56 && std::is_trivially_copyable_v<Header>);
constexpr size_t kAdapterBytes = sizeof(Hash256) + sizeof(float);
constexpr size_t kPrefixBytes = kMagic.size() + sizeof(uint32_t) + sizeof(uint64_t);

template <typename T>
void Put(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

template <typename T>
T Take(std::span<const uint8_t>& bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  bytes = bytes.subspan(sizeof(T));
  return value;
}

uint64_t FileBytes(const Header& header) {
  const uint64_t rows = uint64_t{header.stretches} * header.row_bytes;
  return kPrefixBytes + sizeof(Header) + uint64_t{header.adapters} * kAdapterBytes +
         header.tokens * (sizeof(TokenId) + rows) + sizeof(Hash256);
}

Header MakeHeader(const SessionIdentity& identity, const KvCache& cache, size_t tokens) {
  Header header{};
  std::memcpy(header.base, identity.base.data(), sizeof(header.base));
  header.precision = identity.exact ? 0 : 1;
  header.cache_type = static_cast<uint32_t>(cache.type());
  header.row_bytes = static_cast<uint32_t>(cache.row_bytes());
  header.stretches = static_cast<uint32_t>(cache.stretches());
  header.adapters = static_cast<uint32_t>(identity.adapters.size());
  header.tokens = static_cast<uint32_t>(tokens);
  return header;
}

Hash256 HashFactors(const Adapter& adapter) {
  const auto floats = [](const std::vector<float>& values) {
    return std::span(reinterpret_cast<const uint8_t*>(values.data()),
                     values.size() * sizeof(float));
  };
  Hasher hasher;
  hasher.UpdateUint64(adapter.matrices.size());
  for (const AdapterMatrix& matrix : adapter.matrices) {
    const float scale = adapter.BaseScale(matrix);
    hasher.UpdateUint64(static_cast<uint64_t>(matrix.target.layer_index));
    hasher.UpdateUint64(static_cast<uint64_t>(matrix.target.module));
    hasher.Update({reinterpret_cast<const uint8_t*>(&scale), sizeof(scale)});
    hasher.UpdateSized(floats(matrix.a));
    hasher.UpdateSized(floats(matrix.b));
    hasher.UpdateSized(floats(matrix.core));
  }
  return hasher.Finish();
}

// What differs, by name.
absl::Status CheckHeader(const Header& header, const Header& expected) {
  const auto mismatch = [](std::string_view what, const auto& want, const auto& got) {
    return absl::FailedPreconditionError(
        absl::StrCat("session file: expected ", ToAbsl(what), " ", want, ", got ", got));
  };
  if (std::memcmp(header.base, expected.base, sizeof(header.base)) != 0) {
    return mismatch("base", ToHex(expected.base), ToHex(header.base));
  }
  if (header.precision != expected.precision) {
    const auto name = [](const Header& h) { return h.precision == 0 ? "exact" : "fast"; };
    return mismatch("precision", name(expected), name(header));
  }
  if (header.cache_type != expected.cache_type) {
    const auto name = [](const Header& h) -> std::string {
      const TensorTypeTraits* traits = FindTensorType(h.cache_type);
      return traits != nullptr ? std::string(traits->name) : absl::StrCat(h.cache_type);
    };
    return mismatch("cache type", name(expected), name(header));
  }
  if (header.row_bytes != expected.row_bytes || header.stretches != expected.stretches) {
    return mismatch("cache rows of bytes", expected.row_bytes, header.row_bytes);
  }
  if (header.adapters != expected.adapters) {
    return mismatch("active adapters", expected.adapters, header.adapters);
  }
  return absl::OkStatus();
}

// Magic, version, size and checksum; returns what lies between prefix and checksum.
absl::StatusOr<std::span<const uint8_t>> CheckFrame(std::span<const uint8_t> bytes) {
  const std::span<const uint8_t> all = bytes;
  if (bytes.size() < kMagic.size() || AsChars(bytes.first(kMagic.size())) != kMagic) {
    return absl::InvalidArgumentError("expected a session file, got something else");
  }
  bytes = bytes.subspan(kMagic.size());
  const auto truncated = [&](uint64_t expected) {
    return absl::DataLossError(absl::StrCat("session file: expected ", expected, " bytes, got ",
                                            all.size(), ": truncated or damaged"));
  };
  if (all.size() < kPrefixBytes) return truncated(kPrefixBytes);
  if (const auto version = Take<uint32_t>(bytes); version != kVersion) {
    return absl::InvalidArgumentError(
        absl::StrCat("session file: expected version ", kVersion, ", got ", version));
  }
  const auto size = Take<uint64_t>(bytes);
  if (size != all.size()) return truncated(size);
  constexpr size_t kLeast = kPrefixBytes + sizeof(Header) + sizeof(Hash256);
  if (size < kLeast) return truncated(kLeast);
  const Hash256 hash = Blake2b(all.first(all.size() - sizeof(Hash256)));
  if (std::memcmp(hash.data(), all.last(sizeof(Hash256)).data(), sizeof(Hash256)) != 0) {
    return absl::DataLossError("session file: the checksum does not fit the content: damaged");
  }
  return bytes.first(bytes.size() - sizeof(Hash256));
}

absl::Status CheckAdapters(std::span<const uint8_t>& bytes, const SessionIdentity& identity) {
  for (size_t i = 0; i < identity.adapters.size(); ++i) {
    SessionIdentity::ActiveAdapter adapter;
    adapter.hash = Take<Hash256>(bytes);
    adapter.scale = Take<float>(bytes);
    const SessionIdentity::ActiveAdapter& expected = identity.adapters[i];
    if (adapter == expected) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "session file: expected adapter ", i + 1, " to be ", ToHex(expected.hash), " at scale ",
        expected.scale, ", got ", ToHex(adapter.hash), " at scale ", adapter.scale));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SessionIdentity> IdentifySession(const Model& model, bool exact,
                                                std::span<const AdapterRef> adapters) {
  SessionIdentity identity{.base = {}, .exact = exact, .adapters = {}};
  ASSIGN_OR_RETURN(identity.base, HashFromHex(model.fingerprint()));
  for (const AdapterRef& ref : adapters) {
    identity.adapters.push_back({.hash = HashFactors(*ref.adapter), .scale = ref.scale});
  }
  return identity;
}

absl::Status WriteSessionFile(const std::string& path, const SessionIdentity& identity,
                              std::span<const TokenId> tokens, KvCache& cache) {
  const Header header = MakeHeader(identity, cache, tokens.size());
  std::string out(kMagic);
  out.reserve(FileBytes(header));
  Put(out, kVersion);
  Put(out, FileBytes(header));
  Put(out, header);
  for (const SessionIdentity::ActiveAdapter& adapter : identity.adapters) {
    Put(out, adapter.hash);
    Put(out, adapter.scale);
  }
  out.append(reinterpret_cast<const char*>(tokens.data()), tokens.size_bytes());
  for (int64_t i = 0; i < cache.stretches(); ++i) {
    out.append(AsChars(cache.Stretch(i, static_cast<int64_t>(tokens.size()))));
  }
  Put(out, Blake2b(AsBytes(out)));
  return WriteFileAtomic(path, out, kOwnerOnly);
}

absl::StatusOr<std::vector<TokenId>> ReadSessionFile(const std::string& path,
                                                     const SessionIdentity& identity,
                                                     int context_length, KvCache& cache) {
  ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  ASSIGN_OR_RETURN(std::span<const uint8_t> bytes, CheckFrame(file->bytes()));
  const auto header = Take<Header>(bytes);
  RETURN_IF_ERROR(CheckHeader(header, MakeHeader(identity, cache, header.tokens)));
  if (FileBytes(header) != file->bytes().size()) {
    return absl::DataLossError(absl::StrCat("session file: expected ", FileBytes(header),
                                            " bytes, got ", file->bytes().size()));
  }
  RETURN_IF_ERROR(CheckAdapters(bytes, identity));
  if (header.tokens > static_cast<uint32_t>(context_length)) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "session file: expected at most ", context_length, " positions, got ", header.tokens));
  }
  std::vector<TokenId> tokens(header.tokens);
  for (TokenId& token : tokens) token = Take<TokenId>(bytes);
  for (int64_t i = 0; i < cache.stretches(); ++i) {
    const std::span<uint8_t> stretch = cache.Stretch(i, header.tokens);
    std::memcpy(stretch.data(), bytes.data(), stretch.size());
    bytes = bytes.subspan(stretch.size());
  }
  return tokens;
}

}  // namespace lorikeet
