#include "common/adapter/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "common/adapter/half_floats.h"
#include "common/base/file.h"
#include "common/base/strings.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

// A file of this header and `data_bytes` zeros.
std::string FileOf(const std::string& header, size_t data_bytes = 0) {
  std::string bytes(8, '\0');
  const uint64_t length = header.size();
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + std::string(data_bytes, '\0');
}

void ExpectError(const std::string& bytes, const std::string& words) {
  const auto file = SafetensorsFile::Parse(AsBytes(bytes));
  EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument) << words;
  EXPECT_THAT(std::string(Message(file.status())), HasSubstr(words));
}

TEST(SafetensorsTest, ReadsAFileAsTheFormatDescribesIt) {
  const std::string bytes =
      FileOf(R"({"b":{"dtype":"F16","shape":[3],"data_offsets":[8,14]},)"
             R"("__metadata__":{"format":"pt"},)"
             R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}   )") +
      std::string("\x00\x00\x80\x3F\x00\x00\x00\xC0\x00\x3C\x00\xBC\x01\x00", 14);
  const auto file = SafetensorsFile::Parse(AsBytes(bytes));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(file->metadata(), ElementsAre(Pair("format", "pt")));
  ASSERT_EQ(file->tensors().size(), 2u);
  EXPECT_EQ(file->tensors()[0].name, "a");
  EXPECT_THAT(file->tensors()[0].shape, ElementsAre(1, 2));
  EXPECT_THAT(file->tensors()[0].Values(), ElementsAre(1.0f, -2.0f));
  EXPECT_EQ(file->tensors()[1].type, TensorType::kF16);
  EXPECT_THAT(file->tensors()[1].Values(), ElementsAre(1.0f, -1.0f, std::ldexp(1.0f, -24)));
}

TEST(SafetensorsTest, WhatIsWrittenIsRead) {
  for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kBF16}) {
    SafetensorsWriter writer;
    writer.SetMetadata("quote \" and \n", "ü");
    const std::vector<float> values = {0.5f, -1.0f, 3.0f, 0.0f, -0.0f, 65504.0f};
    ASSERT_TRUE(writer.AddTensor("weights", type, {2, 3}, values).ok());
    ASSERT_TRUE(writer.AddTensor("none", type, {0, 7}, {}).ok());
    ASSERT_TRUE(writer.AddTensor("one", type, {}, std::vector<float>{2}).ok());
    const std::string bytes = writer.Serialize();
    const auto file = SafetensorsFile::Parse(AsBytes(bytes));
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_THAT(file->metadata(), ElementsAre(Pair("quote \" and \n", "ü")));
    ASSERT_EQ(file->tensors().size(), 3u);
    EXPECT_EQ(file->tensors()[0].type, type);
    EXPECT_EQ((file->tensors()[0].data.data() - AsBytes(bytes).data()) % 8, 0);
    std::vector<float> read = file->tensors()[0].Values();
    EXPECT_TRUE(std::signbit(read[4]));
    if (type == TensorType::kBF16) read[5] = 65504.0f;  // rounds to 65536
    EXPECT_EQ(read, values);
    EXPECT_THAT(file->tensors()[1].shape, ElementsAre(0, 7));
    EXPECT_EQ(file->tensors()[2].elements(), 1);
    EXPECT_THAT(file->tensors()[2].Values(), ElementsAre(2.0f));
  }
}

TEST(SafetensorsTest, AFileOfNothing) {
  const std::string bytes = SafetensorsWriter().Serialize();
  const auto file = SafetensorsFile::Parse(AsBytes(bytes));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(file->tensors(), IsEmpty());
  EXPECT_THAT(file->metadata(), IsEmpty());
}

TEST(SafetensorsTest, ValuesThatDoNotFitAreRefused) {
  SafetensorsWriter writer;
  const std::vector<float> values = {1e6f};
  const absl::Status status = writer.AddTensor("w", TensorType::kF16, {1}, values);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Message(status)), HasSubstr("w: expected values that fit F16"));
}

TEST(SafetensorsTest, HeaderThatIsNotThere) {
  ExpectError("", "expected at least 8 bytes, got 0");
  ExpectError("1234567", "expected at least 8 bytes, got 7");
  ExpectError(std::string(8, '\0'), "its length says 0");
  ExpectError(FileOf("{}").substr(0, 9), "expected a header of 2 to 1 bytes, its length says 2");
  ExpectError(std::string(8, '\xFF') + std::string(100, ' '),
              "its length says 18446744073709551615");
  ExpectError("GGUF\x03\x00\x00\x00 whatever follows", "not a safetensors file");
}

TEST(SafetensorsTest, HeaderThatIsNoSuchJson) {
  ExpectError(FileOf("{]"), "no JSON at byte 2");
  ExpectError(FileOf("[]"), "a list at the top (expected an object)");
  ExpectError(FileOf("42"), "a number at the top");
  ExpectError(FileOf("{}{}"), "no JSON");
  ExpectError(FileOf(R"({"a":1})"), "a number for \"a\" (expected an object)");
  ExpectError(FileOf(R"({"a":{"dtype":"F32","shape":[0]}})"), "\"a\" without data_offsets");
  ExpectError(FileOf(R"({"a":{"dtype":7}})"), "a number in dtype of \"a\" (expected a string)");
  ExpectError(FileOf(R"({"a":{"shape":[1,"2"]}})"), "a string in shape of \"a\"");
  ExpectError(FileOf(R"({"a":{"shape":[-1]}})"), "-1 in shape of \"a\" (expected a list of whole");
  ExpectError(FileOf(R"({"a":{"shape":[1.5]}})"), "1.5 in shape");
  ExpectError(FileOf(R"({"a":{"shape":[[1]]}})"), "a list in shape");
  ExpectError(FileOf(R"({"a":{"shape":{}}})"), "an object in shape");
  ExpectError(FileOf(R"({"a":{"shape":null}})"), "null in shape");
  ExpectError(FileOf(R"({"a":{"data_offsets":[1]}})"), "data_offsets of 1 numbers for \"a\"");
  ExpectError(FileOf(R"({"a":{"colour":"red"}})"), "the field \"colour\" of \"a\"");
  ExpectError(FileOf(R"({"__metadata__":[]})"), "a list for __metadata__ (expected an object)");
  ExpectError(FileOf(R"({"__metadata__":{"k":true}})"), "under the metadata key \"k\"");
}

TEST(SafetensorsTest, NamesTwice) {
  const std::string a = R"("a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
  ExpectError(FileOf("{" + a + "," + a + "}"), "the name \"a\" twice");
  ExpectError(FileOf(R"({"a":{"dtype":"F32","dtype":"F32"}})"), "the field \"dtype\" twice");
  ExpectError(FileOf(R"({"__metadata__":{"k":"1","k":"2"}})"), "the metadata key \"k\" twice");
  ExpectError(FileOf(R"({"__metadata__":{},"__metadata__":{}})"),
              "the name \"__metadata__\" twice");
}

std::string Entry(const std::string& name, const std::string& shape, const std::string& offsets,
                  const std::string& dtype = "F32") {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

TEST(SafetensorsTest, DataThatDoesNotLieAsSaid) {
  const std::string a = Entry("a", "[2]", "[0,8]");
  ExpectError(FileOf("{" + Entry("a", "[2]", "[8,0]") + "}", 8), "a gap up to 8");
  ExpectError(FileOf("{" + a + "," + Entry("b", "[2]", "[8,0]") + "}", 8),
              "\"b\": expected an end from 8 to 8, the bytes of data, got 0");
  ExpectError(FileOf("{" + a + "," + Entry("b", "[1]", "[4,8]") + "}", 8),
              "\"b\": expected data from byte 8, where the data before it ends, got an overlap "
              "from 4");
  ExpectError(FileOf("{" + a + "," + Entry("b", "[1]", "[12,16]") + "}", 16), "got a gap up to 12");
  ExpectError(FileOf("{" + a + "}", 4), "\"a\": expected an end from 0 to 4");
  ExpectError(FileOf("{" + a + "}", 12), "expected 8 bytes of data for all tensors, got 12");
  ExpectError(FileOf("{" + Entry("a", "[3]", "[0,8]") + "}", 8), "\"a\": expected 12 bytes");
  ExpectError(FileOf("{" + Entry("a", "[2]", "[0,8]", "F16") + "}", 8), "\"a\": expected 4 bytes");
  ExpectError(FileOf("{" + Entry("a", "[]", "[0,8]") + "}", 8), "\"a\": expected 4 bytes");
}

TEST(SafetensorsTest, ShapesThatOverflow) {
  ExpectError(FileOf("{" + Entry("a", "[4294967296,4294967296,4]", "[0,0]") + "}"),
              "fewer than 2^63 bytes");
  ExpectError(FileOf("{" + Entry("a", "[18446744073709551615]", "[0,8]") + "}", 8),
              "fewer than 2^63 bytes");
  ExpectError(FileOf("{" + Entry("a", "[18446744073709551616]", "[0,8]") + "}", 8), "in shape");
  ExpectError(FileOf("{" + Entry("a", "[0,18446744073709551615]", "[0,0]") + "}"),
              "fewer than 2^63 bytes");
}

TEST(SafetensorsTest, UnsupportedTypesAreNamedWithTheSupported) {
  ExpectError(FileOf("{" + Entry("a", "[2]", "[0,2]", "F8_E4M3") + "}", 2),
              "\"a\": expected dtype F32, F16 or BF16, got \"F8_E4M3\"");
  ExpectError(FileOf("{" + Entry("a", "[2]", "[0,8]", "f32") + "}", 8), "got \"f32\"");
  ExpectError(FileOf("{" + Entry("a", "[2]", "[0,8]", "Q8_0") + "}", 8), "got \"Q8_0\"");
}

TEST(SafetensorsTest, FilesAreNamedInErrors) {
  const std::string path = MakeTempDir("safetensors") + "/x.safetensors";
  EXPECT_EQ(SafetensorsFile::Open(path).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(WriteFileAtomic(path, "").ok());
  const auto file = SafetensorsFile::Open(path);
  EXPECT_THAT(std::string(Message(file.status())), HasSubstr(path + ": not a safetensors file"));
}

// Every half and bfloat16 there is comes back from its float.
TEST(HalfFloatsTest, EveryHalfSurvives) {
  for (const TensorType type : {TensorType::kF16, TensorType::kBF16}) {
    for (uint32_t bits = 0; bits < 0x10000; ++bits) {
      const uint8_t stored[2] = {static_cast<uint8_t>(bits), static_cast<uint8_t>(bits >> 8)};
      const std::vector<float> value = WidenFloats(type, stored);
      const std::string back = NarrowFloats(type, value);
      if (std::isnan(value[0])) {
        EXPECT_TRUE(std::isnan(WidenFloats(type, AsBytes(back))[0])) << bits;
      } else {
        EXPECT_EQ(back, AsChars(stored)) << bits;
      }
    }
  }
}

// Between two neighbours the nearer is taken, half way the even one.
TEST(HalfFloatsTest, RoundsToNearestEven) {
  const auto rounded = [](TensorType type, float value) {
    return WidenFloats(type, AsBytes(NarrowFloats(type, std::span(&value, 1))))[0];
  };
  for (const TensorType type : {TensorType::kF16, TensorType::kBF16}) {
    for (uint16_t bits = 0; bits < 0x7BFF; ++bits) {
      const uint16_t neighbours[2] = {bits, static_cast<uint16_t>(bits + 1)};
      uint8_t stored[4];
      std::memcpy(stored, neighbours, sizeof(stored));
      const std::vector<float> values = WidenFloats(type, stored);
      const float middle = values[0] + (values[1] - values[0]) / 2;
      EXPECT_EQ(rounded(type, middle), values[bits % 2 == 0 ? 0 : 1]) << bits;
      EXPECT_EQ(rounded(type, std::nextafter(middle, values[0])), values[0]) << bits;
      EXPECT_EQ(rounded(type, std::nextafter(middle, values[1])), values[1]) << bits;
      EXPECT_EQ(rounded(type, -values[1]), -values[1]) << bits;
    }
  }
  EXPECT_EQ(rounded(TensorType::kF16, 65519.9f), 65504.0f);
  EXPECT_EQ(rounded(TensorType::kF16, 65520.0f), std::numeric_limits<float>::infinity());
}

}  // namespace
}  // namespace lorikeet
