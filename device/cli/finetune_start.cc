#include "device/cli/finetune_start.h"

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/adapter/catalog.h"
#include "common/adapter/gguf_io.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/cli/program.h"
#include "device/trainer/data.h"
#include "device/trainer/gradient_basis.h"

namespace lorikeet {
namespace {

std::string NameOf(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

absl::StatusOr<StartingAdapter> FromFile(const std::string& path, const Model& model) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  ASSIGN_OR_RETURN(Adapter adapter, ReadAdapter(path));
  RETURN_IF_ERROR(Annotate(model.CheckAdapter(adapter), path));
  adapter.info.base_fingerprint = model.fingerprint();
  adapter.info.parent = ToHex(Blake2b(AsBytes(bytes)));
  return StartingAdapter{std::move(adapter), absl::StrCat("it goes on from ", NameOf(path))};
}

absl::StatusOr<StartingAdapter> FromCatalog(const std::string& path, const Model& model) {
  ASSIGN_OR_RETURN(const Catalog catalog, ReadCatalog(path));
  Adapter adapter;
  adapter.info.architecture = catalog.architecture;
  adapter.info.kind = AdapterKind::kCore;
  adapter.info.alpha = catalog.alpha;
  adapter.info.base_fingerprint = catalog.base_fingerprint;
  adapter.info.parent = CatalogHash(catalog);
  adapter.matrices = catalog.basis;
  for (AdapterMatrix& matrix : adapter.matrices) {
    matrix.core.assign(static_cast<size_t>(matrix.rank) * matrix.rank, 0.0f);
  }
  RETURN_IF_ERROR(Annotate(model.CheckAdapter(adapter), path));
  return StartingAdapter{std::move(adapter),
                         absl::StrCat("fixed factors of the catalog ", NameOf(path))};
}

absl::StatusOr<StartingAdapter> FromPublicText(const std::vector<std::string>& paths,
                                               const AdapterSpec& spec, const Engine& engine,
                                               int context) {
  DocumentSet documents;
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(DocumentSet file, ReadDocuments(path));
    for (Document& document : file.train) documents.train.push_back(std::move(document));
  }
  absl::StatusOr<Dataset> text = MakeDataset(engine.model()->tokenizer(), documents,
                                             {.context_length = context, .eval_split = 0});
  if (!text.ok()) return Annotate(text.status(), "--basis");
  const auto groups = GroupForBasis(std::move(text->train), BasisText());
  ASSIGN_OR_RETURN(Adapter adapter,
                   MakeGradientBasisAdapter(engine.model(), engine.pool(), groups, spec));
  return StartingAdapter{std::move(adapter),
                         absl::StrCat("fixed factors from the gradient of ",
                                      paths.size() == 1 ? NameOf(paths[0]) : "the public texts")};
}

// What one option would make another mean nothing.
absl::Status CheckTogether(const StartArguments& arguments, bool adapters) {
  const bool init = !arguments.init.empty();
  if (arguments.full() && (init || adapters)) {
    return UsageError("--form full trains the model itself: expected no --init and no --adapter");
  }
  if (!arguments.basis.empty() && (arguments.form != "core" || init)) {
    return UsageError("--basis gives the fixed factors of a fresh adapter of --form core");
  }
  if (!arguments.full() && !init) return absl::OkStatus();
  for (const CLI::Option* option : arguments.of_fresh) {
    if (option->count() == 0) continue;
    return UsageError(absl::StrCat(arguments.full() ? "--form full trains the model itself"
                                                    : "--init takes the adapter as it is",
                                   ": expected no --rank, --alpha or --modules, got ",
                                   option->get_name()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<StartingAdapter> MakeStartingAdapter(const StartArguments& arguments,
                                                    const Engine& engine, uint64_t seed,
                                                    int context) {
  const Model& model = *engine.model();
  const std::vector<std::string>& basis = arguments.basis;
  RETURN_IF_ERROR(CheckTogether(arguments, !engine.adapters().empty()));
  if (arguments.full()) return StartingAdapter{Adapter(), "all weights of the model"};
  if (!arguments.init.empty()) return FromFile(arguments.init, model);
  absl::StatusOr<AdapterSpec> spec = ParseAdapterSpec(arguments.rank, arguments.modules);
  if (!spec.ok()) return UsageError(Message(spec.status()));
  spec->kind = arguments.form == "core" ? AdapterKind::kCore : AdapterKind::kLora;
  spec->alpha = arguments.alpha;
  spec->seed = seed;
  for (const std::string& path : basis) {
    if (!path.ends_with(".gguf")) continue;
    if (basis.size() == 1) return FromCatalog(path, model);
    return UsageError("--basis: expected public texts or one catalog, got a catalog among others");
  }
  if (!basis.empty()) return FromPublicText(basis, *spec, engine, context);
  ASSIGN_OR_RETURN(Adapter adapter, MakeAdapter(model, *spec));
  return StartingAdapter{std::move(adapter),
                         spec->kind == AdapterKind::kCore
                             ? "random fixed factors; --basis takes them from public text, which "
                               "leaves the core more to gain"
                             : "fresh"};
}

void StartArguments::Declare(CLI::App* command) {
  of_fresh = {
      command
          ->add_option(
              "--rank", rank,
              "Of all matrices (8), with exceptions (8,down=16), or of some alone (q=16,v=16)")
          ->capture_default_str(),
      command->add_option("--alpha", alpha, "A matrix is scaled by alpha / its rank")
          ->check(CLI::PositiveNumber)
          ->capture_default_str(),
      command->add_option("--modules", modules, "all, or of q,k,v,o,gate,up,down")
          ->capture_default_str()};
  command
      ->add_option("--form", form,
                   "lora: A and B are trained; core: R between fixed orthonormal A and B; full: no "
                   "adapter but all weights of a small model, in F32")
      ->check(CLI::IsMember({"lora", "core", "full"}))
      ->capture_default_str();
  command
      ->add_option("--basis", basis,
                   "Of --form core: public text whose gradient gives A and B, or a catalog's "
                   "(.gguf; its rank, alpha and modules are kept); without it they are random")
      ->type_name("FILE");
  command->add_option("--init", init,
                      "Adapter to start from; its form, rank, alpha and modules are kept");
}

}  // namespace lorikeet
