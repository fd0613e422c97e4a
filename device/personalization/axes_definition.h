// The adjectives of explanation vectors, as data: how each sounds, and how its contrary does.
//
// A TOML file (axes.toml beside this one is the built-in, and says the format).  Not here: what a
// model makes of it (explainer.h).
#ifndef LORIKEET_DEVICE_PERSONALIZATION_AXES_DEFINITION_H_
#define LORIKEET_DEVICE_PERSONALIZATION_AXES_DEFINITION_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace lorikeet {

struct AxisDefinition {
  std::string word;
  std::string opposite;                         // names the contrast side as well; may be empty
  std::vector<std::string> positive, contrast;  // texts in this manner, and in the contrary one
};

struct AxesDefinition {
  std::vector<AxisDefinition> axes;
};

// INVALID_ARGUMENT names `name`, the line, the key and what was expected there.
absl::StatusOr<AxesDefinition> ParseAxesDefinition(std::string_view toml, std::string_view name);
// The same of a file of at most 1 MiB; errors as ReadFile.
absl::StatusOr<AxesDefinition> ReadAxesDefinition(const std::string& path);
const AxesDefinition& BuiltInAxes();

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_AXES_DEFINITION_H_
