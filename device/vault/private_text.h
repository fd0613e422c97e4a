// PrivateText: the owner's words.  They cannot be printed, compared, logged, serialized or put into
// a message; they open only with a TextAccess token, and tests/tidy lists the files that may name
// that type.
#ifndef LORIKEET_DEVICE_VAULT_PRIVATE_TEXT_H_
#define LORIKEET_DEVICE_VAULT_PRIVATE_TEXT_H_

#include <string>
#include <string_view>
#include <utility>

namespace lorikeet {

// Naming this type is asking for permission: see tests/tidy.
class TextAccess {
 public:
  explicit TextAccess(std::string_view reason) : reason_(reason) {}
  std::string_view reason() const { return reason_; }

 private:
  std::string_view reason_;
};

class PrivateText {
 public:
  PrivateText() = default;
  explicit PrivateText(std::string text) : text_(std::move(text)) {}
  ~PrivateText();  // wipes
  PrivateText(PrivateText&&) noexcept = default;
  PrivateText& operator=(PrivateText&& other) noexcept;
  PrivateText(const PrivateText&) = default;
  PrivateText& operator=(const PrivateText&) = default;

  std::string_view Open(const TextAccess&) const { return text_; }
  size_t size_bytes() const { return text_.size(); }

  friend bool operator==(const PrivateText&, const PrivateText&) = delete;
  template <typename Stream>
  friend Stream& operator<<(Stream&, const PrivateText&) = delete;

 private:
  std::string text_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_VAULT_PRIVATE_TEXT_H_
