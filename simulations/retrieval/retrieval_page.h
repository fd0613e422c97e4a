// The retrieval experiment for people: a table as text and a page with plots.
#ifndef LORIKEET_SIMULATIONS_RETRIEVAL_RETRIEVAL_PAGE_H_
#define LORIKEET_SIMULATIONS_RETRIEVAL_RETRIEVAL_PAGE_H_

#include <string>

#include "simulations/retrieval/retrieval_result.h"

namespace lorikeet {

// What was measured, besides the figures.
struct RetrievalSetting {
  std::string set;    // name of the data set
  std::string model;  // file name
  int64_t leaky_texts = 0;
  bool has_questions = false;
  int retrieve_tokens = 0;
  bool best_last = false;
};

std::string RetrievalTable(const RetrievalSummary& summary, const RetrievalSetting& setting);
std::string RetrievalPage(const RetrievalSummary& summary, const RetrievalSetting& setting);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_RETRIEVAL_RETRIEVAL_PAGE_H_
