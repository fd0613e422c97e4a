// The commands of lorikeet-coordinator as a shell sees them, init to verify-release.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "common/base/file.h"
#include "tests/support/command.h"
#include "tests/support/shared_data.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

class CoordinatorCli : public testing::Test {
 protected:
  CommandOutcome Run(const std::string& arguments) const {
    return RunCommand(LORIKEET_BIN_DIR "/lorikeet-coordinator " + arguments);
  }
  json RunJson(const std::string& arguments) const {
    const CommandOutcome outcome = Run(arguments + " --json");
    EXPECT_EQ(outcome.code, 0) << arguments << ": " << outcome.err;
    return json::parse(outcome.out, nullptr, false);
  }
  void ExpectError(const std::string& arguments, int code, const std::string& words) const {
    const CommandOutcome outcome = Run(arguments);
    EXPECT_EQ(outcome.code, code) << arguments;
    EXPECT_THAT(outcome.err, HasSubstr(words));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }

  // A coordinator with a published base and catalog; returns the base fingerprint.
  std::string Publish() {
    RunJson("init " + home_);
    const json base = RunJson("publish base " + WriteTinyBase(dir_, 1) + " --name tiny --out " +
                              dir_ + "/release" + config_);
    const std::string fingerprint = base["releases"][0]["base_fingerprint"];
    EXPECT_TRUE(WriteCatalog(TinyCatalog(fingerprint, 1), dir_ + "/c.gguf").ok());
    EXPECT_EQ(RunJson("publish catalog " + dir_ + "/c.gguf" + config_)["releases"][0]["version"],
              1);
    return fingerprint;
  }

  const std::string dir_ = MakeTempDir("coordinator-cli");
  const std::string home_ = dir_ + "/home";
  const std::string config_ = " --config " + home_ + "/coordinator.toml";
};

TEST_F(CoordinatorCli, PublishesAndVerifiesReleases) {
  const std::string fingerprint = Publish();
  const json verified = RunJson("verify-release " + dir_ + "/release" + config_);
  EXPECT_EQ(verified["verified"], true);
  EXPECT_EQ(verified["kind"], "base");
  EXPECT_EQ(verified["base_fingerprint"], fingerprint);
  RunJson("verify-release " + dir_ + "/release --key " + home_ + "/coordinator.pub");
  std::string bytes = *ReadFile(dir_ + "/release/base.gguf");
  bytes.back() ^= 1;
  ASSERT_TRUE(WriteFileAtomic(dir_ + "/release/base.gguf", bytes).ok());
  ExpectError("verify-release " + dir_ + "/release" + config_, 1, "expected hash");
  ExpectError("publish catalog " + dir_ + "/c.gguf" + config_, 1, "expected a version above 1");
  ExpectError("publish model x" + config_, 2, "model not in");
}

TEST_F(CoordinatorCli, TasksKeepTheStrictRule) {
  const std::string fingerprint = Publish();
  ExpectError("task create small --cohort-min 8 --cohort-max 8" + config_, 1,
              "expected cohort_min of 30 or more, got 8");
  ExpectError("task create loud --noise 0.1" + config_, 1, "expected epsilon of 8 or less");
  const json strict = RunJson("task create strict --noise 8 --rounds 3" + config_);
  EXPECT_LE(strict["epsilon_total"].get<double>(), 8);
  EXPECT_GT(strict["epsilon_total"].get<double>(), strict["epsilon_per_round"].get<double>());
  EXPECT_EQ(strict["task"]["base_fingerprint"], fingerprint);
  const json small = RunJson(
      "task create small --demonstration --cohort-min 5 --cohort-max 8 --mask-seconds 7" + config_);
  EXPECT_EQ(small["task"]["mask_seconds"], 7);
  ExpectError("task create small --demonstration --cohort-min 5 --cohort-max 8" + config_, 1,
              "a task named small already");
  RunJson("task pause small" + config_);
  EXPECT_EQ(RunJson("task list" + config_)["tasks"][1]["state"], "paused");
  RunJson("task end small" + config_);
  ExpectError("task resume small" + config_, 1, "has ended");
  ExpectError("task pause nobody" + config_, 1, "no task named nobody");
}

TEST_F(CoordinatorCli, RoutedTasksSayWhatTheyReveal) {
  Publish();
  const std::string routed = "task create routed --routing routed --noise 8 --rounds 3 ";
  ExpectError(routed + config_, 1, "routed rounds need tokens: required, got off");
  ExpectError(routed + "--tokens required --bucket-personas 0" + config_, 1,
              "bucket_personas: expected 1 to 4096, got 0");
  ExpectError(routed + "--tokens required --noise-kind central" + config_, 1,
              "expected noise that devices add in routed rounds, got central");
  ExpectError("task create buckets --noise 8 --rounds 3 --bucket-personas 2" + config_, 1,
              "bucket_personas: expected 1 unless the task is routed, got 2");
  ExpectError("task create odd --routing random" + config_, 2, "random not in");
  const CommandOutcome made = Run(routed + "--tokens required" + config_);
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_THAT(made.out, HasSubstr("routed: 2 buckets of 1 of 2 personas"));
  EXPECT_THAT(made.out, HasSubstr("reveals the histogram of choices (cohort sizes by bucket) "
                                  "exactly, nothing per device"));
  const CommandOutcome ledger = Run("ledger" + config_);
  EXPECT_THAT(ledger.out, HasSubstr("reveals the histogram of choices"));
  EXPECT_THAT(ledger.out, HasSubstr("a sweep counts once"));
  EXPECT_THAT(Run("task list" + config_).out, HasSubstr("0 of 3 sweeps done"));
}

TEST_F(CoordinatorCli, EnrolsAndRevokesDevices) {
  RunJson("init " + home_ + " --listen 127.0.0.1:4321");
  const json enrolled = RunJson("device enroll phone --out " + dir_ + "/phone" + config_);
  EXPECT_EQ(enrolled["coordinator"], "127.0.0.1:4321");
  const json connection = json::parse(*ReadFile(dir_ + "/phone/connection.json"));
  EXPECT_EQ(connection["device"], "phone");
  RunJson("root show --out " + dir_ + "/root.json" + config_);
  EXPECT_EQ(*ReadFile(dir_ + "/phone/root.json"), *ReadFile(dir_ + "/root.json"));
  EXPECT_THAT(*ReadFile(dir_ + "/phone/client.key"), HasSubstr("PRIVATE KEY"));
  ExpectError("device enroll phone --out " + dir_ + "/phone" + config_, 1, "enrolled already");
  ExpectError("device enroll ../phone --out " + dir_ + "/phone" + config_, 1, "device name");
  RunJson("device revoke phone" + config_);
  EXPECT_FALSE(RunJson("device list" + config_)["devices"][0]["revoked"].is_null());
  ExpectError("device revoke nobody" + config_, 1, "no device nobody");
}

TEST_F(CoordinatorCli, BadDirectoriesAndConfigsAreNamed) {
  RunJson("init " + home_);
  ExpectError("init " + home_, 1, "expected no coordinator here");
  ExpectError("serve --config " + dir_ + "/none.toml", 1, "none.toml");
  ASSERT_TRUE(WriteFileAtomic(dir_ + "/odd.toml", "listen = 7\n").ok());
  ExpectError("serve --config " + dir_ + "/odd.toml", 1, "listen: expected");
  ASSERT_TRUE(WriteFileAtomic(dir_ + "/odd.toml", "listen = \n").ok());
  ExpectError("serve --config " + dir_ + "/odd.toml", 1, "expected TOML, line 1");
  ExpectError("round show 1" + config_, 1, "no round with id 1");
}

// The store of an in-process fleet, looked at while a round is open and after it.
TEST_F(CoordinatorCli, ShowsRoundsAndTheLedger) {
  TestFleet fleet;
  const std::string config = " --config " + fleet.directory() + "/coordinator.toml";
  ASSERT_TRUE(WriteFileAtomic(fleet.directory() + "/coordinator.toml", "").ok());
  std::vector<TestDevice> devices;
  for (int i = 0; i < 5; ++i) devices.emplace_back(&fleet, i);
  for (TestDevice& device : devices) ASSERT_TRUE(device.Join().ok());
  ASSERT_TRUE(devices[0].Share().ok());
  const json open = RunJson("round list" + config)["rounds"][0];
  EXPECT_EQ(open["phase"], "share");
  EXPECT_EQ(open["arrived"], 1);
  EXPECT_EQ(open["expected"], 5);
  for (int i = 1; i < 5; ++i) ASSERT_TRUE(devices[i].Share().ok());
  for (TestDevice& device : devices) ASSERT_TRUE(device.Mask(1, 0.5f).ok());
  for (TestDevice& device : devices) ASSERT_TRUE(device.Acknowledge().ok());
  for (TestDevice& device : devices) ASSERT_TRUE(device.Unmask().ok());
  const json done = RunJson("round show 1" + config);
  EXPECT_EQ(done["status"], "done");
  EXPECT_EQ(done["survivors"], 5);
  EXPECT_EQ(done["report"]["catalog_version"], 2);
  EXPECT_EQ(done["report"]["steps"][2]["step"], "mask");
  EXPECT_GT(done["report"]["steps"][2]["bytes"].get<int>(), 0);
  EXPECT_THAT(Run("round show 1" + config).out, HasSubstr("updated"));
  const json ledger = RunJson("ledger" + config)["tasks"][0];
  EXPECT_EQ(ledger["rounds_spent"], 1);
  EXPECT_GT(ledger["epsilon_spent"].get<double>(), 0);
  EXPECT_EQ(ledger["entries"].size(), 1u);
  // The assumptions behind the number.
  EXPECT_EQ(ledger["mechanism"], "skellam");
  EXPECT_EQ(ledger["sampling_amplification"], false);
  EXPECT_GT(ledger["honest_survivors"].get<int>(), 0);
  EXPECT_LE(ledger["honest_survivors"].get<int>(), ledger["cohort_min"].get<int>());
  EXPECT_THAT(Run("ledger" + config).out, HasSubstr("no amplification by sampling"));
  const json total = RunJson("ledger" + config)["total"];
  EXPECT_EQ(total["rounds_spent"], 1);
  EXPECT_NEAR(total["epsilon_spent"].get<double>(), ledger["epsilon_spent"].get<double>(), 1e-9);
  EXPECT_THAT(Run("ledger" + config).out, HasSubstr("(no total budget is set)"));
  EXPECT_TRUE(total["epsilon_budget"].is_null());
  ASSERT_TRUE(WriteFileAtomic(fleet.directory() + "/coordinator.toml",
                              "[policy]\ntotal_epsilon = 3\ntotal_delta = 1e-7\n")
                  .ok());
  EXPECT_THAT(Run("ledger" + config).out, AllOf(HasSubstr("of 3 spent, at delta 1e-07"),
                                                HasSubstr("composed of 1 charge(s) of task")));
  // What one round of next to no noise has left of it is nothing.
  ExpectError("task create more --demonstration --cohort-min 5 --cohort-max 8" + config, 1,
              "task more: no round could open: the total budget of all tasks over this base: "
              "expected epsilon up to 3 at delta 1e-07");
}

TEST_F(CoordinatorCli, ATaskIsToldWhatFitsIntoTheTotalBudget) {
  Publish();
  const std::string path = home_ + "/coordinator.toml";
  const std::string text = *ReadFile(path);
  const auto set = [&](const std::string& total) {
    std::string changed = text;
    changed.insert(changed.find("[policy]") + 8, "\n" + total);
    ASSERT_TRUE(WriteFileAtomic(path, changed).ok());
  };
  set("total_epsilon = 2.0");
  const json task = RunJson("task create some --noise 4 --rounds 10" + config_);
  const int fits = task["total_budget"]["rounds_that_fit"];
  EXPECT_GT(fits, 0);
  EXPECT_LT(fits, 10);
  EXPECT_EQ(task["total_budget"]["epsilon_spent"], 0);
  EXPECT_EQ(task["total_budget"]["delta"], 1e-5);
  set("total_epsilon = 0.1");
  ExpectError("task create none --noise 4 --rounds 10" + config_, 1, "no round could open");
  set("total_epsilon = -1");
  ExpectError("task list" + config_, 1, "total_epsilon: expected a number above 0");
  set("total_epsilon = 1\ntotal_delta = 2");
  ExpectError("task list" + config_, 1, "total_delta: expected a number above 0 and below 1");
}

}  // namespace
}  // namespace lorikeet
