// Looking at catalogs and style cards: what `persona list` and `persona card` show, and what init
// and train say when they are done.
#ifndef LORIKEET_DEVICE_CLI_PERSONA_VIEW_H_
#define LORIKEET_DEVICE_CLI_PERSONA_VIEW_H_

#include <CLI/CLI.hpp>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

#include "common/adapter/catalog.h"
#include "common/cli/program.h"

namespace lorikeet {

// "careless 0.82, informal 0.61": the strongest adjectives of a card, at most `count`; empty where
// it has none.
std::string Adjectives(const StyleCard& card, const ExplanationAxes& axes, size_t count);

nlohmann::json CatalogJson(const Catalog& catalog);
// A line on the catalog and a table of its personas.
void PrintCatalog(const Catalog& catalog, Output& output);

// `persona card` and `persona list`.
void AddPersonaViewCommands(Program& program, CLI::App* group);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_PERSONA_VIEW_H_
