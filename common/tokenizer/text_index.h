// Finds strings of a vocabulary: 8 bytes an entry and a half beside the strings themselves.
#ifndef LORIKEET_COMMON_TOKENIZER_TEXT_INDEX_H_
#define LORIKEET_COMMON_TOKENIZER_TEXT_INDEX_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace lorikeet {

// Slots of an open hash table for `count` entries: a power of two, at most two thirds full.
size_t HashSlots(size_t count);

// Immutable; thread-safe.  Borrows the strings.
class TextIndex {
 public:
  TextIndex() = default;
  explicit TextIndex(std::span<const std::string_view> texts);

  // The place of `text`, the last one of equal strings; -1: none.
  int32_t Find(std::string_view text) const;

 private:
  struct Slot {
    uint32_t tag = 0;  // other bits of the hash: most strings that differ are told by it
    int32_t place = -1;
  };
  // The slot of `text`, or the empty one where it would go.
  size_t SlotOf(std::string_view text, uint64_t hash) const;

  std::span<const std::string_view> texts_;
  std::vector<Slot> slots_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TOKENIZER_TEXT_INDEX_H_
