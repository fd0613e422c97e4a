// Runs the AMX instructions of a program on a processor that lacks them.
//
// Such a processor raises an illegal-instruction signal at each; the handler decodes the bytes and
// does what the manual says, so that what is tested is the compiled code itself: encodings, operand
// order, strides, configurations.  What a processor would answer with a fault (an unconfigured
// tile, shapes that do not fit, reserved bytes that are not 0) ends the program with a message.
// Only the instructions that kernels/simd uses.  Source: Intel SDM, volume 1, chapter 18, and
// volume 2.
#ifndef LORIKEET_TESTS_UNIT_KERNELS_AMX_EMULATOR_H_
#define LORIKEET_TESTS_UNIT_KERNELS_AMX_EMULATOR_H_

#include <csignal>
#include <cstdint>

namespace lorikeet {

// While one exists, illegal-instruction signals are its own.  Threads have tiles of their own.
class AmxEmulator {
 public:
  AmxEmulator();
  ~AmxEmulator();
  AmxEmulator(const AmxEmulator&) = delete;
  AmxEmulator& operator=(const AmxEmulator&) = delete;

  // Instructions run so far, by all threads.
  struct Counts {
    int64_t configurations = 0;
    int64_t releases = 0;
    int64_t loads = 0;
    int64_t stores = 0;
    int64_t dots = 0;
  };
  static Counts counts();
  // Whether the calling thread's tiles are configured.
  static bool Configured();

 private:
  struct sigaction previous_;
};

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_UNIT_KERNELS_AMX_EMULATOR_H_
