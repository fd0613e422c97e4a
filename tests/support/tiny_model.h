// A small random GGUF model with a complete byte-level BPE tokenizer, made in code: tests need no
// shared data.
//
// The weights are random (seeded), so what it generates means nothing; shapes, types and keys are
// those of real files.
#ifndef LORIKEET_TESTS_SUPPORT_TINY_MODEL_H_
#define LORIKEET_TESTS_SUPPORT_TINY_MODEL_H_

#include <cstdint>
#include <string>

#include "common/base/tensor_type.h"

namespace lorikeet {

struct TinyModelOptions {
  // or "qwen2" (adds QKV biases), "qwen3" (norms of queries and keys, no biases)
  std::string architecture = "llama";
  int layers = 2;
  int dim = 64;  // a multiple of 32 and of heads
  int heads = 4;
  int kv_heads = 2;
  int head_size = 0;  // 0: dim / heads
  int ffn = 96;       // a multiple of 32
  int vocab =
      288;  // at least 288: 256 bytes, 30 merges, <|bos|>, <|eos|>; the rest is unused padding
  int context = 256;  // as trained
  TensorType type =
      TensorType::kF32;  // of the matrices: F32, F16, Q8_0 or Q4_0; norms and biases are F32
  bool rope_freqs = false;
  bool tied = true;
  bool add_bos = true;
  uint64_t seed = 1;
};

// Token ids of the fixture's tokenizer: byte b in GPT-2's order is one token; then merges; then
// these.
int TinyModelBos(const TinyModelOptions& options);
int TinyModelEos(const TinyModelOptions& options);

// The bytes of the GGUF file; equal options give equal bytes.
std::string TinyModelBytes(const TinyModelOptions& options = {});

// Writes it into a fresh temporary directory (removed at exit); returns the path.  Aborts if that
// fails.
std::string WriteTinyModel(const TinyModelOptions& options = {});

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_SUPPORT_TINY_MODEL_H_
