#include "coordinator/rounds/task_config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/dp/encoder.h"
#include "common/secagg/parameters.h"
#include "common/wire/limits.h"

namespace lorikeet {
namespace {

using nlohmann::json;

// Under this many clients a complete graph costs less than the analysis of a sparse one gains.
constexpr int kCompleteGraphBelow = 100;

// Calls visit(key, field) for every field: one list for reading and writing.
template <typename Config, typename Visit>
void VisitFields(Config& config, const Visit& visit) {
  visit("name", config.name);
  visit("base_fingerprint", config.base_fingerprint);
  visit("rounds", config.rounds);
  visit("cohort_min", config.cohort_min);
  visit("cohort_max", config.cohort_max);
  visit("corrupt_fraction", config.corrupt_fraction);
  visit("dropout_fraction", config.dropout_fraction);
  visit("clip_norm", config.clip_norm);
  visit("noise_multiplier", config.noise_multiplier);
  visit("delta", config.delta);
  visit("epsilon_budget", config.epsilon_budget);
  visit("scale", config.scale);
  visit("noise", config.noise);
  visit("separation", config.separation);
  visit("participations", config.participations);
  visit("largest_noise_ratio", config.largest_noise_ratio);
  visit("demonstration", config.demonstration);
  visit("tokens", config.tokens);
  visit("routing", config.routing);
  visit("bucket_personas", config.bucket_personas);
  visit("count_weight", config.count_weight);
  visit("loss_weight", config.loss_weight);
  visit("loss_bound", config.loss_bound);
  visit("server_learning_rate", config.server_learning_rate);
  visit("min_count", config.min_count);
  visit("training_steps", config.training.steps);
  visit("training_batch", config.training.batch_size);
  visit("training_context", config.training.context_length);
  visit("learning_rate", config.training.learning_rate);
  visit("advertise_seconds", config.advertise);
  visit("share_seconds", config.share);
  visit("mask_seconds", config.mask);
  visit("acknowledge_seconds", config.acknowledge);
  visit("unmask_seconds", config.unmask);
  visit("pause_seconds", config.pause);
}

struct Reader {
  const json& document;
  absl::Status* status;
  std::set<std::string>* seen;

  const json* Find(const char* key) const {
    seen->insert(key);
    const auto it = document.find(key);
    return it == document.end() ? nullptr : &*it;
  }
  void Fail(const char* key, const char* expected) const {
    if (status->ok()) {
      *status = absl::InvalidArgumentError(absl::StrFormat("task: %s: expected %s", key, expected));
    }
  }
  void operator()(const char* key, std::string& field) const {
    const json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_string()) return Fail(key, "text");
    field = value->get<std::string>();
  }
  void operator()(const char* key, int& field) const {
    const json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_number_integer() || *value < 0 || *value > 1000000000) {
      return Fail(key, "a whole number of 0 to 1000000000");
    }
    field = value->get<int>();
  }
  void operator()(const char* key, double& field) const {
    const json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_number()) return Fail(key, "a number");
    field = value->get<double>();
  }
  void operator()(const char* key, bool& field) const {
    const json* value = Find(key);
    if (value == nullptr) return;
    if (!value->is_boolean()) return Fail(key, "true or false");
    field = value->get<bool>();
  }
  void operator()(const char* key, absl::Duration& field) const {
    double seconds = absl::ToDoubleSeconds(field);
    (*this)(key, seconds);
    if (!std::isfinite(seconds)) return Fail(key, "a number");
    field = absl::Seconds(seconds);
  }
};

struct Writer {
  json* document;
  void operator()(const char* key, const absl::Duration& field) const {
    (*document)[key] = absl::ToDoubleSeconds(field);
  }
  template <typename Field>
  void operator()(const char* key, const Field& field) const {
    (*document)[key] = field;
  }
};

absl::Status Require(bool holds, const char* field, const char* expected, double got) {
  if (holds) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("task: %s: expected %s, got %g", field, expected, got));
}

absl::Status CheckCohort(const TaskConfig& c) {
  RETURN_IF_ERROR(Require(c.rounds >= 1 && c.rounds <= 100000, "rounds", "1 to 100000", c.rounds));
  RETURN_IF_ERROR(Require(c.cohort_min >= 2, "cohort_min", "2 or more", c.cohort_min));
  RETURN_IF_ERROR(Require(c.cohort_max >= c.cohort_min && c.cohort_max <= kMaxCohort, "cohort_max",
                          "cohort_min to 65536", c.cohort_max));
  RETURN_IF_ERROR(Require(c.cohort_max >= kCompleteGraphBelow || 2 * c.cohort_min > c.cohort_max,
                          "cohort_min", "more than half of cohort_max", c.cohort_min));
  RETURN_IF_ERROR(Require(c.corrupt_fraction >= 0 && c.corrupt_fraction < 0.5, "corrupt_fraction",
                          "0 to under 0.5", c.corrupt_fraction));
  return Require(c.dropout_fraction >= 0 && c.dropout_fraction < 0.5, "dropout_fraction",
                 "0 to under 0.5", c.dropout_fraction);
}

absl::Status CheckNoise(const TaskConfig& c) {
  if (!HasCentralNoise(c)) {
    if (!ParseNoiseKind(c.noise).ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("task: noise: expected skellam, discrete-gaussian or central, got ",
                       c.noise.substr(0, 64)));
    }
    RETURN_IF_ERROR(
        Require(c.separation == 1, "separation", "1 without central noise", c.separation));
    return Require(c.participations == 0, "participations", "0 without central noise",
                   c.participations);
  }
  RETURN_IF_ERROR(Require(c.separation >= 1 && c.separation <= c.rounds, "separation",
                          "1 to the rounds", c.separation));
  const int fit = (c.rounds + c.separation - 1) / c.separation;
  return Require(c.participations >= 0 && c.participations <= fit, "participations",
                 "no more than fit into the rounds, a separation apart", c.participations);
}

absl::Status CheckRouting(const TaskConfig& c) {
  if (c.tokens != "required" && c.tokens != "off") {
    return absl::InvalidArgumentError(
        absl::StrCat("task: tokens: expected required or off, got ", c.tokens.substr(0, 64)));
  }
  if (!IsRouted(c)) {
    if (c.routing != "all-blocks") {
      return absl::InvalidArgumentError(absl::StrCat(
          "task: routing: expected all-blocks or routed, got ", c.routing.substr(0, 64)));
    }
    return Require(c.bucket_personas == 1, "bucket_personas", "1 unless the task is routed",
                   c.bucket_personas);
  }
  RETURN_IF_ERROR(Require(c.bucket_personas >= 1 && c.bucket_personas <= kMaxPersonas,
                          "bucket_personas", "1 to 4096", c.bucket_personas));
  if (!RequiresTokens(c)) {
    return absl::InvalidArgumentError(
        "task: routing: routed rounds need tokens: required, got off: a device that joined by its "
        "name would show what it chose");
  }
  if (HasCentralNoise(c)) {
    return absl::InvalidArgumentError(
        "task: routing: expected noise that devices add in routed rounds, got central");
  }
  return Require(c.advertise >= absl::Seconds(1), "advertise_seconds", "1 or more in routed rounds",
                 absl::ToDoubleSeconds(c.advertise));
}

absl::Status CheckPrivacyNumbers(const TaskConfig& c) {
  RETURN_IF_ERROR(
      Require(c.clip_norm >= 1e-6 && c.clip_norm <= 1e6, "clip_norm", "1e-6 to 1e6", c.clip_norm));
  RETURN_IF_ERROR(Require(c.noise_multiplier >= 1e-3 && c.noise_multiplier <= 1e4,
                          "noise_multiplier", "0.001 to 10000", c.noise_multiplier));
  RETURN_IF_ERROR(Require(c.delta > 0 && c.delta <= 0.01, "delta", "above 0 to 0.01", c.delta));
  RETURN_IF_ERROR(Require(c.epsilon_budget > 0 && c.epsilon_budget <= 1e9, "epsilon_budget",
                          "above 0 to 1e9", c.epsilon_budget));
  RETURN_IF_ERROR(Require(c.scale >= 0 && c.scale <= 1e9, "scale", "0 to 1e9", c.scale));
  RETURN_IF_ERROR(CheckNoise(c));
  RETURN_IF_ERROR(Require(c.largest_noise_ratio > 0 && c.largest_noise_ratio <= 1e9,
                          "largest_noise_ratio", "above 0 to 1e9", c.largest_noise_ratio));
  RETURN_IF_ERROR(Require(c.count_weight >= 0 && c.count_weight < 1, "count_weight",
                          "0 to under 1 (clip norms)", c.count_weight));
  RETURN_IF_ERROR(Require(c.loss_bound > 0 && c.loss_bound <= 1e3, "loss_bound", "above 0 to 1000",
                          c.loss_bound));
  const double statistics = c.count_weight * c.count_weight +
                            2 * c.loss_weight * c.loss_bound * c.loss_weight * c.loss_bound;
  return Require(c.loss_weight >= 0 && statistics < 0.75, "loss_weight",
                 "counts and losses to take less than 3/4 of the squared clip norm", statistics);
}

}  // namespace

std::string TaskConfigToJson(const TaskConfig& config) {
  json document = json::object();
  VisitFields(config, Writer{&document});
  return document.dump();
}

absl::StatusOr<TaskConfig> TaskConfigFromJson(const std::string& text) {
  const json document = json::parse(text, nullptr, false);
  if (!document.is_object()) return absl::InvalidArgumentError("task: expected a JSON object");
  TaskConfig config;
  absl::Status status;
  std::set<std::string> seen;
  VisitFields(config, Reader{document, &status, &seen});
  RETURN_IF_ERROR(status);
  for (const auto& [key, value] : document.items()) {
    if (!seen.contains(key)) {
      return absl::InvalidArgumentError(absl::StrCat("task: unknown key ", key.substr(0, 64)));
    }
  }
  RETURN_IF_ERROR(CheckTaskConfig(config));
  return config;
}

absl::Status CheckTaskConfig(const TaskConfig& c) {
  RETURN_IF_ERROR(Require(!c.name.empty() && c.name.size() <= kMaxNameBytes, "name",
                          "1 to 128 bytes", static_cast<double>(c.name.size())));
  RETURN_IF_ERROR(Require(c.base_fingerprint.size() == 64, "base_fingerprint", "64 hex digits",
                          static_cast<double>(c.base_fingerprint.size())));
  RETURN_IF_ERROR(CheckCohort(c));
  RETURN_IF_ERROR(CheckPrivacyNumbers(c));
  RETURN_IF_ERROR(CheckRouting(c));
  RETURN_IF_ERROR(Require(c.server_learning_rate > 0 && c.server_learning_rate <= 100,
                          "server_learning_rate", "above 0 to 100", c.server_learning_rate));
  RETURN_IF_ERROR(Require(c.min_count >= 0 && c.min_count <= kMaxCohort, "min_count", "0 to 65536",
                          c.min_count));
  RETURN_IF_ERROR(Require(c.training.steps >= 1 && c.training.steps <= 1000000, "training_steps",
                          "1 to 1000000", c.training.steps));
  RETURN_IF_ERROR(Require(c.training.batch_size >= 1 && c.training.batch_size <= 4096,
                          "training_batch", "1 to 4096", c.training.batch_size));
  RETURN_IF_ERROR(Require(c.training.context_length >= 2 && c.training.context_length <= 1 << 20,
                          "training_context", "2 to 1048576", c.training.context_length));
  RETURN_IF_ERROR(Require(c.training.learning_rate > 0 && c.training.learning_rate <= 1e3,
                          "learning_rate", "above 0 to 1000", c.training.learning_rate));
  for (const absl::Duration step : {c.advertise, c.share, c.mask, c.acknowledge, c.unmask}) {
    RETURN_IF_ERROR(Require(step >= absl::Milliseconds(1) && step <= absl::Hours(24 * 30),
                            "step durations", "0.001 to 2592000 seconds",
                            absl::ToDoubleSeconds(step)));
  }
  return Require(c.pause >= absl::ZeroDuration() && c.pause <= absl::Hours(24 * 365),
                 "pause_seconds", "0 to a year", absl::ToDoubleSeconds(c.pause));
}

absl::Status CheckTaskPolicy(const TaskConfig& config, double total_epsilon,
                             const TaskPolicy& policy) {
  if (config.demonstration) return absl::OkStatus();
  if (config.cohort_min < policy.cohort_floor) {
    return absl::PermissionDeniedError(
        absl::StrFormat("task %s: expected cohort_min of %d or more, got %d (a demonstration may "
                        "go below, and says so to every device)",
                        config.name, policy.cohort_floor, config.cohort_min));
  }
  const double epsilon = std::max(total_epsilon, config.epsilon_budget);
  if (epsilon > policy.epsilon_ceiling) {
    return absl::PermissionDeniedError(absl::StrFormat(
        "task %s: expected epsilon of %g or less over all rounds, got %.3f (more noise, fewer "
        "rounds, or a demonstration)",
        config.name, policy.epsilon_ceiling, epsilon));
  }
  return absl::OkStatus();
}

double ClearCount(const TaskConfig& config, double deviation) {
  if (config.min_count > 0) return config.min_count;
  if (config.count_weight <= 0) return 2.0;
  return std::max(2.0, 3.0 * deviation / config.count_weight);
}

absl::StatusOr<SecAggParameters> GraphOf(const TaskConfig& config) {
  SecAggParameters parameters;
  parameters.cohort_min = config.cohort_min;
  parameters.cohort_max = config.cohort_max;
  if (config.cohort_max < kCompleteGraphBelow) {
    // Everybody holds a share of everybody.  At least so many that both kinds of share of one
    // client can never be collected, corrupt holders included; two thirds where the smallest cohort
    // still reaches it.
    ASSIGN_OR_RETURN(const int lowest,
                     CompleteGraphThreshold(config.cohort_max, config.corrupt_fraction));
    const int two_thirds = (2 * config.cohort_max + 2) / 3;
    parameters.threshold = std::max(lowest, std::min(config.cohort_min, two_thirds));
    return parameters;
  }
  GraphRequest request;
  request.clients = config.cohort_max;
  request.corrupt_fraction = config.corrupt_fraction;
  request.dropout_fraction = config.dropout_fraction;
  ASSIGN_OR_RETURN(const GraphParameters graph, ChooseGraph(request));
  parameters.degree = graph.degree;
  parameters.threshold = graph.threshold;
  return parameters;
}

}  // namespace lorikeet
