// What `lorikeet personalize` was asked for.
#ifndef LORIKEET_DEVICE_CLI_PERSONALIZE_OPTIONS_H_
#define LORIKEET_DEVICE_CLI_PERSONALIZE_OPTIONS_H_

#include <string>

#include "absl/status/statusor.h"
#include "common/cli/program.h"
#include "device/cli/catalog_options.h"
#include "device/cli/engine.h"
#include "device/cli/owner_text.h"
#include "device/cli/personalize_report.h"
#include "device/personalization/personalizer.h"

namespace lorikeet {

struct PersonalizeArguments {
  EngineArguments engine;
  CatalogOptions catalog;
  std::string out;
  OwnerTextOptions text;
  ReportOptions report;
  std::string modules = "all";
  PersonalizeOptions options;
  double max_seconds = 0;

  bool reselect = false;  // begin with a selection although there is an adapter to go on from
  bool status = false;
  bool rollback = false;
  int to = -1;  // of --rollback; -1: the version before
  bool rebase = false;
  std::string from_model;  // of --rebase; empty: the history knows
};

// arguments.options with what the command line gives in other words; a usage error for unknown
// modules.
absl::StatusOr<PersonalizeOptions> PersonalizeOptionsOf(const PersonalizeArguments& arguments);

// "selecting ..." and so on, on stderr, where progress is wanted.
StageCallback ShowStages(const Output& output);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_PERSONALIZE_OPTIONS_H_
