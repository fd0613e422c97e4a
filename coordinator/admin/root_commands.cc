// root show|rotate|sign|accept.
//
// With all root keys at hand, `rotate` does everything.  With keys in several places: `rotate --out
// FILE` drafts, `sign FILE` adds a signature wherever a key is, `accept FILE` takes the result.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "coordinator/admin/commands.h"
#include "coordinator/admin/trust_keys.h"
#include "coordinator/admin/workspace.h"
#include "coordinator/distribution/root_keeper.h"

namespace lorikeet {
namespace {

constexpr uint64_t kMaxRootFileBytes = 1 << 20;

struct RootArguments {
  std::string config;
  std::string file;  // a root, drafted or signed
  std::vector<std::string> root_keys;
  std::vector<std::string> new_keys;  // names of online keys
  int new_root_keys = 0;
  int threshold = 0;
  std::string directory;  // for new root keys
  double days = 730;
};

nlohmann::json ToJson(const RootMetadata& root) {
  nlohmann::json roles = nlohmann::json::object();
  for (int i = 0; i < kTrustRoleCount; ++i) {
    const auto role = static_cast<TrustRole>(i);
    nlohmann::json keys = nlohmann::json::array();
    for (const Ed25519PublicKey& key : root.role(role).keys) keys.push_back(ToHex(key));
    roles[std::string(TrustRoleName(role))] = {{"keys", keys},
                                               {"threshold", root.role(role).threshold}};
  }
  return {{"version", root.version}, {"expires", FormatInstant(root.expires)}, {"roles", roles}};
}

void Print(const RootMetadata& root, Output& out) {
  out.Line(
      absl::StrFormat("root version %d, expires %s", root.version, FormatInstant(root.expires)));
  for (int i = 0; i < kTrustRoleCount; ++i) {
    const auto role = static_cast<TrustRole>(i);
    const RoleKeys& keys = root.role(role);
    std::vector<std::string> hex;
    for (const Ed25519PublicKey& key : keys.keys) hex.push_back(ToHex(key));
    out.Line(absl::StrFormat("  %-9s %d of %d: %s", TrustRoleName(role), keys.threshold,
                             keys.keys.size(), absl::StrJoin(hex, "\n                    ")));
  }
}

absl::Status RunShow(const RootArguments& a, Output& out) {
  ASSIGN_OR_RETURN(const auto workspace, Workspace::Open(a.config));
  ASSIGN_OR_RETURN(const TrustState state, NewestRoot(workspace->store.get()));
  if (!a.file.empty()) {
    RETURN_IF_ERROR(WriteFileAtomic(a.file, SerializeSigned(state.documents().root)));
  }
  Print(state.root(), out);
  out.SetJson(ToJson(state.root()));
  return absl::OkStatus();
}

absl::StatusOr<SignedMetadata> ReadRoot(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxRootFileBytes));
  auto root = ParseSigned(text);
  if (!root.ok()) return Annotate(root.status(), path);
  return root;
}

absl::Status SignWith(const std::vector<std::string>& key_files, SignedMetadata* root) {
  for (const std::string& file : key_files) {
    ASSIGN_OR_RETURN(const SigningKey key, SigningKey::ReadFile(file));
    AddSignature(TrustRole::kRoot, key, root);
  }
  return absl::OkStatus();
}

// Stores a root, puts the keys it names in place, and signs with them.
absl::Status Accept(Workspace* workspace, const SignedMetadata& root, Output& out) {
  RETURN_IF_ERROR(AcceptRoot(workspace->store.get(), root));
  ASSIGN_OR_RETURN(const RootMetadata metadata, ParseRoot(root.bytes));
  ASSIGN_OR_RETURN(const auto installed, InstallNewKeys(workspace->settings, metadata));
  RETURN_IF_ERROR(OpenTrust(workspace).status());
  Print(metadata, out);
  for (const std::string& path : installed) out.Line(absl::StrCat("new key in ", path));
  if (!installed.empty()) out.Line("restart the server: it still has the old keys");
  nlohmann::json document = ToJson(metadata);
  document["installed"] = installed;
  out.SetJson(std::move(document));
  return absl::OkStatus();
}

absl::Status CheckRotation(const RootArguments& a) {
  if (a.new_root_keys == 0) {
    if (a.threshold == 0) return absl::OkStatus();
    return UsageError("--threshold goes with --new-root-keys");
  }
  if (a.directory.empty()) return UsageError("--new-root-keys needs --dir, to write them to");
  if (a.threshold >= 1 && a.threshold <= a.new_root_keys) return absl::OkStatus();
  return UsageError(
      absl::StrFormat("expected --threshold 1 to %d, got %d", a.new_root_keys, a.threshold));
}

// The root after the newest one, with what is to be new in it.
absl::StatusOr<SignedMetadata> NextRoot(const RootArguments& a, Workspace* workspace) {
  ASSIGN_OR_RETURN(const TrustState state, NewestRoot(workspace->store.get()));
  RootMetadata root = state.root();
  ++root.version;
  root.expires = absl::FromUnixSeconds(absl::ToUnixSeconds(absl::Now() + absl::Hours(24 * a.days)));
  SystemRandom random;
  for (const OnlineKeyFile& file : OnlineKeyFiles()) {
    if (std::ranges::find(a.new_keys, file.name) == a.new_keys.end()) continue;
    const SigningKey key = SigningKey::Generate(&random);
    RETURN_IF_ERROR(key.WriteFile(workspace->settings.*file.path + ".new"));
    for (const TrustRole role : file.roles) root.role(role) = MakeRoleKeys({key.public_key()}, 1);
  }
  std::vector<SigningKey> fresh;
  if (a.new_root_keys > 0) {
    ASSIGN_OR_RETURN(fresh, MakeRootKeys(a.directory, a.new_root_keys));
    std::vector<Ed25519PublicKey> keys;
    for (const SigningKey& key : fresh) keys.push_back(key.public_key());
    root.role(TrustRole::kRoot) = MakeRoleKeys(keys, static_cast<uint64_t>(a.threshold));
  }
  SignedMetadata next{SerializeRoot(root), {}};
  for (const SigningKey& key : fresh) AddSignature(TrustRole::kRoot, key, &next);
  RETURN_IF_ERROR(SignWith(a.root_keys, &next));
  return next;
}

absl::Status RunRotate(const RootArguments& a, Output& out) {
  RETURN_IF_ERROR(CheckRotation(a));
  ASSIGN_OR_RETURN(const auto workspace, Workspace::Open(a.config));
  ASSIGN_OR_RETURN(const SignedMetadata next, NextRoot(a, workspace.get()));
  if (a.file.empty()) return Accept(workspace.get(), next, out);
  RETURN_IF_ERROR(WriteFileAtomic(a.file, SerializeSigned(next)));
  ASSIGN_OR_RETURN(const RootMetadata root, ParseRoot(next.bytes));
  out.Line(absl::StrFormat("draft of root version %d in %s, %d signatures", root.version, a.file,
                           next.signatures.size()));
  out.Line("next: root sign it wherever a root key is, then root accept");
  nlohmann::json document = ToJson(root);
  document["signatures"] = next.signatures.size();
  out.SetJson(std::move(document));
  return absl::OkStatus();
}

absl::Status RunSign(const RootArguments& a, Output& out) {
  ASSIGN_OR_RETURN(SignedMetadata root, ReadRoot(a.file));
  ASSIGN_OR_RETURN(const RootMetadata metadata, ParseRoot(root.bytes));
  RETURN_IF_ERROR(SignWith(a.root_keys, &root));
  RETURN_IF_ERROR(WriteFileAtomic(a.file, SerializeSigned(root)));
  Print(metadata, out);
  out.Line(absl::StrFormat("%d signatures in %s", root.signatures.size(), a.file));
  nlohmann::json document = ToJson(metadata);
  document["signatures"] = root.signatures.size();
  out.SetJson(std::move(document));
  return absl::OkStatus();
}

absl::Status RunAccept(const RootArguments& a, Output& out) {
  ASSIGN_OR_RETURN(const auto workspace, Workspace::Open(a.config));
  ASSIGN_OR_RETURN(const SignedMetadata root, ReadRoot(a.file));
  return Accept(workspace.get(), root, out);
}

}  // namespace

void AddRootCommands(Program& program) {
  CLI::App* group = program.AddGroup("root", "Which keys this fleet's devices trust");
  auto show = std::make_shared<RootArguments>();
  CLI::App* command = program.Add(group, "show", "The newest root: roles, keys, thresholds",
                                  [show](Output& out) { return RunShow(*show, out); });
  AddConfigOption(command, &show->config);
  command->add_option("--out", show->file, "Also write it here, as devices pin it");

  auto rotate = std::make_shared<RootArguments>();
  command = program.Add(group, "rotate", "Make the next root, with new keys or a later expiry",
                        [rotate](Output& out) { return RunRotate(*rotate, out); });
  AddConfigOption(command, &rotate->config);
  command->add_option("--root-key", rotate->root_keys,
                      "Root key files that sign it: a threshold of the old ones");
  command->add_option("--new-key", rotate->new_keys, "Online keys to replace (repeatable)")
      ->check(CLI::IsMember({"signing", "snapshot", "timestamp", "log"}));
  command->add_option("--new-root-keys", rotate->new_root_keys, "Replace the root keys by so many")
      ->check(CLI::Range(1, static_cast<int>(kMaxTrustKeys)));
  command->add_option("--threshold", rotate->threshold, "How many of the new root keys must sign");
  command->add_option("--dir", rotate->directory, "Directory for the new root keys");
  command->add_option("--days", rotate->days, "Validity of the root")
      ->check(CLI::Range(1.0, 3650.0))
      ->capture_default_str();
  command->add_option("--out", rotate->file,
                      "Write a draft to be signed elsewhere, change nothing");

  auto sign = std::make_shared<RootArguments>();
  command = program.Add(group, "sign", "Add signatures to a draft (needs no coordinator)",
                        [sign](Output& out) { return RunSign(*sign, out); });
  command->add_option("file", sign->file, "The draft")->required();
  command->add_option("--root-key", sign->root_keys, "Root key files")->required();

  auto accept = std::make_shared<RootArguments>();
  command = program.Add(group, "accept", "Take a signed root: every device will",
                        [accept](Output& out) { return RunAccept(*accept, out); });
  AddConfigOption(command, &accept->config);
  command->add_option("file", accept->file, "The root")->required();
}

}  // namespace lorikeet
