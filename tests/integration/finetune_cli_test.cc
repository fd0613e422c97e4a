// The command finetune as a shell, a platform and a power cut see it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "common/base/file.h"
#include "common/base/random.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

// One `lorikeet` that runs beside the test.  Killed by the destructor.
class Process {
 public:
  // `largest_file` > 0: files cannot grow beyond it, as on a full disk.
  Process(std::vector<std::string> arguments, const std::string& directory, rlim_t largest_file = 0)
      : out_(directory + "/stdout"), err_(directory + "/stderr") {
    arguments.insert(arguments.begin(), LORIKEET_BIN_DIR "/lorikeet");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ != 0) return;
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    dup2(open(out_.c_str(), flags, 0600), STDOUT_FILENO);
    dup2(open(err_.c_str(), flags, 0600), STDERR_FILENO);
    if (largest_file > 0) {
      std::signal(SIGXFSZ, SIG_IGN);
      const rlimit limit = {largest_file, largest_file};
      setrlimit(RLIMIT_FSIZE, &limit);
    }
    execv(argv[0], argv.data());
    _exit(127);
  }
  ~Process() {
    if (!ended_) {
      Signal(SIGKILL);
      Wait();
    }
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void Signal(int signal) { kill(pid_, signal); }
  bool Running() {
    if (!ended_ && waitpid(pid_, &status_, WNOHANG) == pid_) ended_ = true;
    return !ended_;
  }
  // The exit code; negative: the signal that ended it.
  int Wait() {
    if (!ended_) waitpid(pid_, &status_, 0);
    ended_ = true;
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : -WTERMSIG(status_);
  }
  std::string out() const { return ReadFile(out_).value_or(""); }
  std::string err() const { return ReadFile(err_).value_or(""); }

 private:
  std::string out_, err_;
  pid_t pid_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

class FinetuneCli : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string text;
    Rng rng(1);
    const std::vector<std::string> words = {"the", "rest", "of", "it", "is", "there", "then"};
    for (int i = 0; i < 40; ++i) {
      for (int j = 0; j < 20; ++j) text += words[rng.Below(words.size())] + " ";
      text += "\n\n";
    }
    Write("text.txt", text);
  }
  std::string Path(const std::string& name) const { return dir_ + "/" + name; }
  void Write(const std::string& name, const std::string& content) const {
    ASSERT_TRUE(WriteFileAtomic(Path(name), content).ok());
  }
  std::vector<std::string> Arguments(const std::string& out,
                                     std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {
        "finetune",  "--model", model_,   "--data", Path("text.txt"), "--out", Path(out),
        "--threads", "1",       "--rank", "4",      "--context",      "32",    "--batch",
        "2",         "--lr",    "0.01"};
    // What a test sets itself is not set here.
    for (const std::string& word : more) {
      const auto found = std::find(arguments.begin() + 1, arguments.end(), word);
      if (word.starts_with("--") && found != arguments.end()) arguments.erase(found, found + 2);
    }
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  // Runs to the end; its JSON.
  json Train(const std::string& out, std::vector<std::string> more = {}) const {
    more.push_back("--json");
    Process process(Arguments(out, std::move(more)), dir_);
    EXPECT_EQ(process.Wait(), 0) << process.err();
    return json::parse(process.out(), nullptr, false);
  }
  // Runs to an error; what it says.
  std::string Refusal(std::vector<std::string> more, int code = 1) const {
    Process process(Arguments("refused.gguf", std::move(more)), dir_);
    EXPECT_EQ(process.Wait(), code) << process.err();
    const std::string said = process.err();
    EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
    return said;
  }
  std::vector<json> Metrics(const std::string& name) const {
    std::vector<json> lines;
    const std::string text = ReadFile(Path(name)).value_or("");
    for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos;
         begin = end + 1) {
      lines.push_back(json::parse(text.substr(begin, end - begin), nullptr, false));
    }
    return lines;
  }
  int LastStep(const std::string& metrics) const {
    int last = 0;
    for (const json& line : Metrics(metrics)) last = std::max(last, line.value("step", 0));
    return last;
  }
  std::string Bytes(const std::string& name) const { return ReadFile(Path(name)).value_or(""); }

  const std::string dir_ = MakeTempDir("finetune-cli");
  const std::string model_ = WriteTinyModel({.type = TensorType::kQ8_0});
};

TEST_F(FinetuneCli, KilledAtAnyMomentItGoesOnToTheSameBytes) {
  const std::vector<std::string> run = {"--steps",      "60", "--eval-every",       "7",
                                        "--accumulate", "2",  "--checkpoint-every", "3"};
  const json whole = Train("whole.gguf", run);
  ASSERT_EQ(whole["steps"], 60);
  std::vector<std::string> resumed = run;
  for (const std::string& word :
       {std::string("--checkpoint"), Path("state"), std::string("--resume"),
        std::string("--metrics"), Path("metrics")}) {
    resumed.push_back(word);
  }
  Rng rng(std::chrono::steady_clock::now().time_since_epoch().count());
  int kills = 0;
  for (; kills < 12; ++kills) {
    const int wanted = LastStep("metrics") + 1 + static_cast<int>(rng.Below(8));
    Process process(Arguments("killed.gguf", resumed), dir_);
    // Some while it starts or goes back to its checkpoint, most while it trains.
    const bool early = kills % 4 == 3;
    while (!early && process.Running() && LastStep("metrics") < wanted) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(rng.Below(early ? 30000 : 5000)));
    if (!process.Running()) break;
    process.Signal(SIGKILL);
    EXPECT_EQ(process.Wait(), -SIGKILL);
  }
  EXPECT_GE(kills, 3);
  const json last = Train("killed.gguf", resumed);
  EXPECT_EQ(Bytes("killed.gguf"), Bytes("whole.gguf"));
  EXPECT_EQ(last["train_loss"], whole["train_loss"]);
  EXPECT_EQ(last["eval_loss"], whole["eval_loss"]);
  // Each step and evaluation once, in order, though steps were repeated.
  std::vector<int> steps, evaluations;
  for (const json& line : Metrics("metrics")) {
    ASSERT_TRUE(line.is_object());
    (line.contains("eval_loss") ? evaluations : steps).push_back(line["step"]);
  }
  ASSERT_EQ(steps.size(), 60u);
  for (int i = 0; i < 60; ++i) EXPECT_EQ(steps[i], i + 1);
  EXPECT_EQ(evaluations, (std::vector<int>{0, 7, 14, 21, 28, 35, 42, 49, 56, 60}));
  // Nothing half written is left.
  for (const auto& entry : std::filesystem::directory_iterator(Path("state"))) {
    EXPECT_THAT(entry.path().filename().string(),
                ::testing::AnyOf("training.checkpoint", "training.lock"));
  }
}

TEST_F(FinetuneCli, StopsCleanlyAndKeepsWhatItLearned) {
  Process process(Arguments("stopped.gguf", {"--steps", "100000", "--schedule", "constant",
                                             "--metrics", Path("metrics"), "--json"}),
                  dir_);
  while (process.Running() && LastStep("metrics") < 5) {
    std::this_thread::sleep_for(milliseconds(2));
  }
  process.Signal(SIGINT);
  ASSERT_EQ(process.Wait(), 0) << process.err();
  const json result = json::parse(process.out(), nullptr, false);
  EXPECT_EQ(result["stopped_because"], "cancelled");
  EXPECT_GE(result["steps"], 5);
  EXPECT_EQ(result["eval_loss"].back()["step"], result["steps"]) << "judged as it is";
  EXPECT_TRUE(FileExists(Path("stopped.gguf")));
}

TEST_F(FinetuneCli, RestsWhileThePauseFileExists) {
  Write("pause", "");
  Process process(Arguments("paused.gguf",
                            {"--steps", "5", "--max-seconds", "3600", "--metrics", Path("metrics"),
                             "--pause-file", Path("pause"), "--json", "--progress"}),
                  dir_);
  while (process.Running() && process.err().find("paused") == std::string::npos) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_TRUE(process.Running());
  EXPECT_EQ(LastStep("metrics"), 0);
  std::filesystem::remove(Path("pause"));
  ASSERT_EQ(process.Wait(), 0) << process.err();
  const json result = json::parse(process.out(), nullptr, false);
  EXPECT_EQ(result["steps"], 5);
  EXPECT_GE(result["paused_seconds"], 0.1);
}

TEST_F(FinetuneCli, EndsWhenTimeOrEnergyAreSpent) {
  const json timed = Train("timed.gguf", {"--steps", "1000000", "--max-seconds", "0.2"});
  EXPECT_EQ(timed["stopped_because"], "time");
  EXPECT_GE(timed["seconds"], 0.2);
  const json spent = Train(
      "spent.gguf", {"--steps", "1000000", "--max-joules", "2", "--watts", "10", "--nice", "5"});
  EXPECT_EQ(spent["stopped_because"], "energy");
  EXPECT_GE(spent["joules"], 2);
  EXPECT_THAT(spent["energy_source"], ::testing::AnyOf("rapl", "model"));
  EXPECT_TRUE(FileExists(Path("timed.gguf")) && FileExists(Path("spent.gguf")));
}

TEST_F(FinetuneCli, MetricsTellEveryStep) {
  const json result =
      Train("a.gguf", {"--steps", "6", "--eval-every", "3", "--metrics", Path("metrics")});
  const std::vector<json> lines = Metrics("metrics");
  ASSERT_EQ(lines.size(), 6u + 3u);
  EXPECT_EQ(lines[0]["step"], 0);
  EXPECT_EQ(lines[0]["eval_loss"], result["eval_loss"][0]["loss"]);
  for (const char* key : {"step", "epoch", "loss", "learning_rate", "gradient_norm", "tokens",
                          "tokens_per_s", "working_set", "seconds"}) {
    EXPECT_TRUE(lines[1].contains(key)) << key;
  }
  EXPECT_EQ(lines[1]["loss"], result["train_loss"][0]["loss"]);
  EXPECT_GT(result["working_set"], 0);
  EXPECT_GT(result["predicted_working_set"], 0);
}

TEST_F(FinetuneCli, MemoryLimitsAreKeptOrRefusedBeforeTraining) {
  const std::string refusal = Refusal({"--max-memory", "1M"});
  EXPECT_THAT(refusal, AllOf(HasSubstr("need at least "), HasSubstr("the limit is 1000000")));
  EXPECT_FALSE(FileExists(Path("refused.gguf")));
  for (const char* size : {"lots", "12Q", "-3M", "1.2.3G", "M"}) {
    EXPECT_THAT(Refusal({"--max-memory=" + std::string(size)}, 2), HasSubstr("136M")) << size;
  }
  const int64_t least = std::stoll(refusal.substr(refusal.find("at least ") + 9));
  // What a process holds before training differs a little from run to run.
  const int64_t limit = least + 4'000'000;
  const json result = Train("a.gguf", {"--steps", "2", "--max-memory", std::to_string(limit)});
  EXPECT_LE(result["predicted_working_set"], limit);
  EXPECT_LE(result["working_set"], 1.1 * static_cast<double>(limit));
}

TEST_F(FinetuneCli, AFullDiskKeepsTheLastCheckpointAndTheAdapter) {
  const std::vector<std::string> run = {
      "--steps", "6", "--checkpoint", Path("state"), "--resume", "--checkpoint-every", "1"};
  std::vector<std::string> short_run = run;
  Train("whole.gguf", {"--steps", "6"});
  // The adapter still fits, three times as much does not.
  const rlim_t room = std::filesystem::file_size(Path("whole.gguf")) * 3 / 2;
  Process process(Arguments("a.gguf", run), dir_, room);
  EXPECT_EQ(process.Wait(), 1);
  EXPECT_THAT(process.err(), AllOf(HasSubstr("step 1: no checkpoint could be written"),
                                   HasSubstr("the last good adapter is in " + Path("a.gguf"))));
  EXPECT_FALSE(Bytes("a.gguf").empty());
  // With room again, training ends as if nothing had been.
  Train("a.gguf", run);
  EXPECT_EQ(Bytes("a.gguf"), Bytes("whole.gguf"));
}

TEST_F(FinetuneCli, ALossThatIsNotFiniteIsNamedAndTheLastGoodAdapterKept) {
  const std::string said =
      Refusal({"--steps", "5", "--alpha", "1e30", "--eval-split", "0", "--precision", "exact"});
  EXPECT_THAT(said, AllOf(HasSubstr("step 2: expected a finite loss"), HasSubstr("blk."),
                          HasSubstr("the last good adapter is in " + Path("refused.gguf"))));
  EXPECT_FALSE(Bytes("refused.gguf").empty());
}

TEST_F(FinetuneCli, BadInputIsRefusedByName) {
  EXPECT_THAT(Refusal({"--rank", "1000"}), AllOf(HasSubstr("rank"), HasSubstr("1000")));
  EXPECT_THAT(Refusal({"--lr", "2"}), HasSubstr("learning_rate"));
  Write("empty.txt", "\n\n");
  EXPECT_THAT(Refusal({"--data", Path("empty.txt")}), HasSubstr("empty.txt"));
  Write("mute.jsonl", R"({"messages":[{"role":"user","content":"hello there"}]})");
  EXPECT_THAT(Refusal({"--data", Path("mute.jsonl")}),
              AllOf(HasSubstr("mute.jsonl"), HasSubstr("tokens to learn, got 0")));
  EXPECT_THAT(Refusal({"--out", Path("absent/a.gguf")}, 2), HasSubstr("absent/a.gguf"));
  Train("other.gguf", {"--steps", "1"});
  const std::string base = WriteTinyModel({.type = TensorType::kQ8_0, .seed = 7});
  Process process({"finetune", "--model", base, "--data", Path("text.txt"), "--out",
                   Path("refused.gguf"), "--init", Path("other.gguf")},
                  dir_);
  EXPECT_EQ(process.Wait(), 1);
  const auto fingerprint = [&](const std::string& model) {
    Process inspect({"inspect", model, "--json"}, dir_);
    EXPECT_EQ(inspect.Wait(), 0);
    return json::parse(inspect.out(), nullptr, false)["fingerprint"].get<std::string>();
  };
  const std::string said = process.err();
  EXPECT_THAT(said, AllOf(HasSubstr(fingerprint(base)), HasSubstr(fingerprint(model_))));
}

TEST_F(FinetuneCli, ACheckpointOfAnotherRunIsRefusedByName) {
  const std::vector<std::string> state = {"--checkpoint", Path("state"), "--resume", "--steps"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), state.begin(), state.end());
    return more;
  };
  Train("a.gguf", with({"2"}));
  EXPECT_THAT(Refusal(with({"3"})), HasSubstr("expected max_steps=3, got max_steps=2"));
  EXPECT_THAT(Refusal(with({"2", "--precision", "exact"})), HasSubstr("precision"));
  EXPECT_THAT(Refusal(with({"2", "--rank", "5"})), HasSubstr("starting adapter"));
  const std::string checkpoint = Path("state/training.checkpoint");
  std::string bytes = *ReadFile(checkpoint);
  bytes[8] = 1;
  ASSERT_TRUE(WriteFileAtomic(checkpoint, bytes).ok());
  EXPECT_THAT(Refusal(with({"2"})), HasSubstr("another version: expected 2, got 1"));
  EXPECT_THAT(Refusal({"--resume"}, 2), HasSubstr("--checkpoint"));
}

}  // namespace
}  // namespace lorikeet
