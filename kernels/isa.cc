#include "kernels/isa.h"

#include <algorithm>
#include <atomic>
#include <iterator>

#include "kernels/kernel_table.h"

namespace lorikeet {
namespace {

constexpr Isa kIsas[] = {Isa::kReference, Isa::kAvx2, Isa::kAvx512};

bool HasIsa(Isa isa) {
  if (isa == Isa::kReference) return true;
#ifdef LORIKEET_KERNELS_X86
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  if (isa == Isa::kAvx2) return avx2;
  return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
#else
  return false;
#endif
}

const KernelTable* TableOf(Isa isa) {
#ifdef LORIKEET_KERNELS_X86
  if (isa == Isa::kAvx2) return &Avx2Kernels();
  if (isa == Isa::kAvx512) return &Avx512Kernels();
#endif
  (void)isa;
  return &ReferenceKernels();
}

struct Choice {
  std::atomic<Isa> isa;
  std::atomic<const KernelTable*> table;
};

Choice& Chosen() {
  static Choice choice = [] {
    const Isa best = AvailableIsas().back();
    return Choice{best, TableOf(best)};
  }();
  return choice;
}

}  // namespace

std::vector<Isa> AvailableIsas() {
  std::vector<Isa> isas;
  std::copy_if(std::begin(kIsas), std::end(kIsas), std::back_inserter(isas), HasIsa);
  return isas;
}

Isa CurrentIsa() { return Chosen().isa; }

std::string_view IsaName(Isa isa) {
  switch (isa) {
    case Isa::kReference:
      return "reference";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "?";
}

std::optional<Isa> ParseIsa(std::string_view name) {
  for (const Isa isa : kIsas) {
    if (IsaName(isa) == name) return isa;
  }
  return std::nullopt;
}

bool SetIsa(Isa isa) {
  if (!HasIsa(isa)) return false;
  Chosen().isa = isa;
  Chosen().table = TableOf(isa);
  return true;
}

const KernelTable& Kernels() { return *Chosen().table.load(std::memory_order_relaxed); }

}  // namespace lorikeet
