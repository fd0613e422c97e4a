// Any bytes as a signed catalog: nothing but what was signed passes, and no crash.
#include "common/adapter/catalog_signature.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/tiny_catalog.h"

namespace lorikeet {
namespace {

const SigningKey& Key() {
  static const auto* const key = [] {
    SeededRandom random("catalog-signature-fuzz", 1);
    return new SigningKey(SigningKey::Generate(&random));
  }();
  return *key;
}

absl::Time Issued() { return absl::FromUnixSeconds(1700000000); }

const std::string& Signed() {
  static const auto* const bytes = new std::string(
      SignCatalog(SerializeCatalog(TinyCatalog()), Key(), Issued(), Issued() + absl::Hours(24))
          .value());
  return *bytes;
}

}  // namespace

std::vector<std::string> FuzzSeeds() { return {Signed(), SerializeCatalog(TinyCatalog())}; }

}  // namespace lorikeet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lorikeet;  // NOLINT: the entry point cannot live in a namespace
  const std::string_view bytes = AsChars({data, size});
  const auto verified =
      VerifyCatalog(bytes, {.key = Key().public_key(), .now = Issued() + absl::Hours(1)});
  LORIKEET_CHECK(verified.ok() == (bytes == Signed()));
  const auto file = GgufFile::Parse({data, size}, "fuzz");
  if (!file.ok()) return 0;
  const auto signature = FindCatalogSignature(**file);
  if (signature.ok() && *signature) {
    LORIKEET_CHECK((*signature)->issued >= absl::UnixEpoch());
  }
  return 0;
}
