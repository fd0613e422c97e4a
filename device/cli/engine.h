// What most commands need: --model, --adapter, --threads, --precision, --kv-type, and the session
// they describe.
#ifndef LORIKEET_DEVICE_CLI_ENGINE_H_
#define LORIKEET_DEVICE_CLI_ENGINE_H_

#include <CLI/CLI.hpp>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"
#include "common/base/tensor_type.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/runtime/session.h"

namespace lorikeet {

struct EngineArguments {
  std::string model;
  std::vector<std::string> adapters;  // "path" or "path=scale"
  int threads = 0;
  std::string precision = "exact";  // or "fast"
  std::string kv_type;              // "f32", "f16", "q8_0"; empty: DefaultKvType
  std::string isa;                  // empty: the best this machine has
  bool tokenizer = true;            // false: a model for token ids alone (weights_only_model.h)

  // For commands where speed matters more than the last digit.
  static EngineArguments Fast() {
    EngineArguments arguments;
    arguments.precision = "fast";
    return arguments;
  }

  void AddModel(CLI::App* command);      // --model, required
  void AddThreads(CLI::App* command);    // --threads, --isa
  void AddAdapters(CLI::App* command);   // --adapter, repeatable
  void AddPrecision(CLI::App* command);  // --precision, --kv-type
  void AddAll(CLI::App* command);
};

// A model with adapters, ready to run.  Movable; what sessions borrow keeps its address.
class Engine {
 public:
  // Errors of the files; usage errors for an unknown precision or instruction set.  An adapter that
  // does not name its base is accepted by its shapes, with a line on stderr.
  static absl::StatusOr<Engine> Open(const EngineArguments& arguments);

  const std::shared_ptr<const Model>& model() const { return model_; }
  ThreadPool* pool() const { return pool_.get(); }
  const std::vector<AdapterRef>& adapters() const { return references_; }

  // context_length as in SessionOptions; the adapters are active.
  absl::StatusOr<std::unique_ptr<Session>> MakeSession(int context_length) const;

 private:
  std::shared_ptr<const Model> model_;
  std::unique_ptr<ThreadPool> pool_;
  std::deque<Adapter> adapters_;
  std::vector<AdapterRef> references_;
  Precision precision_ = Precision::kExact;
  std::optional<TensorType> kv_type_;
};

// A context that holds `needed` positions: the model's own, but of a very long one no more than is
// useful (4096).
int DefaultContext(const Model& model, int64_t needed);

// All of stdin.
absl::StatusOr<std::string> ReadStdin();

// JSON: a list of ids, or an object that has one under "tokens", "ids" or "prompt_tokens".
absl::StatusOr<std::vector<TokenId>> ParseTokens(const std::string& json);
absl::StatusOr<std::vector<TokenId>> ReadTokensFile(const std::string& path);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_ENGINE_H_
