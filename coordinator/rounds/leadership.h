// Which of several coordinators over one store runs the rounds: the one that holds the lease.
//
// They have the same keys, server certificate and releases, and any call may hit any of them.
// - One runs the rounds, the holder of the lease "rounds": it alone has their machines in memory,
//   steps and writes them.  The lease goes by the database's clock and is renewed three times in
//   its duration; a holder that stops gives it up.  (Names of leases are free: tasks could have one
//   each, should one coordinator not be enough.)
// - The others answer from the store what is not about rounds, and hand GetRound, the five steps
//   and Poll on to the holder, whose address is in the lease (server/replica_forwarder.h).  Without
//   a holder these are UNAVAILABLE, and devices try again: all calls are idempotent.
// - Every acquisition raises the lease's token.  Store::UseFence makes OpenSweep, AppendEvents and
//   FinishRound look at it in the transaction that writes, under a lock that a takeover waits for:
//   of two that believe they hold the lease only the newer can write, whatever their clocks say and
//   however long one was paused.  What that one tells devices before it notices is a prefix of what
//   is stored: old, but never wrong.
// - Who takes over rebuilds the open rounds from their events and partial sums, and adds under a
//   new writer's name; what was answered OK is in them.  A holder whose write has an unknown fate
//   (the connection was lost in the commit) does the same.
// - A coordinator that is paused inside a transaction is thrown out of it by the server after 5 s
//   (PostgresConnection::Options): a takeover takes the rest of the lease and these 5 s at most.
// Not thread-safe.
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
