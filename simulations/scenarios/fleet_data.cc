#include "simulations/scenarios/fleet_data.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"
#include "device/personalization/catalog_builder.h"
#include "device/trainer/data.h"
#include "device/trainer/user_samples.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

// With fewer people than devices, each device holds this share of its person's entries.
constexpr double kShareOfPerson = 0.6;

absl::StatusOr<std::vector<std::string>> ReadEntries(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  RETURN_IF_ERROR(CheckText(text, path));
  std::vector<std::string> entries = absl::StrSplit(text, "\n\n", absl::SkipWhitespace());
  if (entries.empty()) return absl::InvalidArgumentError(absl::StrCat(path, ": no text"));
  return entries;
}

absl::StatusOr<std::vector<std::string>> TextFiles(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> paths;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".txt") paths.push_back(entry.path().string());
  }
  if (error || paths.empty()) {
    return absl::NotFoundError(absl::StrCat(folder, ": expected a folder with .txt files"));
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

absl::StatusOr<std::vector<Person>> ReadFolder(const std::string& folder) {
  ASSIGN_OR_RETURN(const std::vector<std::string> paths, TextFiles(folder));
  std::vector<Person> people;
  for (const std::string& path : paths) {
    Person& person = people.emplace_back();
    person.name = fs::path(path).stem().string();
    ASSIGN_OR_RETURN(person.entries, ReadEntries(path));
  }
  return people;
}

// Users with train lines.
absl::StatusOr<std::vector<Person>> ReadUsers(const std::string& path) {
  ASSIGN_OR_RETURN(std::vector<UserSamples> users, ReadUserSamples(path));
  std::vector<Person> people;
  for (UserSamples& user : users) {
    if (user.train.empty()) continue;
    people.push_back({.name = std::move(user.user), .entries = std::move(user.train)});
  }
  if (people.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": expected train lines, found none"));
  }
  return people;
}

}  // namespace

absl::StatusOr<std::vector<Person>> ReadPeople(const std::string& path) {
  if (path.ends_with(".jsonl")) return ReadUsers(path);
  const std::string inner = path + "/people";
  return ReadFolder(fs::is_directory(inner) ? inner : path);
}

std::vector<std::string> TextOfDevice(const std::vector<Person>& people, int index, int devices,
                                      uint64_t seed, size_t max_bytes) {
  const Person& person = people[static_cast<size_t>(index) % people.size()];
  const bool shared = people.size() < static_cast<size_t>(devices);
  SeededRandom random(absl::StrCat("text of device ", index), seed);
  Rng rng(random.Uint64());
  std::vector<std::string> entries;
  size_t bytes = 0;
  for (const std::string& entry : person.entries) {
    if (shared && rng.Uniform() >= kShareOfPerson && person.entries.size() > 4) continue;
    if (max_bytes > 0 && bytes + entry.size() > max_bytes && !entries.empty()) continue;
    bytes += entry.size();
    entries.push_back(entry);
  }
  if (entries.empty()) entries.push_back(person.entries.front());
  return entries;
}

absl::StatusOr<Catalog> BuildSeedCatalog(std::shared_ptr<const Model> model,
                                         const SeedCatalogOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<Person> personas, ReadFolder(options.data + "/personas"));
  ASSIGN_OR_RETURN(std::vector<std::string> documents, ReadEntries(options.data + "/public.txt"));
  for (const Person& persona : personas) {
    documents.insert(documents.end(), persona.entries.begin(), persona.entries.end());
  }
  ThreadPool pool(1);  // the result depends on the number of threads
  const ManualClock clock;
  BasisOptions basis;
  basis.rank = options.rank;
  basis.alpha = static_cast<float>(2 * options.rank);
  basis.text.group_count = 4;
  basis.text.max_tokens = 3000;
  ASSIGN_OR_RETURN(Catalog catalog, InitCatalog(model, &pool, documents, basis));
  PersonaOptions training;
  training.train = DefaultPersonaTraining();
  training.train.max_steps = options.steps;
  training.train.eval_every = options.steps;
  for (const Person& persona : personas) {
    RETURN_IF_ERROR(
        TrainPersona(model, &pool, clock, &catalog, persona.name, persona.entries, training)
            .status());
  }
  return catalog;
}

}  // namespace lorikeet
