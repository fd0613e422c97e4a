// Any bytes as the history of a personal adapter (history.json): no crash, and what was read is
// written and read again the same.
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/personalization/history_json.h"
#include "tests/fuzz/fuzz.h"

namespace lorikeet {
namespace {

HistoryEntry Entry(int number) {
  HistoryEntry entry;
  entry.number = number;
  entry.time = absl::FromUnixSeconds(1700000000 + number);
  entry.kind = history_kind::kPersonalized;
  entry.model_path = "/m.gguf";
  entry.base_fingerprint = std::string(64, 'a');
  entry.persona = "cat";
  entry.records = {1, 2, 3, 7, 9};
  entry.residual_rank = 8;
  entry.verdict = "kept: \"\xc3\xa9\" better";
  entry.in_use = number;
  return entry;
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  HistoryFile one{.settled = true, .entries = {Entry(1)}};
  one.entries[0].losses.base = 3.25;
  one.entries[0].losses.personalized = 2.5;
  one.entries[0].losses.tokens = 100;
  HistoryFile two{.settled = false, .entries = {Entry(1), Entry(2)}};
  two.entries[1].before = 1;
  two.entries[1].outcome = "kept";
  return {SerializeHistory({}), SerializeHistory(one), SerializeHistory(two)};
}

}  // namespace lorikeet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lorikeet;  // NOLINT: the entry point cannot live in a namespace
  const auto history = ParseHistory(AsChars({data, size}));
  if (!history.ok()) return 0;
  const std::string text = SerializeHistory(*history);
  const auto again = ParseHistory(text);
  LORIKEET_CHECK(again.ok() && SerializeHistory(*again) == text);
  return 0;
}
