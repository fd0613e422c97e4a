#include "common/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "common/base/random.h"
#include "common/base/strings.h"
#include "common/gguf/writer.h"
#include "common/tokenizer/pretokenizer.h"
#include "common/tokenizer/special_tokens.h"
#include "common/tokenizer/unicode.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A GGUF file in memory that outlives its tokenizer.
struct Loaded {
  std::string bytes;
  std::unique_ptr<const Tokenizer> tokenizer;
  absl::Status status;
};

std::unique_ptr<Loaded> Load(std::string bytes) {
  auto loaded = std::make_unique<Loaded>();
  loaded->bytes = std::move(bytes);
  auto file = GgufFile::Parse(AsBytes(loaded->bytes), "test");
  EXPECT_TRUE(file.ok()) << file.status();
  auto tokenizer = Tokenizer::Create(*file);
  loaded->status = tokenizer.status();
  if (tokenizer.ok()) loaded->tokenizer = std::move(*tokenizer);
  return loaded;
}

// <unk> <s> </s>, 256 byte tokens, then a few strings with falling scores.
std::string SpmBytes(bool space_prefix = true, bool across_words = false) {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<int32_t> types = {2, 3, 3};
  std::vector<float> scores(259, 0.0f);
  for (int b = 0; b < 256; ++b) {
    char name[8];
    std::snprintf(name, sizeof(name), "<0x%02X>", static_cast<unsigned>(b));
    tokens.push_back(name);
    types.push_back(6);
  }
  float score = 0;
  for (const char* text : {"▁a", "ab", "▁ab", "▁", "a", "b", "▁▁"}) {
    tokens.push_back(text);
    types.push_back(1);
    scores.push_back(--score);
  }
  if (across_words) {
    tokens.push_back("b▁");
    types.push_back(1);
    scores.push_back(0.5f);
  }
  GgufWriter writer;
  writer.AddString("tokenizer.ggml.model", "llama");
  writer.AddStrings("tokenizer.ggml.tokens", tokens);
  writer.AddFloat32s("tokenizer.ggml.scores", scores);
  writer.AddInt32s("tokenizer.ggml.token_type", types);
  writer.AddBool("tokenizer.ggml.add_space_prefix", space_prefix);
  return writer.Serialize();
}

std::vector<std::string> Words(std::string_view text, PreTokenizer kind) {
  std::vector<std::string> words;
  for (const std::string_view word : SplitWords(text, kind)) words.emplace_back(word);
  return words;
}

TEST(UnicodeTest, ClassifiesAndRejectsBadUtf8) {
  EXPECT_EQ(CharAt("é", 0).code, 0xE9u);
  EXPECT_EQ(CharAt("é", 0).kind, CharClass::kLetter);
  EXPECT_EQ(CharAt("½", 0).kind, CharClass::kNumber);
  EXPECT_EQ(CharAt("\u3000", 0).kind, CharClass::kSpace);
  EXPECT_EQ(CharAt("\u200b", 0).kind, CharClass::kOther);  // zero width space is not white space
  EXPECT_EQ(CharAt("😀", 0).size, 4);
  EXPECT_EQ(CharAt("a", 1).kind, CharClass::kEnd);
  for (const char* bad :
       {"\x80", "\xC0\xAF", "\xC3", "\xE0\x80\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80",
        "\xF0\x9F\x98", "\xF8\x88\x80\x80", "\xFF", "\xC3("}) {
    EXPECT_EQ(CharAt(bad, 0).code, kBadByte) << bad;
    EXPECT_EQ(CharAt(bad, 0).size, 1);
  }
}

TEST(PreTokenizerTest, Llama) {
  const auto split = [](std::string_view text) { return Words(text, PreTokenizer::kLlama); };
  EXPECT_THAT(split("Hello, world!"), ElementsAre("Hello", ",", " world", "!"));
  EXPECT_THAT(split("I'M don't"), ElementsAre("I", "'M", " don", "'t"));
  EXPECT_THAT(split("12345 6"), ElementsAre("123", "45", " ", "6"));
  EXPECT_THAT(split("a  b \n\n  c  "), ElementsAre("a", " ", " b", " \n\n", " ", " c", "  "));
  EXPECT_THAT(split("x ...\r\ny"), ElementsAre("x", " ...\r\n", "y"));
  EXPECT_THAT(split("\tint"), ElementsAre("\tint"));
  EXPECT_THAT(split("(naïve)"), ElementsAre("(naïve", ")"));
  EXPECT_THAT(split(" \x80z"), ElementsAre(" \x80", "z"));
}

TEST(PreTokenizerTest, Qwen2TakesOneDigit) {
  EXPECT_THAT(Words("v123", PreTokenizer::kQwen2), ElementsAre("v", "1", "2", "3"));
}

TEST(PreTokenizerTest, Gpt2) {
  EXPECT_THAT(Words("don't 'S 12 x", PreTokenizer::kGpt2),
              ElementsAre("don", "'t", " '", "S", " 12", " x"));
  EXPECT_THAT(Words("a   b", PreTokenizer::kGpt2), ElementsAre("a", "  ", " b"));
}

TEST(PreTokenizerTest, DefaultCutsPunctuationAndDigitTriples) {
  EXPECT_THAT(Words("a $12345,b", PreTokenizer::kDefault),
              ElementsAre("a", " ", "$", "123", "45", ",", "b"));
  EXPECT_THAT(Words("it's ١٢34", PreTokenizer::kDefault),
              ElementsAre("it", "'", "s", " ", "١٢", "34"));
}

TEST(PreTokenizerTest, WordsAreTheTextWhateverTheBytes) {
  Rng rng(3);
  for (int i = 0; i < 300; ++i) {
    std::string text(rng.Below(40), '\0');
    for (char& c : text) c = static_cast<char>(rng.Below(256));
    for (const auto kind : {PreTokenizer::kLlama, PreTokenizer::kQwen2, PreTokenizer::kGpt2,
                            PreTokenizer::kDefault}) {
      std::string joined;
      for (const std::string& word : Words(text, kind)) {
        EXPECT_FALSE(word.empty());
        joined += word;
      }
      EXPECT_EQ(joined, text);
    }
  }
}

TEST(SpecialTokensTest, LongestFirstThenLeftmost) {
  const SpecialTokens special({{"<a>", 1}, {"<a><b>", 2}, {"><b>x", 3}, {"", 4}});
  const auto ids = [&](std::string_view text) {
    std::vector<int> found;
    std::string joined;
    for (const TextSegment& segment : special.Split(text)) {
      found.push_back(segment.id);
      joined += segment.text;
    }
    EXPECT_EQ(joined, text);
    return found;
  };
  EXPECT_THAT(ids("<a><b>"), ElementsAre(2));
  EXPECT_THAT(ids("<a><b>x"), ElementsAre(2, -1));
  EXPECT_THAT(ids("p<a>q<b>x"), ElementsAre(-1, 1, -1));
  EXPECT_THAT(ids("<a><a>"), ElementsAre(1, 1));
  EXPECT_THAT(ids("<a"), ElementsAre(-1));
  EXPECT_THAT(ids(""), IsEmpty());
}

TEST(BpeTest, MergesByRankAndRoundTrips) {
  const auto loaded = Load(TinyModelBytes());
  ASSERT_NE(loaded->tokenizer, nullptr) << loaded->status;
  const Tokenizer& tokenizer = *loaded->tokenizer;
  EXPECT_EQ(tokenizer.vocabulary_size(), 288);
  // " t" has rank 0, "he" rank 1; "th" is no merge.
  const auto ids = tokenizer.Encode(" the");
  ASSERT_EQ(ids.size(), 2u);
  EXPECT_EQ(tokenizer.Piece(ids[0]), " t");
  EXPECT_EQ(tokenizer.Piece(ids[1]), "he");
  const std::string text = "Ünï\tçode \xFF\xC3 \n\n it's the end";
  EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text)).value(), text);
}

TEST(BpeTest, LongWordsMergeLikeShortOnes) {
  const auto loaded = Load(TinyModelBytes());
  const Tokenizer& tokenizer = *loaded->tokenizer;
  // Every merge stays inside one period.
  std::string unit = "tohein", text;
  for (int i = 0; i < 5000; ++i) text += unit;
  const auto unit_ids = tokenizer.Encode(unit);
  const auto ids = tokenizer.Encode(text);
  ASSERT_EQ(ids.size(), unit_ids.size() * 5000);
  for (size_t i = 0; i < ids.size(); ++i) ASSERT_EQ(ids[i], unit_ids[i % unit_ids.size()]);
}

// The definition: merge the leftmost of the best-ranked neighbours until there is none.
std::vector<std::string> NaiveMerge(const std::string& word,
                                    const std::map<std::string, size_t>& ranks) {
  std::vector<std::string> parts;
  for (const char c : word) parts.emplace_back(1, c);
  for (;;) {
    size_t best = parts.size(), best_rank = ranks.size();
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = ranks.find(parts[i] + " " + parts[i + 1]);
      if (found != ranks.end() && found->second < best_rank) {
        best = i;
        best_rank = found->second;
      }
    }
    if (best == parts.size()) return parts;
    parts[best] += parts[best + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

TEST(BpeTest, ShortAndLongWordsMergeAsDefined) {
  const std::vector<std::string> merges = {"a b",  "b a",  "ab ab",  "a a", "c ab",
                                           "aa b", "ba c", "abab c", "c c", "cc aab"};
  std::vector<std::string> tokens = {"a", "b", "c"};
  std::map<std::string, size_t> ranks;
  for (const std::string& merge : merges) {
    ranks.emplace(merge, ranks.size());
    const size_t space = merge.find(' ');
    tokens.push_back(merge.substr(0, space) + merge.substr(space + 1));
  }
  GgufWriter writer;
  writer.AddString("tokenizer.ggml.model", "gpt2");
  writer.AddString("tokenizer.ggml.pre", "qwen2");
  writer.AddStrings("tokenizer.ggml.tokens", tokens);
  writer.AddStrings("tokenizer.ggml.merges", merges);
  const auto loaded = Load(writer.Serialize());
  Rng rng(11);
  for (int i = 0; i < 400; ++i) {
    std::string word(1 + rng.Below(120), ' ');
    for (char& c : word) c = static_cast<char>('a' + rng.Below(3));
    std::vector<std::string> pieces;
    for (const TokenId id : loaded->tokenizer->Encode(word)) {
      pieces.push_back(loaded->tokenizer->Piece(id));
    }
    ASSERT_EQ(pieces, NaiveMerge(word, ranks)) << word;
  }
}

TEST(BpeTest, SpecialTokens) {
  const TinyModelOptions options;
  const auto loaded = Load(TinyModelBytes(options));
  const Tokenizer& tokenizer = *loaded->tokenizer;
  const TokenId bos = TinyModelBos(options), eos = TinyModelEos(options);
  EXPECT_EQ(tokenizer.bos(), bos);
  EXPECT_EQ(tokenizer.eos(), eos);
  EXPECT_TRUE(tokenizer.adds_bos());
  EXPECT_TRUE(tokenizer.IsEndOfGeneration(eos));
  EXPECT_FALSE(tokenizer.IsEndOfGeneration(bos));
  EXPECT_TRUE(tokenizer.IsSpecial(bos));
  EXPECT_FALSE(tokenizer.IsSpecial(0));
  EXPECT_FALSE(tokenizer.IsSpecial(-1));
  EXPECT_THAT(tokenizer.Encode("", {.add_special = true}), ElementsAre(bos));
  EXPECT_THAT(tokenizer.Encode("<|eos|>", {.parse_special = true}), ElementsAre(eos));
  EXPECT_GT(tokenizer.Encode("<|eos|>").size(), 1u);
  EXPECT_EQ(tokenizer.Piece(eos), "<|eos|>");
  EXPECT_EQ(tokenizer.Piece(-1), "");
  EXPECT_EQ(tokenizer.Piece(1 << 30), "");
  EXPECT_EQ(tokenizer.Decode(std::vector<TokenId>{288}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(SpmTest, MergesByScoreWithByteFallback) {
  const auto loaded = Load(SpmBytes());
  ASSERT_NE(loaded->tokenizer, nullptr) << loaded->status;
  const Tokenizer& tokenizer = *loaded->tokenizer;
  // "▁a" scores above "ab": [▁a][b] first, then their union "▁ab".
  EXPECT_THAT(tokenizer.Encode("ab"), ElementsAre(261));
  EXPECT_THAT(tokenizer.Encode("b"), ElementsAre(262, 264));
  EXPECT_THAT(tokenizer.Encode(""), IsEmpty());
  EXPECT_THAT(tokenizer.Encode("", {.add_special = true}), ElementsAre(1));
  EXPECT_THAT(tokenizer.Encode("é"), ElementsAre(262, 3 + 0xC3, 3 + 0xA9));
  EXPECT_THAT(tokenizer.Encode("\xFF"), ElementsAre(262, 3 + 0xFF));
  EXPECT_THAT(tokenizer.Encode("a</s>b", {.parse_special = true}), ElementsAre(259, 2, 262, 264));
  EXPECT_EQ(tokenizer.bos(), 1);  // SentencePiece's ids where the file has none
  EXPECT_TRUE(tokenizer.IsEndOfGeneration(2));
  EXPECT_EQ(tokenizer.Piece(259), " a");
  EXPECT_EQ(tokenizer.Piece(3 + 0x41), "A");
  for (const char* text : {"ab", " ab", "  ", "", "a b\n\xC3(", "é</s>"}) {
    EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text)).value(), text);
    EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text, {.parse_special = true})).value(), text);
  }
}

TEST(SpmTest, WithoutSpacePrefix) {
  const auto loaded = Load(SpmBytes(false));
  EXPECT_THAT(loaded->tokenizer->Encode("ab"), ElementsAre(260));
  EXPECT_EQ(loaded->tokenizer->Decode(loaded->tokenizer->Encode(" ab")).value(), " ab");
}

TEST(SpmTest, MergesAcrossWordsWhereTheVocabularyHasSuchTokens) {
  EXPECT_THAT(Load(SpmBytes())->tokenizer->Encode("ab a"), ElementsAre(261, 259));
  EXPECT_THAT(Load(SpmBytes(true, true))->tokenizer->Encode("ab a"), ElementsAre(259, 266, 263));
}

TEST(TokenizerTest, RandomBytesRoundTrip) {
  const auto bpe = Load(TinyModelBytes());
  const auto spm = Load(SpmBytes());
  Rng rng(5);
  for (int i = 0; i < 300; ++i) {
    std::string text(rng.Below(80), '\0');
    for (char& c : text) c = static_cast<char>(rng.Below(256));
    EXPECT_EQ(bpe->tokenizer->Decode(bpe->tokenizer->Encode(text)).value(), text);
    EXPECT_EQ(spm->tokenizer->Decode(spm->tokenizer->Encode(text)).value(), text);
  }
}

TEST(TokenizerTest, NamesWhatIsNotSupportedOrMissing) {
  const auto error = [](std::string_view model, std::string_view pre, const char* merge,
                        int32_t type, uint32_t eos) {
    GgufWriter writer;
    writer.AddString("tokenizer.ggml.model", model);
    writer.AddString("tokenizer.ggml.pre", pre);
    writer.AddStrings("tokenizer.ggml.tokens", {"a", "b", "ab"});
    writer.AddStrings("tokenizer.ggml.merges", {merge});
    writer.AddInt32s("tokenizer.ggml.token_type", std::vector<int32_t>{1, 1, type});
    writer.AddUint32("tokenizer.ggml.eos_token_id", eos);
    return std::string(Message(Load(writer.Serialize())->status));
  };
  EXPECT_EQ(error("gpt2", "qwen2", "a b", 1, 2), "");
  EXPECT_THAT(error("bert", "qwen2", "a b", 1, 2), HasSubstr("\"bert\" is not supported"));
  EXPECT_THAT(error("gpt2", "tekken", "a b", 1, 2), HasSubstr("\"tekken\" is not supported"));
  EXPECT_THAT(error("gpt2", "qwen2", "ab", 1, 2), HasSubstr("merges: entry 0"));
  EXPECT_THAT(error("gpt2", "qwen2", "a ", 1, 2), HasSubstr("merges: entry 0"));
  EXPECT_THAT(error("gpt2", "qwen2", "", 1, 2), HasSubstr("merges: entry 0"));
  EXPECT_THAT(error("gpt2", "qwen2", "a b", 7, 2), HasSubstr("unknown type 7"));
  EXPECT_THAT(error("gpt2", "qwen2", "a b", 1, 3),
              HasSubstr("eos_token_id: expected an id below 3"));
  EXPECT_THAT(error("llama", "qwen2", "a b", 1, 2), HasSubstr("tokenizer.ggml.scores"));
}

TEST(TokenizerTest, WellKnownEndNamesAreControlWhateverTheFileSays) {
  GgufWriter writer;
  writer.AddString("tokenizer.ggml.model", "gpt2");
  writer.AddString("tokenizer.ggml.pre", "qwen2");
  writer.AddStrings("tokenizer.ggml.tokens", {"a", "<|im_end|>"});
  writer.AddStrings("tokenizer.ggml.merges", {});
  const auto loaded = Load(writer.Serialize());
  EXPECT_TRUE(loaded->tokenizer->IsEndOfGeneration(1));
  EXPECT_TRUE(loaded->tokenizer->IsSpecial(1));
  EXPECT_THAT(loaded->tokenizer->Encode("a<|im_end|>", {.parse_special = true}), ElementsAre(0, 1));
  // Bytes that the vocabulary lacks are dropped: there is no token for them.
  EXPECT_THAT(loaded->tokenizer->Encode("a?a"), ElementsAre(0, 0));
  EXPECT_FALSE(loaded->tokenizer->eos().has_value());
  EXPECT_FALSE(loaded->tokenizer->adds_bos());
}

}  // namespace
}  // namespace lorikeet
