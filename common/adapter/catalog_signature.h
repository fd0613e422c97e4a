// A catalog is one signed file: the signature lies inside the catalog's own GGUF file, so that it
// travels by any way a file travels (a stick, a mirror, a mail).
//
// Keys beside those of catalog.h:
//   lorikeet.catalog.issued (u64, unix seconds) · lorikeet.catalog.expires (u64, unix seconds) ·
//   lorikeet.catalog.signer (64 hex digits, the public key) · lorikeet.catalog.signature (128 hex
//   digits, lower case: Ed25519, label "lorikeet-catalog-v1", over the bytes of the whole file with
//   these 128 digits replaced by '0')
// Every byte of the file is covered, and to verify nothing is serialized again.  `struct Catalog`
// has no place for a signature: whatever is changed in memory and written is unsigned until signed
// again.
//
// How this relates to a coordinator's releases (common/wire/manifest.h): a release manifest signs
// the hash of a whole file, with this signature or without, and an agent that follows a coordinator
// trusts the manifest alone.  A round of federated learning makes a new catalog, hence one without
// an inner signature, under a new manifest.  The inner signature is for files that reach a device
// without a coordinator.  The labels differ, so that one key may do both and neither signature
// passes for the other.
#ifndef LORIKEET_COMMON_ADAPTER_CATALOG_SIGNATURE_H_
#define LORIKEET_COMMON_ADAPTER_CATALOG_SIGNATURE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/adapter/catalog.h"
#include "common/crypto/sign.h"
#include "common/gguf/reader.h"

namespace lorikeet {

inline constexpr char kCatalogLabel[] = "lorikeet-catalog-v1";

struct CatalogSignature {
  absl::Time issued;  // whole seconds
  absl::Time expires;
  Ed25519PublicKey signer = {};
  Ed25519Signature signature = {};
};

// The signature that stands in a catalog file, not verified; nullopt: unsigned.
// INVALID_ARGUMENT: some of its keys are missing or malformed.
absl::StatusOr<std::optional<CatalogSignature>> FindCatalogSignature(const GgufFile& file);

// The file with a signature in place of the one it may have; all other keys and tensors as they
// were.  INVALID_ARGUMENT: not a catalog, or `expires` is not after `issued`.
absl::StatusOr<std::string> SignCatalog(std::string_view catalog_file, const SigningKey& key,
                                        absl::Time issued, absl::Time expires);

// Whom to trust, and when it is.
struct CatalogTrust {
  Ed25519PublicKey key = {};
  absl::Time now;
};

struct VerifiedCatalog {
  Catalog catalog;
  CatalogSignature signature;
};

// The catalog, if its signature holds; nothing but the signature's keys is looked at before.
// PERMISSION_DENIED: unsigned, or signed by another key; DATA_LOSS: altered after signing;
// FAILED_PRECONDITION: expired, or issued more than a day in the future; else as ReadCatalog.
// Messages say expected and got.
absl::StatusOr<VerifiedCatalog> VerifyCatalog(std::string_view catalog_file,
                                              const CatalogTrust& trust);
// The same for a file; errors name it.
absl::StatusOr<VerifiedCatalog> ReadVerifiedCatalog(const std::string& path,
                                                    const CatalogTrust& trust);

// Replaces the catalog at `current_path` by the one at `new_path`, atomically, if the new one
// verifies (above), is for the same base, and is not older: its version is not lower and, where it
// is equal and the present one is signed by the same key, it was not issued earlier.  Returns what
// was installed.  FAILED_PRECONDITION: another base, or older; else as VerifyCatalog and
// ReadCatalog.  On any error the present file is untouched.  Not to be run twice at a time on one
// path.
absl::StatusOr<VerifiedCatalog> InstallCatalog(const std::string& new_path,
                                               const std::string& current_path,
                                               const CatalogTrust& trust);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_ADAPTER_CATALOG_SIGNATURE_H_
