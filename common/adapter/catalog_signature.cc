#include "common/adapter/catalog_signature.h"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/gguf/writer.h"

namespace lorikeet {
namespace {

constexpr std::string_view kIssued = "lorikeet.catalog.issued";
constexpr std::string_view kExpires = "lorikeet.catalog.expires";
constexpr std::string_view kSigner = "lorikeet.catalog.signer";
constexpr std::string_view kSignature = "lorikeet.catalog.signature";
constexpr size_t kSignatureDigits = 128;
constexpr int64_t kLastSecond = 253402300799;  // of the year 9999: beyond it times do not print
constexpr absl::Duration kClockSkew = absl::Hours(24);
constexpr uint64_t kMaxCatalogBytes = uint64_t{1} << 31;

bool IsOurs(std::string_view key) {
  return key == kIssued || key == kExpires || key == kSigner || key == kSignature;
}

std::string Day(absl::Time time) {
  return absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone());
}

absl::StatusOr<absl::Time> ReadTime(const GgufFile& file, std::string_view key) {
  ASSIGN_OR_RETURN(const int64_t seconds, file.GetInt(key));
  if (seconds < 0 || seconds > kLastSecond) {
    return absl::InvalidArgumentError(
        absl::StrCat(ToAbsl(key), ": ", seconds, ", expected unix seconds up to the year 9999"));
  }
  return absl::FromUnixSeconds(seconds);
}

// Bytes from exactly N * 2 digits, in the one spelling that ToHex has.
template <size_t N>
absl::Status ReadDigits(const GgufFile& file, std::string_view key, std::array<uint8_t, N>* bytes) {
  ASSIGN_OR_RETURN(const std::string_view digits, file.GetString(key));
  const auto decoded = FromHex(digits);
  if (!decoded.ok() || decoded->size() != N || ToHex(AsBytes(*decoded)) != digits) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected %d lower-case hex digits, found %d characters", ToAbsl(key),
                        2 * N, digits.size()));
  }
  std::ranges::copy(AsBytes(*decoded), bytes->begin());
  return absl::OkStatus();
}

// What is signed: the file with zeros in place of the signature's digits.
// REQUIRES: `file` was parsed from `bytes` and has a signature of the right length.
std::string SignedBytes(std::string_view bytes, const GgufFile& file) {
  const std::span<const uint8_t> raw = file.RawMetadata(kSignature);  // type, length, digits
  const auto end =
      static_cast<size_t>(raw.data() + raw.size() - reinterpret_cast<const uint8_t*>(bytes.data()));
  std::string copy(bytes);
  std::fill_n(copy.begin() + static_cast<std::ptrdiff_t>(end - kSignatureDigits), kSignatureDigits,
              '0');
  return copy;
}

absl::Status CheckTerms(const CatalogSignature& signature, const CatalogTrust& trust) {
  if (signature.expires <= trust.now) {
    return absl::FailedPreconditionError(absl::StrCat("catalog: expected one that is valid on ",
                                                      Day(trust.now), ", this one is so ", "until ",
                                                      Day(signature.expires)));
  }
  if (signature.issued > trust.now + kClockSkew) {
    return absl::FailedPreconditionError(
        absl::StrCat("catalog: expected one issued before now (", Day(trust.now),
                     " by this machine's clock), this one was on ", Day(signature.issued)));
  }
  return absl::OkStatus();
}

// The signature, if it is by `key` and fits the bytes; its terms are not looked at.
absl::StatusOr<CatalogSignature> CheckSignature(std::string_view bytes, const GgufFile& file,
                                                const Ed25519PublicKey& key) {
  ASSIGN_OR_RETURN(const auto found, FindCatalogSignature(file));
  if (!found) {
    return absl::PermissionDeniedError(absl::StrCat("catalog: expected a signature by the key ",
                                                    ToHex(key), ", found an unsigned catalog"));
  }
  if (found->signer != key) {
    return absl::PermissionDeniedError(absl::StrCat("catalog: expected a signature by the key ",
                                                    ToHex(key), ", found one by ",
                                                    ToHex(found->signer)));
  }
  if (!VerifySignature(key, kCatalogLabel, AsBytes(SignedBytes(bytes, file)), found->signature)) {
    return absl::DataLossError(
        "catalog: expected the file that was signed, found one altered since: the signature does "
        "not fit");
  }
  return *found;
}

absl::Status CheckNotOlder(const VerifiedCatalog& next, const Catalog& current,
                           const absl::StatusOr<CatalogSignature>& current_signature) {
  if (next.catalog.base_fingerprint != current.base_fingerprint) {
    return absl::FailedPreconditionError(absl::StrCat(
        "expected a catalog for the base of the one in use, ", current.base_fingerprint,
        ", this one is for ", next.catalog.base_fingerprint));
  }
  if (next.catalog.version < current.version) {
    return absl::FailedPreconditionError(
        absl::StrFormat("expected catalog version %d (in use) or newer, this one is version %d",
                        current.version, next.catalog.version));
  }
  // A version may be signed more than once (a later expiry, a correction): the last one counts.
  if (next.catalog.version == current.version && current_signature.ok() &&
      next.signature.issued < current_signature->issued) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "expected version %d as issued on %s (in use) or later, this one was issued on %s",
        current.version, Day(current_signature->issued), Day(next.signature.issued)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<CatalogSignature>> FindCatalogSignature(const GgufFile& file) {
  if (!file.Has(kSignature)) return std::nullopt;
  CatalogSignature found;
  ASSIGN_OR_RETURN(found.issued, ReadTime(file, kIssued));
  ASSIGN_OR_RETURN(found.expires, ReadTime(file, kExpires));
  RETURN_IF_ERROR(ReadDigits(file, kSigner, &found.signer));
  RETURN_IF_ERROR(ReadDigits(file, kSignature, &found.signature));
  return found;
}

absl::StatusOr<std::string> SignCatalog(std::string_view catalog_file, const SigningKey& key,
                                        absl::Time issued, absl::Time expires) {
  const int64_t from = absl::ToUnixSeconds(issued), until = absl::ToUnixSeconds(expires);
  if (from < 0 || until <= from || until > kLastSecond) {
    return absl::InvalidArgumentError(absl::StrCat("catalog signature: expected an expiry after ",
                                                   Day(issued), " and before the year 10000, got ",
                                                   Day(expires)));
  }
  ASSIGN_OR_RETURN(const auto file, GgufFile::Parse(AsBytes(catalog_file), "catalog"));
  RETURN_IF_ERROR(ReadCatalog(*file).status());
  GgufWriter writer;
  for (const auto& [name, value] : file->metadata()) {
    if (!IsOurs(name) && name != "general.alignment") writer.CopyMetadata(*file, name);
  }
  writer.AddUint64(kIssued, static_cast<uint64_t>(from));
  writer.AddUint64(kExpires, static_cast<uint64_t>(until));
  writer.AddString(kSigner, ToHex(key.public_key()));
  writer.AddString(kSignature, std::string(kSignatureDigits, '0'));
  for (const GgufTensor& tensor : file->tensors()) {
    writer.AddTensor(tensor.name, tensor.type, tensor.shape, tensor.data);
  }
  std::string bytes = writer.Serialize();
  const std::string digits = ToHex(key.Sign(kCatalogLabel, AsBytes(bytes)));
  ASSIGN_OR_RETURN(const auto placed, GgufFile::Parse(AsBytes(bytes), "signed catalog"));
  ASSIGN_OR_RETURN(const std::string_view place, placed->GetString(kSignature));
  const auto offset = static_cast<size_t>(place.data() - bytes.data());
  bytes.replace(offset, kSignatureDigits, digits);
  return bytes;
}

absl::StatusOr<VerifiedCatalog> VerifyCatalog(std::string_view catalog_file,
                                              const CatalogTrust& trust) {
  ASSIGN_OR_RETURN(const auto file, GgufFile::Parse(AsBytes(catalog_file), "catalog"));
  VerifiedCatalog verified;
  ASSIGN_OR_RETURN(verified.signature, CheckSignature(catalog_file, *file, trust.key));
  RETURN_IF_ERROR(CheckTerms(verified.signature, trust));
  ASSIGN_OR_RETURN(verified.catalog, ReadCatalog(*file));
  return verified;
}

absl::StatusOr<VerifiedCatalog> ReadVerifiedCatalog(const std::string& path,
                                                    const CatalogTrust& trust) {
  // One read: the bytes that are verified are the bytes that are parsed.
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kMaxCatalogBytes));
  auto verified = VerifyCatalog(bytes, trust);
  if (!verified.ok()) return Annotate(verified.status(), path);
  return verified;
}

absl::StatusOr<VerifiedCatalog> InstallCatalog(const std::string& new_path,
                                               const std::string& current_path,
                                               const CatalogTrust& trust) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(new_path, kMaxCatalogBytes));
  auto next = VerifyCatalog(bytes, trust);
  if (!next.ok()) return Annotate(next.status(), new_path);
  ASSIGN_OR_RETURN(const std::string in_use, ReadFile(current_path, kMaxCatalogBytes));
  const auto file = GgufFile::Parse(AsBytes(in_use), "catalog");
  if (!file.ok()) return Annotate(file.status(), current_path);
  const auto current = ReadCatalog(**file);
  if (!current.ok()) return Annotate(current.status(), current_path);
  // The one in use may have expired: that is when a new one is needed most.
  const auto current_signature = CheckSignature(in_use, **file, trust.key);
  const absl::Status not_older = CheckNotOlder(*next, *current, current_signature);
  if (!not_older.ok()) return Annotate(not_older, new_path);
  RETURN_IF_ERROR(WriteFileAtomic(current_path, bytes));
  return next;
}

}  // namespace lorikeet
