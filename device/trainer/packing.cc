#include "device/trainer/packing.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "common/base/random.h"

namespace lorikeet {

int64_t BatchRows(const Sequence& sequence) {
  size_t end = sequence.tokens.size();
  if (sequence.loss_mask.size() == sequence.tokens.size()) {
    while (end > 1 && sequence.loss_mask[end - 1] == 0) --end;
  }
  return end > 1 ? static_cast<int64_t>(end) - 1 : 0;
}

int64_t BatchRows(std::span<const Sequence> sequences, const Window& window) {
  int64_t rows = 0;
  for (const size_t index : window) rows += BatchRows(sequences[index]);
  return rows;
}

std::vector<Window> MakeWindows(std::span<const Sequence> sequences, int64_t window_rows,
                                uint64_t seed) {
  std::vector<size_t> order(sequences.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::vector<Window> windows;
  if (window_rows <= 0) {
    for (const size_t index : order) windows.push_back({index});
    return windows;
  }
  Rng rng(seed);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.Below(i)]);
  std::vector<int64_t> rows;
  for (const Sequence& sequence : sequences) rows.push_back(BatchRows(sequence));
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return rows[a] > rows[b]; });

  std::map<int64_t, std::vector<size_t>> open;  // windows by the rows they have left
  for (const size_t index : order) {
    auto found = open.lower_bound(rows[index]);
    size_t window = windows.size();
    int64_t left = window_rows;
    if (found == open.end()) {
      windows.emplace_back();
    } else {
      left = found->first;
      window = found->second.back();
      found->second.pop_back();
      if (found->second.empty()) open.erase(found);
    }
    windows[window].push_back(index);
    left -= rows[index];
    if (left > 0) open[left].push_back(window);
  }
  return windows;
}

}  // namespace lorikeet
