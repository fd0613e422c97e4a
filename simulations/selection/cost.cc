#include "simulations/selection/cost.h"

#include <algorithm>
#include <ctime>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "device/personalization/personalizer.h"
#include "device/personalization/private_documents.h"

namespace lorikeet {
namespace {

double CpuSeconds() {
  return static_cast<double>(std::clock()) / static_cast<double>(CLOCKS_PER_SEC);
}

OwnerText TextOf(const Owner& owner) {
  OwnerText text;
  for (const OwnerDocument* example : owner.examples) text.documents.emplace_back(example->text);
  return text;
}

struct Spent {
  double cpu_seconds = 0;
  double tokens = 0;
};

absl::StatusOr<Spent> TrainingOf(std::shared_ptr<const Model> model, ThreadPool* pool,
                                 const Catalog& catalog, const Owner& owner,
                                 const SelectOptions& select) {
  PersonalizeOptions options;
  options.select = select;
  Spent spent;
  const SystemClock clock;
  const StageCallback stage = [&](std::string_view name) {
    if (name == "training") spent.cpu_seconds = -CpuSeconds();
    if (name == "judging") spent.cpu_seconds += CpuSeconds();
  };
  ASSIGN_OR_RETURN(
      const PersonalizeResult result,
      Personalize(std::move(model), pool, clock, catalog, TextOf(owner), options, stage));
  spent.tokens = static_cast<double>(result.training.tokens);
  return spent;
}

absl::StatusOr<Spent> SelectionOf(const std::shared_ptr<const Model>& model, ThreadPool* pool,
                                  const Catalog& catalog, const Owner& owner,
                                  const SelectOptions& select, int repeats) {
  ASSIGN_OR_RETURN(const TextSplit split, SplitText(*model, TextOf(owner)));
  std::vector<Spent> spent;
  for (int i = 0; i < repeats; ++i) {
    const double begin = CpuSeconds();
    ASSIGN_OR_RETURN(const Selection selection, Select(model, pool, catalog, split, select));
    spent.push_back({.cpu_seconds = CpuSeconds() - begin,
                     .tokens = static_cast<double>(selection.tokens_scored)});
  }
  std::ranges::sort(spent, {}, &Spent::cpu_seconds);
  return spent[spent.size() / 2];
}

}  // namespace

absl::StatusOr<std::vector<CostLine>> MeasureCost(
    std::shared_ptr<const Model> model, ThreadPool* pool, const Bench& bench,
    std::span<const PersonaSeed> seeds, std::span<const std::vector<OwnerDocument>> own,
    std::span<const OwnerDocument> neutral, const SelectOptions& select, const CostOptions& options,
    uint64_t seed, const SelectionProgress& progress) {
  std::vector<CostLine> lines;
  const auto owners = std::min<size_t>(static_cast<size_t>(options.owners), own.size());
  const auto total = static_cast<int64_t>(options.examples.size() * owners);
  int64_t done = 0;
  for (int examples : options.examples) {
    std::vector<CostLine> sizes;
    for (int size : options.pools) sizes.push_back({.pool = size, .examples = examples});
    for (size_t p = 0; p < owners; ++p) {
      if (progress && !progress("cost", done++, total)) return absl::CancelledError("stopped");
      const TrialDraw draw(absl::StrCat("cost ", p), seed, examples, own[p].size(), neutral.size());
      const Owner owner = draw.Take(own[p], neutral, options.similarity, examples);
      ASSIGN_OR_RETURN(const Spent training, TrainingOf(model, pool, bench.catalog, owner, select));
      const double share = 1 / static_cast<double>(owners);
      for (CostLine& line : sizes) {
        const Catalog catalog = PoolOfSize(bench.catalog, seeds, line.pool, seed);
        ASSIGN_OR_RETURN(const Spent selection,
                         SelectionOf(model, pool, catalog, owner, select, options.repeats));
        line.select_cpu_seconds += share * selection.cpu_seconds;
        line.select_tokens += share * selection.tokens;
        line.train_cpu_seconds += share * training.cpu_seconds;
        line.train_tokens += share * training.tokens;
      }
    }
    lines.insert(lines.end(), sizes.begin(), sizes.end());
  }
  return lines;
}

}  // namespace lorikeet
