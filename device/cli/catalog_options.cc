#include "device/cli/catalog_options.h"

#include <utility>

#include "absl/time/clock.h"
#include "common/adapter/catalog_signature.h"
#include "common/base/status_macros.h"
#include "common/crypto/public_key_file.h"

namespace lorikeet {

void CatalogOptions::Declare(CLI::App* command) {
  command->add_option("--catalog", path, "Catalog of personas")->required();
  command->add_option("--catalog-key", key,
                      "File with the public key that must have signed the catalog; an unsigned, "
                      "altered or expired one is refused");
}

absl::StatusOr<Catalog> OpenCatalog(const CatalogOptions& options) {
  if (options.key.empty()) return ReadCatalog(options.path);
  CatalogTrust trust{.key = {}, .now = absl::Now()};
  ASSIGN_OR_RETURN(trust.key, ReadPublicKey(options.key));
  ASSIGN_OR_RETURN(VerifiedCatalog verified, ReadVerifiedCatalog(options.path, trust));
  return std::move(verified.catalog);
}

}  // namespace lorikeet
