#include "device/trainer/make_adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/adapter/gguf_io.h"
#include "tests/support/shared_data.h"
#include "tests/unit/trainer/trainer_fixture.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<int> RanksOf(const AdapterSpec& spec) {
  std::vector<int> ranks;
  for (const Module module : spec.Modules()) ranks.push_back(spec.RankOf(module));
  return ranks;
}

TEST(ParseAdapterSpecTest, OneRankForAll) {
  const auto spec = ParseAdapterSpec("4", "all");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_THAT(RanksOf(*spec), ElementsAre(4, 4, 4, 4, 4, 4, 4));
  EXPECT_THAT(ParseAdapterSpec("4", "v,q")->Modules(), ElementsAre(Module::kQ, Module::kV));
}

TEST(ParseAdapterSpecTest, ExceptionsByModule) {
  EXPECT_THAT(RanksOf(*ParseAdapterSpec("8,down=16,q=2", "all")),
              ElementsAre(2, 8, 8, 8, 8, 8, 16));
  EXPECT_THAT(RanksOf(*ParseAdapterSpec("down=16,8", "q,down")), ElementsAre(8, 16));
}

TEST(ParseAdapterSpecTest, ModulesWithRanksAreTheOnesToTrain) {
  const auto spec = ParseAdapterSpec("q=16,v=4", "all");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_THAT(spec->Modules(), ElementsAre(Module::kQ, Module::kV));
  EXPECT_THAT(RanksOf(*spec), ElementsAre(16, 4));
}

TEST(ParseAdapterSpecTest, RefusesWhatCanOnlyBeAMistake) {
  const auto message = [](const char* ranks, const char* modules) {
    const auto spec = ParseAdapterSpec(ranks, modules);
    EXPECT_EQ(spec.status().code(), absl::StatusCode::kInvalidArgument) << ranks;
    return std::string(spec.status().message());
  };
  EXPECT_THAT(message("", "all"), HasSubstr("from 1 to 1024, got \"\""));
  EXPECT_THAT(message("0", "all"), HasSubstr("got \"0\""));
  EXPECT_THAT(message("1025", "all"), HasSubstr("got \"1025\""));
  EXPECT_THAT(message("8x", "all"), HasSubstr("got \"8x\""));
  EXPECT_THAT(message("8,", "all"), HasSubstr("got \"\""));
  EXPECT_THAT(message("8,q=", "all"), HasSubstr("got \"\""));
  EXPECT_THAT(message("8,9", "all"), HasSubstr("once"));
  EXPECT_THAT(message("8,q=4,q=5", "all"), HasSubstr("once"));
  EXPECT_THAT(message("8,x=4", "all"), HasSubstr("unknown module \"x\""));
  EXPECT_THAT(message("8,all=4", "all"), HasSubstr("expected a module"));
  EXPECT_THAT(message("8,down=4", "q,v"), HasSubstr("got down"));
  EXPECT_THAT(message("q=4", "q,v"), HasSubstr("expected one for v too"));
}

TEST(MakeAdapterTest, RanksDifferByMatrixAndStaySoInTheFile) {
  const auto model = LoadTiny();
  for (const AdapterKind kind : {AdapterKind::kLora, AdapterKind::kCore}) {
    AdapterSpec spec = *ParseAdapterSpec("3,down=5", "q,down");
    spec.kind = kind;
    const Adapter adapter = ActiveAdapter(*model, spec);
    ASSERT_EQ(adapter.matrices.size(), 4u);
    EXPECT_EQ(adapter.matrices[0].rank, 3);
    EXPECT_EQ(adapter.matrices[1].rank, 5);
    const std::string path = MakeTempDir("ranks") + "/a.gguf";
    ASSERT_TRUE(WriteAdapter(adapter, path).ok());
    const auto read = ReadAdapter(path);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(SerializeAdapter(*read), SerializeAdapter(adapter));
    EXPECT_TRUE(model->CheckAdapter(*read).ok());
  }
}

// alpha / rank by matrix: doubling one matrix's rank with zeros halves what it adds, which half of
// the B of the others gives too.
TEST(MakeAdapterTest, ScaleIsAlphaOverTheMatrixsOwnRank) {
  const auto model = LoadTiny();
  ThreadPool pool(1);
  AdapterSpec spec = *ParseAdapterSpec("2", "down");
  const Adapter narrow = ActiveAdapter(*model, spec);
  Adapter wide = narrow, half = narrow;
  for (AdapterMatrix& matrix : wide.matrices) {
    matrix.rank = 4;
    matrix.a.resize(size_t{4} * matrix.in_features, 0.5f);
    matrix.b.assign(size_t{4} * matrix.out_features, 0.0f);
    for (int i = 0; i < matrix.out_features; ++i) {
      for (int j = 0; j < 2; ++j) matrix.b[i * 4 + j] = narrow.matrices[0].b[i * 2 + j];
    }
  }
  wide.matrices[1] = narrow.matrices[1];
  for (float& value : half.matrices[0].b) value *= 0.5f;
  const std::vector<Sequence> text = RandomSequences(2, 12, 4);
  const auto loss = [&](const Adapter& adapter) {
    const AdapterRef ref{.adapter = &adapter};
    return EvaluateLoss(model, &pool, {&ref, 1}, text)->loss();
  };
  EXPECT_FLOAT_EQ(wide.BaseScale(wide.matrices[0]), narrow.BaseScale(narrow.matrices[0]) / 2);
  EXPECT_NEAR(loss(wide), loss(half), 1e-6);
  EXPECT_GT(std::abs(loss(wide) - loss(narrow)), 1e-5);
}

}  // namespace
}  // namespace lorikeet
