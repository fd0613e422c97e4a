#include "coordinator/admin/serve_check.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/crypto/public_key_file.h"
#include "common/postgres/connection.h"
#include "coordinator/admin/trust_keys.h"
#include "coordinator/admin/workspace.h"
#include "coordinator/dashboard/dashboard_server.h"
#include "coordinator/dashboard/fleet_view.h"

namespace lorikeet {
namespace {

constexpr absl::Duration kCertificateSoon = absl::Hours(24 * 30);

// What was looked at, as lines and as JSON.
class Findings {
 public:
  explicit Findings(Output* out) : out_(out) {}
  // What is fine about it, or why it is not.
  void Add(const char* what, const absl::StatusOr<std::string>& found) {
    std::string text = found.ok() ? *found : std::string(Message(found.status()));
    const std::string prefix = absl::StrCat(what, ": ");
    if (text.starts_with(prefix)) text = text.substr(prefix.size());
    out_->Line(absl::StrFormat("%-6s %s: %s", found.ok() ? "ok" : "WRONG", what, text));
    list_.push_back({{"what", what}, {"ok", found.ok()}, {"detail", text}});
    wrong_ += found.ok() ? 0 : 1;
  }
  absl::Status Finish() {
    out_->SetJson({{"checks", list_}, {"ok", wrong_ == 0}});
    if (wrong_ == 0) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrFormat("expected all of %d checks to pass, %d did not", list_.size(), wrong_));
  }

 private:
  Output* out_;
  nlohmann::json list_ = nlohmann::json::array();
  int wrong_ = 0;
};

absl::StatusOr<std::string> CheckKeys(const Settings& settings) {
  for (const OnlineKeyFile& file : OnlineKeyFiles()) {
    RETURN_IF_ERROR(SigningKey::ReadFile(settings.*file.path).status());
  }
  ASSIGN_OR_RETURN(const SigningKey signing, SigningKey::ReadFile(settings.signing_key_path));
  ASSIGN_OR_RETURN(const Ed25519PublicKey pinned, ReadPublicKey(settings.release_key_path));
  if (signing.public_key() == pinned) return absl::StrCat(OnlineKeyFiles().size(), " of them");
  return absl::FailedPreconditionError(absl::StrCat("expected the public key of ",
                                                    settings.signing_key_path, " in ",
                                                    settings.release_key_path, ", got another"));
}

absl::StatusOr<std::string> CheckTokenKeys(const Workspace& workspace) {
  if (!workspace.HasTokens()) return std::string("none: tasks cannot ask for anonymous tokens");
  RETURN_IF_ERROR(workspace.ReadTokenSeed().status());
  RETURN_IF_ERROR(workspace.ReadIssuerKey().status());
  return std::string("seed and issuer's key");
}

absl::StatusOr<std::string> CheckCertificates(const Settings& settings) {
  CertifiedKey server;
  ASSIGN_OR_RETURN(const std::string authority, ReadFile(settings.ca_certificate_path, 1 << 20));
  ASSIGN_OR_RETURN(server.certificate, ReadFile(settings.server_certificate_path, 1 << 20));
  ASSIGN_OR_RETURN(server.key, ReadFile(settings.server_key_path, 1 << 20));
  const absl::Time now = absl::Now();
  ASSIGN_OR_RETURN(const absl::Time expires, CheckServerCertificate(authority, server, now));
  return absl::StrFormat("the server's is the authority's, expires on %s%s",
                         absl::FormatTime("%Y-%m-%d", expires, absl::UTCTimeZone()),
                         expires - now < kCertificateSoon ? ": SOON" : "");
}

absl::StatusOr<std::string> CheckStore(Workspace* workspace) {
  FleetViewer viewer(workspace->store.get());
  ASSIGN_OR_RETURN(const FleetView view, viewer.Read(absl::Now()));
  return absl::StrFormat("%d tasks, %d rounds open, %d done, %d releases, %d devices",
                         view.tasks.size(), view.open.size(), view.rounds_done, view.releases_total,
                         view.devices.enrolled);
}

// Whether somebody may listen there, by doing it.
absl::StatusOr<std::string> CheckPort(const std::string& listen) {
  ASSIGN_OR_RETURN(const ListenAddress address, ParseListenAddress(listen));
  if (address.port == 0) return absl::StrCat(listen, ": any free port");
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (getaddrinfo(address.host.c_str(), absl::StrCat(address.port).c_str(), &hints, &found) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected an address of this machine, got ", address.host));
  }
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  const bool bound = bind(fd, found->ai_addr, found->ai_addrlen) == 0;
  const int error = errno;
  close(fd);
  freeaddrinfo(found);
  if (bound) return absl::StrCat(listen, " is free");
  return absl::UnavailableError(absl::StrCat("expected a free port of this machine, got ", listen,
                                             ": ", std::strerror(error)));
}

void CheckPorts(const Settings& settings, const std::string& listen, Findings* findings) {
  const auto lock = FileLock::Acquire(absl::StrCat(settings.store_path, ".serving"));
  if (!IsPostgresUrl(settings.store_path) && !lock.ok()) {
    findings->Add("ports", std::string("not looked at: a coordinator is serving this store"));
    return;
  }
  findings->Add("listen", CheckPort(listen));
  if (settings.dashboard.empty()) return;
  const auto address = ParseListenAddress(settings.dashboard);
  absl::Status status = address.status();
  if (status.ok()) status = CheckDashboardAddress(*address, settings.dashboard_allow_remote);
  findings->Add("dashboard", status.ok() ? CheckPort(settings.dashboard) : status);
}

}  // namespace

absl::Status CheckServe(const std::string& config, const std::string& listen, Output& out) {
  Findings findings(&out);
  const auto settings = ReadSettings(config);
  findings.Add("config", settings.ok() ? absl::StatusOr<std::string>(config) : settings.status());
  if (!settings.ok()) return findings.Finish();
  findings.Add("keys", CheckKeys(*settings));
  findings.Add("certificates", CheckCertificates(*settings));
  const auto workspace = Workspace::Open(config);
  findings.Add("store", workspace.ok() ? CheckStore(workspace->get()) : workspace.status());
  if (workspace.ok()) {
    findings.Add("tokens", CheckTokenKeys(**workspace));
    findings.Add("trust", [&]() -> absl::StatusOr<std::string> {
      RETURN_IF_ERROR(OpenTrust(workspace->get()).status());
      return std::string("the root names these keys");
    }());
  }
  CheckPorts(*settings, listen.empty() ? settings->listen : listen, &findings);
  return findings.Finish();
}

}  // namespace lorikeet
