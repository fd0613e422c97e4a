#include "device/runtime/logit_scan.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

// Long enough that maxima of blocks are few, short enough that a second look at one is nothing.
constexpr size_t kBlock = 64;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Four numbers at once on any machine (GCC and Clang): the compiler's own vectorizer leaves such
// loops alone at -O2.
using Float4 = float __attribute__((vector_size(16)));
using Int4 = int32_t __attribute__((vector_size(16)));

Float4 Load(const float* p) {
  Float4 v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

// The largest of up to kBlock numbers.  NaN sets a bit of `unordered` and is otherwise ignored.
float BlockBest(const float* p, size_t count, Int4& unordered) {
  Float4 best[4];
  for (Float4& lane : best) lane = Float4{-kInfinity, -kInfinity, -kInfinity, -kInfinity};
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    for (size_t lane = 0; lane < 4; ++lane) {
      const Float4 v = Load(p + i + 4 * lane);
      best[lane] = v > best[lane] ? v : best[lane];
      unordered |= v != v;
    }
  }
  float result = -kInfinity;
  for (const Float4& lane : best) {
    for (int j = 0; j < 4; ++j) result = std::max(result, lane[j]);
  }
  for (; i < count; ++i) {
    if (p[i] != p[i]) unordered[0] = -1;
    result = p[i] > result ? p[i] : result;
  }
  return result;
}

// e^x for x in [-87, 0]: 2^n times a polynomial of the rest (Cephes, expf).  Inlined so that the
// next numbers' work fills the waits of these.
__attribute__((always_inline)) inline Float4 Exp(Float4 x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  const Float4 n = (x * 1.44269504088896341f + kRound) - kRound;
  const Float4 r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Float4 p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const Int4 bits = (__builtin_convertvector(n, Int4) + 127) << 23;
  Float4 scale;
  std::memcpy(&scale, &bits, sizeof(scale));
  return p * scale;
}

__attribute__((always_inline)) inline Float4 Weight4(Float4 logits, float best, float factor) {
  const Float4 x = (logits - best) * factor;
  const Float4 least = Float4{} - 85.0f;
  const Float4 weight = Exp(x > least ? x : least);
  return x > least ? weight : Float4{};
}

absl::Status BadLogit(std::span<const float> row) {
  for (size_t i = 0; i < row.size(); ++i) {
    if (row[i] < kInfinity) continue;
    return absl::DataLossError(
        absl::StrCat("the model's output: expected finite numbers, got ",
                     std::isnan(row[i]) ? "NaN" : "infinity", " for token ", i,
                     " (damaged weights, or an adapter of too large a scale)"));
  }
  return absl::DataLossError("the model's output: expected finite numbers, got only -infinity");
}

}  // namespace

absl::StatusOr<float> LogitScan::Scan(std::span<const float> row) {
  if (row.empty()) return absl::InvalidArgumentError("expected a row of logits, got none");
  row_ = row;
  block_best_.resize((row.size() + kBlock - 1) / kBlock);
  best_ = -kInfinity;
  Int4 unordered = {};
  for (size_t b = 0; b < block_best_.size(); ++b) {
    const size_t begin = b * kBlock;
    block_best_[b] = BlockBest(row.data() + begin, std::min(kBlock, row.size() - begin), unordered);
    best_ = std::max(best_, block_best_[b]);
  }
  const bool ordered = (unordered[0] | unordered[1] | unordered[2] | unordered[3]) == 0;
  if (!ordered || !std::isfinite(best_)) return BadLogit(row);
  return best_;
}

TokenId LogitScan::FirstBest() const {
  const size_t block =
      std::find(block_best_.begin(), block_best_.end(), best_) - block_best_.begin();
  size_t i = block * kBlock;
  while (row_[i] != best_) ++i;
  return static_cast<TokenId>(i);
}

void LogitScan::AppendAtLeast(float least, std::vector<Candidate>* out) const {
  for (size_t b = 0; b < block_best_.size(); ++b) {
    if (block_best_[b] < least) continue;
    const size_t end = std::min(row_.size(), (b + 1) * kBlock);
    for (size_t i = b * kBlock; i < end; ++i) {
      if (row_[i] >= least) out->push_back({.logit = row_[i], .id = static_cast<TokenId>(i)});
    }
  }
}

void LogitScan::SelectBest(size_t count, std::vector<Candidate>* out) {
  out->clear();
  count = std::min(count, row_.size());
  if (count == 0) return;
  // `count` blocks have something at least as large as the count-th largest maximum, so the best
  // `count` of all are no smaller.
  float least = -kInfinity;
  if (count <= block_best_.size()) {
    scratch_ = block_best_;
    const auto nth = scratch_.begin() + static_cast<ptrdiff_t>(count - 1);
    std::nth_element(scratch_.begin(), nth, scratch_.end(), std::greater<float>());
    least = *nth;
  }
  AppendAtLeast(least, out);
  const auto end = out->begin() + static_cast<ptrdiff_t>(count);
  if (count < out->size()) std::nth_element(out->begin(), end - 1, out->end(), IsBetter);
  out->resize(count);
  std::sort(out->begin(), out->end(), IsBetter);
}

void ExpWeights(std::span<const float> logits, float best, float factor, std::span<float> weights) {
  LORIKEET_CHECK(logits.size() == weights.size());
  size_t i = 0;
  for (; i + 4 <= logits.size(); i += 4) {
    const Float4 weight = Weight4(Load(&logits[i]), best, factor);
    std::memcpy(&weights[i], &weight, sizeof(weight));
  }
  for (; i < logits.size(); ++i) {
    weights[i] = Weight4(Float4{} + logits[i], best, factor)[0];
  }
}

double SumBlocks(std::span<const float> weights, std::vector<float>* blocks) {
  blocks->clear();
  double total = 0;
  for (size_t begin = 0; begin < weights.size(); begin += kBlock) {
    const size_t end = std::min(weights.size(), begin + kBlock);
    Float4 lanes = {};
    size_t i = begin;
    for (; i + 4 <= end; i += 4) lanes += Load(&weights[i]);
    float sum = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
    for (; i < end; ++i) sum += weights[i];
    blocks->push_back(sum);
    total += sum;
  }
  return total;
}

size_t FindCumulative(std::span<const float> weights, std::span<const float> blocks,
                      double target) {
  size_t block = 0;
  while (block + 1 < blocks.size() && target >= blocks[block]) target -= blocks[block++];
  for (size_t i = block * kBlock; i < weights.size(); ++i) {
    if (target < weights[i]) return i;
    target -= weights[i];
  }
  size_t last = weights.size() - 1;
  while (last > 0 && weights[last] == 0) --last;
  return last;
}

namespace {

// Groups of logits 1/32 apart, from the best down; the last holds all the rest.
constexpr int kGroups = 1024;

__attribute__((always_inline)) inline Int4 GroupsOf(Float4 logits, float best) {
  const Float4 most = Float4{} + static_cast<float>(kGroups - 1);
  const Float4 group = (best - logits) * 32.0f;
  return __builtin_convertvector(group < most ? group : most, Int4);
}

int GroupOf(float logit, float best) { return GroupsOf(Float4{} + logit, best)[0]; }

// The weight of each group.
std::vector<double> GroupMasses(std::span<const float> logits, float best,
                                std::span<const float> weights) {
  // Two sets of sums: neighbours that fall into one group do not wait for each other.
  std::vector<double> mass(2 * kGroups, 0.0);
  size_t i = 0;
  for (; i + 4 <= logits.size(); i += 4) {
    const Int4 group = GroupsOf(Load(&logits[i]), best);
    mass[group[0]] += weights[i];
    mass[kGroups + group[1]] += weights[i + 1];
    mass[group[2]] += weights[i + 2];
    mass[kGroups + group[3]] += weights[i + 3];
  }
  for (; i < logits.size(); ++i) mass[GroupOf(logits[i], best)] += weights[i];
  for (int g = 0; g < kGroups; ++g) mass[g] += mass[kGroups + g];
  mass.resize(kGroups);
  return mass;
}

double Mass(std::span<const Candidate> candidates, float best) {
  double sum = 0;
  for (const Candidate& c : candidates) sum += std::exp(double{c.logit} - best);
  return sum;
}

}  // namespace

Candidate LastOfMass(std::span<const float> logits, float best, std::span<const float> weights,
                     double target) {
  const std::vector<double> mass = GroupMasses(logits, best, weights);
  int border = 0;
  while (border + 1 < kGroups && mass[border] < target) target -= mass[border++];
  while (border > 0 && mass[border] == 0) --border;  // rounding
  std::vector<Candidate> group;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (GroupOf(logits[i], best) == border) {
      group.push_back({.logit = logits[i], .id = static_cast<TokenId>(i)});
    }
  }
  // The half with the border, again and again.
  std::span<Candidate> rest(group);
  while (rest.size() > 32) {
    const std::span<Candidate> better = rest.first(rest.size() / 2);
    std::nth_element(rest.begin(), rest.begin() + static_cast<ptrdiff_t>(better.size()), rest.end(),
                     IsBetter);
    const double better_mass = Mass(better, best);
    if (better_mass >= target) {
      rest = better;
    } else {
      target -= better_mass;
      rest = rest.subspan(better.size());
    }
  }
  std::sort(rest.begin(), rest.end(), IsBetter);
  size_t last = 0;
  for (; last + 1 < rest.size(); ++last) {
    target -= std::exp(double{rest[last].logit} - best);
    if (target <= 0) break;
  }
  return rest[last];
}

void MaskWorse(std::span<const float> logits, const Candidate& last, std::span<float> kept) {
  LORIKEET_CHECK(logits.size() == kept.size());
  const Float4 never = Float4{} - kInfinity;
  size_t i = 0;
  for (; i + 4 <= logits.size(); i += 4) {
    const Float4 v = Load(&logits[i]);
    const Float4 masked = v >= Float4{} + last.logit ? v : never;
    std::memcpy(&kept[i], &masked, sizeof(masked));
  }
  for (; i < logits.size(); ++i) kept[i] = logits[i] >= last.logit ? logits[i] : -kInfinity;
  // Of equals only the lower ids.
  for (size_t j = static_cast<size_t>(last.id) + 1; j < logits.size(); ++j) {
    if (kept[j] == last.logit) kept[j] = -kInfinity;
  }
}

}  // namespace lorikeet
