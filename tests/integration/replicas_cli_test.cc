// The program over PostgreSQL: made, served twice, killed, stopped, and misled.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/file.h"
#include "coordinator/storage/open_store.h"
#include "tests/support/command.h"
#include "tests/support/private_postgres.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kCoordinator = LORIKEET_BIN_DIR "/lorikeet-coordinator ";

// `serve` in the background.
class Server {
 public:
  explicit Server(const std::string& arguments) {
    pid_ = fork();
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const std::string line = absl::StrCat("exec ", kCoordinator, arguments, " >/dev/null 2>&1");
    execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    _exit(127);
  }
  ~Server() { End(SIGKILL); }
  void End(int signal) {
    if (pid_ <= 0) return;
    kill(pid_, signal);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
};

class ReplicasCliTest : public testing::Test {
 protected:
  void SetUp() override {
    LORIKEET_POSTGRES_OR_SKIP(server);
    url_ = server->NewSchema();
    home_ = MakeTempDir("replicas") + "/home";
    const CommandOutcome made = RunCommand(
        absl::StrCat(kCoordinator, "init ", home_, " --listen 127.0.0.1:0 --store '", url_, "'"));
    ASSERT_EQ(made.code, 0) << made.err;
    store_ = OpenStore(url_, false).value();
  }
  std::string Config() const { return absl::StrCat(" --config ", home_, "/coordinator.toml"); }
  // Serves on a free port, and says that it is reached by `address`.
  std::string Serve(const std::string& address) const {
    return absl::StrCat("serve", Config(), " --replica-address ", address);
  }
  // Waits for the lease to be held by one with this address; its token, or 0.
  uint64_t WaitForLeader(const std::string& address) {
    for (int i = 0; i < 600; ++i) {
      const auto lease = store_->FindLease("rounds").value();
      if (lease && lease->address == address) return lease->token;
      absl::SleepFor(absl::Milliseconds(50));
    }
    return 0;
  }
  std::string url_, home_;
  std::unique_ptr<SqlStore> store_;
};

TEST_F(ReplicasCliTest, TheConfigNamesTheDatabaseAndCommandsUseIt) {
  EXPECT_THAT(*ReadFile(home_ + "/coordinator.toml"), HasSubstr(url_));
  EXPECT_FALSE(FileExists(home_ + "/store.sqlite"));
  ASSERT_EQ(
      RunCommand(absl::StrCat(kCoordinator, "device enroll d1 --out ", home_, "/d1", Config()))
          .code,
      0);
  EXPECT_TRUE(store_->FindDevice("d1").value().has_value());
}

TEST_F(ReplicasCliTest, ServersTakeOverFromEachOther) {
  // Without a dashboard: both would want its port.
  const std::string path = home_ + "/coordinator.toml";
  ASSERT_EQ(RunCommand(absl::StrCat("sed -i \"s/^dashboard = .*/dashboard = ''/\" ", path)).code,
            0);
  Server first(Serve("first:1"));
  const uint64_t term = WaitForLeader("first:1");
  ASSERT_GT(term, 0u);
  Server second(Serve("second:1"));
  first.End(SIGKILL);
  EXPECT_EQ(WaitForLeader("second:1"), term + 1);
  // Told to stop, it gives the lease up.
  second.End(SIGTERM);
  EXPECT_EQ(WaitForLeader(""), term + 1);
}

TEST_F(ReplicasCliTest, BadAddressesAreNamed) {
  const CommandOutcome nowhere =
      RunCommand(absl::StrCat(kCoordinator, "serve", Config(), " --listen 0.0.0.0:0"));
  EXPECT_EQ(nowhere.code, 1);
  EXPECT_THAT(nowhere.err, HasSubstr("expected --replica-address HOST:PORT"));
  const CommandOutcome away = RunCommand(
      absl::StrCat(kCoordinator, "init ", home_,
                   "2 --store 'postgresql://u:sesame@127.0.0.1:1/none?connect_timeout=2'"));
  EXPECT_EQ(away.code, 1);
  EXPECT_THAT(away.err, HasSubstr("port 1 failed: Connection refused"));
  EXPECT_THAT(away.err, Not(HasSubstr("sesame")));
}

}  // namespace
}  // namespace lorikeet
