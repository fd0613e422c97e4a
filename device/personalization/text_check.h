// Is this something a person wrote?  Noise is refused and copies are left out before anything is
// learned: a model that has seen a line a thousand times knows it by heart, and judged on one more
// copy it would look like a great success.
//
// Works on views of text; opens nothing.  Not here: whether the bytes are UTF-8
// (device/trainer/data.h).
#ifndef LORIKEET_DEVICE_PERSONALIZATION_TEXT_CHECK_H_
#define LORIKEET_DEVICE_PERSONALIZATION_TEXT_CHECK_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace lorikeet {

// What CollapseRepeats left out: whole documents, or lines where they are most of the text.
struct Repeats {
  int64_t count = 0;
  int64_t bytes = 0;
};

// The documents without copies, in order, as views into them.  Of equal documents one stays, of
// short ones (greetings, "ok") up to eight, which belong to a style.  Where copies of lines are
// more than half of what is left, lines are treated alike, and a document becomes the runs of lines
// that stay.
std::vector<std::string_view> CollapseRepeats(std::span<const std::string_view> documents,
                                              Repeats* left_out);

// "left out 163934 copies of lines or documents (10.0 MB)"; empty if nothing was.
std::string RepeatsNotice(const Repeats& left_out);

// INVALID_ARGUMENT, with what was expected and what came: control characters (binary data), or text
// that only repeats itself (in the first 256 KiB less than a twentieth of the stretches of 16 bytes
// differ; of prose more than nine tenths do).  Less than 1 KiB is too short to tell repetition.
absl::Status CheckWritten(std::span<const std::string_view> pieces);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_TEXT_CHECK_H_
