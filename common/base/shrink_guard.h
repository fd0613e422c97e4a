// What happens when somebody cuts a file that we have mapped: reading behind its new end raises
// SIGBUS, which would end the process without a word.
//
// The guard says which file shrank and ends the process with exit code 1.  Any other SIGBUS is left
// to who had it before.  It cannot save the work: there is no data to go on with.
#ifndef LORIKEET_COMMON_BASE_SHRINK_GUARD_H_
#define LORIKEET_COMMON_BASE_SHRINK_GUARD_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lorikeet {

// Installs the handler; `program` begins its message.  For main(), before threads start.
void InstallShrinkGuard(std::string_view program);

// Of MappedFile: the handler knows these ranges.  At most 256 at once, others stay unguarded.
// Thread-safe.
void GuardMapping(const uint8_t* data, size_t size, const std::string& path);
void UnguardMapping(const uint8_t* data);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_BASE_SHRINK_GUARD_H_
