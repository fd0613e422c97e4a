#include "coordinator/admin/trust_keys.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/crypto/public_key_file.h"
#include "coordinator/distribution/root_keeper.h"

namespace lorikeet {
namespace {

absl::Status Rename(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("cannot rename ", from, " to ", to, ": ", std::strerror(errno)));
}

}  // namespace

const std::vector<OnlineKeyFile>& OnlineKeyFiles() {
  static const auto* const files = new std::vector<OnlineKeyFile>{
      {"signing", &Settings::signing_key_path, {TrustRole::kTargets, TrustRole::kRounds}},
      {"snapshot", &Settings::snapshot_key_path, {TrustRole::kSnapshot}},
      {"timestamp", &Settings::timestamp_key_path, {TrustRole::kTimestamp}},
      {"log", &Settings::log_key_path, {TrustRole::kLog}}};
  return *files;
}

absl::StatusOr<std::vector<SigningKey>> MakeRootKeys(const std::string& directory, int count) {
  RETURN_IF_ERROR(MakeDirs(directory));
  SystemRandom random;
  std::vector<SigningKey> keys;
  for (int i = 1; i <= count; ++i) {
    const std::string path = absl::StrCat(directory, "/root-", i, ".key");
    if (FileExists(path)) {
      return absl::AlreadyExistsError(absl::StrCat(path, ": expected no key here yet"));
    }
    keys.push_back(SigningKey::Generate(&random));
    RETURN_IF_ERROR(keys.back().WriteFile(path));
  }
  return keys;
}

absl::Status InitTrust(const Settings& settings, const std::string& directory,
                       const RootOptions& options, TrustStore* store) {
  ASSIGN_OR_RETURN(const auto known, store->RootsAfter(0, 1));
  if (!known.empty()) {
    return absl::FailedPreconditionError(
        "the store belongs to a fleet already: for another coordinator of it, copy the directory "
        "of the first one");
  }
  NewRoot root;
  SystemRandom random;
  for (const OnlineKeyFile& file : OnlineKeyFiles()) {
    const std::string& path = settings.*file.path;
    if (!FileExists(path)) RETURN_IF_ERROR(SigningKey::Generate(&random).WriteFile(path));
    ASSIGN_OR_RETURN(const SigningKey key, SigningKey::ReadFile(path));
    for (const TrustRole role : file.roles) root.online[role] = key.public_key();
  }
  ASSIGN_OR_RETURN(const auto root_keys,
                   MakeRootKeys(absl::StrCat(directory, "/root"), options.keys));
  for (const SigningKey& key : root_keys) root.root_keys.push_back(&key);
  root.threshold = static_cast<uint64_t>(options.threshold);
  root.expires = absl::Now() + options.validity;
  return AcceptRoot(store, MakeFirstRoot(root));
}

absl::StatusOr<std::vector<std::string>> InstallNewKeys(const Settings& settings,
                                                        const RootMetadata& root) {
  std::vector<std::string> installed;
  for (const OnlineKeyFile& file : OnlineKeyFiles()) {
    const std::string& path = settings.*file.path;
    const std::string waiting = path + ".new";
    if (!FileExists(waiting)) continue;
    ASSIGN_OR_RETURN(const SigningKey key, SigningKey::ReadFile(waiting));
    if (!root.role(file.roles.front()).Has(key.public_key())) continue;
    RETURN_IF_ERROR(Rename(waiting, path));
    if (file.path == &Settings::signing_key_path) {
      RETURN_IF_ERROR(WritePublicKey(key.public_key(), settings.release_key_path));
    }
    installed.push_back(path);
  }
  return installed;
}

absl::StatusOr<OpenTrustOffice> OpenTrust(Workspace* workspace) {
  OpenTrustOffice open;
  for (const OnlineKeyFile& file : OnlineKeyFiles()) {
    ASSIGN_OR_RETURN(SigningKey key, SigningKey::ReadFile(workspace->settings.*file.path));
    open.keys.push_back(std::move(key));
  }
  ASSIGN_OR_RETURN(open.office,
                   TrustOffice::Create({.store = workspace->store.get(),
                                        .clock = &workspace->clock,
                                        .keys = {.targets = &open.keys[0],
                                                 .snapshot = &open.keys[1],
                                                 .timestamp = &open.keys[2],
                                                 .log = &open.keys[3]},
                                        .targets_validity = workspace->settings.release_validity}));
  return open;
}

}  // namespace lorikeet
