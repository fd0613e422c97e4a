// Whose text the simulated devices hold, and the catalog that they start from.
#ifndef LORIKEET_SIMULATIONS_SCENARIOS_FLEET_DATA_H_
#define LORIKEET_SIMULATIONS_SCENARIOS_FLEET_DATA_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/catalog.h"
#include "device/model/model.h"

namespace lorikeet {

struct Person {
  std::string name;
  std::vector<std::string> entries;  // in the order they were written
};

// A folder of NAME.txt with entries between blank lines (or one with a folder people/ of those), or
// a samples.jsonl with "user", "split" and "text" (train lines).  In order of names, or of first
// appearance.  INVALID_ARGUMENT, NOT_FOUND.
absl::StatusOr<std::vector<Person>> ReadPeople(const std::string& path);

// The text of device `index`: of person index % people, whole if there are enough people, else a
// part that differs from device to device; at most `max_bytes` (0: no limit).
std::vector<std::string> TextOfDevice(const std::vector<Person>& people, int index, int devices,
                                      uint64_t seed, size_t max_bytes);

struct SeedCatalogOptions {
  std::string data;  // folder with personas/ID.txt and public.txt
  int rank = 4;
  int steps = 6;  // of each persona
};
// A catalog from public seed text, in seconds: the production builder with few steps.
absl::StatusOr<Catalog> BuildSeedCatalog(std::shared_ptr<const Model> model,
                                         const SeedCatalogOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_SCENARIOS_FLEET_DATA_H_
