// What `--vault` does for a command that generates text: passages before the prompt, the owner's
// words mixed into what comes next, and tokens to draft from (device/retrieval, lookup_decoder.h).
//
// Everything is made once, when the command begins, and lives in memory only.
#ifndef LORIKEET_DEVICE_CLI_VAULT_LOOKUP_H_
#define LORIKEET_DEVICE_CLI_VAULT_LOOKUP_H_

#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tokenizer/tokenizer.h"
#include "device/cli/vault_options.h"
#include "device/retrieval/copy_mixture.h"
#include "device/retrieval/passages.h"
#include "device/runtime/generate.h"
#include "device/runtime/lookup_index.h"

namespace lorikeet {

struct VaultLookupOptions {
  VaultOptions vault;
  RetrieveOptions retrieve;
  double copy = 1;  // of kCopyWeights; 0: off
  bool show_passages = false;

  // --vault and what belongs to it.
  void Declare(CLI::App* command);
};

// Borrows the tokenizer.
class VaultLookup {
 public:
  // Null where no vault is named.  Errors of the vault.
  static absl::StatusOr<std::unique_ptr<VaultLookup>> Open(const VaultLookupOptions& options,
                                                           const Tokenizer& tokenizer);

  // For a question or prompt, of sources that allow retrieval, where `context` positions hold
  // `taken` tokens already: at most half of the rest.  Views are valid as long as this.
  absl::StatusOr<std::vector<ChosenPassage>> Passages(std::string_view query, int context,
                                                      int taken);
  // Makes `options` mix and draft from the vault.  Borrows this.
  void Attach(GenerateOptions* options) const;
  // Lines on stderr, if asked for.
  void Show(std::span<const ChosenPassage> passages) const;
  // For JSON: record ids, scores and token counts; texts only if asked for.
  nlohmann::json Json(std::span<const ChosenPassage> passages) const;

 private:
  VaultLookup(const VaultLookupOptions& options, const Tokenizer& tokenizer)
      : options_(options), tokenizer_(tokenizer) {}
  // The newest 4 MiB of texts.
  absl::Status IndexTokens(const Vault& vault);

  VaultLookupOptions options_;
  const Tokenizer& tokenizer_;
  std::unique_ptr<PassageIndex> passages_;
  LookupIndex drafts_;
  CopyMixture copies_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_VAULT_LOOKUP_H_
