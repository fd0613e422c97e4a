// Trust metadata and the log.
#include <utility>

#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "coordinator/storage/sql_store.h"
#include "coordinator/storage/sql_rows.h"

namespace lorikeet {
namespace {

using storage_internal::ArrayColumn;
using storage_internal::TextColumn;

absl::StatusOr<std::vector<TrustRecord>> ReadTrust(SqlStatement select) {
  std::vector<TrustRecord> records;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return records;
    TrustRecord& record = records.emplace_back();
    ASSIGN_OR_RETURN(record.role, ParseTrustRole(select.Text(0)));
    record.version = static_cast<uint64_t>(select.Int(1));
    ASSIGN_OR_RETURN(record.document, ParseSigned(select.Text(2)));
  }
}

}  // namespace

absl::Status SqlStore::AddTrust(const std::vector<TrustRecord>& records) {
  ASSIGN_OR_RETURN(auto transaction, SqlTransaction::Begin(database_.get(), "trust"));
  ASSIGN_OR_RETURN(auto insert, database_->Prepare("INSERT INTO trust_documents (role, version, "
                                                   "document) VALUES (?, ?, ?)"));
  ASSIGN_OR_RETURN(auto forget, database_->Prepare("DELETE FROM trust_documents WHERE role = ? AND "
                                                   "version < ? AND role <> 'root'"));
  for (const TrustRecord& record : records) {
    const int64_t version = static_cast<int64_t>(record.version);
    RETURN_IF_ERROR(insert.BindText(1, TrustRoleName(record.role))
                        .Bind(2, version)
                        .BindText(3, SerializeSigned(record.document))
                        .Run());
    RETURN_IF_ERROR(forget.BindText(1, TrustRoleName(record.role)).Bind(2, version).Run());
  }
  return transaction.Commit();
}

absl::StatusOr<std::vector<TrustRecord>> SqlStore::CurrentTrust() {
  ASSIGN_OR_RETURN(auto select,
                   database_->Prepare("SELECT role, version, document FROM trust_documents AS d "
                                      "WHERE version = (SELECT max(version) FROM trust_documents "
                                      "AS newest WHERE newest.role = d.role)"));
  return ReadTrust(std::move(select));
}

absl::StatusOr<std::vector<TrustRecord>> SqlStore::RootsAfter(uint64_t version, int limit) {
  ASSIGN_OR_RETURN(auto select,
                   database_->Prepare("SELECT role, version, document FROM trust_documents WHERE "
                                      "role = 'root' AND version > ? ORDER BY version LIMIT ?"));
  select.Bind(1, static_cast<int64_t>(version)).Bind(2, int64_t{limit});
  return ReadTrust(std::move(select));
}

absl::Status SqlStore::AppendLog(const LogAppend& append) {
  ASSIGN_OR_RETURN(auto transaction, SqlTransaction::Begin(database_.get(), "log"));
  ASSIGN_OR_RETURN(auto entry, database_->Prepare("INSERT INTO log_entries (position, kind, "
                                                  "content) VALUES (?, ?, ?)"));
  RETURN_IF_ERROR(entry.Bind(1, static_cast<int64_t>(append.position))
                      .Bind(2, static_cast<int64_t>(append.entry.kind))
                      .BindBlob(3, append.entry.content)
                      .Run());
  ASSIGN_OR_RETURN(auto node, database_->Prepare("INSERT INTO log_nodes (level, position, hash) "
                                                 "VALUES (?, ?, ?)"));
  for (const MerkleNode& completed : append.nodes) {
    RETURN_IF_ERROR(node.Bind(1, int64_t{completed.level})
                        .Bind(2, static_cast<int64_t>(completed.index))
                        .BindBlob(3, completed.hash)
                        .Run());
  }
  return transaction.Commit();
}

absl::StatusOr<uint64_t> SqlStore::LogSize() {
  ASSIGN_OR_RETURN(auto select,
                   database_->Prepare("SELECT coalesce(max(position) + 1, 0) FROM log_entries"));
  ASSIGN_OR_RETURN(const bool found, select.Step());
  return found ? static_cast<uint64_t>(select.Int(0)) : 0;
}

absl::StatusOr<std::optional<uint64_t>> SqlStore::FindLogEntry(const LogEntry& entry) {
  ASSIGN_OR_RETURN(auto select, database_->Prepare("SELECT position FROM log_entries WHERE "
                                                   "content = ? AND kind = ?"));
  select.BindBlob(1, entry.content).Bind(2, static_cast<int64_t>(entry.kind));
  ASSIGN_OR_RETURN(const bool found, select.Step());
  if (!found) return std::nullopt;
  return static_cast<uint64_t>(select.Int(0));
}

absl::StatusOr<std::vector<LogEntry>> SqlStore::ReadLog(uint64_t first, int limit) {
  ASSIGN_OR_RETURN(auto select,
                   database_->Prepare("SELECT kind, content FROM log_entries WHERE position >= ? "
                                      "ORDER BY position LIMIT ?"));
  select.Bind(1, static_cast<int64_t>(first)).Bind(2, int64_t{limit});
  std::vector<LogEntry> entries;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return entries;
    LogEntry& entry = entries.emplace_back();
    entry.kind = static_cast<LogEntryKind>(select.Int(0));
    RETURN_IF_ERROR(ArrayColumn(select, 1, &entry.content));
  }
}

absl::StatusOr<Hash256> SqlStore::ReadNode(int level, uint64_t index) {
  ASSIGN_OR_RETURN(auto select, database_->Prepare("SELECT hash FROM log_nodes WHERE level = ? "
                                                   "AND position = ?"));
  select.Bind(1, int64_t{level}).Bind(2, static_cast<int64_t>(index));
  ASSIGN_OR_RETURN(const bool found, select.Step());
  if (!found) {
    return absl::DataLossError(absl::StrFormat(
        "store: expected node %d of level %d of the log, found none", index, level));
  }
  Hash256 hash;
  RETURN_IF_ERROR(ArrayColumn(select, 0, &hash));
  return hash;
}

}  // namespace lorikeet
