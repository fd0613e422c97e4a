// Several adapters trained side by side on one base: each with its own text, optimizer, schedule
// and result, all through one pass over the base's weights a step.
//
// What it saves is unpacking the weights for every learner; short batches gain most.  Each learner
// runs the same loop as Train (training_run.h) on a thread that mostly sleeps; the calling thread
// waits until every learner that is still training wants a gradient (or a loss) and computes them
// together.
#ifndef LORIKEET_DEVICE_TRAINER_TRAIN_MANY_H_
#define LORIKEET_DEVICE_TRAINER_TRAIN_MANY_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"
#include "common/base/clock.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/trainer/governor.h"
#include "device/trainer/gradient.h"
#include "device/trainer/trainer.h"

namespace lorikeet {

// As the arguments of Train; borrows all but the adapter.  Precision, memory limit, governor and
// energy of `options` are those of TrainManyOptions and must be left as they are.  `progress` of
// different learners is never called at the same time, but not on the calling thread.
struct Learner {
  Adapter start;
  std::span<const AdapterRef> frozen = {};
  std::span<const Sequence> train = {};
  std::span<const Sequence> eval = {};
  TrainOptions options = {};
  ProgressCallback progress = nullptr;
};

struct TrainManyOptions {
  TrainPrecision precision = TrainPrecision::kExact;
  // Of this process at its peak, for all learners together; 0: no limit.
  int64_t max_memory_bytes = 0;
  // Holds up, or stops, all of them.  A rest counts as time of every learner.
  TrainingGovernor* governor = nullptr;
};

// One result a learner, in order: what Train would have returned for it, up to rounding (sums over
// a batch may be cut at other places), however the others fare: a learner whose text or options are
// refused, or whose loss is not finite, does not hold up the rest.  Deterministic: the same
// learners, same adapters, byte for byte.  Speed and memory in the results are of all together.
//
// INVALID_ARGUMENT: no learner.  RESOURCE_EXHAUSTED (in every result): all together need more than
// max_memory_bytes, named with the least.
absl::StatusOr<std::vector<absl::StatusOr<TrainResult>>> TrainMany(
    std::shared_ptr<const Model> model, ThreadPool* pool, const Clock& clock,
    std::vector<Learner> learners, const TrainManyOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_TRAIN_MANY_H_
