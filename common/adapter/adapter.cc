#include "common/adapter/adapter.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

struct ModuleNames {
  std::string_view option;
  std::string_view weight;
};
constexpr std::array<ModuleNames, kModuleCount> kModules = {{{"q", "attn_q"},
                                                             {"k", "attn_k"},
                                                             {"v", "attn_v"},
                                                             {"o", "attn_output"},
                                                             {"gate", "ffn_gate"},
                                                             {"up", "ffn_up"},
                                                             {"down", "ffn_down"}}};

absl::Status SameFactors(const AdapterMatrix& expected, const AdapterMatrix& got) {
  const std::string name = WeightName(expected.target.layer_index, expected.target.module);
  if (got.target != expected.target) {
    return absl::InvalidArgumentError(
        absl::StrCat("blend: expected a core of ", name, ", got one of ",
                     WeightName(got.target.layer_index, got.target.module)));
  }
  if (got.a != expected.a || got.b != expected.b || got.core.size() != expected.core.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("blend: the cores of ", name, " have different factors A and B"));
  }
  return absl::OkStatus();
}

absl::Status CheckBlendable(const Adapter& first, const Adapter& other) {
  if (other.info.kind != AdapterKind::kCore) {
    return absl::InvalidArgumentError("blend: expected adapters of kind core, got kind lora");
  }
  if (other.info.base_fingerprint != first.info.base_fingerprint) {
    return absl::FailedPreconditionError(absl::StrCat("blend: expected base ",
                                                      first.info.base_fingerprint, ", got ",
                                                      other.info.base_fingerprint));
  }
  if (other.matrices.size() != first.matrices.size()) {
    return absl::InvalidArgumentError(absl::StrCat("blend: expected ", first.matrices.size(),
                                                   " matrices, got ", other.matrices.size()));
  }
  for (size_t i = 0; i < first.matrices.size(); ++i) {
    RETURN_IF_ERROR(SameFactors(first.matrices[i], other.matrices[i]));
  }
  return absl::OkStatus();
}

}  // namespace

std::string_view ModuleName(Module module) { return kModules[static_cast<size_t>(module)].option; }

std::string WeightName(int layer_index, Module module) {
  return absl::StrCat("blk.", layer_index, ".",
                      ToAbsl(kModules[static_cast<size_t>(module)].weight), ".weight");
}

std::optional<AdapterTarget> ParseWeightName(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.", kSuffix = ".weight";
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
  AdapterTarget target;
  const char* begin = name.data() + kPrefix.size();
  const char* end = name.data() + name.size();
  const auto [after, error] = std::from_chars(begin, end, target.layer_index);
  if (error != std::errc() || after == end || *after != '.') return std::nullopt;
  // Only the canonical spelling: no sign, no leading zeros.
  for (int m = 0; m < kModuleCount; ++m) {
    target.module = static_cast<Module>(m);
    if (target.layer_index >= 0 && name == WeightName(target.layer_index, target.module)) {
      return target;
    }
  }
  return std::nullopt;
}

absl::StatusOr<std::vector<Module>> ParseModules(std::string_view list) {
  std::array<bool, kModuleCount> chosen{};
  if (list == "all") {
    chosen.fill(true);
  } else {
    for (size_t start = 0; start <= list.size();) {
      const size_t end = std::min(list.find(',', start), list.size());
      const std::string_view word = list.substr(start, end - start);
      const auto found =
          std::find_if(kModules.begin(), kModules.end(),
                       [&](const ModuleNames& names) { return names.option == word; });
      if (found == kModules.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("unknown module \"", ToAbsl(word),
                         "\": expected all or a list of q, k, v, o, gate, up, down"));
      }
      chosen[static_cast<size_t>(found - kModules.begin())] = true;
      start = end + 1;
    }
  }
  std::vector<Module> modules;
  for (int m = 0; m < kModuleCount; ++m) {
    if (chosen[m]) modules.push_back(static_cast<Module>(m));
  }
  return modules;
}

std::vector<float> AdapterMatrix::EffectiveB() const {
  if (core.empty()) return b;
  const auto r = static_cast<size_t>(rank);
  std::vector<float> product(b.size());
  for (size_t row = 0; row < static_cast<size_t>(out_features); ++row) {
    for (size_t column = 0; column < r; ++column) {
      double sum = 0;
      for (size_t i = 0; i < r; ++i) sum += double{b[row * r + i]} * core[i * r + column];
      product[row * r + column] = static_cast<float>(sum);
    }
  }
  return product;
}

float Adapter::BaseScale(const AdapterMatrix& matrix) const {
  return info.alpha == 0 ? 1.0f : info.alpha / static_cast<float>(matrix.rank);
}

int64_t Adapter::ParameterCount() const {
  int64_t count = 0;
  for (const AdapterMatrix& matrix : matrices) {
    count += static_cast<int64_t>(
        info.kind == AdapterKind::kCore ? matrix.core.size() : matrix.a.size() + matrix.b.size());
  }
  return count;
}

absl::Status CheckAdapterShape(const Adapter& adapter) {
  const AdapterTarget* previous = nullptr;
  for (const AdapterMatrix& m : adapter.matrices) {
    const std::string name = WeightName(m.target.layer_index, m.target.module);
    if (m.rank < 1 || m.in_features < 1 || m.out_features < 1) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": expected positive sizes, got rank ",
                                                     m.rank, ", in ", m.in_features, ", out ",
                                                     m.out_features));
    }
    const auto r = static_cast<size_t>(m.rank);
    const size_t core = adapter.info.kind == AdapterKind::kCore ? r * r : 0;
    if (m.a.size() != r * static_cast<size_t>(m.in_features) ||
        m.b.size() != r * static_cast<size_t>(m.out_features) || m.core.size() != core) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": A, B or core does not fit rank ",
                                                     m.rank, ", in ", m.in_features, ", out ",
                                                     m.out_features));
    }
    if (m.residual_rank && (*m.residual_rank < 0 || *m.residual_rank > m.rank)) {
      return absl::InvalidArgumentError(absl::StrCat(name, ": expected a residual rank of 0 to ",
                                                     m.rank, ", got ", *m.residual_rank));
    }
    for (const std::vector<float>* values : {&m.a, &m.b, &m.core}) {
      if (!std::all_of(values->begin(), values->end(), [](float x) { return std::isfinite(x); })) {
        return absl::InvalidArgumentError(absl::StrCat(name, " holds a value that is not finite"));
      }
    }
    if (previous != nullptr && !(*previous < m.target)) {
      return absl::InvalidArgumentError(absl::StrCat(name, " is out of order or appears twice"));
    }
    previous = &m.target;
  }
  if (!std::isfinite(adapter.info.alpha)) {
    return absl::InvalidArgumentError("the adapter's alpha is not finite");
  }
  return absl::OkStatus();
}

absl::StatusOr<Adapter> BlendCores(const std::vector<const Adapter*>& adapters,
                                   const std::vector<float>& weights) {
  if (adapters.empty() || adapters.size() != weights.size()) {
    return absl::InvalidArgumentError(absl::StrCat("blend: expected one weight per adapter, got ",
                                                   weights.size(), " weights and ", adapters.size(),
                                                   " adapters"));
  }
  const Adapter& first = *adapters[0];
  for (const Adapter* other : adapters) RETURN_IF_ERROR(CheckBlendable(first, *other));
  Adapter blend = first;
  blend.info.persona_id.clear();
  blend.info.parent.clear();
  for (size_t m = 0; m < blend.matrices.size(); ++m) {
    AdapterMatrix& matrix = blend.matrices[m];
    for (size_t i = 0; i < matrix.core.size(); ++i) {
      double sum = 0;
      for (size_t k = 0; k < adapters.size(); ++k) {
        const Adapter& adapter = *adapters[k];
        // In the scale of the first: alpha may differ.
        const double ratio = adapter.BaseScale(adapter.matrices[m]) / first.BaseScale(matrix);
        sum += weights[k] * ratio * adapter.matrices[m].core[i];
      }
      matrix.core[i] = static_cast<float>(sum);
    }
  }
  RETURN_IF_ERROR(CheckAdapterShape(blend));
  return blend;
}

Adapter ScaleAdapter(Adapter adapter, float factor) {
  for (AdapterMatrix& matrix : adapter.matrices) {
    std::vector<float>& scaled = matrix.core.empty() ? matrix.b : matrix.core;
    for (float& x : scaled) x *= factor;
  }
  return adapter;
}

}  // namespace lorikeet
