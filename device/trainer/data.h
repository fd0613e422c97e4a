// Text to training sequences: reading data files, tokenizing, cutting into windows, holding some
// out for judgement.
//
// Texts are taken as views; who owns private text opens it and wipes it
// (device/vault/private_text.h). Windows: a document's tokens are cut into pieces of the context
// length.  Where the vocabulary adds BOS every window begins with it; else windows overlap by one
// token.  So each token of a text (without BOS: each but the first) is predicted exactly once.  A
// sequence never holds two documents.
#ifndef LORIKEET_DEVICE_TRAINER_DATA_H_
#define LORIKEET_DEVICE_TRAINER_DATA_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/tokenizer/tokenizer.h"
#include "device/runtime/chat_template.h"
#include "device/trainer/gradient.h"

namespace lorikeet {

// A text, or a conversation in which only the assistant's words (and its end of turn) are learned.
struct Document {
  std::string text;
  std::vector<ChatMessage> messages;  // not empty: a conversation; text is not used
};

struct DocumentSet {
  std::vector<Document> train;
  std::vector<Document> test;  // of samples.jsonl; empty: the file names no split
};

// OK for UTF-8 that is not empty.  INVALID_ARGUMENT names `name` and the byte position of the first
// bad byte.
absl::Status CheckText(std::string_view text, std::string_view name);

// .txt: the whole file is one document.  .jsonl: a line is an object with "text", or with
// "messages" [{"role", "content"}]; where lines have "user" and "split" (samples.jsonl), only those
// of `user` are taken (empty: everyone's), "train" lines train, "test" lines judge, other splits
// are left out.  Lines with empty text are left out. INVALID_ARGUMENT: another suffix, not UTF-8
// (with the byte position in the file), a malformed line (with its number), nothing left.
// NOT_FOUND: no such file or user.
absl::StatusOr<DocumentSet> ReadDocuments(const std::string& path, std::string_view user = {});

struct DataOptions {
  int context_length = 256;  // tokens of a window, BOS included; at least 8
  bool add_eos = false;      // a document ends with EOS, if there is one in the vocabulary
  double eval_split = 0.1;   // share of the tokens, from the end, held out; 0: none
};

// The least that counts: fewer tokens to learn are an error, fewer to judge by are not held out.
inline constexpr int kMinTrainTokens = 8;
inline constexpr int kMinEvalTokens = 16;

struct Dataset {
  std::vector<Sequence> train;
  std::vector<Sequence> eval;
  int64_t train_tokens = 0;  // whose loss counts
  int64_t eval_tokens = 0;
  // What was not done as asked or may surprise (nothing held out, conversations without a reply,
  // conversations cut), with counts and without any text; else empty.
  std::string note;

  void AddNote(std::string_view sentence);
};

// Every text tokenized and cut into windows; nothing held out.  INVALID_ARGUMENT: as CheckText,
// context too short.
absl::StatusOr<std::vector<Sequence>> MakeSequences(const Tokenizer& tokenizer,
                                                    std::span<const std::string_view> texts,
                                                    const DataOptions& options);

// Texts in the order they were written, the last eval_split of their tokens held out.  The cut goes
// between documents where that gives between half and twice the share, else through a document. Too
// little text to hold any out: all of it trains, and the note says so, as it does of documents in
// which nothing is learned.  INVALID_ARGUMENT: as MakeSequences, or fewer than kMinTrainTokens to
// learn (the message ends with what was left out).
absl::StatusOr<Dataset> MakeDataset(const Tokenizer& tokenizer,
                                    std::span<const std::string_view> texts,
                                    const DataOptions& options);

// The same for documents; `test` documents, where there are any, judge instead of a share of
// `train`.  UNIMPLEMENTED: a conversation for a model whose chat template is not known.  Errors of
// one document name its number (the
// first is 1).
absl::StatusOr<Dataset> MakeDataset(const Tokenizer& tokenizer, const DocumentSet& documents,
                                    const DataOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_DATA_H_
