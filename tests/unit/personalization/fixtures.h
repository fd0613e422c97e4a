// A tiny random model, two kinds of writers and a catalog of them.
#ifndef LORIKEET_TESTS_UNIT_PERSONALIZATION_FIXTURES_H_
#define LORIKEET_TESTS_UNIT_PERSONALIZATION_FIXTURES_H_

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/personalization/catalog_builder.h"
#include "device/vault/private_text.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {

inline std::shared_ptr<const Model> LoadTinyModel() {
  static const auto* const model =
      new std::shared_ptr<const Model>(Model::Load(WriteTinyModel()).value());
  return *model;
}

inline ThreadPool* TestPool() {
  static auto* const pool = new ThreadPool(1);
  return pool;
}

// Digit `slot` of `number` in base three, as a word: 81 numbers give 81 choices of four words.
inline std::string WordOf(int number, int slot, const std::array<const char*, 3>& words) {
  for (int i = 0; i < slot; ++i) number /= 3;
  return words[static_cast<size_t>(number % 3)];
}

// Two voices that share no habit: shouting lists of few words, and quiet dotted lines.  All texts
// of a voice differ (up to 81): copies are left out of what is learned.
inline std::vector<std::string> ShoutingTexts(int count) {
  constexpr std::array<const char*, 3> kWords = {"ZAP", "WOW", "OH"};
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) {
    texts.push_back("ZAP! " + WordOf(i, 0, kWords) + "! ZAP " + WordOf(i, 1, kWords) + "! OH " +
                    WordOf(i, 2, kWords) + "! " + WordOf(i, 3, kWords) + "!");
  }
  return texts;
}

inline std::vector<std::string> QuietTexts(int count) {
  constexpr std::array<const char*, 3> kWords = {"nine", "one", "minus"};
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) {
    texts.push_back("nine minus " + WordOf(i, 0, kWords) + "; one, " + WordOf(i, 1, kWords) + ", " +
                    WordOf(i, 2, kWords) + ", minus one; nine, " + WordOf(i, 3, kWords) + ".");
  }
  return texts;
}

inline std::vector<std::string> PlainTexts() {
  std::vector<std::string> texts;
  for (int i = 0; i < 6; ++i) {
    texts.push_back(
        "The road runs past the mill and the old bridge. It is long, and few go there.");
    texts.push_back("She bought bread in town, and he read the paper by the window until noon.");
  }
  return texts;
}

inline std::vector<PrivateText> Private(const std::vector<std::string>& texts) {
  std::vector<PrivateText> result;
  for (const std::string& text : texts) result.emplace_back(text);
  return result;
}

// Rank 4, no personas.
inline Catalog EmptyCatalog() {
  static const auto* const catalog = [] {
    BasisOptions options;
    options.rank = 4;
    options.alpha = 8;
    options.text.group_count = 3;
    std::vector<std::string> texts = PlainTexts();
    for (const std::string& text : ShoutingTexts(4)) texts.push_back(text);
    for (const std::string& text : QuietTexts(4)) texts.push_back(text);
    return new Catalog(InitCatalog(LoadTinyModel(), TestPool(), texts, options).value());
  }();
  return *catalog;
}

// Personas "quiet" and "shouting".
inline Catalog TwoPersonas() {
  static const auto* const catalog = [] {
    auto* result = new Catalog(EmptyCatalog());
    const SystemClock clock;
    PersonaOptions options;
    options.train = DefaultPersonaTraining();
    options.train.epochs = 4;
    LORIKEET_CHECK(
        TrainPersona(LoadTinyModel(), TestPool(), clock, result, "quiet", QuietTexts(20), options)
            .ok());
    LORIKEET_CHECK(TrainPersona(LoadTinyModel(), TestPool(), clock, result, "shouting",
                                ShoutingTexts(20), options)
                       .ok());
    return result;
  }();
  return *catalog;
}

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_UNIT_PERSONALIZATION_FIXTURES_H_
