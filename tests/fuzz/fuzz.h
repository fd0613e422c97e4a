// What a fuzz target is here: a function of bytes that must not crash, and a few inputs to start
// from.
//
// With -DLORIKEET_FUZZ=ON (preset "fuzz", clang) each target becomes a libFuzzer program; always,
// it becomes a test <target>_replay that runs the seeds and fixed mutations of them.
#ifndef LORIKEET_TESTS_FUZZ_FUZZ_H_
#define LORIKEET_TESTS_FUZZ_FUZZ_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace lorikeet {

// Valid or nearly valid inputs of the target.
std::vector<std::string> FuzzSeeds();

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_FUZZ_FUZZ_H_
