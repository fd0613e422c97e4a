// The two programs as processes: a fleet of agents and a coordinator that are killed, misled and
// left without disk.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "common/base/file.h"
#include "tests/support/command.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

const std::string kLorikeet = LORIKEET_BIN_DIR "/lorikeet ";
const std::string kCoordinator = LORIKEET_BIN_DIR "/lorikeet-coordinator ";

void Write(const std::string& path, const std::string& content) {
  ASSERT_TRUE(WriteFileAtomic(path, content).ok()) << path;
}

// A program in the background, killed at the end of its scope.
class Process {
 public:
  Process(const std::string& command, std::string log) : log_(std::move(log)) {
    pid_ = fork();
    if (pid_ == 0) {
      const std::string line = absl::StrCat("exec ", command, " >", log_, " 2>&1");
      execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
      _exit(127);
    }
  }
  ~Process() { Kill(); }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  // The exit code, or -1 when it still runs after the timeout.
  int Wait(absl::Duration timeout) {
    const absl::Time end = absl::Now() + timeout;
    int status = 0;
    while (waitpid(pid_, &status, WNOHANG) == 0) {
      if (absl::Now() > end) return -1;
      absl::SleepFor(absl::Milliseconds(20));
    }
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  std::string Log() const { return ReadFile(log_).value_or(""); }

 private:
  std::string log_;
  pid_t pid_ = 0;
};

// A mounted file system of a few blocks, where the tests may mount one.
class SmallDisk {
 public:
  SmallDisk(std::string dir, int kilobytes) : dir_(std::move(dir)) {
    mounted_ = MakeDirs(dir_).ok() && mount("tmpfs", dir_.c_str(), "tmpfs", 0,
                                            absl::StrCat("size=", kilobytes, "k").c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) umount2(dir_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  // Leaves room for about this much.
  void Fill(int free_bytes) const {
    const int fd = open((dir_ + "/ballast").c_str(), O_WRONLY | O_CREAT, 0600);
    const std::string block(4096, 'x');
    off_t size = 0;
    for (ssize_t count = 0; (count = write(fd, block.data(), block.size())) > 0;) size += count;
    EXPECT_EQ(ftruncate(fd, std::max<off_t>(0, size - free_bytes)), 0);
    close(fd);
  }

 private:
  std::string dir_;
  bool mounted_ = false;
};

// One coordinator's directory with a base, a catalog of two personas and devices, made once.
class AgentProcessTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    signal(SIGPIPE, SIG_IGN);
    dir_ = MakeTempDir("agent-process");
    WriteTexts();
    Write(model(), TinyModelBytes());
    Must(kLorikeet + "persona init --model " + model() + " --data " + Text("plain") + " --data " +
         Text("quiet") + " --data " + Text("shout") + " --rank 4 --alpha 8 --groups 3 --out " +
         catalog());
    for (const char* id : {"quiet", "shout"}) {
      Must(kLorikeet + "persona train --model " + model() + " --catalog " + catalog() + " --id " +
           id + " --data " + Text(id) + " --steps 12");
    }
    Must(kCoordinator + "init " + home() + " --listen 127.0.0.1:0");
    Must(kCoordinator + "publish base " + model() + " --name tiny" + config());
    Must(kCoordinator + "publish catalog " + catalog() + config());
    Must(kLorikeet + "vault add --federate " + Text("quiet") + " --vault " + Vault("quiet"));
    Must(kLorikeet + "vault add --federate " + Text("shout") + " --vault " + Vault("shout"));
  }

  static void WriteTexts() {
    std::vector<std::string> quiet, shout, plain;
    // Every text is another, since what was said before is no evidence.
    for (int i = 0; i < 32; ++i) {
      const auto bit = [i](int b) { return (i >> b) & 1; };
      quiet.push_back(absl::StrCat("nine minus ", bit(0) ? "nine" : "one", "; one, ",
                                   bit(1) ? "nine, " : "one; ", bit(2) ? "minus one; " : "nine, ",
                                   bit(3) ? "nine, " : "one, ", bit(4) ? "one." : "nine."));
      shout.push_back(absl::StrCat("ZAP! WOW! ", bit(0) ? "ZAP ZAP! " : "OH! ",
                                   bit(1) ? "OH WOW! " : "ZAP OH! ", bit(2) ? "WOW! " : "ZAP! ",
                                   bit(3) ? "WOW WOW! " : "", bit(4) ? "OH!" : "ZAP!"));
      plain.push_back(absl::StrCat(
          i % 2 == 0 ? "The road runs past the mill and " : "She bought bread in town, and ", i,
          " of them read by the window of the old bridge."));
    }
    Write(Text("quiet"), absl::StrJoin(quiet, "\n\n"));
    Write(Text("shout"), absl::StrJoin(shout, "\n\n"));
    Write(Text("plain"), absl::StrJoin(plain, "\n\n"));
  }

  static std::string model() { return dir_ + "/tiny.gguf"; }
  static std::string catalog() { return dir_ + "/catalog.gguf"; }
  static std::string home() { return dir_ + "/home"; }
  static std::string config() { return " --config " + home() + "/coordinator.toml"; }
  static std::string Text(const std::string& name) { return dir_ + "/" + name + ".txt"; }
  static std::string Vault(const std::string& name) { return dir_ + "/vault-" + name; }
  static std::string Identity(const std::string& name) { return dir_ + "/identity-" + name; }
  static std::string State(const std::string& name) { return dir_ + "/state-" + name; }

  static CommandOutcome Must(const std::string& command) {
    const CommandOutcome outcome = RunCommand(command);
    EXPECT_EQ(outcome.code, 0) << command << "\n" << outcome.err;
    return outcome;
  }
  // Exit 1 and one line with these words.
  static void ExpectFailure(const std::string& command, const std::vector<std::string>& words) {
    const CommandOutcome outcome = RunCommand(command);
    EXPECT_EQ(outcome.code, 1) << command << "\n" << outcome.out << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    for (const std::string& word : words) EXPECT_THAT(outcome.err, HasSubstr(word));
  }
  static void Enroll(const std::string& name) {
    Must(kCoordinator + "device enroll " + name + " --out " + Identity(name) + config());
  }
  static std::string Agent(const std::string& name, const std::string& voice, int port) {
    return absl::StrCat(kLorikeet, "agent --coordinator 127.0.0.1:", port, " --state ", State(name),
                        " --identity ", Identity(name), " --vault ", Vault(voice),
                        " --poll-seconds 0.3 --step-seconds 0.1 ");
  }

  // Enrolled devices, and the commands of their agents.
  static std::vector<std::string> EnrollFleet(const std::vector<std::string>& names, int port) {
    std::vector<std::string> commands;
    for (const std::string& name : names) {
      Enroll(name);
      commands.push_back(Agent(name, "quiet", port));
    }
    return commands;
  }
  // One round of at least three devices.
  static void CreateTask(const std::string& name, int cohort_max, int step_seconds,
                         const std::string& options = "") {
    std::string deadlines;
    for (const char* step : {"advertise", "share", "mask", "acknowledge", "unmask"}) {
      absl::StrAppend(&deadlines, " --", step, "-seconds ", step_seconds);
    }
    Must(absl::StrCat(kCoordinator, "task create ", name, " --demonstration --cohort-min 3",
                      " --cohort-max ", cohort_max, " --corrupt 0 --rounds 1 --noise 0.01",
                      " --steps 2 --batch 2 --context 64 --epsilon-budget 1e9", deadlines, options,
                      config()));
  }

  // Starts the coordinator, or only the named half of it; port 0: any.
  static std::unique_ptr<Process> Serve(int* port, const std::string& half = "") {
    const std::string port_file = dir_ + "/port" + half;
    unlink(port_file.c_str());
    auto server = std::make_unique<Process>(
        absl::StrCat(kCoordinator, "serve --listen 127.0.0.1:", *port, " --port-file ", port_file,
                     " --poll-seconds 0.1 --round-seconds 0.2",
                     half.empty() ? "" : " --only " + half, config()),
        absl::StrCat(dir_, "/serve", half, ".log"));
    for (int i = 0; i < 500 && !FileExists(port_file); ++i) {
      absl::SleepFor(absl::Milliseconds(20));
    }
    EXPECT_TRUE(absl::SimpleAtoi(ReadFile(port_file).value_or(""), port)) << server->Log();
    return server;
  }

  static std::string dir_;
};
std::string AgentProcessTest::dir_;

// Agents that take part in one demonstration round.
class Fleet {
 public:
  Fleet(const std::vector<std::string>& commands, const std::string& dir) {
    for (size_t i = 0; i < commands.size(); ++i) {
      agents_.push_back(std::make_unique<Process>(
          commands[i] + "--federate --allow-demonstration --rounds 1 --give-up-seconds 30",
          absl::StrCat(dir, "/fleet-", i, ".log")));
    }
  }
  Process& operator[](size_t i) { return *agents_[i]; }
  // Until the log of agent `i` has these words.
  bool WaitFor(size_t i, const std::string& words, absl::Duration timeout) const {
    const absl::Time end = absl::Now() + timeout;
    while (agents_[i]->Log().find(words) == std::string::npos) {
      if (absl::Now() > end) return false;
      absl::SleepFor(absl::Milliseconds(5));
    }
    return true;
  }
  std::string Logs() const {
    std::string logs;
    for (const auto& agent : agents_) logs += "--\n" + agent->Log();
    return logs;
  }

 private:
  std::vector<std::unique_ptr<Process>> agents_;
};

TEST_F(AgentProcessTest, OncePersonalizesAndExits) {
  Enroll("once");
  int port = 0;
  const auto server = Serve(&port);
  const CommandOutcome outcome = Must(Agent("once", "quiet", port) + "--once --json");
  const json result = json::parse(outcome.out, nullptr, false);
  ASSERT_TRUE(result.is_object()) << outcome.out;
  EXPECT_EQ(result["catalog_version"], 1);
  EXPECT_EQ(result["rounds_done"], 0);
  EXPECT_EQ(result["chosen"], "quiet") << result.dump();
  EXPECT_TRUE(FileExists(State("once") + "/personalize-1.json"));
  const json report = json::parse(ReadFile(State("once") + "/personalize-1.json").value());
  EXPECT_EQ(report["chosen"], "quiet");
  EXPECT_EQ(FileExists(State("once") + "/adapter.gguf"), result["kept"].get<bool>());
  // A second run finds nothing to do and fetches nothing.
  EXPECT_THAT(Must(Agent("once", "quiet", port) + "--once").out,
              testing::Not(HasSubstr("installed")));
}

TEST_F(AgentProcessTest, AnAbsentCoordinatorIsAnErrorInTime) {
  Enroll("alone");
  const absl::Time start = absl::Now();
  ExpectFailure(Agent("alone", "quiet", 1) + "--once --give-up-seconds 1",
                {"coordinator not reachable"});
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

TEST_F(AgentProcessTest, CertificatesOfAnotherAuthorityAreNoUse) {
  const std::string other = dir_ + "/other-home";
  Must(kCoordinator + "init " + other);
  Must(kCoordinator + "device enroll stranger --out " + Identity("stranger") + " --config " +
       other + "/coordinator.toml");
  int port = 0;
  const auto server = Serve(&port);
  ExpectFailure(Agent("stranger", "quiet", port) + "--once --give-up-seconds 1",
                {"coordinator not reachable"});
  // The right server for the wrong device.
  Write(Identity("stranger") + "/ca.crt", ReadFile(home() + "/ca.crt").value());
  ExpectFailure(Agent("stranger", "quiet", port) + "--once --give-up-seconds 1",
                {"coordinator not reachable"});
  EXPECT_FALSE(FileExists(State("stranger") + "/state.json"));
}

TEST_F(AgentProcessTest, ARevokedDeviceStops) {
  Enroll("lost");
  Must(kCoordinator + "device revoke lost" + config());
  int port = 0;
  const auto server = Serve(&port);
  ExpectFailure(Agent("lost", "quiet", port), {"device lost is revoked"});
}

TEST_F(AgentProcessTest, ReleasesOfAnotherFleetAreRefused) {
  Enroll("pinned");
  const std::string other = dir_ + "/other-fleet";
  Must(kCoordinator + "init " + other);
  Must(kCoordinator + "root show --out " + Identity("pinned") + "/root.json --config " + other +
       "/coordinator.toml");
  int port = 0;
  const auto server = Serve(&port);
  ExpectFailure(Agent("pinned", "quiet", port) + "--once", {"base release", "keys of"});
  EXPECT_FALSE(FileExists(State("pinned") + "/adapter.gguf"));
}

TEST_F(AgentProcessTest, ATakenPortIsNamed) {
  int port = 0;
  const auto server = Serve(&port);
  const std::string other = dir_ + "/port-home";
  Must(kCoordinator + "init " + other);
  ExpectFailure(absl::StrCat(kCoordinator, "serve --listen 127.0.0.1:", port, " --config ", other,
                             "/coordinator.toml"),
                {absl::StrCat("127.0.0.1:", port)});
}

TEST_F(AgentProcessTest, ARoundOutlivesAKilledCoordinator) {
  CreateTask("voices", /*cohort_max=*/3, /*step_seconds=*/20);
  int port = 0;
  auto server = Serve(&port);
  Fleet fleet(EnrollFleet({"one", "two", "three"}, port), dir_);
  ASSERT_TRUE(fleet.WaitFor(0, "ShareKeys", absl::Seconds(40))) << fleet.Logs();
  server->Kill();
  server = Serve(&port);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(fleet[i].Wait(absl::Seconds(40)), 0) << fleet.Logs() << server->Log();
    EXPECT_THAT(fleet[i].Log(), HasSubstr("round 1: summed over 3 devices"));
  }
}

TEST_F(AgentProcessTest, ARoundOutlivesAKilledAgent) {
  CreateTask("choirs", /*cohort_max=*/4, /*step_seconds=*/5);
  int port = 0;
  const auto server = Serve(&port);
  Fleet fleet(EnrollFleet({"alto", "bass", "tenor", "treble"}, port), dir_);
  ASSERT_TRUE(fleet.WaitFor(3, "ShareKeys", absl::Seconds(40))) << fleet.Logs();
  fleet[3].Kill();
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(fleet[i].Wait(absl::Seconds(40)), 0) << fleet.Logs() << server->Log();
    EXPECT_THAT(fleet[i].Log(), HasSubstr("summed over"));
  }
}

// Who issues tokens knows devices and sees no round; who runs rounds sees tokens and no device.
TEST_F(AgentProcessTest, IssuerAndRoundsAreTwoProcesses) {
  CreateTask("masks", /*cohort_max=*/3, /*step_seconds=*/20, " --tokens required");
  int rounds_port = 0, issuer_port = 0;
  const auto rounds = Serve(&rounds_port, "rounds");
  const auto issuer = Serve(&issuer_port, "issuer");
  const std::vector<std::string> names = {"harlequin", "pierrot", "columbine"};
  std::vector<std::string> commands;
  for (const std::string& agent : EnrollFleet(names, rounds_port)) {
    commands.push_back(absl::StrCat(agent, "--issuer 127.0.0.1:", issuer_port, " "));
  }
  Fleet fleet(commands, dir_);
  for (size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(fleet[i].Wait(absl::Seconds(60)), 0)
        << fleet.Logs() << rounds->Log() << issuer->Log();
    EXPECT_THAT(fleet[i].Log(), HasSubstr("summed over 3 devices"));
  }
  // Nobody finds releases and rounds at the issuer.
  ExpectFailure(Agent("harlequin", "quiet", issuer_port) + "--federate",
                {"this server does not offer"});
}

// Whom nobody gives a token, and who knows no issuer, is left out of rounds that ask for one.
TEST_F(AgentProcessTest, WithoutATokenNobodyJoins) {
  CreateTask("doors", /*cohort_max=*/3, /*step_seconds=*/3, " --tokens required");
  int port = 0;
  const auto rounds = Serve(&port, "rounds");
  Fleet fleet(EnrollFleet({"knock"}, port), dir_);
  ASSERT_TRUE(fleet.WaitFor(0, "none is left", absl::Seconds(40))) << fleet.Logs() << rounds->Log();
  const json shown =
      json::parse(Must(kCoordinator + "round list --json" + config()).out, nullptr, false);
  for (const json& round : shown["rounds"]) {
    if (round["task"] == "doors") {
      EXPECT_EQ(round["arrived"], 0) << round;
    }
  }
  Must(kCoordinator + "task end doors" + config());
}

TEST_F(AgentProcessTest, AFullDiskKeepsTheOldText) {
  const SmallDisk disk(dir_ + "/small", 32768);
  if (!disk.mounted()) GTEST_SKIP() << "this user may not mount a small file system";
  const std::string vault = " --vault " + dir_ + "/small/vault";
  const std::string first = dir_ + "/first.txt";
  Write(first, "the mill by the old bridge");
  Must(kLorikeet + "vault add " + first + vault);
  std::string much;
  for (int i = 0; i < 40000; ++i) absl::StrAppend(&much, "word", i, i % 50 == 0 ? "\n\n" : " ");
  Write(dir_ + "/much.txt", much);
  for (const int free_bytes : {100 << 10, 0}) {
    disk.Fill(free_bytes);
    ExpectFailure(kLorikeet + "vault add " + dir_ + "/much.txt" + vault, {"full"});
  }
  unlink((dir_ + "/small/ballast").c_str());
  EXPECT_THAT(Must(kLorikeet + "vault search bridge" + vault).out, HasSubstr("old bridge"));
  Must(kLorikeet + "vault verify" + vault);
  Must(kLorikeet + "vault add " + dir_ + "/much.txt" + vault);  // and goes on where there is room
}

TEST_F(AgentProcessTest, AnAgentOnAFullDiskSaysSo) {
  const SmallDisk disk(State("full"), 512);
  if (!disk.mounted()) GTEST_SKIP() << "this user may not mount a small file system";
  Enroll("full");
  int port = 0;
  const auto server = Serve(&port);
  disk.Fill(0);
  ExpectFailure(Agent("full", "quiet", port) + "--once", {"No space left on device"});
}

TEST_F(AgentProcessTest, HostileModelFilesAreErrors) {
  const std::string good = TinyModelBytes();
  std::string huge_count = good;
  for (int i = 8; i < 16; ++i) huge_count[static_cast<size_t>(i)] = '\x7f';  // tensors
  const std::vector<std::string> files = {"",
                                          "GGUF",
                                          good.substr(0, 200),
                                          good.substr(0, good.size() / 2),
                                          huge_count,
                                          std::string(4096, '\xff')};
  const std::string path = dir_ + "/hostile.gguf";
  for (const std::string& bytes : files) {
    Write(path, bytes);
    SCOPED_TRACE(bytes.size());
    ExpectFailure(kLorikeet + "inspect " + path, {path});
    ExpectFailure(kLorikeet + "generate --model " + path + " --prompt one -n 1", {path});
  }
}

TEST_F(AgentProcessTest, AnAdapterOfAnotherBaseNamesBothFingerprints) {
  const std::string other = dir_ + "/other.gguf";
  Write(other, TinyModelBytes({.seed = 2}));
  const std::string adapter = dir_ + "/adapter.gguf";
  Must(kLorikeet + "finetune --model " + model() + " --data " + Text("quiet") + " --out " +
       adapter + " --rank 2 --steps 1 --eval-split 0");
  const auto fingerprint = [](const std::string& path) {
    return json::parse(Must(kLorikeet + "inspect " + path + " --json").out)["fingerprint"]
        .get<std::string>();
  };
  ExpectFailure(
      kLorikeet + "generate --model " + other + " --adapter " + adapter + " --prompt one -n 1",
      {fingerprint(model()).substr(0, 12), fingerprint(other).substr(0, 12)});
  ExpectFailure(kLorikeet + "personalize --model " + other + " --catalog " + catalog() +
                    " --data " + Text("quiet") + " --out " + dir_ + "/none.gguf",
                {fingerprint(model()).substr(0, 12), fingerprint(other).substr(0, 12)});
  EXPECT_FALSE(FileExists(dir_ + "/none.gguf"));
}

TEST_F(AgentProcessTest, TextThatCannotBeLearnedFromWritesNoAdapter) {
  const std::string out = dir_ + "/unlearned.gguf";
  const std::string text = dir_ + "/odd.txt";
  for (const std::string& content :
       {std::string(), std::string(" \n\n\t "), std::string("bytes \xff\xfe\xc0 no text"),
        std::string("hi")}) {
    Write(text, content);
    SCOPED_TRACE(content);
    const CommandOutcome outcome =
        RunCommand(kLorikeet + "personalize --model " + model() + " --catalog " + catalog() +
                   " --data " + text + " --out " + out);
    EXPECT_EQ(outcome.code, 1) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_THAT(outcome.err, testing::Not(HasSubstr(content.empty() ? "\xff" : content)))
        << "messages hold no text";
    EXPECT_FALSE(FileExists(out));
  }
}

}  // namespace
}  // namespace lorikeet
