#include "device/model/requantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "common/base/file.h"
#include "common/base/strings.h"
#include "common/gguf/writer.h"
#include "device/model/model.h"
#include "kernels/quant.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

class RequantizeTest : public testing::Test {
 protected:
  std::shared_ptr<const GgufFile> Tiny() { return GgufFile::Open(WriteTinyModel()).value(); }
  absl::StatusOr<Requantized> Write(const GgufFile& model, FileType type) {
    return Requantize(model, type, path_, &pool_);
  }
  std::shared_ptr<const GgufFile> Reopen() { return GgufFile::Open(path_).value(); }

  // A model file with one matrix "blk.0.ffn_up.weight" of two rows.
  std::shared_ptr<const GgufFile> OneMatrix(const std::vector<float>& values) {
    GgufWriter writer;
    writer.AddString("general.architecture", "llama");
    writer.AddUint32("general.alignment", 32);
    writer.AddUint32("llama.block_count", 1);
    writer.AddUint32("llama.attention.head_count", 1);
    writer.AddTensor("blk.0.ffn_up.weight", {static_cast<int64_t>(values.size() / 2), 2}, values);
    bytes_ = writer.Serialize();
    return GgufFile::Parse(AsBytes(bytes_), "one matrix").value();
  }

  ThreadPool pool_{2};
  std::string path_ = MakeTempDir("requantize") + "/out.gguf";
  std::string bytes_;
};

TEST_F(RequantizeTest, RoundsMatricesAndKeepsNormsAndMetadata) {
  const auto model = Tiny();
  const auto result = Write(*model, FileType::kQ8_0);
  ASSERT_TRUE(result.ok()) << result.status();
  const auto out = Reopen();
  EXPECT_EQ(out->size_bytes(), result->bytes);
  EXPECT_EQ(out->FindTensor("blk.0.attn_q.weight")->type, TensorType::kQ8_0);
  EXPECT_EQ(out->FindTensor("blk.0.attn_norm.weight")->type, TensorType::kF32);
  EXPECT_EQ(out->metadata().size(), model->metadata().size() + 2);
  EXPECT_EQ(out->GetInt("general.file_type").value(), 7);
  EXPECT_EQ(out->GetInt("general.quantization_version").value(), 2);
  EXPECT_TRUE(Model::FromFile(out).ok());
  EXPECT_GT(result->rmse, 0);
}

TEST_F(RequantizeTest, RmseIsWhatWasLost) {
  const auto model = Tiny();
  const auto result = Write(*model, FileType::kQ4_0).value();
  const auto out = Reopen();
  double squares = 0;
  int64_t numbers = 0;
  for (const auto& tensor : out->tensors()) {
    if (tensor.rows() == 1) continue;
    std::vector<float> before(tensor.elements()), after(tensor.elements());
    DequantizeRow(TensorType::kF32, model->FindTensor(tensor.name)->data.data(), tensor.elements(),
                  before.data());
    DequantizeRow(tensor.type, tensor.data.data(), tensor.elements(), after.data());
    for (size_t i = 0; i < before.size(); ++i) squares += std::pow(after[i] - before[i], 2.0);
    numbers += tensor.elements();
  }
  EXPECT_NEAR(result.rmse, std::sqrt(squares / static_cast<double>(numbers)), 1e-9);
  EXPECT_GT(result.tensors_changed, 0);
}

TEST_F(RequantizeTest, F16LosesOnlyHalfPrecision) {
  EXPECT_LT(Write(*Tiny(), FileType::kF16).value().rmse, 1e-3);
  EXPECT_FALSE(Reopen()->Has("general.quantization_version"));
}

TEST_F(RequantizeTest, ThreadsDoNotChangeTheFile) {
  const auto model = Tiny();
  ASSERT_TRUE(Write(*model, FileType::kQ4_K_M).ok());
  const std::string two = ReadFile(path_).value();
  ThreadPool one(1);
  ASSERT_TRUE(Requantize(*model, FileType::kQ4_K_M, path_, &one).ok());
  EXPECT_EQ(ReadFile(path_).value(), two);
}

TEST_F(RequantizeTest, EveryFileTypeLoadsAndBetterTypesLoseLess) {
  const auto model = Tiny();
  double before = std::numeric_limits<double>::infinity();
  for (const FileType type :
       {FileType::kQ4_0, FileType::kQ5_0, FileType::kQ8_0, FileType::kF16, FileType::kF32}) {
    const auto result = Write(*model, type).value();
    EXPECT_LT(result.rmse, before) << FileTypeName(type);
    before = result.rmse > 0 ? result.rmse : before;
    EXPECT_TRUE(Model::FromFile(Reopen()).ok()) << FileTypeName(type);
  }
}

TEST_F(RequantizeTest, MayReplaceItsInput) {
  ASSERT_TRUE(WriteFileAtomic(path_, TinyModelBytes()).ok());
  const auto model = GgufFile::Open(path_).value();
  ASSERT_TRUE(Write(*model, FileType::kQ8_0).ok());
  EXPECT_TRUE(Model::FromFile(Reopen()).ok());
}

TEST_F(RequantizeTest, RowsThatAreNotWholeBlocksFallBack) {
  const auto at = [&](FileType type, size_t columns) {
    const auto model = OneMatrix(std::vector<float>(2 * columns, 0.5f));
    EXPECT_TRUE(Write(*model, type).ok());
    return Reopen()->tensors()[0].type;
  };
  EXPECT_EQ(at(FileType::kQ4_K_S, 256), TensorType::kQ4_K);
  EXPECT_EQ(at(FileType::kQ4_K_S, 96), TensorType::kQ5_0);
  EXPECT_EQ(at(FileType::kQ5_K_S, 96), TensorType::kQ5_1);
  EXPECT_EQ(at(FileType::kQ6_K, 96), TensorType::kQ8_0);
  EXPECT_EQ(at(FileType::kQ8_0, 80), TensorType::kF16);
}

TEST_F(RequantizeTest, RefusesValuesThatNoTypeHolds) {
  std::vector<float> values(512, 1.0f);
  values[300] = std::numeric_limits<float>::quiet_NaN();
  for (const auto& [type, want] :
       {std::pair{FileType::kQ4_K_S, "finite"}, std::pair{FileType::kF16, "finite"}}) {
    const auto status = Write(*OneMatrix(values), type).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(Message(status).find(want), std::string::npos) << status;
    EXPECT_NE(Message(status).find("blk.0.ffn_up.weight"), std::string::npos) << status;
  }
  values[300] = 1e6f;
  EXPECT_FALSE(Write(*OneMatrix(values), FileType::kQ4_K_S).ok());
  EXPECT_TRUE(Write(*OneMatrix(values), FileType::kBF16).ok());
  EXPECT_TRUE(FileExists(path_));
}

TEST_F(RequantizeTest, LeavesNoFileBehindWhenItFails) {
  std::vector<float> values(512, std::numeric_limits<float>::infinity());
  EXPECT_FALSE(Write(*OneMatrix(values), FileType::kQ8_0).ok());
  EXPECT_FALSE(FileExists(path_));
}

TEST_F(RequantizeTest, RefusesAdapters) {
  GgufWriter writer;
  writer.AddString("general.type", "adapter");
  const std::string bytes = writer.Serialize();
  const auto adapter = GgufFile::Parse(AsBytes(bytes), "adapter").value();
  EXPECT_EQ(Write(*adapter, FileType::kQ8_0).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace lorikeet
