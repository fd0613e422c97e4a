// The state of a training run on disk, so that a killed run goes on as if nothing had happened.
//
// One file, "training.checkpoint", written atomically and piece by piece: no copy of it is ever in
// memory.  Little-endian:
//   8 bytes magic "LKTRAIN\n" · u32 version (2) · u32 zero · 64 bytes base fingerprint (hex) ·
//   3 x 32 bytes BLAKE2b of: starting adapter, frozen adapters, data · u64 length and text of the
//   options ("name=value" per line, padded with newlines to a multiple of 4) · i32 step · i64
//   tokens · i32 evaluations without improvement · f64 best loss · u64 x 4 generator · u64 used ·
//   sized lists (u64 count first): steps (i32 step, f64 loss, f64 gradient norm, i64 tokens), eval
//   loss (i32 step, f64 loss), parameters (f32), first moments, second moments, best parameters
//   (empty: none yet) · 32 bytes BLAKE2b of all before.
// It holds the numbers of a personal adapter in the clear and never leaves the device (mode 0600).
#ifndef LORIKEET_DEVICE_TRAINER_CHECKPOINT_H_
#define LORIKEET_DEVICE_TRAINER_CHECKPOINT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/file.h"
#include "common/base/file_lock.h"
#include "common/base/hash.h"
#include "device/trainer/batch_sampler.h"
#include "device/trainer/parameter_store.h"
#include "device/trainer/trainer.h"

namespace lorikeet {

// What a run must have in common with the one it continues.
struct TrainIdentity {
  std::string base_fingerprint;  // 64 hex digits
  std::string options;           // those that change the result, "name=value" per line
  Hash256 start{};
  Hash256 frozen{};
  Hash256 data{};
};
TrainIdentity IdentifyRun(const std::string& base_fingerprint, const TrainOptions& options,
                          const Adapter& start, std::span<const AdapterRef> frozen,
                          std::span<const Sequence> train, std::span<const Sequence> eval);

// Everything but the large lists.
struct TrainState {
  int step = 0;
  int64_t tokens = 0;
  int evaluations_without_improvement = 0;
  double best_loss = 0;
  BatchSampler::State sampler{};
  std::vector<StepRecord> steps;  // their step, loss, gradient norm and tokens
  std::vector<LossPoint> eval_loss;
};

// The large lists of a state that is written.
struct TrainTensors {
  std::span<const std::span<const float>> parameters;
  std::span<const float> first_moments;
  std::span<const float> second_moments;
  const ParameterStore* best = nullptr;  // null or not filled: an empty list
};

// A state that was read.  The lists lie in the mapped file.
struct Checkpoint {
  std::unique_ptr<MappedFile> file;
  TrainState state;
  std::span<const float> parameters;
  std::span<const float> first_moments;
  std::span<const float> second_moments;
  std::span<const float> best;
};

std::string CheckpointPath(const std::string& directory);

// Takes a directory for one run: makes it, locks it, and removes what a killed run left half
// written.  ALREADY_EXISTS: another process trains with it.
absl::StatusOr<std::unique_ptr<FileLock>> OpenCheckpointDirectory(const std::string& directory);

// Replaces the checkpoint; on any error (RESOURCE_EXHAUSTED: the disk is full) the one before is
// still there.
absl::Status WriteCheckpoint(const std::string& directory, const TrainIdentity& identity,
                             const TrainState& state, const TrainTensors& tensors);

// Nothing if there is no checkpoint in the directory.  DATA_LOSS: truncated, or a wrong checksum.
// INVALID_ARGUMENT: not a checkpoint.  FAILED_PRECONDITION names what differs: version, base (both
// fingerprints), the first other option, starting adapter, frozen adapters, or data.
absl::StatusOr<std::optional<Checkpoint>> ReadCheckpoint(const std::string& directory,
                                                         const TrainIdentity& expected);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_CHECKPOINT_H_
