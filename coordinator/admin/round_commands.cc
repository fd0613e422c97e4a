// round list|show.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/wire/decode.h"
#include "coordinator/admin/commands.h"
#include "coordinator/admin/watch.h"
#include "coordinator/admin/workspace.h"
#include "coordinator/rounds/open_round.h"

namespace lorikeet {
namespace {

absl::StatusOr<nlohmann::json> RoundToJson(Store* store, const RoundRecord& record) {
  ASSIGN_OR_RETURN(const RoundDescription description,
                   DecodeRoundDescription(record.description.description));
  nlohmann::json round = {{"id", record.id},
                          {"task", record.task},
                          {"number", record.number},
                          {"status", std::string(RoundStatusName(record.status))},
                          {"phase", std::string(RoundStatusName(record.status))},
                          {"session", ToHex(record.session)},
                          {"opened", FormatInstant(record.opened)},
                          {"finished", nullptr},
                          {"seconds", nullptr},
                          {"message", record.message},
                          {"survivors", record.survivor_count},
                          {"epsilon", description.epsilon},
                          {"delta", description.delta},
                          {"demonstration", description.demonstration},
                          {"catalog_version", description.catalog_version},
                          {"cohort_min", description.secagg.cohort_min},
                          {"cohort_max", description.secagg.cohort_max},
                          {"threshold", description.secagg.threshold},
                          {"dimension", description.secagg.dimension},
                          {"modulus_bits", description.secagg.modulus_bits}};
  if (record.status != RoundStatus::kOpen) {
    round["finished"] = FormatInstant(record.finished);
    round["seconds"] = absl::ToDoubleSeconds(record.finished - record.opened);
    round["transcript"] = ToHex(record.transcript);
    round["report"] = nlohmann::json::parse(record.report, nullptr, false);
    return round;
  }
  ASSIGN_OR_RETURN(const auto events, store->RoundEvents(record.id));
  ASSIGN_OR_RETURN(const auto sums, store->PartialSums(record.id));
  ASSIGN_OR_RETURN(const OpenRound open, OpenRound::Restore(record, events, sums));
  round["phase"] = std::string(RoundPhaseName(PhaseOf(open.machine->step())));
  round["arrived"] = open.machine->arrived();
  round["expected"] = open.machine->expected();
  round["report"] = {{"steps", open.statistics.ToJson(record.opened)}};
  return round;
}

void PrintRound(const nlohmann::json& round, Output& out) {
  std::string line = absl::StrFormat(
      "%d: %s, round %d, %s", round["id"].get<int64_t>(), round["task"].get<std::string>(),
      round["number"].get<uint64_t>(), round["phase"].get<std::string>());
  if (round.contains("arrived")) {
    absl::StrAppendFormat(&line, " (%d of %d)", round["arrived"].get<int>(),
                          round["expected"].get<int>());
  }
  if (round["status"] == "done") {
    absl::StrAppendFormat(&line, ", %d devices, epsilon %.3f, %.1f s",
                          round["survivors"].get<uint32_t>(), round["epsilon"].get<double>(),
                          round["seconds"].get<double>());
  }
  if (round["status"] == "aborted")
    absl::StrAppend(&line, ": ", round["message"].get<std::string>());
  out.Line(line);
}

absl::Status RunList(const std::string& config, const std::string& task, Output& out) {
  ASSIGN_OR_RETURN(const auto workspace, Workspace::Open(config));
  ASSIGN_OR_RETURN(const auto rounds, workspace->store->ListRounds(task));
  nlohmann::json list = nlohmann::json::array();
  for (const RoundRecord& record : rounds) {
    ASSIGN_OR_RETURN(nlohmann::json round, RoundToJson(workspace->store.get(), record));
    PrintRound(round, out);
    list.push_back(std::move(round));
  }
  if (rounds.empty()) out.Line("no rounds");
  out.SetJson({{"rounds", list}});
  return absl::OkStatus();
}

absl::Status RunShow(const std::string& config, int64_t id, Output& out) {
  ASSIGN_OR_RETURN(const auto workspace, Workspace::Open(config));
  ASSIGN_OR_RETURN(const auto rounds, workspace->store->ListRounds(""));
  for (const RoundRecord& record : rounds) {
    if (record.id != id) continue;
    ASSIGN_OR_RETURN(nlohmann::json round, RoundToJson(workspace->store.get(), record));
    PrintRound(round, out);
    for (const auto& step : round["report"]["steps"]) {
      out.Line(absl::StrFormat("  %-12s %4d messages %9d bytes", step["step"].get<std::string>(),
                               step["messages"].get<int>(), step["bytes"].get<uint64_t>()));
    }
    if (round["report"].contains("personas")) {
      for (const auto& persona : round["report"]["personas"]) {
        out.Line(absl::StrFormat("  %-16s count %6.2f  %s", persona["id"].get<std::string>(),
                                 persona["noisy_count"].get<double>(),
                                 persona["applied"].get<bool>() ? "updated" : "left as it was"));
      }
    }
    out.SetJson(std::move(round));
    return absl::OkStatus();
  }
  return absl::NotFoundError(absl::StrCat("there is no round with id ", id));
}

}  // namespace

void AddRoundCommands(Program& program) {
  struct Options {
    std::string config;
    std::string task;
    bool watch = false;
    int64_t id = 0;
  };
  CLI::App* group = program.AddGroup("round", "Rounds, open and past");
  auto list = std::make_shared<Options>();
  CLI::App* command = program.Add(group, "list", "Rounds, newest first", [list](Output& out) {
    return RunWatched(list->watch, out,
                      [&](Output& o) { return RunList(list->config, list->task, o); });
  });
  AddConfigOption(command, &list->config);
  command->add_option("--task", list->task, "Only of this task");
  AddWatchOption(command, &list->watch);
  auto show = std::make_shared<Options>();
  command = program.Add(group, "show", "One round in full",
                        [show](Output& out) { return RunShow(show->config, show->id, out); });
  AddConfigOption(command, &show->config);
  command->add_option("id", show->id, "Id from round list")->required();
}

}  // namespace lorikeet
