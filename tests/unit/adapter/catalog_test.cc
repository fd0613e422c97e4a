#include "common/adapter/catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "common/base/file.h"
#include "common/base/strings.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string_view> kText = {"The cat sat on the mat, and the dog slept.",
                                             "A boat came down the river in the morning."};

// Unit vectors as factors: orthonormal by construction.
AdapterMatrix UnitMatrix(AdapterTarget target, int rank, int in, int out) {
  AdapterMatrix matrix{.target = target,
                       .rank = rank,
                       .in_features = in,
                       .out_features = out,
                       .a = std::vector<float>(static_cast<size_t>(rank) * in),
                       .b = std::vector<float>(static_cast<size_t>(rank) * out),
                       .core = {}};
  for (int r = 0; r < rank; ++r) {
    matrix.a[static_cast<size_t>(r * in + r)] = 1;
    matrix.b[static_cast<size_t>((out - 1 - r) * rank + r)] = -1;
  }
  return matrix;
}

Catalog MakeCatalog() {
  Catalog catalog;
  catalog.base_fingerprint = std::string(64, 'a');
  catalog.architecture = "llama";
  catalog.version = 7;
  catalog.rank = 2;
  catalog.alpha = 4;
  catalog.basis = {UnitMatrix({0, Module::kQ}, 2, 6, 4), UnitMatrix({1, Module::kDown}, 2, 5, 3)};
  catalog.background = MakeStyleBackground(kText);
  for (const char* id : {"texter", "formal"}) {
    Persona persona{
        .id = id, .cores = {}, .card = MakeStyleCard(CountStyle(kText), catalog.background)};
    for (int i = 0; i < catalog.block_size(); ++i) {
      persona.cores.push_back(static_cast<float>(i) * (id[0] == 't' ? 1.0f : -2.0f));
    }
    catalog.personas.push_back(std::move(persona));
  }
  return catalog;
}

TEST(CatalogTest, RoundTripKeepsEverythingAndBytes) {
  const Catalog catalog = MakeCatalog();
  ASSERT_TRUE(CheckCatalog(catalog).ok()) << CheckCatalog(catalog);
  EXPECT_EQ(catalog.block_size(), 2 * 2 * 2);
  const std::string bytes = SerializeCatalog(catalog);
  EXPECT_EQ(bytes, SerializeCatalog(catalog));
  const auto back = ParseCatalog(bytes);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->version, 7u);
  EXPECT_EQ(back->personas[1].cores, catalog.personas[1].cores);
  EXPECT_EQ(back->basis[1].b, catalog.basis[1].b);
  EXPECT_EQ(SerializeCatalog(*back), bytes);
  EXPECT_EQ(CatalogHash(*back), CatalogHash(catalog));
  EXPECT_EQ(back->FindPersona("formal"), 1);
  EXPECT_EQ(back->FindPersona("nobody"), -1);

  const std::string path = MakeTempDir("catalog") + "/c.gguf";
  ASSERT_TRUE(WriteCatalog(catalog, path).ok());
  EXPECT_EQ(ReadFile(path).value(), bytes);
  EXPECT_EQ(ReadCatalog(path)->personas.size(), 2u);
}

Catalog CatalogWithAxes() {
  Catalog catalog = MakeCatalog();
  catalog.axes = {.words = {"wet", "dry"},
                  .width = 3,
                  .neutral_mean = {1, 2, 3},
                  .neutral_spread = {0.5f, 1, 2},
                  .directions = {0, 1, 0, 0, -1, 0}};
  return catalog;
}

TEST(CatalogTest, AxesOfExplanationsTravelWithIt) {
  const Catalog catalog = CatalogWithAxes();
  const std::string bytes = SerializeCatalog(catalog);
  const auto back = ParseCatalog(bytes);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->axes.words, catalog.axes.words);
  EXPECT_EQ(back->axes.width, 3);
  EXPECT_EQ(back->axes.neutral_mean, catalog.axes.neutral_mean);
  EXPECT_EQ(back->axes.neutral_spread, catalog.axes.neutral_spread);
  EXPECT_EQ(back->axes.directions, catalog.axes.directions);
  EXPECT_EQ(SerializeCatalog(*back), bytes);
  EXPECT_TRUE(ParseCatalog(SerializeCatalog(MakeCatalog()))->axes.empty());
}

TEST(CatalogTest, RefusesHalfOfTheAxes) {
  const auto refused = [](std::string_view from, std::string_view to, const char* what) {
    std::string bytes = SerializeCatalog(CatalogWithAxes());
    const size_t at = bytes.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    bytes.replace(at, from.size(), to);
    const absl::Status status = ParseCatalog(bytes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << what;
    EXPECT_THAT(std::string(Message(status)), HasSubstr(what));
  };
  refused("explanation.neutral", "explanation.nevtral", "explanation.neutral");
  refused("explanation.directions", "explanation.directionz", "explanation.directions");
  refused("wet", "dry", "dry comes twice");
  refused("wet", "We!", "of 3 bytes");
  Catalog catalog = CatalogWithAxes();
  catalog.personas[1].card.explanation = {0.5};
  EXPECT_THAT(std::string(Message(CheckCatalog(catalog))),
              HasSubstr("persona formal: an explanation of 1 weights, expected 2, one a word"));
  catalog.personas[1].card.explanation = {0.5, 0};
  EXPECT_TRUE(CheckCatalog(catalog).ok()) << CheckCatalog(catalog);
  EXPECT_EQ(ParseCatalog(SerializeCatalog(catalog))->personas[1].card.explanation[0], 0.5);
  catalog.personas[1].card.explanation_residual = 1.5;
  EXPECT_THAT(std::string(Message(CheckCatalog(catalog))), HasSubstr("expected 0 to 1"));
  catalog = CatalogWithAxes();
  catalog.axes.directions[1] = 2;
  EXPECT_THAT(std::string(Message(CheckCatalog(catalog))), HasSubstr("length 1 for wet"));
}

TEST(CatalogTest, EveryTruncationIsAnError) {
  const std::string bytes = SerializeCatalog(CatalogWithAxes());
  for (size_t length = 0; length < bytes.size(); length += 97) {
    EXPECT_FALSE(ParseCatalog(bytes.substr(0, length)).ok()) << length;
  }
}

TEST(CatalogTest, RefusesWhatDoesNotFit) {
  const auto refused = [](auto change, const char* what) {
    Catalog catalog = MakeCatalog();
    change(catalog);
    const absl::Status status = CheckCatalog(catalog);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << what;
    EXPECT_THAT(std::string(Message(status)), HasSubstr(what));
    EXPECT_FALSE(WriteCatalog(catalog, MakeTempDir("catalog") + "/c.gguf").ok());
  };
  refused([](Catalog& c) { c.base_fingerprint = "abc"; }, "fingerprint");
  refused([](Catalog& c) { c.alpha = 0; }, "alpha");
  refused([](Catalog& c) { c.alpha = std::numeric_limits<float>::infinity(); }, "alpha");
  refused([](Catalog& c) { c.rank = 0; }, "rank");
  refused([](Catalog& c) { c.basis.clear(); }, "basis");
  refused([](Catalog& c) { std::swap(c.basis[0], c.basis[1]); }, "order");
  refused([](Catalog& c) { c.basis[0].a[0] = 2; }, "orthonormal");
  refused([](Catalog& c) { c.basis[0].b.pop_back(); }, "size");
  refused([](Catalog& c) { c.personas[0].id = "base"; }, "base");
  refused([](Catalog& c) { c.personas[0].id = "Two Words"; }, "Two Words");
  refused([](Catalog& c) { c.personas[0].id = "\x1b]0;x"; }, "persona id \"?]0;x\" of 5 bytes");
  refused([](Catalog& c) { c.personas[0].id = std::string(33, 'x'); }, "of 33 bytes");
  refused([](Catalog& c) { c.personas[0].card.sentence = "\x1b[2J"; }, "U+001B");
  refused([](Catalog& c) { c.architecture = "lla\x9bma"; }, "got byte 0x9b");
  refused([](Catalog& c) { c.personas[0].id = "formal"; }, "called formal");
  refused([](Catalog& c) { c.personas[0].cores.pop_back(); }, "expected 8");
  refused([](Catalog& c) { c.personas[0].cores[3] = std::nanf(""); }, "non-finite");
  refused([](Catalog& c) { c.personas[0].card.statistics.form.pop_back(); }, "form");
  refused([](Catalog& c) { c.background.sketch.pop_back(); }, "sketch");
}

TEST(CatalogTest, AFileOfAnotherKindIsNamed) {
  std::string bytes = SerializeCatalog(MakeCatalog());
  const size_t at = bytes.find("catalog", bytes.find("general.type"));
  bytes.replace(at, 7, "adapter");
  const auto status = ParseCatalog(bytes).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Message(status)), HasSubstr("found adapter"));
}

TEST(CatalogTest, PersonaBecomesAnAdapterAndBlendsAdd) {
  const Catalog catalog = MakeCatalog();
  const Adapter persona = PersonaAdapter(catalog, 0, "beef");
  EXPECT_EQ(persona.info.kind, AdapterKind::kCore);
  EXPECT_EQ(persona.info.persona_id, "texter");
  EXPECT_EQ(persona.info.version, 7u);
  EXPECT_EQ(persona.info.parent, "beef");
  EXPECT_EQ(persona.info.base_fingerprint, catalog.base_fingerprint);
  EXPECT_EQ(persona.matrices[1].core, (std::vector<float>{4, 5, 6, 7}));

  const std::vector<PersonaWeight> weights = {{.index = 0, .weight = 0.5f},
                                              {.index = 1, .weight = 0.25f}};
  const Adapter blend = BlendAdapter(catalog, weights);
  EXPECT_EQ(blend.info.persona_id, "texter+formal");
  // 0.5 i - 0.5 i = 0 everywhere.
  for (const AdapterMatrix& matrix : blend.matrices) {
    EXPECT_EQ(matrix.core, std::vector<float>(4, 0.0f));
  }
}

TEST(CatalogTest, AddToPersonaAddsOrRefuses) {
  Catalog catalog = MakeCatalog();
  const std::vector<float> before = catalog.personas[1].cores;
  ASSERT_TRUE(AddToPersona(&catalog, 1, std::vector<float>(8, 0.5f)).ok());
  EXPECT_EQ(catalog.personas[1].cores[2], before[2] + 0.5f);
  EXPECT_FALSE(AddToPersona(&catalog, 2, std::vector<float>(8, 0.5f)).ok());
  EXPECT_FALSE(AddToPersona(&catalog, 1, std::vector<float>(7, 0.5f)).ok());
  EXPECT_FALSE(AddToPersona(&catalog, 1, std::vector<float>(8, std::nanf(""))).ok());
  EXPECT_EQ(catalog.personas[1].cores[2], before[2] + 0.5f);
}

}  // namespace
}  // namespace lorikeet
