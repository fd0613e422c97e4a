// Which instruction set the kernels use: chosen once, at first use, from what the processor has.
//
// The reference kernels are plain portable C++ and the oracle of the tests; the SIMD ones are the
// same body compiled per instruction set (kernels/simd).  On other processors the reference runs.
// What another one takes (NEON with dotprod, with i8mm): an Isa and its name; a KernelTable, filled
// by simd/NAME.cc from the same bodies with a vec_inl.h of its own; the sources and their flags in
// CMakeLists.txt; and its test for the processor in isa.cc.  The suites of tests/unit/kernels then
// run over it by themselves.
#ifndef LORIKEET_KERNELS_ISA_H_
#define LORIKEET_KERNELS_ISA_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

enum class Isa { kReference, kAvx2, kAvx512, kAmx };

// kAvx2: AVX2, FMA, F16C.  kAvx512: those and AVX-512 F, BW, VL, DQ, VNNI, VBMI.  kAmx: those,
// AVX-512 BF16 and AMX TILE and BF16, with Linux's permission (asked for here).  Slowest first.
std::vector<Isa> AvailableIsas();

// The one in use.
Isa CurrentIsa();
// "reference", "avx2", "avx512", "amx".
std::string_view IsaName(Isa isa);
inline std::string_view IsaName() { return IsaName(CurrentIsa()); }
std::optional<Isa> ParseIsa(std::string_view name);
// All that ParseIsa knows: "reference, avx2, ...".
std::string IsaNames();
// Why something that the processor has is not used, to show to users; mostly "".
std::string_view IsaNote();

// For --isa, before any kernel runs, and for tests between kernels.  False, and nothing changes, if
// this machine lacks it.  Not to be called while a kernel runs.
bool SetIsa(Isa isa);
inline bool SetIsaForTest(Isa isa) { return SetIsa(isa); }

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_ISA_H_
