// What a fresh adapter is to be, and making one.
#ifndef LORIKEET_DEVICE_TRAINER_MAKE_ADAPTER_H_
#define LORIKEET_DEVICE_TRAINER_MAKE_ADAPTER_H_

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"
#include "device/model/model.h"

namespace lorikeet {

// Every matrix is scaled by alpha / its own rank, as llama.cpp does: with ranks that differ, a
// matrix of twice the rank has half the scale.
struct AdapterSpec {
  AdapterKind kind = AdapterKind::kLora;
  int rank = 8;
  float alpha = 16;
  std::vector<Module> modules = {};  // empty: all
  uint64_t seed = 1;
  std::array<int, kModuleCount> module_ranks = {};  // by module; 0: `rank`

  int RankOf(Module module) const;
  // `modules` in order, each once.
  std::vector<Module> Modules() const;
};

// Command-line words.  `ranks`: a number, then exceptions by module ("8", "8,down=16"), or modules
// alone ("q=16,v=16"), which are then the ones to train.  `modules`: as ParseModules.
// INVALID_ARGUMENT: unknown module, rank not in [1, 1024], a rank for a module that `modules`
// leaves out, a module twice, a module of a list without a rank.
absl::StatusOr<AdapterSpec> ParseAdapterSpec(std::string_view ranks, std::string_view modules);

// A fresh adapter without effect.  kLora: A ~ uniform Kaiming, B = 0.  kCore: random orthonormal A
// and B (QR of a Gaussian), R = 0; for better factors see gradient_basis.h.  INVALID_ARGUMENT: rank
// < 1 or larger than a matrix (named).
absl::StatusOr<Adapter> MakeAdapter(const Model& model, const AdapterSpec& spec);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_MAKE_ADAPTER_H_
