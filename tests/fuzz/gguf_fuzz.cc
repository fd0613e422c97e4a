// Any bytes as a GGUF file, and on as an adapter, a catalog and a tokenizer: nothing read outside,
// no crash.
#include <algorithm>
#include <string_view>

#include "common/adapter/catalog.h"
#include "common/adapter/gguf_io.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/gguf/writer.h"
#include "common/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/tiny_catalog.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

void UseEveryValue(const GgufFile& file, std::span<const uint8_t> bytes) {
  for (const GgufTensor& tensor : file.tensors()) {
    LORIKEET_CHECK(tensor.data.data() >= bytes.data());
    LORIKEET_CHECK(tensor.data.data() + tensor.data.size() <= bytes.data() + bytes.size());
    LORIKEET_CHECK(static_cast<int64_t>(tensor.data.size()) ==
                   RowBytes(tensor.type, tensor.row_length()) * tensor.rows());
    LORIKEET_CHECK(file.FindTensor(tensor.name) == &tensor);
  }
  GgufWriter writer;
  for (const auto& [key, value] : file.metadata()) {
    const bool found = file.GetInt(key).ok() || file.GetFloat(key).ok() || file.GetBool(key).ok() ||
                       file.GetString(key).ok() || file.GetArray(key).ok();
    // Only an integer of 64 bits is none of these.
    LORIKEET_CHECK(found || std::holds_alternative<uint64_t>(value));
    if (key != "general.alignment") writer.CopyMetadata(file, key);
  }
  const std::string copy = writer.Serialize();
  LORIKEET_CHECK(GgufFile::Parse(AsBytes(copy), "copy").ok());
  file.Fingerprint();
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  TinyModelOptions model;
  model.layers = 1;
  model.dim = 32;
  model.heads = 2;
  model.ffn = 32;
  model.type = TensorType::kQ4_0;
  Adapter adapter;
  adapter.info.kind = AdapterKind::kCore;
  adapter.matrices.push_back({.target = {0, Module::kQ},
                              .rank = 1,
                              .in_features = 2,
                              .out_features = 2,
                              .a = {1, 2},
                              .b = {3, 4},
                              .core = {5}});
  GgufWriter spm;
  spm.AddString("tokenizer.ggml.model", "llama");
  spm.AddStrings("tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>", "▁", "a", "▁a", "<0x62>"});
  spm.AddFloat32s("tokenizer.ggml.scores", std::vector<float>{0, 0, 0, -3, -2, -1, 0});
  spm.AddInt32s("tokenizer.ggml.token_type", std::vector<int32_t>{2, 3, 3, 1, 1, 1, 6});
  GgufWriter bpe;
  bpe.AddString("tokenizer.ggml.model", "gpt2");
  bpe.AddString("tokenizer.ggml.pre", "llama-bpe");
  bpe.AddStrings("tokenizer.ggml.tokens", {"a", "b", "ab", "<|im_end|>"});
  bpe.AddStrings("tokenizer.ggml.merges", {"a b"});
  return {TinyModelBytes(model), SerializeAdapter(adapter), spm.Serialize(), bpe.Serialize(),
          SerializeCatalog(TinyCatalog())};
}

}  // namespace lorikeet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lorikeet;  // NOLINT: the entry point cannot live in a namespace
  const std::span<const uint8_t> bytes(data, size);
  const auto file = GgufFile::Parse(bytes, "fuzz");
  if (!file.ok()) return 0;
  UseEveryValue(**file, bytes);
  const auto adapter = ReadAdapter(**file);
  LORIKEET_CHECK(!adapter.ok() || CheckAdapterShape(*adapter).ok());
  const auto catalog = ReadCatalog(**file);
  if (catalog.ok()) {
    // What was read can be written, and says the same again.
    const auto again = ParseCatalog(SerializeCatalog(*catalog));
    LORIKEET_CHECK(again.ok() && CatalogHash(*again) == CatalogHash(*catalog));
  }
  const auto tokenizer = Tokenizer::Create(*file);
  if (!tokenizer.ok()) return 0;
  const auto ids = (*tokenizer)->Encode("ab <|im_end|> \xFF 12</s>", {true, true});
  LORIKEET_CHECK((*tokenizer)->Decode(ids).ok());
  return 0;
}
