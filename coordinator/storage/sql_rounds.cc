// Rounds and their events.
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "coordinator/storage/sql_store.h"
#include "coordinator/storage/sql_rows.h"

namespace lorikeet {
namespace {

using storage_internal::ArrayColumn;
using storage_internal::BlobColumn;
using storage_internal::TextColumn;
using storage_internal::TimeColumn;
using storage_internal::ToColumn;

constexpr char kRoundColumns[] =
    "SELECT id, task, number, session, description, signature, key, status, opened, finished, "
    "message, survivor_count, transcript, report FROM rounds ";

absl::StatusOr<RoundRecord> ReadRound(const SqlStatement& row) {
  RoundRecord round;
  round.id = row.Int(0);
  round.task = TextColumn(row, 1);
  round.number = static_cast<uint64_t>(row.Int(2));
  RETURN_IF_ERROR(ArrayColumn(row, 3, &round.session));
  round.description.description = BlobColumn(row, 4);
  RETURN_IF_ERROR(ArrayColumn(row, 5, &round.description.signature));
  RETURN_IF_ERROR(ArrayColumn(row, 6, &round.description.key));
  round.status = static_cast<RoundStatus>(row.Int(7));
  round.opened = TimeColumn(row, 8);
  if (!row.IsNull(9)) round.finished = TimeColumn(row, 9);
  round.message = TextColumn(row, 10);
  round.survivor_count = static_cast<uint32_t>(row.Int(11));
  RETURN_IF_ERROR(ArrayColumn(row, 12, &round.transcript));
  round.report = TextColumn(row, 13);
  return round;
}

absl::StatusOr<std::vector<RoundRecord>> ReadRounds(SqlStatement* select) {
  std::vector<RoundRecord> rounds;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, select->Step());
    if (!more) return rounds;
    ASSIGN_OR_RETURN(rounds.emplace_back(), ReadRound(*select));
  }
}

absl::Status InsertLedger(SqlConnection* database, const LedgerRecord& ledger) {
  ASSIGN_OR_RETURN(auto insert,
                   database->Prepare("INSERT INTO ledger (task, round_number, epsilon, delta, "
                                     "noise_multiplier, charged, spent, sweep) "
                                     "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"));
  return insert.BindText(1, ledger.task)
      .Bind(2, static_cast<int64_t>(ledger.round_number))
      .Bind(3, ledger.epsilon)
      .Bind(4, ledger.delta)
      .Bind(5, ledger.noise_multiplier)
      .Bind(6, ToColumn(ledger.charged))
      .Bind(7, int64_t{ledger.spent})
      .Bind(8, static_cast<int64_t>(ledger.sweep))
      .Run();
}

}  // namespace

absl::StatusOr<std::vector<int64_t>> SqlStore::OpenSweep(const std::vector<RoundOpening>& rounds) {
  ASSIGN_OR_RETURN(auto transaction, BeginRoundWrite());
  std::vector<int64_t> ids;
  for (const RoundOpening& opening : rounds) {
    RETURN_IF_ERROR(InsertLedger(database_.get(), opening.ledger));
    ASSIGN_OR_RETURN(ids.emplace_back(), InsertRound(opening.round));
  }
  RETURN_IF_ERROR(transaction.Commit());
  return ids;
}

absl::StatusOr<int64_t> SqlStore::InsertRound(const RoundRecord& round) {
  ASSIGN_OR_RETURN(
      auto insert,
      database_->Prepare("INSERT INTO rounds (task, number, session, description, signature, key, "
                         "status, opened, message, survivor_count, transcript, report) "
                         "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"));
  insert.BindText(1, round.task)
      .Bind(2, static_cast<int64_t>(round.number))
      .BindBlob(3, round.session)
      .BindBlob(4, AsBytes(round.description.description))
      .BindBlob(5, round.description.signature)
      .BindBlob(6, round.description.key)
      .Bind(7, static_cast<int64_t>(round.status))
      .Bind(8, ToColumn(round.opened))
      .BindText(9, round.message)
      .Bind(10, int64_t{round.survivor_count})
      .BindBlob(11, round.transcript)
      .BindText(12, round.report);
  RETURN_IF_ERROR(insert.Step().status());
  return insert.Int(0);
}

absl::Status SqlStore::AppendEvents(const EventBatch& batch) {
  ASSIGN_OR_RETURN(auto transaction, BeginRoundWrite());
  for (const EventBatch::Entry& entry : batch.entries) {
    if (entry.token) RETURN_IF_ERROR(SpendToken(*entry.token));
    RETURN_IF_ERROR(InsertEvent(entry.round_id, entry.event));
  }
  ASSIGN_OR_RETURN(
      auto replace,
      database_->Prepare("INSERT INTO partial_sums (round_id, writer, sum) VALUES (?, ?, ?) ON "
                         "CONFLICT (round_id, writer) DO UPDATE SET sum = excluded.sum"));
  for (const auto& [round_id, sum] : batch.sums) {
    replace.Bind(1, round_id).BindText(2, sum.writer).BindBlob(3, AsBytes(sum.sum));
    RETURN_IF_ERROR(replace.Run());
  }
  return transaction.Commit();
}

absl::StatusOr<std::vector<PartialSumRecord>> SqlStore::PartialSums(int64_t round_id) {
  ASSIGN_OR_RETURN(auto select, database_->Prepare("SELECT writer, sum FROM partial_sums "
                                                   "WHERE round_id = ? ORDER BY writer"));
  select.Bind(1, round_id);
  std::vector<PartialSumRecord> sums;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return sums;
    sums.push_back({.writer = TextColumn(select, 0), .sum = BlobColumn(select, 1)});
  }
}

absl::Status SqlStore::InsertEvent(int64_t round_id, const RoundEventRecord& event) {
  ASSIGN_OR_RETURN(auto insert, database_->Prepare("INSERT INTO round_events (round_id, kind, "
                                                   "device, payload, at) VALUES (?, ?, ?, ?, ?)"));
  return insert.Bind(1, round_id)
      .Bind(2, static_cast<int64_t>(event.kind))
      .BindText(3, event.device)
      .BindBlob(4, AsBytes(event.payload))
      .Bind(5, ToColumn(event.at))
      .Run();
}

absl::StatusOr<std::vector<RoundEventRecord>> SqlStore::RoundEvents(int64_t round_id) {
  ASSIGN_OR_RETURN(auto select,
                   database_->Prepare("SELECT kind, device, payload, at FROM round_events "
                                      "WHERE round_id = ? ORDER BY position"));
  select.Bind(1, round_id);
  std::vector<RoundEventRecord> events;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return events;
    events.push_back({.kind = static_cast<RoundEventKind>(select.Int(0)),
                      .device = TextColumn(select, 1),
                      .payload = BlobColumn(select, 2),
                      .at = TimeColumn(select, 3)});
  }
}

absl::StatusOr<std::vector<RoundEventCount>> SqlStore::CountRoundEvents(int64_t round_id) {
  // length() of a blob is in its row's header: the payloads themselves are not read.
  ASSIGN_OR_RETURN(auto select,
                   database_->Prepare("SELECT kind, count(*), sum(length(payload)), max(at) "
                                      "FROM round_events WHERE round_id = ? GROUP BY kind"));
  select.Bind(1, round_id);
  std::vector<RoundEventCount> counts;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return counts;
    counts.push_back({.kind = static_cast<RoundEventKind>(select.Int(0)),
                      .messages = select.Int(1),
                      .bytes = static_cast<uint64_t>(select.Int(2)),
                      .last = TimeColumn(select, 3)});
  }
}

absl::StatusOr<std::vector<RoundRecord>> SqlStore::RoundsAfter(int64_t id) {
  ASSIGN_OR_RETURN(auto select,
                   database_->Prepare(absl::StrCat(kRoundColumns, "WHERE id > ? ORDER BY id")));
  select.Bind(1, id);
  return ReadRounds(&select);
}

absl::Status SqlStore::FinishRound(const RoundEnd& end) {
  const RoundRecord& round = end.round;
  // Of one task one after the other: of the rounds of a sweep exactly one is the last.
  ASSIGN_OR_RETURN(auto transaction, BeginRoundWrite(absl::StrCat("ends of ", end.round.task)));
  ASSIGN_OR_RETURN(auto update,
                   database_->Prepare("UPDATE rounds SET status = ?, finished = ?, message = ?, "
                                      "survivor_count = ?, transcript = ?, report = ? "
                                      "WHERE id = ? AND status = 0"));
  update.Bind(1, static_cast<int64_t>(round.status))
      .Bind(2, ToColumn(round.finished))
      .BindText(3, round.message)
      .Bind(4, int64_t{round.survivor_count})
      .BindBlob(5, round.transcript)
      .BindText(6, round.report)
      .Bind(7, round.id);
  RETURN_IF_ERROR(update.Run());
  if (database_->changes() != 1) {
    return absl::FailedPreconditionError(absl::StrCat("round ", round.id, " is not open"));
  }
  ASSIGN_OR_RETURN(auto ledger, database_->Prepare("UPDATE ledger SET spent = ? "
                                                   "WHERE task = ? AND round_number = ?"));
  RETURN_IF_ERROR(ledger.Bind(1, int64_t{end.spent})
                      .BindText(2, round.task)
                      .Bind(3, static_cast<int64_t>(round.number))
                      .Run());
  RETURN_IF_ERROR(UpdateSweep(end));
  if (end.release) RETURN_IF_ERROR(AddRelease(*end.release));
  if (end.noise) {
    ASSIGN_OR_RETURN(auto replace,
                     database_->Prepare("UPDATE central_noise SET state = ? WHERE task = ?"));
    RETURN_IF_ERROR(
        replace.BindBlob(1, AsBytes(end.noise->state)).BindText(2, end.noise->task).Run());
  }
  for (const char* sql : {"DELETE FROM round_events WHERE round_id = ?",
                          "DELETE FROM partial_sums WHERE round_id = ?"}) {
    ASSIGN_OR_RETURN(auto forget, database_->Prepare(sql));
    RETURN_IF_ERROR(forget.Bind(1, round.id).Run());
  }
  return transaction.Commit();
}

absl::Status SqlStore::AddNoise(const NoiseRecord& noise) {
  ASSIGN_OR_RETURN(auto insert,
                   database_->Prepare("INSERT INTO central_noise (task, state) VALUES (?, ?)"));
  const absl::Status status =
      insert.BindText(1, noise.task).BindBlob(2, AsBytes(noise.state)).Run();
  if (!absl::IsAlreadyExists(status)) return status;
  return absl::AlreadyExistsError(absl::StrCat("task ", noise.task, " has its noise already"));
}

absl::StatusOr<std::optional<NoiseRecord>> SqlStore::FindNoise(std::string_view task) {
  ASSIGN_OR_RETURN(auto select,
                   database_->Prepare("SELECT state FROM central_noise WHERE task = ?"));
  ASSIGN_OR_RETURN(const bool found, select.BindText(1, task).Step());
  if (!found) return std::nullopt;
  return NoiseRecord{.task = std::string(task), .state = BlobColumn(select, 0)};
}

absl::Status SqlStore::UpdateSweep(const RoundEnd& end) {
  const RoundRecord& round = end.round;
  ASSIGN_OR_RETURN(auto own, database_->Prepare("SELECT sweep FROM ledger "
                                                "WHERE task = ? AND round_number = ?"));
  own.BindText(1, round.task).Bind(2, static_cast<int64_t>(round.number));
  ASSIGN_OR_RETURN(const bool found, own.Step());
  if (!found) return absl::DataLossError(absl::StrCat("round ", round.id, " is in no ledger"));
  const int64_t sweep = own.Int(0);
  ASSIGN_OR_RETURN(auto count, database_->Prepare("SELECT count(*) FROM rounds r JOIN ledger l "
                                                  "ON l.task = r.task AND "
                                                  "l.round_number = r.number "
                                                  "WHERE r.status = 0 AND l.task = ? "
                                                  "AND l.sweep = ?"));
  RETURN_IF_ERROR(count.BindText(1, round.task).Bind(2, sweep).Step().status());
  const bool last = count.Int(0) == 0;  // this one is closed already
  if (last != end.ends_sweep) {
    return absl::FailedPreconditionError(absl::StrCat("round ", round.id, ": expected it to be ",
                                                      last ? "the" : "not the",
                                                      " last of its sweep, got the contrary"));
  }
  if (!last) {
    if (end.kept_sum.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(auto keep, database_->Prepare("INSERT INTO kept_sums (round_id, task, sweep, "
                                                   "sum) VALUES (?, ?, ?, ?)"));
    keep.Bind(1, round.id).BindText(2, round.task).Bind(3, sweep);
    return keep.BindBlob(4, AsBytes(end.kept_sum)).Run();
  }
  ASSIGN_OR_RETURN(auto forget,
                   database_->Prepare("DELETE FROM kept_sums WHERE task = ? AND sweep = ?"));
  return forget.BindText(1, round.task).Bind(2, sweep).Run();
}

absl::StatusOr<std::vector<KeptSumRecord>> SqlStore::KeptSums(std::string_view task,
                                                              uint64_t sweep) {
  ASSIGN_OR_RETURN(auto select, database_->Prepare("SELECT round_id, sum FROM kept_sums "
                                                   "WHERE task = ? AND sweep = ? "
                                                   "ORDER BY round_id"));
  select.BindText(1, task).Bind(2, static_cast<int64_t>(sweep));
  std::vector<KeptSumRecord> sums;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return sums;
    sums.push_back({.round_id = select.Int(0), .sum = BlobColumn(select, 1)});
  }
}

absl::StatusOr<std::vector<RoundRecord>> SqlStore::ListRounds(std::string_view task) {
  ASSIGN_OR_RETURN(auto select, database_->Prepare(absl::StrCat(
                                    kRoundColumns, "WHERE ?1 = '' OR task = ?1 ORDER BY id DESC")));
  select.BindText(1, task);
  return ReadRounds(&select);
}

absl::StatusOr<std::vector<RoundRecord>> SqlStore::OpenRounds() {
  ASSIGN_OR_RETURN(auto select,
                   database_->Prepare(absl::StrCat(kRoundColumns, "WHERE status = 0 ORDER BY id")));
  return ReadRounds(&select);
}

absl::StatusOr<RoundRecord> SqlStore::FindRound(const SessionId& session) {
  ASSIGN_OR_RETURN(auto select,
                   database_->Prepare(absl::StrCat(kRoundColumns, "WHERE session = ?")));
  ASSIGN_OR_RETURN(const bool found, select.BindBlob(1, session).Step());
  if (!found) return absl::NotFoundError("there is no round with this session");
  return ReadRound(select);
}

}  // namespace lorikeet
