#include "device/agent/agent_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/crypto/secret_file.h"
#include "common/delta/apply_delta.h"
#include "common/secagg/one_time_keys.h"
#include "device/agent/base_slots_json.h"
#include "device/agent/device_ledger_json.h"
#include "device/agent/fleet_trust_json.h"
#include "device/agent/partial_download.h"

namespace lorikeet {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr int kStateFormat = 2;
constexpr int kOldestFormat = 1;  // had a sum of epsilons for a ledger
constexpr std::string_view kSeedKind = "one-time-keys-seed";

json ToJson(const PersonalSummary& p) {
  return {{"catalog_version", p.catalog_version},
          {"chosen", p.chosen},
          {"contributes_to", p.contributes_to},
          {"reason", p.reason},
          {"verdict", p.verdict},
          {"loss_base", p.loss_base},
          {"loss_persona", p.loss_persona},
          {"loss_personalized", p.loss_personalized},
          {"kept", p.kept},
          {"at_ms", absl::ToUnixMillis(p.at)}};
}

PersonalSummary SummaryFrom(const json& j) {
  return {.catalog_version = j.at("catalog_version").get<uint64_t>(),
          .chosen = j.at("chosen").get<std::string>(),
          .contributes_to = j.at("contributes_to").get<std::string>(),
          .reason = j.at("reason").get<std::string>(),
          .verdict = j.at("verdict").get<std::string>(),
          .loss_base = j.at("loss_base").get<double>(),
          .loss_persona = j.at("loss_persona").get<double>(),
          .loss_personalized = j.at("loss_personalized").get<double>(),
          .kept = j.at("kept").get<bool>(),
          .at = absl::FromUnixMillis(j.at("at_ms").get<int64_t>())};
}

json TokensToJson(const AgentState& state) {
  json purse = json::array(), keys = json::object();
  for (const PurseToken& token : state.tokens) {
    purse.push_back({{"epoch", token.epoch},
                     {"keys_hash", ToHex(token.keys_hash)},
                     {"key_id", ToHex(token.key_id)},
                     {"output", token.output ? ToHex(*token.output) : ""}});
  }
  for (const auto& [epoch, id] : state.token_keys.keys) keys[absl::StrCat(epoch)] = ToHex(id);
  const auto& schedule = state.token_keys.schedule;
  return {{"purse", purse},
          {"keys", keys},
          {"schedule", schedule ? ToHex(*schedule) : ""},
          {"next_epoch", state.next_token_epoch}};
}

absl::StatusOr<PurseToken> PurseTokenFrom(const json& j) {
  PurseToken token;
  token.epoch = j.at("epoch").get<uint64_t>();
  ASSIGN_OR_RETURN(token.keys_hash, HashFromHex(j.at("keys_hash").get<std::string>()));
  ASSIGN_OR_RETURN(token.key_id, HashFromHex(j.at("key_id").get<std::string>()));
  ASSIGN_OR_RETURN(const std::string output, FromHex(j.at("output").get<std::string>()));
  if (output.empty()) return token;
  token.output.emplace();
  if (output.size() != token.output->size()) {
    return absl::DataLossError(absl::StrFormat("token: expected an output of %d bytes, got %d",
                                               token.output->size(), output.size()));
  }
  std::ranges::copy(output, token.output->begin());
  return token;
}

absl::Status TokensFrom(const json& j, AgentState* state) {
  for (const json& entry : j.at("purse")) {
    ASSIGN_OR_RETURN(const PurseToken token, PurseTokenFrom(entry));
    state->tokens.push_back(token);
  }
  for (const auto& [epoch, id] : j.at("keys").items()) {
    uint64_t number = 0;
    if (!absl::SimpleAtoi(epoch, &number)) {
      return absl::DataLossError("token keys: expected the number of an epoch, got other text");
    }
    ASSIGN_OR_RETURN(state->token_keys.keys[number], HashFromHex(id.get<std::string>()));
  }
  if (const auto schedule = j.at("schedule").get<std::string>(); !schedule.empty()) {
    ASSIGN_OR_RETURN(state->token_keys.schedule, HashFromHex(schedule));
  }
  state->next_token_epoch = j.at("next_epoch").get<uint64_t>();
  return absl::OkStatus();
}

absl::StatusOr<AgentState> StateFrom(const json& j) {
  AgentState state;
  const int format = j.at("format").get<int>();
  if (format < kOldestFormat || format > kStateFormat) {
    return absl::DataLossError(
        absl::StrFormat("expected format %d to %d, got %d", kOldestFormat, kStateFormat, format));
  }
  if (j.contains("base")) {
    ASSIGN_OR_RETURN(state.base, ReleaseFromJson(j.at("base")));
  }
  if (j.contains("slots")) {
    ASSIGN_OR_RETURN(state.slots, SlotsFromJson(j.at("slots")));
  }
  if (j.contains("catalog")) {
    ASSIGN_OR_RETURN(state.catalog, ReleaseFromJson(j.at("catalog")));
  }
  if (j.contains("personal")) state.personal = SummaryFrom(j.at("personal"));
  for (const auto& session : j.at("joined")) {
    ASSIGN_OR_RETURN(const Hash256 hash, HashFromHex(session.get<std::string>()));
    state.joined.push_back(hash);
  }
  state.rounds_done = j.at("rounds_done").get<int>();
  state.last_round_catalog = j.at("last_round_catalog").get<uint64_t>();
  if (format == kOldestFormat) {
    state.ledger =
        CarriedOver(j.at("epsilon_spent").get<double>(), static_cast<int64_t>(state.joined.size()));
  } else {
    ASSIGN_OR_RETURN(state.ledger, LedgerFromJson(j.at("ledger")));
  }
  if (j.contains("tokens")) RETURN_IF_ERROR(TokensFrom(j.at("tokens"), &state));
  if (j.contains("trust")) {
    ASSIGN_OR_RETURN(state.trust, StoredTrustFromJson(j.at("trust")));
  }
  if (j.contains("tree_head")) {
    ASSIGN_OR_RETURN(state.tree_head, TreeHeadFromJson(j.at("tree_head")));
  }
  if (!j.contains("sweeps")) return state;
  for (const auto& sweep : j.at("sweeps")) {
    ASSIGN_OR_RETURN(state.sweeps.emplace_back(), HashFromHex(sweep.get<std::string>()));
  }
  return state;
}

json ToJson(const AgentState& state) {
  json j = {{"format", kStateFormat},
            {"joined", json::array()},
            {"sweeps", json::array()},
            {"rounds_done", state.rounds_done},
            {"last_round_catalog", state.last_round_catalog},
            {"ledger", LedgerToJson(state.ledger)},
            {"tokens", TokensToJson(state)}};
  if (state.base) j["base"] = ReleaseToJson(*state.base);
  j["slots"] = SlotsToJson(state.slots);
  if (state.catalog) j["catalog"] = ReleaseToJson(*state.catalog);
  if (state.personal) j["personal"] = ToJson(*state.personal);
  if (state.trust) j["trust"] = lorikeet::ToJson(*state.trust);
  if (state.tree_head) j["tree_head"] = lorikeet::ToJson(*state.tree_head);
  for (const SessionId& session : state.joined) j["joined"].push_back(ToHex(session));
  for (const Hash256& sweep : state.sweeps) j["sweeps"].push_back(ToHex(sweep));
  return j;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DirectoryAgentStore>> DirectoryAgentStore::Open(
    const std::string& dir) {
  RETURN_IF_ERROR(MakeDirs(dir + "/files"));
  RETURN_IF_ERROR(MakeDirs(dir + "/seeds"));
  return std::unique_ptr<DirectoryAgentStore>(new DirectoryAgentStore(dir));
}

absl::StatusOr<AgentState> DirectoryAgentStore::Load() {
  const std::string path = dir_ + "/state.json";
  if (!FileExists(path)) return AgentState{};
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, uint64_t{64} << 20));
  try {
    auto state = StateFrom(json::parse(text));
    if (state.ok()) return state;
    return absl::DataLossError(absl::StrCat(path, ": ", state.status().message()));
  } catch (const json::exception& error) {
    return absl::DataLossError(absl::StrCat(path, ": ", error.what()));
  }
}

absl::Status DirectoryAgentStore::Save(const AgentState& state) {
  return WriteFileAtomic(dir_ + "/state.json", ToJson(state).dump(1), 0600);
}

std::string DirectoryAgentStore::FilePath(const Hash256& file) const {
  return absl::StrCat(dir_, "/files/", ToHex(file));
}

absl::StatusOr<std::vector<bool>> DirectoryAgentStore::ChunksPresent(const ManifestFile& file) {
  return PartialDownload(file, FilePath(file.hash)).Present();
}

absl::Status DirectoryAgentStore::WriteChunk(const ManifestFile& file, size_t chunk,
                                             std::string_view data) {
  return PartialDownload(file, FilePath(file.hash)).Write(chunk, data);
}

absl::Status DirectoryAgentStore::FinishFile(const ManifestFile& file) {
  return PartialDownload(file, FilePath(file.hash)).Finish();
}

absl::Status DirectoryAgentStore::FinishByDelta(const Hash256& from, const Hash256& delta,
                                                const ManifestFile& file) {
  const absl::Status made = ApplyDeltaFile(FilePath(from), FilePath(delta), FilePath(file.hash),
                                           {.bytes = file.bytes, .hash = file.hash});
  std::error_code ignored;
  fs::remove(FilePath(delta), ignored);
  return made;
}

bool DirectoryAgentStore::HasFile(const Hash256& file) { return FileExists(FilePath(file)); }

absl::StatusOr<std::string> DirectoryAgentStore::FileContent(const Hash256& file) {
  return ReadFile(FilePath(file));
}

absl::Status DirectoryAgentStore::Clean(
    const std::function<bool(const std::string& name)>& unwanted) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dir_ + "/files", error)) {
    if (unwanted(entry.path().filename().string())) fs::remove(entry.path(), error);
  }
  return error ? absl::UnavailableError(
                     absl::StrCat("cannot clean ", dir_, "/files: ", error.message()))
               : absl::OkStatus();
}

absl::Status DirectoryAgentStore::KeepOnly(const std::vector<Hash256>& files) {
  std::set<std::string> keep;
  for (const Hash256& file : files) keep.insert(ToHex(file));
  return Clean(
      [&](const std::string& name) { return !IsPartOfDownload(name) && !keep.contains(name); });
}

absl::Status DirectoryAgentStore::KeepOnlyDownloads(const std::vector<Hash256>& files) {
  std::set<std::string> keep;
  for (const Hash256& file : files) keep.insert(ToHex(file));
  return Clean([&](const std::string& name) {
    return IsPartOfDownload(name) && !keep.contains(name.substr(0, name.find('.')));
  });
}

std::string DirectoryAgentStore::SeedPath(const Hash256& name) const {
  return absl::StrCat(dir_, "/seeds/", ToHex(name));
}

absl::Status DirectoryAgentStore::KeepSeed(const Hash256& name, const SecretBytes& seed) {
  return WriteSecretFile(SeedPath(name), kSeedKind, seed);
}

absl::StatusOr<SecretBytes> DirectoryAgentStore::ReadSeed(const Hash256& name) {
  return ReadSecretFile(SeedPath(name), kSeedKind, kOneTimeSeedBytes);
}

// Overwritten in place first: a file system that does not copy on writing keeps nothing of it.
absl::Status DirectoryAgentStore::KeepOnlySeeds(const std::vector<Hash256>& names) {
  std::set<std::string> keep;
  for (const Hash256& name : names) keep.insert(ToHex(name));
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dir_ + "/seeds", error)) {
    if (keep.contains(entry.path().filename().string())) continue;
    const int fd = open(entry.path().c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) {
      const std::string zeros(256, '\0');
      const bool wiped = pwrite(fd, zeros.data(), zeros.size(), 0) > 0 && fsync(fd) == 0;
      close(fd);
      if (!wiped) {
        return absl::UnavailableError(absl::StrCat("cannot wipe ", entry.path().string()));
      }
    }
    fs::remove(entry.path(), error);
  }
  return error ? absl::UnavailableError(
                     absl::StrCat("cannot clean ", dir_, "/seeds: ", error.message()))
               : absl::OkStatus();
}

}  // namespace lorikeet
