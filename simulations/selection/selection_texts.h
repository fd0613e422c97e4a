// Whose text trains the personas and whose is chosen for: synthetic styles (styles.h), which need
// nothing but this repository, or the users of a samples.jsonl.
#ifndef LORIKEET_SIMULATIONS_SELECTION_SELECTION_TEXTS_H_
#define LORIKEET_SIMULATIONS_SELECTION_SELECTION_TEXTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace lorikeet {

struct PersonaText {
  std::string id;                     // as in a catalog
  std::vector<std::string> seed;      // trains the persona
  std::vector<std::string> held_out;  // the owner's
};

// Text that no persona was made from.
struct StrangerText {
  std::string kind;  // "neutral", "another set", "other people of the set"
  std::string name;
  std::vector<std::string> documents;
};

struct SelectionTexts {
  std::string name;  // "28 synthetic styles"
  std::vector<PersonaText> personas;
  std::vector<std::string> neutral_seed;   // background, basis, blends that personas are trained on
  std::vector<std::string> neutral_owner;  // blends of owners
  std::vector<StrangerText> strangers;
};

struct SelectionTextOptions {
  std::string data;         // samples.jsonl; empty: synthetic styles
  std::string neutral;      // .txt, entries between blank lines; empty: see ReadSelectionTexts
  std::string strangers;    // samples.jsonl of another set; empty: `demo`/people
  std::string demo;         // folder with public.txt and people/*.txt
  bool other_work = false;  // owners' lines are also those of split "test_other_work"
  int personas = 28;
  int seed_documents = 120;     // of a persona, at most
  int held_out_documents = 80;  // of an owner, at most
  int neutral_documents = 160;  // of each half, at most
  size_t max_document_bytes = 400;
  uint64_t seed = 1;
};

// Personas are the users with the most text; documents are taken evenly from all of a user's, long
// ones cut.  Neutral text: the unstyled grammar (synthetic styles), else `demo`/public.txt.
// INVALID_ARGUMENT: malformed lines, fewer users than personas, users without held-out text.
absl::StatusOr<SelectionTexts> ReadSelectionTexts(const SelectionTextOptions& options);

// A user's name as a persona's id: lower case, other characters '-', at most 32.
std::string PersonaIdOf(const std::string& user);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_SELECTION_SELECTION_TEXTS_H_
