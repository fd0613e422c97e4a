#include "device/trainer/train_many.h"

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status_macros.h"
#include "device/trainer/memory_meter.h"
#include "device/trainer/training_run.h"

namespace lorikeet {
namespace {

// Where learners bring their batches and wait for the results.  Serve runs on one thread, the rest
// is called by the learners' own.
class MeetingPoint {
 public:
  explicit MeetingPoint(size_t learners) : seats_(learners), present_(learners) {}

  // A learner is ready to begin; returns when there is an engine for all.
  absl::Status Join(const EngineRequest& request);
  absl::StatusOr<GradientResult> Compute(size_t index, const LearnerBatch& batch);
  // A learner is through, whether it joined or not.
  void Leave();
  int64_t working_set_bytes();

  // Makes the engine for all who joined, with the adapters of the largest and the rows of all, when
  // everybody has joined or left; then computes until all have left.
  void Serve(const EngineSource& make);

 private:
  struct Seat {
    std::optional<LearnerBatch> batch;  // wanted and not yet computed
    absl::StatusOr<GradientResult> result = GradientResult();
  };
  bool AllWait() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return waiting_ == present_; }
  bool Opened() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return opened_; }
  // Of the seats that want gradients, or of those that want the loss only.
  void ComputeGroup(bool gradients) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  std::vector<Seat> seats_ ABSL_GUARDED_BY(mutex_);
  size_t present_ ABSL_GUARDED_BY(mutex_);
  size_t waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t rows_ ABSL_GUARDED_BY(mutex_) = 0;
  const EngineRequest* largest_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool opened_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status open_status_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<GradientEngine> engine_ ABSL_GUARDED_BY(mutex_);
};

absl::Status MeetingPoint::Join(const EngineRequest& request) {
  absl::MutexLock lock(&mutex_);
  rows_ += request.rows;
  if (largest_ == nullptr ||
      request.trained.ParameterCount() > largest_->trained.ParameterCount()) {
    largest_ = &request;  // until Serve has used it: this call returns after that
  }
  ++waiting_;
  mutex_.Await(absl::Condition(this, &MeetingPoint::Opened));
  return open_status_;
}

absl::StatusOr<GradientResult> MeetingPoint::Compute(size_t index, const LearnerBatch& batch) {
  absl::MutexLock lock(&mutex_);
  Seat& seat = seats_[index];
  seat.batch = batch;
  ++waiting_;
  const auto done = [&seat] { return !seat.batch.has_value(); };
  mutex_.Await(absl::Condition(&done));
  return seat.result;
}

void MeetingPoint::Leave() {
  absl::MutexLock lock(&mutex_);
  --present_;
}

int64_t MeetingPoint::working_set_bytes() {
  absl::MutexLock lock(&mutex_);
  return engine_ != nullptr ? engine_->working_set_bytes() : 0;
}

void MeetingPoint::ComputeGroup(bool gradients) {
  std::vector<Seat*> group;
  std::vector<LearnerBatch> batches;
  for (Seat& seat : seats_) {
    if (!seat.batch.has_value() || (seat.batch->gradients != nullptr) != gradients) continue;
    group.push_back(&seat);
    batches.push_back(*seat.batch);
  }
  if (group.empty()) return;
  const auto results = engine_->ComputeMany(batches);
  for (size_t i = 0; i < group.size(); ++i) {
    if (results.ok()) {
      group[i]->result = (*results)[i];
    } else if (group.size() == 1 || absl::IsCancelled(results.status())) {
      group[i]->result = results.status();
    } else {  // whose fault it is shows alone
      const auto alone = engine_->ComputeMany({&batches[i], 1});
      group[i]->result = alone.ok() ? absl::StatusOr<GradientResult>(alone->front())
                                    : absl::StatusOr<GradientResult>(alone.status());
    }
  }
}

void MeetingPoint::Serve(const EngineSource& make) {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(this, &MeetingPoint::AllWait));
  if (present_ == 0) return;
  auto engine = make({.trained = largest_->trained,
                      .frozen = largest_->frozen,
                      .rows = rows_,
                      .options = largest_->options});
  open_status_ = engine.status();
  if (engine.ok()) engine_ = *std::move(engine);
  opened_ = true;
  waiting_ = 0;
  for (;;) {
    mutex_.Await(absl::Condition(this, &MeetingPoint::AllWait));
    if (present_ == 0) break;
    ComputeGroup(true);
    ComputeGroup(false);
    for (Seat& seat : seats_) seat.batch.reset();
    waiting_ = 0;
  }
  engine_.reset();  // here, where it was used
}

// The engine of one learner, as its loop sees it.
class SharedEngine final : public GradientEngine {
 public:
  SharedEngine(MeetingPoint* meeting, size_t index) : meeting_(meeting), index_(index) {}

  absl::StatusOr<std::vector<GradientResult>> ComputeMany(
      std::span<const LearnerBatch> learners) override {
    std::vector<GradientResult> results;
    for (const LearnerBatch& learner : learners) {
      ASSIGN_OR_RETURN(const GradientResult result, meeting_->Compute(index_, learner));
      results.push_back(result);
    }
    return results;
  }
  absl::StatusOr<GradientResult> ComputeAll(std::span<const Sequence>,
                                            const ModelGradients&) override {
    return absl::FailedPreconditionError(
        "training side by side: expected adapters, got all weights of the base");
  }
  int64_t working_set_bytes() const override { return meeting_->working_set_bytes(); }

 private:
  MeetingPoint* meeting_;
  size_t index_;
};

absl::Status CheckShared(const std::vector<Learner>& learners) {
  if (learners.empty()) {
    return absl::InvalidArgumentError("training side by side: expected learners, got none");
  }
  for (const Learner& learner : learners) {
    const TrainOptions& own = learner.options;
    if (own.max_memory_bytes != 0 || own.max_joules != 0 || own.governor != nullptr ||
        own.energy != nullptr) {
      return absl::InvalidArgumentError(
          "training side by side: expected limits of memory and energy and the governor to be "
          "common, got them in a learner's options");
    }
  }
  return absl::OkStatus();
}

// How the engine of all is to be.
class JointPlan {
 public:
  JointPlan(std::shared_ptr<const Model> model, const std::vector<Learner>& learners,
            const TrainManyOptions& options)
      : model_(std::move(model)), options_(options) {
    ReturnFreeMemory();
    other_bytes_ = MemoryMeter().Now();
    for (const Learner& learner : learners) {
      other_bytes_ +=
          OptimizerBytes(learner.options, !learner.eval.empty(), learner.start.ParameterCount());
    }
  }

  // RESOURCE_EXHAUSTED: more than the limit.
  absl::Status Make(const EngineRequest& all) {
    const int64_t limit = options_.max_memory_bytes > 0
                              ? std::max<int64_t>(1, options_.max_memory_bytes - other_bytes_)
                              : 0;
    ASSIGN_OR_RETURN(
        plan_, PlanMemory(model_, all.trained, all.frozen, all.rows, options_.precision, limit));
    const int64_t least = other_bytes_ + plan_.least_bytes;
    if (limit > 0 && least > options_.max_memory_bytes) {
      return absl::ResourceExhaustedError(absl::StrFormat(
          "training side by side: batches of %d tokens together need at least %d bytes of memory, "
          "the limit is %d; fewer adapters at once, smaller batches or a shorter context need less",
          all.rows, least, options_.max_memory_bytes));
    }
    return absl::OkStatus();
  }
  const EngineMemory& memory() const { return plan_.memory; }
  int64_t predicted_bytes() const { return other_bytes_ + plan_.engine_bytes; }

 private:
  std::shared_ptr<const Model> model_;
  const TrainManyOptions& options_;
  int64_t other_bytes_ = 0;  // held before, and what optimizers take
  MemoryPlan plan_;
};

// All but the loop that computes for everybody.
class LearnerThreads {
 public:
  LearnerThreads(const std::shared_ptr<const Model>& model, const Clock& clock,
                 TrainPrecision precision, std::vector<Learner>& learners, MeetingPoint* meeting)
      : results_(learners.size(), absl::UnknownError("not trained")) {
    for (size_t i = 0; i < learners.size(); ++i) {
      learners[i].options.precision = precision;
      threads_.emplace_back([this, &model, &clock, &learner = learners[i], meeting, i] {
        results_[i] = Run(model, clock, learner, meeting, i);
        meeting->Leave();
      });
    }
  }
  std::vector<absl::StatusOr<TrainResult>> Join() {
    for (std::thread& thread : threads_) thread.join();
    return std::move(results_);
  }

 private:
  absl::StatusOr<TrainResult> Run(const std::shared_ptr<const Model>& model, const Clock& clock,
                                  Learner& learner, MeetingPoint* meeting, size_t index) {
    ProgressCallback progress;
    if (learner.progress != nullptr) {
      progress = [this, &learner](const TrainProgress& now) {
        absl::MutexLock lock(&progress_mutex_);
        return learner.progress(now);
      };
    }
    const AdapterTraining training{.model = model,
                                   .clock = clock,
                                   .frozen = learner.frozen,
                                   .train = learner.train,
                                   .eval = learner.eval,
                                   .options = learner.options,
                                   .progress = progress};
    return TrainAdapter(
        training, std::move(learner.start),
        [meeting,
         index](const EngineRequest& request) -> absl::StatusOr<std::unique_ptr<GradientEngine>> {
          RETURN_IF_ERROR(meeting->Join(request));
          return std::make_unique<SharedEngine>(meeting, index);
        });
  }

  std::vector<absl::StatusOr<TrainResult>> results_;
  absl::Mutex progress_mutex_;
  std::vector<std::thread> threads_;
};

}  // namespace

absl::StatusOr<std::vector<absl::StatusOr<TrainResult>>> TrainMany(
    std::shared_ptr<const Model> model, ThreadPool* pool, const Clock& clock,
    std::vector<Learner> learners, const TrainManyOptions& options) {
  RETURN_IF_ERROR(CheckShared(learners));
  JointPlan plan(model, learners, options);
  GradientEngineOptions engine_options{.precision = options.precision};
  MemoryMeter memory;
  bool stopped = false;
  engine_options.pause_point = [&]() -> absl::Status {
    memory.Sample();
    if (options.governor == nullptr) return absl::OkStatus();
    const absl::Status status = options.governor->AtPausePoint();
    // All are told at once; what they then still evaluate is to be computed.
    if (absl::IsCancelled(status) && std::exchange(stopped, true)) return absl::OkStatus();
    return status;
  };
  MeetingPoint meeting(learners.size());
  LearnerThreads threads(model, clock, options.precision, learners, &meeting);
  meeting.Serve([&](const EngineRequest& all) -> absl::StatusOr<std::unique_ptr<GradientEngine>> {
    RETURN_IF_ERROR(plan.Make(all));
    engine_options.memory = plan.memory();
    return GradientEngine::Create(model, pool, engine_options);
  });
  std::vector<absl::StatusOr<TrainResult>> results = threads.Join();
  for (absl::StatusOr<TrainResult>& result : results) {
    if (!result.ok()) continue;
    result->predicted_working_set_bytes = plan.predicted_bytes();
    result->working_set_bytes = std::max(result->working_set_bytes, memory.peak());
  }
  return results;
}

}  // namespace lorikeet
