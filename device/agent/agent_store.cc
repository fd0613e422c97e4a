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
#include "common/secagg/one_time_keys.h"
#include "device/agent/device_ledger_json.h"

namespace lorikeet {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr int kStateFormat = 2;
constexpr int kOldestFormat = 1;  // had a sum of epsilons for a ledger
constexpr std::string_view kSeedKind = "one-time-keys-seed";

json ToJson(const InstalledRelease& release) {
  return {{"version", release.version},
          {"file_hash", ToHex(release.file_hash)},
          {"base_fingerprint", release.base_fingerprint}};
}

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

absl::StatusOr<InstalledRelease> ReleaseFrom(const json& j) {
  InstalledRelease release;
  release.version = j.at("version").get<uint64_t>();
  ASSIGN_OR_RETURN(release.file_hash, HashFromHex(j.at("file_hash").get<std::string>()));
  release.base_fingerprint = j.at("base_fingerprint").get<std::string>();
  return release;
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
    ASSIGN_OR_RETURN(state.base, ReleaseFrom(j.at("base")));
  }
  if (j.contains("catalog")) {
    ASSIGN_OR_RETURN(state.catalog, ReleaseFrom(j.at("catalog")));
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
  if (state.base) j["base"] = ToJson(*state.base);
  if (state.catalog) j["catalog"] = ToJson(*state.catalog);
  if (state.personal) j["personal"] = ToJson(*state.personal);
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

absl::StatusOr<uint64_t> DirectoryAgentStore::PartialBytes(const Hash256& file) {
  struct stat info;
  return stat((FilePath(file) + ".part").c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_size)
                                                              : 0;
}

absl::Status DirectoryAgentStore::AppendPartial(const Hash256& file, uint64_t offset,
                                                std::string_view data) {
  const std::string path = FilePath(file) + ".part";
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0)
    return absl::UnavailableError(absl::StrCat("cannot open ", path, ": ", std::strerror(errno)));
  // What lay behind the offset was never verified.
  bool ok = ftruncate(fd, static_cast<off_t>(offset)) == 0;
  for (size_t done = 0; ok && done < data.size();) {
    const ssize_t written =
        pwrite(fd, data.data() + done, data.size() - done, static_cast<off_t>(offset + done));
    ok = written > 0;
    done += ok ? static_cast<size_t>(written) : 0;
  }
  ok = ok && fsync(fd) == 0;
  const int error = errno;
  close(fd);
  if (ok) return absl::OkStatus();
  const std::string message = absl::StrCat("cannot write ", path, ": ", std::strerror(error));
  return error == ENOSPC || error == EDQUOT ? absl::ResourceExhaustedError(message)
                                            : absl::UnavailableError(message);
}

absl::Status DirectoryAgentStore::FinishFile(const ManifestFile& file) {
  const std::string partial = FilePath(file.hash) + ".part";
  absl::Status verified;
  {
    ASSIGN_OR_RETURN(const auto mapped, MappedFile::Open(partial));
    verified = VerifyFile(file, mapped->bytes());
  }
  std::error_code error;
  if (!verified.ok()) {
    fs::remove(partial, error);
    return verified;
  }
  fs::rename(partial, FilePath(file.hash), error);
  if (error)
    return absl::UnavailableError(
        absl::StrCat("cannot install ", file.name, ": ", error.message()));
  return absl::OkStatus();
}

bool DirectoryAgentStore::HasFile(const Hash256& file) { return FileExists(FilePath(file)); }

absl::StatusOr<std::string> DirectoryAgentStore::FileContent(const Hash256& file) {
  return ReadFile(FilePath(file));
}

absl::Status DirectoryAgentStore::KeepOnly(const std::vector<Hash256>& files) {
  std::set<std::string> keep;
  for (const Hash256& file : files) keep.insert(ToHex(file));
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dir_ + "/files", error)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".part") && !keep.contains(name)) fs::remove(entry.path(), error);
  }
  return error ? absl::UnavailableError(
                     absl::StrCat("cannot clean ", dir_, "/files: ", error.message()))
               : absl::OkStatus();
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

absl::Status MemoryAgentStore::Save(const AgentState& state) {
  state_ = state;
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> MemoryAgentStore::PartialBytes(const Hash256& file) {
  const auto it = partial_.find(file);
  return it == partial_.end() ? 0 : it->second.size();
}

absl::Status MemoryAgentStore::AppendPartial(const Hash256& file, uint64_t offset,
                                             std::string_view data) {
  std::string& partial = partial_[file];
  partial.resize(offset);
  partial.append(data);
  return absl::OkStatus();
}

absl::Status MemoryAgentStore::FinishFile(const ManifestFile& file) {
  const auto it = partial_.find(file.hash);
  if (it == partial_.end()) return absl::NotFoundError(absl::StrCat("no download of ", file.name));
  std::string content = std::move(it->second);
  partial_.erase(it);
  RETURN_IF_ERROR(VerifyFile(file, AsBytes(content)));
  files_[file.hash] = std::move(content);
  return absl::OkStatus();
}

absl::StatusOr<std::string> MemoryAgentStore::FileContent(const Hash256& file) {
  const auto it = files_.find(file);
  if (it == files_.end()) return absl::NotFoundError("no such file on this device");
  return it->second;
}

absl::Status MemoryAgentStore::KeepOnly(const std::vector<Hash256>& files) {
  std::erase_if(files_, [&](const auto& entry) {
    return std::find(files.begin(), files.end(), entry.first) == files.end();
  });
  return absl::OkStatus();
}

absl::Status MemoryAgentStore::KeepSeed(const Hash256& name, const SecretBytes& seed) {
  seeds_[name] = seed.Clone();
  return absl::OkStatus();
}

absl::StatusOr<SecretBytes> MemoryAgentStore::ReadSeed(const Hash256& name) {
  const auto it = seeds_.find(name);
  if (it == seeds_.end()) return absl::NotFoundError("no such seed on this device");
  return it->second.Clone();
}

absl::Status MemoryAgentStore::KeepOnlySeeds(const std::vector<Hash256>& names) {
  std::erase_if(seeds_, [&](const auto& entry) {
    return std::find(names.begin(), names.end(), entry.first) == names.end();
  });
  return absl::OkStatus();
}

}  // namespace lorikeet
