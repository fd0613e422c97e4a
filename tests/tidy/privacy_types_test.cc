// Private and secret types cannot be printed, compared or copied by accident: checked by the
// compiler.
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <type_traits>

#include "common/crypto/secret_bytes.h"
#include "common/dp/encoder.h"
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

TEST(PrivacyTypesTest, TextIsWipedWhenMovedOver) {
  PrivateText text("words");
  text = PrivateText("other");
  EXPECT_EQ(text.Open(TextAccess("test")), "other");
}

}  // namespace
}  // namespace lorikeet
