// Does personalizing help real people?  Personas from some users of a
// samples.jsonl, the production Personalize for others.
//
// A user's last train lines are what the owner has; the first half of the last
// test lines, of the same work, judges, and the second half, which neither trained, nor chose, nor
// judged, is this evaluation's own.  Scratch is the same production path with a catalog without
// personas.
#ifndef LORIKEET_SIMULATIONS_PEOPLE_PEOPLE_H_
#define LORIKEET_SIMULATIONS_PEOPLE_PEOPLE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "device/personalization/loss_meter.h"
#include "device/personalization/personalizer.h"
#include "simulations/people/lab.h"
#include "simulations/people/texts.h"

namespace lorikeet {

struct PeopleOptions {
  int users = 20;
  int personas = 10;
  size_t seed_bytes = 16000;       // of a persona
  size_t max_train_bytes = 16000;  // of a user: the last ones
  size_t max_test_bytes = 8000;    // of a user: the last ones
  size_t general_bytes = 12000;    // of neutral text that shows forgetting
  CatalogRecipe catalog;
  PersonalizeOptions personalize;
  uint64_t seed = 1;
};
struct PersonResult {
  std::string user;
  size_t train_bytes = 0;
  size_t own_bytes = 0;  // of the evaluation's own text
  std::string chosen;
  Outcome outcome = Outcome::kRolledBack;
  std::string verdict;
  // Of the same documents, the evaluation's own.  `persona` is the base where
  // that was chosen.
  std::vector<DocumentLoss> base, persona, scratch, personalized, in_use;
  double forgetting = 0;  // as the device measured it (PersonalizeResult)
  // On general text, nats a token.
  double general_before = 0, general_after = 0;
  double selection_cpu = 0, cpu = 0,
         scratch_cpu = 0;  // seconds; cpu: of Personalize whole
  int steps = 0;
};

// Test lines cut into pieces and halved: what judges, and what is the
// evaluation's own.
struct TestHalves {
  std::vector<std::string> judge, own;
};
TestHalves HalveTest(std::span<const std::string> test, size_t max_bytes);

// Who is judged, and whose text makes personas: disjoint.  Users without text
// enough in either half are neither.  Deterministic.
struct Cast {
  std::vector<UserText> judged, sources;
};
Cast ChooseCast(std::vector<UserText> users, const PeopleOptions& options);

// `neutral`: documents of nobody in the set; every other one joins the making
// of the catalog, the rest is general text.  INVALID_ARGUMENT: too few users or
// documents.  CANCELLED by progress.
absl::StatusOr<std::vector<PersonResult>> RunPeople(const Lab& lab, const Cast& cast,
                                                    std::span<const std::string> neutral,
                                                    const PeopleOptions& options,
                                                    const LabProgress& progress);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_PEOPLE_PEOPLE_H_
