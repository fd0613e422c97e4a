// Two slots for the base model: what is in use, and what may replace it or was replaced by it.
//
//   downloaded -> candidate -> (health check, base_health.h) -> in use, on trial -> settled
//                     \-> refused                                  \-> rolled back: the previous
//                                                                       one is in use again
// A candidate whose check takes the process down is refused at the next start but one.  What was
// refused is remembered with its reason, and not fetched again.  Pure state: files and calls are
// agent.cc's.
#ifndef LORIKEET_DEVICE_AGENT_BASE_SLOTS_H_
#define LORIKEET_DEVICE_AGENT_BASE_SLOTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/base/hash.h"

namespace lorikeet {

struct InstalledRelease {
  uint64_t version = 0;
  Hash256 file_hash = {};
  std::string base_fingerprint;
};

struct RefusedBase {
  InstalledRelease release;
  std::string reason;
  absl::Time at;
};

// What a health check (base_health.h) found.
struct BaseHealth {
  bool healthy = false;
  std::string summary = {};      // for the owner: what was found, or what is wrong
  double speed = 0;              // generation, share of the base in use
  double owners_loss = 0;        // nats a byte of held-out text; 0: there is none
  double owners_loss_before = 0;
};

inline constexpr int kMostBaseChecks = 2;  // begun, of one candidate

struct BaseSlots {
  std::optional<InstalledRelease> candidate;  // whole and verified, not in use
  int checks_begun = 0;                       // of the candidate
  std::optional<InstalledRelease> previous;   // in use before what is in use now
  bool on_trial = false;                      // what is in use now can still be rolled back
  std::optional<RefusedBase> refused;         // the last one

  void Propose(InstalledRelease release);
  // Counts a check of the candidate.  False: too many did not come back, and it is refused.
  // REQUIRES: there is a candidate; so below.
  bool BeginCheck(absl::Time now);
  // The candidate is in use now; `base`, the slot in use, becomes the other one.
  void Accept(std::optional<InstalledRelease>* base);
  void Refuse(std::string reason, absl::Time now);
  // What is in use did its work.
  void Settle() { on_trial = false; }
  // The previous one is in use again.  False: there is none, or what is in use has settled.
  bool RollBack(std::string reason, absl::Time now, std::optional<InstalledRelease>* base);

  bool IsRefused(const Hash256& file) const;
  // Of both slots.
  std::vector<Hash256> Files(const std::optional<InstalledRelease>& base) const;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_BASE_SLOTS_H_
