#include "device/cli/vault_link.h"

#include <filesystem>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/cli/vault_options.h"
#include "device/personalization/history.h"

namespace lorikeet {

std::string AbsolutePath(const std::string& path) {
  if (path.empty()) return path;
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  return error ? path : absolute.lexically_normal().string();
}

nlohmann::json ShowPurged(const std::vector<PurgedAdapter>& purged, Output& output) {
  nlohmann::json list = nlohmann::json::array();
  for (const PurgedAdapter& adapter : purged) {
    list.push_back({{"adapter", adapter.path},
                    {"versions_deleted", adapter.versions},
                    {"was_in_use", adapter.was_in_use},
                    {"gone", adapter.gone}});
    if (adapter.gone) {
      output.Line(absl::StrCat(adapter.path,
                               ": not there any more; copies you made of it elsewhere still know "
                               "what it knew"));
    } else if (adapter.versions.empty()) {
      output.Line(absl::StrCat(adapter.path, ": was not trained on them, stays"));
    } else {
      output.Line(absl::StrCat(adapter.path, ": deleted version",
                               adapter.versions.size() == 1 ? " " : "s ",
                               absl::StrJoin(adapter.versions, ", "), ", trained on them",
                               adapter.was_in_use ? "; the bare base serves now" : ""));
    }
  }
  return list;
}

absl::Status PrepareVault(const PersonalizeArguments& arguments, Output& output) {
  const VaultOptions& options = arguments.text.vault;
  if (options.dir.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto vault, OpenVault(options, /*create=*/false));
  const SystemClock clock;
  ASSIGN_OR_RETURN(const auto unsettled, vault->Unsettled());
  if (!unsettled.empty()) {
    output.Line(absl::StrCat(unsettled.size(),
                             " records were forgotten or have expired since the last training:"));
    ASSIGN_OR_RETURN(const auto purged, PurgeAdapters(vault.get(), &clock, /*rebuild=*/true));
    ShowPurged(purged, output);
  }
  VaultAdapter adapter;
  adapter.path = AbsolutePath(arguments.out);
  adapter.model = AbsolutePath(arguments.engine.model);
  adapter.catalog = AbsolutePath(arguments.catalog.path);
  adapter.catalog_key = AbsolutePath(arguments.catalog.key);
  adapter.residual_rank = arguments.options.rank;
  return vault->RememberAdapter(adapter);
}

absl::Status ConfirmVault(const PersonalizeArguments& arguments) {
  if (arguments.text.vault.dir.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto entries, History::Read(arguments.out));
  if (entries.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto vault, OpenVault(arguments.text.vault, /*create=*/false));
  const SystemClock clock;
  return CheckStillKnown(vault.get(), &clock, AbsolutePath(arguments.out), entries.back().records);
}

std::string VaultNotice(const VaultOptions& options, const std::string& dir,
                        const std::string& out) {
  if (dir.empty()) return "";
  VaultOptions present = options;
  if (present.dir.empty()) present.dir = dir;
  const auto vault = OpenVault(present, /*create=*/false);
  if (!vault.ok()) {
    return absl::StrCat("whether records it learned have been forgotten since is not known: ",
                        ToAbsl(Message(vault.status())));
  }
  const auto notice = UnsettledNotice(**vault, present.dir, AbsolutePath(out));
  return notice.ok() ? *notice : std::string(Message(notice.status()));
}

}  // namespace lorikeet
