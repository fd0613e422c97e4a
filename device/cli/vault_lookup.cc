#include "device/cli/vault_lookup.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/log.h"
#include "common/base/plain_text.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

// About a million tokens: a second of work, 16 MiB of index for drafts and as much for copies.
constexpr size_t kMostBytes = size_t{4} << 20;

}  // namespace

void VaultLookupOptions::Declare(CLI::App* command) {
  vault.Declare(command, /*required=*/false);
  command
      ->add_option("--retrieve-tokens", retrieve.max_tokens,
                   "With --vault: tokens of passages before the prompt at most; 0: none")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--vault-copy", copy,
                   "With --vault: how much what followed the same words in the vault counts for "
                   "the next token, 0 (not at all) to 2; 1 is what was measured best")
      ->check(CLI::Range(0.0, 2.0))
      ->capture_default_str();
  command->add_flag("--show-passages", show_passages,
                    "Which passages of the vault were used: on stderr, or their text in the JSON");
}

absl::StatusOr<std::unique_ptr<VaultLookup>> VaultLookup::Open(const VaultLookupOptions& options,
                                                               const Tokenizer& tokenizer) {
  std::unique_ptr<VaultLookup> lookup;
  if (options.vault.dir.empty()) return lookup;
  ASSIGN_OR_RETURN(const auto vault, OpenVault(options.vault, /*create=*/false));
  lookup.reset(new VaultLookup(options, tokenizer));
  ASSIGN_OR_RETURN(lookup->passages_, PassageIndex::OfVault(*vault));
  if (lookup->passages_->left_out_bytes() > 0) {
    LogWarning(
        absl::StrFormat("the vault: passages come from the newest %d bytes only, %d older "
                        "ones are left out",
                        lookup->passages_->text_bytes(), lookup->passages_->left_out_bytes()));
  }
  RETURN_IF_ERROR(lookup->IndexTokens(*vault));
  return lookup;
}

absl::Status VaultLookup::IndexTokens(const Vault& vault) {
  ASSIGN_OR_RETURN(const std::vector<PrivateText> documents, vault.Documents(Purpose::kRetrieve));
  size_t first = documents.size();
  for (size_t bytes = 0; first > 0; --first) {
    bytes += documents[first - 1].size_bytes();
    if (bytes > kMostBytes) break;
  }
  const TextAccess access("lookup: n-grams of the owner's texts, for the owner's own generation");
  for (size_t i = first; i < documents.size(); ++i) {
    const std::vector<TokenId> tokens = tokenizer_.Encode(documents[i].Open(access), {});
    drafts_.Append(tokens);
    drafts_.EndText();
    copies_.AddText(tokens);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ChosenPassage>> VaultLookup::Passages(std::string_view query,
                                                                 int context, int taken) {
  RetrieveOptions options = options_.retrieve;
  options.max_tokens = std::min(options.max_tokens, std::max(0, (context - taken) / 2));
  return ChoosePassages(*passages_, tokenizer_, query, options);
}

void VaultLookup::Attach(GenerateOptions* options) const {
  options->lookup.texts = &drafts_;
  if (options_.copy == 0) return;
  CopyWeights weights = kCopyWeights;
  for (double& weight : weights) weight *= options_.copy;
  options->adjust_logits = [this, weights](std::span<const TokenId> text, std::span<float> logits) {
    copies_.Mix(text, weights, logits);
  };
}

void VaultLookup::Show(std::span<const ChosenPassage> passages) const {
  if (!options_.show_passages) return;
  std::string lines = absl::StrFormat("[%d passage%s of the vault]\n", passages.size(),
                                      passages.size() == 1 ? "" : "s");
  for (const ChosenPassage& passage : passages) {
    absl::StrAppendFormat(&lines, "[record %d, score %.2f, %d tokens] %s\n", passage.record,
                          passage.score, passage.tokens, ToAbsl(passage.text));
  }
  std::fputs(Printable(lines).c_str(), stderr);
}

nlohmann::json VaultLookup::Json(std::span<const ChosenPassage> passages) const {
  nlohmann::json list = nlohmann::json::array();
  for (const ChosenPassage& passage : passages) {
    list.push_back(
        {{"record", passage.record}, {"score", passage.score}, {"tokens", passage.tokens}});
    if (options_.show_passages) list.back()["text"] = std::string(passage.text);
  }
  return list;
}

}  // namespace lorikeet
