// The baseline that any selection must beat: which words and how many, no model.
//
// Multinomial naive Bayes over the most frequent words, marks and emoji of the seed text (all lower
// case), and a normal distribution of the log length of a document.  It always names a class: it
// knows no "none of them".
#ifndef LORIKEET_SIMULATIONS_SELECTION_WORD_CLASSIFIER_H_
#define LORIKEET_SIMULATIONS_SELECTION_WORD_CLASSIFIER_H_

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

// Lower-case words (with inner apostrophes and digits), and every other run of equal visible
// characters as a word of its own.
std::vector<std::string> ClassifierWords(std::string_view text);

class WordClassifier {
 public:
  // classes[k]: documents of class k.  REQUIRES: at least one class.
  static WordClassifier Train(std::span<const std::vector<std::string>> classes,
                              size_t vocabulary_size = 2000);

  // Log likelihood of the documents under each class, nats; [classes].
  std::vector<double> Scores(std::span<const std::string_view> documents) const;
  // The most likely class; the first of equals.
  int Classify(std::span<const std::string_view> documents) const;

 private:
  struct Class {
    std::vector<double> log_share;  // [vocabulary]
    double length_mean = 0;         // of log2(1 + words)
    double length_spread = 1;
  };
  std::map<std::string, size_t, std::less<>> vocabulary_;
  std::vector<Class> classes_;
};

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_SELECTION_WORD_CLASSIFIER_H_
