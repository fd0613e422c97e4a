// lorikeet personalize: select, warm-start, train, judge; keep the better adapter.
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/cli/catalog_options.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"
#include "device/cli/owner_text.h"
#include "device/cli/personalization_common.h"
#include "device/personalization/personalizer.h"

namespace lorikeet {
namespace {

struct PersonalizeArguments {
  EngineArguments engine;
  CatalogOptions catalog;
  std::string out;
  std::string modules = "all";
  OwnerTextOptions text;
  PersonalizeOptions options;
  double max_seconds = 0;
};

absl::Status RunPersonalize(const PersonalizeArguments& arguments, Output& output) {
  PersonalizeOptions options = arguments.options;
  auto modules = ParseModules(arguments.modules);
  if (!modules.ok()) return UsageError(Message(modules.status()));
  options.modules = *std::move(modules);
  if (arguments.max_seconds > 0) options.train.max_duration = absl::Seconds(arguments.max_seconds);
  ASSIGN_OR_RETURN(const OwnerText text, ReadOwnerText(arguments.text));
  ASSIGN_OR_RETURN(const Catalog catalog, OpenCatalog(arguments.catalog));
  ASSIGN_OR_RETURN(const Engine engine, Engine::Open(arguments.engine));
  if (FileExists(arguments.out)) {
    ASSIGN_OR_RETURN(options.existing, PersonalAdapter::Load(arguments.out));
  }
  const SystemClock clock;
  const auto stage = [&](std::string_view name) {
    if (output.progress()) std::fputs(absl::StrCat(ToAbsl(name), " ...\n").c_str(), stderr);
  };
  ASSIGN_OR_RETURN(const PersonalizeResult result,
                   Personalize(engine.model(), engine.pool(), clock, catalog, text, options, stage,
                               TrainingProgress(output)));
  if (result.adapter) RETURN_IF_ERROR(result.adapter->Save(arguments.out));
  PrintSelection(result.selection, output);
  output.Line(absl::StrCat("\ntrained ", result.training.steps, " steps on ",
                           result.training.tokens, " tokens (", result.training.stopped_because,
                           ")"));
  output.Line(result.verdict);
  output.SetJson(PersonalizeJson(result, catalog));
  return absl::OkStatus();
}

void AddTrainOptions(CLI::App* command, PersonalizeArguments& arguments) {
  TrainOptions& train = arguments.options.train;
  command->add_option("--rank", arguments.options.rank, "Rank of the personal residual")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command->add_option("--alpha", arguments.options.alpha, "Scale numerator: alpha / rank")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--modules", arguments.modules, "all, or of q,k,v,o,gate,up,down")
      ->capture_default_str();
  command->add_option("--epochs", train.epochs, "Passes over the training part")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--steps", train.max_steps, "Optimizer steps; 0: by epochs")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--lr", train.learning_rate, "Learning rate")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--batch", train.batch_size, "Documents a step")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--weight-decay", train.weight_decay, "AdamW's")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--patience", train.patience, "Evaluations without improvement; 0: never stop")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--seed", train.seed, "Of initialization and order")->capture_default_str();
  command
      ->add_option("--max-seconds", arguments.max_seconds, "Stop training after this; 0: no limit")
      ->check(CLI::NonNegativeNumber);
}

}  // namespace

void AddPersonalizeCommand(Program& program) {
  auto arguments = std::make_shared<PersonalizeArguments>();
  arguments->options.train = DefaultPersonalTraining();
  CLI::App* command =
      program.Add("personalize", "Select a persona, train on top of it, judge, keep the better",
                  [arguments](Output& output) { return RunPersonalize(*arguments, output); });
  arguments->engine.AddModel(command);
  arguments->engine.AddThreads(command);
  arguments->catalog.Declare(command);
  command
      ->add_option(
          "--out", arguments->out,
          "The personal adapter; one that is there already is judged too and only replaced "
          "by a better one")
      ->required();
  arguments->text.Declare(command);
  AddSelectOptions(command, arguments->options.select);
  AddTrainOptions(command, *arguments);
}

}  // namespace lorikeet
