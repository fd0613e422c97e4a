#include "simulations/scenarios/fleet_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/status/status.h"
#include "common/base/file.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;

TEST(FleetDataTest, ReadsAFolderOfPeople) {
  const std::string dir = MakeTempDir("people");
  ASSERT_TRUE(WriteFileAtomic(dir + "/b.txt", "one\n\ntwo\nlines\n").ok());
  ASSERT_TRUE(WriteFileAtomic(dir + "/a.txt", "alone").ok());
  const auto people = ReadPeople(dir);
  ASSERT_TRUE(people.ok()) << people.status();
  ASSERT_EQ(people->size(), 2u);
  EXPECT_EQ((*people)[0].name, "a");
  EXPECT_THAT((*people)[1].entries, ElementsAre("one", "two\nlines\n"));
}

TEST(FleetDataTest, ReadsTrainLinesOfSamples) {
  const std::string path = MakeTempDir("samples") + "/samples.jsonl";
  ASSERT_TRUE(WriteFileAtomic(path,
                              "{\"user\":\"u\",\"split\":\"train\",\"text\":\"x\"}\n"
                              "{\"user\":\"v\",\"text\":\"y\"}\n"
                              "{\"user\":\"u\",\"split\":\"test\",\"text\":\"hidden\"}\n"
                              "{\"user\":\"u\",\"split\":\"train\",\"text\":\"z\"}\n")
                  .ok());
  const auto people = ReadPeople(path);
  ASSERT_TRUE(people.ok()) << people.status();
  ASSERT_EQ(people->size(), 2u);
  EXPECT_THAT((*people)[0].entries, ElementsAre("x", "z"));
}

TEST(FleetDataTest, NamesTheBadLine) {
  const std::string path = MakeTempDir("samples") + "/samples.jsonl";
  ASSERT_TRUE(WriteFileAtomic(path, "{\"user\":\"u\",\"text\":\"x\"}\n{\"user\":1}\n").ok());
  const absl::Status status = ReadPeople(path).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("line 2"));
  EXPECT_TRUE(absl::IsNotFound(ReadPeople(MakeTempDir("none")).status()));
}

TEST(FleetDataTest, DevicesOfOnePersonHoldDifferentParts) {
  Person person{.name = "p", .entries = {}};
  for (int i = 0; i < 40; ++i) person.entries.push_back(std::to_string(i));
  const std::vector<Person> people = {person};
  const auto first = TextOfDevice(people, 0, 10, 1, 0);
  EXPECT_EQ(first, TextOfDevice(people, 0, 10, 1, 0));
  EXPECT_NE(first, TextOfDevice(people, 1, 10, 1, 0));
  EXPECT_NE(first, TextOfDevice(people, 0, 10, 2, 0));
  EXPECT_EQ(TextOfDevice(people, 0, 1, 1, 0), person.entries);  // enough people: all of it
  EXPECT_LE(TextOfDevice(people, 0, 1, 1, 7).size(), 7u);
}

}  // namespace
}  // namespace lorikeet
