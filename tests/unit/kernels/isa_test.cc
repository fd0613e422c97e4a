#include "kernels/isa.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/kernel_table.h"

namespace lorikeet {
namespace {

TEST(IsaTest, NamesAreParsedAndListed) {
  for (const Isa isa : {Isa::kReference, Isa::kAvx2, Isa::kAvx512, Isa::kAmx}) {
    EXPECT_EQ(ParseIsa(IsaName(isa)), isa);
    EXPECT_THAT(IsaNames(), ::testing::HasSubstr(std::string(IsaName(isa))));
  }
  EXPECT_EQ(ParseIsa("AVX2"), std::nullopt);
  EXPECT_EQ(ParseIsa(""), std::nullopt);
}

TEST(IsaTest, TheBestIsUsedUnlessSet) {
  const std::vector<Isa> isas = AvailableIsas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(isas.front(), Isa::kReference);
  const Isa best = CurrentIsa();
  EXPECT_EQ(best, isas.back());
  for (const Isa isa : {Isa::kReference, Isa::kAvx2, Isa::kAvx512, Isa::kAmx}) {
    const bool available = std::find(isas.begin(), isas.end(), isa) != isas.end();
    const KernelTable* before = &Kernels();
    EXPECT_EQ(SetIsa(isa), available) << IsaName(isa);
    EXPECT_EQ(CurrentIsa() == isa, available);
    EXPECT_TRUE(available || &Kernels() == before);
  }
  ASSERT_TRUE(SetIsa(best));
}

}  // namespace
}  // namespace lorikeet
