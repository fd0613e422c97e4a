// A copy of all trained numbers that costs no memory while training goes on: the best state so far.
//
// On disk it is a file without a name (O_TMPFILE, or unlinked as soon as it is open), mode 0600:
// nothing of it is left when the process ends, however it ends.  Its room is taken when it is made,
// so that a full disk shows before training and not in it.
#ifndef LORIKEET_DEVICE_TRAINER_PARAMETER_STORE_H_
#define LORIKEET_DEVICE_TRAINER_PARAMETER_STORE_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lorikeet {

// Not thread-safe.
class ParameterStore {
 public:
  // Room for `count` numbers in `directory`; empty: in memory, taken when something is put.
  // RESOURCE_EXHAUSTED: the disk is full; errors name the directory.
  static absl::StatusOr<std::unique_ptr<ParameterStore>> Create(const std::string& directory,
                                                                size_t count);
  ~ParameterStore();
  ParameterStore(const ParameterStore&) = delete;
  ParameterStore& operator=(const ParameterStore&) = delete;

  // False until the first Put.
  bool filled() const { return filled_; }
  size_t count() const { return count_; }
  // REQUIRES (Put, Get): sizes add up to count.
  absl::Status Put(std::span<const std::span<const float>> values);
  // REQUIRES (Get, ForEachPiece): filled.
  absl::Status Get(std::span<const std::span<float>> values) const;
  // All numbers in order, piece by piece; ends with the first error of `visit`.
  absl::Status ForEachPiece(
      const std::function<absl::Status(std::span<const float> piece)>& visit) const;

 private:
  ParameterStore(std::string directory, size_t count, int fd)
      : directory_(std::move(directory)), count_(count), fd_(fd) {}

  std::string directory_;
  size_t count_;
  int fd_;  // -1: in memory
  std::vector<float> memory_;
  bool filled_ = false;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_PARAMETER_STORE_H_
