#include "common/adapter/catalog.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/hash.h"
#include "common/base/plain_text.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/gguf/writer.h"

namespace lorikeet {
namespace {

constexpr uint32_t kFormat = 1, kFormatWithAxes = 2;
constexpr int kMaxRank = 256;
constexpr size_t kMaxPersonas = 4096;
constexpr size_t kMaxIdBytes = 32, kMaxArchitectureBytes = 64;
constexpr std::string_view kSuffixA = ".basis_a", kSuffixB = ".basis_b";
constexpr char kAxesKey[] = "lorikeet.catalog.axes";
constexpr char kNeutralTensor[] = "explanation.neutral";
constexpr char kDirectionsTensor[] = "explanation.directions";

absl::Status Bad(std::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat("catalog: ", ToAbsl(message)));
}

bool AllFinite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
}

bool ValidId(std::string_view id) {
  if (id.empty() || id.size() > kMaxIdBytes || id == "base" || id == "blend") return false;
  return std::ranges::all_of(id, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

absl::Status CheckId(std::string_view id) {
  if (ValidId(id)) return absl::OkStatus();
  // Catalogs come from others and errors go to terminals.
  return Bad(absl::StrCat("persona id \"", Printable(id.substr(0, kMaxIdBytes)), "\" of ",
                          id.size(), " bytes: expected 1 to ", kMaxIdBytes,
                          " of a-z 0-9 _ -, and neither \"base\" nor \"blend\""));
}

// Largest difference between the Gram matrix of `rank` vectors and the identity; element i of
// vector r at data[r * step + i * stride].
double OrthonormalError(std::span<const float> data, int rank, int length, int step, int stride) {
  double worst = 0;
  for (int r = 0; r < rank; ++r) {
    for (int s = 0; s <= r; ++s) {
      double dot = 0;
      for (int i = 0; i < length; ++i) {
        dot += static_cast<double>(data[static_cast<size_t>(r * step + i * stride)]) *
               data[static_cast<size_t>(s * step + i * stride)];
      }
      worst = std::max(worst, std::abs(dot - (r == s ? 1.0 : 0.0)));
    }
  }
  return worst;
}

absl::Status CheckBasisMatrix(const AdapterMatrix& matrix, int rank) {
  const std::string name = WeightName(matrix.target.layer_index, matrix.target.module);
  const auto fail = [&](std::string_view what) {
    return Bad(absl::StrCat(name, ": ", ToAbsl(what)));
  };
  if (matrix.rank != rank || !matrix.core.empty())
    return fail("rank differs from the catalog's, or a core is set");
  if (matrix.in_features < rank || matrix.out_features < rank) return fail("smaller than the rank");
  if (matrix.a.size() != static_cast<size_t>(rank) * matrix.in_features ||
      matrix.b.size() != static_cast<size_t>(rank) * matrix.out_features) {
    return fail("factors of wrong size");
  }
  if (!AllFinite(matrix.a) || !AllFinite(matrix.b)) return fail("non-finite value");
  const double error =
      std::max(OrthonormalError(matrix.a, rank, matrix.in_features, matrix.in_features, 1),
               OrthonormalError(matrix.b, rank, matrix.out_features, 1, rank));
  if (error > 1e-3) {
    return fail(
        absl::StrFormat("expected orthonormal factors (to 1e-3), they are off by %.3g", error));
  }
  return absl::OkStatus();
}

// Weights on all words of the axes, or none.
absl::Status CheckExplanation(const Persona& persona, const ExplanationAxes& axes) {
  const std::vector<double>& weights = persona.card.explanation;
  const double residual = persona.card.explanation_residual;
  if (!weights.empty() && weights.size() != axes.words.size()) {
    return Bad(absl::StrCat("persona ", persona.id, ": an explanation of ", weights.size(),
                            " weights, expected ", axes.words.size(), ", one a word"));
  }
  if (!(residual >= 0 && residual <= 1)) {
    return Bad(absl::StrCat("persona ", persona.id, ": explanation residual ", residual,
                            ", expected 0 to 1"));
  }
  return absl::OkStatus();
}

absl::Status CheckPersona(const Persona& persona, int64_t block_size, const ExplanationAxes& axes) {
  RETURN_IF_ERROR(CheckId(persona.id));
  if (static_cast<int64_t>(persona.cores.size()) != block_size) {
    return Bad(absl::StrCat("persona ", persona.id, ": ", persona.cores.size(),
                            " core values, expected ", block_size));
  }
  if (!AllFinite(persona.cores))
    return Bad(absl::StrCat("persona ", persona.id, ": non-finite core value"));
  RETURN_IF_ERROR(CheckExplanation(persona, axes));
  return Annotate(CheckStyleCard(persona.card), absl::StrCat("persona ", persona.id));
}

std::string CoreTensorName(std::string_view id) {
  return absl::StrCat("persona.", ToAbsl(id), ".core");
}

absl::StatusOr<std::vector<float>> ReadFloats(const GgufTensor& tensor, int64_t row_length,
                                              int64_t rows) {
  if (tensor.type != TensorType::kF32)
    return Bad(absl::StrCat(ToAbsl(tensor.name), ": expected type F32"));
  if (tensor.row_length() != row_length || tensor.rows() != rows) {
    return Bad(absl::StrCat(ToAbsl(tensor.name), ": shape [", tensor.row_length(), ", ",
                            tensor.rows(), "], expected [", row_length, ", ", rows, "]"));
  }
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  return values;
}

absl::StatusOr<std::vector<AdapterMatrix>> ReadBasis(const GgufFile& file, int rank) {
  std::vector<AdapterMatrix> basis;
  for (const GgufTensor& tensor : file.tensors()) {
    if (!tensor.name.ends_with(kSuffixA)) continue;
    const std::string weight(tensor.name.substr(0, tensor.name.size() - kSuffixA.size()));
    const auto target = ParseWeightName(weight);
    const GgufTensor* b = file.FindTensor(weight + std::string(kSuffixB));
    if (!target || b == nullptr)
      return Bad(absl::StrCat(weight, ": unknown weight, or basis_b is missing"));
    AdapterMatrix matrix{.target = *target, .rank = rank, .a = {}, .b = {}, .core = {}};
    if (tensor.row_length() > (int64_t{1} << 24) || b->rows() > (int64_t{1} << 24)) {
      return Bad(absl::StrCat(weight, ": more than 2^24 features"));
    }
    matrix.in_features = static_cast<int>(tensor.row_length());
    matrix.out_features = static_cast<int>(b->rows());
    ASSIGN_OR_RETURN(matrix.a, ReadFloats(tensor, matrix.in_features, rank));
    ASSIGN_OR_RETURN(matrix.b, ReadFloats(*b, rank, matrix.out_features));
    basis.push_back(std::move(matrix));
  }
  return basis;
}

absl::Status ReadPersonas(const GgufFile& file, Catalog* catalog) {
  ASSIGN_OR_RETURN(const GgufArray* ids, file.GetArray("lorikeet.catalog.personas"));
  ASSIGN_OR_RETURN(const GgufArray* cards, file.GetArray("lorikeet.catalog.cards"));
  if (cards->strings.size() != ids->strings.size()) {
    return Bad(
        absl::StrCat(cards->strings.size(), " style cards for ", ids->strings.size(), " personas"));
  }
  if (ids->strings.size() > kMaxPersonas)
    return Bad(absl::StrCat("more than ", kMaxPersonas, " personas"));
  for (size_t i = 0; i < ids->strings.size(); ++i) {
    Persona persona;
    persona.id = std::string(ids->strings[i]);
    RETURN_IF_ERROR(CheckId(persona.id));
    const GgufTensor* core = file.FindTensor(CoreTensorName(persona.id));
    if (core == nullptr)
      return Bad(absl::StrCat("tensor ", CoreTensorName(persona.id), " is missing"));
    ASSIGN_OR_RETURN(persona.cores, ReadFloats(*core, int64_t{catalog->rank} * catalog->rank,
                                               static_cast<int64_t>(catalog->basis.size())));
    auto card = StyleCardFromJson(cards->strings[i]);
    if (!card.ok()) return Annotate(card.status(), absl::StrCat("persona ", persona.id));
    persona.card = *std::move(card);
    catalog->personas.push_back(std::move(persona));
  }
  return absl::OkStatus();
}

absl::StatusOr<ExplanationAxes> ReadAxes(const GgufFile& file) {
  ASSIGN_OR_RETURN(const GgufArray* words, file.GetArray(kAxesKey));
  const GgufTensor* neutral = file.FindTensor(kNeutralTensor);
  const GgufTensor* directions = file.FindTensor(kDirectionsTensor);
  if (words->strings.empty() || words->strings.size() > kMaxExplanationWords) {
    return Bad(absl::StrCat(kAxesKey, ": expected 1 to ", kMaxExplanationWords, " words, got ",
                            words->strings.size()));
  }
  if (neutral == nullptr || directions == nullptr) {
    return Bad(absl::StrCat("expected tensors ", kNeutralTensor, " and ", kDirectionsTensor,
                            " beside ", kAxesKey));
  }
  if (neutral->row_length() > (int64_t{1} << 24)) {
    return Bad(absl::StrCat(kNeutralTensor, ": more than 2^24 channels"));
  }
  ExplanationAxes axes;
  for (const auto& word : words->strings) axes.words.emplace_back(word);
  axes.width = static_cast<int>(neutral->row_length());
  ASSIGN_OR_RETURN(axes.neutral_mean, ReadFloats(*neutral, axes.width, 2));
  axes.neutral_spread.assign(axes.neutral_mean.begin() + axes.width, axes.neutral_mean.end());
  axes.neutral_mean.resize(static_cast<size_t>(axes.width));
  ASSIGN_OR_RETURN(axes.directions,
                   ReadFloats(*directions, axes.width, static_cast<int64_t>(axes.words.size())));
  return axes;
}

void WriteAxes(const ExplanationAxes& axes, GgufWriter* writer) {
  if (axes.empty()) return;
  writer->AddStrings(kAxesKey, axes.words);
  std::vector<float> neutral = axes.neutral_mean;
  neutral.insert(neutral.end(), axes.neutral_spread.begin(), axes.neutral_spread.end());
  writer->AddTensor(kNeutralTensor, {axes.width, 2}, neutral);
  writer->AddTensor(kDirectionsTensor, {axes.width, static_cast<int64_t>(axes.words.size())},
                    axes.directions);
}

Adapter AdapterWithCores(const Catalog& catalog, std::span<const float> cores,
                         std::string persona_id, std::string_view catalog_hash) {
  Adapter adapter;
  adapter.info = {.architecture = catalog.architecture,
                  .name = persona_id,
                  .kind = AdapterKind::kCore,
                  .alpha = catalog.alpha,
                  .base_fingerprint = catalog.base_fingerprint,
                  .persona_id = persona_id,
                  .version = catalog.version,
                  .parent = std::string(catalog_hash)};
  adapter.matrices = catalog.basis;
  const size_t size = static_cast<size_t>(catalog.rank) * catalog.rank;
  for (size_t i = 0; i < adapter.matrices.size(); ++i) {
    const auto core = cores.subspan(i * size, size);
    adapter.matrices[i].core.assign(core.begin(), core.end());
  }
  return adapter;
}

}  // namespace

int Catalog::FindPersona(std::string_view id) const {
  const auto it = std::ranges::find(personas, id, &Persona::id);
  return it == personas.end() ? -1 : static_cast<int>(it - personas.begin());
}

absl::Status CheckCatalog(const Catalog& catalog) {
  const auto fingerprint = HashFromHex(catalog.base_fingerprint);
  if (!fingerprint.ok()) return Bad("expected a base fingerprint of 64 hex digits");
  if (catalog.architecture.empty()) return Bad("the base's architecture is missing");
  RETURN_IF_ERROR(Annotate(CheckPlainText(catalog.architecture, kMaxArchitectureBytes),
                           "catalog: the base's architecture"));
  if (catalog.rank < 1 || catalog.rank > kMaxRank) {
    return Bad(absl::StrCat("rank ", catalog.rank, ", expected 1 to ", kMaxRank));
  }
  if (!std::isfinite(catalog.alpha) || catalog.alpha <= 0) {
    return Bad(absl::StrCat("alpha ", catalog.alpha, ", expected a positive number"));
  }
  if (catalog.basis.empty()) return Bad("no basis matrices");
  for (size_t i = 0; i < catalog.basis.size(); ++i) {
    RETURN_IF_ERROR(CheckBasisMatrix(catalog.basis[i], catalog.rank));
    if (i > 0 && !(catalog.basis[i - 1].target < catalog.basis[i].target)) {
      return Bad("basis matrices are not in order, or one appears twice");
    }
  }
  RETURN_IF_ERROR(CheckStyleBackground(catalog.background));
  RETURN_IF_ERROR(Annotate(CheckExplanationAxes(catalog.axes), "catalog"));
  if (catalog.personas.size() > kMaxPersonas)
    return Bad(absl::StrCat("more than ", kMaxPersonas, " personas"));
  std::set<std::string_view> ids;
  for (const Persona& persona : catalog.personas) {
    RETURN_IF_ERROR(CheckPersona(persona, catalog.block_size(), catalog.axes));
    if (!ids.insert(persona.id).second)
      return Bad(absl::StrCat("two personas are called ", persona.id));
  }
  return absl::OkStatus();
}

absl::StatusOr<Catalog> ReadCatalog(const GgufFile& file) {
  ASSIGN_OR_RETURN(const std::string_view type, file.GetString("general.type", "none"));
  if (type != "catalog") {
    return Bad(absl::StrCat("expected general.type catalog, found ", ToAbsl(type)));
  }
  ASSIGN_OR_RETURN(const int64_t format, file.GetInt("lorikeet.catalog.format"));
  if (format != kFormat && format != kFormatWithAxes) {
    return Bad(absl::StrCat("format ", format, ", expected ", kFormat, " or ", kFormatWithAxes));
  }
  Catalog catalog;
  ASSIGN_OR_RETURN(const std::string_view architecture, file.GetString("general.architecture"));
  ASSIGN_OR_RETURN(const std::string_view fingerprint, file.GetString("lorikeet.base_fingerprint"));
  ASSIGN_OR_RETURN(const int64_t version, file.GetInt("lorikeet.version"));
  ASSIGN_OR_RETURN(const int64_t rank, file.GetInt("lorikeet.catalog.rank"));
  ASSIGN_OR_RETURN(const double alpha, file.GetFloat("lorikeet.catalog.alpha"));
  if (rank < 1 || rank > kMaxRank)
    return Bad(absl::StrCat("rank ", rank, ", expected 1 to ", kMaxRank));
  catalog.architecture = std::string(architecture);
  catalog.base_fingerprint = std::string(fingerprint);
  catalog.version = static_cast<uint64_t>(version);
  catalog.rank = static_cast<int>(rank);
  catalog.alpha = static_cast<float>(alpha);
  ASSIGN_OR_RETURN(catalog.basis, ReadBasis(file, catalog.rank));
  std::ranges::sort(catalog.basis, {}, &AdapterMatrix::target);
  ASSIGN_OR_RETURN(const std::string_view background,
                   file.GetString("lorikeet.catalog.background"));
  ASSIGN_OR_RETURN(catalog.background, StyleBackgroundFromJson(background));
  if (format == kFormatWithAxes) {
    ASSIGN_OR_RETURN(catalog.axes, ReadAxes(file));
  }
  RETURN_IF_ERROR(ReadPersonas(file, &catalog));
  const size_t tensors =
      2 * catalog.basis.size() + catalog.personas.size() + (catalog.axes.empty() ? 0 : 2);
  if (file.tensors().size() != tensors) {
    return Bad(absl::StrCat("expected ", tensors, " tensors, found ", file.tensors().size()));
  }
  RETURN_IF_ERROR(CheckCatalog(catalog));
  return catalog;
}

absl::StatusOr<Catalog> ReadCatalog(const std::string& path) {
  ASSIGN_OR_RETURN(const auto file, GgufFile::Open(path));
  auto catalog = ReadCatalog(*file);
  if (!catalog.ok()) return Annotate(catalog.status(), path);
  return catalog;
}

absl::StatusOr<Catalog> ParseCatalog(std::string_view bytes) {
  ASSIGN_OR_RETURN(const auto file, GgufFile::Parse(AsBytes(bytes), "catalog"));
  return ReadCatalog(*file);
}

std::string SerializeCatalog(const Catalog& catalog) {
  const absl::Status status = CheckCatalog(catalog);
  LORIKEET_CHECK(status.ok());
  GgufWriter writer;
  writer.AddString("general.type", "catalog");
  writer.AddString("general.architecture", catalog.architecture);
  writer.AddUint32("lorikeet.catalog.format", catalog.axes.empty() ? kFormat : kFormatWithAxes);
  writer.AddString("lorikeet.base_fingerprint", catalog.base_fingerprint);
  writer.AddUint64("lorikeet.version", catalog.version);
  writer.AddUint32("lorikeet.catalog.rank", static_cast<uint32_t>(catalog.rank));
  writer.AddFloat32("lorikeet.catalog.alpha", catalog.alpha);
  std::vector<std::string> ids, cards;
  for (const Persona& persona : catalog.personas) {
    ids.push_back(persona.id);
    cards.push_back(StyleCardToJson(persona.card));
  }
  writer.AddStrings("lorikeet.catalog.personas", ids);
  writer.AddStrings("lorikeet.catalog.cards", cards);
  writer.AddString("lorikeet.catalog.background", StyleBackgroundToJson(catalog.background));
  for (const AdapterMatrix& matrix : catalog.basis) {
    const std::string name = WeightName(matrix.target.layer_index, matrix.target.module);
    writer.AddTensor(name + std::string(kSuffixA), {matrix.in_features, catalog.rank}, matrix.a);
    writer.AddTensor(name + std::string(kSuffixB), {catalog.rank, matrix.out_features}, matrix.b);
  }
  const auto matrices = static_cast<int64_t>(catalog.basis.size());
  for (const Persona& persona : catalog.personas) {
    writer.AddTensor(CoreTensorName(persona.id), {int64_t{catalog.rank} * catalog.rank, matrices},
                     persona.cores);
  }
  WriteAxes(catalog.axes, &writer);
  return writer.Serialize();
}

absl::Status WriteCatalog(const Catalog& catalog, const std::string& path) {
  RETURN_IF_ERROR(CheckCatalog(catalog));
  return WriteFileAtomic(path, SerializeCatalog(catalog));
}

std::string CatalogHash(const Catalog& catalog) {
  return ToHex(Blake2b(AsBytes(SerializeCatalog(catalog))));
}

Adapter PersonaAdapter(const Catalog& catalog, int index, std::string_view catalog_hash) {
  LORIKEET_CHECK(index >= 0 && index < static_cast<int>(catalog.personas.size()));
  const Persona& persona = catalog.personas[static_cast<size_t>(index)];
  return AdapterWithCores(catalog, persona.cores, persona.id, catalog_hash);
}

Adapter BlendAdapter(const Catalog& catalog, std::span<const PersonaWeight> weights,
                     std::string_view catalog_hash) {
  std::vector<float> cores(static_cast<size_t>(catalog.block_size()), 0.0f);
  std::string id;
  for (const PersonaWeight& part : weights) {
    LORIKEET_CHECK(part.index >= 0 && part.index < static_cast<int>(catalog.personas.size()));
    const Persona& persona = catalog.personas[static_cast<size_t>(part.index)];
    for (size_t i = 0; i < cores.size(); ++i) cores[i] += part.weight * persona.cores[i];
    absl::StrAppend(&id, id.empty() ? "" : "+", persona.id);
  }
  return AdapterWithCores(catalog, cores, id, catalog_hash);
}

absl::Status AddToPersona(Catalog* catalog, int index, std::span<const float> delta) {
  if (index < 0 || index >= static_cast<int>(catalog->personas.size())) {
    return Bad(absl::StrCat("no persona ", index, " of ", catalog->personas.size()));
  }
  if (static_cast<int64_t>(delta.size()) != catalog->block_size()) {
    return Bad(
        absl::StrCat("a delta of ", delta.size(), " values, expected ", catalog->block_size()));
  }
  if (!AllFinite(delta)) return Bad("a delta with a non-finite value");
  std::vector<float>& cores = catalog->personas[static_cast<size_t>(index)].cores;
  for (size_t i = 0; i < cores.size(); ++i) cores[i] += delta[i];
  return absl::OkStatus();
}

}  // namespace lorikeet
