// device enroll|list|revoke.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/crypto/public_key_file.h"
#include "coordinator/admin/commands.h"
#include "coordinator/admin/workspace.h"
#include "coordinator/distribution/root_keeper.h"
#include "coordinator/registry/device_registry.h"

namespace lorikeet {
namespace {

struct EnrollOptions {
  std::string config;
  std::string name;
  std::string out;
  std::string endpoint;
  double days = 365;
};

// Where devices find the server: as told, as configured, or (port 0) as the server last said.
absl::StatusOr<std::string> EndpointOf(const EnrollOptions& options, Workspace* workspace) {
  if (!options.endpoint.empty()) return options.endpoint;
  if (!absl::EndsWith(workspace->settings.listen, ":0")) return workspace->settings.listen;
  ASSIGN_OR_RETURN(const auto endpoint, workspace->store->GetMeta(kEndpointKey));
  return endpoint.value_or("");
}

// What a device pins.
absl::Status WriteTrust(const std::string& directory, const Workspace& workspace) {
  RETURN_IF_ERROR(MakeDirs(directory));
  ASSIGN_OR_RETURN(const TrustState trust, NewestRoot(workspace.store.get()));
  RETURN_IF_ERROR(
      WriteFileAtomic(directory + "/root.json", SerializeSigned(trust.documents().root)));
  if (!workspace.HasTokens()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto issuer, ReadPublicKey(workspace.settings.issuer_public_key_path));
  return WritePublicKey(issuer, directory + "/issuer.pub");
}

absl::Status WriteCredentials(const std::string& directory, const CertifiedKey& client,
                              const std::string& ca_certificate, const nlohmann::json& connection) {
  RETURN_IF_ERROR(WriteFileAtomic(directory + "/client.crt", client.certificate));
  RETURN_IF_ERROR(WriteFileAtomic(directory + "/client.key", client.key, 0600));
  RETURN_IF_ERROR(WriteFileAtomic(directory + "/ca.crt", ca_certificate));
  return WriteFileAtomic(directory + "/connection.json", connection.dump(2) + "\n");
}

absl::Status RunEnroll(const EnrollOptions& options, Output& out) {
  RETURN_IF_ERROR(CheckDeviceName(options.name));
  ASSIGN_OR_RETURN(const auto workspace, Workspace::Open(options.config));
  ASSIGN_OR_RETURN(const auto known, workspace->store->FindDevice(options.name));
  if (known) {
    return absl::AlreadyExistsError(
        absl::StrCat("device ", options.name, " is enrolled already",
                     known->is_revoked() ? ", and revoked: choose another name" : ""));
  }
  ASSIGN_OR_RETURN(const CertifiedKey authority, workspace->ReadAuthority());
  ASSIGN_OR_RETURN(
      const CertifiedKey client,
      IssueClientCertificate(authority, options.name, absl::Now(), absl::Hours(24 * options.days)));
  ASSIGN_OR_RETURN(const std::string endpoint, EndpointOf(options, workspace.get()));
  const nlohmann::json connection = {{"coordinator", endpoint}, {"device", options.name}};
  RETURN_IF_ERROR(WriteTrust(options.out, *workspace));
  RETURN_IF_ERROR(WriteCredentials(options.out, client, authority.certificate, connection));
  RETURN_IF_ERROR(EnrollDevice(workspace->store.get(), options.name, absl::Now()));
  out.Line(absl::StrCat("device ", options.name, " enrolled: credentials in ", options.out));
  out.SetJson({{"device", options.name}, {"directory", options.out}, {"coordinator", endpoint}});
  return absl::OkStatus();
}

absl::Status RunList(const std::string& config, Output& out) {
  ASSIGN_OR_RETURN(const auto workspace, Workspace::Open(config));
  ASSIGN_OR_RETURN(const auto devices, workspace->store->ListDevices());
  nlohmann::json list = nlohmann::json::array();
  for (const DeviceRecord& device : devices) {
    nlohmann::json entry = {
        {"device", device.id}, {"enrolled", FormatInstant(device.enrolled)}, {"revoked", nullptr}};
    if (device.is_revoked()) entry["revoked"] = FormatInstant(device.revoked);
    out.Line(absl::StrCat(device.id, device.is_revoked() ? ": revoked" : ": enrolled"));
    list.push_back(std::move(entry));
  }
  if (devices.empty()) out.Line("no devices");
  out.SetJson({{"devices", list}});
  return absl::OkStatus();
}

absl::Status RunRevoke(const std::string& config, const std::string& name, Output& out) {
  ASSIGN_OR_RETURN(const auto workspace, Workspace::Open(config));
  RETURN_IF_ERROR(workspace->store->RevokeDevice(name, absl::Now()));
  out.Line(absl::StrCat("device ", name, ": revoked"));
  out.SetJson({{"device", name}, {"state", "revoked"}});
  return absl::OkStatus();
}

}  // namespace

void AddDeviceCommands(Program& program) {
  CLI::App* group = program.AddGroup("device", "Which devices may take part");
  auto enroll = std::make_shared<EnrollOptions>();
  CLI::App* command = program.Add(group, "enroll", "Admit a device and write its credentials",
                                  [enroll](Output& out) { return RunEnroll(*enroll, out); });
  AddConfigOption(command, &enroll->config);
  command->add_option("name", enroll->name, "The device's id")->required();
  command->add_option("--out", enroll->out, "Directory for its credentials")->required();
  command->add_option("--endpoint", enroll->endpoint, "HOST:PORT to tell the device");
  command->add_option("--days", enroll->days, "Validity of its certificate")
      ->check(CLI::Range(0.01, 3650.0))
      ->capture_default_str();

  auto list_config = std::make_shared<std::string>();
  command = program.Add(group, "list", "Enrolled and revoked devices",
                        [list_config](Output& out) { return RunList(*list_config, out); });
  AddConfigOption(command, list_config.get());

  auto revoke = std::make_shared<EnrollOptions>();
  command = program.Add(group, "revoke", "Refuse a device from now on", [revoke](Output& out) {
    return RunRevoke(revoke->config, revoke->name, out);
  });
  AddConfigOption(command, &revoke->config);
  command->add_option("name", revoke->name, "The device's id")->required();
}

}  // namespace lorikeet
