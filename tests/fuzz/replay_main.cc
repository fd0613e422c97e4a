// Runs a fuzz target without libFuzzer: on its seeds and fixed mutations of them, and on files, or
// folders of files, named as arguments (a corpus; a crash that the fuzzer found).  "--write-seeds
// DIR" writes the seeds for libFuzzer instead.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "common/base/file.h"
#include "common/base/random.h"
#include "tests/fuzz/fuzz.h"

namespace lorikeet {
namespace {

constexpr int kMutationsPerSeed = 2000;

// Flips bits, overwrites numbers with extremes, copies ranges over others, cuts.
void Mutate(Rng& rng, std::string& input) {
  constexpr uint64_t kExtremes[] = {0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 1ull << 63, ~0ull};
  const uint64_t edits = 1 + rng.Below(4);
  for (uint64_t i = 0; i < edits && !input.empty(); ++i) {
    const size_t at = rng.Below(input.size());
    const size_t left = input.size() - at;
    switch (rng.Below(4)) {
      case 0:
        input[at] = static_cast<char>(input[at] ^ (1 << rng.Below(8)));
        break;
      case 1: {
        const uint64_t value = kExtremes[rng.Below(std::size(kExtremes))];
        std::memcpy(input.data() + at, &value, std::min<size_t>(left, sizeof(value)));
        break;
      }
      case 2: {
        const size_t from = rng.Below(input.size());
        const size_t count = std::min(left, input.size() - from);
        std::memmove(input.data() + at, input.data() + from, rng.Below(count) + 1);
        break;
      }
      default:
        input.resize(at);
    }
  }
}

void Run(const std::string& input) {
  // An allocation of exactly this size: a sanitizer sees reads behind it.
  const std::vector<uint8_t> exact(input.begin(), input.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

std::vector<std::string> FilesAt(const std::string& path) {
  if (!std::filesystem::is_directory(path)) return {path};
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

int WriteSeeds(const std::string& folder) {
  int number = 0;
  for (const std::string& seed : FuzzSeeds()) {
    const absl::Status status = WriteFileAtomic(folder + "/seed" + std::to_string(number++), seed);
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", status.ToString().c_str());
      return 1;
    }
  }
  return 0;
}

int Main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "--write-seeds") == 0) return WriteSeeds(argv[2]);
  Rng rng(1);
  int runs = 0;
  for (int i = 1; i < argc; ++i) {
    for (const std::string& path : FilesAt(argv[i])) {
      const auto input = ReadFile(path);
      if (!input.ok()) {
        std::fprintf(stderr, "%s\n", input.status().ToString().c_str());
        return 1;
      }
      Run(*input);
      ++runs;
    }
  }
  for (const std::string& seed : FuzzSeeds()) {
    Run(seed);
    for (int i = 0; i < kMutationsPerSeed; ++i, ++runs) {
      std::string input = seed;
      Mutate(rng, input);
      Run(input);
    }
  }
  std::printf("%d inputs, no crash\n", runs);
  return 0;
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) { return lorikeet::Main(argc, argv); }
