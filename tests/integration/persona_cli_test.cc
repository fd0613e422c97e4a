// Catalogs and cards as a shell sees them: axes built in, of one's own, broken or left out; what
// list and card show.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "common/adapter/catalog.h"
#include "common/base/file.h"
#include "tests/support/command.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kAxes[] = R"(version = 1

[[axis]]
word = "loud"
opposite = "quiet"
positive = ["ZAP! WOW! ZAP!", "OH WOW! WOW!"]
contrast = ["nine minus nine; one.", "one, nine, minus one."]
)";

class PersonaCli : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = MakeTempDir("persona-cli");
    model_ = WriteTinyModel();
    std::string plain, loud, quiet;
    for (int i = 0; i < 20; ++i) {
      plain += "The road runs past mill " + std::to_string(i) + ", and few go there now.\n\n";
      loud += "ZAP! WOW! ZAP ZAP! OH WOW! WOW!\n\n";
      quiet += "nine minus nine; one, nine, one; minus one.\n\n";
    }
    Write("plain.txt", plain);
    Write("loud.txt", loud);
    Write("quiet.txt", quiet);
    Write("axes.toml", kAxes);
    ASSERT_EQ(Init("catalog.gguf", "--axes " + Path("axes.toml")).code, 0);
    for (const char* id : {"loud", "quiet"}) {
      const CommandOutcome made = Train("catalog.gguf", id);
      ASSERT_EQ(made.code, 0) << made.err;
      EXPECT_THAT(made.out, HasSubstr("to the model: " + std::string(id)));
    }
  }

  static std::string Path(const std::string& name) { return dir_ + "/" + name; }
  static void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomic(Path(name), text).ok());
  }
  static CommandOutcome Run(const std::string& arguments) {
    return RunCommand(LORIKEET_BIN_DIR "/lorikeet " + arguments);
  }
  static CommandOutcome Init(const std::string& out, const std::string& arguments) {
    return Run("persona init --threads 1 --rank 2 --groups 2 --model " + model_ + " --data " +
               Path("plain.txt") + " --out " + Path(out) + " " + arguments);
  }
  static CommandOutcome Train(const std::string& catalog, const std::string& id) {
    return Run("persona train --threads 1 --steps 2 --model " + model_ + " --catalog " +
               Path(catalog) + " --id " + id + " --data " + Path(id + ".txt"));
  }
  static json Json(const std::string& arguments) {
    const CommandOutcome outcome = Run(arguments + " --json");
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return json::parse(outcome.out, nullptr, false);
  }

  static std::string dir_, model_;
};
std::string PersonaCli::dir_, PersonaCli::model_;

TEST_F(PersonaCli, ListIsATableOfPersonas) {
  const CommandOutcome outcome = Run("persona list --catalog " + Path("catalog.gguf"));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("2 personas"), HasSubstr("2 adjectives"), HasSubstr("KiB"),
                    ::testing::ContainsRegex("\n  loud +[0-9.]+ +loud [0-9.]+ +[a-z]"),
                    ::testing::ContainsRegex("\n  quiet +[0-9.]+ +quiet [0-9.]+ +[a-z]")));

  const json list = Json("persona list --catalog " + Path("catalog.gguf"));
  EXPECT_EQ(list["axes"], json({"loud", "quiet"}));
  const json& loud = list["personas"][0];
  EXPECT_EQ(loud["id"], "loud");
  EXPECT_GT(loud["explanation"]["loud"], 0.1);
  EXPECT_EQ(loud["explanation"]["quiet"], 0);
  EXPECT_LT(loud["explanation_residual"], 1);
  // What the file grew by for it, but for names and padding.
  const Catalog catalog = ReadCatalog(Path("catalog.gguf")).value();
  Catalog without = catalog;
  without.personas.erase(without.personas.begin());
  const auto grown = static_cast<double>(SerializeCatalog(catalog).size()) -
                     static_cast<double>(SerializeCatalog(without).size());
  EXPECT_NEAR(loud["bytes"].get<double>(), grown, 200);
}

TEST_F(PersonaCli, CardsOfPersonasAndOfText) {
  const std::string catalog = " --catalog " + Path("catalog.gguf");
  const CommandOutcome cards = Run("persona card" + catalog);
  ASSERT_EQ(cards.code, 0) << cards.err;
  EXPECT_THAT(cards.out,
              AllOf(HasSubstr("loud: "), HasSubstr("quiet: "), HasSubstr("(residual 0."),
                    HasSubstr("in 20 entries"), HasSubstr("traits "), HasSubstr("exclamation +")));

  Write("mine.txt", "OH WOW! ZAP ZAP! WOW!\n\nWOW! OH! ZAP!\n");
  const CommandOutcome unread = Run("persona card " + Path("mine.txt") + catalog);
  EXPECT_THAT(unread.out, AllOf(Not(HasSubstr("adjectives  ")), HasSubstr("With --model")));
  const CommandOutcome read =
      Run("persona card " + Path("mine.txt") + catalog + " --model " + model_);
  ASSERT_EQ(read.code, 0) << read.err;
  EXPECT_THAT(read.out, AllOf(HasSubstr("adjectives   loud "), HasSubstr("in 2 entries")));

  const json document = Json("persona card " + Path("mine.txt") + catalog + " --model " + model_);
  EXPECT_GT(document["explanation"]["loud"], 0.05);
  EXPECT_EQ(document["explanation"]["quiet"], 0);
  EXPECT_TRUE(document["form"]["exclamation"]["score"].is_number());
  EXPECT_TRUE(document["traits"].is_object());
  const json one = Json("persona card --id quiet" + catalog);
  ASSERT_EQ(one["cards"].size(), 1u);
  EXPECT_GT(one["cards"][0]["explanation"]["quiet"], 0.1);

  const CommandOutcome nobody = Run("persona card --id nobody" + catalog);
  EXPECT_EQ(nobody.code, 1);
  EXPECT_THAT(nobody.err, HasSubstr("no persona nobody"));
  const CommandOutcome other =
      Run("persona card " + Path("mine.txt") + catalog + " --model " + WriteTinyModel({.seed = 2}));
  EXPECT_EQ(other.code, 1);
  EXPECT_THAT(other.err, HasSubstr("expected the catalog's base"));
}

TEST_F(PersonaCli, AxesAreBuiltInOrLeftOut) {
  const CommandOutcome built_in = Init("built_in.gguf", "");
  ASSERT_EQ(built_in.code, 0) << built_in.err;
  const Catalog catalog = ReadCatalog(Path("built_in.gguf")).value();
  EXPECT_GE(catalog.axes.words.size(), 30u);
  EXPECT_EQ(catalog.axes.width, 64);

  ASSERT_EQ(Init("none.gguf", "--no-axes").code, 0);
  EXPECT_TRUE(ReadCatalog(Path("none.gguf"))->axes.empty());
  ASSERT_EQ(Train("none.gguf", "loud").code, 0);
  const CommandOutcome card = Run("persona card --catalog " + Path("none.gguf"));
  EXPECT_THAT(card.out, HasSubstr("The catalog has no axes"));
  EXPECT_EQ(card.code, 0) << card.err;
  const CommandOutcome list = Run("persona list --catalog " + Path("none.gguf"));
  EXPECT_THAT(list.out, ::testing::ContainsRegex("\n  loud +[0-9.]+ +- +[a-z]"));
}

TEST_F(PersonaCli, BrokenAxesAreNamedByFileLineAndKey) {
  std::string text = kAxes;
  text.replace(text.find("contrast"), 8, "kontrast");
  Write("broken.toml", text);
  const CommandOutcome broken = Init("x.gguf", "--axes " + Path("broken.toml"));
  EXPECT_EQ(broken.code, 1);
  EXPECT_THAT(broken.err, AllOf(HasSubstr("broken.toml: line 7: kontrast: expected")));
  EXPECT_EQ(Init("x.gguf", "--axes " + Path("missing.toml")).code, 1);
  EXPECT_EQ(Init("x.gguf", "--no-axes --axes " + Path("axes.toml")).code, 2);
  EXPECT_FALSE(FileExists(Path("x.gguf")));
}

}  // namespace
}  // namespace lorikeet
