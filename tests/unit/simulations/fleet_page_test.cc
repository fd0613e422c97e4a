#include "simulations/report/fleet_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "common/base/file.h"
#include "simulations/report/fleet_data.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

Catalog TwoPersonas() {
  const std::vector<std::string_view> text = {"The cat sat on the mat, and the dog slept.",
                                              "A boat came down the river in the morning."};
  Catalog catalog;
  catalog.base_fingerprint = std::string(64, 'a');
  catalog.architecture = "llama";
  catalog.rank = 1;
  catalog.alpha = 1;
  catalog.basis = {{.target = {0, Module::kQ},
                    .rank = 1,
                    .in_features = 2,
                    .out_features = 2,
                    .a = {1, 0},
                    .b = {0, 1},
                    .core = {}}};
  catalog.background = MakeStyleBackground(text);
  for (const char* id : {"texter", "formal"}) {
    catalog.personas.push_back(
        {.id = id, .cores = {0}, .card = MakeStyleCard(CountStyle(text), catalog.background)});
  }
  return catalog;
}

json Choice(int version, const std::string& outcome, double after, double before) {
  return {{"catalog_version", version},
          {"chosen", "blend"},
          {"weights", {{"formal", 0.25}, {"texter", 0.75}}},
          {"reason", "You write <briefly>."},
          {"sentence", "brief notes"},
          {"outcome", outcome},
          {"loss_base", 5.0},
          {"loss_persona", 4.0},
          {"loss_after", after},
          {"loss_before", before},
          {"train_loss", {{{"step", 1}, {"loss", 4.5}}}},
          {"eval_loss", {{{"step", 0}, {"loss", 4.6}}}},
          {"ranked",
           {{{"id", "texter"}, {"style_distance", 0.1}},
            {{"id", "formal"}, {"style_distance", 0.3}},
            {{"id", "base"}, {"style_distance", nullptr}}}}};
}

json Round(int number) {
  return {{"number", number},
          {"status", "done"},
          {"survivors", 8},
          {"seconds", 3.0},
          {"epsilon", 12.5},
          {"delta", 1e-6},
          {"catalog_version", 1},
          {"dimension", 64},
          {"modulus_bits", 9},
          {"report",
           {{"steps",
             {{{"step", "advertise"}, {"messages", 9}, {"bytes", 900}, {"ended_seconds", 1.0}},
              {{"step", "share"}, {"messages", 8}, {"bytes", 800}, {"ended_seconds", nullptr}}}}}}};
}

// A run of one device, two catalogs and one round.
class FleetPageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(WriteCatalog(TwoPersonas(), dir_ + "/catalog.gguf").ok());
    Write("devices/maya/state/personalize-1.json", Choice(1, "kept", 3.0, 4.0));
    Write("devices/maya/state/personalize-3.json", Choice(3, "rolled back", 3.5, 3.0));
    Write("devices/maya/state/events.jsonl",
          json{{"kind", "release"}, {"message", "base version 1 installed, 1234 bytes fetched"}});
    Write("rounds/1.json", Round(1));
    Write("ledger.json",
          {{"tasks", {{{"epsilon_spent", 12.5}, {"delta", 1e-6}, {"demonstration", true}}}}});
    Write("stages.jsonl", json{{"stage", "all"}, {"seconds", 1.5}});
  }

  void Write(const std::string& name, const json& document) const {
    const std::filesystem::path path = std::filesystem::path(dir_) / name;
    std::filesystem::create_directories(path.parent_path());
    ASSERT_TRUE(WriteFileAtomic(path.string(), document.dump() + "\n").ok());
  }

  std::string dir_ = MakeTempDir("fleet");
};

TEST_F(FleetPageTest, ReadsWhatTheProcessesWrote) {
  const auto run = ReadFleetRun(dir_);
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_EQ(run->devices.size(), 1u);
  const FleetDevice& maya = run->devices[0];
  EXPECT_EQ(maya.bytes_fetched, 1234u);
  ASSERT_EQ(maya.choices.size(), 2u);
  EXPECT_EQ(maya.choices[0].chosen, "formal + texter");
  EXPECT_EQ(maya.choices[0].heaviest, "texter");
  EXPECT_FALSE(maya.choices[0].loss_existing.has_value());
  EXPECT_DOUBLE_EQ(maya.choices[0].LossInUse(), 3.0);
  EXPECT_DOUBLE_EQ(maya.choices[1].LossInUse(), 3.0);  // the adapter of before, not the new one
  ASSERT_EQ(run->rounds.size(), 1u);
  EXPECT_DOUBLE_EQ(run->rounds[0].steps[1].seconds, 2.0);  // not ended: until the round's end
  EXPECT_EQ(run->rounds[0].admitted, 9);
}

TEST_F(FleetPageTest, PageIsSelfContainedAndEscaped) {
  const auto run = ReadFleetRun(dir_);
  ASSERT_TRUE(run.ok()) << run.status();
  const std::string page = FleetPage(*run);
  EXPECT_THAT(page, HasSubstr("You write &lt;briefly&gt;."));
  EXPECT_THAT(page, HasSubstr("rolled back to the one before"));
  EXPECT_THAT(page, HasSubstr("not real privacy"));
  EXPECT_THAT(page, Not(HasSubstr("http")));
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(FleetTable(*run), HasSubstr("brief notes"));
}

TEST_F(FleetPageTest, NamesTheFileThatIsWrong) {
  Write("rounds/1.json", {{"number", "one"}});
  const absl::Status status = ReadFleetRun(dir_).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("rounds/1.json"));
}

TEST_F(FleetPageTest, DeviceWithoutDecisionIsNotFound) {
  std::filesystem::create_directories(dir_ + "/devices/leo/state");
  EXPECT_TRUE(absl::IsNotFound(ReadFleetRun(dir_).status()));
}

}  // namespace
}  // namespace lorikeet
