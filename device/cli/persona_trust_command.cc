#include "device/cli/persona_trust_command.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/adapter/catalog_signature.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/crypto/public_key_file.h"

namespace lorikeet {
namespace {

struct TrustArguments {
  std::string catalog;
  std::string key;  // secret for sign and keygen, public for the others
  std::string out;
  std::string next;
  int days = 365;
};

std::string Day(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone());
}

nlohmann::json SignatureJson(const Catalog& catalog, const CatalogSignature& signature) {
  return {{"version", catalog.version},
          {"base_fingerprint", catalog.base_fingerprint},
          {"personas", catalog.personas.size()},
          {"signer", ToHex(signature.signer)},
          {"issued", absl::ToUnixSeconds(signature.issued)},
          {"expires", absl::ToUnixSeconds(signature.expires)}};
}

std::string Describe(const VerifiedCatalog& verified) {
  return absl::StrFormat("version %d, %d personas, signed by %s on %s, valid until %s",
                         verified.catalog.version, verified.catalog.personas.size(),
                         ToHex(verified.signature.signer), Day(verified.signature.issued),
                         Day(verified.signature.expires));
}

absl::StatusOr<CatalogTrust> ReadTrust(const TrustArguments& arguments) {
  CatalogTrust trust{.key = {}, .now = absl::Now()};
  ASSIGN_OR_RETURN(trust.key, ReadPublicKey(arguments.key));
  return trust;
}

absl::Status RunKeygen(const TrustArguments& arguments, Output& output) {
  const std::string public_path = arguments.out + ".pub";
  for (const std::string& path : {arguments.out, public_path}) {
    if (FileExists(path)) {
      return absl::AlreadyExistsError(
          absl::StrCat(path, ": expected no file here; a key is not replaced"));
    }
  }
  SystemRandom random;
  const SigningKey key = SigningKey::Generate(&random);
  RETURN_IF_ERROR(key.WriteFile(arguments.out));
  RETURN_IF_ERROR(WritePublicKey(key.public_key(), public_path));
  output.Line(absl::StrCat("secret key: ", arguments.out, " (keep it; whoever has it can sign)"));
  output.Line(
      absl::StrCat("public key: ", public_path, " (give it to devices, for --catalog-key)"));
  output.SetJson({{"secret_key_file", arguments.out},
                  {"public_key_file", public_path},
                  {"public_key", ToHex(key.public_key())}});
  return absl::OkStatus();
}

absl::Status RunSign(const TrustArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(const SigningKey key, SigningKey::ReadFile(arguments.key));
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(arguments.catalog));
  const absl::Time now = absl::Now();
  const auto signed_bytes = SignCatalog(bytes, key, now, now + absl::Hours(24) * arguments.days);
  if (!signed_bytes.ok()) return Annotate(signed_bytes.status(), arguments.catalog);
  // What is handed out is what a device will make of it.
  ASSIGN_OR_RETURN(const VerifiedCatalog verified,
                   VerifyCatalog(*signed_bytes, {.key = key.public_key(), .now = now}));
  const std::string& path = arguments.out.empty() ? arguments.catalog : arguments.out;
  RETURN_IF_ERROR(WriteFileAtomic(path, *signed_bytes));
  output.Line(absl::StrCat(path, ": ", Describe(verified)));
  nlohmann::json document = SignatureJson(verified.catalog, verified.signature);
  document["out"] = path;
  output.SetJson(std::move(document));
  return absl::OkStatus();
}

absl::Status RunVerify(const TrustArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(const CatalogTrust trust, ReadTrust(arguments));
  ASSIGN_OR_RETURN(const VerifiedCatalog verified, ReadVerifiedCatalog(arguments.catalog, trust));
  output.Line(absl::StrCat(arguments.catalog, ": verified: ", Describe(verified)));
  nlohmann::json document = SignatureJson(verified.catalog, verified.signature);
  document["verified"] = true;
  output.SetJson(std::move(document));
  return absl::OkStatus();
}

absl::Status RunInstall(const TrustArguments& arguments, Output& output) {
  ASSIGN_OR_RETURN(const CatalogTrust trust, ReadTrust(arguments));
  const auto installed = InstallCatalog(arguments.next, arguments.catalog, trust);
  if (!installed.ok()) {
    return Annotate(installed.status(),
                    absl::StrCat("not installed, ", arguments.catalog, " stays as it was"));
  }
  output.Line(absl::StrCat(arguments.catalog, ": installed: ", Describe(*installed)));
  nlohmann::json document = SignatureJson(installed->catalog, installed->signature);
  document["installed"] = true;
  output.SetJson(std::move(document));
  return absl::OkStatus();
}

void AddKeygenAndSign(Program& program, CLI::App* group) {
  auto keygen = std::make_shared<TrustArguments>();
  CLI::App* command = program.Add(group, "keygen", "Make a key that signs catalogs",
                                  [keygen](Output& output) { return RunKeygen(*keygen, output); });
  command->add_option("--out", keygen->out, "Secret key file; the public key goes to FILE.pub")
      ->required();

  auto sign = std::make_shared<TrustArguments>();
  command = program.Add(group, "sign", "Sign a catalog: who made it, and until when it is good",
                        [sign](Output& output) { return RunSign(*sign, output); });
  command->add_option("--catalog", sign->catalog, "Catalog")->required();
  command->add_option("--key", sign->key, "Secret key file (persona keygen)")->required();
  command->add_option("--days", sign->days, "Days until it expires")
      ->check(CLI::Range(1, 36500))
      ->capture_default_str();
  command->add_option("--out", sign->out, "Signed catalog to write (default: the one read)");
}

void AddVerifyAndInstall(Program& program, CLI::App* group) {
  auto verify = std::make_shared<TrustArguments>();
  CLI::App* command = program.Add(group, "verify", "Check a catalog's signature and expiry",
                                  [verify](Output& output) { return RunVerify(*verify, output); });
  command->add_option("--catalog", verify->catalog, "Catalog")->required();
  command->add_option("--catalog-key", verify->key, "Public key file")->required();

  auto install = std::make_shared<TrustArguments>();
  command = program.Add(group, "install", "Replace a catalog by a newer one that is well signed",
                        [install](Output& output) { return RunInstall(*install, output); });
  command->add_option("new", install->next, "The new catalog")->required();
  command->add_option("--to", install->catalog, "The catalog in use, to be replaced")->required();
  command->add_option("--catalog-key", install->key, "Public key file")->required();
}

}  // namespace

void AddPersonaTrustCommands(Program& program, CLI::App* group) {
  AddKeygenAndSign(program, group);
  AddVerifyAndInstall(program, group);
}

}  // namespace lorikeet
