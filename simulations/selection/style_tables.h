// The words that styles.h writes with: topics of everyday life, and what register and tone do to a
// sentence.  Everything here was written for this project.
//
// Lists are separated by '|'.  In a phrase '#' stands for a random digit.
#ifndef LORIKEET_SIMULATIONS_SELECTION_STYLE_TABLES_H_
#define LORIKEET_SIMULATIONS_SELECTION_STYLE_TABLES_H_

#include <span>
#include <string_view>

namespace lorikeet {

// What may be written about.  Verbs are "past/base"; all of them go with all of the things.
struct TopicTable {
  std::string_view things;
  std::string_view verbs;
  std::string_view places;
  std::string_view states;  // "was late": said of a thing
};
std::span<const TopicTable> StyleTopics();

// Words of all topics.
struct GrammarTable {
  std::string_view people;    // with a verb in the past: "my sister"
  std::string_view times;     // "on Tuesday"
  std::string_view reasons;   // clauses after "because"
  std::string_view troubles;  // clauses after "but"
  std::string_view thoughts;  // short sentences of their own
};
const GrammarTable& StyleGrammar();

// "plain>formal>informal": phrases that a register says differently.
std::span<const std::string_view> RegisterWords();

// What one tone does.  Openers go before a sentence, closers after it; a closer that begins with
// '.' is a sentence of its own.
struct ToneTable {
  std::string_view name;
  std::string_view formal_openers, informal_openers;
  std::string_view formal_closers, informal_closers;
  std::string_view inserts;  // adverbs, before the verb
  std::string_view words;    // "plain>toned"
  std::string_view emoji;    // informal writers only
  double exclaim = 0;        // shares of sentences that end so
  double ask = 0;
  double trail = 0;  // "..."
};
std::span<const ToneTable> StyleTones();

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_SELECTION_STYLE_TABLES_H_
