// The vault's texts as something to draft tokens from (device/runtime/lookup_decoder.h).
//
// They speed generation up where the owner's words come again.  The model does not see them: what
// it writes is the same without.
#ifndef LORIKEET_DEVICE_CLI_VAULT_LOOKUP_H_
#define LORIKEET_DEVICE_CLI_VAULT_LOOKUP_H_

#include "absl/status/statusor.h"
#include "common/tokenizer/tokenizer.h"
#include "device/runtime/lookup_index.h"
#include "device/vault/vault.h"

namespace lorikeet {

// Of sources that allow retrieval; the newest 4 MiB if there is more.  Lives in memory only.
absl::StatusOr<LookupIndex> IndexVault(const Vault& vault, const Tokenizer& tokenizer);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_VAULT_LOOKUP_H_
