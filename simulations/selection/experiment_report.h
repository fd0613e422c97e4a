// An experiment for people and for programs: lines for a terminal, a self-contained page with
// plots, one JSON document with every number and its intervals.
#ifndef LORIKEET_SIMULATIONS_SELECTION_EXPERIMENT_REPORT_H_
#define LORIKEET_SIMULATIONS_SELECTION_EXPERIMENT_REPORT_H_

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "simulations/selection/experiment.h"

namespace lorikeet {

// What XPerT's authors publish (slides, Llama-3.2-1B, 28 styles, one trial a style), at the
// similarities they give.
std::optional<double> XpertAccuracy(double similarity);
// What Lorikeet means to reach with 20 examples.
std::optional<double> TargetAccuracy(double similarity);

// The number of examples that the tables by similarity are for: 20 if it was tried, else the most.
int HeadlineExamples(const ExperimentOptions& options);

std::vector<std::string> ExperimentLines(const ExperimentOptions& options,
                                         const ExperimentResult& result);
std::string ExperimentPage(const ExperimentOptions& options, const ExperimentResult& result);
nlohmann::json ExperimentJson(const ExperimentOptions& options, const ExperimentResult& result);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_SELECTION_EXPERIMENT_REPORT_H_
