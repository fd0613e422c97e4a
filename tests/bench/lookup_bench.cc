// What lookup decoding gains and costs, on any model:
//
//   lookup_bench MODEL [THREADS=2] [TOKENS=128] [REPEAT=3] [PROMPT_FILE]
//
// Runs with lookup and without take turns in one process; medians, and their ratio.
//   quoted     the text to come is known word for word
//   altered    every twelfth token of what is known is another one
//   nothing    temperature 1 without filters, and no texts: what nothing repeats costs
//   prompt     greedy after PROMPT_FILE: whatever it repeats of itself
// "Known" is made from the model's own output, so that models with random weights serve as well:
// only how often a draft is right is arranged, not what it costs.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "common/base/file.h"
#include "common/base/random.h"
#include "device/model/model.h"
#include "device/runtime/generate.h"
#include "kernels/isa.h"

namespace lorikeet {
namespace {

struct Case {
  const char* name;
  GenerateOptions options;
  const LookupIndex* texts;
};

struct Bench {
  std::shared_ptr<const Model> model;
  ThreadPool pool;
  std::vector<TokenId> prompt = {};
  int repeat = 3;

  GenerateResult Run(const GenerateOptions& options) {
    SessionOptions session_options;
    session_options.context_length = static_cast<int>(prompt.size()) + options.max_tokens;
    const auto session = Session::Create(model, &pool, session_options);
    if (!session.ok()) {
      std::fprintf(stderr, "%s\n", session.status().ToString().c_str());
      std::exit(1);
    }
    const auto result = Generate(**session, prompt, options);
    if (!result.ok()) {
      std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
      std::exit(1);
    }
    return *result;
  }

  void Compare(const Case& c) {
    std::vector<double> off, on;
    GenerateResult last;
    for (int i = 0; i < repeat; ++i) {
      GenerateOptions options = c.options;
      options.lookup.draft = 0;
      const GenerateResult plain = Run(options);
      off.push_back(plain.decode_tokens_per_second());
      options.lookup = {.draft = LookupOptions::kAuto, .texts = c.texts};
      last = Run(options);
      on.push_back(last.decode_tokens_per_second());
      if (last.tokens != plain.tokens) std::printf("%s: THE TEXTS DIFFER\n", c.name);
    }
    std::sort(off.begin(), off.end());
    std::sort(on.begin(), on.end());
    const double a = off[off.size() / 2], b = on[on.size() / 2];
    std::printf("%-8s off %7.1f/s  auto %7.1f/s  ratio %.3f  drafted %d accepted %d passes %d\n",
                c.name, a, b, b / a, last.lookup.drafted, last.lookup.accepted, last.lookup.passes);
  }
};

LookupIndex Known(const std::vector<TokenId>& prompt, const std::vector<TokenId>& tokens,
                  int change_every) {
  LookupIndex index;
  index.Append(prompt);
  for (size_t i = 0; i < tokens.size(); ++i) {
    const bool change = change_every > 0 && i % change_every == change_every - 1u;
    index.Append(change ? tokens[i] / 2 + 1 : tokens[i]);
  }
  index.EndText();
  return index;
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: lookup_bench MODEL [THREADS] [TOKENS] [REPEAT] [PROMPT_FILE]\n");
    return 2;
  }
  const auto number = [&](int i, int otherwise) {
    return argc > i ? std::atoi(argv[i]) : otherwise;
  };
  auto model = Model::Load(argv[1]);
  if (!model.ok()) {
    std::fprintf(stderr, "%s\n", model.status().ToString().c_str());
    return 1;
  }
  Bench bench{.model = *model, .pool = ThreadPool(number(2, 2)), .repeat = number(4, 3)};
  GenerateOptions free;
  free.max_tokens = number(3, 128);
  free.ignore_end = true;
  free.sampling.temperature = 1.0;
  Rng rng(7);
  for (int i = 0; i < 64; ++i) {
    bench.prompt.push_back(static_cast<TokenId>(rng.Below(bench.model->config().vocabulary_size)));
  }
  std::printf("%s, %s, %d tokens\n", argv[1], std::string(IsaName()).c_str(), free.max_tokens);
  GenerateOptions plain = free;
  plain.lookup.draft = 0;
  const std::vector<TokenId> tokens = bench.Run(plain).tokens;
  const LookupIndex all = Known(bench.prompt, tokens, 0);
  const LookupIndex most = Known(bench.prompt, tokens, 12);
  bench.Compare({"quoted", free, &all});
  bench.Compare({"altered", free, &most});
  bench.Compare({"nothing", free, nullptr});
  if (argc > 5) {
    const auto text = ReadFile(argv[5]);
    if (!text.ok()) return 1;
    bench.prompt = bench.model->tokenizer().Encode(*text, {.add_special = true});
    GenerateOptions greedy = free;
    greedy.sampling = {};
    bench.Compare({"prompt", greedy, nullptr});
  }
  return 0;
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) { return lorikeet::Main(argc, argv); }
