#include "common/tokens/token_keys.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/tokens/token.h"

namespace lorikeet {
namespace {

constexpr size_t kHeaderBytes = 8 + 4 + 4 + 4;
constexpr size_t kKeyBytes = 8 + kElementBytes;
constexpr int64_t kMaxStart = int64_t{1} << 40;
constexpr uint32_t kMaxEpochSeconds = 366 * 86400;

template <typename T>
void AppendLittle(T value, std::string* out) {
  for (size_t i = 0; i < sizeof(T); ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

// REQUIRES: bytes->size() >= sizeof(T).
template <typename T>
T TakeLittle(std::string_view* bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= T{static_cast<uint8_t>((*bytes)[i])} << (8 * i);
  bytes->remove_prefix(sizeof(T));
  return value;
}

absl::Status RememberedDiffers(std::string_view what) {
  return absl::DataLossError(absl::StrCat(
      "token keys: expected ", ToAbsl(what),
      " to be what this device was shown before, got another: its tokens could be told "
      "from those of other devices"));
}

}  // namespace

absl::Status TokenSchedule::Check() const {
  if (start_unix_seconds < 0 || start_unix_seconds > kMaxStart) {
    return absl::InvalidArgumentError(
        absl::StrFormat("token schedule: expected a start of 0..%d seconds, got %d", kMaxStart,
                        start_unix_seconds));
  }
  if (epoch_seconds < 1 || epoch_seconds > kMaxEpochSeconds) {
    return absl::InvalidArgumentError(
        absl::StrFormat("token schedule: expected epochs of 1..%d seconds, got %d",
                        kMaxEpochSeconds, epoch_seconds));
  }
  if (tokens_per_epoch < 1 || tokens_per_epoch > kMaxTokensPerEpoch) {
    return absl::InvalidArgumentError(
        absl::StrFormat("token schedule: expected 1..%d tokens for a device and epoch, got %d",
                        kMaxTokensPerEpoch, tokens_per_epoch));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> TokenSchedule::EpochAt(absl::Time now) const {
  const int64_t since = absl::ToUnixSeconds(now) - start_unix_seconds;
  if (since < 0) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "token schedule: expected a time after the start of epoch 0, got one %d s before it",
        -since));
  }
  return static_cast<uint64_t>(since) / epoch_seconds;
}

absl::Time TokenSchedule::StartOf(uint64_t epoch) const {
  if (epoch > static_cast<uint64_t>(kMaxStart)) return absl::InfiniteFuture();
  return absl::FromUnixSeconds(start_unix_seconds) +
         absl::Seconds(static_cast<int64_t>(epoch)) * static_cast<int64_t>(epoch_seconds);
}

std::string TokenKeySet::Encode() const {
  std::string bytes;
  AppendLittle(static_cast<uint64_t>(schedule.start_unix_seconds), &bytes);
  AppendLittle(schedule.epoch_seconds, &bytes);
  AppendLittle(schedule.tokens_per_epoch, &bytes);
  AppendLittle(static_cast<uint32_t>(keys.size()), &bytes);
  for (const Key& key : keys) {
    AppendLittle(key.epoch, &bytes);
    bytes.append(AsChars(key.public_key.bytes()));
  }
  return bytes;
}

absl::StatusOr<TokenKeySet> TokenKeySet::Decode(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "token keys: expected at least %d bytes, got %d", kHeaderBytes, bytes.size()));
  }
  TokenKeySet set;
  set.schedule.start_unix_seconds = static_cast<int64_t>(TakeLittle<uint64_t>(&bytes));
  set.schedule.epoch_seconds = TakeLittle<uint32_t>(&bytes);
  set.schedule.tokens_per_epoch = TakeLittle<uint32_t>(&bytes);
  RETURN_IF_ERROR(set.schedule.Check());
  const auto count = TakeLittle<uint32_t>(&bytes);
  if (count < 1 || count > kMaxTokenKeys || bytes.size() != count * kKeyBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("token keys: expected 1..%d keys of %d bytes each, got %d keys in %d bytes",
                        kMaxTokenKeys, kKeyBytes, count, bytes.size()));
  }
  for (uint32_t i = 0; i < count; ++i) {
    const auto epoch = TakeLittle<uint64_t>(&bytes);
    if (i > 0 && epoch != set.keys.back().epoch + 1) {
      return absl::InvalidArgumentError(
          absl::StrFormat("token keys: expected epoch %d after %d, got %d",
                          set.keys.back().epoch + 1, set.keys.back().epoch, epoch));
    }
    ASSIGN_OR_RETURN(const GroupElement key,
                     GroupElement::Decode(AsBytes(bytes.substr(0, kElementBytes))));
    bytes.remove_prefix(kElementBytes);
    set.keys.push_back({.epoch = epoch, .public_key = key});
  }
  return set;
}

absl::StatusOr<GroupElement> TokenKeySet::KeyOf(uint64_t epoch) const {
  for (const Key& key : keys) {
    if (key.epoch == epoch) return key.public_key;
  }
  return absl::NotFoundError(
      absl::StrFormat("token keys: expected a key of epoch %d, got those of %d to %d", epoch,
                      keys.front().epoch, keys.back().epoch));
}

SignedTokenKeys SignTokenKeys(const TokenKeySet& keys, const SigningKey& signer) {
  SignedTokenKeys result{.bytes = keys.Encode()};
  result.signature = signer.Sign(kTokenKeysLabel, AsBytes(result.bytes));
  return result;
}

absl::StatusOr<TokenKeySet> VerifyTokenKeys(const SignedTokenKeys& keys,
                                            const Ed25519PublicKey& issuer) {
  if (!VerifySignature(issuer, kTokenKeysLabel, AsBytes(keys.bytes), keys.signature)) {
    return absl::DataLossError(
        "token keys: expected the issuer's signature, got bytes that it did not sign");
  }
  return TokenKeySet::Decode(keys.bytes);
}

absl::Status CheckAndRemember(const TokenKeySet& keys, TokenKeyMemory* memory) {
  const Hash256 schedule =
      Hasher()
          .UpdateUint64(static_cast<uint64_t>(keys.schedule.start_unix_seconds))
          .UpdateUint64(keys.schedule.epoch_seconds)
          .UpdateUint64(keys.schedule.tokens_per_epoch)
          .Finish();
  if (memory->schedule && *memory->schedule != schedule) return RememberedDiffers("the schedule");
  TokenKeyMemory next{.schedule = schedule, .keys = memory->keys};
  const uint64_t oldest = keys.keys.front().epoch;
  if (!next.keys.empty() && oldest < next.keys.begin()->first) {
    return absl::DataLossError(
        absl::StrFormat("token keys: expected epochs from %d on, got one of epoch %d again",
                        next.keys.begin()->first, oldest));
  }
  for (const auto& key : keys.keys) {
    const Hash256 id = TokenKeyId(key.public_key);
    if (next.keys.try_emplace(key.epoch, id).first->second != id) {
      return RememberedDiffers(absl::StrFormat("the key of epoch %d", key.epoch));
    }
  }
  next.keys.erase(next.keys.begin(), next.keys.lower_bound(oldest));
  *memory = std::move(next);
  return absl::OkStatus();
}

absl::StatusOr<TokenEpochKeys> TokenEpochKeys::Create(SecretBytes seed) {
  if (seed.size_bytes() != kVoprfSeedBytes) {
    return absl::InvalidArgumentError(absl::StrFormat("token seed: expected %d bytes, got %d",
                                                      kVoprfSeedBytes, seed.size_bytes()));
  }
  return TokenEpochKeys(std::move(seed));
}

absl::StatusOr<const VoprfKey*> TokenEpochKeys::Of(uint64_t epoch) {
  if (const auto found = cache_.find(epoch); found != cache_.end()) return &found->second;
  std::string info = "lorikeet token epoch";
  AppendLittle(epoch, &info);
  ASSIGN_OR_RETURN(VoprfKey key, VoprfKey::Derive(seed_, AsBytes(info)));
  if (cache_.size() >= kMaxTokenKeys) cache_.erase(cache_.begin());
  return &cache_.emplace(epoch, std::move(key)).first->second;
}

}  // namespace lorikeet
