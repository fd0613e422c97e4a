#include "coordinator/storage/migrations.h"

#include <charconv>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr char kMetaTable[] =
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT";

constexpr Migration kMigrations[] = {
    {1, "tasks, rounds, releases, devices, ledger", R"sql(
CREATE TABLE tasks (
  name TEXT PRIMARY KEY, config TEXT NOT NULL, state INTEGER NOT NULL,
  created INTEGER NOT NULL) STRICT;
CREATE TABLE rounds (
  id INTEGER PRIMARY KEY, task TEXT NOT NULL REFERENCES tasks(name), number INTEGER NOT NULL,
  session BLOB NOT NULL UNIQUE, description BLOB NOT NULL, signature BLOB NOT NULL,
  key BLOB NOT NULL, status INTEGER NOT NULL, opened INTEGER NOT NULL, finished INTEGER,
  message TEXT NOT NULL, survivor_count INTEGER NOT NULL, transcript BLOB NOT NULL,
  report TEXT NOT NULL, UNIQUE (task, number)) STRICT;
CREATE INDEX rounds_by_status ON rounds (status);
CREATE TABLE round_events (
  position INTEGER PRIMARY KEY, round_id INTEGER NOT NULL REFERENCES rounds(id),
  kind INTEGER NOT NULL, device TEXT NOT NULL, payload BLOB NOT NULL,
  at INTEGER NOT NULL) STRICT;
CREATE INDEX events_by_round ON round_events (round_id, position);
CREATE TABLE releases (
  kind TEXT NOT NULL, base_fingerprint TEXT NOT NULL, version INTEGER NOT NULL,
  name TEXT NOT NULL, manifest TEXT NOT NULL, signature BLOB NOT NULL, key BLOB NOT NULL,
  published INTEGER NOT NULL, PRIMARY KEY (kind, base_fingerprint, version)) STRICT;
CREATE TABLE devices (
  id TEXT PRIMARY KEY, enrolled INTEGER NOT NULL, revoked INTEGER) STRICT;
CREATE TABLE ledger (
  task TEXT NOT NULL, round_number INTEGER NOT NULL, epsilon REAL NOT NULL,
  delta REAL NOT NULL, noise_multiplier REAL NOT NULL, charged INTEGER NOT NULL,
  spent INTEGER NOT NULL, PRIMARY KEY (task, round_number)) STRICT;
)sql"},
    // IF NOT EXISTS: there were programs that added these two to version 1.
    {2, "anonymous tokens", R"sql(
CREATE TABLE IF NOT EXISTS token_charges (
  epoch INTEGER NOT NULL, device TEXT NOT NULL, request BLOB NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (epoch, device, request)) STRICT;
CREATE TABLE IF NOT EXISTS spent_tokens (
  epoch INTEGER NOT NULL, nonce BLOB NOT NULL, session BLOB NOT NULL,
  PRIMARY KEY (epoch, nonce)) STRICT;
)sql"},
    // Before, every masked update was an event of its own.  A round that is open cannot go on: it
    // ends here, and what it was charged stays charged.
    {3, "partial sums", R"sql(
CREATE TABLE partial_sums (
  round_id INTEGER NOT NULL REFERENCES rounds(id), writer TEXT NOT NULL, sum BLOB NOT NULL,
  PRIMARY KEY (round_id, writer)) STRICT;
UPDATE rounds SET status = 2, finished = opened,
  message = 'aborted: the coordinator was updated during this round' WHERE status = 0;
DELETE FROM round_events;
)sql"},
    {4, "central noise", R"sql(
CREATE TABLE central_noise (
  task TEXT PRIMARY KEY REFERENCES tasks(name), state BLOB NOT NULL) STRICT;
)sql"},
    // Before, every round opened alone.
    {5, "sweeps of routed rounds", R"sql(
ALTER TABLE ledger ADD COLUMN sweep INTEGER NOT NULL DEFAULT 0;
UPDATE ledger SET sweep = round_number;
CREATE TABLE kept_sums (
  round_id INTEGER PRIMARY KEY REFERENCES rounds(id), task TEXT NOT NULL,
  sweep INTEGER NOT NULL, sum BLOB NOT NULL) STRICT;
)sql"},
    {6, "leases of coordinators", R"sql(
CREATE TABLE leases (
  name TEXT PRIMARY KEY, token INTEGER NOT NULL, holder TEXT NOT NULL, address TEXT NOT NULL,
  expires INTEGER NOT NULL) STRICT;
)sql"},
    {7, "trust metadata and the log", R"sql(
CREATE TABLE trust_documents (
  role TEXT NOT NULL, version INTEGER NOT NULL, document TEXT NOT NULL,
  PRIMARY KEY (role, version)) STRICT;
CREATE TABLE log_entries (
  position INTEGER NOT NULL, kind INTEGER NOT NULL, content BLOB NOT NULL,
  PRIMARY KEY (position), UNIQUE (content, kind)) STRICT;
CREATE TABLE log_nodes (
  level INTEGER NOT NULL, position INTEGER NOT NULL, hash BLOB NOT NULL,
  PRIMARY KEY (level, position)) STRICT;
)sql"},
};

absl::StatusOr<int> SchemaVersion(SqlConnection* database) {
  ASSIGN_OR_RETURN(const bool made, database->HasTable("meta"));
  if (!made) return 0;
  ASSIGN_OR_RETURN(auto select,
                   database->Prepare("SELECT value FROM meta WHERE key = 'schema_version'"));
  ASSIGN_OR_RETURN(const bool found, select.Step());
  if (!found) return 0;
  const std::string_view text = select.Text(0);
  int version = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), version);
  if (parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && version > 0) {
    return version;
  }
  return absl::DataLossError(
      absl::StrCat("store: expected a schema version, got '", ToAbsl(text), "'"));
}

absl::Status CheckNotNewer(int version, int target) {
  if (version <= target) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("store: expected schema version ", target,
                                                    " or older, got ", version,
                                                    ": a newer program has written it"));
}

}  // namespace

std::span<const Migration> Migrations() { return kMigrations; }

int NewestSchemaVersion() { return kMigrations[std::size(kMigrations) - 1].version; }

absl::Status MigrateSchema(SqlConnection* database, int target) {
  ASSIGN_OR_RETURN(int version, SchemaVersion(database));
  RETURN_IF_ERROR(CheckNotNewer(version, target));
  if (version == target) return absl::OkStatus();
  ASSIGN_OR_RETURN(auto transaction, SqlTransaction::Begin(database, "schema"));
  ASSIGN_OR_RETURN(version, SchemaVersion(database));  // another process may have been faster
  RETURN_IF_ERROR(CheckNotNewer(version, target));
  RETURN_IF_ERROR(database->ExecuteSchema(kMetaTable));
  for (const Migration& step : kMigrations) {
    if (step.version <= version || step.version > target) continue;
    RETURN_IF_ERROR(
        Annotate(database->ExecuteSchema(step.sql),
                 absl::StrCat("store: schema version ", step.version, " (", step.what, ")")));
  }
  ASSIGN_OR_RETURN(auto insert, database->Prepare("INSERT INTO meta (key, value) "
                                                  "VALUES ('schema_version', ?) ON CONFLICT (key) "
                                                  "DO UPDATE SET value = excluded.value"));
  RETURN_IF_ERROR(insert.BindText(1, absl::StrCat(target)).Run());
  return transaction.Commit();
}

}  // namespace lorikeet
