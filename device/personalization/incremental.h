// Going on from the last adapter: new text, a sample of the old, a few steps, and a judge of both.
//
// The persona's part of the adapter stays as it is; the personal residual is trained on.  Old
// records are replayed so that they are not unlearned, about as many tokens as are new, spread over
// time.  Held-out old and held-out new text decide: what was learned before must not get worse by
// more than noise.  Not here: which persona fits (selector.h), whether one still fits (drift.h).
//
// Who is held out: a record judges if its lot, drawn by the vault's key from its text, falls below
// the judge's share.  That needs no memory, holds for every adapter of the vault and survives the
// loss of the history.  The ids of the history have the veto: a record that shaped an adapter never
// judges it or what comes after it.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_INCREMENTAL_H_
#define LORIKEET_DEVICE_PERSONALIZATION_INCREMENTAL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/personalization/loss_meter.h"
#include "device/personalization/personal_adapter.h"
#include "device/personalization/private_documents.h"
#include "device/trainer/trainer.h"
#include "device/vault/vault.h"

namespace lorikeet {

inline constexpr double kJudgeShare = 0.2;  // of a vault's records

// The records of a vault as a first training sees them: those of a low lot judge.  Where they are
// too few to say much (fewer than five, or half their share of the bytes) the last records judge
// instead, and where there are hardly any records (fewer than ten) the judge's part is left empty,
// and SplitText cuts it from the end.
OwnerText HoldOutRecords(std::vector<VaultDocument> records);

// The same for going on from an adapter that the records `trained` (ascending) shaped, and that was
// made at `made`.
struct IncrementalText {
  std::vector<PrivateText> known;                     // shaped the adapter
  std::vector<PrivateText> fresh;                     // came since then
  std::vector<PrivateText> judge_known, judge_fresh;  // held out; judge_fresh may be empty
  std::vector<int64_t> records;                       // of known and fresh, ascending
};
IncrementalText DivideRecords(std::vector<VaultDocument> records, std::span<const int64_t> trained,
                              absl::Time made);

struct IncrementalOptions {
  SplitOptions split;
  TrainOptions train;  // see DefaultIncrementalTraining
  int rank = 8;        // of a residual that the adapter does not have yet
  float alpha = 16;    // as when the residual was first trained
  std::vector<Module> modules;
  double replay = 1.0;          // tokens of old text for each new one
  int64_t judge_tokens = 4000;  // of each side; more text is thinned out evenly
  double min_gain = 0.002;      // nats a token on all that judges
};
TrainOptions DefaultIncrementalTraining();

// One side of the judge's text, nats a token.
struct IncrementalSide {
  double base = 0, before = 0, after = 0;
  double standard_error = 0;  // of before - after; infinite for fewer than two documents
  int64_t tokens = 0;         // 0: nothing of this side is held out
};

struct IncrementalResult {
  TrainResult training;
  int64_t fresh_tokens = 0, replay_tokens = 0;  // trained on, each pass
  // How far from the last adapter towards the trained one: less than 1 where all the way would have
  // unlearned old text (of which a part is watched, neither replayed nor judged by).
  double way = 1;
  IncrementalSide known, fresh;
  bool kept = false;
  std::optional<PersonalAdapter> adapter;  // where kept
  std::string verdict;
  double cpu_seconds = 0;  // of the process, while this ran
};

// INVALID_ARGUMENT: too little new text.  FAILED_PRECONDITION: the adapter does not say which part
// of it is personal, or is for another base.
absl::StatusOr<IncrementalResult> TrainIncrement(std::shared_ptr<const Model> model,
                                                 ThreadPool* pool, const Clock& clock,
                                                 const PersonalAdapter& last,
                                                 const IncrementalText& text,
                                                 const IncrementalOptions& options,
                                                 const ProgressCallback& progress = nullptr);

// Sequences of about `tokens` predicted tokens, spread evenly over `from`; `seed` says where it
// begins.  All of them if there are not more.
std::vector<Sequence> SampleEvenly(std::span<const Sequence> from, int64_t tokens, uint64_t seed);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_INCREMENTAL_H_
