// Edits of decoded messages: what a peer that knows the format, and the values that went by, can
// turn a message into.  A fuzz input is a script of them, so that one byte more is one lie more.
#ifndef LORIKEET_TESTS_FUZZ_MESSAGE_EDITS_H_
#define LORIKEET_TESTS_FUZZ_MESSAGE_EDITS_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "common/wire/federation.h"

namespace lorikeet {

// Every field of a message, in order; lists go to the visitor whole and then item by item.
template <typename Visitor>
void VisitFields(KeyAdvertisement& m, Visitor& visit) {
  visit(m.session), visit(m.mask_key), visit(m.transport_key), visit(m.signing_key);
}
template <typename Visitor>
void VisitFields(NeighbourKeys& m, Visitor& visit) {
  visit(m.index), VisitFields(m.keys, visit), visit(m.proof);
}
template <typename Visitor>
void VisitFields(KeyDirectory& m, Visitor& visit) {
  visit(m.session), visit(m.client_count), visit(m.root), visit(m.own_index), visit(m.own_proof);
  visit(m.neighbours);
}
template <typename Visitor>
void VisitFields(ShareBox& m, Visitor& visit) {
  visit(m.recipient), visit(m.sealed);
}
template <typename Visitor>
void VisitFields(ShareKeysMessage& m, Visitor& visit) {
  visit(m.session), visit(m.sender), visit(m.seed_commitment), visit(m.boxes);
}
template <typename Visitor>
void VisitFields(DeliveredBox& m, Visitor& visit) {
  visit(m.sender), visit(m.sealed);
}
template <typename Visitor>
void VisitFields(ShareDelivery& m, Visitor& visit) {
  visit(m.session), visit(m.recipient), visit(m.boxes);
}
template <typename Visitor>
void VisitFields(MaskedUpdate& m, Visitor& visit) {
  visit(m.session), visit(m.sender), visit(m.packed);
}
template <typename Visitor>
void VisitFields(SurvivorLists& m, Visitor& visit) {
  visit(m.session), visit(m.survivor_count), visit(m.alive), visit(m.dropped);
}
template <typename Visitor>
void VisitFields(Acknowledgement& m, Visitor& visit) {
  visit(m.session), visit(m.sender), visit(m.alive), visit(m.dropped), visit(m.signature);
}
template <typename Visitor>
void VisitFields(AcknowledgementSet& m, Visitor& visit) {
  visit(m.session), visit(m.acknowledgements);
}
template <typename Visitor>
void VisitFields(RevealedShare& m, Visitor& visit) {
  visit(m.owner), visit(m.share);
}
template <typename Visitor>
void VisitFields(UnmaskResponse& m, Visitor& visit) {
  visit(m.session), visit(m.sender), visit(m.seed_shares), visit(m.mask_key_shares);
}
template <typename Visitor>
void VisitFields(Token& m, Visitor& visit) {
  visit(m.nonce), visit(m.epoch), visit(m.key_id), visit(m.keys_hash), visit(m.output);
}

// One edit of one field: which one (modulo their number), what to do with it, and two operands.
struct FieldEdit {
  uint8_t field = 0;
  uint8_t op = 0;
  uint8_t at = 0;
  uint8_t value = 0;
};

// Values of 32 bytes that went by: keys, hashes, proofs.
using SeenValues = std::vector<std::array<uint8_t, 32>>;

namespace fuzz_internal {

template <typename T>
inline constexpr bool kIsNumber = std::is_integral_v<T>;

// Walks a message; calls the leaf function with the number of every field.
template <typename Leaf>
struct Walker {
  Leaf leaf;
  int count = 0;

  template <typename T>
  void operator()(T& field) {
    leaf(count++, field);
  }
  template <typename T>
  void operator()(std::vector<T>& list) {
    leaf(count++, list);
    if constexpr (std::is_same_v<T, uint8_t>) return;  // bytes, not items
    for (size_t i = 0; i < list.size(); ++i) {
      if constexpr (kIsNumber<T> || std::is_same_v<T, Hash256>) {
        leaf(count++, list[i]);
      } else if constexpr (!std::is_same_v<T, uint8_t>) {
        VisitFields(list[i], *this);
      }
    }
  }
};

inline void EditBytes(std::span<uint8_t> bytes, const FieldEdit& edit, const SeenValues& seen) {
  if (bytes.empty()) return;
  switch (edit.op % 4) {
    case 0:
      bytes[edit.at % bytes.size()] ^= edit.value;
      break;
    case 1:
      std::fill(bytes.begin(), bytes.end(), edit.value);
      break;
    case 2:
      std::reverse(bytes.begin(), bytes.end());
      break;
    default:
      if (seen.empty()) break;
      const auto& other = seen[(edit.at * 256u + edit.value) % seen.size()];
      std::copy_n(other.begin(), std::min(bytes.size(), other.size()), bytes.begin());
  }
}

template <typename T>
void EditNumber(T& number, const FieldEdit& edit) {
  switch (edit.op % 3) {
    case 0:
      number = edit.value;
      break;
    case 1:
      number ^= static_cast<T>(T{1} << (edit.at % (8 * sizeof(T))));
      break;
    default:
      number = static_cast<T>(~T{0} - edit.value);
  }
}

template <typename T>
void EditList(std::vector<T>& list, const FieldEdit& edit) {
  if (edit.op % 5 == 0) {
    list.resize(edit.value);  // new items are zero
    return;
  }
  if (list.empty()) return;
  const size_t at = edit.at % list.size();
  const size_t other = edit.value % list.size();
  switch (edit.op % 5) {
    case 1:
      list.erase(list.begin() + static_cast<ptrdiff_t>(at));
      break;
    case 2:
      list.push_back(T(list[at]));
      break;
    case 3:
      std::swap(list[at], list[other]);
      break;
    default:
      list[at] = T(list[other]);
  }
}

}  // namespace fuzz_internal

template <typename Message>
void EditMessage(const FieldEdit& edit, const SeenValues& seen, Message& message) {
  namespace internal = fuzz_internal;
  internal::Walker counter{[](int, auto&) {}};
  VisitFields(message, counter);
  const int target = edit.field % counter.count;
  bool done = false;  // an edited list changes the numbers behind it
  const auto apply = [&]<typename T>(int number, T& field) {
    if (number != target || done) return;
    done = true;
    if constexpr (internal::kIsNumber<T>) {
      internal::EditNumber(field, edit);
    } else if constexpr (std::is_same_v<T, std::vector<uint8_t>>) {
      edit.op % 2 == 0
          ? internal::EditList(field, edit)
          : internal::EditBytes(
                field, {edit.field, static_cast<uint8_t>(edit.op / 2), edit.at, edit.value}, seen);
    } else if constexpr (requires { field.push_back(field.front()); }) {
      internal::EditList(field, edit);
    } else {
      internal::EditBytes(field, edit, seen);
    }
  };
  internal::Walker walker{apply};
  VisitFields(message, walker);
}

// Adds what a message shows to what was seen.
template <typename Message>
void Remember(Message message, SeenValues& seen) {
  const auto keep = [&]<typename T>(int, T& field) {
    if constexpr (std::is_same_v<T, std::array<uint8_t, 32>>) seen.push_back(field);
  };
  fuzz_internal::Walker walker{keep};
  VisitFields(message, walker);
}

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_FUZZ_MESSAGE_EDITS_H_
