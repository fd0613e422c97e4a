#include "simulations/retrieval/retrieval_experiment.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/personalization/private_documents.h"
#include "device/runtime/session.h"
#include "device/trainer/make_adapter.h"

namespace lorikeet {
namespace {

// Of the vault's texts, from its end, to stop training by.
constexpr double kSelectionShare = 0.15;
constexpr int kContext = 512;

// softmax(logits)[token]
float ProbabilityOf(std::span<const float> logits, TokenId token) {
  const float largest = *std::ranges::max_element(logits);
  float sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return std::exp(logits[static_cast<size_t>(token)] - largest) / sum;
}

class UserExperiment {
 public:
  UserExperiment(const std::shared_ptr<const Model>& model, ThreadPool* pool, Session* session,
                 const RetrievalUser& user, const RetrievalExperimentOptions& options)
      : model_(model),
        pool_(pool),
        session_(session),
        tokenizer_(model->tokenizer()),
        user_(user),
        options_(options) {}

  absl::StatusOr<ScoredUser> Run();

 private:
  using Passages = std::vector<ChosenPassage>;

  absl::Status FillVault();
  absl::StatusOr<Passages> Retrieve(std::string_view before, std::string_view not_this);
  // BOS, passages, what stood before.
  std::vector<TokenId> Prefix(std::span<const ChosenPassage> passages, std::string_view before,
                              bool continues) const;
  // An example as at the time of use: only the text itself is learned.
  absl::StatusOr<Sequence> ReadingExample(const VaultMessage& message);
  absl::StatusOr<Adapter> TrainOn(std::span<const Sequence> sequences);
  absl::Status TrainAdapters();
  absl::Status ScoreAll(AdapterUse adapter, ScoredUser* result);
  absl::Status ScoreText(std::span<const TokenId> prefix, AdapterUse adapter, PromptUse prompt,
                         std::span<const TokenId> tokens, ScoredText* text);
  // `prompt`: without passages.
  void FillCopies(const Passages& passages, std::vector<TokenId> prompt,
                  std::span<const TokenId> tokens, ScoredText* text) const;

  const std::shared_ptr<const Model>& model_;
  ThreadPool* pool_;
  Session* session_;
  const Tokenizer& tokenizer_;
  const RetrievalUser& user_;
  const RetrievalExperimentOptions& options_;
  std::unique_ptr<PassageIndex> index_;
  CopyMixture vault_copies_;
  std::array<Adapter, kAdapterUses> adapters_;
};

absl::Status UserExperiment::FillVault() {
  ASSIGN_OR_RETURN(index_, PassageIndex::Create());
  for (size_t i = 0; i < user_.vault.size(); ++i) {
    RETURN_IF_ERROR(index_->Add(static_cast<int64_t>(i), PrivateText(user_.vault[i].text)));
    vault_copies_.AddText(tokenizer_.Encode(user_.vault[i].text));
  }
  return absl::OkStatus();
}

absl::StatusOr<UserExperiment::Passages> UserExperiment::Retrieve(std::string_view before,
                                                                  std::string_view not_this) {
  RetrieveOptions options = options_.retrieve;
  ASSIGN_OR_RETURN(Passages passages, ChoosePassages(*index_, tokenizer_, before, options));
  std::erase_if(passages, [&](const ChosenPassage& passage) {
    return !not_this.empty() && not_this.find(passage.text) != std::string_view::npos;
  });
  return passages;
}

std::vector<TokenId> UserExperiment::Prefix(std::span<const ChosenPassage> passages,
                                            std::string_view before, bool continues) const {
  std::vector<TokenId> tokens;
  if (tokenizer_.bos()) tokens.push_back(*tokenizer_.bos());
  if (!before.empty()) {
    const std::string prompt = absl::StrCat(ToAbsl(before), continues ? "" : "\n");
    for (const TokenId token : tokenizer_.Encode(prompt)) tokens.push_back(token);
  }
  return WithPassages(tokenizer_, passages, tokens);
}

absl::StatusOr<Sequence> UserExperiment::ReadingExample(const VaultMessage& message) {
  // Where nothing stood before, the text's own first half does.
  std::string_view before = message.before, text = message.text;
  const bool halves = before.empty();
  if (halves) {
    const size_t middle = std::min(text.find(' ', text.size() / 2), text.size());
    before = text.substr(0, middle);
    text = text.substr(middle);
  }
  ASSIGN_OR_RETURN(const Passages passages, Retrieve(before, message.text));
  Sequence sequence;
  sequence.tokens = Prefix(passages, before, halves);
  size_t learned_from = sequence.tokens.size();
  if (halves) learned_from -= std::min(learned_from - 1, tokenizer_.Encode(before).size());
  for (const TokenId token : tokenizer_.Encode(text)) sequence.tokens.push_back(token);
  sequence.tokens.resize(std::min(sequence.tokens.size(), size_t{kContext}));
  sequence.loss_mask.assign(sequence.tokens.size(), 1.0f);
  std::fill_n(sequence.loss_mask.begin(), std::min(learned_from, sequence.tokens.size()), 0.0f);
  return sequence;
}

absl::StatusOr<Adapter> UserExperiment::TrainOn(std::span<const Sequence> sequences) {
  ASSIGN_OR_RETURN(Adapter start, MakeAdapter(*model_, {.rank = options_.rank,
                                                        .alpha = options_.alpha,
                                                        .seed = options_.train.seed}));
  const size_t held =
      static_cast<size_t>(std::ceil(kSelectionShare * static_cast<double>(sequences.size())));
  const size_t trained = sequences.size() > held ? sequences.size() - held : sequences.size();
  static const SystemClock clock;
  ASSIGN_OR_RETURN(TrainResult result,
                   Train(model_, pool_, clock, std::move(start), {}, sequences.first(trained),
                         sequences.subspan(trained), options_.train));
  return std::move(result.adapter);
}

absl::Status UserExperiment::TrainAdapters() {
  std::vector<Sequence> plain, reading;
  for (const VaultMessage& message : user_.vault) {
    const PrivateText text(message.text);
    for (Sequence& sequence : TokenizeDocuments(*model_, {&text, 1}, options_.window_tokens)) {
      plain.push_back(std::move(sequence));
    }
    if (!options_.reading_adapter) continue;
    ASSIGN_OR_RETURN(Sequence sequence, ReadingExample(message));
    const bool learns =
        std::ranges::any_of(sequence.loss_mask, [](float weight) { return weight > 0; });
    if (learns) reading.push_back(std::move(sequence));
  }
  if (options_.plain_adapter) {
    ASSIGN_OR_RETURN(adapters_[static_cast<int>(AdapterUse::kPlain)], TrainOn(plain));
  }
  if (options_.reading_adapter) {
    ASSIGN_OR_RETURN(adapters_[static_cast<int>(AdapterUse::kReading)], TrainOn(reading));
  }
  return absl::OkStatus();
}

void UserExperiment::FillCopies(const Passages& passages, std::vector<TokenId> prompt,
                                std::span<const TokenId> tokens, ScoredText* text) const {
  CopyMixture of_passages;
  for (const ChosenPassage& passage : passages) {
    of_passages.AddText(tokenizer_.Encode(absl::StrCat(ToAbsl(passage.text), "\n")));
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    (*text)[i].copy[static_cast<int>(CopySource::kPassages)] =
        of_passages.Shares(prompt, tokens[i]);
    (*text)[i].copy[static_cast<int>(CopySource::kVault)] = vault_copies_.Shares(prompt, tokens[i]);
    prompt.push_back(tokens[i]);
  }
}

// Continues from a session that holds the prefix and leaves it so.
absl::Status UserExperiment::ScoreText(std::span<const TokenId> prefix, AdapterUse adapter,
                                       PromptUse prompt, std::span<const TokenId> tokens,
                                       ScoredText* text) {
  const auto store = [&](size_t i, std::span<const float> logits) {
    (*text)[i].model[static_cast<int>(adapter)][static_cast<int>(prompt)] =
        ProbabilityOf(logits, tokens[i]);
  };
  // All but the last token of the prefix are there.
  std::vector<TokenId> input(1, prefix.back());
  input.insert(input.end(), tokens.begin(), tokens.end() - 1);
  ASSIGN_OR_RETURN(const ConstMatrix logits, session_->Decode(input, /*all_positions=*/true));
  for (size_t i = 0; i < tokens.size(); ++i) {
    store(i, {logits.row(static_cast<int64_t>(i)), static_cast<size_t>(logits.cols)});
  }
  session_->Rewind(static_cast<int>(prefix.size()) - 1);
  return absl::OkStatus();
}

absl::Status UserExperiment::ScoreAll(AdapterUse adapter, ScoredUser* result) {
  const AdapterRef ref{.adapter = &adapters_[static_cast<int>(adapter)]};
  RETURN_IF_ERROR(session_->SetAdapters(adapter == AdapterUse::kNone ? std::span<const AdapterRef>()
                                                                     : std::span(&ref, 1)));
  const auto score = [&](std::string_view before, bool continues,
                         std::span<const std::string> texts, ScoredText* scored) -> absl::Status {
    ASSIGN_OR_RETURN(const Passages passages, Retrieve(before, {}));
    for (const PromptUse prompt : {PromptUse::kBare, PromptUse::kPassages}) {
      const std::vector<TokenId> prefix =
          Prefix(prompt == PromptUse::kBare ? Passages() : passages, before, continues);
      session_->Rewind(0);
      if (prefix.size() > 1) {
        RETURN_IF_ERROR(
            session_->Decode(std::span(prefix).first(prefix.size() - 1), false).status());
      }
      for (size_t i = 0; i < texts.size(); ++i) {
        std::vector<TokenId> tokens = tokenizer_.Encode(texts[i]);
        tokens.resize(std::min(tokens.size(), kContext - prefix.size()));
        scored[i].resize(tokens.size());
        RETURN_IF_ERROR(ScoreText(prefix, adapter, prompt, tokens, &scored[i]));
        if (adapter == AdapterUse::kNone)
          FillCopies(passages, Prefix({}, before, continues), tokens, &scored[i]);
      }
    }
    if (adapter == AdapterUse::kNone && texts.size() == 1) {
      result->passages += static_cast<int>(passages.size());
      for (const ChosenPassage& passage : passages) result->passage_tokens += passage.tokens;
    }
    return absl::OkStatus();
  };
  for (size_t i = 0; i < user_.held_out.size(); ++i) {
    const HeldOutText& text = user_.held_out[i];
    RETURN_IF_ERROR(score(text.before, text.continues, {&text.text, 1}, &result->texts[i]));
  }
  for (size_t i = 0; i < user_.questions.size(); ++i) {
    const FactQuestion& question = user_.questions[i];
    RETURN_IF_ERROR(score(question.before, /*continues=*/false, question.sentences,
                          result->questions[i].sentences.data()));
  }
  return absl::OkStatus();
}

// Marks the tokens of `text` that reach into one of the ranges.
void MarkFactTokens(const Tokenizer& tokenizer, const HeldOutText& text, ScoredText* scored) {
  const std::vector<TokenId> tokens = tokenizer.Encode(text.text);
  size_t at = 0;
  for (size_t i = 0; i < scored->size(); ++i) {
    const size_t end = at + tokenizer.Piece(tokens[i]).size();
    for (const HeldOutText::Range& range : text.facts) {
      if (at < range.end && end > range.begin) (*scored)[i].fact = true;
    }
    at = end;
  }
}

absl::StatusOr<ScoredUser> UserExperiment::Run() {
  ScoredUser result;
  result.name = user_.name;
  result.texts.resize(user_.held_out.size());
  for (const FactQuestion& question : user_.questions) {
    result.questions.emplace_back().sentences.resize(question.sentences.size());
  }
  RETURN_IF_ERROR(FillVault());
  result.vault_bytes = static_cast<int64_t>(index_->text_bytes());
  RETURN_IF_ERROR(TrainAdapters());
  for (const AdapterUse adapter : {AdapterUse::kNone, AdapterUse::kPlain, AdapterUse::kReading}) {
    if (adapter == AdapterUse::kPlain && !options_.plain_adapter) continue;
    if (adapter == AdapterUse::kReading && !options_.reading_adapter) continue;
    RETURN_IF_ERROR(ScoreAll(adapter, &result));
  }
  for (size_t i = 0; i < result.texts.size(); ++i) {
    MarkFactTokens(tokenizer_, user_.held_out[i], &result.texts[i]);
  }
  return result;
}

}  // namespace

absl::StatusOr<std::vector<ScoredUser>> ScoreUsers(const std::shared_ptr<const Model>& model,
                                                   ThreadPool* pool, const RetrievalData& data,
                                                   const RetrievalExperimentOptions& options,
                                                   const UserCallback& done) {
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Session> session,
      Session::Create(model, pool, {.context_length = kContext, .precision = Precision::kFast}));
  std::vector<ScoredUser> users;
  for (const RetrievalUser& user : data.users) {
    ASSIGN_OR_RETURN(ScoredUser scored,
                     UserExperiment(model, pool, session.get(), user, options).Run());
    users.push_back(std::move(scored));
    if (done && !done(users.size(), data.users.size())) {
      return absl::CancelledError(
          absl::StrCat("stopped after ", users.size(), " of ", data.users.size(), " users"));
    }
  }
  return users;
}

}  // namespace lorikeet
