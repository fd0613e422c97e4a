// Whose text: --data FILE [--user NAME] or --vault DIR, and public text files.
#ifndef LORIKEET_DEVICE_CLI_OWNER_TEXT_H_
#define LORIKEET_DEVICE_CLI_OWNER_TEXT_H_

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "device/cli/vault_options.h"
#include "device/personalization/private_documents.h"

namespace lorikeet {

// Documents of one text file.  .txt: entries separated by blank lines; .jsonl: lines with "text"
// (samples.jsonl: only `user`'s, "test" lines apart).  Errors as ReadDocuments
// (device/trainer/data.h); conversations ("messages") are refused: they hold two voices.
struct TextFile {
  std::vector<std::string> documents;
  std::vector<std::string> test;
};
absl::StatusOr<TextFile> ReadTextFile(const std::string& path, std::string_view user = {});

// The documents of several public files together.
absl::StatusOr<std::vector<std::string>> ReadPublicTexts(const std::vector<std::string>& paths);

struct OwnerTextOptions {
  std::string data;
  std::string user;
  VaultOptions vault;

  void Declare(CLI::App* command);
};

// Exactly one of --data and --vault; a usage error otherwise.  From a vault only sources that allow
// training.
absl::StatusOr<OwnerText> ReadOwnerText(const OwnerTextOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_OWNER_TEXT_H_
