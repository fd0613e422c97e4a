#include "device/trainer/make_adapter.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr int kMaxRank = 1024;  // of adapter files

// `count` orthonormal vectors of `length`, one a row, by modified Gram-Schmidt on Gaussian rows;
// each row is orthogonalized twice, which keeps the products near machine precision ("twice is
// enough", Kahan and Parlett). REQUIRES: count <= length.
std::vector<float> RandomOrthonormalRows(int count, int length, Rng& rng) {
  std::vector<double> rows(static_cast<size_t>(count) * length);
  for (double& value : rows) value = rng.Normal();
  for (int i = 0; i < count; ++i) {
    double* row = rows.data() + static_cast<size_t>(i) * length;
    for (int pass = 0; pass < 2; ++pass) {
      for (int j = 0; j < i; ++j) {
        const double* other = rows.data() + static_cast<size_t>(j) * length;
        double dot = 0;
        for (int k = 0; k < length; ++k) dot += row[k] * other[k];
        for (int k = 0; k < length; ++k) row[k] -= dot * other[k];
      }
      double norm = 0;
      for (int k = 0; k < length; ++k) norm += row[k] * row[k];
      const double inverse = 1.0 / std::sqrt(norm);
      for (int k = 0; k < length; ++k) row[k] *= inverse;
    }
  }
  return {rows.begin(), rows.end()};
}

std::vector<float> Transposed(const std::vector<float>& values, int rows, int columns) {
  std::vector<float> result(values.size());
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) {
      result[static_cast<size_t>(j) * rows + i] = values[static_cast<size_t>(i) * columns + j];
    }
  }
  return result;
}

void FillFactors(AdapterKind kind, AdapterMatrix& matrix, Rng& rng) {
  const size_t rank = matrix.rank;
  if (kind == AdapterKind::kCore) {
    matrix.a = RandomOrthonormalRows(matrix.rank, matrix.in_features, rng);
    matrix.b = Transposed(RandomOrthonormalRows(matrix.rank, matrix.out_features, rng), matrix.rank,
                          matrix.out_features);
    matrix.core.assign(rank * rank, 0.0f);
    return;
  }
  // Kaiming-uniform with a = sqrt(5), as PEFT initializes lora_A: bound = 1 / sqrt(in).
  const double bound = 1.0 / std::sqrt(static_cast<double>(matrix.in_features));
  matrix.a.resize(rank * matrix.in_features);
  for (float& value : matrix.a) value = static_cast<float>((2.0 * rng.Uniform() - 1.0) * bound);
  matrix.b.assign(rank * matrix.out_features, 0.0f);
}

absl::StatusOr<int> ParseRank(std::string_view word) {
  int rank = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), rank);
  if (error != std::errc() || end != word.data() + word.size() || rank < 1 || rank > kMaxRank) {
    return absl::InvalidArgumentError(absl::StrCat("rank: expected a number from 1 to ", kMaxRank,
                                                   ", got \"", ToAbsl(word), "\""));
  }
  return rank;
}

// The words of `ranks`: the number for all, if there is one, and those by module.
struct Ranks {
  std::optional<int> all;
  std::array<int, kModuleCount> by_module = {};
};

absl::StatusOr<Ranks> ParseRanks(std::string_view list) {
  Ranks ranks;
  for (size_t start = 0; start <= list.size();) {
    const size_t end = std::min(list.find(',', start), list.size());
    const std::string_view word = list.substr(start, end - start);
    const size_t equals = word.find('=');
    start = end + 1;
    ASSIGN_OR_RETURN(const int rank,
                     ParseRank(equals == word.npos ? word : word.substr(equals + 1)));
    bool twice = ranks.all.has_value();
    if (equals == word.npos) {
      ranks.all = rank;
    } else {
      ASSIGN_OR_RETURN(const auto modules, ParseModules(word.substr(0, equals)));
      if (modules.size() != 1) {
        return absl::InvalidArgumentError(
            absl::StrCat("rank: expected a module before \"=\", got \"", ToAbsl(word), "\""));
      }
      int& slot = ranks.by_module[static_cast<size_t>(modules[0])];
      twice = std::exchange(slot, rank) != 0;
    }
    if (twice) {
      return absl::InvalidArgumentError(absl::StrCat("rank: expected each part once, got \"",
                                                     ToAbsl(word), "\" besides another"));
    }
  }
  return ranks;
}

}  // namespace

int AdapterSpec::RankOf(Module module) const {
  const int own = module_ranks[static_cast<size_t>(module)];
  return own != 0 ? own : rank;
}

std::vector<Module> AdapterSpec::Modules() const {
  std::vector<Module> result = modules;
  if (result.empty()) {
    for (int i = 0; i < kModuleCount; ++i) result.push_back(static_cast<Module>(i));
  }
  std::ranges::sort(result);
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

absl::StatusOr<AdapterSpec> ParseAdapterSpec(std::string_view ranks, std::string_view modules) {
  ASSIGN_OR_RETURN(const Ranks parsed, ParseRanks(ranks));
  ASSIGN_OR_RETURN(const std::vector<Module> chosen, ParseModules(modules));
  AdapterSpec spec{.rank = parsed.all.value_or(0), .module_ranks = parsed.by_module};
  for (int i = 0; i < kModuleCount; ++i) {
    const auto module = static_cast<Module>(i);
    const std::string_view name = ModuleName(module);
    const bool ranked = parsed.by_module[i] != 0;
    if (std::ranges::find(chosen, module) == chosen.end()) {
      if (!ranked) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("rank: expected modules that are trained, got ", ToAbsl(name),
                       ", which the list \"", ToAbsl(modules), "\" leaves out"));
    }
    if (ranked || parsed.all.has_value()) {
      spec.modules.push_back(module);
    } else if (modules != "all") {
      return absl::InvalidArgumentError(absl::StrCat(
          "rank: expected one for ", ToAbsl(name),
          " too, or a number for all others (as in \"8,q=16\"), got \"", ToAbsl(ranks), "\""));
    }
  }
  return spec;
}

absl::StatusOr<Adapter> MakeAdapter(const Model& model, const AdapterSpec& spec) {
  const std::vector<Module> modules = spec.Modules();
  Adapter adapter;
  adapter.info.architecture = model.config().architecture;
  adapter.info.kind = spec.kind;
  adapter.info.alpha = spec.alpha;
  adapter.info.base_fingerprint = model.fingerprint();
  Rng rng(spec.seed);
  for (int layer = 0; layer < model.config().layer_count; ++layer) {
    for (const Module module : modules) {
      const WeightView& weight = model.layer(layer).weight(module);
      AdapterMatrix matrix;
      matrix.target = {layer, module};
      matrix.rank = spec.RankOf(module);
      matrix.in_features = static_cast<int>(weight.cols);
      matrix.out_features = static_cast<int>(weight.rows);
      if (matrix.rank < 1) {
        return absl::InvalidArgumentError(
            absl::StrFormat("adapter rank: expected at least 1, got %d", matrix.rank));
      }
      if (matrix.rank > std::min(weight.rows, weight.cols)) {
        return absl::InvalidArgumentError(
            absl::StrFormat("adapter rank %d is larger than %s, a matrix of %d x %d", matrix.rank,
                            WeightName(layer, module), weight.rows, weight.cols));
      }
      FillFactors(spec.kind, matrix, rng);
      adapter.matrices.push_back(std::move(matrix));
    }
  }
  return adapter;
}

}  // namespace lorikeet
