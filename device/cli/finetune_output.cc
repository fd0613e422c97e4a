#include "device/cli/finetune_output.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

using nlohmann::json;

int64_t PeakRss() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

json LossJson(const std::vector<LossPoint>& points) {
  json list = json::array();
  for (const LossPoint& point : points) {
    list.push_back({{"step", point.step}, {"loss", point.loss}});
  }
  return list;
}

std::string FileError(const char* what, const std::string& path) {
  return absl::StrCat("--metrics: cannot ", what, " ", path, ": ", std::strerror(errno));
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsFile>> MetricsFile::Open(const std::string& path,
                                                               bool resume) {
  if (path.empty()) return std::unique_ptr<MetricsFile>(new MetricsFile(path, -1));
  const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (resume ? 0 : O_TRUNC);
  const int fd = open(path.c_str(), flags, 0644);
  if (fd < 0) return absl::UnavailableError(FileError("open", path));
  return std::unique_ptr<MetricsFile>(new MetricsFile(path, fd));
}

MetricsFile::~MetricsFile() {
  if (fd_ >= 0) close(fd_);
}

void MetricsFile::Line(const json& object) {
  if (fd_ < 0) return;
  const std::string line = object.dump() + "\n";
  if (write(fd_, line.data(), line.size()) == static_cast<ssize_t>(line.size())) return;
  LogWarning(FileError("write", path_));
  close(fd_);
  fd_ = -1;
}

// A killed run may have written of steps behind its last checkpoint, and half a line: all at the
// end, which is cut off at once, so that being killed here loses nothing.
void MetricsFile::KeepUpTo(int step) {
  const absl::StatusOr<std::string> text = ReadFile(path_);
  if (!text.ok()) return;
  size_t kept = 0;
  for (size_t end; (end = text->find('\n', kept)) != std::string::npos; kept = end + 1) {
    const json object = json::parse(text->substr(kept, end - kept), nullptr,
                                    /*allow_exceptions=*/false);
    if (!object.is_object() || object.value("step", step + 1) > step) break;
  }
  if (kept < text->size() && ftruncate(fd_, static_cast<off_t>(kept)) != 0) {
    LogWarning(FileError("write", path_));
  }
}

void MetricsFile::Add(const TrainProgress& progress) {
  if (fd_ < 0) return;
  const StepRecord& record = progress.record;
  if (progress.begins && progress.step > 0) {
    KeepUpTo(progress.step);
    evaluated_ = progress.step;
    return;
  }
  if (progress.begins) KeepUpTo(-1);
  if (!progress.begins) {
    Line({{"step", record.step},
          {"epoch", record.epoch},
          {"loss", record.loss},
          {"learning_rate", record.learning_rate},
          {"gradient_norm", record.gradient_norm},
          {"tokens", record.tokens},
          {"tokens_per_s", record.tokens_per_second},
          {"working_set", record.working_set_bytes},
          {"seconds", record.seconds}});
  }
  if (progress.eval_loss) {
    Line({{"step", progress.step}, {"eval_loss", *progress.eval_loss}});
    evaluated_ = progress.step;
  }
}

void MetricsFile::Finish(const TrainResult& result) {
  for (const LossPoint& point : result.eval_loss) {
    if (point.step > evaluated_) Line({{"step", point.step}, {"eval_loss", point.loss}});
  }
}

void TrainingLine::Show(const TrainProgress& progress) {
  last_ = progress;
  if (progress.eval_loss) held_out_ = absl::StrFormat(", held-out %.3f", *progress.eval_loss);
  if (progress.begins) {
    line_.Update(progress.step, progress.total_steps,
                 absl::StrFormat("%.0f MB expected", progress.predicted_working_set_bytes / 1e6));
    return;
  }
  line_.Update(progress.step, progress.total_steps,
               absl::StrFormat("loss %.3f%s, %.0f tokens/s, %.0f MB", progress.loss, held_out_,
                               progress.tokens_per_second, progress.working_set_bytes / 1e6),
               progress.remaining);
}

void TrainingLine::ShowPaused() {
  line_.Update(last_.step, last_.total_steps, "paused", absl::InfiniteDuration());
}

json TrainResultJson(const TrainResult& result, std::string_view energy_source) {
  return {{"steps", result.steps},
          {"tokens", result.tokens},
          {"train_loss", LossJson(result.train_loss)},
          {"eval_loss", LossJson(result.eval_loss)},
          {"tokens_per_s", result.tokens_per_second},
          {"peak_rss", PeakRss()},
          {"working_set", result.working_set_bytes},
          {"predicted_working_set", result.predicted_working_set_bytes},
          {"seconds", result.seconds},
          {"paused_seconds", result.paused_seconds},
          {"joules", result.joules},
          {"energy_source", energy_source},
          {"stopped_because", result.stopped_because},
          {"parameters", result.parameters}};
}

void PrintTrainResult(const TrainResult& result, std::string_view energy_source,
                      const std::string& path, Output& output) {
  output.Line(absl::StrFormat("%d steps, %d tokens at %.0f tokens/s; stopped because: %s",
                              result.steps, result.tokens, result.tokens_per_second,
                              result.stopped_because));
  if (!result.train_loss.empty()) {
    output.Line(absl::StrFormat("training loss %.4f at first, %.4f at last (nats a token)",
                                result.train_loss.front().loss, result.train_loss.back().loss));
  }
  if (!result.eval_loss.empty()) {
    double best = result.eval_loss.front().loss;
    for (const LossPoint& point : result.eval_loss) best = std::min(best, point.loss);
    output.Line(absl::StrFormat("held-out loss %.4f before, %.4f at best",
                                result.eval_loss.front().loss, best));
  }
  std::string time = absl::StrFormat("%.1f s", result.seconds);
  if (result.paused_seconds > 0) {
    absl::StrAppendFormat(&time, " (%.1f s of them paused)", result.paused_seconds);
  }
  output.Line(absl::StrFormat(
      "%s, %.0f J (%s)", time, result.joules,
      energy_source == "rapl" ? "the machine's counters" : "a model: processor time x power"));
  output.Line(absl::StrFormat("working set %.1f MB, %.1f MB were expected",
                              result.working_set_bytes / 1e6,
                              result.predicted_working_set_bytes / 1e6));
  output.Line(absl::StrFormat("%s: %d trained numbers", path, result.parameters));
}

}  // namespace lorikeet
