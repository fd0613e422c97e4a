// Bytes in, whole UTF-8 characters out: a token may end in the middle of a character.
#ifndef LORIKEET_DEVICE_RUNTIME_UTF8_STREAM_H_
#define LORIKEET_DEVICE_RUNTIME_UTF8_STREAM_H_

#include <string>
#include <string_view>

namespace lorikeet {

// Everything returned is valid UTF-8: a byte that can belong to no character becomes U+FFFD, as the
// Unicode standard recommends (section 3.9: one replacement for each maximal subpart).  Not
// thread-safe.
class Utf8Stream {
 public:
  // The characters completed by `bytes`.
  std::string Push(std::string_view bytes);
  // At the end: a replacement for an unfinished character, or nothing.
  std::string Finish();

 private:
  std::string pending_;  // a proper prefix of one character
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_UTF8_STREAM_H_
