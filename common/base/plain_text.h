// Text from others that people will read on a terminal: nothing in it may steer the terminal or
// change how the text around it reads.
//
// Controls are U+0000 to U+001F, U+007F to U+009F (among them ESC and CSI), the line and paragraph
// separators U+2028 and U+2029, and the signs that turn the direction of text: U+200E, U+200F,
// U+202A to U+202E, U+2066 to U+2069.  Not here: what a model writes, which is shown as it comes.
#ifndef LORIKEET_COMMON_BASE_PLAIN_TEXT_H_
#define LORIKEET_COMMON_BASE_PLAIN_TEXT_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace lorikeet {

// OK for UTF-8 of at most `max_bytes` without controls, newlines among them.  INVALID_ARGUMENT
// says what came and at which byte, without showing it.
absl::Status CheckPlainText(std::string_view text, size_t max_bytes);

// `text` with '?' for each control but newline and tab, and for each byte that is not UTF-8.
std::string Printable(std::string_view text);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_BASE_PLAIN_TEXT_H_
