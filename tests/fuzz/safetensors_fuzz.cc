// Any bytes as a safetensors file, and on as a PEFT adapter: nothing read outside, no crash, and
// what was read is written and read again the same.  The metadata key "config" stands for the
// adapter_config.json beside the file.
#include <algorithm>
#include <cmath>

#include "common/adapter/peft.h"
#include "common/adapter/safetensors.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "tests/fuzz/fuzz.h"

namespace lorikeet {
namespace {

PeftBase Base() {
  return {
      .architecture = "llama", .name = "f", .layer_count = 2, .head_count = 1, .kv_head_count = 1};
}

void CheckRoundTrip(const SafetensorsFile& file) {
  SafetensorsWriter writer;
  for (const auto& [key, value] : file.metadata()) writer.SetMetadata(key, value);
  for (const SafetensorsTensor& tensor : file.tensors()) {
    LORIKEET_CHECK(writer.AddTensor(tensor.name, tensor.type, tensor.shape, tensor.Values()).ok());
  }
  const std::string bytes = writer.Serialize();
  const auto again = SafetensorsFile::Parse(AsBytes(bytes));
  LORIKEET_CHECK(again.ok() && again->metadata() == file.metadata());
  LORIKEET_CHECK(again->tensors().size() == file.tensors().size());
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const SafetensorsTensor &was = file.tensors()[i], &is = again->tensors()[i];
    LORIKEET_CHECK(was.name == is.name && was.type == is.type && was.shape == is.shape);
    const std::vector<float> before = was.Values(), after = is.Values();
    // A signalling NaN may come back as a quiet one.
    LORIKEET_CHECK(std::ranges::equal(before, after, [](float x, float y) {
      return x == y || (std::isnan(x) && std::isnan(y));
    }));
  }
}

void CheckAdapter(const SafetensorsFile& file) {
  const auto config = file.metadata().find("config");
  if (config == file.metadata().end()) return;
  const auto adapter = FromPeft(config->second, file, Base());
  if (!adapter.ok()) return;
  LORIKEET_CHECK(CheckAdapterShape(*adapter).ok());
  const auto files = ToPeft(*adapter, Base(), {});
  LORIKEET_CHECK(files.ok());
  const auto weights = SafetensorsFile::Parse(AsBytes(files->weights));
  LORIKEET_CHECK(weights.ok());
  const auto again = FromPeft(files->config, *weights, Base());
  LORIKEET_CHECK(again.ok() && again->matrices.size() == adapter->matrices.size());
  for (size_t i = 0; i < adapter->matrices.size(); ++i) {
    LORIKEET_CHECK(again->matrices[i].a == adapter->matrices[i].a);
    LORIKEET_CHECK(again->matrices[i].b == adapter->matrices[i].b);
  }
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  const std::string layer = "base_model.model.model.layers.";
  const auto seed = [&](const std::string& config, TensorType type) {
    SafetensorsWriter writer;
    writer.SetMetadata("config", config);
    writer.SetMetadata("lorikeet.version", "3");
    writer.SetMetadata("lorikeet.parent", std::string(64, 'a'));
    const std::vector<float> values = {1, 2, 3, 4};
    for (const char* module : {"0.self_attn.q_proj", "1.mlp.down_proj"}) {
      for (const char* factor : {".lora_A.weight", ".lora_B.weight"}) {
        LORIKEET_CHECK(writer.AddTensor(layer + module + factor, type, {2, 2}, values).ok());
      }
    }
    return writer.Serialize();
  };
  return {seed(R"({"peft_type":"LORA","r":2,"lora_alpha":4})", TensorType::kF32),
          seed(R"({"peft_type":"LORA","r":1,"lora_alpha":1.5,"use_rslora":true,)"
               R"("rank_pattern":{".*_pro[a-j]":2},"alpha_pattern":{"^model\\.la\\w+.*":3}})",
               TensorType::kBF16),
          SafetensorsWriter().Serialize()};
}

}  // namespace lorikeet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lorikeet;  // NOLINT: the entry point cannot live in a namespace
  const std::span<const uint8_t> bytes(data, size);
  const auto file = SafetensorsFile::Parse(bytes);
  if (!file.ok()) return 0;
  for (const SafetensorsTensor& tensor : file->tensors()) {
    LORIKEET_CHECK(tensor.data.data() >= bytes.data());
    LORIKEET_CHECK(tensor.data.data() + tensor.data.size() <= bytes.data() + bytes.size());
  }
  CheckRoundTrip(*file);
  CheckAdapter(*file);
  return 0;
}
