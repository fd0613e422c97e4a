#include "device/agent/base_health.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/personalization/loss_meter.h"
#include "device/personalization/private_documents.h"
#include "device/personalization/rebase.h"
#include "device/runtime/session.h"

namespace lorikeet {
namespace {

// Read by every version; plain sentences, a little code, other scripts and digits.
constexpr std::string_view kGoldenTexts[] = {
    "The bird sat on the fence and looked at the garden. It had learned three words, and it said "
    "them all day long to whoever came by.",
    "for (int i = 0; i < 10; ++i) { total += values[i]; }  // 42, 3.14, 2026-11-23",
    "Der Vogel spricht. L'oiseau parle. El p\xC3\xA1jaro habla. \xE9\xB3\xA5\xE3\x81\x8C\xE8\xA9"
    "\xB1\xE3\x81\x99\xE3\x80\x82",
};
constexpr int kContext = 256;

struct GoldenResult {
  double nats_per_byte = 0;
};

// FAILED_PRECONDITION: logits that are no numbers, or say nothing.
absl::StatusOr<GoldenResult> ReadGoldenTexts(Session& session) {
  double nats = 0;
  size_t bytes = 0;
  for (const std::string_view text : kGoldenTexts) {
    std::vector<TokenId> tokens =
        session.model().tokenizer().Encode(text, {.add_special = true, .parse_special = false});
    if (tokens.size() > kContext) tokens.resize(kContext);
    ASSIGN_OR_RETURN(const std::vector<float> losses, session.Score(tokens));
    for (const float loss : losses) nats += loss;
    bytes += text.size();
    ASSIGN_OR_RETURN(const ConstMatrix logits, session.Decode(tokens, /*all_positions=*/false));
    const std::span<const float> row(logits.data, static_cast<size_t>(logits.cols));
    const auto finite = [](float x) { return std::isfinite(x); };
    const auto [least, most] = std::ranges::minmax(row);
    session.Rewind(0);
    if (!std::isfinite(nats) || !std::ranges::all_of(row, finite) || !(least < most)) {
      return absl::FailedPreconditionError(
          "a golden prompt gave logits that are not finite, or all the same");
    }
  }
  return GoldenResult{nats / static_cast<double>(bytes)};
}

// Seconds a token, the better of several turns that the two models take one after the other.
struct Pace {
  double candidate = std::numeric_limits<double>::infinity();
  double current = std::numeric_limits<double>::infinity();
};

absl::StatusOr<double> SecondsPerToken(Session& session, int tokens) {
  session.Rewind(0);
  std::vector<TokenId> next = {session.model().tokenizer().bos().value_or(0)};
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < tokens; ++i) {
    ASSIGN_OR_RETURN(const ConstMatrix logits, session.Decode(next, /*all_positions=*/false));
    const std::span<const float> row(logits.data, static_cast<size_t>(logits.cols));
    next[0] = static_cast<TokenId>(std::ranges::max_element(row) - row.begin());
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  return seconds.count() / tokens;
}

absl::StatusOr<Pace> MeasurePace(Session& candidate, Session& current,
                                 const BaseHealthOptions& options) {
  Pace pace;
  for (int i = 0; i < options.speed_turns; ++i) {
    ASSIGN_OR_RETURN(const double mine, SecondsPerToken(candidate, options.speed_tokens));
    ASSIGN_OR_RETURN(const double theirs, SecondsPerToken(current, options.speed_tokens));
    pace.candidate = std::min(pace.candidate, mine);
    pace.current = std::min(pace.current, theirs);
  }
  return pace;
}

absl::Status CheckLoss(std::string_view what, double candidate, double current, double bound) {
  if (candidate <= current * (1 + bound)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrFormat(
      "on %s it needs %.3f nats a byte, the base in use %.3f; at most %.0f %% more were expected",
      what, candidate, current, bound * 100));
}

// Nats a byte of documents, up to options.judge_bytes.
absl::StatusOr<double> OwnersLoss(const std::shared_ptr<const Model>& model, ThreadPool* pool,
                                  std::span<const PrivateText> judge,
                                  const BaseHealthOptions& options) {
  size_t count = 0;
  for (size_t bytes = 0; count < judge.size() && bytes < options.judge_bytes; ++count) {
    bytes += judge[count].size_bytes();
  }
  ASSIGN_OR_RETURN(const auto losses, MeasureBytes(model, pool, std::nullopt, judge.first(count),
                                                   options.window_tokens));
  return MeanLoss(losses);
}

absl::Status Compare(const BaseHealthInput& input, const std::shared_ptr<const Model>& model,
                     Session& session, double golden, ThreadPool* pool,
                     const BaseHealthOptions& options, BaseHealth* health) {
  const SessionOptions session_options{.context_length = session.context_length()};
  ASSIGN_OR_RETURN(const auto current, Session::Create(input.current, pool, session_options));
  ASSIGN_OR_RETURN(const GoldenResult current_golden, ReadGoldenTexts(*current));
  RETURN_IF_ERROR(
      CheckLoss("golden prompts", golden, current_golden.nats_per_byte, options.golden_bound));
  ASSIGN_OR_RETURN(const Pace pace, MeasurePace(session, *current, options));
  health->speed = pace.current / pace.candidate;
  if (health->speed < options.speed_floor) {
    return absl::FailedPreconditionError(
        absl::StrFormat("it generates at %.2f of the speed of the base in use; at least %.2f was "
                        "expected",
                        health->speed, options.speed_floor));
  }
  if (input.judge.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(health->owners_loss, OwnersLoss(model, pool, input.judge, options));
  ASSIGN_OR_RETURN(health->owners_loss_before,
                   OwnersLoss(input.current, pool, input.judge, options));
  return CheckLoss("the owner's held-out text", health->owners_loss, health->owners_loss_before,
                   options.loss_bound);
}

absl::Status Check(const BaseHealthInput& input, ThreadPool* pool, const BaseHealthOptions& options,
                   BaseHealth* health) {
  ASSIGN_OR_RETURN(const auto model, Model::Load(input.path));
  if (model->fingerprint() != input.fingerprint) {
    return absl::FailedPreconditionError(
        absl::StrCat("expected the base ", input.fingerprint, ", got ", model->fingerprint()));
  }
  const int context = std::min(kContext, model->config().context_length);
  ASSIGN_OR_RETURN(const auto session, Session::Create(model, pool, {.context_length = context}));
  ASSIGN_OR_RETURN(const GoldenResult golden, ReadGoldenTexts(*session));
  if (input.has_adapter) {
    // The adapter of another base does not carry over: one must be trained.
    const absl::Status trainable = LossMeter::Create(model, pool).status();
    RETURN_IF_ERROR(Annotate(trainable, "the owner's adapter could not be made anew for it"));
  }
  if (input.current == nullptr) return absl::OkStatus();
  return Compare(input, model, *session, golden.nats_per_byte, pool, options, health);
}

}  // namespace

BaseHealth CheckBaseHealth(const BaseHealthInput& input, ThreadPool* pool,
                           const BaseHealthOptions& options) {
  BaseHealth health;
  const absl::Status found = Check(input, pool, options, &health);
  health.healthy = found.ok();
  if (!found.ok()) {
    health.summary = std::string(Message(found));
    return health;
  }
  health.summary = "loads, golden prompts are finite";
  if (input.current != nullptr) {
    absl::StrAppendFormat(&health.summary, ", %.2f of the speed", health.speed);
  }
  if (input.current != nullptr && !input.judge.empty()) {
    absl::StrAppendFormat(&health.summary, ", %.3f nats a byte of the owner's text (%.3f before)",
                          health.owners_loss, health.owners_loss_before);
  }
  return health;
}

}  // namespace lorikeet
