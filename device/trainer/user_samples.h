// samples.jsonl: text of many people, a line each, with who wrote it and what it is for.
//
// A line is an object with "text" or "messages", and may have "user" and "split" ("train" where
// there is none, "test", "test_other_work").  Empty lines and empty texts are passed over.  Of one
// person's file, or of one person: data.h, ReadDocuments.
#ifndef LORIKEET_DEVICE_TRAINER_USER_SAMPLES_H_
#define LORIKEET_DEVICE_TRAINER_USER_SAMPLES_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "device/trainer/data.h"

namespace lorikeet {

struct Sample {
  std::optional<std::string> user;
  std::string split;  // as written; "train" where there is none
  Document document;
  size_t line = 0;  // from 1
};
// In file order.  INVALID_ARGUMENT names the file and the line; errors as ReadFile.
absl::StatusOr<std::vector<Sample>> ReadSamples(const std::string& path);

// One user's texts, in file order.
struct UserSamples {
  std::string user;
  std::vector<std::string> train;
  std::vector<std::string> test;        // of the same work, where the set knows works
  std::vector<std::string> other_work;  // "test_other_work"
};
// Users in order of first appearance.  INVALID_ARGUMENT: as ReadSamples; a line without user, an
// unknown split, a conversation, no text at all.
absl::StatusOr<std::vector<UserSamples>> ReadUserSamples(const std::string& path);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_USER_SAMPLES_H_
