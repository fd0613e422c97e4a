// Any bytes as a delta: nothing read outside, never more bytes than the header says, and never a
// success that is not the file of the stated hash.
#include <algorithm>

#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/delta/apply_delta.h"
#include "common/delta/make_delta.h"
#include "common/gguf/writer.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

constexpr uint64_t kMostOutput = uint64_t{1} << 25;

TinyModelOptions Model(TensorType type, uint64_t seed) {
  TinyModelOptions model;
  model.layers = 1;
  model.dim = 32;
  model.heads = 2;
  model.ffn = 32;
  model.type = type;
  model.seed = seed;
  return model;
}

const TinyModelOptions kOldModel = Model(TensorType::kQ4_0, 1);

std::string DeltaTo(const TinyModelOptions& model) {
  std::string delta;
  const auto made = MakeDelta(WriteTinyModel(kOldModel), WriteTinyModel(model), {},
                              [&](std::span<const uint8_t> bytes) {
                                delta.append(AsChars(bytes));
                                return absl::OkStatus();
                              });
  LORIKEET_CHECK(made.ok());
  return delta;
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  std::vector<std::string> seeds;
  for (const TensorType type : {TensorType::kQ4_0, TensorType::kQ8_0, TensorType::kF16}) {
    seeds.push_back(DeltaTo(Model(type, 2)));
  }
  return seeds;
}

}  // namespace lorikeet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lorikeet;  // NOLINT: the entry point cannot live in a namespace
  static const std::string old_file = TinyModelBytes(kOldModel);
  const MemorySource old_source(AsBytes(old_file)), delta(std::span(data, size));
  const auto header = ReadDeltaHeader(delta);
  // A device compares the size with the signed one first; here it would only take time.
  if (!header.ok() || header->new_bytes > kMostOutput) return 0;
  Hasher hasher;
  uint64_t bytes = 0;
  const absl::Status status = ApplyDelta(old_source, delta, {header->new_bytes, header->new_hash},
                                         [&](std::span<const uint8_t> piece) {
                                           hasher.Update(piece);
                                           bytes += piece.size();
                                           LORIKEET_CHECK(bytes <= header->new_bytes);
                                           return absl::OkStatus();
                                         });
  if (status.ok()) {
    LORIKEET_CHECK(bytes == header->new_bytes && hasher.Finish() == header->new_hash);
  }
  return 0;
}
