#include "simulations/selection/selection_texts.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "device/personalization/private_documents.h"
#include "device/trainer/user_samples.h"
#include "simulations/selection/styles.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMinDocumentBytes = 8;
constexpr size_t kMaxStrangers = 12;  // users

struct User {
  std::string name;
  std::vector<std::string> train, test;
  size_t train_bytes = 0;
};

void AddPieces(std::string_view text, size_t max_bytes, std::vector<std::string>* documents) {
  for (std::string_view piece : CutText(text, max_bytes)) {
    if (piece.size() >= kMinDocumentBytes) documents->emplace_back(piece);
  }
}

// `count` documents, evenly spread, in order.
std::vector<std::string> Spread(const std::vector<std::string>& documents, int count) {
  const auto want = static_cast<size_t>(std::max(0, count));
  if (documents.size() <= want) return documents;
  std::vector<std::string> kept;
  for (size_t i = 0; i < want; ++i) kept.push_back(documents[i * documents.size() / want]);
  return kept;
}

absl::StatusOr<std::vector<std::string>> ReadEntries(const std::string& path, size_t max_bytes) {
  ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  std::vector<std::string> entries;
  for (const absl::string_view entry : absl::StrSplit(content, "\n\n")) {
    const absl::string_view text = absl::StripAsciiWhitespace(entry);
    AddPieces({text.data(), text.size()}, max_bytes, &entries);
  }
  if (entries.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": expected text, found none"));
  }
  return entries;
}

// Users of a samples.jsonl, most training text first.
absl::StatusOr<std::vector<User>> ReadUsers(const std::string& path,
                                            const SelectionTextOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<UserSamples> samples, ReadUserSamples(path));
  std::vector<User> users;
  for (const UserSamples& sample : samples) {
    User& user = users.emplace_back();
    user.name = sample.user;
    for (const std::string& text : sample.train) {
      AddPieces(text, options.max_document_bytes, &user.train);
      user.train_bytes += text.size();
    }
    for (const std::string& text : sample.test) {
      AddPieces(text, options.max_document_bytes, &user.test);
    }
    if (!options.other_work) continue;
    for (const std::string& text : sample.other_work) {
      AddPieces(text, options.max_document_bytes, &user.test);
    }
  }
  std::ranges::stable_sort(users, std::greater<>(), &User::train_bytes);
  return users;
}

absl::Status AddDemoStrangers(const SelectionTextOptions& options, SelectionTexts* texts) {
  std::error_code error;
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(options.demo + "/people", error)) {
    if (entry.path().extension() == ".txt") paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  for (const fs::path& path : paths) {
    ASSIGN_OR_RETURN(auto documents, ReadEntries(path.string(), options.max_document_bytes));
    texts->strangers.push_back({.kind = "another set",
                                .name = path.stem().string(),
                                .documents = Spread(documents, options.held_out_documents)});
  }
  return absl::OkStatus();
}

absl::Status AddStrangers(const SelectionTextOptions& options, SelectionTexts* texts) {
  texts->strangers.push_back(
      {.kind = "neutral", .name = "neutral", .documents = texts->neutral_owner});
  if (options.strangers.empty()) return AddDemoStrangers(options, texts);
  ASSIGN_OR_RETURN(const std::vector<User> users, ReadUsers(options.strangers, options));
  for (const User& user : users) {
    if (texts->strangers.size() > kMaxStrangers) break;
    if (user.test.empty()) continue;
    texts->strangers.push_back({.kind = "another set",
                                .name = user.name,
                                .documents = Spread(user.test, options.held_out_documents)});
  }
  return absl::OkStatus();
}

SelectionTexts WriteSynthetic(const SelectionTextOptions& options) {
  SelectionTexts texts;
  std::vector<SyntheticStyle> styles = SyntheticStyles();
  styles.resize(std::min(styles.size(), static_cast<size_t>(options.personas)));
  texts.name = absl::StrCat(styles.size(), " synthetic styles");
  // Seed and held-out text come from two streams of the same writer.
  for (const SyntheticStyle& style : styles) {
    texts.personas.push_back(
        {.id = style.id,
         .seed = WriteDocuments(style, options.seed_documents, 2 * options.seed),
         .held_out = WriteDocuments(style, options.held_out_documents, 2 * options.seed + 1)});
  }
  texts.neutral_seed = WriteDocuments(NeutralStyle(), options.neutral_documents, 2 * options.seed);
  texts.neutral_owner =
      WriteDocuments(NeutralStyle(), options.neutral_documents, 2 * options.seed + 1);
  return texts;
}

absl::Status ReadNeutral(const std::string& path, const SelectionTextOptions& options,
                         SelectionTexts* texts) {
  ASSIGN_OR_RETURN(const auto entries, ReadEntries(path, options.max_document_bytes));
  texts->neutral_seed.clear();
  texts->neutral_owner.clear();
  const auto kept = Spread(entries, 2 * options.neutral_documents);
  for (size_t i = 0; i < kept.size(); ++i) {
    (i % 2 == 0 ? texts->neutral_seed : texts->neutral_owner).push_back(kept[i]);
  }
  if (texts->neutral_owner.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected at least two entries of neutral text, found one"));
  }
  return absl::OkStatus();
}

absl::StatusOr<SelectionTexts> ReadPeopleTexts(const SelectionTextOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<User> users, ReadUsers(options.data, options));
  const auto wanted = static_cast<size_t>(options.personas);
  if (users.size() < wanted) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: expected at least %d users, found %d",
                                                      options.data, wanted, users.size()));
  }
  SelectionTexts texts;
  texts.name = absl::StrFormat("the %d largest users of %s", wanted,
                               fs::path(options.data).parent_path().filename().string());
  for (size_t i = 0; i < wanted; ++i) {
    const User& user = users[i];
    if (user.test.empty() || user.train.empty()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: user %s: expected train and test lines, found %d and %d",
                          options.data, user.name, user.train.size(), user.test.size()));
    }
    std::string id = PersonaIdOf(user.name);
    if (std::ranges::find(texts.personas, id, &PersonaText::id) != texts.personas.end()) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: expected users whose names differ as ids, found %s twice", options.data, id));
    }
    texts.personas.push_back({.id = std::move(id),
                              .seed = Spread(user.train, options.seed_documents),
                              .held_out = Spread(user.test, options.held_out_documents)});
  }
  for (size_t i = wanted; i < users.size() && i < wanted + kMaxStrangers; ++i) {
    if (users[i].test.empty()) continue;
    texts.strangers.push_back({.kind = "other people of the set",
                               .name = users[i].name,
                               .documents = Spread(users[i].test, options.held_out_documents)});
  }
  return texts;
}

}  // namespace

std::string PersonaIdOf(const std::string& user) {
  std::string id;
  for (char c : user) {
    const auto byte = static_cast<unsigned char>(c);
    id += std::isalnum(byte) != 0 && byte < 0x80 ? static_cast<char>(std::tolower(byte)) : '-';
  }
  if (id.size() > 32) id = id.substr(id.size() - 32);  // ends differ more: "macbeth/BANQUO"
  return id.empty() ? "-" : id;
}

absl::StatusOr<SelectionTexts> ReadSelectionTexts(const SelectionTextOptions& options) {
  SelectionTexts texts;
  std::string neutral = options.neutral;
  if (options.data.empty()) {
    texts = WriteSynthetic(options);
  } else {
    ASSIGN_OR_RETURN(texts, ReadPeopleTexts(options));
    if (neutral.empty()) neutral = options.demo + "/public.txt";
  }
  if (!neutral.empty()) RETURN_IF_ERROR(ReadNeutral(neutral, options, &texts));
  RETURN_IF_ERROR(AddStrangers(options, &texts));
  return texts;
}

}  // namespace lorikeet
