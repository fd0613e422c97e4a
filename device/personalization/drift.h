// Does the new text still sound like the old?  And if not, whose voice is it closest to now?
//
// Style distances of the new text to the old are compared with distances between parts of the same
// text dealt at random, so that how much text there is, and how varied it is, are accounted for.
// Noticing changes nothing: words for the owner, and the offer to select anew.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_DRIFT_H_
#define LORIKEET_DEVICE_PERSONALIZATION_DRIFT_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "common/adapter/catalog.h"
#include "device/vault/private_text.h"

namespace lorikeet {

struct DriftOptions {
  int deals = 99;               // random deals; noticed only if every one of them is nearer
  double least_distance = 0.1;  // a nearer style is the same, however sure the difference is
  int64_t least_words = 60;     // of the new text; fewer say nothing
  size_t most_bytes = 24576;    // of each side; of more, documents are taken evenly
  uint64_t seed = 1;
};

struct Drift {
  bool measured = false;  // there was enough text on both sides
  bool noticed = false;
  double distance = 0;          // style of the new text to that of the old (StyleDistance)
  double chance = 0;            // the largest among the random deals
  std::string persona;          // what the adapter stands on: an id, "blend", "base"
  std::string closest;          // persona nearest to the new text; empty: the catalog has none
  double persona_distance = 0;  // new text to `persona`, if the catalog has it
  double closest_distance = 0;
  std::string words;  // one sentence or two
};

// `persona`: as HistoryEntry::persona.  Never fails: too little text is not measured, in words.
Drift NoticeDrift(const Catalog& catalog, std::string_view persona,
                  std::span<const PrivateText> known, std::span<const PrivateText> fresh,
                  const DriftOptions& options = {});

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_DRIFT_H_
