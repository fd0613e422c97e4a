#include "device/model/requantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "common/base/strings.h"
#include "device/model/model.h"
#include "kernels/quant.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

class RequantizeTest : public testing::Test {
 protected:
  std::shared_ptr<const GgufFile> Tiny() { return GgufFile::Open(WriteTinyModel()).value(); }
  std::shared_ptr<const GgufFile> Reopen(const Requantized& result) {
    bytes_ = result.file.Serialize();
    return GgufFile::Parse(AsBytes(bytes_), "requantized").value();
  }
  ThreadPool pool_{2};
  std::string bytes_;
};

TEST_F(RequantizeTest, RoundsMatricesAndKeepsNormsAndMetadata) {
  const auto model = Tiny();
  const auto result = Requantize(*model, TensorType::kQ8_0, &pool_);
  ASSERT_TRUE(result.ok()) << result.status();
  const auto out = Reopen(*result);
  EXPECT_EQ(out->FindTensor("blk.0.attn_q.weight")->type, TensorType::kQ8_0);
  EXPECT_EQ(out->FindTensor("blk.0.attn_norm.weight")->type, TensorType::kF32);
  EXPECT_EQ(out->metadata().size(), model->metadata().size());
  EXPECT_TRUE(Model::FromFile(out).ok());
  EXPECT_GT(result->rmse, 0);
}

TEST_F(RequantizeTest, RmseIsWhatWasLost) {
  const auto model = Tiny();
  const auto result = Requantize(*model, TensorType::kQ4_0, &pool_).value();
  const auto out = Reopen(result);
  double squares = 0;
  int64_t numbers = 0;
  for (const auto& tensor : out->tensors()) {
    if (tensor.type != TensorType::kQ4_0) continue;
    std::vector<float> before(tensor.elements()), after(tensor.elements());
    DequantizeRow(TensorType::kF32, model->FindTensor(tensor.name)->data.data(), tensor.elements(),
                  before.data());
    DequantizeRow(TensorType::kQ4_0, tensor.data.data(), tensor.elements(), after.data());
    for (size_t i = 0; i < before.size(); ++i) squares += std::pow(after[i] - before[i], 2.0);
    numbers += tensor.elements();
  }
  EXPECT_NEAR(result.rmse, std::sqrt(squares / static_cast<double>(numbers)), 1e-9);
  EXPECT_GT(result.tensors_changed, 0);
}

TEST_F(RequantizeTest, F16AndBackLosesOnlyHalfPrecision) {
  const auto result = Requantize(*Tiny(), TensorType::kF16, &pool_).value();
  EXPECT_LT(result.rmse, 1e-3);
}

TEST_F(RequantizeTest, RowsThatAreNotWholeBlocksKeepTheirType) {
  GgufWriter writer;
  writer.AddUint32("general.alignment", 32);
  writer.AddTensor("odd", {80, 2}, std::vector<float>(160, 0.5f));
  writer.AddTensor("even", {64, 2}, std::vector<float>(128, 0.5f));
  const std::string input = writer.Serialize();
  const auto model = GgufFile::Parse(AsBytes(input), "odd rows").value();
  const auto result = Requantize(*model, TensorType::kQ8_0, &pool_).value();
  EXPECT_EQ(result.tensors_kept, 1);
  EXPECT_EQ(result.tensors_changed, 1);
  EXPECT_EQ(Reopen(result)->FindTensor("odd")->type, TensorType::kF32);
}

TEST_F(RequantizeTest, RefusesTypesItCannotWriteAndNamesThoseItCan) {
  const auto status = Requantize(*Tiny(), TensorType::kQ2_K, &pool_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(Message(status).find("Q8_0"), std::string::npos);
}

}  // namespace
}  // namespace lorikeet
