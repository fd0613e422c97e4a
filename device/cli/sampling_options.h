// The options of generate and chat that say how tokens are chosen and found.
#ifndef LORIKEET_DEVICE_CLI_SAMPLING_OPTIONS_H_
#define LORIKEET_DEVICE_CLI_SAMPLING_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "device/runtime/generate.h"

namespace lorikeet {

// Defaults are what `options` holds.  `options` must outlive the parsing.
void AddSamplingOptions(CLI::App* command, SamplingOptions& options);

// --lookup auto|off|N
void AddLookupOption(CLI::App* command, LookupOptions& options);

// What lookup did, for a line of text and for JSON: drafted, accepted, passes, tokens_per_pass.
std::string LookupLine(const GenerateResult& result);
nlohmann::json LookupJson(const GenerateResult& result);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_SAMPLING_OPTIONS_H_
