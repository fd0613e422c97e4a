// What the tests of device/trainer share: a tiny model with adapters that have an effect, and
// batches.
#ifndef LORIKEET_TESTS_UNIT_TRAINER_TRAINER_FIXTURE_H_
#define LORIKEET_TESTS_UNIT_TRAINER_TRAINER_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "common/base/random.h"
#include "device/model/model.h"
#include "device/trainer/gradient.h"
#include "device/trainer/trainer.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {

inline std::shared_ptr<const Model> LoadTiny(const TinyModelOptions& options = {}) {
  auto model = Model::Load(WriteTinyModel(options));
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *model : nullptr;
}

// A fresh adapter with its zero part (B, or the core) made random, so that every gradient is
// non-zero.
inline Adapter ActiveAdapter(const Model& model, const AdapterSpec& spec) {
  auto adapter = MakeAdapter(model, spec);
  EXPECT_TRUE(adapter.ok()) << adapter.status();
  Rng rng(spec.seed + 100);
  for (AdapterMatrix& matrix : adapter->matrices) {
    std::vector<float>& zero = spec.kind == AdapterKind::kCore ? matrix.core : matrix.b;
    for (float& value : zero) value = static_cast<float>(0.1 * rng.Normal());
  }
  return *std::move(adapter);
}

// `count` sequences of random bytes-as-tokens, of `length`, `length` + 3, ... tokens.
inline std::vector<Sequence> RandomSequences(int count, int length, uint64_t seed) {
  Rng rng(seed);
  std::vector<Sequence> sequences(count);
  for (int i = 0; i < count; ++i) {
    for (int j = 0; j < length + 3 * i; ++j) {
      sequences[i].tokens.push_back(static_cast<TokenId>(rng.Below(256)));
    }
  }
  return sequences;
}

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_UNIT_TRAINER_TRAINER_FIXTURE_H_
