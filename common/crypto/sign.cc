#include "common/crypto/sign.h"

#include <sodium.h>

#include <vector>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/crypto/secret_file.h"

namespace lorikeet {
namespace {

constexpr std::string_view kFileKind = "ed25519-signing-key";

std::vector<uint8_t> Labelled(std::string_view label, std::span<const uint8_t> message) {
  std::vector<uint8_t> bytes;
  bytes.reserve(8 + label.size() + message.size());
  for (int i = 0; i < 8; ++i) {
    bytes.push_back(static_cast<uint8_t>(static_cast<uint64_t>(label.size()) >> (8 * i)));
  }
  const auto label_bytes = AsBytes(label);
  bytes.insert(bytes.end(), label_bytes.begin(), label_bytes.end());
  bytes.insert(bytes.end(), message.begin(), message.end());
  return bytes;
}

}  // namespace

SigningKey SigningKey::Generate(RandomSource* random) {
  const SecretBytes seed = SecretBytes::Random(crypto_sign_SEEDBYTES, random);
  return std::move(FromSeed(seed)).value();
}

absl::StatusOr<SigningKey> SigningKey::FromSeed(const SecretBytes& seed) {
  InitSodium();
  if (seed.size_bytes() != crypto_sign_SEEDBYTES) {
    return absl::InvalidArgumentError(
        absl::StrFormat("signing key seed: expected 32 bytes, got %d", seed.size_bytes()));
  }
  const SecretAccess access("make a signing key");
  SigningKey key;
  key.secret_ = SecretBytes(crypto_sign_SECRETKEYBYTES);
  crypto_sign_seed_keypair(key.public_key_.data(), key.secret_.OpenMutable(access).data(),
                           seed.Open(access).data());
  return key;
}

Ed25519Signature SigningKey::Sign(std::string_view label, std::span<const uint8_t> message) const {
  const std::vector<uint8_t> bytes = Labelled(label, message);
  Ed25519Signature signature;
  crypto_sign_detached(signature.data(), nullptr, bytes.data(), bytes.size(),
                       secret_.Open(SecretAccess("sign")).data());
  return signature;
}

absl::Status SigningKey::WriteFile(const std::string& path) const {
  const SecretBytes seed = SecretBytes::CopyOf(
      secret_.Open(SecretAccess("store a signing key")).first(crypto_sign_SEEDBYTES));
  return WriteSecretFile(path, kFileKind, seed);
}

absl::StatusOr<SigningKey> SigningKey::ReadFile(const std::string& path) {
  ASSIGN_OR_RETURN(const SecretBytes seed, ReadSecretFile(path, kFileKind, crypto_sign_SEEDBYTES));
  return FromSeed(seed);
}

bool VerifySignature(const Ed25519PublicKey& key, std::string_view label,
                     std::span<const uint8_t> message, const Ed25519Signature& signature) {
  InitSodium();
  const std::vector<uint8_t> bytes = Labelled(label, message);
  return crypto_sign_verify_detached(signature.data(), bytes.data(), bytes.size(), key.data()) == 0;
}

}  // namespace lorikeet
