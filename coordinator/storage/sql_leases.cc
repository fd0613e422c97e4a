// Leases: which coordinator may write what, and the fence that keeps out those who could once.
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "coordinator/storage/sql_store.h"
#include "coordinator/storage/sql_rows.h"

namespace lorikeet {
namespace {

using storage_internal::TextColumn;
using storage_internal::TimeColumn;
using storage_internal::ToColumn;

}  // namespace

absl::StatusOr<std::optional<Lease>> SqlStore::FindLease(std::string_view name) {
  ASSIGN_OR_RETURN(auto select, database_->Prepare("SELECT token, holder, address, expires "
                                                   "FROM leases WHERE name = ?"));
  ASSIGN_OR_RETURN(const bool found, select.BindText(1, name).Step());
  if (!found) return std::nullopt;
  return Lease{.name = std::string(name),
               .token = static_cast<uint64_t>(select.Int(0)),
               .holder = TextColumn(select, 1),
               .address = TextColumn(select, 2),
               .expires = TimeColumn(select, 3)};
}

absl::StatusOr<Lease> SqlStore::AcquireLease(const LeaseRequest& request) {
  // One row a name that is never deleted, so that tokens go on where they were.
  ASSIGN_OR_RETURN(auto insert,
                   database_->Prepare("INSERT INTO leases (name, token, holder, address, expires) "
                                      "VALUES (?, 0, '', '', 0) ON CONFLICT (name) DO NOTHING"));
  RETURN_IF_ERROR(insert.BindText(1, request.name).Run());
  ASSIGN_OR_RETURN(const absl::Time now, database_->Now(request.now));
  // One statement, so that of two who ask at once the second sees the first's lease.
  ASSIGN_OR_RETURN(auto take,
                   database_->Prepare("UPDATE leases SET token = token + 1, holder = ?1, "
                                      "address = ?2, expires = ?3 WHERE name = ?4 AND "
                                      "(expires <= ?5 OR holder = ?1)"));
  RETURN_IF_ERROR(take.BindText(1, request.holder)
                      .BindText(2, request.address)
                      .Bind(3, ToColumn(now + request.duration))
                      .BindText(4, request.name)
                      .Bind(5, ToColumn(now))
                      .Run());
  ASSIGN_OR_RETURN(std::optional<Lease> lease, FindLease(request.name));
  if (lease) return *std::move(lease);
  return absl::DataLossError(absl::StrCat("store: expected lease ", request.name, ", got none"));
}

absl::Status SqlStore::RenewLease(const Fence& fence, absl::Time now, absl::Duration duration) {
  ASSIGN_OR_RETURN(const absl::Time database_now, database_->Now(now));
  ASSIGN_OR_RETURN(auto renew, database_->Prepare("UPDATE leases SET expires = ? WHERE name = ? "
                                                  "AND token = ? AND holder <> ''"));
  RETURN_IF_ERROR(renew.Bind(1, ToColumn(database_now + duration))
                      .BindText(2, fence.lease)
                      .Bind(3, static_cast<int64_t>(fence.token))
                      .Run());
  if (database_->changes() == 1) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("lease ", fence.lease, ": expected to hold it with token ", fence.token,
                   ", got that it was given up or taken over"));
}

absl::Status SqlStore::ReleaseLease(const Fence& fence) {
  ASSIGN_OR_RETURN(auto release,
                   database_->Prepare("UPDATE leases SET holder = '', address = '', expires = 0 "
                                      "WHERE name = ? AND token = ?"));
  return release.BindText(1, fence.lease).Bind(2, static_cast<int64_t>(fence.token)).Run();
}

void SqlStore::UseFence(const std::optional<Fence>& fence) { fence_ = fence; }

absl::StatusOr<SqlTransaction> SqlStore::BeginRoundWrite(std::string_view exclusive) {
  ASSIGN_OR_RETURN(SqlTransaction transaction, SqlTransaction::Begin(database_.get(), exclusive));
  if (!fence_) return transaction;
  // Locked until the commit: a lease that is taken over meanwhile waits for this write, and every
  // later one sees the new token.
  ASSIGN_OR_RETURN(auto select,
                   database_->Prepare(absl::StrCat("SELECT token FROM leases WHERE name = ?",
                                                   database_->for_share())));
  ASSIGN_OR_RETURN(const bool found, select.BindText(1, fence_->lease).Step());
  const uint64_t token = found ? static_cast<uint64_t>(select.Int(0)) : 0;
  if (token == fence_->token) return transaction;
  return absl::FailedPreconditionError(absl::StrCat("fence: expected lease ", fence_->lease,
                                                    " with token ", fence_->token, ", got ", token,
                                                    ": another coordinator has taken over"));
}

}  // namespace lorikeet
