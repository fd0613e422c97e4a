#include "tests/support/private_postgres.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/postgres/connection.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kStartTimeout = absl::Seconds(60);

absl::StatusOr<std::string> FindPrograms() {
  std::vector<std::string> folders;
  if (const char* set = std::getenv("LORIKEET_POSTGRES_BIN")) folders.push_back(set);
  std::error_code error;
  for (const auto& version : fs::directory_iterator("/usr/lib/postgresql", error)) {
    folders.push_back(version.path().string() + "/bin");
  }
  for (const std::string& folder : folders) {
    if (FileExists(folder + "/initdb") && FileExists(folder + "/postgres")) return folder;
  }
  return absl::NotFoundError(
      "no PostgreSQL server programs (install postgresql, or set LORIKEET_POSTGRES_BIN)");
}

// Whom the server runs as: it refuses to be root.  Null: ourselves.
const passwd* ServerUser() {
  if (geteuid() != 0) return nullptr;
  const passwd* user = getpwnam("postgres");
  return user != nullptr ? user : getpwnam("nobody");
}

// Starts a program as the server's user, with its output in `log`; it gets SIGQUIT if we end.
pid_t Spawn(const std::vector<std::string>& arguments, const std::string& log) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const passwd* user = ServerUser();
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child != 0) return child;
  const int output = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  dup2(output, 1);
  dup2(output, 2);
  const bool ready = user == nullptr || (setgroups(0, nullptr) == 0 && setgid(user->pw_gid) == 0 &&
                                         setuid(user->pw_uid) == 0);
  // After setuid, which would clear it.
  prctl(PR_SET_PDEATHSIG, SIGQUIT);
  if (ready && getppid() == parent && chdir("/") == 0) execv(argv[0], argv.data());
  _exit(127);
}

std::string LogOf(const std::string& path) {
  const auto text = ReadFile(path, 1 << 20);
  return text.ok() ? *text : std::string("no log");
}

}  // namespace

const absl::StatusOr<std::unique_ptr<PrivatePostgres>>& PrivatePostgres::Shared() {
  static const auto shared = Start();
  return shared;
}

absl::StatusOr<std::unique_ptr<PrivatePostgres>> PrivatePostgres::Start() {
  ASSIGN_OR_RETURN(const std::string programs, FindPrograms());
  const std::string directory = MakeTempDir("postgres");
  if (const passwd* user = ServerUser()) {
    if (chown(directory.c_str(), user->pw_uid, user->pw_gid) != 0) {
      return absl::InternalError("cannot give the server its directory");
    }
  }
  const std::string log = directory + "/log";
  const pid_t init = Spawn({programs + "/initdb", "-D", directory + "/data", "-U", "lorikeet", "-A",
                            "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"},
                           log);
  int code = 0;
  if (waitpid(init, &code, 0) != init || code != 0) {
    return absl::InternalError(absl::StrCat("initdb failed: ", LogOf(log)));
  }
  auto server = std::unique_ptr<PrivatePostgres>(new PrivatePostgres(programs, directory));
  RETURN_IF_ERROR(server->Launch());
  return server;
}

absl::Status PrivatePostgres::Launch() {
  const std::string log = directory_ + "/log";
  const absl::Time deadline = absl::Now() + kStartTimeout;
  absl::Status last;
  while (absl::Now() < deadline) {
    if (server_ < 0) {
      server_ = Spawn({programs_ + "/postgres", "-D", directory_ + "/data", "-k", directory_, "-c",
                       "listen_addresses=", "-c", "fsync=on", "-c", "shared_buffers=16MB", "-c",
                       "max_connections=50", "-c", "recovery_init_sync_method=syncfs"},
                      log);
    }
    last = PostgresConnection::Open({.url = Url("")}).status();
    if (last.ok()) return last;
    absl::SleepFor(absl::Milliseconds(50));
    // After Kill, sessions of the old server may hold its memory for a moment: start again.
    if (waitpid(server_, nullptr, WNOHANG) == server_) server_ = -1;
  }
  return absl::InternalError(
      absl::StrCat("the server does not answer: ", last.message(), "; log: ", LogOf(log)));
}

PrivatePostgres::~PrivatePostgres() {
  if (server_ < 0) return;
  kill(server_, SIGQUIT);  // at once: nobody will start it again
  waitpid(server_, nullptr, 0);
}

std::string PrivatePostgres::Url(std::string_view schema) const {
  std::string url = absl::StrCat("postgresql:///postgres?host=", directory_, "&user=lorikeet");
  if (!schema.empty()) absl::StrAppend(&url, "&options=-csearch_path%3D", ToAbsl(schema));
  return url;
}

std::string PrivatePostgres::NewSchema() {
  const std::string name = absl::StrCat("test_", ++schemas_);
  const auto connection = PostgresConnection::Open({.url = Url("")});
  if (!connection.ok()) return absl::StrCat("no schema: ", connection.status().message());
  const absl::Status made = (*connection)->Execute(absl::StrCat("CREATE SCHEMA ", name));
  return made.ok() ? Url(name) : absl::StrCat("no schema: ", made.message());
}

void PrivatePostgres::Kill() {
  // The sessions first, all of them, before the server can tell them.
  kill(server_, SIGSTOP);
  const std::string children = absl::StrCat("/proc/", server_, "/task/", server_, "/children");
  const auto list = ReadFile(children, 1 << 16);
  std::string text = list.ok() ? *list : std::string();
  std::vector<pid_t> sessions;
  for (char* at = text.data(); *at != '\0';) {
    char* end = at;
    const long child = std::strtol(at, &end, 10);
    if (end == at) break;
    sessions.push_back(static_cast<pid_t>(child));
    at = end;
  }
  for (const pid_t session : sessions) kill(session, SIGKILL);
  kill(server_, SIGKILL);
  waitpid(server_, nullptr, 0);
  server_ = -1;
  // Their sockets close when they are gone.
  const absl::Time deadline = absl::Now() + absl::Seconds(10);
  for (const pid_t session : sessions) {
    while (kill(session, 0) == 0 && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(2));
  }
}

absl::Status PrivatePostgres::Restart() { return Launch(); }

}  // namespace lorikeet
