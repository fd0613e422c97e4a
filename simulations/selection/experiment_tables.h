// The tables of an experiment, as words: the terminal and the page show the same.
#ifndef LORIKEET_SIMULATIONS_SELECTION_EXPERIMENT_TABLES_H_
#define LORIKEET_SIMULATIONS_SELECTION_EXPERIMENT_TABLES_H_

#include <string>
#include <vector>

#include "simulations/selection/experiment.h"

namespace lorikeet {

struct TextTable {
  std::string title;
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
};

double ShareOf(const Cluster& cluster);
std::string PercentText(double share);
// "93.2 % (91.0-95.1)", with Wilson's interval.
std::string ShareText(const Cluster& cluster);

TextTable SimilarityTable(const ExperimentOptions& options, const ExperimentResult& result);
TextTable ExamplesTable(const ExperimentOptions& options, const ExperimentResult& result);
// `must_name`: what counts is the likeliest persona, else what was chosen.
TextTable AgainstWordsTable(const ExperimentOptions& options, const ExperimentResult& result,
                            bool must_name);
TextTable StrangersTable(const ExperimentResult& result);
TextTable ReliabilityTable(const ExperimentResult& result);
TextTable CostTable(const ExperimentResult& result);

// Columns aligned.
std::vector<std::string> TableLines(const TextTable& table);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_SELECTION_EXPERIMENT_TABLES_H_
