#include "common/crypto/aead.h"

#include <sodium.h>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

constexpr size_t kNonceBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
static_assert(kAeadKeyBytes == crypto_aead_xchacha20poly1305_ietf_KEYBYTES);
static_assert(kAeadOverheadBytes == kNonceBytes + crypto_aead_xchacha20poly1305_ietf_ABYTES);

}  // namespace

std::vector<uint8_t> AeadSeal(const SecretBytes& key, std::span<const uint8_t> plaintext,
                              std::span<const uint8_t> associated, RandomSource* random) {
  InitSodium();
  LORIKEET_CHECK(key.size_bytes() == kAeadKeyBytes);
  std::vector<uint8_t> sealed(plaintext.size() + kAeadOverheadBytes);
  random->Fill(std::span(sealed).first(kNonceBytes));
  crypto_aead_xchacha20poly1305_ietf_encrypt(
      sealed.data() + kNonceBytes, nullptr, plaintext.data(), plaintext.size(), associated.data(),
      associated.size(), nullptr, sealed.data(), key.Open(SecretAccess("seal")).data());
  return sealed;
}

absl::StatusOr<SecretBytes> AeadOpen(const SecretBytes& key, std::span<const uint8_t> sealed,
                                     std::span<const uint8_t> associated) {
  InitSodium();
  LORIKEET_CHECK(key.size_bytes() == kAeadKeyBytes);
  if (sealed.size() < kAeadOverheadBytes) {
    return absl::DataLossError(absl::StrFormat("sealed message: expected at least %d bytes, got %d",
                                               kAeadOverheadBytes, sealed.size()));
  }
  const SecretAccess access("open a sealed message");
  SecretBytes plaintext(sealed.size() - kAeadOverheadBytes);
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(
          plaintext.OpenMutable(access).data(), nullptr, nullptr, sealed.data() + kNonceBytes,
          sealed.size() - kNonceBytes, associated.data(), associated.size(), sealed.data(),
          key.Open(access).data()) != 0) {
    return absl::DataLossError(
        "sealed message: authentication failed (altered, or sealed with another key)");
  }
  return plaintext;
}

}  // namespace lorikeet
