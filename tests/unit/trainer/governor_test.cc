#include "device/trainer/governor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <thread>

#include "common/base/file.h"
#include "device/trainer/arena.h"
#include "device/trainer/energy_meter.h"
#include "device/trainer/memory_meter.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

TEST(PausingGovernorTest, RestsWhileTheFileExists) {
  const std::string file = MakeTempDir("governor-test") + "/pause";
  int rests = 0;
  // Scheduling on a busy machine may delay one try, not all.
  SteadyClock::duration best = std::chrono::hours(1);
  for (int attempt = 0; attempt < 10 && best > milliseconds(100); ++attempt) {
    ASSERT_TRUE(WriteFileAtomic(file, "").ok());
    PausingGovernor governor({.pause_file = file, .resting = [&] { ++rests; }});
    SteadyClock::time_point removed;
    std::thread owner([&] {
      std::this_thread::sleep_for(milliseconds(60));
      std::filesystem::remove(file);
      removed = SteadyClock::now();
    });
    EXPECT_TRUE(governor.AtPausePoint().ok());
    const SteadyClock::time_point went_on = SteadyClock::now();
    owner.join();
    best = std::min(best, went_on - removed);
    EXPECT_GE(governor.paused_time(), absl::Milliseconds(40));
    EXPECT_FALSE(FileExists(file)) << "went on while the file was there";
  }
  EXPECT_LE(best, milliseconds(100));
  EXPECT_GE(rests, 1);
}

TEST(PausingGovernorTest, AsksAtMostEveryTwentyMilliseconds) {
  int asked = 0;
  PausingGovernor governor({.paused = [&] {
    ++asked;
    return false;
  }});
  const SteadyClock::time_point begin = SteadyClock::now();
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(governor.AtPausePoint().ok());
  const auto took = std::chrono::duration_cast<milliseconds>(SteadyClock::now() - begin).count();
  EXPECT_GE(asked, 1);
  EXPECT_LE(asked, 1 + took / 20);
  EXPECT_EQ(governor.paused_time(), absl::ZeroDuration());
}

TEST(PausingGovernorTest, AStopEndsARest) {
  std::atomic<bool> stop = false;
  PausingGovernor governor(
      {.paused = [&] { return stop = true; }, .stopped = [&] { return stop.load(); }});
  EXPECT_EQ(governor.AtPausePoint().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(governor.AtPausePoint().code(), absl::StatusCode::kCancelled);
}

// What the kernel shows of a machine with two packages, one of them with parts.
class RaplTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Zone("intel-rapl:0", "package-0", "1000000");
    Zone("intel-rapl:0:0", "core", "500000");
    Zone("intel-rapl:0:1", "dram", "9000000");
    Zone("intel-rapl:1", "package-1", "0");
    Zone("intel-rapl:2", "psys", "0");
    ASSERT_TRUE(MakeDirs(root_ + "/intel-rapl").ok());
  }
  void Write(const std::string& zone, const std::string& file, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomic(root_ + "/" + zone + "/" + file, text + "\n").ok());
  }
  void Zone(const std::string& zone, const std::string& name, const std::string& energy) {
    ASSERT_TRUE(MakeDirs(root_ + "/" + zone).ok());
    Write(zone, "name", name);
    Write(zone, "max_energy_range_uj", "10000000");
    Write(zone, "energy_uj", energy);
  }

  const std::string root_ = MakeTempDir("rapl-test");
};

TEST_F(RaplTest, AddsPackagesAndMemoryAcrossWrapArounds) {
  const auto meter = MakeEnergyMeter({.powercap = root_});
  EXPECT_EQ(meter->source(), "rapl");
  EXPECT_EQ(meter->Joules(), 0);
  Write("intel-rapl:0", "energy_uj", "3000000");
  Write("intel-rapl:0:0", "energy_uj", "2000000");  // in its package's count already
  Write("intel-rapl:2", "energy_uj", "7000000");    // holds the packages
  EXPECT_DOUBLE_EQ(meter->Joules(), 2);
  Write("intel-rapl:0:1", "energy_uj", "500000");  // 9 J to 10 J, then from 0 to 0.5 J
  Write("intel-rapl:1", "energy_uj", "250000");
  EXPECT_DOUBLE_EQ(meter->Joules(), 2 + 1.5 + 0.25);
  EXPECT_DOUBLE_EQ(meter->Joules(), 3.75);
}

TEST_F(RaplTest, WithoutReadableCountersAModelOfProcessorTimeStandsIn) {
  std::filesystem::remove_all(root_);
  const auto meter = MakeEnergyMeter({.powercap = root_, .watts_per_core = 7});
  const auto half = MakeEnergyMeter({.powercap = root_, .watts_per_core = 3.5});
  EXPECT_EQ(meter->source(), "model");
  volatile double sink = 0;
  while (meter->Joules() < 0.2) sink = sink + 1;
  EXPECT_NEAR(half->Joules() / meter->Joules(), 0.5, 0.1);
}

TEST(MemoryMeterTest, SeesWhatIsHeldAndRemembersThePeak) {
  constexpr int64_t kBytes = int64_t{64} << 20;
  MemoryMeter meter;
  const int64_t before = meter.Now();
  ASSERT_GT(before, 0);
  {
    Arena arena;  // a mapping: sanitizers hold on to what the heap gets back
    ASSERT_TRUE(arena.Reserve(kBytes).ok());
    std::memset(arena.TakeBytes(kBytes), 1, kBytes);
    EXPECT_NEAR(static_cast<double>(meter.Now() - before), kBytes, 0.1 * kBytes);
  }
  ReturnFreeMemory();
  EXPECT_LT(meter.Now(), before + kBytes / 2);
  EXPECT_GT(meter.peak(), before + kBytes / 2);
}

}  // namespace
}  // namespace lorikeet
