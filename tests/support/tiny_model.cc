#include "tests/support/tiny_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/gguf/writer.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

constexpr std::string_view kMerged[] = {" t", "he", "in", "er", "an", "re", "on", "at", "en", "nd",
                                        "ti", "es", "or", "te", "of", "ed", "is", "it", "al", "ar",
                                        "st", "to", "nt", "ng", "se", "ha", "as", "ou", "io", "le"};
constexpr int kMergeCount = static_cast<int>(std::size(kMerged));

void AppendUtf8(std::string& out, uint32_t codepoint) {
  if (codepoint < 0x80) {
    out.push_back(static_cast<char>(codepoint));
  } else {
    out.push_back(static_cast<char>(0xC0 | (codepoint >> 6)));
    out.push_back(static_cast<char>(0x80 | (codepoint & 0x3F)));
  }
}

// GPT-2's printable stand-ins: printable Latin-1 bytes stand for themselves, the others for U+0100
// and up in order.
std::vector<std::string> ByteNames() {
  std::vector<std::string> names;
  uint32_t next = 0x100;
  for (uint32_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    AppendUtf8(names.emplace_back(), printable ? b : next++);
  }
  return names;
}

void AddTokenizer(const TinyModelOptions& options, GgufWriter& writer) {
  constexpr int32_t kNormal = 1, kControl = 3, kUnused = 5;
  const std::vector<std::string> names = ByteNames();
  std::vector<std::string> tokens = names, merges;
  std::vector<int32_t> types(256 + kMergeCount, kNormal);
  for (const std::string_view pair : kMerged) {
    const std::string& left = names[static_cast<uint8_t>(pair[0])];
    const std::string& right = names[static_cast<uint8_t>(pair[1])];
    tokens.push_back(left + right);
    merges.push_back(left + " " + right);
  }
  tokens.insert(tokens.end(), {"<|bos|>", "<|eos|>"});
  types.insert(types.end(), 2, kControl);
  while (static_cast<int>(tokens.size()) < options.vocab) {
    tokens.push_back(absl::StrCat("[PAD", tokens.size(), "]"));
    types.push_back(kUnused);
  }
  writer.AddString("tokenizer.ggml.model", "gpt2");
  writer.AddString("tokenizer.ggml.pre", "qwen2");
  writer.AddStrings("tokenizer.ggml.tokens", tokens);
  writer.AddInt32s("tokenizer.ggml.token_type", types);
  writer.AddStrings("tokenizer.ggml.merges", merges);
  writer.AddUint32("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(TinyModelBos(options)));
  writer.AddUint32("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(TinyModelEos(options)));
  writer.AddBool("tokenizer.ggml.add_bos_token", options.add_bos);
}

int HeadSize(const TinyModelOptions& options) {
  return options.head_size > 0 ? options.head_size : options.dim / options.heads;
}

void AddConfig(const TinyModelOptions& options, GgufWriter& writer) {
  const std::string& arch = options.architecture;
  const auto number = [&](std::string_view key, int value) {
    writer.AddUint32(absl::StrCat(arch, ".", ToAbsl(key)), static_cast<uint32_t>(value));
  };
  writer.AddString("general.architecture", arch);
  writer.AddString("general.name", "tiny random test model");
  number("block_count", options.layers);
  number("context_length", options.context);
  number("embedding_length", options.dim);
  number("feed_forward_length", options.ffn);
  number("attention.head_count", options.heads);
  number("attention.head_count_kv", options.kv_heads);
  if (options.head_size > 0) {
    number("attention.key_length", options.head_size);
    number("attention.value_length", options.head_size);
  }
  number("rope.dimension_count", HeadSize(options));
  number("vocab_size", options.vocab);
  writer.AddFloat32(arch + ".rope.freq_base", 10000.0f);
  writer.AddFloat32(arch + ".attention.layer_norm_rms_epsilon", 1e-5f);
}

// Round to nearest even; magnitudes here are far below 65504 and tiny ones may flush to zero.
uint16_t ToHalf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  constexpr uint32_t kSmallestNormalHalf = 0x38800000;  // 2^-14
  if (magnitude < kSmallestNormalHalf) return sign;
  const uint32_t rebiased = magnitude - 0x38000000;
  return static_cast<uint16_t>(sign | ((rebiased + 0xFFF + ((rebiased >> 13) & 1)) >> 13));
}

template <typename T>
void Put(std::vector<uint8_t>& out, T value) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof(T));
}

// llama.cpp's blocks of 32: half scale, then 32 signed bytes.
void PutQ8(std::vector<uint8_t>& out, std::span<const float, 32> block) {
  float largest = 0;
  for (const float x : block) largest = std::max(largest, std::abs(x));
  const float scale = largest / 127.0f;
  Put(out, ToHalf(scale));
  for (const float x : block) {
    Put(out, static_cast<int8_t>(scale > 0 ? std::lround(x / scale) : 0));
  }
}

// Half scale, then 16 bytes: element j in the low nibble of byte j, element j + 16 in its high
// nibble; offset 8.
void PutQ4(std::vector<uint8_t>& out, std::span<const float, 32> block) {
  float extreme = 0;
  for (const float x : block) extreme = std::abs(x) > std::abs(extreme) ? x : extreme;
  const float scale = extreme / -8.0f;
  Put(out, ToHalf(scale));
  const auto level = [&](float x) {
    return static_cast<uint8_t>(scale != 0 ? std::clamp(x / scale + 8.5f, 0.0f, 15.0f) : 8.0f);
  };
  for (size_t j = 0; j < 16; ++j) {
    out.push_back(static_cast<uint8_t>(level(block[j]) | (level(block[j + 16]) << 4)));
  }
}

std::vector<uint8_t> Encode(std::span<const float> values, TensorType type) {
  std::vector<uint8_t> out;
  const bool blocks = type == TensorType::kQ8_0 || type == TensorType::kQ4_0;
  LORIKEET_CHECK(blocks || type == TensorType::kF32 || type == TensorType::kF16);
  if (type == TensorType::kF32) {
    for (const float x : values) Put(out, x);
  } else if (type == TensorType::kF16) {
    for (const float x : values) Put(out, ToHalf(x));
  }
  for (size_t i = 0; blocks && i < values.size(); i += 32) {
    const std::span<const float, 32> block(values.data() + i, 32);
    type == TensorType::kQ8_0 ? PutQ8(out, block) : PutQ4(out, block);
  }
  return out;
}

class TensorMaker {
 public:
  TensorMaker(const TinyModelOptions& options, GgufWriter& writer)
      : options_(options), writer_(writer), rng_(options.seed) {}

  // Standard deviation 1 / sqrt(in): activations keep their size through the layers.
  void Matrix(const std::string& name, int in, int out) {
    const auto values = Random(int64_t{in} * out, 1.0f / std::sqrt(static_cast<float>(in)), 0.0f);
    writer_.AddTensor(name, options_.type, {in, out}, lorikeet::Encode(values, options_.type));
  }
  void Vector(const std::string& name, int size, float spread, float mean) {
    writer_.AddTensor(name, {size}, Random(size, spread, mean));
  }
  void RopeFactors(int pairs) {
    std::vector<float> factors;
    for (int i = 0; i < pairs; ++i) factors.push_back(i < pairs / 2 ? 1.0f : 8.0f);
    writer_.AddTensor("rope_freqs.weight", {pairs}, factors);
  }

 private:
  std::vector<float> Random(int64_t count, float spread, float mean) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& x : values) x = mean + spread * static_cast<float>(rng_.Normal());
    return values;
  }
  const TinyModelOptions& options_;
  GgufWriter& writer_;
  Rng rng_;
};

void AddLayer(const TinyModelOptions& options, int index, TensorMaker& make) {
  const std::string prefix = absl::StrCat("blk.", index, ".");
  const int q = HeadSize(options) * options.heads;
  const int kv = HeadSize(options) * options.kv_heads;
  make.Vector(prefix + "attn_norm.weight", options.dim, 0.1f, 1.0f);
  make.Matrix(prefix + "attn_q.weight", options.dim, q);
  make.Matrix(prefix + "attn_k.weight", options.dim, kv);
  make.Matrix(prefix + "attn_v.weight", options.dim, kv);
  make.Matrix(prefix + "attn_output.weight", q, options.dim);
  if (options.architecture == "qwen2") {
    make.Vector(prefix + "attn_q.bias", q, 0.1f, 0.0f);
    make.Vector(prefix + "attn_k.bias", kv, 0.1f, 0.0f);
    make.Vector(prefix + "attn_v.bias", kv, 0.1f, 0.0f);
  }
  if (options.architecture == "qwen3") {
    make.Vector(prefix + "attn_q_norm.weight", HeadSize(options), 0.2f, 1.0f);
    make.Vector(prefix + "attn_k_norm.weight", HeadSize(options), 0.2f, 1.0f);
  }
  make.Vector(prefix + "ffn_norm.weight", options.dim, 0.1f, 1.0f);
  make.Matrix(prefix + "ffn_gate.weight", options.dim, options.ffn);
  make.Matrix(prefix + "ffn_up.weight", options.dim, options.ffn);
  make.Matrix(prefix + "ffn_down.weight", options.ffn, options.dim);
}

}  // namespace

int TinyModelBos(const TinyModelOptions&) { return 256 + kMergeCount; }
int TinyModelEos(const TinyModelOptions&) { return 256 + kMergeCount + 1; }

std::string TinyModelBytes(const TinyModelOptions& options) {
  LORIKEET_CHECK(options.architecture == "llama" || options.architecture == "qwen2" ||
                 options.architecture == "qwen3");
  LORIKEET_CHECK(options.dim % 32 == 0 && options.ffn % 32 == 0);
  LORIKEET_CHECK(options.dim % options.heads == 0 && options.heads % options.kv_heads == 0);
  LORIKEET_CHECK(HeadSize(options) % 2 == 0);
  LORIKEET_CHECK(options.vocab >= 256 + kMergeCount + 2);
  GgufWriter writer;
  AddConfig(options, writer);
  AddTokenizer(options, writer);
  TensorMaker make(options, writer);
  make.Matrix("token_embd.weight", options.dim, options.vocab);
  for (int i = 0; i < options.layers; ++i) AddLayer(options, i, make);
  make.Vector("output_norm.weight", options.dim, 0.1f, 1.0f);
  if (!options.tied) make.Matrix("output.weight", options.dim, options.vocab);
  if (options.rope_freqs) make.RopeFactors(HeadSize(options) / 2);
  return writer.Serialize();
}

std::string WriteTinyModel(const TinyModelOptions& options) {
  const std::string path = MakeTempDir("tiny-model") + "/tiny.gguf";
  const absl::Status status = WriteFileAtomic(path, TinyModelBytes(options));
  LORIKEET_CHECK(status.ok());
  return path;
}

}  // namespace lorikeet
