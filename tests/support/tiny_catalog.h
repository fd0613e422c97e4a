// A catalog of one persona, with axes, in a few kilobytes: for what reads catalogs and needs no
// model.
#ifndef LORIKEET_TESTS_SUPPORT_TINY_CATALOG_H_
#define LORIKEET_TESTS_SUPPORT_TINY_CATALOG_H_

#include <string>
#include <string_view>

#include "common/adapter/catalog.h"

namespace lorikeet {

inline Catalog TinyCatalog() {
  const std::string_view text[] = {"The cat sat on the mat, and the dog slept."};
  Catalog catalog;
  catalog.base_fingerprint = std::string(64, 'a');
  catalog.architecture = "llama";
  catalog.rank = 1;
  catalog.alpha = 1;
  catalog.basis.push_back({.target = {0, Module::kQ},
                           .rank = 1,
                           .in_features = 2,
                           .out_features = 2,
                           .a = {1, 0},
                           .b = {0, 1},
                           .core = {}});
  catalog.background = MakeStyleBackground(text);
  catalog.axes = {.words = {"wet", "dry"},
                  .width = 2,
                  .neutral_mean = {1, 2},
                  .neutral_spread = {1, 1},
                  .directions = {0, 1, 0, -1}};
  catalog.personas.push_back(
      {.id = "cat", .cores = {1}, .card = MakeStyleCard(CountStyle(text), catalog.background)});
  StyleCard& card = catalog.personas.front().card;
  card.explanation = {0.5, 0};
  card.explanation_residual = 0.75;
  card.self_evidence = 1.5;
  card.gain = 0.25;
  return catalog;
}

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_SUPPORT_TINY_CATALOG_H_
