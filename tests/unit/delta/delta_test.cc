#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/strings.h"
#include "common/delta/apply_delta.h"
#include "common/delta/make_delta.h"
#include "common/gguf/writer.h"
#include "kernels/quant.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

// Weights of a model, and the same a little further in training.
std::vector<float> Weights(size_t count, double change) {
  Rng weights(1), steps(2);
  std::vector<float> w(count);
  for (float& x : w) {
    const double value = weights.Normal();
    x = static_cast<float>(value + change * steps.Normal());
  }
  return w;
}

struct FileOptions {
  TensorType type = TensorType::kQ4_0;
  double change = 0;
  int tensors = 3;
  int rows = 64;
  std::string note = "first";
};

// Rows of 256 numbers, and a norm in f32 before each matrix.
std::string MakeFile(const FileOptions& options) {
  GgufWriter writer;
  writer.AddString("general.name", options.note);
  writer.AddStrings("words", std::vector<std::string>(200, "the same words in every version"));
  for (int i = 0; i < options.tensors; ++i) {
    const auto name = "blk." + std::to_string(i);
    writer.AddTensor(name + ".norm", {7}, Weights(7, options.change));
    const auto weights = Weights(static_cast<size_t>(options.rows) * 256, options.change);
    std::vector<uint8_t> data(RowBytes(options.type, 256) * options.rows);
    QuantizeRow(options.type, weights.data(), static_cast<int64_t>(weights.size()), data.data());
    writer.AddTensor(name, options.type, {256, options.rows}, data);
  }
  return writer.Serialize();
}

class DeltaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = ::testing::TempDir() + "/delta_" +
           ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(dir_);
    ASSERT_TRUE(MakeDirs(dir_).ok());
  }
  std::string Path(const std::string& name) const { return dir_ + "/" + name; }

  // Also writes both files, as old and new.
  std::string Delta(const std::string& old_file, const std::string& new_file,
                    uint32_t window = kDeltaWindow) {
    EXPECT_TRUE(WriteFileAtomic(Path("old"), old_file).ok());
    EXPECT_TRUE(WriteFileAtomic(Path("new"), new_file).ok());
    const auto made = MakeDeltaFile(Path("old"), Path("new"), Path("delta"), {.window = window});
    EXPECT_TRUE(made.ok()) << made.status();
    if (!made.ok()) return "";
    summary_ = *made;
    const auto delta = ReadFile(Path("delta"));
    EXPECT_EQ(delta->size(), made->bytes);
    return *delta;
  }

  absl::StatusOr<std::string> Apply(const std::string& old_file, const std::string& delta,
                                    const std::string& expected) {
    std::string result;
    const MemorySource old_source(AsBytes(old_file)), delta_source(AsBytes(delta));
    const absl::Status status =
        ApplyDelta(old_source, delta_source, {expected.size(), Blake2b(AsBytes(expected))},
                   [&](std::span<const uint8_t> bytes) {
                     result.append(AsChars(bytes));
                     EXPECT_LE(result.size(), expected.size());
                     return absl::OkStatus();
                   });
    if (!status.ok()) return status;
    return result;
  }

  void ExpectRoundTrip(const std::string& old_file, const std::string& new_file,
                       uint32_t window = kDeltaWindow) {
    const std::string delta = Delta(old_file, new_file, window);
    const auto result = Apply(old_file, delta, new_file);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_TRUE(*result == new_file);
  }

  std::string dir_;
  DeltaSummary summary_;
};

TEST_F(DeltaTest, EveryTypeComesBackToTheByteAndMuchSmaller) {
  for (const TensorType type :
       {TensorType::kF32, TensorType::kF16, TensorType::kBF16, TensorType::kQ8_0, TensorType::kQ4_0,
        TensorType::kQ4_1, TensorType::kQ5_0, TensorType::kQ5_1, TensorType::kQ4_K,
        TensorType::kQ5_K, TensorType::kQ6_K}) {
    const std::string old_file = MakeFile({.type = type});
    const std::string new_file = MakeFile({.type = type, .change = 0.002, .note = "second"});
    ExpectRoundTrip(old_file, new_file);
    EXPECT_EQ(summary_.tensors_paired, 6);
    const double share = static_cast<double>(summary_.bytes) / new_file.size();
    // Measured: up to 0.12 for blocks of integers, half and less for floats.
    EXPECT_LT(share, TraitsOf(type).block_elements > 1 ? 0.2 : 0.75) << TraitsOf(type).name;
  }
}

TEST_F(DeltaTest, TheSameFileIsNearlyNothing) {
  const std::string file = MakeFile({.rows = 2000});
  ExpectRoundTrip(file, file, kMinDeltaWindow);
  EXPECT_LT(summary_.bytes, 500u);
}

TEST_F(DeltaTest, WindowsCutTensorsAnywhere) {
  const std::string old_file = MakeFile({.type = TensorType::kQ6_K, .rows = 900});
  const std::string new_file = MakeFile({.type = TensorType::kQ6_K, .change = 0.01, .rows = 900});
  ExpectRoundTrip(old_file, new_file, kMinDeltaWindow);
}

TEST_F(DeltaTest, TensorsWithoutAPartnerAreCodedByThemselves) {
  const std::string small = MakeFile({.tensors = 1}), large = MakeFile({.tensors = 4});
  ExpectRoundTrip(small, large);
  EXPECT_EQ(summary_.tensors, 8);
  EXPECT_EQ(summary_.tensors_paired, 2);
  ExpectRoundTrip(large, small);
  EXPECT_EQ(summary_.tensors_paired, 2);
  ExpectRoundTrip(MakeFile({.type = TensorType::kQ8_0}), MakeFile({.type = TensorType::kQ4_0}));
  EXPECT_EQ(summary_.tensors_paired, 3);  // the norms
}

// What has nothing in common with its partner costs no more than without one.
TEST_F(DeltaTest, UnrelatedWeightsAreNoLargerThanTheFile) {
  const std::string old_file = MakeFile({.type = TensorType::kQ8_0});
  const std::string new_file = MakeFile({.type = TensorType::kQ8_0, .change = 10});
  ExpectRoundTrip(old_file, new_file);
  EXPECT_LT(summary_.bytes, new_file.size() + 1000);
}

TEST_F(DeltaTest, FilesWithoutTensorsAndWithoutOldOnes) {
  GgufWriter empty;
  empty.AddString("general.name", "nothing");
  ExpectRoundTrip(empty.Serialize(), MakeFile({}));
  ExpectRoundTrip(MakeFile({}), empty.Serialize());
}

TEST_F(DeltaTest, WhatIsNotGgufIsRefused) {
  ASSERT_TRUE(WriteFileAtomic(Path("old"), "text").ok());
  ASSERT_TRUE(WriteFileAtomic(Path("new"), MakeFile({})).ok());
  const auto made = MakeDeltaFile(Path("old"), Path("new"), Path("delta"), {});
  EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(FileExists(Path("delta")));
}

TEST_F(DeltaTest, AnotherOldFileIsFoundOut) {
  const std::string old_file = MakeFile({}), new_file = MakeFile({.change = 0.01});
  const std::string delta = Delta(old_file, new_file);
  std::string altered = old_file;
  altered[altered.size() - 100] ^= 1;
  EXPECT_EQ(Apply(altered, delta, new_file).status().code(), absl::StatusCode::kDataLoss);
  altered = old_file.substr(1);
  const auto shorter = Apply(altered, delta, new_file);
  EXPECT_EQ(shorter.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(Message(shorter.status())), HasSubstr("expected an old file of"));
}

TEST_F(DeltaTest, ADeltaToSomethingElseIsRefused) {
  const std::string old_file = MakeFile({}), new_file = MakeFile({.change = 0.01});
  const std::string delta = Delta(old_file, new_file);
  const auto result = Apply(old_file, delta, old_file);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kFailedPrecondition);
}

// Whatever byte is altered and wherever the delta is cut: never another result.
TEST_F(DeltaTest, EveryFlippedByteAndEveryCutIsFoundOut) {
  const FileOptions small = {.type = TensorType::kQ4_0, .tensors = 1, .rows = 4};
  FileOptions changed = small;
  changed.change = 0.02;
  const std::string old_file = MakeFile(small), new_file = MakeFile(changed);
  const std::string delta = Delta(old_file, new_file);
  for (size_t i = 0; i < delta.size(); ++i) {
    std::string altered = delta;
    altered[i] ^= static_cast<char>(1 << i % 8);
    const auto result = Apply(old_file, altered, new_file);
    // The hash and the size of the old file's content are not needed to make the new one.
    EXPECT_TRUE(!result.ok() || *result == new_file) << i;
    EXPECT_FALSE(Apply(old_file, delta.substr(0, i), new_file).ok()) << i;
  }
  EXPECT_FALSE(Apply(old_file, delta + "x", new_file).ok());
}

TEST_F(DeltaTest, FailedFilesLeaveNothing) {
  const std::string old_file = MakeFile({}), new_file = MakeFile({.change = 0.01});
  std::string delta = Delta(old_file, new_file);
  const DeltaTarget target = {new_file.size(), Blake2b(AsBytes(new_file))};
  ASSERT_TRUE(ApplyDeltaFile(Path("old"), Path("delta"), Path("made"), target).ok());
  EXPECT_TRUE(*ReadFile(Path("made")) == new_file);
  delta[delta.size() - 20] ^= 1;
  ASSERT_TRUE(WriteFileAtomic(Path("delta"), delta).ok());
  EXPECT_FALSE(ApplyDeltaFile(Path("old"), Path("delta"), Path("again"), target).ok());
  EXPECT_FALSE(FileExists(Path("again")));
}

}  // namespace
}  // namespace lorikeet
