#include "device/cli/finetune_users.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/adapter/gguf_io.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/cli/progress.h"
#include "device/cli/command.h"
#include "device/cli/finetune_output.h"
#include "device/trainer/governor.h"
#include "device/trainer/train_many.h"

namespace lorikeet {
namespace {

using nlohmann::json;

absl::StatusOr<std::vector<Dataset>> LoadUsers(const FinetuneUsersArguments& arguments,
                                               const Model& model) {
  std::vector<Dataset> datasets;
  for (const std::string& user : arguments.users) {
    ASSIGN_OR_RETURN(const DocumentSet documents, ReadDocuments(arguments.data, user));
    absl::StatusOr<Dataset> dataset = MakeDataset(model.tokenizer(), documents, arguments.text);
    if (!dataset.ok()) {
      return Annotate(dataset.status(), absl::StrCat(arguments.data, ", user ", user));
    }
    datasets.push_back(*std::move(dataset));
  }
  return datasets;
}

// Steps of all learners, on one line.
class JointLine {
 public:
  JointLine(bool enabled, size_t learners)
      : line_(enabled, "finetune"), done_(learners), total_(learners), loss_(learners) {}

  void Show(size_t learner, const TrainProgress& now) {
    done_[learner] = now.step;
    total_[learner] = now.total_steps;
    loss_[learner] = now.loss;
    int64_t done = 0, total = 0;
    double loss = 0;
    for (size_t i = 0; i < done_.size(); ++i) {
      done += done_[i];
      total += total_[i];
      loss += loss_[i] / static_cast<double>(done_.size());
    }
    line_.Update(done, total, absl::StrFormat("mean loss %.3f", loss));
  }

 private:
  ProgressLine line_;
  std::vector<int> done_, total_;
  std::vector<double> loss_;
};

absl::StatusOr<std::vector<absl::StatusOr<TrainResult>>> TrainUsers(
    const FinetuneUsersArguments& arguments, const Engine& engine,
    const std::vector<Dataset>& datasets, Output& output) {
  ASSIGN_OR_RETURN(const StartingAdapter start,
                   MakeStartingAdapter(arguments.start, engine, arguments.train.seed,
                                       arguments.text.context_length));
  output.Line(absl::StrCat("adapters: ", start.origin));
  JointLine line(output.progress(), datasets.size());
  std::vector<Learner> learners;
  for (size_t i = 0; i < datasets.size(); ++i) {
    learners.push_back({.start = start.adapter,
                        .frozen = engine.adapters(),
                        .train = datasets[i].train,
                        .eval = datasets[i].eval,
                        .options = arguments.train,
                        .progress = [&line, i](const TrainProgress& now) {
                          line.Show(i, now);
                          return !StopRequested();
                        }});
    learners.back().options.max_memory_bytes = 0;
    learners.back().options.spill_dir = arguments.out;
  }
  PausingGovernor governor({.pause_file = arguments.pause_file, .stopped = StopRequested});
  const SystemClock clock;
  return TrainMany(engine.model(), engine.pool(), clock, std::move(learners),
                   {.precision = arguments.train.precision,
                    .max_memory_bytes = arguments.train.max_memory_bytes,
                    .governor = &governor});
}

void PrintUser(const std::string& user, const TrainResult& result, const std::string& path,
               Output& output) {
  std::string line = absl::StrFormat("%s: %d steps", user, result.steps);
  if (!result.eval_loss.empty()) {
    double best = result.eval_loss.front().loss;
    for (const LossPoint& point : result.eval_loss) best = std::min(best, point.loss);
    absl::StrAppendFormat(&line, ", held-out loss %.4f before, %.4f at best",
                          result.eval_loss.front().loss, best);
  } else if (!result.train_loss.empty()) {
    absl::StrAppendFormat(&line, ", training loss %.4f at first, %.4f at last",
                          result.train_loss.front().loss, result.train_loss.back().loss);
  }
  output.Line(absl::StrCat(line, "; ", result.stopped_because, "; ", path));
}

// Writes what there is of a user; its keys.
absl::StatusOr<json> KeepUser(const std::string& user, const absl::StatusOr<TrainResult>& result,
                              const std::string& path, Output& output) {
  RETURN_IF_ERROR(result.status());
  RETURN_IF_ERROR(WriteAdapter(result->adapter, path));
  PrintUser(user, *result, path, output);
  if (!result->failure.empty()) {
    return absl::InternalError(absl::StrCat("training stopped at ", result->failure,
                                            "; the last good adapter is in ", path));
  }
  json keys = TrainResultJson(*result, "none");
  keys["user"] = user;
  keys["out"] = path;
  return keys;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ParseUsers(std::string_view list) {
  std::vector<std::string> users = absl::StrSplit(ToAbsl(list), ',');
  for (size_t i = 0; i < users.size(); ++i) {
    const std::string& user = users[i];
    if (user.empty() || user.front() == '.' || user.find('/') != std::string::npos) {
      return UsageError(
          absl::StrCat("--user: expected names that can be file names, separated by commas, got \"",
                       user, "\""));
    }
    if (std::find(users.begin(), users.begin() + static_cast<std::ptrdiff_t>(i), user) !=
        users.begin() + static_cast<std::ptrdiff_t>(i)) {
      return UsageError(absl::StrCat("--user: expected every name once, got ", user, " again"));
    }
  }
  return users;
}

absl::Status FinetuneUsers(const FinetuneUsersArguments& arguments, const Engine& engine,
                           Output& output) {
  std::error_code error;
  std::filesystem::create_directories(arguments.out, error);
  if (error || !std::filesystem::is_directory(arguments.out, error)) {
    return UsageError(absl::StrCat("--out: expected a directory for the adapters of ",
                                   arguments.users.size(), " users, got ", arguments.out));
  }
  ASSIGN_OR_RETURN(const std::vector<Dataset> datasets, LoadUsers(arguments, *engine.model()));
  const SystemClock clock;
  const absl::Time started = clock.Now();
  ASSIGN_OR_RETURN(const auto results, TrainUsers(arguments, engine, datasets, output));
  const double seconds = absl::ToDoubleSeconds(clock.Now() - started);
  json users = json::array();
  absl::Status first_error;
  int64_t tokens = 0, working_set = 0;
  for (size_t i = 0; i < results.size(); ++i) {
    const std::string path = absl::StrCat(arguments.out, "/", arguments.users[i], ".gguf");
    absl::StatusOr<json> keys = KeepUser(arguments.users[i], results[i], path, output);
    if (!keys.ok()) {
      first_error.Update(Annotate(keys.status(), absl::StrCat("user ", arguments.users[i])));
      continue;
    }
    tokens += results[i]->tokens;
    working_set = std::max(working_set, results[i]->working_set_bytes);
    users.push_back(*std::move(keys));
  }
  output.Line(absl::StrFormat("%d users, %d tokens in %.1f s; working set %.1f MB", users.size(),
                              tokens, seconds, working_set / 1e6));
  output.SetJson({{"users", std::move(users)},
                  {"tokens", tokens},
                  {"seconds", seconds},
                  {"tokens_per_s", seconds > 0 ? static_cast<double>(tokens) / seconds : 0},
                  {"working_set", working_set}});
  return first_error;
}

}  // namespace lorikeet
