#include "simulations/people/groups.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"

namespace lorikeet {
namespace {

constexpr int kRounds = 30;

bool IsLetter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }

double Distance(const Habits& a, const Habits& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

// Mean 0 and deviation 1 in every habit.
void Standardize(std::vector<Habits>* points) {
  const double count = static_cast<double>(points->size());
  for (size_t i = 0; i < Habits{}.size(); ++i) {
    double mean = 0, squares = 0;
    for (const Habits& point : *points) mean += point[i] / count;
    for (const Habits& point : *points) squares += (point[i] - mean) * (point[i] - mean) / count;
    const double scale = squares > 0 ? 1 / std::sqrt(squares) : 1;
    for (Habits& point : *points) point[i] = (point[i] - mean) * scale;
  }
}

size_t Nearest(const std::vector<Habits>& centers, const Habits& point) {
  size_t best = 0;
  for (size_t i = 1; i < centers.size(); ++i) {
    if (Distance(centers[i], point) < Distance(centers[best], point)) best = i;
  }
  return best;
}

// A random point, then always the one furthest from all before.
std::vector<Habits> FirstCenters(const std::vector<Habits>& points, int count, uint64_t seed) {
  Rng rng(seed);
  std::vector<Habits> centers = {points[rng.Below(points.size())]};
  while (static_cast<int>(centers.size()) < count) {
    const auto far =
        std::max_element(points.begin(), points.end(), [&](const auto& a, const auto& b) {
          return Distance(a, centers[Nearest(centers, a)]) <
                 Distance(b, centers[Nearest(centers, b)]);
        });
    centers.push_back(*far);
  }
  return centers;
}

void MoveCenters(const std::vector<Habits>& points, const std::vector<int>& groups,
                 std::vector<Habits>* centers) {
  for (size_t center = 0; center < centers->size(); ++center) {
    Habits sum = {};
    int members = 0;
    for (size_t i = 0; i < points.size(); ++i) {
      if (groups[i] != static_cast<int>(center)) continue;
      for (size_t k = 0; k < sum.size(); ++k) sum[k] += points[i][k];
      ++members;
    }
    if (members == 0) continue;
    for (double& value : sum) value /= members;
    (*centers)[center] = sum;
  }
}

// Texts of the users in turn until there are `max_bytes`.
std::vector<std::string> TakeInTurn(const std::vector<const UserText*>& users, size_t max_bytes) {
  std::vector<std::string> taken;
  size_t bytes = 0;
  bool more = true;
  for (size_t round = 0; more && bytes < max_bytes; ++round) {
    more = false;
    for (const UserText* user : users) {
      if (round >= user->train.size() || bytes >= max_bytes) continue;
      bytes += user->train[round].size();
      taken.push_back(user->train[round]);
      more = true;
    }
  }
  return taken;
}

}  // namespace

Habits HabitsOf(std::span<const std::string> texts) {
  double words = 0, characters = 0, lower = 0;
  double exclamations = 0, questions = 0, commas = 0, apostrophes = 0, first_person = 0, old = 0;
  for (const std::string& text : texts) {
    const auto first = std::find_if(text.begin(), text.end(), IsLetter);
    if (first != text.end() && std::islower(static_cast<unsigned char>(*first)) != 0) ++lower;
    std::string word;
    for (const char c : text + " ") {
      ++characters;
      exclamations += c == '!';
      questions += c == '?';
      commas += c == ',';
      apostrophes += c == '\'';
      if (IsLetter(c)) {
        word.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
        continue;
      }
      words += c == ' ' || c == '\n';
      first_person += word == "i";
      old += word == "thou" || word == "thee" || word == "thy";
      word.clear();
    }
  }
  const double count = static_cast<double>(std::max<size_t>(1, texts.size()));
  const auto rate = [&](double hits) { return std::sqrt(100 * hits / std::max(1.0, words)); };
  return {std::sqrt(words / count),
          characters / std::max(1.0, words),
          rate(exclamations),
          rate(questions),
          rate(commas),
          rate(apostrophes),
          rate(first_person),
          rate(old),
          std::sqrt(lower / count)};
}

std::vector<int> GroupUsers(std::span<const UserText> users, int groups, uint64_t seed) {
  std::vector<Habits> points;
  for (const UserText& user : users) points.push_back(HabitsOf(user.train));
  Standardize(&points);
  std::vector<Habits> centers = FirstCenters(points, groups, seed);
  std::vector<int> assigned(points.size(), 0);
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < points.size(); ++i) {
      assigned[i] = static_cast<int>(Nearest(centers, points[i]));
    }
    MoveCenters(points, assigned, &centers);
  }
  return assigned;
}

std::vector<PersonaSeed> SeedsFromUsers(std::span<const UserText> users, int personas,
                                        size_t seed_bytes, uint64_t seed) {
  size_t bytes = 0;
  for (const UserText& user : users) bytes += TotalBytes(user.train);
  std::vector<PersonaSeed> seeds;
  if (bytes >= seed_bytes * users.size()) {
    for (const UserText& user : users) {
      if (static_cast<int>(seeds.size()) == personas) break;
      seeds.push_back(
          {.id = PersonaIdOf(user.user), .documents = TakeEvenly(user.train, seed_bytes)});
    }
    return seeds;
  }
  const std::vector<int> groups = GroupUsers(users, personas, seed);
  for (int group = 0; group < personas; ++group) {
    std::vector<const UserText*> members;
    for (size_t i = 0; i < users.size(); ++i) {
      if (groups[i] == group) members.push_back(&users[i]);
    }
    std::vector<std::string> documents = TakeInTurn(members, seed_bytes);
    if (TotalBytes(documents) < seed_bytes / 4) continue;
    seeds.push_back({.id = absl::StrCat("group", group), .documents = std::move(documents)});
  }
  return seeds;
}

}  // namespace lorikeet
