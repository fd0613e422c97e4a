// Publishing: bytes -> blob + signed manifest + release record.
#ifndef LORIKEET_COORDINATOR_DISTRIBUTION_PUBLISHER_H_
#define LORIKEET_COORDINATOR_DISTRIBUTION_PUBLISHER_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/adapter/catalog.h"
#include "common/base/clock.h"
#include "common/crypto/sign.h"
#include "common/wire/manifest.h"
#include "coordinator/distribution/blob_store.h"
#include "coordinator/storage/store.h"

namespace lorikeet {

inline constexpr char kBaseFileName[] = "base.gguf";
inline constexpr char kBaseDeltaName[] = "base.delta";
inline constexpr char kCatalogFileName[] = "catalog.gguf";

// Borrows everything.  Not thread-safe.
class Publisher {
 public:
  struct Options {
    Store* store = nullptr;
    BlobStore* blobs = nullptr;
    const SigningKey* key = nullptr;
    const Clock* clock = nullptr;
    absl::Duration validity = absl::Hours(24 * 90);  // until a manifest expires
    std::string scratch = {};  // directory for deltas in the making; empty: the system's
  };
  explicit Publisher(const Options& options) : options_(options) {}

  // A base model from its GGUF file, with a delta from the newest base if that is worth it.  Its
  // version is one more than the newest base's.  Files are gone through piece by piece.
  // INVALID_ARGUMENT: not GGUF, or an adapter or catalog; ALREADY_EXISTS: this base is published.
  absl::StatusOr<ReleaseRecord> PublishBase(const std::string& path, std::string_view name);

  // A catalog.  Its version is the one in the file.  FAILED_PRECONDITION: its base is not
  // published, or the version is not newer than the newest catalog's of this base.
  absl::StatusOr<ReleaseRecord> PublishCatalog(const std::string& path, std::string_view name);

  // Stores a catalog's bytes and makes its release, without adding that to the store: the caller
  // commits it together with the round it came from.
  absl::StatusOr<ReleaseRecord> MakeCatalogRelease(const Catalog& catalog, std::string_view name,
                                                   std::string_view parent);

 private:
  // Of a manifest whose files are stored.
  ReleaseRecord MakeRelease(Manifest manifest) const;
  absl::StatusOr<ManifestDelta> MakeBaseDelta(const ReleaseRecord& from, const std::string& path,
                                              const ManifestFile& to) const;
  Options options_;
};

// The catalog of a release record.  DATA_LOSS if the blob is not what the manifest says.
absl::StatusOr<Catalog> LoadCatalog(const ReleaseRecord& release, BlobStore* blobs);
// Hash of the only file of a release, hex.
absl::StatusOr<std::string> ReleaseFileHash(const ReleaseRecord& release);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_DISTRIBUTION_PUBLISHER_H_
