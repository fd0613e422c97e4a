#include "common/tokenizer/text_index.h"

#include "absl/hash/hash.h"

namespace lorikeet {
namespace {

// Seeded by the process: a file cannot be made so that its strings collide.
uint64_t HashOf(std::string_view text) { return absl::Hash<std::string_view>()(text); }

uint32_t Tag(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }

}  // namespace

size_t HashSlots(size_t count) {
  size_t slots = 16;
  while (slots * 2 < count * 3) slots *= 2;
  return slots;
}

TextIndex::TextIndex(std::span<const std::string_view> texts)
    : texts_(texts), slots_(HashSlots(texts.size())) {
  for (size_t i = 0; i < texts.size(); ++i) {
    const uint64_t hash = HashOf(texts[i]);
    slots_[SlotOf(texts[i], hash)] = {.tag = Tag(hash), .place = static_cast<int32_t>(i)};
  }
}

size_t TextIndex::SlotOf(std::string_view text, uint64_t hash) const {
  const size_t mask = slots_.size() - 1;
  size_t at = hash & mask;
  while (slots_[at].place >= 0 &&
         (slots_[at].tag != Tag(hash) || texts_[slots_[at].place] != text)) {
    at = (at + 1) & mask;
  }
  return at;
}

int32_t TextIndex::Find(std::string_view text) const {
  if (slots_.empty()) return -1;
  return slots_[SlotOf(text, HashOf(text))].place;
}

}  // namespace lorikeet
