// Tokenizers against llama.cpp's results on real vocabularies (optional shared data).
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/strings.h"
#include "common/tokenizer/tokenizer.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<TokenId>;

std::unique_ptr<const Tokenizer> Load(const std::string& path) {
  auto file = GgufFile::Open(path);
  EXPECT_TRUE(file.ok()) << file.status();
  if (!file.ok()) return nullptr;
  auto tokenizer = Tokenizer::Create(*file);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? std::move(*tokenizer) : nullptr;
}

std::string Unhex(const nlohmann::json& hex) { return FromHex(hex.get<std::string>()).value(); }

TEST(GoldenTokenizerTest, EqualsLlamaCppOnValidUtf8AndSurvivesTheRest) {
  LORIKEET_SHARED_OR_SKIP(root, "golden");
  int compared = 0;
  for (const auto& entry : fs::directory_iterator(root + "/tokenizer")) {
    const auto golden = nlohmann::json::parse(ReadFile(entry.path().string()).value());
    const auto tokenizer = Load(root + "/" + golden["vocab_file"].get<std::string>());
    ASSERT_NE(tokenizer, nullptr);
    for (const auto& test : golden["cases"]) {
      SCOPED_TRACE(entry.path().filename().string() + " " + test["text_hex"].get<std::string>());
      const std::string text = Unhex(test["text_hex"]);
      const Ids ids = tokenizer->Encode(text);
      EXPECT_EQ(tokenizer->Decode(ids).value(), text);
      if (!test["valid_utf8"].get<bool>()) continue;
      EXPECT_EQ(ids, test["ids"].get<Ids>());
      const Ids parsed = tokenizer->Encode(text, {.parse_special = true});
      EXPECT_EQ(parsed, test["ids_parse_special"].get<Ids>());
      EXPECT_EQ(tokenizer->Decode(parsed).value(), text);
      EXPECT_EQ(tokenizer->Encode(text, {.add_special = true, .parse_special = true}),
                test["ids_add_and_parse_special"].get<Ids>());
      for (size_t i = 0; i < ids.size(); ++i) {
        EXPECT_EQ(tokenizer->Piece(ids[i]), Unhex(test["pieces_hex"][i]));
      }
      if (test["round_trip"].get<bool>()) {
        EXPECT_EQ(tokenizer->Decode(ids).value(), Unhex(test["detokenized_hex"]));
      }
      ++compared;
    }
  }
  EXPECT_GT(compared, 0);
}

// llama.cpp's own test pairs: cases end with a line "__ggml_vocab_test__"; ids of each in one line
// of .out.
void CheckPairs(const std::string& folder) {
  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".gguf") continue;
    const std::string path = entry.path().string();
    const auto tokenizer = Load(path);
    ASSERT_NE(tokenizer, nullptr);
    const std::string input = ReadFile(path + ".inp").value();
    std::istringstream expected(ReadFile(path + ".out").value());
    size_t start = 0;
    for (std::string line; std::getline(expected, line);) {
      const size_t end = input.find(kSeparator, start);
      ASSERT_NE(end, std::string::npos) << path;
      const std::string text = input.substr(start, end - start);
      start = end + kSeparator.size();
      Ids ids;
      std::istringstream numbers(line);
      for (TokenId id; numbers >> id;) ids.push_back(id);
      const Ids actual = tokenizer->Encode(text);
      EXPECT_EQ(actual, ids) << path << " " << ToHex(AsBytes(text));
      EXPECT_EQ(tokenizer->Decode(actual).value(), text) << path;
    }
    ++files;
  }
  EXPECT_GT(files, 0);
}

TEST(GoldenTokenizerTest, VocabularyPairs) {
  LORIKEET_SHARED_OR_SKIP(golden, "golden/vocab");
  CheckPairs(golden);
}

TEST(GoldenTokenizerTest, MoreVocabularyPairs) {
  LORIKEET_SHARED_OR_SKIP(models, "models/vocab");
  CheckPairs(models);
}

TEST(GoldenTokenizerTest, EndOfGenerationOfRealVocabularies) {
  LORIKEET_SHARED_OR_SKIP(golden, "golden/vocab");
  const auto qwen = Load(golden + "/ggml-vocab-qwen2.gguf");
  EXPECT_TRUE(qwen->IsEndOfGeneration(151645));  // <|im_end|>, the EOS
  EXPECT_TRUE(qwen->IsEndOfGeneration(151643));  // <|endoftext|>
  EXPECT_FALSE(qwen->IsEndOfGeneration(151644));
  EXPECT_FALSE(qwen->adds_bos());
  EXPECT_NE(qwen->chat_template().find("<|im_start|>"), std::string_view::npos);
  const auto llama = Load(golden + "/ggml-vocab-llama-bpe.gguf");
  EXPECT_TRUE(llama->IsEndOfGeneration(128009));  // <|eot_id|>
  EXPECT_TRUE(llama->IsEndOfGeneration(128001));  // <|end_of_text|>
  EXPECT_TRUE(llama->adds_bos());
  EXPECT_TRUE(llama->IsSpecial(128000));
  EXPECT_FALSE(llama->IsSpecial(1));
}

}  // namespace
}  // namespace lorikeet
