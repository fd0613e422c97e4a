#include "device/personalization/explainer.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "device/personalization/private_documents.h"

namespace lorikeet {
namespace {

// Neutral text: so many samples, each a window of beginnings of so many documents.
constexpr size_t kMaxNeutralSamples = 32;
constexpr size_t kSampleDocuments = 8;
constexpr int64_t kMinNeutralSamples = 4;
constexpr int64_t kMinNeutralTokens = 128;
constexpr size_t kPieceTokens = 32;
// A dimension that hardly moves in neutral text must not outweigh all others.
constexpr double kLeastSpread = 0.1;  // of the mean spread
// Two sides nearer than this, in neutral spreads a dimension, are the same to the model.
constexpr double kLeastLength = 1e-4;

// Tokens of texts, and views of them.
class Tokens {
 public:
  Tokens(const Model& model, std::span<const std::string> texts) {
    for (const std::string& text : texts) ids_.push_back(model.tokenizer().Encode(text));
    for (const std::vector<TokenId>& ids : ids_) views_.emplace_back(ids);
  }
  std::span<const TokenSpan> views() const { return views_; }

 private:
  std::vector<std::vector<TokenId>> ids_;
  std::vector<TokenSpan> views_;
};

// What of the neutral documents is read: of many the beginnings of some, evenly spread.
std::vector<std::string> ChooseNeutral(std::span<const std::string> documents) {
  constexpr size_t kDocumentBytes = 600, kAllBytes = size_t{64} << 10;
  const size_t count = std::min(documents.size(), kMaxNeutralSamples * kSampleDocuments);
  std::vector<std::string> chosen;
  for (size_t i = 0; i < count; ++i) {
    const auto pieces = CutText(documents[i * documents.size() / count],
                                std::max(kDocumentBytes, kAllBytes / count));
    if (!pieces.empty()) chosen.emplace_back(pieces.front());
  }
  return chosen;
}

// The mean hidden states of windows of neutral text, each of pieces of several documents.
absl::StatusOr<std::vector<std::vector<float>>> ReadNeutral(
    const Model& model, HiddenMean& reader, std::span<const std::string> documents) {
  const Tokens tokens(model, ChooseNeutral(documents));
  std::vector<TokenSpan> pieces;
  for (const TokenSpan document : tokens.views()) {
    for (size_t at = 0; at < document.size(); at += kPieceTokens) {
      pieces.push_back(document.subspan(at, std::min(kPieceTokens, document.size() - at)));
    }
  }
  int64_t total = 0;
  for (const TokenSpan piece : pieces) total += static_cast<int64_t>(piece.size());
  if (total < kMinNeutralTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("neutral text for explanations: expected at least ", kMinNeutralTokens,
                     " tokens, got ", total));
  }
  const auto samples = static_cast<size_t>(std::clamp<int64_t>(
      total / reader.window(), kMinNeutralSamples, int64_t{kMaxNeutralSamples}));
  std::vector<std::vector<TokenSpan>> groups(samples);
  for (size_t i = 0; i < pieces.size(); ++i) groups[i % samples].push_back(pieces[i]);
  std::vector<std::vector<float>> means;
  for (const std::vector<TokenSpan>& group : groups) {
    ASSIGN_OR_RETURN(std::vector<float> mean, reader.Read(ShareTokens(group, reader.window())));
    means.push_back(std::move(mean));
  }
  return means;
}

void SetNeutral(std::span<const std::vector<float>> samples, ExplanationAxes* axes) {
  const auto width = static_cast<size_t>(axes->width);
  std::vector<double> mean(width), spread(width);
  const auto count = static_cast<double>(samples.size());
  for (const std::vector<float>& sample : samples) {
    for (size_t c = 0; c < width; ++c) mean[c] += sample[c] / count;
  }
  double level = 0;
  for (size_t c = 0; c < width; ++c) {
    for (const std::vector<float>& sample : samples) {
      spread[c] += (sample[c] - mean[c]) * (sample[c] - mean[c]) / (count - 1);
    }
    spread[c] = std::sqrt(spread[c]);
    level += spread[c] / static_cast<double>(width);
  }
  const double least = std::max(kLeastSpread * level, 1e-6);
  for (double& value : spread) value = std::max(value, least);
  axes->neutral_mean.assign(mean.begin(), mean.end());
  axes->neutral_spread.assign(spread.begin(), spread.end());
}

// Mean over one side of an axis.
absl::StatusOr<std::vector<float>> ReadSide(const Model& model, HiddenMean& reader,
                                            std::span<const std::string> prompts) {
  return reader.Read(Tokens(model, prompts).views());
}

absl::Status AddAxis(const AxisDefinition& axis, std::span<const float> positive,
                     std::span<const float> contrast, ExplanationAxes* axes) {
  std::vector<double> direction(positive.size());
  double squares = 0;
  for (size_t c = 0; c < direction.size(); ++c) {
    direction[c] = (positive[c] - contrast[c]) / axes->neutral_spread[c];
    squares += direction[c] * direction[c];
  }
  const double length = std::sqrt(squares);
  if (!(length > kLeastLength * std::sqrt(static_cast<double>(direction.size())))) {
    return absl::InvalidArgumentError(absl::StrCat(
        "axis \"", axis.word, "\": expected two sides that differ, got the same hidden states"));
  }
  const auto add = [&](const std::string& word, double sign) {
    axes->words.push_back(word);
    for (const double value : direction) {
      axes->directions.push_back(static_cast<float>(sign * value / length));
    }
  };
  add(axis.word, 1);
  if (!axis.opposite.empty()) add(axis.opposite, -1);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Explainer>> Explainer::Create(std::shared_ptr<const Model> model,
                                                             ThreadPool* pool,
                                                             ExplanationAxes axes) {
  if (axes.empty()) {
    return absl::InvalidArgumentError("explanation: expected axes, the catalog has none");
  }
  RETURN_IF_ERROR(CheckExplanationAxes(axes));
  if (axes.width != model->config().embedding_length) {
    return absl::InvalidArgumentError(absl::StrCat("explanation axes: expected width ",
                                                   model->config().embedding_length,
                                                   " of this base, got ", axes.width));
  }
  ASSIGN_OR_RETURN(HiddenMean reader, HiddenMean::Create(std::move(model), pool));
  return std::unique_ptr<Explainer>(new Explainer(std::move(axes), std::move(reader)));
}

absl::StatusOr<Explanation> Explainer::Explain(std::span<const Sequence> documents,
                                               int64_t max_tokens) {
  std::vector<TokenSpan> views;
  for (const Sequence& document : documents) {
    TokenSpan tokens = document.tokens;
    if (!tokens.empty() && tokens.front() == reader_.bos()) tokens = tokens.subspan(1);
    views.push_back(tokens);
  }
  ASSIGN_OR_RETURN(const std::vector<float> mean, reader_.Read(ShareTokens(views, max_tokens)));
  return Decompose(axes_, mean);
}

absl::StatusOr<ExplanationAxes> MakeAxes(std::shared_ptr<const Model> model, ThreadPool* pool,
                                         const AxesDefinition& definition,
                                         std::span<const std::string> neutral_documents) {
  if (definition.axes.empty()) {
    return absl::InvalidArgumentError("explanation: expected at least one axis, got none");
  }
  ASSIGN_OR_RETURN(HiddenMean reader, HiddenMean::Create(model, pool));
  ExplanationAxes axes;
  axes.width = model->config().embedding_length;
  ASSIGN_OR_RETURN(const auto samples, ReadNeutral(*model, reader, neutral_documents));
  SetNeutral(samples, &axes);
  for (const AxisDefinition& axis : definition.axes) {
    ASSIGN_OR_RETURN(const auto positive, ReadSide(*model, reader, axis.positive));
    ASSIGN_OR_RETURN(const auto contrast, ReadSide(*model, reader, axis.contrast));
    RETURN_IF_ERROR(AddAxis(axis, positive, contrast, &axes));
  }
  RETURN_IF_ERROR(CheckExplanationAxes(axes));
  return axes;
}

}  // namespace lorikeet
