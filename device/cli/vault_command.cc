// lorikeet vault add|list|search|forget|verify|export|consent
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/cli/command.h"
#include "device/cli/vault_forget.h"
#include "device/cli/vault_options.h"
#include "device/personalization/forgetting.h"

namespace lorikeet {
namespace {

using nlohmann::json;

struct Options {
  VaultOptions vault;
  std::vector<std::string> files;
  std::string source = "notes";
  bool whole = false;
  bool federate = false;
  std::string query;
  int limit = 10;
  std::string out;
  std::vector<std::string> allow;
  std::vector<std::string> deny;
  int retention_days = -1;
};

std::string DateOf(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M", time, absl::UTCTimeZone());
}

// Entries separated by blank lines; surrounding white space is dropped.
std::vector<std::string> SplitEntries(std::string_view text) {
  std::vector<std::string> entries;
  std::string entry;
  const auto flush = [&] {
    while (!entry.empty() && std::isspace(static_cast<unsigned char>(entry.back())))
      entry.pop_back();
    if (!entry.empty()) entries.push_back(std::move(entry));
    entry.clear();
  };
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) {
      flush();
    } else {
      entry.append(line).push_back('\n');
    }
  }
  flush();
  return entries;
}

absl::StatusOr<std::string> ReadInput(const std::string& file) {
  if (file != "-") return ReadFile(file);
  return std::string(std::istreambuf_iterator<char>(std::cin), {});
}

absl::Status RunAdd(const Options& options, Output& out) {
  ASSIGN_OR_RETURN(const auto vault, OpenVault(options.vault, /*create=*/true));
  json added = json::array();
  for (const std::string& file : options.files) {
    ASSIGN_OR_RETURN(const std::string text, ReadInput(file));
    const auto entries = options.whole ? std::vector<std::string>{text} : SplitEntries(text);
    if (entries.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(file, ": expected text, got none"));
    }
    for (const std::string& entry : entries) {
      const auto id = vault->Add(options.source, PrivateText(entry));
      if (!id.ok()) return Annotate(id.status(), file);
      added.push_back(*id);
    }
  }
  if (options.federate) {
    ASSIGN_OR_RETURN(const auto sources, vault->Sources());
    for (const VaultSource& source : sources) {
      if (source.name != options.source) continue;
      SourceConsent consent = source.consent;
      consent.federate = true;
      RETURN_IF_ERROR(vault->SetConsent(source.name, consent));
    }
  }
  out.Line(absl::StrFormat("added %d records to %s (source %s)", added.size(), options.vault.dir,
                           options.source));
  out.SetJson({{"added", added}, {"source", options.source}});
  return absl::OkStatus();
}

// What was trained from this vault, and whether something is still to be done about it.
absl::StatusOr<json> ListAdapters(const Vault& vault, const std::string& dir, Output& out) {
  ASSIGN_OR_RETURN(const auto adapters, vault.Adapters());
  json list = json::array();
  for (const VaultAdapter& adapter : adapters) {
    ASSIGN_OR_RETURN(std::string notice, UnsettledNotice(vault, dir, adapter.path));
    if (adapter.rebuild) {
      notice = absl::StrCat("deleted, to be rebuilt: lorikeet vault forget --vault ", dir);
    }
    out.Line(absl::StrCat("adapter ", adapter.path, notice.empty() ? "" : ": ", notice));
    list.push_back({{"path", adapter.path}, {"notice", notice}});
  }
  return list;
}

absl::Status RunList(const Options& options, Output& out) {
  ASSIGN_OR_RETURN(const auto vault, OpenVault(options.vault, /*create=*/false));
  ASSIGN_OR_RETURN(const auto records, vault->List());
  ASSIGN_OR_RETURN(const auto sources, vault->Sources());
  json listed = json::array(), by_source = json::array();
  for (const VaultRecord& record : records) {
    out.Line(absl::StrFormat("%6d  %s  %-12s %7d bytes", record.id, DateOf(record.added),
                             record.source, record.size_bytes));
    listed.push_back({{"id", record.id},
                      {"source", record.source},
                      {"added", absl::ToUnixMillis(record.added)},
                      {"bytes", record.size_bytes}});
  }
  for (const VaultSource& source : sources) {
    const SourceConsent& c = source.consent;
    const std::string kept =
        c.retention_days ? absl::StrCat("kept ", *c.retention_days, " days") : "kept";
    out.Line(absl::StrFormat("source %s: %d records; train %s, federate %s, retrieve %s; %s",
                             source.name, source.record_count, c.train ? "yes" : "no",
                             c.federate ? "yes" : "no", c.retrieve ? "yes" : "no", kept));
    by_source.push_back({{"name", source.name},
                         {"records", source.record_count},
                         {"train", c.train},
                         {"federate", c.federate},
                         {"retrieve", c.retrieve},
                         {"retention_days", c.retention_days ? json(*c.retention_days) : json()}});
  }
  ASSIGN_OR_RETURN(const json adapters, ListAdapters(*vault, options.vault.dir, out));
  out.SetJson({{"records", listed}, {"sources", by_source}, {"adapters", adapters}});
  return absl::OkStatus();
}

absl::Status RunSearch(const Options& options, Output& out) {
  ASSIGN_OR_RETURN(const auto vault, OpenVault(options.vault, /*create=*/false));
  ASSIGN_OR_RETURN(const auto hits, vault->Search(options.query, options.limit, std::nullopt));
  const TextAccess access("the owner searches");
  json found = json::array();
  for (const SearchHit& hit : hits) {
    const std::string text(hit.passage.Open(access));
    out.Line(absl::StrFormat("[%d] %.2f %s", hit.record.id, hit.score, text));
    found.push_back({{"id", hit.record.id},
                     {"score", hit.score},
                     {"source", hit.record.source},
                     {"text", text}});
  }
  if (hits.empty()) out.Line("nothing found");
  out.SetJson({{"hits", found}});
  return absl::OkStatus();
}

absl::Status RunVerify(const Options& options, Output& out) {
  ASSIGN_OR_RETURN(const auto vault, OpenVault(options.vault, /*create=*/false));
  ASSIGN_OR_RETURN(const VaultVerification result, vault->Verify());
  out.Line(
      absl::StrFormat("%d records, %d bytes of text: all whole", result.records, result.bytes));
  out.SetJson({{"records", result.records}, {"bytes", result.bytes}, {"ok", true}});
  return absl::OkStatus();
}

absl::Status RunExport(const Options& options, Output& out) {
  ASSIGN_OR_RETURN(const auto vault, OpenVault(options.vault, /*create=*/false));
  ASSIGN_OR_RETURN(const auto records, vault->List());
  const TextAccess access("the owner exports");
  std::string lines;
  for (const VaultRecord& record : records) {
    ASSIGN_OR_RETURN(const PrivateText text, vault->Read(record.id));
    const json line = {{"id", record.id},
                       {"source", record.source},
                       {"added", absl::ToUnixMillis(record.added)},
                       {"text", std::string(text.Open(access))}};
    absl::StrAppend(&lines, line.dump(), "\n");
  }
  RETURN_IF_ERROR(WriteFileAtomic(options.out, lines, 0600));
  out.Line(absl::StrFormat("wrote %d records in the clear to %s", records.size(), options.out));
  out.SetJson({{"records", records.size()}, {"out", options.out}});
  return absl::OkStatus();
}

absl::Status RunConsent(const Options& options, Output& out) {
  ASSIGN_OR_RETURN(const auto vault, OpenVault(options.vault, /*create=*/false));
  SourceConsent consent;
  ASSIGN_OR_RETURN(const auto sources, vault->Sources());
  for (const VaultSource& source : sources) {
    if (source.name == options.source) consent = source.consent;
  }
  for (const auto& [names, allowed] :
       {std::pair(&options.allow, true), std::pair(&options.deny, false)}) {
    for (const std::string& name : *names) {
      ASSIGN_OR_RETURN(const Purpose purpose, ParsePurpose(name));
      consent.Set(purpose, allowed);
    }
  }
  if (options.retention_days > 0) consent.retention_days = options.retention_days;
  if (options.retention_days == 0) consent.retention_days.reset();
  RETURN_IF_ERROR(vault->SetConsent(options.source, consent));
  out.Line(absl::StrFormat("source %s: train %s, federate %s, retrieve %s", options.source,
                           consent.train ? "yes" : "no", consent.federate ? "yes" : "no",
                           consent.retrieve ? "yes" : "no"));
  out.SetJson({{"source", options.source},
               {"train", consent.train},
               {"federate", consent.federate},
               {"retrieve", consent.retrieve}});
  return absl::OkStatus();
}

}  // namespace

void AddVaultCommands(Program& program) {
  CLI::App* group = program.AddGroup("vault", "The owner's private text, sealed at rest");
  const auto add = [&](std::string name, std::string help,
                       absl::Status (*run)(const Options&, Output&)) {
    auto options = std::make_shared<Options>();
    CLI::App* command = program.Add(group, std::move(name), std::move(help),
                                    [options, run](Output& out) { return run(*options, out); });
    options->vault.Declare(command, /*required=*/true);
    return std::pair(command, options);
  };
  {
    auto [command, o] = add("add", "Add text files; entries are separated by blank lines", RunAdd);
    command->add_option("files", o->files, "Text files, - for standard input")->required();
    command->add_option("--source", o->source,
                        "Source of the text, the unit of consent (default notes)");
    command->add_flag("--whole", o->whole, "One record a file");
    command->add_flag("--federate", o->federate, "Allow this source in federated rounds");
  }
  add("list", "Records and sources", RunList);
  {
    auto [command, o] = add("search", "Full-text search, index in memory only", RunSearch);
    command->add_option("query", o->query, "Words to look for")->required();
    command->add_option("--limit", o->limit, "Passages at most")->check(CLI::PositiveNumber);
  }
  {
    auto arguments = std::make_shared<ForgetArguments>();
    CLI::App* command = program.Add(
        group, "forget", "Delete records for good, and rebuild the adapters that knew them",
        [arguments](Output& out) { return RunForget(*arguments, out); });
    arguments->vault.Declare(command, /*required=*/true);
    arguments->Declare(command);
  }
  add("verify", "Open every record and check that none is missing", RunVerify);
  {
    auto [command, o] = add("export", "Write all records in the clear as JSON lines", RunExport);
    command->add_option("--out", o->out, "File to write")->required();
  }
  {
    auto [command, o] =
        add("consent", "What a source may be used for, and for how long it is kept", RunConsent);
    command->add_option("--source", o->source, "Source")->required();
    command->add_option("--allow", o->allow, "train, federate, retrieve");
    command->add_option("--deny", o->deny, "train, federate, retrieve");
    command->add_option("--retention-days", o->retention_days, "0: keep until forgotten")
        ->check(CLI::NonNegativeNumber);
  }
}

}  // namespace lorikeet
