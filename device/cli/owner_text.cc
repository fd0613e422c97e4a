#include "device/cli/owner_text.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "device/cli/command.h"
#include "device/personalization/incremental.h"
#include "device/policy/consent.h"
#include "device/trainer/data.h"

namespace lorikeet {
namespace {

std::vector<std::string> SplitEntries(std::string_view text) {
  std::vector<std::string> entries;
  std::string entry;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") != std::string_view::npos) {
      if (!entry.empty()) entry.push_back('\n');
      entry.append(line);
    } else if (!entry.empty()) {
      entries.push_back(std::exchange(entry, {}));
    }
  }
  if (!entry.empty()) entries.push_back(std::move(entry));
  return entries;
}

absl::StatusOr<std::vector<std::string>> Texts(std::vector<Document> documents,
                                               const std::string& path) {
  std::vector<std::string> texts;
  for (Document& document : documents) {
    if (!document.messages.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": expected lines with \"text\", found a conversation, which holds two voices"));
    }
    texts.push_back(std::move(document.text));
  }
  return texts;
}

void Append(std::vector<std::string> texts, std::vector<PrivateText>* out) {
  for (std::string& text : texts) out->emplace_back(std::move(text));
}

}  // namespace

absl::StatusOr<TextFile> ReadTextFile(const std::string& path, std::string_view user) {
  TextFile result;
  if (path.ends_with(".txt")) {
    ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    RETURN_IF_ERROR(CheckText(text, path));
    result.documents = SplitEntries(text);
  } else {
    ASSIGN_OR_RETURN(DocumentSet set, ReadDocuments(path, user));
    ASSIGN_OR_RETURN(result.documents, Texts(std::move(set.train), path));
    ASSIGN_OR_RETURN(result.test, Texts(std::move(set.test), path));
  }
  if (result.documents.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": expected text, found none"));
  }
  return result;
}

absl::StatusOr<std::vector<std::string>> ReadPublicTexts(const std::vector<std::string>& paths) {
  std::vector<std::string> documents;
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(TextFile file, ReadTextFile(path));
    for (std::string& text : file.documents) documents.push_back(std::move(text));
  }
  return documents;
}

void OwnerTextOptions::Declare(CLI::App* command) {
  command->add_option("--data", data,
                      "The owner's text: .txt (entries separated by blank lines) or .jsonl");
  command->add_option("--user", user, "Of a samples.jsonl only this user's lines");
  vault.Declare(command, /*required=*/false);
}

absl::StatusOr<OwnerText> ReadOwnerText(const OwnerTextOptions& options) {
  if (options.data.empty() == options.vault.dir.empty()) {
    return UsageError("expected exactly one of --data and --vault");
  }
  OwnerText text;
  if (!options.vault.dir.empty()) {
    ASSIGN_OR_RETURN(const auto vault, OpenVault(options.vault, /*create=*/false));
    ASSIGN_OR_RETURN(std::vector<VaultDocument> records, vault->Records(Purpose::kTrain));
    return HoldOutRecords(std::move(records));
  }
  ASSIGN_OR_RETURN(TextFile file, ReadTextFile(options.data, options.user));
  Append(std::move(file.documents), &text.documents);
  Append(std::move(file.test), &text.judge);
  return text;
}

}  // namespace lorikeet
