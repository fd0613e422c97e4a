#include "simulations/selection/loss_cache.h"

#include <algorithm>

#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

template <typename T>
void AppendBytes(const T* values, size_t count, std::string* key) {
  key->append(reinterpret_cast<const char*>(values), count * sizeof(T));
}

// Of the large factors, which all personas of a catalog share, so many numbers tell one catalog's
// from another's.
constexpr size_t kFactorSample = 4;

// Cores in full; a bare LoRA has none, and its factors count in full.
std::string KeyOf(const LossCandidate& candidate) {
  std::string key;
  for (const AdapterRef& part : candidate) {
    AppendBytes(&part.scale, 1, &key);
    AppendBytes(&part.adapter->info.alpha, 1, &key);
    for (const AdapterMatrix& matrix : part.adapter->matrices) {
      const int target[] = {matrix.target.layer_index, static_cast<int>(matrix.target.module)};
      AppendBytes(target, 2, &key);
      for (const std::vector<float>* factor : {&matrix.a, &matrix.b}) {
        AppendBytes(factor->data(),
                    matrix.core.empty() ? factor->size() : std::min(factor->size(), kFactorSample),
                    &key);
      }
      AppendBytes(matrix.core.data(), matrix.core.size(), &key);
    }
  }
  return key;
}

std::string KeyOf(const Sequence& document) {
  std::string key;
  AppendBytes(document.tokens.data(), document.tokens.size(), &key);
  key.push_back('|');
  AppendBytes(document.loss_mask.data(), document.loss_mask.size(), &key);
  return key;
}

}  // namespace

uint32_t LossCache::Intern(std::string key, absl::flat_hash_map<std::string, uint32_t>* ids) {
  return ids->try_emplace(std::move(key), static_cast<uint32_t>(ids->size())).first->second;
}

absl::Status LossCache::Fill(const Missing& missing, std::span<const LossCandidate> candidates,
                             std::span<const Sequence> documents,
                             std::span<const uint32_t> candidate_ids,
                             std::span<const uint32_t> document_ids) {
  for (const auto& [which, where] : missing) {
    std::vector<LossCandidate> some_candidates;
    for (size_t c : which) some_candidates.push_back(candidates[c]);
    std::vector<Sequence> some_documents;
    for (size_t d : where) some_documents.push_back(documents[d]);
    ASSIGN_OR_RETURN(const auto losses, source_->Measure(some_candidates, some_documents));
    for (size_t i = 0; i < which.size(); ++i) {
      for (size_t j = 0; j < where.size(); ++j) {
        losses_[{candidate_ids[which[i]], document_ids[where[j]]}] = losses[i][j];
      }
    }
    measured_ += static_cast<int64_t>(which.size() * where.size());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::vector<DocumentLoss>>> LossCache::Measure(
    std::span<const LossCandidate> candidates, std::span<const Sequence> documents) {
  std::vector<uint32_t> candidate_ids, document_ids;
  for (const LossCandidate& candidate : candidates) {
    candidate_ids.push_back(Intern(KeyOf(candidate), &candidate_ids_));
  }
  for (const Sequence& document : documents) {
    document_ids.push_back(Intern(KeyOf(document), &document_ids_));
  }
  Missing missing;  // documents by the candidates that lack them
  for (size_t d = 0; d < documents.size(); ++d) {
    std::vector<size_t> lacking;
    for (size_t c = 0; c < candidates.size(); ++c) {
      if (!losses_.contains({candidate_ids[c], document_ids[d]})) lacking.push_back(c);
    }
    if (!lacking.empty()) missing[std::move(lacking)].push_back(d);
  }
  asked_ += static_cast<int64_t>(candidates.size() * documents.size());
  RETURN_IF_ERROR(Fill(missing, candidates, documents, candidate_ids, document_ids));
  std::vector<std::vector<DocumentLoss>> losses(candidates.size());
  for (size_t c = 0; c < candidates.size(); ++c) {
    for (uint32_t document : document_ids) {
      losses[c].push_back(losses_.at({candidate_ids[c], document}));
    }
  }
  return losses;
}

}  // namespace lorikeet
