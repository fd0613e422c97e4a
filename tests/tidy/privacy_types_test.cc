// Private and secret types cannot be printed, compared or copied by accident: checked by the
// compiler.
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <type_traits>

#include "common/crypto/secret_bytes.h"
#include "common/crypto/sign.h"
#include "common/dp/encoder.h"
#include "common/secagg/masked_update.h"
#include "device/personalization/personal_adapter.h"
#include "device/update/pipeline.h"
#include "device/vault/private_text.h"

namespace lorikeet {
namespace {

template <typename T>
concept Printable = requires(std::ostream& out, const T& value) { out << value; };
template <typename T>
concept Comparable = requires(const T& a, const T& b) { a == b; };

static_assert(Printable<std::string>, "the concept works");
static_assert(!Printable<PrivateText> && !Comparable<PrivateText>);
static_assert(!Printable<SecretBytes> && !Comparable<SecretBytes>);
static_assert(!std::is_convertible_v<PrivateText, std::string>);
static_assert(!std::is_constructible_v<std::string, const PrivateText&>);
static_assert(!std::is_copy_constructible_v<SecretBytes>);
// The arrows of the pipeline: nobody makes a clipped or encoded delta but Clip and Encode.
static_assert(!std::is_constructible_v<ClippedDelta, std::vector<float>>);
static_assert(!std::is_constructible_v<EncodedDelta, std::vector<uint32_t>>);
static_assert(!std::is_constructible_v<AdapterDelta, std::vector<float>>);
static_assert(!std::is_constructible_v<MaskedUpdate, EncodedDelta>);
// No arrow is skipped by a conversion, and nothing between text and mask is printed.
static_assert(!std::is_constructible_v<ClippedDelta, AdapterDelta>);
static_assert(!std::is_constructible_v<EncodedDelta, ClippedDelta>);
static_assert(!std::is_constructible_v<EncodedDelta, AdapterDelta>);
static_assert(!std::is_convertible_v<AdapterDelta, std::vector<float>>);
static_assert(!Printable<AdapterDelta> && !Comparable<AdapterDelta>);
static_assert(!Printable<ClippedDelta> && !Printable<EncodedDelta>);
// What the owner's text made is opened by name only, never by passing it where adapters go.
static_assert(!std::is_constructible_v<PersonalAdapter, Adapter>);
static_assert(!std::is_constructible_v<Adapter, PersonalAdapter>);
static_assert(!Printable<PersonalAdapter> && !Comparable<PersonalAdapter>);
// A signing key is generated or read, and there is one of it.
static_assert(!std::is_default_constructible_v<SigningKey>);
static_assert(!std::is_copy_constructible_v<SigningKey> && !std::is_copy_assignable_v<SigningKey>);
static_assert(!std::is_constructible_v<SigningKey, std::string>);
static_assert(!std::is_constructible_v<std::string, const SigningKey&>);
static_assert(!std::is_convertible_v<SigningKey, Ed25519PublicKey>);
static_assert(!Printable<SigningKey> && !Comparable<SigningKey>);

TEST(PrivacyTypesTest, TextIsWipedWhenMovedOver) {
  PrivateText text("words");
  text = PrivateText("other");
  EXPECT_EQ(text.Open(TextAccess("test")), "other");
}

}  // namespace
}  // namespace lorikeet
