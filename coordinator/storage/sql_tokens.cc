// Anonymous tokens: what devices were given, and what was spent.  The two tables share no column
// that could join a device to a token but the epoch.
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "coordinator/storage/sql_store.h"
#include "coordinator/storage/sql_rows.h"

namespace lorikeet {

absl::Status SqlStore::SpendToken(const SpentTokenRecord& token) {
  ASSIGN_OR_RETURN(auto insert,
                   database_->Prepare("INSERT INTO spent_tokens (epoch, nonce, session) "
                                      "VALUES (?, ?, ?)"));
  const absl::Status spent = insert.Bind(1, static_cast<int64_t>(token.epoch))
                                 .BindBlob(2, token.nonce)
                                 .BindBlob(3, token.session)
                                 .Run();
  return absl::IsAlreadyExists(spent) ? absl::AlreadyExistsError("the token is spent") : spent;
}

absl::StatusOr<std::optional<SessionId>> SqlStore::FindSpentToken(uint64_t epoch,
                                                                  const Hash256& nonce) {
  ASSIGN_OR_RETURN(auto select, database_->Prepare("SELECT session FROM spent_tokens "
                                                   "WHERE epoch = ? AND nonce = ?"));
  select.Bind(1, static_cast<int64_t>(epoch)).BindBlob(2, nonce);
  ASSIGN_OR_RETURN(const bool found, select.Step());
  if (!found) return std::nullopt;
  SessionId session;
  RETURN_IF_ERROR(storage_internal::ArrayColumn(select, 0, &session));
  return session;
}

absl::StatusOr<bool> SqlStore::TryChargeTokens(const TokenChargeRecord& charge, uint32_t limit) {
  // A device's charges one after the other: none may miss another in its sum.
  ASSIGN_OR_RETURN(
      auto transaction,
      SqlTransaction::Begin(database_.get(), absl::StrCat("tokens of ", charge.device)));
  ASSIGN_OR_RETURN(auto select, database_->Prepare("SELECT request, count FROM token_charges "
                                                   "WHERE epoch = ? AND device = ?"));
  select.Bind(1, static_cast<int64_t>(charge.epoch)).BindText(2, charge.device);
  uint64_t sum = charge.count;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) break;
    Hash256 request;
    RETURN_IF_ERROR(storage_internal::ArrayColumn(select, 0, &request));
    if (request == charge.request) return true;
    sum += static_cast<uint64_t>(select.Int(1));
  }
  if (sum > limit) return false;
  ASSIGN_OR_RETURN(auto insert, database_->Prepare("INSERT INTO token_charges (epoch, device, "
                                                   "request, count) VALUES (?, ?, ?, ?)"));
  RETURN_IF_ERROR(insert.Bind(1, static_cast<int64_t>(charge.epoch))
                      .BindText(2, charge.device)
                      .BindBlob(3, charge.request)
                      .Bind(4, int64_t{charge.count})
                      .Run());
  RETURN_IF_ERROR(transaction.Commit());
  return true;
}

absl::Status SqlStore::ForgetTokens(uint64_t before_epoch) {
  for (const char* sql :
       {"DELETE FROM token_charges WHERE epoch < ?", "DELETE FROM spent_tokens WHERE epoch < ?"}) {
    ASSIGN_OR_RETURN(auto forget, database_->Prepare(sql));
    RETURN_IF_ERROR(forget.Bind(1, static_cast<int64_t>(before_epoch)).Run());
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
