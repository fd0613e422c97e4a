// Which catalog, and whose signature it must bear: --catalog FILE [--catalog-key FILE].
#ifndef LORIKEET_DEVICE_CLI_CATALOG_OPTIONS_H_
#define LORIKEET_DEVICE_CLI_CATALOG_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "common/adapter/catalog.h"

namespace lorikeet {

struct CatalogOptions {
  std::string path;
  std::string key;  // file of the trusted public key; empty: any catalog is taken, signed or not

  void Declare(CLI::App* command);
};

// Errors as ReadCatalog; with a key as ReadVerifiedCatalog (common/adapter/catalog_signature.h) at
// the system's time.
absl::StatusOr<Catalog> OpenCatalog(const CatalogOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_CATALOG_OPTIONS_H_
