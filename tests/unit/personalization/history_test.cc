#include "device/personalization/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "common/adapter/gguf_io.h"
#include "common/base/file.h"
#include "common/base/strings.h"
#include "device/personalization/history_json.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A personal adapter that is `value` everywhere.
PersonalAdapter AdapterOf(float value, int size = 8) {
  Adapter residual;
  residual.info.architecture = "llama";
  residual.info.name = "personal";
  residual.info.alpha = 2;
  residual.info.persona_id = "formal";
  residual.info.base_fingerprint = std::string(64, 'a');
  AdapterMatrix matrix;
  matrix.rank = 2;
  matrix.in_features = matrix.out_features = size;
  matrix.a.assign(2 * static_cast<size_t>(size), value);
  matrix.b.assign(2 * static_cast<size_t>(size), value);
  residual.matrices.push_back(std::move(matrix));
  return PersonalAdapter::Merge(Adapter{}, residual);
}

float ValueOf(const PersonalAdapter& adapter) { return adapter.adapter().matrices[0].a[0]; }

HistoryEntry EntryWith(std::vector<int64_t> records) {
  HistoryEntry entry;
  entry.kind = history_kind::kPersonalized;
  entry.outcome = "kept";
  entry.verdict = "kept: it is better";
  entry.persona = "formal";
  entry.base_fingerprint = std::string(64, 'a');
  entry.vault_dir = "/somewhere/vault";
  entry.records = std::move(records);
  entry.residual_rank = 2;
  entry.losses.base = 4.5;
  entry.losses.tokens = 100;
  return entry;
}

class HistoryTest : public ::testing::Test {
 protected:
  History Open() {
    absl::StatusOr<History> history = History::Open(out_, &clock_);
    EXPECT_TRUE(history.ok()) << history.status();
    return *std::move(history);
  }
  void Append(float value, std::vector<int64_t> records = {}) {
    clock_.Advance(absl::Hours(1));
    ASSERT_TRUE(Open().Append(EntryWith(std::move(records)), AdapterOf(value)).ok());
  }
  float OutValue() const { return ValueOf(PersonalAdapter::Load(out_).value()); }
  std::string Kept(const std::string& name) const { return out_ + ".history/" + name; }
  std::vector<std::string> Versions() const {
    std::vector<std::string> names;
    for (const auto& file : fs::directory_iterator(out_ + ".history")) {
      if (file.path().extension() == ".gguf") names.push_back(file.path().filename().string());
    }
    std::ranges::sort(names);
    return names;
  }

  ManualClock clock_{absl::FromUnixSeconds(1'700'000'000)};
  const std::string dir_ = MakeTempDir("history");
  const std::string out_ = dir_ + "/a.gguf";
};

TEST_F(HistoryTest, RemembersWhatWasAppended) {
  EXPECT_FALSE(History::Exists(out_));
  EXPECT_EQ(Open().Current(), nullptr);
  EXPECT_FALSE(History::Exists(out_));
  Append(1, {1, 2, 3, 7});
  EXPECT_TRUE(History::Exists(out_));
  const History history = Open();
  ASSERT_EQ(history.entries().size(), 1u);
  const HistoryEntry& entry = *history.Current();
  EXPECT_EQ(entry.number, 1);
  EXPECT_EQ(entry.in_use, 1);
  EXPECT_EQ(entry.before, 0);
  EXPECT_EQ(entry.time, absl::FromUnixSeconds(1'700'003'600));
  EXPECT_THAT(entry.records, ElementsAre(1, 2, 3, 7));
  EXPECT_EQ(entry.verdict, "kept: it is better");
  EXPECT_EQ(entry.losses.base, 4.5);
  EXPECT_EQ(entry.losses.persona, std::nullopt);
  EXPECT_EQ(ValueOf(history.Load(entry).value()), 1);
  EXPECT_EQ(OutValue(), 1);
  EXPECT_EQ(History::Read(out_)->size(), 1u);
}

TEST_F(HistoryTest, EverythingIsTheOwnersOnly) {
  Append(1);
  for (const std::string& path : {out_, Kept("history.json"), Kept("001.gguf"), Kept("lock")}) {
    EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_read | fs::perms::owner_write)
        << path;
  }
  EXPECT_EQ(fs::status(out_ + ".history").permissions(), fs::perms::owner_all);
}

TEST_F(HistoryTest, AVerdictThatKeepsNothingLeavesWhatServes) {
  Append(1);
  HistoryEntry entry = EntryWith({});
  entry.outcome = "rolled back";
  ASSERT_TRUE(Open().Append(entry, std::nullopt).ok());
  EXPECT_EQ(OutValue(), 1);
  const History history = Open();
  EXPECT_EQ(history.entries().back().number, 2);
  EXPECT_EQ(history.entries().back().adapter_file, "");
  EXPECT_EQ(history.Current()->number, 1);
}

TEST_F(HistoryTest, RollsBackAndForward) {
  EXPECT_EQ(Open().RollBack().code(), absl::StatusCode::kFailedPrecondition);
  Append(1);
  Append(2);
  ASSERT_TRUE(Open().RollBack().ok());
  EXPECT_EQ(OutValue(), 1);
  EXPECT_THAT(Open().entries().back().verdict, HasSubstr("from version 2 to version 1"));
  ASSERT_TRUE(Open().RollBack().ok());
  EXPECT_EQ(OutValue(), 2);
  ASSERT_TRUE(Open().RollBack(1).ok());
  EXPECT_EQ(OutValue(), 1);
  EXPECT_THAT(Message(Open().RollBack(1)), HasSubstr("in use already"));
  EXPECT_THAT(Message(Open().RollBack(77)), HasSubstr("version 77 is not kept"));
  EXPECT_EQ(Open().Current()->number, 1);
}

TEST_F(HistoryTest, BeforeTheFirstVersionThereIsTheBareBase) {
  Append(1);
  ASSERT_TRUE(Open().RollBack().ok());
  EXPECT_FALSE(FileExists(out_));
  EXPECT_EQ(Open().Current(), nullptr);
  EXPECT_EQ(Open().entries().size(), 2u);  // and Open is not astonished
  ASSERT_TRUE(Open().RollBack().ok());
  EXPECT_EQ(OutValue(), 1);
}

TEST_F(HistoryTest, KeepsTheNewestVersions) {
  for (int i = 1; i <= 8; ++i) Append(static_cast<float>(i));
  EXPECT_THAT(Versions(), ElementsAre("004.gguf", "005.gguf", "006.gguf", "007.gguf", "008.gguf"));
  EXPECT_EQ(Open().entries().size(), 8u);
  EXPECT_EQ(Open().RollBack(2).code(), absl::StatusCode::kFailedPrecondition);
  // What serves stays however old it is.
  ASSERT_TRUE(Open().RollBack(4).ok());
  HistoryEntry judged = EntryWith({});
  ASSERT_TRUE(Open().Append(judged, std::nullopt).ok());
  EXPECT_EQ(OutValue(), 4);
  Append(11);
  EXPECT_THAT(Versions(), ElementsAre("004.gguf", "006.gguf", "007.gguf", "008.gguf", "011.gguf"));
  ASSERT_TRUE(Open().RollBack().ok());
  EXPECT_EQ(OutValue(), 4);
}

TEST_F(HistoryTest, TheNumberOfEntriesIsLimited) {
  Append(1);
  // A long life, written at once.
  HistoryFile file = ParseHistory(ReadFile(Kept("history.json")).value()).value();
  HistoryEntry entry = file.entries[0];
  entry.before = 1;
  entry.adapter_file.clear();
  while (static_cast<int>(file.entries.size()) < History::kKeptEntries) {
    ++entry.number;
    file.entries.push_back(entry);
  }
  ASSERT_TRUE(WriteFileAtomic(Kept("history.json"), SerializeHistory(file), 0600).ok());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Open().Append(EntryWith({}), std::nullopt).ok());
  const History history = Open();
  EXPECT_EQ(static_cast<int>(history.entries().size()), History::kKeptEntries);
  EXPECT_EQ(history.entries().back().number, History::kKeptEntries + 3);
  EXPECT_EQ(history.Current()->number, 1);  // what serves stays
  EXPECT_EQ(history.entries()[1].number, 5);
}

TEST_F(HistoryTest, TakesInAnAdapterThatSomethingElseMade) {
  ASSERT_TRUE(AdapterOf(5).Save(out_).ok());
  EXPECT_EQ(Open().Current()->kind, history_kind::kFound);
  Append(6);
  ASSERT_TRUE(Open().RollBack().ok());
  EXPECT_EQ(OutValue(), 5);
  // Replaced by hand: that is what serves now.
  ASSERT_TRUE(AdapterOf(7).Save(out_).ok());
  {
    const History history = Open();
    EXPECT_EQ(ValueOf(history.Load(*history.Current()).value()), 7);
  }
  fs::remove(out_);
  EXPECT_EQ(Open().Current(), nullptr);
  EXPECT_EQ(Open().entries().back().kind, history_kind::kRemoved);
  ASSERT_TRUE(Open().RollBack().ok());
  EXPECT_EQ(OutValue(), 7);
}

TEST_F(HistoryTest, PurgesWhatForgottenRecordsShaped) {
  Append(1, {1, 2});
  Append(2, {1, 2, 3});
  Append(3, {2, 9});
  Append(4, {4, 9});
  auto purged = Open().PurgeRecords({2});
  ASSERT_TRUE(purged.ok()) << purged.status();
  EXPECT_THAT(purged->versions, ElementsAre(1, 2, 3));
  EXPECT_FALSE(purged->was_in_use);
  EXPECT_THAT(Versions(), ElementsAre("004.gguf"));
  EXPECT_EQ(OutValue(), 4);
  EXPECT_EQ(Open().RollBack().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Open().PurgeRecords({2})->versions, IsEmpty());
  // The one that serves: nothing of it is left.
  purged = Open().PurgeRecords({9});
  EXPECT_THAT(purged->versions, ElementsAre(4));
  EXPECT_TRUE(purged->was_in_use);
  EXPECT_FALSE(FileExists(out_));
  EXPECT_THAT(Versions(), IsEmpty());
  EXPECT_EQ(Open().entries().back().kind, history_kind::kForgotten);
}

TEST_F(HistoryTest, WhatNobodyKnowsOfIsPurgedToo) {
  ASSERT_TRUE(AdapterOf(5).Save(out_).ok());
  Append(6, {4});
  EXPECT_THAT(Open().PurgeRecords({1})->versions, ElementsAre(1));
}

TEST_F(HistoryTest, OneAtATime) {
  const History first = Open();
  const auto second = History::Open(out_, &clock_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(History::Read(out_).ok());  // looking is free
}

TEST_F(HistoryTest, ADirectoryIsNoAdapter) {
  fs::create_directory(out_);
  EXPECT_EQ(History::Open(out_, &clock_).status().code(), absl::StatusCode::kInvalidArgument);
  fs::remove(out_);
  ASSERT_TRUE(WriteFileAtomic(out_, "no adapter").ok());
  EXPECT_EQ(History::Open(out_, &clock_).status().code(), absl::StatusCode::kInvalidArgument);
}

// ---- killed at every step ----------------------------------------------------------------------

TEST_F(HistoryTest, KilledBeforeTheEntryNothingHasHappened) {
  Append(1);
  ASSERT_TRUE(AdapterOf(2).Save(Kept("002.gguf")).ok());
  ASSERT_TRUE(WriteFileAtomic(Kept("history.json.tmp.123"), "{\"form").ok());
  ASSERT_TRUE(WriteFileAtomic(out_ + ".tmp.123", "GGU").ok());
  EXPECT_EQ(Open().entries().size(), 1u);
  EXPECT_EQ(OutValue(), 1);
  EXPECT_THAT(Versions(), ElementsAre("001.gguf"));
  EXPECT_FALSE(FileExists(Kept("history.json.tmp.123")));
  EXPECT_FALSE(FileExists(out_ + ".tmp.123"));
}

TEST_F(HistoryTest, KilledAfterTheEntryTheNextOpenFinishes) {
  Append(1);
  const std::string old_out = ReadFile(out_).value();
  Append(2);
  HistoryFile file = ParseHistory(ReadFile(Kept("history.json")).value()).value();
  EXPECT_TRUE(file.settled);
  file.settled = false;
  for (const bool file_is_written : {false, true}) {
    ASSERT_TRUE(WriteFileAtomic(Kept("history.json"), SerializeHistory(file), 0600).ok());
    if (!file_is_written) {
      ASSERT_TRUE(WriteFileAtomic(out_, old_out, 0600).ok());
    }
    EXPECT_EQ(Open().Current()->number, 2);
    EXPECT_EQ(OutValue(), 2);
    EXPECT_TRUE(ParseHistory(ReadFile(Kept("history.json")).value())->settled);
  }
}

// Rolls back to the base and forward, and appends, until the parent kills it.
[[noreturn]] void WorkForever(const std::string& out) {
  const SystemClock clock;
  for (int i = 1;; ++i) {
    absl::StatusOr<History> history = History::Open(out, &clock);
    if (!history.ok()) _exit(1);
    const float value = static_cast<float>(history->entries().size() + 1);
    if (!history->Append(EntryWith({i}), AdapterOf(value, 64)).ok()) _exit(2);
    if (i % 3 == 0 && !history->RollBack(0).ok()) _exit(3);
  }
}

TEST_F(HistoryTest, SurvivesBeingKilledAnywhere) {
  size_t entries = 0;
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) WorkForever(out_);
    // Once it has begun, however slow the machine is; then at another moment each time.
    for (int wait = 0; wait < 20000 && History::Read(out_)->size() <= entries; ++wait) usleep(500);
    usleep(static_cast<useconds_t>(730 * round));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child stopped by itself: " << WEXITSTATUS(status);
    // A whole version or none, whatever the moment was, before anything is repaired.
    if (FileExists(out_)) {
      ASSERT_TRUE(PersonalAdapter::Load(out_).ok()) << round;
    }
    const History history = Open();
    const HistoryEntry* current = history.Current();
    ASSERT_EQ(current != nullptr, FileExists(out_)) << round;
    if (current != nullptr) {
      ASSERT_EQ(ValueOf(history.Load(*current).value()), OutValue()) << round;
    }
    ASSERT_GT(history.entries().size(), entries);
    entries = history.entries().size();
    for (const HistoryEntry& entry : history.entries()) {
      ASSERT_EQ(entry.kind == history_kind::kFound || entry.kind == history_kind::kRemoved, false)
          << round;
    }
  }
}

// ---- the file ----------------------------------------------------------------------------------

std::string WithReplaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST_F(HistoryTest, DamageIsNamed) {
  Append(1, {1, 2, 3});
  const std::string good = ReadFile(Kept("history.json")).value();
  const std::vector<std::array<std::string, 3>> damages = {
      {"\"number\": 1", "\"number\": 0", "entries[0].number: expected an integer of 1"},
      {"\"number\": 1", "\"number\": \"1\"", "entries[0].number: expected an integer, got \"1\""},
      {"\"number\": 1,", "", "entries[0]: the key \"number\" is missing"},
      {"\"kind\": ", "\"kin\": ", "\"kind\" is missing"},
      {"\"persona\": \"formal\"", "\"persona\": \"formal\", \"x\": 1", "unknown key \"x\""},
      {"\"001.gguf\"", "\"../b.gguf\"", "adapter_file: expected 001.gguf, got"},
      {"\"version\": 1", "\"version\": 2", "expected version 1, got 2"},
      {"lorikeet-history", "something", "format: expected lorikeet-history"},
      {"\"settled\": true", "\"settled\": 1", "settled: expected true or false, got 1"},
      {"\"base\": 4.5", "\"base\": \"low\"", "losses.base: expected a number"},
      {"2023-11-14T23:13:20+00:00", "yesterday", "time: expected a time such as"},
  };
  for (const auto& [from, to, expected] : damages) {
    ASSERT_TRUE(WriteFileAtomic(Kept("history.json"), WithReplaced(good, from, to)).ok());
    const absl::Status status = History::Open(out_, &clock_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << to;
    EXPECT_THAT(Message(status), HasSubstr(expected));
    EXPECT_THAT(Message(status), HasSubstr("history.json"));
    EXPECT_EQ(OutValue(), 1);
  }
  for (size_t length = 0; length + 2 < good.size(); length += 7) {
    EXPECT_FALSE(ParseHistory(std::string_view(good).substr(0, length)).ok()) << length;
  }
  for (const std::string ranges : {"[3,1]", "[1,99999999999]", "[1]", "1", "[1,2],[2,3]"}) {
    HistoryFile file = ParseHistory(good).value();
    file.entries[0].records = {5};
    std::string text = nlohmann::json::parse(SerializeHistory(file)).dump();
    EXPECT_FALSE(ParseHistory(WithReplaced(text, "[[5,5]]", "[" + ranges + "]")).ok()) << ranges;
  }
}

TEST_F(HistoryTest, ADamagedVersionIsNotPutIntoUse) {
  Append(1);
  Append(2);
  ASSERT_TRUE(AdapterOf(3).Save(Kept("001.gguf")).ok());
  EXPECT_EQ(Open().RollBack().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(OutValue(), 2);
}

}  // namespace
}  // namespace lorikeet
