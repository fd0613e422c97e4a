#include "device/personalization/incremental.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

// Fewer records than this are cut into pieces, so that every part gets some.
constexpr size_t kFewRecords = 10, kFewNewRecords = 5;
// Fewer held-out records than this let the judge say little (judge.h).
constexpr size_t kFewestJudges = 5, kFewestNewJudges = 2;
// A loss that rose by less than so many standard errors did not rise.
constexpr double kNoise = 2.0;
// Of the old text that is read, every so-manieth sequence is not replayed: it shows what is being
// unlearned while there is still a choice.
constexpr size_t kWatched = 2;
// The watch is stricter than the judge: of a smaller sample it sees less.
constexpr double kWatchNoise = 0.5;
// How far to go from the last adapter to the trained one, where all the way would unlearn.
constexpr double kShorterWays[] = {0.7, 0.45, 0.25};

double CpuSeconds() {
  return static_cast<double>(std::clock()) / static_cast<double>(CLOCKS_PER_SEC);
}

size_t BytesOf(std::span<const VaultDocument> records) {
  size_t bytes = 0;
  for (const VaultDocument& record : records) bytes += record.text.size_bytes();
  return bytes;
}

// Where the lots hold out too little, the last records judge instead: at least half of `fewest` and
// the judge's share of the bytes; of fewer than `few` records none.
void HoldOutTail(size_t few, size_t fewest, std::vector<VaultDocument>* train,
                 std::vector<VaultDocument>* judge) {
  for (VaultDocument& record : *judge) train->push_back(std::move(record));
  judge->clear();
  std::ranges::sort(*train, {}, &VaultDocument::id);
  if (train->size() < few) return;
  const double enough = kJudgeShare * static_cast<double>(BytesOf(*train));
  double moved = 0;
  while (train->size() > few / 2 && (moved < enough || judge->size() < fewest / 2)) {
    moved += static_cast<double>(train->back().text.size_bytes());
    judge->insert(judge->begin(), std::move(train->back()));
    train->pop_back();
  }
}

// By chance the lots of a few records may hold out far more than their share: the highest ones are
// trained on then, and the history's ids keep them from judging later.
void ReleaseTooMany(std::vector<VaultDocument>* train, std::vector<VaultDocument>* judge) {
  const double most = 1.5 * kJudgeShare * static_cast<double>(BytesOf(*train) + BytesOf(*judge));
  while (judge->size() > kFewestJudges && static_cast<double>(BytesOf(*judge)) > most) {
    const auto highest = std::ranges::max_element(*judge, {}, &VaultDocument::lot);
    train->push_back(std::move(*highest));
    judge->erase(highest);
  }
  std::ranges::sort(*train, {}, &VaultDocument::id);
}

bool TooFew(std::span<const VaultDocument> judge, std::span<const VaultDocument> rest,
            size_t fewest) {
  const auto bytes = static_cast<double>(BytesOf(judge));
  return judge.size() < fewest ||
         bytes < kJudgeShare / 2 * (bytes + static_cast<double>(BytesOf(rest)));
}

std::vector<PrivateText> Texts(std::vector<VaultDocument> records) {
  std::vector<PrivateText> texts;
  for (VaultDocument& record : records) texts.push_back(std::move(record.text));
  return texts;
}

// Puts what a training needs together: the persona to stand on, the residual to go on with.
absl::StatusOr<PersonalAdapter::Parts> StartOf(const Model& model, const PersonalAdapter& last,
                                               const IncrementalOptions& options) {
  RETURN_IF_ERROR(model.CheckAdapter(last.adapter()));
  ASSIGN_OR_RETURN(PersonalAdapter::Parts parts, last.Split(options.alpha));
  if (!parts.residual.matrices.empty()) return parts;
  const AdapterInfo info = last.adapter().info;
  ASSIGN_OR_RETURN(parts.residual, MakeAdapter(model, {.kind = AdapterKind::kLora,
                                                       .rank = options.rank,
                                                       .alpha = options.alpha,
                                                       .modules = options.modules,
                                                       .seed = options.train.seed}));
  parts.residual.info.name = info.name;
  parts.residual.info.version = info.version;
  parts.residual.info.parent = info.parent;
  parts.residual.info.persona_id = info.persona_id;
  return parts;
}

struct Measured {
  std::vector<DocumentLoss> base, before, after;
};

absl::StatusOr<Measured> Measure(LossMeter* meter, const PersonalAdapter& last,
                                 const PersonalAdapter& updated,
                                 std::span<const Sequence> documents) {
  Measured result;
  if (documents.empty()) return result;
  const std::vector<LossCandidate> candidates = {
      {}, {{.adapter = &last.adapter()}}, {{.adapter = &updated.adapter()}}};
  ASSIGN_OR_RETURN(auto losses, meter->Measure(candidates, documents));
  result.base = std::move(losses[0]);
  result.before = std::move(losses[1]);
  result.after = std::move(losses[2]);
  return result;
}

IncrementalSide Summary(const Measured& losses) {
  IncrementalSide side;
  for (const DocumentLoss& loss : losses.base) side.tokens += loss.tokens;
  side.base = MeanLoss(losses.base);
  side.before = MeanLoss(losses.before);
  side.after = MeanLoss(losses.after);
  side.standard_error = ComparePaired(losses.before, losses.after).standard_error;
  return side;
}

std::string Describe(std::string_view name, const IncrementalSide& side) {
  if (side.tokens == 0) return absl::StrCat("no ", ToAbsl(name), " text is held out");
  return absl::StrFormat("%s text %.3f before, %.3f after (%d tokens, base %.3f)", ToAbsl(name),
                         side.before, side.after, side.tokens, side.base);
}

struct OldText {
  std::vector<Sequence> replayed, watched;
};

OldText ReadOldText(const Model& model, const IncrementalText& text, int64_t fresh_tokens,
                    const IncrementalOptions& options) {
  const double share = static_cast<double>(kWatched) / static_cast<double>(kWatched - 1);
  const auto tokens =
      static_cast<int64_t>(share * options.replay * static_cast<double>(fresh_tokens));
  // Another beginning every time, so that one sample is not replayed for ever.
  const std::vector<Sequence> sample =
      SampleEvenly(TokenizeDocuments(model, text.known, options.split.window_tokens), tokens,
                   options.train.seed + text.records.size());
  OldText old;
  for (size_t i = 0; i < sample.size(); ++i) {
    (i % kWatched == kWatched - 1 ? old.watched : old.replayed).push_back(sample[i]);
  }
  return old;
}

bool GotWorse(std::span<const DocumentLoss> before, std::span<const DocumentLoss> after,
              double least, double errors) {
  const PairedGain gain = ComparePaired(before, after);
  return -gain.gain > least && -gain.gain > errors * gain.standard_error;
}

// Factors between those of `from` (0) and `to` (1).
Adapter Between(const Adapter& from, const Adapter& to, double way) {
  Adapter result = to;
  const auto mix = [&](const std::vector<float>& a, std::vector<float>* b) {
    for (size_t i = 0; i < b->size(); ++i) {
      (*b)[i] = a[i] + static_cast<float>(way) * ((*b)[i] - a[i]);
    }
  };
  for (size_t i = 0; i < result.matrices.size(); ++i) {
    mix(from.matrices[i].a, &result.matrices[i].a);
    mix(from.matrices[i].b, &result.matrices[i].b);
  }
  return result;
}

// The trained residual, or a part of the way to it if all of it makes the watched old text worse.
// `watched` judges nothing later.
absl::StatusOr<Adapter> WithoutUnlearning(LossMeter* meter, const PersonalAdapter::Parts& start,
                                          const Adapter& trained, std::span<const Sequence> watched,
                                          double min_gain, double* way) {
  *way = 1;
  if (watched.size() < 2) return trained;
  const auto measure = [&](const Adapter& residual) -> absl::StatusOr<std::vector<DocumentLoss>> {
    const std::vector<LossCandidate> one = {{{.adapter = &start.persona}, {.adapter = &residual}}};
    ASSIGN_OR_RETURN(auto losses, meter->Measure(one, watched));
    return std::move(losses[0]);
  };
  ASSIGN_OR_RETURN(const auto before, measure(start.residual));
  ASSIGN_OR_RETURN(auto after, measure(trained));
  Adapter chosen = trained;
  for (const double shorter : kShorterWays) {
    if (!GotWorse(before, after, min_gain, kWatchNoise)) break;
    *way = shorter;
    chosen = Between(start.residual, trained, shorter);
    ASSIGN_OR_RETURN(after, measure(chosen));
  }
  return chosen;
}

// Decides and says why.
void Decide(const Measured& known, const Measured& fresh, double min_gain,
            IncrementalResult* result) {
  Measured all = known;
  all.before.insert(all.before.end(), fresh.before.begin(), fresh.before.end());
  all.after.insert(all.after.end(), fresh.after.begin(), fresh.after.end());
  const double gain = ComparePaired(all.before, all.after).gain;
  const IncrementalSide& old = result->known;
  const double worse = old.after - old.before;
  const bool unlearned = GotWorse(known.before, known.after, min_gain, kNoise);
  const std::string losses =
      absl::StrCat("held-out loss: ", Describe("new", result->fresh), "; ", Describe("old", old));
  result->kept = gain > min_gain && !unlearned;
  if (result->kept) {
    result->verdict = absl::StrFormat(
        "kept: %s; on both together %.3f nats a token lower than before, and the old text did not "
        "get worse beyond noise",
        losses, gain);
  } else if (unlearned) {
    result->verdict = absl::StrFormat(
        "rolled back: learning the new text unlearned the old, which got worse by %.3f nats a "
        "token, more than noise; the last adapter stays; %s",
        worse, losses);
  } else {
    result->verdict = absl::StrFormat(
        "rolled back: training on the new text did not help (%+.3f nats a token on all that "
        "judges); the last adapter stays; %s",
        -gain, losses);
  }
}

}  // namespace

TrainOptions DefaultIncrementalTraining() {
  TrainOptions options;
  // The residual is already trained: fewer passes at half the rate of a first training.
  options.epochs = 3;
  options.batch_size = 4;
  options.learning_rate = 5e-4;
  options.warmup_steps = 2;
  options.patience = 1;
  options.precision = TrainPrecision::kFast;
  return options;
}

OwnerText HoldOutRecords(std::vector<VaultDocument> records) {
  std::vector<VaultDocument> train, judge;
  for (VaultDocument& record : records) {
    (record.lot < kJudgeShare ? judge : train).push_back(std::move(record));
  }
  ReleaseTooMany(&train, &judge);
  if (TooFew(judge, train, kFewestJudges)) {
    HoldOutTail(kFewRecords, kFewestJudges, &train, &judge);
  }
  OwnerText text;
  for (const VaultDocument& record : train) text.record_ids.push_back(record.id);
  text.documents = Texts(std::move(train));
  text.judge = Texts(std::move(judge));
  return text;
}

IncrementalText DivideRecords(std::vector<VaultDocument> records, std::span<const int64_t> trained,
                              absl::Time made) {
  std::vector<VaultDocument> known, fresh, judge_known, judge_fresh;
  for (VaultDocument& record : records) {
    if (std::ranges::binary_search(trained, record.id)) {
      known.push_back(std::move(record));
    } else if (record.added <= made) {
      judge_known.push_back(std::move(record));  // was there, and was held out
    } else {
      (record.lot < kJudgeShare ? judge_fresh : fresh).push_back(std::move(record));
    }
  }
  if (TooFew(judge_fresh, fresh, kFewestNewJudges)) {
    HoldOutTail(kFewNewRecords, kFewestNewJudges, &fresh, &judge_fresh);
  }
  IncrementalText text;
  for (const VaultDocument& record : known) text.records.push_back(record.id);
  for (const VaultDocument& record : fresh) text.records.push_back(record.id);
  std::ranges::sort(text.records);
  text.known = Texts(std::move(known));
  text.fresh = Texts(std::move(fresh));
  text.judge_known = Texts(std::move(judge_known));
  text.judge_fresh = Texts(std::move(judge_fresh));
  return text;
}

std::vector<Sequence> SampleEvenly(std::span<const Sequence> from, int64_t tokens, uint64_t seed) {
  const int64_t total = PredictedTokens(from);
  if (total <= tokens) return {from.begin(), from.end()};
  std::vector<Sequence> sample;
  const double keep = static_cast<double>(tokens) / static_cast<double>(total);
  double credit = Rng(seed).Uniform();
  for (const Sequence& sequence : from) {
    credit += keep;
    if (credit < 1) continue;
    credit -= 1;
    sample.push_back(sequence);
  }
  return sample;
}

absl::StatusOr<IncrementalResult> TrainIncrement(std::shared_ptr<const Model> model,
                                                 ThreadPool* pool, const Clock& clock,
                                                 const PersonalAdapter& last,
                                                 const IncrementalText& text,
                                                 const IncrementalOptions& options,
                                                 const ProgressCallback& progress) {
  const double cpu_start = CpuSeconds();
  ASSIGN_OR_RETURN(const PersonalAdapter::Parts start, StartOf(*model, last, options));
  const OwnerText fresh{.documents = text.fresh, .judge = text.judge_fresh, .record_ids = {}};
  ASSIGN_OR_RETURN(TextSplit split, SplitText(*model, fresh, options.split));

  IncrementalResult result;
  result.fresh_tokens = PredictedTokens(split.train);
  const OldText old = ReadOldText(*model, text, PredictedTokens(split.train), options);
  result.replay_tokens = PredictedTokens(old.replayed);
  split.train.insert(split.train.end(), old.replayed.begin(), old.replayed.end());
  split.selection.insert(split.selection.end(), old.watched.begin(), old.watched.end());

  std::vector<AdapterRef> frozen;
  if (!start.persona.matrices.empty()) frozen.push_back({.adapter = &start.persona});
  ASSIGN_OR_RETURN(result.training, Train(model, pool, clock, start.residual, frozen, split.train,
                                          split.selection, options.train, progress));
  ASSIGN_OR_RETURN(const auto meter, LossMeter::Create(model, pool));
  ASSIGN_OR_RETURN(const Adapter residual,
                   WithoutUnlearning(meter.get(), start, result.training.adapter, old.watched,
                                     options.min_gain, &result.way));
  PersonalAdapter updated = PersonalAdapter::Merge(start.persona, residual);

  const auto thinned = [&](std::span<const Sequence> side) {
    return SampleEvenly(side, options.judge_tokens, /*seed=*/1);
  };
  const std::vector<Sequence> judge_known =
      TokenizeDocuments(*model, text.judge_known, options.split.window_tokens);
  ASSIGN_OR_RETURN(const Measured known, Measure(meter.get(), last, updated, thinned(judge_known)));
  ASSIGN_OR_RETURN(const Measured new_side,
                   Measure(meter.get(), last, updated, thinned(split.judge)));
  result.known = Summary(known);
  result.fresh = Summary(new_side);
  Decide(known, new_side, options.min_gain, &result);
  if (result.kept) result.adapter = std::move(updated);
  result.cpu_seconds = CpuSeconds() - cpu_start;
  return result;
}

}  // namespace lorikeet
