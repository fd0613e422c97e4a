// lorikeet select: which persona fits somebody's text, and why.
#include <memory>

#include "common/base/status_macros.h"
#include "device/cli/catalog_options.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"
#include "device/cli/owner_text.h"
#include "device/cli/personalization_common.h"
#include "device/personalization/selector.h"

namespace lorikeet {
namespace {

struct SelectArguments {
  EngineArguments engine;
  CatalogOptions catalog;
  OwnerTextOptions text;
  SelectOptions options;
};

absl::Status RunSelect(const SelectArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(const OwnerText text, ReadOwnerText(arguments.text));
  ASSIGN_OR_RETURN(const Catalog catalog, OpenCatalog(arguments.catalog));
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  ASSIGN_OR_RETURN(const TextSplit split, SplitText(*engine.model(), text));
  ASSIGN_OR_RETURN(const Selection selection,
                   Select(engine.model(), engine.pool(), catalog, split, arguments.options));
  if (!split.notice.empty()) output.Line(split.notice + "\n");
  PrintSelection(selection, output);
  output.SetJson(SelectionJson(selection, catalog));
  return absl::OkStatus();
}

}  // namespace

void AddSelectCommand(Program& program) {
  auto arguments = std::make_shared<SelectArguments>();
  CLI::App* command =
      program.Add("select", "Which persona fits somebody's text, and why",
                  [arguments](Output& output) { return RunSelect(*arguments, output); });
  arguments->engine.AddModel(command);
  arguments->engine.AddThreads(command);
  arguments->catalog.Declare(command);
  arguments->text.Declare(command);
  AddSelectOptions(command, arguments->options);
}

}  // namespace lorikeet
