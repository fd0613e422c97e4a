#include "device/vault/private_text.h"

#include <cstdint>

#include "common/crypto/secret_bytes.h"

namespace lorikeet {
namespace {

void Wipe(std::string& text) { WipeMemory({reinterpret_cast<uint8_t*>(text.data()), text.size()}); }

}  // namespace

PrivateText::~PrivateText() { Wipe(text_); }

PrivateText& PrivateText::operator=(PrivateText&& other) noexcept {
  if (this != &other) {
    Wipe(text_);
    text_ = std::move(other.text_);
  }
  return *this;
}

}  // namespace lorikeet
