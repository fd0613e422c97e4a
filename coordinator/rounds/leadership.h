// Which of several coordinators over one store runs the rounds: the one that holds the lease.
//
// The lease is renewed three times in its duration.  Whoever sees it run out may take it, under a
// new token, and from then on the store refuses what the one before would write of rounds: that one
// may be dead, slow or paused, and needs to notice nothing.  Source: design in
// coordinator/storage/README.md.  Not thread-safe.
#ifndef LORIKEET_COORDINATOR_ROUNDS_LEADERSHIP_H_
#define LORIKEET_COORDINATOR_ROUNDS_LEADERSHIP_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "coordinator/storage/store.h"

namespace lorikeet {

class Leadership {
 public:
  struct Options {
    Store* store = nullptr;
    const Clock* clock = nullptr;
    RandomSource* random = nullptr;
    std::string address;  // where the other coordinators reach this one
    absl::Duration duration = absl::Seconds(5);
  };
  // Borrows everything in options.  Holds nothing yet.
  explicit Leadership(const Options& options);

  // Renews the lease, or tries to take it, if it is time to.  True: this coordinator runs the
  // rounds.  An error: the store does not say, and nobody may act.
  absl::StatusOr<bool> Check();
  // As of the last Check.
  bool leading() const { return leading_; }
  // Asks the store at the next Check: a write was refused, or its fate is unknown.
  void Doubt() { next_look_ = absl::InfinitePast(); }
  // Grows whenever this coordinator comes to lead: what it knew of rounds before is old.
  uint64_t term() const { return token_; }
  // Of who runs the rounds, as far as known; empty: nobody, or this one.
  const std::string& leader_address() const { return leader_address_; }
  // When Check has something to do again.
  absl::Time next_look() const { return next_look_; }
  // Gives the lease up, so that the others need not wait for its end.
  void Resign();

 private:
  absl::StatusOr<bool> Acquire();
  Fence fence() const;

  const Options options_;
  std::string holder_;
  bool leading_ = false;
  uint64_t token_ = 0;  // of the lease when it was ours last
  std::string leader_address_;
  absl::Time next_look_ = absl::InfinitePast();
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_ROUNDS_LEADERSHIP_H_
