// Everything an operator looks at, read from a store: tasks and their privacy, rounds and where
// devices were lost in them, catalogs, releases.  Counts and what a round's report says; never a
// device's name or message.
#ifndef LORIKEET_COORDINATOR_DASHBOARD_FLEET_VIEW_H_
#define LORIKEET_COORDINATOR_DASHBOARD_FLEET_VIEW_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/dashboard/round_view.h"
#include "coordinator/rounds/task_config.h"
#include "coordinator/storage/store.h"

namespace lorikeet {

struct TaskView {
  std::string name;
  TaskState state = TaskState::kActive;
  absl::Time created;
  std::string base_fingerprint;
  int rounds = 0;  // to complete
  int done = 0;    // of a routed task: sweeps of rounds, one a bucket of personas
  int aborted = 0;
  int open = 0;
  int cohort_min = 0;
  int cohort_max = 0;
  bool demonstration = false;
  bool by_token = false;
  bool routed = false;
  std::string waiting;  // why no round is open; empty if one is

  // Privacy, as the coordinator itself judges it before it opens a round.
  int spent_rounds = 0;
  double epsilon_spent = 0;
  std::optional<double> epsilon_next;    // with one more round; absent before the first
  std::optional<double> epsilon_budget;  // absent: none
  double delta = 0;
  // What those numbers assume.
  std::string noise;
  double noise_multiplier = 0;
  int honest_survivors = 0;
  double corrupt_fraction = 0;
  std::optional<double> noise_ratio;  // in a persona's mean, at best, over the clip norm
  double largest_noise_ratio = 0;
  std::optional<int> modulus_bits;
  std::optional<double> overflow;  // probability that one coordinate wraps around
};

struct ReleaseView {
  ReleaseKind kind = ReleaseKind::kCatalog;
  std::string name;
  uint64_t version = 0;
  std::string base_fingerprint;
  absl::Time published;
  absl::Time expires;
  uint64_t bytes = 0;
  bool newest = false;  // of its kind and base
};

struct Attention {
  bool urgent = false;
  std::string text;
};

struct FleetView {
  std::vector<TaskView> tasks;
  std::vector<RoundView> open;    // oldest first
  std::vector<RoundView> recent;  // finished, newest first; at most kRecentRounds
  int64_t rounds_done = 0;        // of all that there were
  int64_t rounds_aborted = 0;
  std::vector<ReleaseView> releases;  // newest first; at most kRecentReleases
  int64_t releases_total = 0;
  DeviceCounts devices;
  std::vector<Attention> attention;
};

inline constexpr size_t kRecentRounds = 200;
inline constexpr size_t kRecentReleases = 50;

// One document; times in RFC 3339.  No clock in it: the same fleet is the same text.
std::string FleetViewToJson(const FleetView& view);

// Reads views of one store, again and again: a round that is over is read once.  Not thread-safe.
class FleetViewer {
 public:
  // `store` must outlive this, and nobody else may use it meanwhile.
  explicit FleetViewer(Store* store) : store_(store) {}

  absl::StatusOr<FleetView> Read(absl::Time now);

 private:
  struct Tally {
    int done = 0;
    int aborted = 0;
    int made = 0;  // a catalog
  };
  struct PrivacyKey {
    int spent = -1;
    int64_t newest_round = 0;
    bool operator==(const PrivacyKey&) const = default;
  };
  struct KnownTask {
    PrivacyKey key;
    TaskView privacy;  // the fields that take long
  };
  struct OpenRound {
    SessionId session = {};
    RoundDescription description;
    RoundView view;  // but for its steps
  };
  struct Newest {
    int64_t round_id = 0;
    RoundDescription description;
  };

  absl::Status ReadRounds(FleetView* view);
  absl::Status Learn(const RoundRecord& record);
  absl::Status ReadTasks(FleetView* view);
  absl::Status ReadPrivacy(const TaskConfig& config, TaskView* task);
  absl::Status ReadReleases(FleetView* view);

  Store* store_;
  int64_t seen_to_ = 0;                // the highest id of a round
  std::map<int64_t, OpenRound> open_;  // by id
  std::map<int64_t, RoundView> finished_;
  std::map<std::string, Tally> tally_;    // by task, of all rounds that are over
  std::map<std::string, Newest> newest_;  // by task
  std::map<std::string, KnownTask> known_tasks_;
  std::map<std::string, ReleaseView> known_releases_;  // by kind, base and version
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_DASHBOARD_FLEET_VIEW_H_
