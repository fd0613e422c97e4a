// Which instruction set the kernels use: chosen once, at first use, from what the processor has.
//
// The reference kernels are plain portable C++ and the oracle of the tests; the SIMD ones are the
// same body compiled per instruction set (kernels/simd).  On other processors (Arm: the place for
// NEON is kernels/isa.cc) the reference runs.
#ifndef LORIKEET_KERNELS_ISA_H_
#define LORIKEET_KERNELS_ISA_H_

#include <optional>
#include <string_view>
#include <vector>

namespace lorikeet {

enum class Isa { kReference, kAvx2, kAvx512 };

// kAvx2: AVX2, FMA, F16C.  kAvx512: those and AVX-512 F, BW, VL, DQ, VNNI, VBMI.  Slowest first.
std::vector<Isa> AvailableIsas();

// The one in use.
Isa CurrentIsa();
// "reference", "avx2", "avx512".
std::string_view IsaName(Isa isa);
inline std::string_view IsaName() { return IsaName(CurrentIsa()); }
std::optional<Isa> ParseIsa(std::string_view name);

// For --isa, before any kernel runs, and for tests between kernels.  False, and nothing changes, if
// this machine lacks it.  Not to be called while a kernel runs.
bool SetIsa(Isa isa);
inline bool SetIsaForTest(Isa isa) { return SetIsa(isa); }

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_ISA_H_
