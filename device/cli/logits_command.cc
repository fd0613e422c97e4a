// lorikeet logits: raw float32 logits of every position.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/cli/progress.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"

namespace lorikeet {
namespace {

// Positions whose logits are held at once.
constexpr size_t kPositions = 64;

struct LogitsArguments {
  EngineArguments engine;
  std::string tokens_file;
  std::string out;
};

struct FileCloser {
  void operator()(FILE* file) const { std::fclose(file); }
};

// Decodes `tokens` and writes each position's logits to `path` (little-endian, as the machine's).
absl::Status WriteLogits(Session& session, const std::vector<TokenId>& tokens,
                         const std::string& path, const Output& output) {
  const std::unique_ptr<FILE, FileCloser> file(std::fopen(path.c_str(), "wb"));
  if (file == nullptr) return absl::UnavailableError(absl::StrCat("cannot write ", path));
  ProgressLine progress(output.progress(), "logits");
  const std::span<const TokenId> all(tokens);
  for (size_t begin = 0; begin < all.size(); begin += kPositions) {
    if (StopRequested()) return absl::CancelledError("stopped before all logits were written");
    const auto part = all.subspan(begin, std::min(kPositions, all.size() - begin));
    ASSIGN_OR_RETURN(const ConstMatrix logits, session.Decode(part, /*all_positions=*/true));
    const size_t count = static_cast<size_t>(logits.rows * logits.cols);
    if (std::fwrite(logits.data, sizeof(float), count, file.get()) != count) {
      return absl::ResourceExhaustedError(absl::StrCat("cannot write all of ", path));
    }
    progress.Update(begin + part.size(), all.size());
  }
  if (std::fflush(file.get()) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot write all of ", path));
  }
  return absl::OkStatus();
}

absl::Status RunLogits(const LogitsArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  ASSIGN_OR_RETURN(const std::vector<TokenId> tokens, ReadTokensFile(arguments.tokens_file));
  if (tokens.empty()) return absl::InvalidArgumentError("expected at least one token, got none");
  ASSIGN_OR_RETURN(const std::unique_ptr<Session> session,
                   engine.MakeSession(static_cast<int>(tokens.size())));
  // Beside the target, so that an interrupted run leaves the old file.
  const std::string temporary = absl::StrCat(arguments.out, ".", getpid(), ".tmp");
  absl::Status status = WriteLogits(*session, tokens, temporary, output);
  std::error_code error;
  if (status.ok()) {
    std::filesystem::rename(temporary, arguments.out, error);
    if (error) {
      status = absl::UnavailableError(
          absl::StrCat("cannot write ", arguments.out, ": ", error.message()));
    }
  }
  if (!status.ok()) {
    std::filesystem::remove(temporary, error);
    return status;
  }
  const int vocabulary = engine.model()->config().vocabulary_size;
  output.Line(absl::StrCat(arguments.out, ": [", tokens.size(), ", ", vocabulary, "] float32"));
  output.SetJson({{"shape", {tokens.size(), vocabulary}}});
  return absl::OkStatus();
}

}  // namespace

void AddLogitsCommand(Program& program) {
  auto arguments = std::make_shared<LogitsArguments>();
  CLI::App* command =
      program.Add("logits", "Logits of every position, [positions, vocabulary] float32",
                  [arguments](Output& output) { return RunLogits(*arguments, output); });
  arguments->engine.AddAll(command);
  command->add_option("--tokens", arguments->tokens_file, "A JSON file with token ids")->required();
  command->add_option("--out", arguments->out, "The file to write")->required();
}

}  // namespace lorikeet
