// Any bytes as a file of axes (axes.toml): no crash, and what was read keeps its promises.
#include "common/adapter/explanation.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/personalization/axes_definition.h"
#include "tests/fuzz/fuzz.h"

namespace lorikeet {

std::vector<std::string> FuzzSeeds() {
  return {R"(version = 1
[[axis]]
word = "wet"
opposite = "dry"
positive = ["It rains.", "The \u00e9cu is wet."]
contrast = ["The sun shines.", """
Sand, and
more sand."""]
)",
          R"(version = 1
axis = [{ word = "loud", positive = ['HEY', 'WHAT'], contrast = ["psst", "hush"] }]
)",
          "version = 2\n", "version = 1\naxis = 3\n"};
}

}  // namespace lorikeet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lorikeet;  // NOLINT: the entry point cannot live in a namespace
  const auto definition = ParseAxesDefinition(AsChars({data, size}), "fuzz");
  if (!definition.ok()) return 0;
  LORIKEET_CHECK(!definition->axes.empty());
  for (const AxisDefinition& axis : definition->axes) {
    LORIKEET_CHECK(IsExplanationWord(axis.word));
    LORIKEET_CHECK(axis.opposite.empty() || IsExplanationWord(axis.opposite));
    LORIKEET_CHECK(axis.positive.size() >= 2 && axis.contrast.size() >= 2);
  }
  return 0;
}
