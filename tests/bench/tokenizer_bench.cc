// Tokenization throughput.  Arguments: a GGUF file with a vocabulary and a text; without them, a
// made vocabulary and text.
//   tokenizer_bench [MODEL.gguf TEXT]
// Prints medians of bytes per second of processor time for encoding and decoding, and the load
// time.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include "common/base/file.h"
#include "common/base/strings.h"
#include "common/tokenizer/tokenizer.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

constexpr int kRepeats = 7;

// Processor seconds of each of kRepeats runs after one that is dropped, sorted.
template <typename Body>
std::vector<double> Time(const Body& body) {
  std::vector<double> seconds;
  for (int i = 0; i <= kRepeats; ++i) {
    const std::clock_t start = std::clock();
    body();
    const std::clock_t taken = std::clock() - start;
    if (i > 0) seconds.push_back(static_cast<double>(taken) / CLOCKS_PER_SEC);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds;
}

void Print(const char* what, const std::vector<double>& seconds, double megabytes) {
  std::printf("%s: %.2f MB/s (median of %d; %.2f to %.2f)\n", what,
              megabytes / seconds[kRepeats / 2], kRepeats, megabytes / seconds.back(),
              megabytes / seconds.front());
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}

int Main(int argc, char** argv) {
  const std::string model = argc == 3 ? argv[1] : WriteTinyModel();
  std::string text;
  if (argc == 3) {
    auto content = ReadFile(argv[2]);
    if (!content.ok()) return Fail(content.status());
    text = std::move(*content);
  } else {
    for (int i = 0; i < 20000; ++i) text += "The other lorikeets, 12 of them, sat in a tree. ";
  }
  auto file = GgufFile::Open(model);
  if (!file.ok()) return Fail(file.status());
  auto tokenizer = Tokenizer::Create(*file);
  if (!tokenizer.ok()) return Fail(tokenizer.status());
  const double megabytes = static_cast<double>(text.size()) / 1e6;
  std::vector<TokenId> ids;
  const auto encode = Time([&] { ids = (*tokenizer)->Encode(text); });
  const auto decode = Time([&] { text = (*tokenizer)->Decode(ids).value(); });
  const auto load = Time([&] { tokenizer = Tokenizer::Create(GgufFile::Open(model).value()); });
  std::printf("%zu bytes, %zu tokens, vocabulary %d\n", text.size(), ids.size(),
              (*tokenizer)->vocabulary_size());
  Print("encode", encode, megabytes);
  Print("decode", decode, megabytes);
  std::printf("load: %.1f ms (median)\n", load[kRepeats / 2] * 1e3);
  return 0;
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) { return lorikeet::Main(argc, argv); }
