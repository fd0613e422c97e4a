#include "coordinator/admin/certificate_authority.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using Bio = std::unique_ptr<BIO, Deleter<BIO_free_all>>;
using Extension = std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>>;

// Clocks of devices may be behind ours.
constexpr absl::Duration kBackdate = absl::Hours(1);

absl::Status OpenSslError(const char* what) {
  char text[256] = "no detail";
  if (const unsigned long code = ERR_get_error(); code != 0) {
    ERR_error_string_n(code, text, sizeof(text));
  }
  ERR_clear_error();
  return absl::InternalError(absl::StrCat("certificate: cannot ", what, ": ", text));
}

std::string TakeBio(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

struct Request {
  std::string common_name;
  std::string usage;        // extendedKeyUsage; empty for an authority
  std::string alternative;  // subjectAltName; may be empty
  absl::Time now;
  absl::Duration validity;
};

absl::Status AddExtension(X509* certificate, X509* issuer, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str()));
  if (extension == nullptr || X509_add_ext(certificate, extension.get(), -1) != 1) {
    return OpenSslError("add an extension");
  }
  return absl::OkStatus();
}

absl::Status FillExtensions(X509* certificate, X509* issuer, const Request& request) {
  const bool authority = request.usage.empty();
  RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_basic_constraints,
                               authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE"));
  RETURN_IF_ERROR(
      AddExtension(certificate, issuer, NID_key_usage,
                   authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature"));
  RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_subject_key_identifier, "hash"));
  RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_authority_key_identifier, "keyid:always"));
  if (!authority) {
    RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_ext_key_usage, request.usage));
  }
  if (request.alternative.empty()) return absl::OkStatus();
  return AddExtension(certificate, issuer, NID_subject_alt_name, request.alternative);
}

// Subject, times, serial and public key; `issuer` null: self-signed.
absl::StatusOr<CertifiedKey> Issue(const Request& request, X509* issuer, EVP_PKEY* issuer_key) {
  const Key key(EVP_EC_gen("P-256"));
  const Certificate certificate(X509_new());
  if (key == nullptr || certificate == nullptr) return OpenSslError("make a key");
  unsigned char serial[16];
  if (RAND_bytes(serial, sizeof(serial)) != 1) return OpenSslError("draw a serial number");
  serial[0] &= 0x7f;  // positive
  BIGNUM* number = BN_bin2bn(serial, sizeof(serial), nullptr);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate.get()));
  BN_free(number);
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_TIME_set(X509_getm_notBefore(certificate.get()), absl::ToTimeT(request.now - kBackdate));
  ASN1_TIME_set(X509_getm_notAfter(certificate.get()),
                absl::ToTimeT(request.now + request.validity));
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  if (X509_NAME_add_entry_by_txt(
          subject, "CN", MBSTRING_UTF8,
          reinterpret_cast<const unsigned char*>(request.common_name.c_str()), -1, -1, 0) != 1 ||
      X509_set_pubkey(certificate.get(), key.get()) != 1) {
    return OpenSslError("fill a certificate");
  }
  X509* const signer = issuer == nullptr ? certificate.get() : issuer;
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(signer));
  RETURN_IF_ERROR(FillExtensions(certificate.get(), signer, request));
  EVP_PKEY* const signing_key = issuer_key == nullptr ? key.get() : issuer_key;
  if (X509_sign(certificate.get(), signing_key, EVP_sha256()) == 0) return OpenSslError("sign");

  const Bio certificate_text(BIO_new(BIO_s_mem()));
  const Bio key_text(BIO_new(BIO_s_secmem()));
  if (PEM_write_bio_X509(certificate_text.get(), certificate.get()) != 1 ||
      PEM_write_bio_PKCS8PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                    nullptr) != 1) {
    return OpenSslError("write PEM");
  }
  return CertifiedKey{TakeBio(certificate_text.get()), TakeBio(key_text.get())};
}

absl::StatusOr<CertifiedKey> IssueFrom(const CertifiedKey& authority, const Request& request) {
  const Bio certificate_text(BIO_new_mem_buf(authority.certificate.data(),
                                             static_cast<int>(authority.certificate.size())));
  const Bio key_text(BIO_new_mem_buf(authority.key.data(), static_cast<int>(authority.key.size())));
  const Certificate issuer(PEM_read_bio_X509(certificate_text.get(), nullptr, nullptr, nullptr));
  const Key key(PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr));
  if (issuer == nullptr || key == nullptr) {
    ERR_clear_error();
    return absl::InvalidArgumentError("authority: expected a certificate and its key in PEM");
  }
  if (X509_check_private_key(issuer.get(), key.get()) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError("authority: the key is not the certificate's");
  }
  return Issue(request, issuer.get(), key.get());
}

bool IsAddress(const std::string& host) {
  unsigned char buffer[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), buffer) == 1 ||
         inet_pton(AF_INET6, host.c_str(), buffer) == 1;
}

bool IsHostName(const std::string& host) {
  return !host.empty() && host.size() <= 253 && std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '-';
  });
}

}  // namespace

absl::StatusOr<CertifiedKey> MakeAuthority(const std::string& name, absl::Time now,
                                           absl::Duration validity) {
  Request request;
  request.common_name = name;
  request.now = now;
  request.validity = validity;
  return Issue(request, nullptr, nullptr);
}

absl::StatusOr<CertifiedKey> IssueServerCertificate(const CertifiedKey& authority,
                                                    const std::vector<std::string>& hosts,
                                                    absl::Time now, absl::Duration validity) {
  if (hosts.empty()) return absl::InvalidArgumentError("server certificate: expected a host");
  std::vector<std::string> names;
  for (const std::string& host : hosts) {
    if (!IsAddress(host) && !IsHostName(host)) {
      return absl::InvalidArgumentError("server certificate: expected host names or addresses");
    }
    names.push_back(absl::StrCat(IsAddress(host) ? "IP:" : "DNS:", host));
  }
  Request request;
  request.common_name = hosts[0].substr(0, 64);
  // clientAuth: coordinators over one store call each other by it.
  request.usage = "serverAuth,clientAuth";
  request.alternative = absl::StrJoin(names, ",");
  request.now = now;
  request.validity = validity;
  return IssueFrom(authority, request);
}

absl::StatusOr<CertifiedKey> IssueClientCertificate(const CertifiedKey& authority,
                                                    const std::string& device, absl::Time now,
                                                    absl::Duration validity) {
  Request request;
  request.common_name = device;
  request.usage = "clientAuth";
  request.now = now;
  request.validity = validity;
  return IssueFrom(authority, request);
}

absl::StatusOr<absl::Time> CheckServerCertificate(const std::string& authority,
                                                  const CertifiedKey& server, absl::Time now) {
  const auto read = [](const std::string& pem) {
    const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    return Certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  };
  const Certificate issuer = read(authority), certificate = read(server.certificate);
  const Bio bio(BIO_new_mem_buf(server.key.data(), static_cast<int>(server.key.size())));
  const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (issuer == nullptr || certificate == nullptr || key == nullptr) {
    return absl::InvalidArgumentError(
        "expected PEM texts of the authority, the server and the server's key");
  }
  const bool goes_with_key = X509_check_private_key(certificate.get(), key.get()) == 1;
  const bool issued = X509_verify(certificate.get(), X509_get0_pubkey(issuer.get())) == 1;
  ERR_clear_error();
  if (!goes_with_key || !issued) {
    return absl::FailedPreconditionError(
        absl::StrCat("expected the server's to ",
                     issued ? "go with its key, got another key" : "be signed by the authority"));
  }
  tm begin = {}, end = {};
  ASN1_TIME_to_tm(X509_get0_notBefore(certificate.get()), &begin);
  ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &end);
  const absl::Time expires = absl::FromTM(end, absl::UTCTimeZone());
  if (now >= absl::FromTM(begin, absl::UTCTimeZone()) && now < expires) return expires;
  return absl::FailedPreconditionError(
      absl::StrCat("expected the server's to be valid now, it expires on ",
                   absl::FormatTime(absl::RFC3339_sec, expires, absl::UTCTimeZone())));
}

}  // namespace lorikeet
