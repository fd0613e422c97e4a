#include "kernels/isa.h"

#include <algorithm>
#include <atomic>
#include <iterator>

#include "kernels/amx_support.h"
#include "kernels/kernel_table.h"

namespace lorikeet {
namespace {

constexpr Isa kIsas[] = {Isa::kReference, Isa::kAvx2, Isa::kAvx512, Isa::kAmx};

#ifdef LORIKEET_KERNELS_X86

bool HasAvx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c");
}

bool HasAvx512() {
  return HasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
}

// Null: AMX can be used.  Asked once, since a product is tried.
const char* WhyNoAmxHere() {
  static const char* const kWhy = HasAvx512() ? WhyNoAmx(AmxKernels(), Avx512Kernels()) : "";
  return kWhy;
}

bool HasIsa(Isa isa) {
  switch (isa) {
    case Isa::kReference:
      return true;
    case Isa::kAvx2:
      return HasAvx2();
    case Isa::kAvx512:
      return HasAvx512();
    case Isa::kAmx:
      return WhyNoAmxHere() == nullptr;
  }
  return false;
}

#else

bool HasIsa(Isa isa) { return isa == Isa::kReference; }

#endif

const KernelTable* TableOf(Isa isa) {
#ifdef LORIKEET_KERNELS_X86
  if (isa == Isa::kAvx2) return &Avx2Kernels();
  if (isa == Isa::kAvx512) return &Avx512Kernels();
  if (isa == Isa::kAmx) return &AmxKernels();
#endif
  (void)isa;
  return &ReferenceKernels();
}

struct Choice {
  std::atomic<Isa> isa;
  std::atomic<const KernelTable*> table;
};

// `first`, or the best if it is not given, when called for the first time; so that who forces one
// tries none of the better ones.
Choice& Chosen(std::optional<Isa> first = std::nullopt) {
  static Choice choice = [&] {
    const Isa isa = first ? *first : AvailableIsas().back();
    return Choice{isa, TableOf(isa)};
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
    case Isa::kAmx:
      return "amx";
  }
  return "?";
}

std::optional<Isa> ParseIsa(std::string_view name) {
  for (const Isa isa : kIsas) {
    if (IsaName(isa) == name) return isa;
  }
  return std::nullopt;
}

std::string IsaNames() {
  std::string names;
  for (const Isa isa : kIsas) {
    if (!names.empty()) names += ", ";
    names += IsaName(isa);
  }
  return names;
}

std::string_view IsaNote() {
#ifdef LORIKEET_KERNELS_X86
  if (WhyNoAmxHere() != nullptr) return WhyNoAmxHere();
#endif
  return "";
}

bool SetIsa(Isa isa) {
  if (!HasIsa(isa)) return false;
  Choice& choice = Chosen(isa);
  choice.isa = isa;
  choice.table = TableOf(isa);
  return true;
}

void UseKernelsForTest(const KernelTable& table) { Chosen().table = &table; }

const KernelTable& Kernels() { return *Chosen().table.load(std::memory_order_relaxed); }

}  // namespace lorikeet
