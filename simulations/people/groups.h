// Users in groups of like habits: each group's text seeds one persona.
#ifndef LORIKEET_SIMULATIONS_PEOPLE_GROUPS_H_
#define LORIKEET_SIMULATIONS_PEOPLE_GROUPS_H_

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "simulations/people/texts.h"
#include "simulations/selection/persona_catalog.h"

namespace lorikeet {

// Simple habits of writing: words a text, characters a word, and how often, a hundred words, there
// are "!", "?", ",", "'", the word "I", old forms (thou, thee, thy) and texts that begin in lower
// case; square roots, which keep rare and frequent comparable.
using Habits = std::array<double, 9>;
Habits HabitsOf(std::span<const std::string> texts);

// k-means on standardized habits, started from users far from each other.  The group of each user,
// in [0, groups); some groups may be empty.  Deterministic.  REQUIRES: users; groups >= 1.
std::vector<int> GroupUsers(std::span<const UserText> users, int groups, uint64_t seed);

// Seeds of about `seed_bytes` from train lines, the members of a group in turn; ids group0, group1,
// ...  Where users have that much text on average, each of the first `personas` users is a group of
// one, named after the user.  Groups of less than a quarter of `seed_bytes` are left out.
std::vector<PersonaSeed> SeedsFromUsers(std::span<const UserText> users, int personas,
                                        size_t seed_bytes, uint64_t seed);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_PEOPLE_GROUPS_H_
