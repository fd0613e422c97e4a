// A personal adapter taken apart again, in memory and through its file.
#include "device/personalization/personal_adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/adapter/gguf_io.h"
#include "common/base/file.h"
#include "common/base/strings.h"
#include "device/trainer/trainer.h"
#include "tests/support/shared_data.h"
#include "tests/unit/personalization/fixtures.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

// Of rank 3 and alpha 6, with a B that is not 0.
Adapter Residual() {
  Adapter residual = MakeAdapter(*LoadTinyModel(),
                                 {.kind = AdapterKind::kLora, .rank = 3, .alpha = 6, .modules = {}})
                         .value();
  for (AdapterMatrix& matrix : residual.matrices) {
    for (size_t i = 0; i < matrix.b.size(); ++i) matrix.b[i] = 0.01f * static_cast<float>(i % 7);
  }
  return residual;
}

// What an adapter adds to a weight: s B A, [out, in].
std::vector<double> Product(const Adapter& adapter, const AdapterMatrix& matrix) {
  std::vector<double> product;
  const std::vector<float> b = matrix.EffectiveB();
  for (int row = 0; row < matrix.out_features; ++row) {
    for (int column = 0; column < matrix.in_features; ++column) {
      double sum = 0;
      for (int r = 0; r < matrix.rank; ++r) {
        sum += double{b[static_cast<size_t>(row * matrix.rank + r)]} *
               matrix.a[static_cast<size_t>(r * matrix.in_features + column)];
      }
      product.push_back(adapter.BaseScale(matrix) * sum);
    }
  }
  return product;
}

void ExpectSameEffect(const Adapter& got, const Adapter& expected) {
  ASSERT_EQ(got.matrices.size(), expected.matrices.size());
  ASSERT_TRUE(CheckAdapterShape(got).ok()) << CheckAdapterShape(got);
  for (size_t m = 0; m < got.matrices.size(); ++m) {
    const std::vector<double> is = Product(got, got.matrices[m]);
    const std::vector<double> should = Product(expected, expected.matrices[m]);
    ASSERT_EQ(is.size(), should.size());
    for (size_t i = 0; i < is.size(); ++i) ASSERT_NEAR(is[i], should[i], 1e-5) << m << " " << i;
  }
}

TEST(PersonalAdapterSplitTest, GivesBackBothTermsThroughAFile) {
  const Adapter persona = PersonaAdapter(TwoPersonas(), 1);
  const Adapter residual = Residual();
  const std::string path = MakeTempDir("split") + "/a.gguf";
  ASSERT_TRUE(PersonalAdapter::Merge(persona, residual).Save(path).ok());
  const auto parts = PersonalAdapter::Load(path)->Split(6);
  ASSERT_TRUE(parts.ok()) << parts.status();
  ExpectSameEffect(parts->persona, persona);
  ExpectSameEffect(parts->residual, residual);
  // Training goes on with the numbers it had.
  EXPECT_EQ(parts->residual.info.alpha, 6);
  EXPECT_EQ(parts->residual.matrices[0].a, residual.matrices[0].a);
  EXPECT_NEAR(parts->residual.matrices[0].b[5], residual.matrices[0].b[5], 1e-6);
  // And apart and together again is the same.
  ExpectSameEffect(PersonalAdapter::Merge(parts->persona, parts->residual).adapter(),
                   PersonalAdapter::Merge(persona, residual).adapter());
}

TEST(PersonalAdapterSplitTest, AMatrixWithOneTermIsInThatPartOnly) {
  const Adapter persona = PersonaAdapter(TwoPersonas(), 1);
  Adapter residual = Residual();
  residual.matrices.erase(residual.matrices.begin(), residual.matrices.begin() + 5);
  const auto parts = PersonalAdapter::Merge(persona, residual).Split(6);
  ASSERT_TRUE(parts.ok()) << parts.status();
  ExpectSameEffect(parts->persona, persona);
  ExpectSameEffect(parts->residual, residual);

  const auto only_residual = PersonalAdapter::Merge(Adapter{}, residual).Split(6);
  ASSERT_TRUE(only_residual.ok());
  EXPECT_TRUE(only_residual->persona.matrices.empty());
  const auto only_persona = PersonalAdapter::Merge(persona, Adapter{}).Split(6);
  ASSERT_TRUE(only_persona.ok());
  EXPECT_TRUE(only_persona->residual.matrices.empty());
  ExpectSameEffect(only_persona->persona, persona);
}

TEST(PersonalAdapterSplitTest, RefusesAnAdapterThatDoesNotSay) {
  const auto parts = PersonalAdapter::FromAdapter(Residual()).Split(6);
  EXPECT_EQ(parts.status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(PersonalAdapterSplitTest, ImpossibleRanksAreRefused) {
  PersonalAdapter merged = PersonalAdapter::Merge(PersonaAdapter(TwoPersonas(), 0), Residual());
  Adapter broken = merged.adapter();
  broken.matrices[2].residual_rank = 8;  // of 7
  EXPECT_THAT(Message(CheckAdapterShape(broken)),
              HasSubstr("expected a residual rank of 0 to 7, got 8"));
  // In the file: the array of 14 numbers 3 follows its key, type and length.
  std::string bytes = SerializeAdapter(merged.adapter());
  const size_t key = bytes.find("lorikeet.adapter.residual_rank");
  ASSERT_NE(key, std::string::npos);
  const size_t first = bytes.find('\x03', key + 30 + 4 + 4 + 8);
  ASSERT_NE(first, std::string::npos);
  bytes[first] = '\x7f';
  const std::string path = MakeTempDir("split") + "/a.gguf";
  ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
  EXPECT_THAT(Message(ReadAdapter(path).status()), HasSubstr("expected a residual rank of 0 to 7"));
}

}  // namespace
}  // namespace lorikeet
