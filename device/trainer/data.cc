#include "device/trainer/data.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr int kMinContext = 8;

// A document's tokens without BOS; mask as in Sequence.
struct TokenDocument {
  std::vector<TokenId> tokens;
  std::vector<float> mask;
  bool begins_with_bos = false;
  bool conversation = false;

  // Tokens whose loss counts, were the document one sequence.
  int64_t Learned() const {
    const auto first = mask.begin() + (begins_with_bos || mask.empty() ? 0 : 1);
    return std::count_if(first, mask.end(), [](float weight) { return weight > 0; });
  }
};

int64_t CountLearned(std::span<const Sequence> sequences) {
  int64_t count = 0;
  for (const Sequence& sequence : sequences) {
    for (size_t i = 1; i < sequence.tokens.size(); ++i) {
      if (sequence.loss_mask.empty() || sequence.loss_mask[i] > 0) ++count;
    }
  }
  return count;
}

TokenDocument TokenizeText(const Tokenizer& tokenizer, std::string_view text, bool add_eos) {
  TokenDocument document;
  document.tokens = tokenizer.Encode(text);
  if (add_eos && tokenizer.eos().has_value()) document.tokens.push_back(*tokenizer.eos());
  document.mask.assign(document.tokens.size(), 1.0f);
  document.begins_with_bos = tokenizer.adds_bos() && tokenizer.bos().has_value();
  return document;
}

absl::StatusOr<TokenDocument> TokenizeConversation(const Tokenizer& tokenizer,
                                                   std::vector<ChatMessage> messages) {
  for (ChatMessage& message : messages) {
    // Some templates trim; trimmed text is the same under all.
    const size_t begin =
        std::min(message.content.find_first_not_of(" \t\r\n"), message.content.size());
    message.content.erase(0, begin);
    message.content.erase(message.content.find_last_not_of(" \t\r\n") + 1);
  }
  ASSIGN_OR_RETURN(const ChatTemplate chat, ChatTemplate::Create(tokenizer));
  ASSIGN_OR_RETURN(LearnedTokens learned, chat.EncodeForLearning(messages));
  TokenDocument document{.tokens = std::move(learned.tokens), .mask = std::move(learned.mask)};
  document.conversation = true;
  if (!document.tokens.empty() && tokenizer.bos().has_value() &&
      document.tokens.front() == *tokenizer.bos()) {
    document.begins_with_bos = true;
    document.tokens.erase(document.tokens.begin());
    document.mask.erase(document.mask.begin());
  }
  return document;
}

// Tokens [begin, end) of a document as windows; those in which nothing is learned are left out.
void AppendWindows(const Tokenizer& tokenizer, const TokenDocument& document, size_t begin,
                   size_t end, int context_length, std::vector<Sequence>& sequences) {
  const size_t bos = document.begins_with_bos ? 1 : 0;
  const size_t body = static_cast<size_t>(context_length) - bos;
  for (size_t from = begin; from + (bos != 0 ? 0 : 1) < end;) {
    const size_t to = std::min(end, from + body);
    Sequence sequence;
    if (bos != 0) {
      sequence.tokens.push_back(*tokenizer.bos());
      sequence.loss_mask.push_back(0.0f);
    }
    sequence.tokens.insert(sequence.tokens.end(), document.tokens.begin() + from,
                           document.tokens.begin() + to);
    sequence.loss_mask.insert(sequence.loss_mask.end(), document.mask.begin() + from,
                              document.mask.begin() + to);
    if (std::any_of(sequence.loss_mask.begin() + 1, sequence.loss_mask.end(),
                    [](float weight) { return weight > 0; })) {
      sequences.push_back(std::move(sequence));
    }
    from = to == end ? end : to - (1 - bos);
  }
}

std::vector<Sequence> Windows(const Tokenizer& tokenizer, std::span<const TokenDocument> documents,
                              int context_length) {
  std::vector<Sequence> sequences;
  for (const TokenDocument& document : documents) {
    AppendWindows(tokenizer, document, 0, document.tokens.size(), context_length, sequences);
  }
  return sequences;
}

absl::Status CheckOptions(const DataOptions& options) {
  if (options.context_length < kMinContext) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "context: expected at least %d tokens, got %d", kMinContext, options.context_length));
  }
  if (!(options.eval_split >= 0 && options.eval_split < 1)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("eval split: expected a share in [0, 1), got %g", options.eval_split));
  }
  return absl::OkStatus();
}

// Where the held-out part begins: document, and token in it.
struct Cut {
  size_t document = 0;
  size_t token = 0;
};

Cut FindCut(std::span<const TokenDocument> documents, double share) {
  double total = 0;
  for (const TokenDocument& document : documents) total += double(document.tokens.size());
  const double target = total * (1.0 - share);
  double before = 0;
  size_t index = 0;
  while (index + 1 < documents.size() &&
         before + double(documents[index].tokens.size()) <= target) {
    before += double(documents[index++].tokens.size());
  }
  // The cut lies in documents[index]; its edges are the candidates.
  const double after = before + double(documents[index].tokens.size());
  const auto acceptable = [&](double position) {
    const double held_out = (total - position) / total;
    return position > 0 && held_out >= share / 2 && held_out <= share * 2;
  };
  const bool early = target - before <= after - target;
  if (acceptable(early ? before : after)) return {early ? index : index + 1, 0};
  if (acceptable(early ? after : before)) return {early ? index + 1 : index, 0};
  return {index, static_cast<size_t>(target - before)};
}

void Split(const Tokenizer& tokenizer, std::span<const TokenDocument> documents,
           const DataOptions& options, Dataset& dataset) {
  const Cut cut = FindCut(documents, options.eval_split);
  std::vector<Sequence> train =
      Windows(tokenizer, documents.first(cut.document), options.context_length);
  std::vector<Sequence> eval;
  if (cut.document < documents.size()) {
    const TokenDocument& document = documents[cut.document];
    AppendWindows(tokenizer, document, 0, cut.token, options.context_length, train);
    AppendWindows(tokenizer, document, cut.token, document.tokens.size(), options.context_length,
                  eval);
    for (Sequence& sequence :
         Windows(tokenizer, documents.subspan(cut.document + 1), options.context_length)) {
      eval.push_back(std::move(sequence));
    }
  }
  if (CountLearned(eval) >= kMinEvalTokens && CountLearned(train) >= kMinTrainTokens) {
    dataset.train = std::move(train);
    dataset.eval = std::move(eval);
    return;
  }
  dataset.AddNote(absl::StrFormat(
      "nothing held out: %.3g of the text gives %d tokens to judge by and leaves %d to learn, "
      "fewer than %d or %d",
      options.eval_split, CountLearned(eval), CountLearned(train), kMinEvalTokens,
      kMinTrainTokens));
}

// Says what of the documents is not learned, or not as a whole.
void NoteLeftOut(std::span<const TokenDocument> documents, int context_length, Dataset& dataset) {
  int conversations = 0, without_reply = 0, cut = 0, without_token = 0;
  for (const TokenDocument& document : documents) {
    conversations += document.conversation ? 1 : 0;
    const size_t length = document.tokens.size() + (document.begins_with_bos ? 1 : 0);
    if (document.Learned() == 0) {
      ++(document.conversation ? without_reply : without_token);
    } else if (document.conversation && length > static_cast<size_t>(context_length)) {
      ++cut;
    }
  }
  if (without_reply > 0) {
    dataset.AddNote(absl::StrFormat("%d of %d conversations left out: no reply of the assistant",
                                    without_reply, conversations));
  }
  if (cut > 0) {
    dataset.AddNote(absl::StrFormat(
        "%d of %d conversations are longer than the context of %d tokens: later pieces are learned "
        "without what came before",
        cut, conversations, context_length));
  }
  if (without_token > 0) {
    dataset.AddNote(absl::StrFormat("%d of %d texts left out: no token to learn", without_token,
                                    documents.size() - static_cast<size_t>(conversations)));
  }
}

absl::StatusOr<Dataset> Assemble(const Tokenizer& tokenizer, std::span<const TokenDocument> train,
                                 std::span<const TokenDocument> test, const DataOptions& options) {
  Dataset dataset;
  NoteLeftOut(train, options.context_length, dataset);
  const std::string left_out = dataset.note;
  if (!test.empty()) {
    dataset.eval = Windows(tokenizer, test, options.context_length);
    if (dataset.eval.empty()) {
      dataset.AddNote("nothing held out: no token in the test split counts");
    }
  } else if (options.eval_split > 0 && !train.empty()) {
    Split(tokenizer, train, options, dataset);
  }
  if (dataset.train.empty()) dataset.train = Windows(tokenizer, train, options.context_length);
  dataset.train_tokens = CountLearned(dataset.train);
  dataset.eval_tokens = CountLearned(dataset.eval);
  if (dataset.train_tokens < kMinTrainTokens) {
    return absl::InvalidArgumentError(absl::StrCat(
        "text shorter than one training example: expected at least ", kMinTrainTokens,
        " tokens to learn, got ", dataset.train_tokens, left_out.empty() ? "" : "; ", left_out));
  }
  return dataset;
}

absl::StatusOr<std::vector<TokenDocument>> TokenizeTexts(const Tokenizer& tokenizer,
                                                         std::span<const std::string_view> texts,
                                                         const DataOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  if (texts.empty()) return absl::InvalidArgumentError("expected at least one text, got none");
  std::vector<TokenDocument> documents;
  for (size_t i = 0; i < texts.size(); ++i) {
    RETURN_IF_ERROR(CheckText(texts[i], absl::StrFormat("text %d", i)));
    documents.push_back(TokenizeText(tokenizer, texts[i], options.add_eos));
  }
  return documents;
}

absl::StatusOr<std::vector<TokenDocument>> TokenizeDocuments(const Tokenizer& tokenizer,
                                                             std::span<const Document> documents,
                                                             const DataOptions& options) {
  std::vector<TokenDocument> tokenized;
  for (size_t i = 0; i < documents.size(); ++i) {
    const Document& document = documents[i];
    const std::string name = absl::StrCat("document ", i + 1, " of ", documents.size());
    if (document.messages.empty()) {
      RETURN_IF_ERROR(CheckText(document.text, name));
      tokenized.push_back(TokenizeText(tokenizer, document.text, options.add_eos));
      continue;
    }
    auto conversation = TokenizeConversation(tokenizer, document.messages);
    if (!conversation.ok()) return Annotate(conversation.status(), name);
    tokenized.push_back(*std::move(conversation));
  }
  return tokenized;
}

}  // namespace

void Dataset::AddNote(std::string_view sentence) {
  absl::StrAppend(&note, note.empty() ? "" : "; ", ToAbsl(sentence));
}

absl::StatusOr<std::vector<Sequence>> MakeSequences(const Tokenizer& tokenizer,
                                                    std::span<const std::string_view> texts,
                                                    const DataOptions& options) {
  ASSIGN_OR_RETURN(const auto documents, TokenizeTexts(tokenizer, texts, options));
  return Windows(tokenizer, documents, options.context_length);
}

absl::StatusOr<Dataset> MakeDataset(const Tokenizer& tokenizer,
                                    std::span<const std::string_view> texts,
                                    const DataOptions& options) {
  ASSIGN_OR_RETURN(const auto documents, TokenizeTexts(tokenizer, texts, options));
  return Assemble(tokenizer, documents, {}, options);
}

absl::StatusOr<Dataset> MakeDataset(const Tokenizer& tokenizer, const DocumentSet& documents,
                                    const DataOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  ASSIGN_OR_RETURN(const auto train, TokenizeDocuments(tokenizer, documents.train, options));
  ASSIGN_OR_RETURN(const auto test, TokenizeDocuments(tokenizer, documents.test, options));
  return Assemble(tokenizer, train, test, options);
}

}  // namespace lorikeet
