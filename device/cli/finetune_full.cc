#include "device/cli/finetune_full.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "device/trainer/batch_sampler.h"
#include "device/trainer/packing.h"

namespace lorikeet {
namespace {

using nlohmann::json;

json TokensOf(const std::vector<Sequence>& sequences) {
  json lists = json::array();
  for (const Sequence& sequence : sequences) lists.push_back(sequence.tokens);
  return lists;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrainableModel>> MakeTrainable(const Engine& engine,
                                                              Output& output) {
  ASSIGN_OR_RETURN(std::unique_ptr<TrainableModel> model, TrainableModel::Create(*engine.model()));
  int64_t numbers = 0;
  for (const TrainableTensor& tensor : model->tensors()) {
    numbers += static_cast<int64_t>(tensor.values.size());
  }
  output.Line(
      absl::StrFormat("all weights: %d numbers in %d tensors", numbers, model->tensors().size()));
  if (model->dequantized() > 0) {
    output.Line(absl::StrFormat(
        "%d tensors are not F32 in the file: they are trained as F32, from their rounded values",
        model->dequantized()));
  }
  return model;
}

absl::Status WriteBatches(const Dataset& dataset, const TrainOptions& options,
                          const std::string& path) {
  const std::vector<Window> windows = MakeWindows(dataset.train, options.pack_rows, options.seed);
  const size_t windows_a_step =
      static_cast<size_t>(options.batch_size) * static_cast<size_t>(options.accumulate);
  BatchSampler sampler(windows.size(), windows_a_step, options.seed);
  json steps = json::array();
  for (int step = 0; step < options.max_steps; ++step) {
    json indices = json::array();
    for (const size_t window : sampler.Next()) {
      for (const size_t index : windows[window]) indices.push_back(index);
    }
    steps.push_back(std::move(indices));
  }
  const json document = {{"train", TokensOf(dataset.train)},
                         {"eval", TokensOf(dataset.eval)},
                         {"steps", std::move(steps)}};
  return WriteFileAtomic(path, document.dump());
}

}  // namespace lorikeet
