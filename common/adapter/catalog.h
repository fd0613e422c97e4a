// Catalogs: the personas of one base model.  All personas share the frozen factors A and B (the
// basis); each has its own cores R and a style card.  dW = alpha / rank * B R A.
//
// One GGUF file, general.type="catalog", general.architecture of the base, and
//   lorikeet.catalog.format (u32, 1; 2 with axes) · lorikeet.base_fingerprint (hex) ·
//   lorikeet.version (u64) · lorikeet.catalog.rank (u32) · lorikeet.catalog.alpha (f32) ·
//   lorikeet.catalog.personas (strings) · lorikeet.catalog.background (JSON) ·
//   lorikeet.catalog.cards (strings, JSON, in order of personas); format 2: lorikeet.catalog.axes
//   (strings, the words of explanations)
// tensors <weight>.basis_a (ne = [in, rank]), <weight>.basis_b (ne = [rank, out]) and
// persona.<id>.core (ne = [rank * rank, matrices]); format 2: explanation.neutral (ne = [C, 2]:
// mean and spread) and explanation.directions (ne = [C, words]); all F32.  The same catalog gives
// the same bytes.
#ifndef LORIKEET_COMMON_ADAPTER_CATALOG_H_
#define LORIKEET_COMMON_ADAPTER_CATALOG_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"
#include "common/adapter/explanation.h"
#include "common/adapter/style_card.h"
#include "common/gguf/reader.h"

namespace lorikeet {

struct Persona {
  std::string id;            // [a-z0-9_-]{1,32}; "base" and "blend" are reserved
  std::vector<float> cores;  // matrices in basis order, rank * rank each, row-major
  StyleCard card;
};

struct Catalog {
  std::string base_fingerprint;  // 64 hex digits
  std::string architecture;
  uint64_t version = 1;
  int rank = 0;     // of every matrix
  float alpha = 0;  // > 0
  std::vector<AdapterMatrix>
      basis;  // sorted by target; A rows and B columns orthonormal; core empty
  StyleBackground background;
  ExplanationAxes axes;  // may be empty: nothing is explained from hidden states then
  std::vector<Persona> personas;

  // Numbers in one persona's cores: the length of a federated update's block.
  int64_t block_size() const { return static_cast<int64_t>(basis.size()) * rank * rank; }
  // -1 if there is none.
  int FindPersona(std::string_view id) const;
};

// OK if all sizes agree, all values are finite, ids are well-formed and unique, the basis is sorted
// and orthonormal (to 1e-3), the fingerprint is 64 hex digits.  INVALID_ARGUMENT says what was
// expected and what came.
absl::Status CheckCatalog(const Catalog& catalog);

// Errors as CheckCatalog, and INVALID_ARGUMENT for a GGUF file that is not a catalog.
absl::StatusOr<Catalog> ReadCatalog(const std::string& path);
absl::StatusOr<Catalog> ReadCatalog(const GgufFile& file);
absl::StatusOr<Catalog> ParseCatalog(std::string_view bytes);
// REQUIRES: CheckCatalog(catalog).ok().  Deterministic.
std::string SerializeCatalog(const Catalog& catalog);
absl::Status WriteCatalog(const Catalog& catalog, const std::string& path);
// BLAKE2b-256 of SerializeCatalog, hex.
std::string CatalogHash(const Catalog& catalog);

// One persona as an adapter of kind core (info.version = the catalog's, parent = `catalog_hash`).
// REQUIRES: 0 <= index < personas.size().
Adapter PersonaAdapter(const Catalog& catalog, int index, std::string_view catalog_hash = {});

struct PersonaWeight {
  int index = 0;
  float weight = 1;
};
// The weighted sum of cores; persona_id "a+b".  REQUIRES: valid indices.
Adapter BlendAdapter(const Catalog& catalog, std::span<const PersonaWeight> weights,
                     std::string_view catalog_hash = {});

// personas[index].cores += delta.  INVALID_ARGUMENT: wrong index, wrong length, non-finite.
absl::Status AddToPersona(Catalog* catalog, int index, std::span<const float> delta);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_ADAPTER_CATALOG_H_
