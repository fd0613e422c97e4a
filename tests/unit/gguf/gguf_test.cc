#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>

#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/strings.h"
#include "common/gguf/reader.h"
#include "common/gguf/stream_writer.h"
#include "common/gguf/writer.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename T>
std::string Le(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

std::string Str(std::string_view text) { return Le<uint64_t>(text.size()) + std::string(text); }

// A header with `tensors` tensor infos and `keys` metadata entries to follow.
std::string Header(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
  return "GGUF" + Le(version) + Le(tensors) + Le(keys);
}

std::string TensorInfo(std::string_view name, std::vector<uint64_t> shape, uint32_t type,
                       uint64_t offset) {
  std::string info = Str(name) + Le<uint32_t>(static_cast<uint32_t>(shape.size()));
  for (const uint64_t size : shape) info += Le(size);
  return info + Le(type) + Le(offset);
}

std::string Padded(std::string bytes, size_t alignment = 32) {
  bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
  return bytes;
}

absl::StatusOr<std::shared_ptr<const GgufFile>> Parse(const std::string& bytes) {
  return GgufFile::Parse(AsBytes(bytes), "test");
}

void ExpectError(const std::string& bytes, std::string_view words) {
  const auto file = Parse(bytes);
  ASSERT_FALSE(file.ok()) << words;
  EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Message(file.status())), HasSubstr(words));
}

std::string SmallFile() {
  GgufWriter writer;
  writer.AddString("general.architecture", "llama");
  writer.AddBool("b", true);
  writer.AddUint32("u32", 7);
  writer.AddUint64("u64", uint64_t{1} << 40);
  writer.AddFloat32("f32", 0.5f);
  writer.AddStrings("strings", {"one", "", "three"});
  writer.AddFloat32s("floats", std::vector<float>{1.5f, -2});
  writer.AddInt32s("ints", std::vector<int32_t>{-1, 2});
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  writer.AddTensor("w", {3, 2}, values);
  writer.AddTensor("a", {2}, std::span(values).first(2));
  writer.AddTensor("q", TensorType::kQ8_0, {32}, std::vector<uint8_t>(34, 9));
  return writer.Serialize();
}

TEST(GgufTest, RoundTrip) {
  const std::string bytes = SmallFile();
  const auto parsed = Parse(bytes);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const GgufFile& file = **parsed;
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.GetString("general.architecture").value(), "llama");
  EXPECT_TRUE(file.GetBool("b").value());
  EXPECT_EQ(file.GetInt("u32").value(), 7);
  EXPECT_EQ(file.GetInt("u64").value(), int64_t{1} << 40);
  EXPECT_EQ(file.GetFloat("f32").value(), 0.5);
  EXPECT_EQ(file.GetFloat("u32").value(), 7.0);
  EXPECT_THAT(file.GetArray("strings").value()->strings, ElementsAre("one", "", "three"));
  EXPECT_THAT(file.GetArray("floats").value()->floats, ElementsAre(1.5, -2.0));
  EXPECT_THAT(file.GetArray("ints").value()->integers, ElementsAre(-1, 2));
  ASSERT_EQ(file.tensors().size(), 3u);
  const GgufTensor* w = file.FindTensor("w");
  ASSERT_NE(w, nullptr);
  EXPECT_EQ(w->type, TensorType::kF32);
  EXPECT_EQ(w->row_length(), 3);
  EXPECT_EQ(w->rows(), 2);
  EXPECT_EQ(w->elements(), 6);
  float value = 0;
  std::memcpy(&value, w->data.data() + 20, 4);
  EXPECT_EQ(value, 6.0f);
  EXPECT_EQ(file.FindTensor("q")->data.size(), 34u);
  EXPECT_EQ((file.FindTensor("q")->data.data() - AsBytes(bytes).data()) % 32, 0);
  EXPECT_EQ(file.FindTensor("x"), nullptr);
}

TEST(GgufTest, TypedLookupsNameKeyAndTypes) {
  const std::string bytes = SmallFile();
  const auto file = Parse(bytes).value();
  EXPECT_THAT(std::string(Message(file->GetInt("f32").status())),
              HasSubstr("f32: expected an integer, found a float"));
  EXPECT_THAT(std::string(Message(file->GetString("nothing").status())), HasSubstr("nothing"));
  EXPECT_EQ(file->GetInt("nothing", 5).value(), 5);
  EXPECT_EQ(file->GetString("nothing", "x").value(), "x");
  EXPECT_FALSE(file->GetInt("f32", 5).ok());
  EXPECT_FALSE(file->GetBool("u32", true).ok());
  EXPECT_FALSE(file->GetFloat("b", 1.0).ok());
}

TEST(GgufTest, WritesAndOpensFile) {
  const std::string path = MakeTempDir("gguf") + "/a.gguf";
  GgufWriter writer;
  writer.AddTensor("t", {4}, std::vector<float>{1, 2, 3, 4});
  ASSERT_TRUE(writer.Write(path).ok());
  const auto file = GgufFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->path(), path);
  EXPECT_EQ((*file)->size_bytes(), std::filesystem::file_size(path));
  EXPECT_EQ(GgufFile::Open(path + ".none").status().code(), absl::StatusCode::kNotFound);
}

TEST(GgufTest, ErrorsNamePath) {
  const std::string path = MakeTempDir("gguf") + "/bad.gguf";
  ASSERT_TRUE(WriteFileAtomic(path, "no").ok());
  EXPECT_THAT(std::string(Message(GgufFile::Open(path).status())), HasSubstr("bad.gguf"));
  ASSERT_TRUE(WriteFileAtomic(path, "").ok());
  EXPECT_FALSE(GgufFile::Open(path).ok());
}

TEST(GgufTest, CopyMetadataKeepsEveryTypeExactly) {
  std::string bytes = Header(0, 5);
  bytes += Str("i8") + Le<uint32_t>(1) + Le<int8_t>(-5);
  bytes += Str("u16") + Le<uint32_t>(2) + Le<uint16_t>(65535);
  bytes += Str("f64") + Le<uint32_t>(12) + Le<double>(0.1);
  bytes +=
      Str("bools") + Le<uint32_t>(9) + Le<uint32_t>(7) + Le<uint64_t>(2) + std::string("\1\0", 2);
  bytes += Str("i64") + Le<uint32_t>(11) + Le<int64_t>(-1);
  const auto file = Parse(bytes).value();
  EXPECT_EQ(file->GetInt("i8").value(), -5);
  EXPECT_EQ(file->GetInt("u16").value(), 65535);
  EXPECT_EQ(file->GetFloat("f64").value(), 0.1);
  EXPECT_THAT(file->GetArray("bools").value()->integers, ElementsAre(1, 0));
  GgufWriter writer;
  for (const char* key : {"i8", "u16", "f64", "bools", "i64"}) writer.CopyMetadata(*file, key);
  EXPECT_EQ(writer.Serialize(), Padded(bytes));
}

TEST(GgufTest, RefusesWrongMagicVersionAndEndian) {
  ExpectError("", "does not start with");
  ExpectError("GGML" + Header(0, 0).substr(4), "does not start with");
  ExpectError(Header(0, 0, 1), "version 1 is not supported");
  ExpectError(Header(0, 0, 4), "version 4 is not supported");
  ExpectError(Header(0, 0, 0x03000000), "big-endian GGUF (version 3)");
  EXPECT_TRUE(Parse(Header(0, 0, 2)).ok());
}

TEST(GgufTest, RefusesAbsurdCounts) {
  constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max();
  ExpectError(Header(kHuge, 0), "tensors; at most");
  ExpectError(Header(0, kHuge), "metadata keys; at most");
  ExpectError(Header(1 << 16, 1 << 15), "truncated");
  ExpectError(Header(0, 1) + Le(kHuge) + "k", "at most");
  const std::string key = Header(0, 1) + Str("k");
  ExpectError(key + Le<uint32_t>(8) + Le(kHuge), "at most");
  for (const uint32_t type : {0u, 1u, 4u, 6u, 7u, 8u, 10u, 12u}) {
    ExpectError(key + Le<uint32_t>(9) + Le(type) + Le(kHuge), "truncated");
    ExpectError(key + Le<uint32_t>(9) + Le(type) + Le(uint64_t{1} << 61), "truncated");
  }
}

TEST(GgufTest, RefusesBadMetadata) {
  const std::string key = Header(0, 1) + Str("k");
  ExpectError(key + Le<uint32_t>(13), "unknown type 13");
  ExpectError(key + Le<uint32_t>(9) + Le<uint32_t>(13) + Le<uint64_t>(0),
              "unknown element type 13");
  ExpectError(key + Le<uint32_t>(9) + Le<uint32_t>(9) + Le<uint64_t>(0), "holds arrays");
  ExpectError(key + Le<uint32_t>(7) + "\2", "is 2");
  ExpectError(key + Le<uint32_t>(9) + Le<uint32_t>(10) + Le<uint64_t>(1) + Le(~uint64_t{0}),
              "does not fit");
  ExpectError(Header(0, 1) + Str("") + Le<uint32_t>(0) + "x", "empty metadata key");
  const std::string entry = Str("k") + Le<uint32_t>(0) + "x";
  ExpectError(Header(0, 2) + entry + entry, "\"k\" appears twice");
}

TEST(GgufTest, HonoursAlignment) {
  const auto aligned = [](uint32_t alignment, uint64_t offset) {
    const std::string head = Header(1, 1) + Str("general.alignment") + Le<uint32_t>(4) +
                             Le(alignment) + TensorInfo("t", {2}, 0, offset);
    return Padded(head, alignment == 0 ? 1 : alignment) + std::string(offset, '\0') + Le(1.0f) +
           Le(2.0f);
  };
  const std::string bytes = aligned(64, 64);
  const auto file = Parse(bytes);
  ASSERT_TRUE(file.ok()) << file.status();
  float value = 0;
  std::memcpy(&value, (*file)->tensors()[0].data.data(), 4);
  EXPECT_EQ(value, 1.0f);
  EXPECT_TRUE(Parse(aligned(8, 8)).ok());
  ExpectError(aligned(64, 32), "expected a multiple of 64");
  for (const uint32_t bad : {0u, 1u, 4u, 24u, 33u}) ExpectError(aligned(bad, 0), "power of two");
}

TEST(GgufTest, RefusesBadTensors) {
  const auto one = [](std::vector<uint64_t> shape, uint32_t type, uint64_t offset) {
    return Padded(Header(1, 0) + TensorInfo("t", std::move(shape), type, offset)) +
           std::string(128, '\0');
  };
  EXPECT_TRUE(Parse(one({32}, 0, 0)).ok());
  ExpectError(one({33}, 0, 0), "needs 132 bytes");
  ExpectError(one({32}, 0, 32), "truncated");
  ExpectError(one({32}, 0, 1), "multiple of 32");
  ExpectError(one({32}, 0, ~uint64_t{31}), "truncated");
  ExpectError(one({0}, 0, 0), "dimension 0");
  ExpectError(one({~uint64_t{0}}, 0, 0), "dimension -1");
  ExpectError(one({uint64_t{1} << 32, uint64_t{1} << 32}, 0, 0), "below 2^63");
  ExpectError(one({uint64_t{1} << 62}, 0, 0), "too large");
  ExpectError(one({}, 0, 0), "0 dimensions");
  ExpectError(one({1, 1, 1, 1, 1}, 0, 0), "5 dimensions");
  ExpectError(one({31}, 8, 0), "multiple of 32");
  ExpectError(one({32}, 99, 0), "type 99, which is not supported; supported: F32, F16");
  ExpectError(one({32}, 4, 0), "type 4");  // removed from GGML
  const std::string info = TensorInfo("t", {2}, 0, 0);
  ExpectError(Padded(Header(2, 0) + info + info) + std::string(64, '\0'), "appears twice");
  ExpectError(Padded(Header(2, 0) + info + TensorInfo("u", {2}, 0, 0)) + std::string(64, '\0'),
              "overlaps");
  ExpectError(Padded(Header(1, 0) + TensorInfo("", {2}, 0, 0)) + std::string(64, '\0'),
              "empty tensor name");
}

TEST(GgufTest, StreamedFilesEqualSerializedOnes) {
  const std::vector<float> odd = {1, 2, 3}, even(16, 4.0f);
  GgufWriter whole, head;
  for (GgufWriter* writer : {&whole, &head}) writer->AddString("general.name", "streamed");
  whole.AddTensor("odd", {3}, odd);
  whole.AddTensor("even", {8, 2}, even);
  head.DeclareTensor("odd", TensorType::kF32, {3});
  head.DeclareTensor("even", TensorType::kF32, {8, 2});
  const std::string path = MakeTempDir("stream") + "/file.gguf";
  const auto bytes = [](const std::vector<float>& values, size_t begin, size_t end) {
    return AsBytes({reinterpret_cast<const char*>(values.data() + begin), 4 * (end - begin)});
  };
  {
    const auto dropped = GgufStreamWriter::Create(path, head).value();
    ASSERT_TRUE(dropped->Append(bytes(odd, 0, 3)).ok());
  }
  EXPECT_FALSE(FileExists(path));
  const auto stream = GgufStreamWriter::Create(path, head).value();
  ASSERT_TRUE(stream->Append(bytes(odd, 0, 3)).ok());
  for (size_t i = 0; i < 16; i += 4) ASSERT_TRUE(stream->Append(bytes(even, i, i + 4)).ok());
  ASSERT_TRUE(stream->Finish().ok());
  EXPECT_EQ(ReadFile(path).value(), whole.Serialize());
  EXPECT_EQ(stream->bytes_written(), whole.Serialize().size());
}

// What one small file may make us allocate is a small multiple of its size.
TEST(GgufTest, NestedArraysAndAbsurdAlignmentsAreRefusedWithoutReadingOn) {
  const std::string key = Header(0, 1) + Str("k");
  std::string nested = key + Le<uint32_t>(9);
  for (int depth = 0; depth < 1000; ++depth) nested += Le<uint32_t>(9) + Le<uint64_t>(1);
  ExpectError(nested, "array \"k\" holds arrays");
  const auto aligned = [](uint64_t alignment) {
    return Header(0, 1) + Str("general.alignment") + Le<uint32_t>(10) + Le(alignment);
  };
  ExpectError(aligned(uint64_t{1} << 40), "power of two");
  ExpectError(aligned(~uint64_t{0}), "63 bit");
  ExpectError(Header(0, 1) + Str("general.alignment") + Le<uint32_t>(8) + Str("32"),
              "expected an integer");
}

TEST(GgufTest, EveryTruncationIsRefused) {
  const std::string whole = SmallFile();
  // The last tensor's data ends 30 bytes before the end: the padding after it may be missing.
  const size_t needed = whole.size() - (64 - 34);
  for (size_t length = 0; length < whole.size(); ++length) {
    const std::string part = whole.substr(0, length);  // its own allocation: sanitizers see its end
    EXPECT_EQ(Parse(part).ok(), length >= needed) << length;
  }
}

TEST(GgufTest, FlippedBitsNeverLeaveTheFile) {
  const std::string whole = SmallFile();
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const auto file = Parse(flipped);
    if (!file.ok()) continue;
    const auto bytes = AsBytes(flipped);
    for (const GgufTensor& tensor : (*file)->tensors()) {
      ASSERT_GE(tensor.data.data(), bytes.data());
      ASSERT_LE(tensor.data.data() + tensor.data.size(), bytes.data() + bytes.size());
    }
  }
}

TEST(GgufTest, HostileNamesAreEscapedInErrors) {
  const std::string entry = Str("k\x1b[31m") + Le<uint32_t>(0) + "x";
  const auto file = Parse(Header(0, 2) + entry + entry);
  EXPECT_THAT(std::string(Message(file.status())), HasSubstr("\\x1b[31m"));
}

TEST(GgufTest, FingerprintIsOfTensorsOnly) {
  const std::vector<float> x = {1, 2}, y = {3, 4};
  const auto fingerprint = [](const GgufWriter& writer) {
    const std::string bytes = writer.Serialize();
    return ToHex(Parse(bytes).value()->Fingerprint());
  };
  GgufWriter base, reordered, renamed, reshaped, changed;
  base.AddTensor("a", {2}, x);
  base.AddTensor("b", {2}, y);
  reordered.AddString("key", "does not enter");
  reordered.AddTensor("b", {2}, y);
  reordered.AddTensor("a", {2}, x);
  renamed.AddTensor("a", {2}, x);
  renamed.AddTensor("c", {2}, y);
  reshaped.AddTensor("a", {2}, x);
  reshaped.AddTensor("b", {1, 2}, y);
  changed.AddTensor("a", {2}, x);
  changed.AddTensor("b", {2}, x);
  EXPECT_EQ(fingerprint(base), fingerprint(reordered));
  EXPECT_NE(fingerprint(base), fingerprint(renamed));
  EXPECT_NE(fingerprint(base), fingerprint(reshaped));
  EXPECT_NE(fingerprint(base), fingerprint(changed));
}

TEST(TinyModelTest, EveryVariantIsAValidFileAndSeedsMatter) {
  for (const TensorType type :
       {TensorType::kF32, TensorType::kF16, TensorType::kQ8_0, TensorType::kQ4_0}) {
    for (const char* architecture : {"llama", "qwen2"}) {
      TinyModelOptions options;
      options.architecture = architecture;
      options.type = type;
      options.rope_freqs = options.architecture == "llama";
      options.tied = !options.rope_freqs;
      const std::string bytes = TinyModelBytes(options);
      EXPECT_EQ(bytes, TinyModelBytes(options));
      const auto file = Parse(bytes);
      ASSERT_TRUE(file.ok()) << file.status();
      EXPECT_EQ((*file)->FindTensor("blk.1.ffn_down.weight")->type, type);
      EXPECT_EQ((*file)->FindTensor("rope_freqs.weight") != nullptr, options.rope_freqs);
      EXPECT_EQ((*file)->FindTensor("output.weight") == nullptr, options.tied);
      options.seed = 2;
      EXPECT_NE(bytes, TinyModelBytes(options));
    }
  }
  EXPECT_TRUE(GgufFile::Open(WriteTinyModel()).ok());
}

TEST(GgufTest, OpensEveryGoldenModel) {
  LORIKEET_SHARED_OR_SKIP(folder, "golden/models");
  int opened = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".gguf") continue;
    const auto file = GgufFile::Open(entry.path().string());
    EXPECT_TRUE(file.ok()) << file.status();
    ++opened;
  }
  EXPECT_GT(opened, 0);
}

}  // namespace
}  // namespace lorikeet
