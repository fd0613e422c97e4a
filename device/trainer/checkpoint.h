// The state of a training run on disk, so that a killed run goes on as if nothing had happened.
//
// One file, "training.checkpoint", written atomically.  Little-endian:
//   8 bytes magic "LKTRAIN\n" · u32 version (1) · u32 zero · 64 bytes base fingerprint (hex) ·
//   4 x 32 bytes BLAKE2b of: options, starting adapter, frozen adapters, data ·
//   i32 step · i64 tokens · i32 evaluations without improvement · f64 best loss · u64 x 4 generator
//   · u64 used · sized lists (u64 count first): train loss (i32 step, f64 loss), eval loss,
//   parameters (f32), first moments, second moments, best parameters (empty: none yet) · 32 bytes
//   BLAKE2b of all before.
// It holds the numbers of a personal adapter in the clear and never leaves the device (mode 0600).
#ifndef LORIKEET_DEVICE_TRAINER_CHECKPOINT_H_
#define LORIKEET_DEVICE_TRAINER_CHECKPOINT_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/hash.h"
#include "device/trainer/batch_sampler.h"
#include "device/trainer/trainer.h"

namespace lorikeet {

// What a run must have in common with the one it continues.
struct TrainIdentity {
  std::string base_fingerprint;  // 64 hex digits
  Hash256 options{};             // those that change the result
  Hash256 start{};
  Hash256 frozen{};
  Hash256 data{};
};
TrainIdentity IdentifyRun(const std::string& base_fingerprint, const TrainOptions& options,
                          const Adapter& start, std::span<const AdapterRef> frozen,
                          std::span<const Sequence> train, std::span<const Sequence> eval);

struct TrainState {
  int step = 0;
  int64_t tokens = 0;
  int evaluations_without_improvement = 0;
  double best_loss = 0;
  BatchSampler::State sampler{};
  std::vector<LossPoint> train_loss;
  std::vector<LossPoint> eval_loss;
  std::vector<float> parameters;
  std::vector<float> first_moments;
  std::vector<float> second_moments;
  std::vector<float> best_parameters;
};

std::string CheckpointPath(const std::string& directory);

std::string SerializeCheckpoint(const TrainIdentity& identity, const TrainState& state);
// DATA_LOSS: truncated, or a wrong checksum.  INVALID_ARGUMENT: not a checkpoint.
// FAILED_PRECONDITION names what differs: version, base (both fingerprints), options, starting
// adapter, frozen adapters, or data.
absl::StatusOr<TrainState> ParseCheckpoint(std::string_view bytes, const TrainIdentity& expected);

// Makes the directory.  Errors as WriteFileAtomic.
absl::Status WriteCheckpoint(const std::string& directory, const TrainIdentity& identity,
                             const TrainState& state);
// Nothing if there is no checkpoint in the directory.
absl::StatusOr<std::optional<TrainState>> ReadCheckpoint(const std::string& directory,
                                                         const TrainIdentity& expected);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_CHECKPOINT_H_
