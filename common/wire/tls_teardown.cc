#include "common/wire/tls_teardown.h"

#include <openssl/crypto.h>

#include "common/base/status_macros.h"

namespace lorikeet {

void KeepTlsTablesAtExit() {
  LORIKEET_CHECK(OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr) == 1);
}

}  // namespace lorikeet
