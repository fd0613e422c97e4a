// Any bytes as text: Decode(Encode(text)) is the text, for every kind of tokenizer.
#include <memory>
#include <string_view>

#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/gguf/writer.h"
#include "common/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

constexpr std::string_view kSpmSpace = "▁";

struct Kind {
  std::string bytes;
  std::unique_ptr<const Tokenizer> tokenizer;
  bool sentencepiece = false;
};

void AddKind(std::string bytes, std::vector<std::unique_ptr<Kind>>& kinds) {
  auto kind = std::make_unique<Kind>();
  kind->bytes = std::move(bytes);
  auto file = GgufFile::Parse(AsBytes(kind->bytes), "fuzz");
  LORIKEET_CHECK(file.ok());
  kind->sentencepiece = (*file)->GetString("tokenizer.ggml.model").value() == "llama";
  auto tokenizer = Tokenizer::Create(*file);
  LORIKEET_CHECK(tokenizer.ok());
  kind->tokenizer = std::move(*tokenizer);
  kinds.push_back(std::move(kind));
}

// The fixture's vocabulary with another pre-tokenizer.
std::string BpeBytes(const GgufFile& tiny, std::string_view pre) {
  GgufWriter writer;
  for (const char* key : {"model", "tokens", "token_type", "merges", "bos_token_id"}) {
    writer.CopyMetadata(tiny, std::string("tokenizer.ggml.") + key);
  }
  writer.AddString("tokenizer.ggml.pre", pre);
  return writer.Serialize();
}

std::string SpmBytes() {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<int32_t> types = {2, 3, 3};
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (size_t b = 0; b < 256; ++b) {
    tokens.push_back(std::string("<0x") + kHex[b / 16] + kHex[b % 16] + ">");
    types.push_back(6);
  }
  std::vector<float> scores(tokens.size());
  for (const char* text : {"▁", "▁▁", "a", "b", "ab", "▁a", "▁ab", "é", "éa"}) {
    tokens.push_back(text);
    types.push_back(1);
    scores.push_back(-static_cast<float>(tokens.size() % 5));
  }
  GgufWriter writer;
  writer.AddString("tokenizer.ggml.model", "llama");
  writer.AddStrings("tokenizer.ggml.tokens", tokens);
  writer.AddFloat32s("tokenizer.ggml.scores", scores);
  writer.AddInt32s("tokenizer.ggml.token_type", types);
  return writer.Serialize();
}

const std::vector<std::unique_ptr<Kind>>& Kinds() {
  static const auto* kinds = [] {
    auto* made = new std::vector<std::unique_ptr<Kind>>();
    const std::string tiny = TinyModelBytes();
    const auto file = GgufFile::Parse(AsBytes(tiny), "tiny").value();
    for (const char* pre : {"llama-bpe", "qwen2", "gpt-2", "default"}) {
      AddKind(BpeBytes(*file, pre), *made);
    }
    AddKind(SpmBytes(), *made);
    return made;
  }();
  return *kinds;
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  return {"The quick brown fox's 12345 jumps,  over\n\n it!",
          "<|bos|>a</s> \xE2\x96\x81 é\xCC\x81 \xF0\x9F\x98\x80 ½ ١٢٣\u3000x",
          std::string(300, 't') + "hehehe " + std::string(80, ' ') + "\r\n\t'LL"};
}

}  // namespace lorikeet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lorikeet;  // NOLINT: the entry point cannot live in a namespace
  const std::string_view text = AsChars({data, size});
  for (const auto& kind : Kinds()) {
    for (const bool parse_special : {false, true}) {
      const auto ids = kind->tokenizer->Encode(text, {.parse_special = parse_special});
      const auto decoded = kind->tokenizer->Decode(ids);
      LORIKEET_CHECK(decoded.ok());
      // SentencePiece writes a space as U+2581, so that character comes back as a space.
      const bool lossy = kind->sentencepiece && text.find(kSpmSpace) != std::string_view::npos;
      LORIKEET_CHECK(lossy || *decoded == text);
    }
  }
  return 0;
}
