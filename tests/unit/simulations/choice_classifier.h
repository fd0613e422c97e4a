// Guesses one of two choices from numbers that somebody saw, and how likely a coin guesses so well.
#ifndef LORIKEET_TESTS_UNIT_SIMULATIONS_CHOICE_CLASSIFIER_H_
#define LORIKEET_TESTS_UNIT_SIMULATIONS_CHOICE_CLASSIFIER_H_

#include <cstdint>
#include <vector>

namespace lorikeet {

struct ChoiceSample {
  std::vector<double> features;
  int choice = 0;
};

// Nearest mean after every feature was brought to deviation 1, learned from the first half of the
// samples; how many of the second half it gets right.
int64_t RightGuesses(const std::vector<ChoiceSample>& samples);

// How likely a coin does so well, or so badly.
double ChanceOf(const std::vector<ChoiceSample>& samples);

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_UNIT_SIMULATIONS_CHOICE_CLASSIFIER_H_
