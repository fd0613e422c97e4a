#include "coordinator/admin/workspace.h"

#include <toml++/toml.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/crypto/public_key_file.h"
#include "common/crypto/secret_file.h"
#include "coordinator/admin/trust_keys.h"

namespace lorikeet {
namespace {

constexpr absl::Duration kAuthorityValidity = absl::Hours(24 * 3650);
constexpr absl::Duration kServerValidity = absl::Hours(24 * 825);
constexpr std::string_view kTokenSeedKind = "token-seed";

struct PathKey {
  const char* key;
  const char* default_name;
  std::string Settings::* field;
};
constexpr PathKey kPaths[] = {
    {"store", kDefaultStore, &Settings::store_path},
    {"releases", "releases", &Settings::releases_path},
    {"ca_certificate", "ca.crt", &Settings::ca_certificate_path},
    {"ca_key", "ca.key", &Settings::ca_key_path},
    {"server_certificate", "server.crt", &Settings::server_certificate_path},
    {"server_key", "server.key", &Settings::server_key_path},
    {"signing_key", "signing.key", &Settings::signing_key_path},
    {"release_key", "coordinator.pub", &Settings::release_key_path},
    {"snapshot_key", "snapshot.key", &Settings::snapshot_key_path},
    {"timestamp_key", "timestamp.key", &Settings::timestamp_key_path},
    {"log_key", "log.key", &Settings::log_key_path},
    {"issuer_key", "issuer.key", &Settings::issuer_key_path},
    {"issuer_public_key", "issuer.pub", &Settings::issuer_public_key_path},
    {"token_seed", "tokens.seed", &Settings::token_seed_path},
};

absl::Status Unexpected(const std::string& path, const toml::key& key, std::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": line ", key.source().begin.line, ": ",
                                                 ToAbsl(key.str()), ": expected ",
                                                 ToAbsl(expected)));
}

// A path relative to the coordinator's directory; an address stays what it is.
std::string StorePath(const std::filesystem::path& directory, const std::string& store) {
  return IsPostgresUrl(store) ? store : (directory / store).string();
}

absl::Status ReadPaths(const std::string& path, const toml::table& table, Settings* settings) {
  const std::filesystem::path base = std::filesystem::path(path).parent_path();
  for (const auto& [key, value] : table) {
    const auto known = std::find_if(std::begin(kPaths), std::end(kPaths),
                                    [&](const PathKey& p) { return key.str() == p.key; });
    if (known == std::end(kPaths)) return Unexpected(path, key, "no such path");
    const auto text = value.value<std::string>();
    if (!text) return Unexpected(path, key, "text");
    const bool is_store = known->field == &Settings::store_path;
    settings->*(known->field) = is_store ? StorePath(base, *text) : (base / *text).string();
  }
  return absl::OkStatus();
}

absl::Status ReadPolicy(const std::string& path, const toml::table& table, TaskPolicy* policy) {
  for (const auto& [key, value] : table) {
    if (key.str() == "cohort_floor") {
      const auto number = value.value<int64_t>();
      if (!number || *number < 2 || *number > 65536) return Unexpected(path, key, "2 to 65536");
      policy->cohort_floor = static_cast<int>(*number);
    } else if (key.str() == "epsilon_ceiling") {
      const auto number = value.value<double>();
      if (!number || !(*number > 0)) return Unexpected(path, key, "a number above 0");
      policy->epsilon_ceiling = *number;
    } else if (key.str() == "total_epsilon") {
      policy->total_epsilon = value.value<double>();
      if (!policy->total_epsilon || !(*policy->total_epsilon > 0)) {
        return Unexpected(path, key, "a number above 0");
      }
    } else if (key.str() == "total_delta") {
      const auto number = value.value<double>();
      if (!number || !(*number > 0 && *number < 1)) {
        return Unexpected(path, key, "a number above 0 and below 1");
      }
      policy->total_delta = *number;
    } else {
      return Unexpected(path, key, "no such key in [policy]");
    }
  }
  return absl::OkStatus();
}

absl::Status ReadTokens(const std::string& path, const toml::table& table,
                        TokenSchedule* schedule) {
  for (const auto& [key, value] : table) {
    const auto number = value.value<int64_t>();
    if (!number || *number < 0 || *number > UINT32_MAX) {
      return Unexpected(path, key, "a whole number");
    }
    if (key.str() == "start_unix_seconds") {
      schedule->start_unix_seconds = *number;
    } else if (key.str() == "epoch_seconds") {
      schedule->epoch_seconds = static_cast<uint32_t>(*number);
    } else if (key.str() == "tokens_per_epoch") {
      schedule->tokens_per_epoch = static_cast<uint32_t>(*number);
    } else {
      return Unexpected(path, key, "no such key in [tokens]");
    }
  }
  return Annotate(schedule->Check(), path);
}

bool IsDashboardKey(std::string_view key) {
  return key == "dashboard" || key == "dashboard_allow_remote" || key == "dashboard_names";
}

absl::Status ReadDashboard(const std::string& path, const toml::key& key, const toml::node& value,
                           Settings* settings) {
  if (key.str() == "dashboard") {
    const auto address = value.value<std::string>();
    if (!address) return Unexpected(path, key, "HOST:PORT, or nothing between the quotes");
    settings->dashboard = *address;
  } else if (key.str() == "dashboard_allow_remote") {
    const auto allow = value.value<bool>();
    if (!allow) return Unexpected(path, key, "true or false");
    settings->dashboard_allow_remote = *allow;
  } else {
    const toml::array* names = value.as_array();
    if (names == nullptr) return Unexpected(path, key, "a list of host names");
    for (const toml::node& name : *names) {
      if (!name.is_string()) return Unexpected(path, key, "a list of host names");
      settings->dashboard_names.push_back(*name.value<std::string>());
    }
  }
  return absl::OkStatus();
}

absl::Status ReadS3(const std::string& path, const toml::table& table, BlobSettings* settings) {
  const std::map<std::string_view, std::string*> fields = {
      {"endpoint", &settings->endpoint},
      {"region", &settings->region},
      {"credentials", &settings->credentials_path}};
  for (const auto& [key, value] : table) {
    const auto field = fields.find(key.str());
    if (field == fields.end()) return Unexpected(path, key, "no such key in [s3]");
    const auto text = value.value<std::string>();
    if (!text) return Unexpected(path, key, "text");
    *field->second = *text;
  }
  return absl::OkStatus();
}

absl::Status ReadTable(const std::string& path, const toml::table& table, Settings* settings) {
  for (const auto& [key, value] : table) {
    if (key.str() == "listen" && value.is_string()) {
      settings->listen = *value.value<std::string>();
    } else if (key.str() == "release_validity_days") {
      const auto days = value.value<double>();
      if (!days || !(*days > 0 && *days < 36500)) return Unexpected(path, key, "days above 0");
      settings->release_validity = absl::Hours(24 * *days);
    } else if (IsDashboardKey(key.str())) {
      RETURN_IF_ERROR(ReadDashboard(path, key, value, settings));
    } else if (key.str() == "blobs" && value.is_string()) {
      settings->blobs.url = *value.value<std::string>();
    } else if (key.str() == "s3" && value.is_table()) {
      RETURN_IF_ERROR(ReadS3(path, *value.as_table(), &settings->blobs));
    } else if (key.str() == "paths" && value.is_table()) {
      RETURN_IF_ERROR(ReadPaths(path, *value.as_table(), settings));
    } else if (key.str() == "policy" && value.is_table()) {
      RETURN_IF_ERROR(ReadPolicy(path, *value.as_table(), &settings->policy));
    } else if (key.str() == "tokens" && value.is_table()) {
      RETURN_IF_ERROR(ReadTokens(path, *value.as_table(), &settings->tokens));
    } else {
      return Unexpected(
          path, key,
          "listen, release_validity_days, dashboard, dashboard_allow_remote, dashboard_names, "
          "blobs, [paths], [policy], [s3] or [tokens]");
    }
  }
  return absl::OkStatus();
}

// On loopback, one port after the devices'; any free one if theirs is.
std::string DashboardBeside(const std::string& listen) {
  int port = 0;
  if (!absl::SimpleAtoi(listen.substr(listen.rfind(':') + 1), &port) || port <= 0) {
    return "127.0.0.1:0";
  }
  return absl::StrCat("127.0.0.1:", port < 65535 ? port + 1 : port - 1);
}

std::string ConfigText(const std::string& listen, const std::string& store) {
  const TokenSchedule schedule;
  toml::table paths;
  for (const PathKey& path : kPaths) paths.insert(path.key, path.default_name);
  paths.insert_or_assign("store", store);
  const toml::table table{
      {"listen", listen},
      {"release_validity_days", 90},
      {"dashboard", DashboardBeside(listen)},
      {"paths", paths},
      {"policy", toml::table{{"cohort_floor", 30}, {"epsilon_ceiling", 8.0}}},
      {"tokens", toml::table{{"start_unix_seconds", schedule.start_unix_seconds},
                             {"epoch_seconds", int64_t{schedule.epoch_seconds}},
                             {"tokens_per_epoch", int64_t{schedule.tokens_per_epoch}}}},
  };
  std::ostringstream text;
  text << "# A Lorikeet coordinator.  Paths are relative to this file.\n" << table << "\n";
  return text.str();
}

absl::Status WriteKeys(const std::string& directory, const std::vector<std::string>& hosts) {
  const absl::Time now = absl::Now();
  ASSIGN_OR_RETURN(const CertifiedKey authority,
                   MakeAuthority("Lorikeet fleet", now, kAuthorityValidity));
  ASSIGN_OR_RETURN(const CertifiedKey server,
                   IssueServerCertificate(authority, hosts, now, kServerValidity));
  RETURN_IF_ERROR(WriteFileAtomic(directory + "/ca.crt", authority.certificate));
  RETURN_IF_ERROR(WriteFileAtomic(directory + "/ca.key", authority.key, 0600));
  RETURN_IF_ERROR(WriteFileAtomic(directory + "/server.crt", server.certificate));
  RETURN_IF_ERROR(WriteFileAtomic(directory + "/server.key", server.key, 0600));
  SystemRandom random;
  const SigningKey key = SigningKey::Generate(&random);
  RETURN_IF_ERROR(key.WriteFile(directory + "/signing.key"));
  RETURN_IF_ERROR(WritePublicKey(key.public_key(), directory + "/coordinator.pub"));
  const SigningKey issuer = SigningKey::Generate(&random);
  RETURN_IF_ERROR(issuer.WriteFile(directory + "/issuer.key"));
  RETURN_IF_ERROR(WritePublicKey(issuer.public_key(), directory + "/issuer.pub"));
  return WriteSecretFile(directory + "/tokens.seed", kTokenSeedKind,
                         SecretBytes::Random(kVoprfSeedBytes, &random));
}

Settings DefaultPaths(const std::filesystem::path& directory) {
  Settings settings;
  for (const PathKey& path : kPaths) settings.*(path.field) = directory / path.default_name;
  return settings;
}

}  // namespace

absl::StatusOr<Settings> ReadSettings(const std::string& config_path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(config_path, 1 << 20));
  toml::table table;
  try {
    table = toml::parse(text);
  } catch (const toml::parse_error& error) {
    return absl::InvalidArgumentError(absl::StrCat(config_path, ": expected TOML, line ",
                                                   error.source().begin.line, ": ",
                                                   ToAbsl(error.description())));
  }
  const std::filesystem::path base = std::filesystem::path(config_path).parent_path();
  Settings settings = DefaultPaths(base);
  settings.blobs.credentials_path = "s3.credentials";
  RETURN_IF_ERROR(ReadTable(config_path, table, &settings));
  settings.blobs.credentials_path = (base / settings.blobs.credentials_path).string();
  return settings;
}

absl::Status InitWorkspace(const std::string& directory, const std::string& listen,
                           const std::vector<std::string>& hosts, const std::string& store,
                           const RootOptions& root) {
  const std::string config_path = absl::StrCat(directory, "/", kConfigFileName);
  if (FileExists(config_path)) {
    return absl::AlreadyExistsError(
        absl::StrCat(directory, ": expected no coordinator here, found ", kConfigFileName));
  }
  RETURN_IF_ERROR(MakeDirs(directory));
  RETURN_IF_ERROR(WriteKeys(directory, hosts));
  RETURN_IF_ERROR(MakeDirs(directory + "/releases"));
  ASSIGN_OR_RETURN(const auto opened, OpenStore(StorePath(directory, store), true));
  RETURN_IF_ERROR(InitTrust(DefaultPaths(directory), directory, root, opened.get()));
  // Last: a directory with a config file is complete.
  return WriteFileAtomic(config_path, ConfigText(listen, store));
}

absl::StatusOr<std::unique_ptr<Workspace>> Workspace::Open(const std::string& config_path) {
  auto workspace = std::make_unique<Workspace>();
  ASSIGN_OR_RETURN(workspace->settings, ReadSettings(config_path));
  ASSIGN_OR_RETURN(workspace->store, OpenStore(workspace->settings.store_path, false));
  const Settings& settings = workspace->settings;
  ASSIGN_OR_RETURN(workspace->blobs,
                   OpenBlobs(settings.blobs, settings.releases_path, &workspace->clock));
  return workspace;
}

absl::StatusOr<SigningKey> Workspace::ReadSigningKey() const {
  return SigningKey::ReadFile(settings.signing_key_path);
}

bool Workspace::HasTokens() const { return FileExists(settings.token_seed_path); }

absl::StatusOr<SigningKey> Workspace::ReadIssuerKey() const {
  return SigningKey::ReadFile(settings.issuer_key_path);
}

absl::StatusOr<SecretBytes> Workspace::ReadTokenSeed() const {
  return ReadSecretFile(settings.token_seed_path, kTokenSeedKind, kVoprfSeedBytes);
}

absl::StatusOr<CertifiedKey> Workspace::ReadAuthority() const {
  CertifiedKey authority;
  ASSIGN_OR_RETURN(authority.certificate, ReadFile(settings.ca_certificate_path, 1 << 20));
  ASSIGN_OR_RETURN(authority.key, ReadFile(settings.ca_key_path, 1 << 20));
  return authority;
}

}  // namespace lorikeet
