#include "device/cli/engine.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/adapter/gguf_io.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/cli/program.h"
#include "device/model/weights_only_model.h"
#include "kernels/isa.h"

namespace lorikeet {
namespace {

constexpr int kUsefulContext = 4096;

struct AdapterArgument {
  std::string path;
  float scale = 1.0f;
};

// A path may contain '=' itself: only a number after the last one is a scale.
AdapterArgument ParseAdapterArgument(const std::string& argument) {
  const size_t equals = argument.rfind('=');
  float scale = 0;
  if (equals != std::string::npos && absl::SimpleAtof(argument.substr(equals + 1), &scale)) {
    return {.path = argument.substr(0, equals), .scale = scale};
  }
  return {.path = argument};
}

}  // namespace

void EngineArguments::AddModel(CLI::App* command) {
  command->add_option("--model", model, "Base model (GGUF)")->required();
}

void EngineArguments::AddThreads(CLI::App* command) {
  command->add_option("--threads", threads, "Threads; 0 = as many as the process may use")
      ->check(CLI::Range(0, 1024));
  command->add_option("--isa", isa,
                      absl::StrCat("Kernels: one of ", IsaNames(), "; default the best here"));
}

void EngineArguments::AddAdapters(CLI::App* command) {
  command->add_option("--adapter", adapters, "Adapter (GGUF), A or A=SCALE; may be repeated")
      ->allow_extra_args(false);
}

void EngineArguments::AddPrecision(CLI::App* command) {
  command
      ->add_option("--precision", precision,
                   "exact: float activations; fast: 8-bit activations where weights are quantized")
      ->check(CLI::IsMember({"exact", "fast"}))
      ->capture_default_str();
  command
      ->add_option(
          "--kv-type", kv_type,
          "Type of cached keys and values: f32, f16 or q8_0; default f32 if exact, else f16")
      ->check(CLI::IsMember({"f32", "f16", "q8_0"}, CLI::ignore_case));
}

void EngineArguments::AddAll(CLI::App* command) {
  AddModel(command);
  AddAdapters(command);
  AddThreads(command);
  AddPrecision(command);
}

absl::StatusOr<Engine> Engine::Open(const EngineArguments& arguments) {
  if (!arguments.isa.empty()) {
    const std::optional<Isa> isa = ParseIsa(arguments.isa);
    if (!isa) {
      return UsageError(
          absl::StrCat("--isa: expected one of ", IsaNames(), ", got \"", arguments.isa, "\""));
    }
    if (!SetIsa(*isa)) {
      return UsageError(absl::StrCat("--isa: \"", arguments.isa, "\" kernels cannot run here",
                                     IsaNote().empty() ? "" : ": ", ToAbsl(IsaNote())));
    }
  } else if (!IsaNote().empty()) {
    LogWarning(absl::StrCat("slower kernels than this processor allows: ", ToAbsl(IsaNote())));
  }
  Engine engine;
  engine.precision_ = arguments.precision == "fast" ? Precision::kFast : Precision::kExact;
  if (!arguments.kv_type.empty()) engine.kv_type_ = ParseTensorType(arguments.kv_type);
  ASSIGN_OR_RETURN(engine.model_, arguments.tokenizer ? Model::Load(arguments.model)
                                                      : LoadWeightsOnlyModel(arguments.model));
  engine.pool_ = std::make_unique<ThreadPool>(arguments.threads);
  for (const std::string& text : arguments.adapters) {
    const AdapterArgument argument = ParseAdapterArgument(text);
    ASSIGN_OR_RETURN(Adapter adapter, ReadAdapter(argument.path));
    RETURN_IF_ERROR(Annotate(engine.model_->CheckAdapter(adapter), argument.path));
    if (adapter.info.base_fingerprint.empty()) {
      LogWarning(absl::StrCat(argument.path, " does not name its base; checked by shapes only"));
    }
    engine.adapters_.push_back(std::move(adapter));
    engine.references_.push_back({.adapter = &engine.adapters_.back(), .scale = argument.scale});
  }
  return engine;
}

absl::StatusOr<std::unique_ptr<Session>> Engine::MakeSession(int context_length) const {
  ASSIGN_OR_RETURN(
      std::unique_ptr<Session> session,
      Session::Create(
          model_, pool_.get(),
          {.context_length = context_length, .precision = precision_, .kv_type = kv_type_}));
  RETURN_IF_ERROR(session->SetAdapters(references_));
  return session;
}

int DefaultContext(const Model& model, int64_t needed) {
  const int64_t useful = std::max<int64_t>(kUsefulContext, needed);
  return static_cast<int>(std::min<int64_t>(model.config().context_length, useful));
}

absl::StatusOr<std::string> ReadStdin() {
  std::string text;
  char buffer[1 << 16];
  size_t count = 0;
  while ((count = std::fread(buffer, 1, sizeof(buffer), stdin)) > 0) text.append(buffer, count);
  if (std::ferror(stdin) != 0) return absl::UnavailableError("cannot read standard input");
  return text;
}

absl::StatusOr<std::vector<TokenId>> ParseTokens(const std::string& json) {
  const nlohmann::json document = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  const nlohmann::json* list = &document;
  for (const char* key : {"tokens", "ids", "prompt_tokens"}) {
    if (document.is_object() && document.contains(key)) list = &document[key];
  }
  if (!list->is_array()) {
    return absl::InvalidArgumentError("expected a JSON list of token ids, got something else");
  }
  std::vector<TokenId> tokens;
  for (const nlohmann::json& item : *list) {
    // Unsigned numbers above 2^63 would wrap; they are no ids either.
    const bool is_id =
        item.is_number_integer() && item >= 0 && item <= std::numeric_limits<TokenId>::max();
    if (!is_id) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected token ids, got ", item.dump(-1, ' ', true).substr(0, 40)));
    }
    tokens.push_back(item.get<TokenId>());
  }
  return tokens;
}

absl::StatusOr<std::vector<TokenId>> ReadTokensFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string json, ReadFile(path));
  absl::StatusOr<std::vector<TokenId>> tokens = ParseTokens(json);
  if (!tokens.ok()) return Annotate(tokens.status(), path);
  return tokens;
}

}  // namespace lorikeet
