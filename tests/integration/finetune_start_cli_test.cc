// finetune's adapter, packing and report as a shell sees them: ranks by module, cores from public
// text or a catalog, a frozen adapter beneath, one page of HTML.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "common/adapter/catalog.h"
#include "common/adapter/gguf_io.h"
#include "common/base/file.h"
#include "tests/support/command.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

class FinetuneStartCli : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string lines;
    for (int i = 0; i < 24; ++i) {
      lines += "{\"text\":\"Secret number " + std::to_string(i) + " sleeps in the garden.\"}\n";
    }
    ASSERT_TRUE(WriteFileAtomic(Path("data.jsonl"), lines).ok());
    std::string text;
    for (int i = 0; i < 40; ++i) text += "The number " + std::to_string(i) + " is public.\n\n";
    ASSERT_TRUE(WriteFileAtomic(Path("public.txt"), text).ok());
  }

  std::string Path(const std::string& name) const { return dir_ + "/" + name; }

  CommandOutcome Run(const std::string& arguments) const {
    return RunCommand(LORIKEET_BIN_DIR "/lorikeet " + arguments);
  }

  CommandOutcome Finetune(const std::string& arguments) const {
    return Run("finetune --threads 1 --model " + model_ + " --data " + Path("data.jsonl") +
               " --out " + Path("a.gguf") + " " + arguments);
  }
  json FinetuneJson(const std::string& arguments) const {
    const CommandOutcome outcome = Finetune(arguments + " --json");
    EXPECT_EQ(outcome.code, 0) << arguments << ": " << outcome.err;
    return json::parse(outcome.out, nullptr, false);
  }

  const std::string dir_ = MakeTempDir("finetune-start-cli");
  const std::string model_ = WriteTinyModel();
};

TEST_F(FinetuneStartCli, RanksByModule) {
  // Two layers: q [64, 64] of rank 4, v [32, 64] of rank 2.
  EXPECT_EQ(FinetuneJson("--steps 1 --rank q=4,v=2")["parameters"],
            2 * (4 * (64 + 64) + 2 * (64 + 32)));
  const CommandOutcome bad = Finetune("--steps 1 --rank 8,donw=4");
  EXPECT_EQ(bad.code, 2);
  EXPECT_THAT(bad.err, HasSubstr("unknown module \"donw\""));
  const CommandOutcome large = Finetune("--steps 1 --rank 8,v=33");
  EXPECT_EQ(large.code, 1);
  EXPECT_THAT(large.err, HasSubstr("rank 33 is larger than blk.0.attn_v.weight"));
}

TEST_F(FinetuneStartCli, PackingTakesFewerStepsOverTheSameTokens) {
  const json apart = FinetuneJson("--epochs 1 --batch 1 --no-pack");
  const json packed = FinetuneJson("--epochs 1 --batch 1 --pack");
  EXPECT_EQ(packed["tokens"], apart["tokens"]);
  EXPECT_LT(packed["steps"].get<int>() * 3, apart["steps"].get<int>());
}

TEST_F(FinetuneStartCli, CoresBetweenFactorsOfPublicText) {
  const CommandOutcome random = Finetune("--form core --rank 4 --steps 3");
  EXPECT_THAT(random.out, HasSubstr("random fixed factors; --basis"));
  const Adapter random_adapter = ReadAdapter(Path("a.gguf")).value();
  const CommandOutcome outcome =
      Finetune("--form core --rank 4 --steps 3 --basis " + Path("public.txt"));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("fixed factors from the gradient of"));
  const Adapter adapter = ReadAdapter(Path("a.gguf")).value();
  EXPECT_EQ(adapter.info.kind, AdapterKind::kCore);
  EXPECT_EQ(adapter.ParameterCount(), 14 * 4 * 4);
  EXPECT_NE(adapter.matrices[0].a, random_adapter.matrices[0].a);
}

TEST_F(FinetuneStartCli, CoresBetweenFactorsOfACatalog) {
  const CommandOutcome made =
      Run("persona init --threads 1 --model " + model_ + " --rank 3 --out " + Path("catalog.gguf") +
          " --data " + Path("public.txt"));
  ASSERT_EQ(made.code, 0) << made.err;
  const CommandOutcome outcome = Finetune("--form core --steps 2 --basis " + Path("catalog.gguf"));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Catalog catalog = ReadCatalog(Path("catalog.gguf")).value();
  const Adapter adapter = ReadAdapter(Path("a.gguf")).value();
  ASSERT_EQ(adapter.matrices.size(), catalog.basis.size());
  EXPECT_EQ(adapter.matrices[3].a, catalog.basis[3].a);
  EXPECT_EQ(adapter.matrices[3].b, catalog.basis[3].b);
  EXPECT_EQ(adapter.info.parent, CatalogHash(catalog));

  const CommandOutcome other = Run("finetune --threads 1 --model " + WriteTinyModel({.seed = 2}) +
                                   " --data " + Path("data.jsonl") + " --out " + Path("b.gguf") +
                                   " --form core --steps 1 --basis " + Path("catalog.gguf"));
  EXPECT_EQ(other.code, 1);
  EXPECT_THAT(other.err, HasSubstr("base"));
}

TEST_F(FinetuneStartCli, BasisIsForFreshCores) {
  for (const std::string& arguments :
       {"--basis " + Path("public.txt"),
        "--form core --init " + Path("none.gguf") + " --basis " + Path("public.txt"),
        "--form core --basis " + Path("c.gguf") + " --basis " + Path("public.txt")}) {
    const CommandOutcome outcome = Finetune("--steps 1 " + arguments);
    EXPECT_EQ(outcome.code, 2) << arguments;
    EXPECT_THAT(outcome.err, HasSubstr("--basis")) << arguments;
  }
}

TEST_F(FinetuneStartCli, AnAdapterToStartFromKeepsItsShape) {
  const std::string first = Path("first.gguf");
  ASSERT_EQ(FinetuneJson("--steps 1 --rank 2")["steps"], 1);
  std::filesystem::rename(Path("a.gguf"), first);
  for (const std::string shape : {"--rank 4", "--alpha 16", "--modules all"}) {
    const CommandOutcome outcome = Finetune("--steps 1 --init " + first + " " + shape);
    EXPECT_EQ(outcome.code, 2) << shape;
    EXPECT_THAT(outcome.err, HasSubstr("--init takes the adapter as it is: expected no --rank, "
                                       "--alpha or --modules, got " +
                                       shape.substr(0, shape.find(' '))));
    EXPECT_FALSE(FileExists(Path("a.gguf")));
  }
  FinetuneJson("--steps 1 --init " + first);
  EXPECT_EQ(ReadAdapter(Path("a.gguf")).value().matrices[0].rank, 2);
}

TEST_F(FinetuneStartCli, WritesAReportWithoutTheText) {
  for (const std::string& steps : {std::string("12"), std::string("1")}) {
    const CommandOutcome outcome =
        Finetune("--steps " + steps + " --report " + Path("report.html"));
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const std::string page = *ReadFile(Path("report.html"));
    EXPECT_THAT(page, HasSubstr("<td>data.jsonl: "));
    EXPECT_THAT(page, HasSubstr(steps + " step"));
    EXPECT_THAT(page, HasSubstr("</html>"));
    EXPECT_THAT(page, Not(HasSubstr("Secret")));
    EXPECT_THAT(page, Not(HasSubstr(dir_)));
  }
  const CommandOutcome nowhere = Finetune("--steps 1 --report " + Path("no/such/folder.html"));
  EXPECT_EQ(nowhere.code, 2);
  EXPECT_THAT(nowhere.err, HasSubstr("--report: expected a path in a folder that exists"));
}

}  // namespace
}  // namespace lorikeet
