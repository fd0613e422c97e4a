// The sampling options of generate and chat.
#ifndef LORIKEET_DEVICE_CLI_SAMPLING_OPTIONS_H_
#define LORIKEET_DEVICE_CLI_SAMPLING_OPTIONS_H_

#include <CLI/CLI.hpp>

#include "device/runtime/sampler.h"

namespace lorikeet {

// Defaults are what `options` holds.  `options` must outlive the parsing.
void AddSamplingOptions(CLI::App* command, SamplingOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_SAMPLING_OPTIONS_H_
