// What select and personalize do with text, catalogs and places that are no good: an exit code, one
// line that says what was expected and what came, and nothing lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/time/clock.h"
#include "common/adapter/catalog_signature.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/crypto/public_key_file.h"
#include "tests/support/command.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Lorikeet() { return LORIKEET_BIN_DIR "/lorikeet "; }

// Entries of one voice, all different.
std::string Letters(int count) {
  const char* who[] = {"the vicar", "Mrs. Larch", "my cousin", "the baker", "old Thomas"};
  const char* what[] = {"asked after the garden; it does well", "came to tea, and stayed",
                        "wrote of the rain in the hills",       "has lost his umbrella again",
                        "sang rather loudly, I thought",        "would not hear of the new road",
                        "sends you her kindest regards"};
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += "On the " + std::to_string(i + 1) + "th " + std::string(who[i % 5]) + " " +
            what[i % 7] + ". I remain, as ever, yours.\n\n";
  }
  return text;
}

std::string Chat(int count) {
  const char* what[] = {"lol no way", "ok brb", "u coming or not?", "haha same",
                        "omg the bus again"};
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += std::string(what[i % 5]) + " " + std::to_string(i) + " " + what[(i / 5) % 5] + "\n\n";
  }
  return text;
}

constexpr char kGerman[] =
    "Gestern bin ich mit dem Zug nach Hamburg gefahren, und es hat den ganzen Tag geregnet. Meine "
    "Schwester wartete am Bahnhof mit einem großen Regenschirm.\n\nIch habe heute früh den Ofen "
    "repariert. Es dauerte drei Stunden, weil mir eine Schraube fehlte und der Laden geschlossen "
    "war. Am Ende half mir der Nachbar, der immer alles im Keller hat.\n\nIm Herbst fahren wir "
    "wieder in die Berge. Mein Vater möchte unbedingt den alten Weg gehen, obwohl sein Knie ihm "
    "Sorgen macht.\n\nDie Kinder haben gestern den ganzen Abend gesungen und wollten nicht "
    "schlafen "
    "gehen.\n\nNächste Woche beginnt die Schule, und ich muss noch Hefte kaufen.\n";

// One model, one catalog of two personas and one adapter in use, made once.
class PersonalizeBadInput : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new std::string(MakeTempDir("personalize-bad-input"));
    model_ = new std::string(WriteTinyModel());
    Write("letters.txt", Letters(40));
    Write("chat.txt", Chat(40));
    Write("public.txt", Letters(10) + Chat(10));
    Run("persona init --threads 1 --rank 2 --random-basis --model " + *model_ + " --data " +
        Path("public.txt") + " --out " + Path("catalog.gguf"));
    for (const char* id : {"letters", "chat"}) {
      Run("persona train --threads 1 --epochs 2 --model " + *model_ + " --catalog " +
          Path("catalog.gguf") + " --id " + id + " --data " + Path(std::string(id) + ".txt"));
    }
    const CommandOutcome made = Personalize("--data " + Path("letters.txt"));
    ASSERT_EQ(made.code, 0) << made.err;
    ASSERT_TRUE(FileExists(Path("me.gguf"))) << made.out;
    adapter_ = new std::string(ReadFile(Path("me.gguf")).value());
  }

  static std::string Path(const std::string& name) { return *dir_ + "/" + name; }
  static void Write(const std::string& name, std::string_view content) {
    ASSERT_TRUE(WriteFileAtomic(Path(name), content).ok());
  }
  static CommandOutcome Run(const std::string& arguments) {
    return RunCommand(Lorikeet() + arguments);
  }
  static std::string Common(const std::string& rest) {
    return " --threads 1 --model " + *model_ +
           (rest.find("--catalog ") == std::string::npos ? " --catalog " + Path("catalog.gguf")
                                                         : "") +
           " " + rest;
  }
  static CommandOutcome Select(const std::string& rest) { return Run("select" + Common(rest)); }
  static CommandOutcome Personalize(const std::string& rest) {
    return Run("personalize --epochs 1" + Common(rest) +
               (rest.find("--out ") == std::string::npos ? " --out " + Path("me.gguf") : ""));
  }

  // Both commands refuse with one line, and the adapter in use is what it was.
  static void ExpectRefused(const std::string& rest,
                            const ::testing::Matcher<const std::string&>& says) {
    for (const CommandOutcome& outcome : {Select(rest), Personalize(rest)}) {
      EXPECT_EQ(outcome.code, 1) << outcome.out;
      EXPECT_THAT(outcome.err, says);
      EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
      EXPECT_EQ(outcome.out, "");
    }
    EXPECT_EQ(ReadFile(Path("me.gguf")).value(), *adapter_);
  }
  static void ExpectTextRefused(std::string_view text,
                                const ::testing::Matcher<const std::string&>& says) {
    Write("bad.txt", text);
    ExpectRefused("--data " + Path("bad.txt"), says);
  }

  static std::string* dir_;
  static std::string* model_;
  static std::string* adapter_;
};
std::string* PersonalizeBadInput::dir_ = nullptr;
std::string* PersonalizeBadInput::model_ = nullptr;
std::string* PersonalizeBadInput::adapter_ = nullptr;

TEST_F(PersonalizeBadInput, NoText) {
  ExpectTextRefused("", HasSubstr("expected text, got none (0 bytes)"));
  ExpectTextRefused(" \n\n\t\n", HasSubstr("expected text, found none"));
  ExpectRefused("--data " + Path("nowhere.txt"), HasSubstr("nowhere.txt"));
}

TEST_F(PersonalizeBadInput, OneSentence) {
  ExpectTextRefused("I like rain.\n",
                    AllOf(HasSubstr("expected at least 64 tokens"), HasSubstr("found ")));
}

TEST_F(PersonalizeBadInput, BinaryJunk) {
  std::string junk(20000, '\0');
  ExpectTextRefused(junk, AnyOf(HasSubstr("control characters"), HasSubstr("NUL")));
  SeededRandom random("junk", 1);
  random.Fill({reinterpret_cast<uint8_t*>(junk.data()), junk.size()});
  ExpectTextRefused(junk, HasSubstr("expected UTF-8"));
  for (char& c : junk) c = static_cast<char>(c & 0x7f);
  ExpectTextRefused(junk, HasSubstr("control characters"));
}

TEST_F(PersonalizeBadInput, TenMegabytesOfOneLine) {
  std::string text;
  while (text.size() < 10'000'000) {
    text += "the printer on the third floor is jammed again, please help\n";
  }
  const absl::Time begin = absl::Now();
  ExpectTextRefused(text, AllOf(HasSubstr("too little text"), HasSubstr("left out 1666")));
  std::ranges::replace(text, '\n', ' ');
  ExpectTextRefused(text, HasSubstr("only repeats itself"));
  // Four runs.  Learning it would take hours; with a sanitizer and a busy machine this is seconds.
  EXPECT_LT(absl::Now() - begin, absl::Minutes(2));
}

TEST_F(PersonalizeBadInput, CopiesBesideTextAreLeftOutWithANotice) {
  std::string text = Letters(40);
  for (int i = 0; i < 20000; ++i) text += "Sent from my telephone, please excuse my thumbs.\n\n";
  Write("copies.txt", text);
  const CommandOutcome outcome = Select("--data " + Path("copies.txt"));
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("left out 19999 copies"));
}

TEST_F(PersonalizeBadInput, AnotherLanguageThanAnyPersona) {
  Write("german.txt", kGerman);
  const CommandOutcome outcome = Select("--json --data " + Path("german.txt"));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json document = json::parse(outcome.out);
  EXPECT_EQ(document["chosen"], "base");
  // Its words are not those of the English lists: no claim about articles or pronouns may be made.
  const std::string reason = document["reason"];
  EXPECT_THAT(reason, AllOf(HasSubstr("You write"), HasSubstr("you start from the plain model")));
  EXPECT_THAT(reason, AllOf(Not(HasSubstr("article")), Not(HasSubstr("lower-case"))));
}

TEST_F(PersonalizeBadInput, CatalogOfAnotherBaseOrTruncated) {
  const std::string text = "--data " + Path("letters.txt") + " --catalog ";
  const std::string bytes = ReadFile(Path("catalog.gguf")).value();
  Write("cut.gguf", bytes.substr(0, bytes.size() / 2));
  ExpectRefused(text + Path("cut.gguf"), AllOf(HasSubstr("cut.gguf"), HasSubstr("truncated")));
  const std::string other = WriteTinyModel({.seed = 2});
  ASSERT_EQ(Run("persona init --threads 1 --rank 2 --random-basis --model " + other + " --data " +
                Path("public.txt") + " --out " + Path("other.gguf"))
                .code,
            0);
  ExpectRefused(text + Path("other.gguf"), HasSubstr("base"));
  ExpectRefused(text + *model_, HasSubstr("expected general.type catalog"));
}

TEST_F(PersonalizeBadInput, CatalogThatTheKeyHasNotSigned) {
  SystemRandom random;
  const SigningKey key = SigningKey::Generate(&random), other = SigningKey::Generate(&random);
  ASSERT_TRUE(WritePublicKey(key.public_key(), Path("key.pub")).ok());
  const std::string bytes = ReadFile(Path("catalog.gguf")).value();
  const absl::Time now = absl::Now();
  const auto try_catalog = [&](const std::string& content,
                               const ::testing::Matcher<const std::string&>& says) {
    Write("signed.gguf", content);
    ExpectRefused("--data " + Path("letters.txt") + " --catalog " + Path("signed.gguf") +
                      " --catalog-key " + Path("key.pub"),
                  says);
    const CommandOutcome list =
        Run("persona list --catalog " + Path("signed.gguf") + " --catalog-key " + Path("key.pub"));
    EXPECT_EQ(list.code, 1);
    EXPECT_THAT(list.err, says);
  };
  try_catalog(bytes, HasSubstr("found an unsigned catalog"));
  try_catalog(SignCatalog(bytes, other, now, now + absl::Hours(1)).value(),
              HasSubstr("expected a signature by the key"));
  try_catalog(SignCatalog(bytes, key, now - absl::Hours(2), now - absl::Hours(1)).value(),
              HasSubstr("expected one that is valid on"));
  std::string good = SignCatalog(bytes, key, now, now + absl::Hours(1)).value();
  Write("good.gguf", good);
  EXPECT_EQ(Select("--data " + Path("letters.txt") + " --catalog " + Path("good.gguf") +
                   " --catalog-key " + Path("key.pub"))
                .code,
            0);
  good[good.size() - 9] = static_cast<char>(good[good.size() - 9] ^ 1);
  try_catalog(good, HasSubstr("altered"));
  Write("key.pub", "not a key\n");
  ExpectRefused("--data " + Path("letters.txt") + " --catalog-key " + Path("key.pub"),
                HasSubstr("expected a public key of 64 hex digits"));
}

TEST_F(PersonalizeBadInput, KeysAndInstallationByCommand) {
  ASSERT_EQ(Run("persona keygen --out " + Path("maker.key")).code, 0);
  EXPECT_EQ(std::filesystem::status(Path("maker.key")).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_EQ(Run("persona keygen --out " + Path("maker.key")).code, 1);  // is not overwritten
  Write("current.gguf", ReadFile(Path("catalog.gguf")).value());
  const std::string before = ReadFile(Path("current.gguf")).value();
  const std::string install = "persona install " + Path("next.gguf") + " --to " +
                              Path("current.gguf") + " --catalog-key " + Path("maker.key.pub");
  Write("next.gguf", before);
  const CommandOutcome refused = Run(install);
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("stays as it was"), HasSubstr("unsigned")));
  EXPECT_EQ(ReadFile(Path("current.gguf")).value(), before);
  ASSERT_EQ(Run("persona sign --days 30 --catalog " + Path("catalog.gguf") + " --key " +
                Path("maker.key") + " --out " + Path("next.gguf"))
                .code,
            0);
  const CommandOutcome installed = Run(install + " --json");
  EXPECT_EQ(installed.code, 0) << installed.err;
  EXPECT_EQ(json::parse(installed.out)["installed"], true);
  EXPECT_EQ(ReadFile(Path("current.gguf")).value(), ReadFile(Path("next.gguf")).value());
  EXPECT_EQ(Run("persona verify --catalog " + Path("current.gguf") + " --catalog-key " +
                Path("maker.key.pub"))
                .code,
            0);
  // A changed catalog is another one: it has to be signed again.
  ASSERT_EQ(Run("persona train --threads 1 --steps 1 --model " + *model_ + " --catalog " +
                Path("current.gguf") + " --id chat --data " + Path("chat.txt"))
                .code,
            0);
  EXPECT_EQ(Run("persona verify --catalog " + Path("current.gguf") + " --catalog-key " +
                Path("maker.key.pub"))
                .code,
            1);
}

TEST_F(PersonalizeBadInput, APlaceThatCannotBeWrittenIsFoundBeforeTheWork) {
  for (const std::string& out : {Path("no/such/folder/me.gguf"), *dir_}) {
    const CommandOutcome outcome =
        Personalize("--progress --data " + Path("letters.txt") + " --out " + out);
    EXPECT_EQ(outcome.code, 1) << outcome.out;
    EXPECT_THAT(outcome.err, Not(HasSubstr("selecting")));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  }
  const CommandOutcome report = Personalize("--progress --data " + Path("letters.txt") +
                                            " --report " + Path("no/such/folder/page.html"));
  EXPECT_EQ(report.code, 1);
  EXPECT_THAT(report.err, Not(HasSubstr("selecting")));
  EXPECT_EQ(Personalize("--prompt Hello --data " + Path("letters.txt")).code, 2);
  EXPECT_EQ(ReadFile(Path("me.gguf")).value(), *adapter_);
}

TEST_F(PersonalizeBadInput, AnAdapterInUseThatIsNone) {
  Write("junk.gguf", "not an adapter at all");
  const CommandOutcome outcome =
      Personalize("--data " + Path("letters.txt") + " --out " + Path("junk.gguf"));
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("junk.gguf"));
  EXPECT_EQ(ReadFile(Path("junk.gguf")).value(), "not an adapter at all");
}

TEST_F(PersonalizeBadInput, TheReportIsForTheOwnerAlone) {
  const CommandOutcome outcome =
      Personalize("--data " + Path("letters.txt") + " --out " + Path("mine.gguf") + " --report " +
                  Path("page.html") + " --prompt \"On the first <day>\" --prompt Yesterday");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(std::filesystem::status(Path("page.html")).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  const std::string page = ReadFile(Path("page.html")).value();
  EXPECT_THAT(page, AllOf(HasSubstr("words of yours"), HasSubstr("What leaves this device"),
                          HasSubstr("On the first &lt;day&gt;"), HasSubstr("Yesterday"),
                          HasSubstr("personalize --rollback --out"), Not(HasSubstr("<script")),
                          Not(HasSubstr("http"))));
}

}  // namespace
}  // namespace lorikeet
