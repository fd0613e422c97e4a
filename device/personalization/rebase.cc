#include "device/personalization/rebase.h"

#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/personalization/loss_meter.h"

namespace lorikeet {
namespace {

// About how many bytes a token stands for: the judge's bounds are in nats a token.
constexpr double kBytesPerToken = 4;

std::string Bits(double nats) { return absl::StrFormat("%.3f", nats / std::log(2.0)); }

std::string Words(const RebaseResult& result, bool old_has_adapter) {
  const std::string_view new_side =
      result.trained.adapter ? "the new base with its adapter" : "the new base alone";
  const std::string read = absl::StrFormat(
      "on the same %d bytes of held-out text %s needs %s bits a byte, the old base %s %s",
      result.judge_bytes, ToAbsl(new_side), Bits(result.new_nats_per_byte),
      old_has_adapter ? "with its adapter" : "alone", Bits(result.old_nats_per_byte));
  if (result.keep_new) {
    return absl::StrFormat("kept the new side: %s (%.1f%% less; chance that this is luck: %.2g)",
                           read, result.comparison.percent, result.comparison.p_value);
  }
  const std::string why =
      result.comparison.gain.gain <= 0
          ? "no better"
          : absl::StrFormat("%.1f%% less, but the chance that this is luck is %.2g",
                            result.comparison.percent, result.comparison.p_value);
  return absl::StrCat("kept the old side: ", read, " (", why, "); the old base must stay");
}

// Judges the finished new side against the old one.
absl::Status Compare(const RebaseInput& input, ThreadPool* pool, const PersonalizeOptions& options,
                     RebaseResult* result) {
  JudgedSide new_side{.name = "new", .losses = {}}, old_side{.name = "old", .losses = {}};
  const int window = options.split.window_tokens;
  ASSIGN_OR_RETURN(new_side.losses, MeasureBytes(input.new_model, pool, result->trained.adapter,
                                                 input.text.judge, window));
  ASSIGN_OR_RETURN(old_side.losses, MeasureBytes(input.old_model, pool, input.old_adapter,
                                                 input.text.judge, window));
  JudgeOptions judge;
  judge.min_gain /= kBytesPerToken;
  judge.cautious_gain /= kBytesPerToken;
  result->comparison = CompareSides(new_side, old_side, judge);
  result->compared = true;
  result->keep_new = result->comparison.wins;
  result->new_nats_per_byte = MeanLoss(new_side.losses);
  result->old_nats_per_byte = MeanLoss(old_side.losses);
  for (const DocumentLoss& loss : new_side.losses) result->judge_bytes += loss.tokens;
  result->verdict = Words(*result, input.old_adapter.has_value());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<DocumentLoss>> MeasureBytes(
    std::shared_ptr<const Model> model, ThreadPool* pool,
    const std::optional<PersonalAdapter>& adapter, std::span<const PrivateText> documents,
    int window_tokens) {
  std::vector<Sequence> sequences;
  std::vector<size_t> counts;
  for (const PrivateText& document : documents) {
    std::vector<Sequence> parts = TokenizeWhole(*model, document, window_tokens);
    counts.push_back(parts.size());
    for (Sequence& part : parts) sequences.push_back(std::move(part));
  }
  LossCandidate side;
  if (adapter) side.push_back({.adapter = &adapter->adapter()});
  ASSIGN_OR_RETURN(const auto meter, LossMeter::Create(std::move(model), pool));
  ASSIGN_OR_RETURN(const auto measured, meter->Measure({&side, 1}, sequences));
  std::vector<DocumentLoss> losses;
  auto next = measured[0].begin();
  for (size_t i = 0; i < documents.size(); ++i) {
    DocumentLoss loss;
    for (size_t part = 0; part < counts[i]; ++part) loss.nats += (next++)->nats;
    loss.tokens = static_cast<int64_t>(documents[i].size_bytes());
    losses.push_back(loss);
  }
  return losses;
}

absl::StatusOr<RebaseResult> Rebase(RebaseInput input, ThreadPool* pool, const Clock& clock,
                                    const PersonalizeOptions& options, const StageCallback& stage,
                                    const ProgressCallback& progress) {
  if (input.old_model && input.old_model->fingerprint() == input.new_model->fingerprint()) {
    return absl::FailedPreconditionError(
        absl::StrCat("rebase: expected another base than the one in use, got the same (",
                     input.new_model->fingerprint(), "): personalize without --rebase"));
  }
  PersonalizeOptions fresh = options;
  fresh.existing.reset();
  input.text = SetJudgeApart(input.text, options.split);
  RebaseResult result;
  ASSIGN_OR_RETURN(result.trained, Personalize(input.new_model, pool, clock, *input.catalog,
                                               input.text, fresh, stage, progress));
  if (input.old_model) {
    if (stage) stage("comparing the bases");
    RETURN_IF_ERROR(Compare(input, pool, options, &result));
    return result;
  }
  result.keep_new = result.trained.adapter.has_value();
  result.verdict = absl::StrCat(
      "the old base is not there, so the old side could not be compared; against the new base "
      "alone: ",
      result.trained.verdict);
  return result;
}

}  // namespace lorikeet
