#include "device/cli/personalize_status.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "device/cli/vault_link.h"
#include "device/personalization/history.h"
#include "device/personalization/history_json.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

// The adapter whose history is the only one in the present directory.
absl::StatusOr<std::string> OnlyAdapterHere() {
  constexpr std::string_view kSuffix = ".history";
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator it(".", error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!name.ends_with(kSuffix)) continue;
    const std::string adapter = name.substr(0, name.size() - kSuffix.size());
    if (History::Exists(adapter)) found.push_back(adapter);
  }
  if (found.size() == 1) return found[0];
  return UsageError(absl::StrCat("expected --out A.gguf: ", found.size(),
                                 " adapters with a history are in the present directory"));
}

absl::StatusOr<std::string> AdapterWithHistory(const PersonalizeArguments& arguments) {
  std::string out = arguments.out;
  if (out.empty()) {
    ASSIGN_OR_RETURN(out, OnlyAdapterHere());
  }
  if (History::Exists(out)) return out;
  return absl::NotFoundError(absl::StrCat(
      out, ": expected its history in ", out, ".history, found none",
      FileExists(out) ? ": this adapter was not made by personalize, or before it kept "
                        "a history"
                      : ""));
}

std::string Loss(const std::optional<double>& loss) {
  return loss ? absl::StrFormat("%.3f", *loss) : "-";
}

// What served before on the judge's text, and what was trained.
std::optional<double> Before(const HistoryEntry& entry) {
  return entry.losses.in_use ? entry.losses.in_use : entry.losses.base;
}

// What was trained, kept or not; where the bare persona was kept, that.
std::optional<double> After(const HistoryEntry& entry) {
  return entry.outcome == "persona" ? entry.losses.persona : entry.losses.personalized;
}

std::string Change(const HistoryEntry& entry) {
  const std::optional<double> before = Before(entry), after = After(entry);
  if (!before || !after || *before == 0) return "-";
  return absl::StrFormat("%+.1f %%", 100 * (*after / *before - 1));
}

std::string When(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M", time, absl::LocalTimeZone());
}

std::string NameOf(int number) {
  return number == 0 ? "the bare base" : absl::StrCat("version ", number);
}

void PrintTable(const std::vector<HistoryEntry>& entries, Output& output) {
  const int in_use = entries.back().in_use;
  output.Line(absl::StrFormat("%-2s%4s  %-16s  %-12s  %-16s  %7s  %7s  %8s  %s", "", "no", "when",
                              "what", "start", "before", "after", "change", "outcome"));
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    output.Line(absl::StrFormat(
        "%-2s%4d  %-16s  %-12s  %-16s  %7s  %7s  %8s  %s", entry->number == in_use ? "*" : "",
        entry->number, When(entry->time), entry->kind,
        entry->persona.empty() ? "-" : entry->persona, Loss(Before(*entry)), Loss(After(*entry)),
        Change(*entry), entry->outcome.empty() ? "-" : entry->outcome));
    output.Line(absl::StrCat("        ", entry->verdict));
  }
}

}  // namespace

absl::Status ShowPersonalizeStatus(const PersonalizeArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(const std::string out, AdapterWithHistory(arguments));
  ASSIGN_OR_RETURN(const std::vector<HistoryEntry> entries, History::Read(out));
  nlohmann::json list = nlohmann::json::array();
  for (const HistoryEntry& entry : entries) list.push_back(HistoryEntryJson(entry));
  const int in_use = entries.empty() ? 0 : entries.back().in_use;
  const auto current = std::ranges::find(entries, in_use, &HistoryEntry::number);
  const std::string notice =
      current == entries.end() ? "" : VaultNotice(arguments.text.vault, current->vault_dir, out);
  output.SetJson(
      {{"out", out}, {"in_use", in_use}, {"vault_notice", notice}, {"entries", std::move(list)}});
  if (entries.empty()) {
    output.Line(absl::StrCat(out, ": nothing has happened yet"));
    return absl::OkStatus();
  }
  output.Line(absl::StrCat(out, ": ", NameOf(in_use), " serves",
                           current == entries.end() || current->model_path.empty()
                               ? ""
                               : absl::StrCat(", for ", current->model_path),
                           "\n"));
  PrintTable(entries, output);
  if (!notice.empty()) output.Line(absl::StrCat("\n", out, ": ", notice));
  output.Line("\n* serves.  before, after: loss on held-out text, nats a token.");
  std::string kept;
  for (const HistoryEntry& entry : entries) {
    if (!entry.adapter_file.empty()) absl::StrAppend(&kept, kept.empty() ? "" : ", ", entry.number);
  }
  output.Line(absl::StrCat("Versions kept: ", kept.empty() ? "none" : kept,
                           ".  Back: lorikeet personalize --rollback --out ", out, " [--to NO]"));
  return absl::OkStatus();
}

absl::Status RollBackPersonal(const PersonalizeArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(const std::string out, AdapterWithHistory(arguments));
  const SystemClock clock;
  ASSIGN_OR_RETURN(History history, History::Open(out, &clock));
  const HistoryEntry* before = history.Current();
  const std::string base_before = before != nullptr ? before->base_fingerprint : "";
  RETURN_IF_ERROR(
      history.RollBack(arguments.to < 0 ? std::nullopt : std::optional<int>(arguments.to)));
  const HistoryEntry& entry = history.entries().back();
  output.Line(entry.verdict);
  const HistoryEntry* current = history.Current();
  if (current == nullptr) {
    output.Line(absl::StrCat(out, " was removed: run the base without an adapter"));
  } else if (!base_before.empty() && base_before != current->base_fingerprint) {
    output.Line(absl::StrCat(
        out, " is for another base now: ",
        current->model_path.empty() ? current->base_fingerprint : current->model_path));
  }
  output.Line(absl::StrCat("forward again: lorikeet personalize --rollback --out ", out));
  output.SetJson({{"out", out},
                  {"before", entry.before},
                  {"in_use", entry.in_use},
                  {"removed", current == nullptr},
                  {"verdict", entry.verdict}});
  return absl::OkStatus();
}

}  // namespace lorikeet
