// Whether a base model that was just downloaded may replace the one in use: tried on this device,
// beside the old one, before anything depends on it.
//
// It must load and be the model that the release says; give finite logits on texts that every
// version reads; be no slower than a share of the old one; read those texts, and the owner's
// held-out ones, about as well as the old one; and take an adapter where the owner has one.  Not
// here: switching and rolling back (base_slots.h).
#ifndef LORIKEET_DEVICE_AGENT_BASE_HEALTH_H_
#define LORIKEET_DEVICE_AGENT_BASE_HEALTH_H_

#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/thread_pool.h"
#include "device/agent/base_slots.h"
#include "device/model/model.h"
#include "device/vault/private_text.h"

namespace lorikeet {

struct BaseHealthOptions {
  double speed_floor = 0.5;      // of the old one's tokens a second
  double loss_bound = 0.05;      // share by which nats a byte of the owner's text may be above
  double golden_bound = 0.25;    // the same of the golden prompts, which nobody is trained on
  int speed_tokens = 24;         // generated in each turn
  int speed_turns = 3;           // of either model; the fastest counts
  size_t judge_bytes = 1 << 14;  // of the owner's text, at most
  int window_tokens = 192;
};

struct BaseHealthInput {
  std::string path;
  std::string fingerprint;               // that the release states
  std::shared_ptr<const Model> current;  // null: the first base
  std::span<const PrivateText> judge;    // the owner's held-out text; may be empty
  bool has_adapter = false;              // the owner has one on the current base
};

// What was found, good or bad.
BaseHealth CheckBaseHealth(const BaseHealthInput& input, ThreadPool* pool,
                           const BaseHealthOptions& options = {});

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_BASE_HEALTH_H_
