#include "device/cli/privacy_ledger.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/dp/encoder.h"
#include "device/agent/agent_store.h"
#include "device/agent/device_ledger.h"

namespace lorikeet {
namespace {

using nlohmann::json;

std::string FormatInstant(absl::Time time) {
  return absl::FormatTime(absl::RFC3339_sec, time, absl::UTCTimeZone());
}

std::string NoiseName(const LedgerEntry& entry) {
  if (const auto* devices = std::get_if<DistributedMechanism>(&entry.noise)) {
    return std::string(NoiseKindName(devices->noise));
  }
  return entry.central() != nullptr ? "central" : "unknown";
}

// Who is trusted for what, so that the entry's epsilon holds.
std::string AssumptionOf(const LedgerEntry& entry) {
  std::string text;
  if (const CentralNoise* central = entry.central()) {
    text = absl::StrFormat(
        "the coordinator is trusted to add the mechanism's noise of %g sensitivities (exact "
        "Gaussian) and to keep the sums before it to itself; one charge for at most %d "
        "contributions to its %d rounds, %d rounds apart or more, which this device sees to",
        central->noise_multiplier, central->participations, central->steps, central->separation);
  } else if (const auto* devices = std::get_if<DistributedMechanism>(&entry.noise)) {
    text = absl::StrFormat(
        "%s noise of %g a device, clipped to %g, from at least %d honest ones (of %d survivors or "
        "more, %d taken for corrupt by this owner), Renyi accounting; the coordinator is not "
        "trusted: it sees the sum only, and noise is in that",
        std::string(NoiseKindName(devices->noise)), devices->sigma_local, devices->clip_norm,
        entry.honest_survivors, entry.cohort_min, entry.cohort_min - entry.honest_survivors);
  } else {
    text =
        "carried over from when only a sum was kept: stated epsilons, each checked for a cohort "
        "of which all are honest; delta is the most that it can have been";
  }
  if (entry.stated_epsilon > entry.own_epsilon) {
    absl::StrAppendFormat(&text,
                          "; the coordinator, which reckons with less, states %.6g, and that is "
                          "charged instead of %.6g",
                          entry.stated_epsilon, entry.own_epsilon);
  }
  if (entry.routed) {
    absl::StrAppend(&text,
                    "; joining also showed that some device's persona is in this round's bucket, "
                    "which no epsilon here covers");
  }
  if (entry.demonstration) {
    absl::StrAppend(&text, "; a demonstration: the owner let go of the limits");
  }
  return text;
}

std::string TotalAssumption(const LedgerTotal& total, const OwnerTerms& terms) {
  const std::string how =
      total.is_basic
          ? "epsilons added up (basic composition, which is less here than Renyi's and whose "
            "deltas add up to no more)"
          : "Renyi curves of all charges added up";
  return absl::StrFormat(
      "%s; neighbours differ in whether this device took part at all; %g of every cohort taken for "
      "corrupt; no amplification by sampling: this device selects itself",
      how, terms.assumed_corrupt_fraction);
}

json EntryJson(const LedgerEntry& entry) {
  json j = {{"session", ToHex(entry.session)},
            {"task", entry.task},
            {"round", entry.round_number},
            {"at", FormatInstant(entry.at)},
            {"status", std::string(ChargeStatusName(entry.status))},
            {"noise", NoiseName(entry)},
            {"epsilon", entry.epsilon()},
            {"stated_epsilon", entry.stated_epsilon},
            {"own_epsilon", entry.own_epsilon},
            {"delta", entry.delta},
            {"cohort_min", entry.cohort_min},
            {"honest_survivors", entry.honest_survivors},
            {"demonstration", entry.demonstration},
            {"routed", entry.routed},
            {"counts", entry.counts()},
            {"assumption", AssumptionOf(entry)}};
  if (entry.central() != nullptr) j["mechanism"] = ToHex(entry.central()->mechanism);
  return j;
}

// Entries with the same assumption in a row say it once.
void PrintEntries(const DeviceLedger& ledger, Output& out) {
  if (ledger.entries.empty()) return;
  out.Line(absl::StrFormat("%-25s %-16s %6s %-12s %-18s %9s %9s %9s", "when", "task", "round",
                           "status", "noise", "stated", "own", "delta"));
  std::string assumption;
  for (size_t i = 0; i < ledger.entries.size(); ++i) {
    const LedgerEntry& entry = ledger.entries[i];
    const bool carried = std::holds_alternative<UnknownNoise>(entry.noise);
    out.Line(absl::StrFormat("%-25s %-16s %6s %-12s %-18s %9.4g %9.4g %9.3g",
                             carried ? "" : FormatInstant(entry.at), entry.task,
                             carried ? "" : absl::StrCat(entry.round_number),
                             std::string(ChargeStatusName(entry.status)), NoiseName(entry),
                             entry.stated_epsilon, entry.own_epsilon, entry.delta));
    assumption = AssumptionOf(entry);
    const bool last = i + 1 == ledger.entries.size();
    if (last || AssumptionOf(ledger.entries[i + 1]) != assumption) {
      out.Line("  assumes " + assumption);
    }
  }
}

void PrintTotal(const DeviceLedger& ledger, const LedgerTotal& total, Output& out) {
  const FoldedEntries& folded = ledger.folded;
  if (folded.rounds + folded.refunded > 0) {
    out.Line(absl::StrFormat(
        "and %d older round(s) in one curve (epsilons added up: %.6g), %d more refunded",
        folded.rounds, folded.basic_epsilon, folded.refunded));
  }
  out.Line(absl::StrFormat(
      "epsilon %.6g at delta %.3g spent in %d round(s) (%d charge(s)), of the owner's limit of %g",
      total.epsilon, total.delta, total.rounds, total.charges, ledger.terms.max_total_epsilon));
  out.Line("  assumes " + TotalAssumption(total, ledger.terms));
  out.Line(absl::StrFormat(
      "basic composition: epsilon %.6g at delta %.3g; Renyi curves: epsilon %.6g at delta %.3g",
      total.basic_epsilon, total.basic_delta, total.composed_epsilon, total.delta));
}

absl::Status RunLedger(const std::string& state_dir, Output& out) {
  if (!FileExists(state_dir + "/state.json")) {
    return absl::NotFoundError(absl::StrFormat(
        "ledger: expected the state of an agent (--state of lorikeet agent), found none in %s",
        state_dir));
  }
  ASSIGN_OR_RETURN(const auto store, DirectoryAgentStore::Open(state_dir));
  ASSIGN_OR_RETURN(const AgentState state, store->Load());
  const DeviceLedger& ledger = state.ledger;
  ASSIGN_OR_RETURN(const LedgerTotal total, TotalOf(ledger, ledger.terms.delta));
  PrintEntries(ledger, out);
  PrintTotal(ledger, total, out);
  json entries = json::array();
  for (const LedgerEntry& entry : ledger.entries) entries.push_back(EntryJson(entry));
  out.SetJson({{"entries", std::move(entries)},
               {"folded_rounds", ledger.folded.rounds},
               {"epsilon_spent", total.epsilon},
               {"delta", total.delta},
               {"limit", ledger.terms.max_total_epsilon},
               {"composition", total.is_basic ? "basic" : "rdp"},
               {"epsilon_rdp", total.composed_epsilon},
               {"epsilon_basic", total.basic_epsilon},
               {"delta_basic", total.basic_delta},
               {"rounds_charged", total.rounds},
               {"charges", total.charges},
               {"rounds_joined", state.joined.size()},
               {"rounds_done", state.rounds_done},
               {"assumed_corrupt_fraction", ledger.terms.assumed_corrupt_fraction},
               {"sampling_amplification", false},
               {"assumption", TotalAssumption(total, ledger.terms)}});
  return absl::OkStatus();
}

}  // namespace

void AddPrivacyLedger(Program& program, CLI::App* group) {
  auto state = std::make_shared<std::string>();
  CLI::App* command =
      program.Add(group, "ledger", "What this device has spent in rounds, by its own account",
                  [state](Output& out) { return RunLedger(*state, out); });
  command->add_option("--state", *state, "Directory of the agent's state")->required();
}

}  // namespace lorikeet
