// Meta data, tasks, releases, devices and the ledger.
#include "coordinator/storage/sql_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "coordinator/storage/sql_rows.h"

namespace lorikeet {
namespace {

using storage_internal::ArrayColumn;
using storage_internal::TextColumn;
using storage_internal::TimeColumn;
using storage_internal::ToColumn;

absl::StatusOr<ReleaseRecord> ReadRelease(const SqlStatement& row) {
  ReleaseRecord release;
  ASSIGN_OR_RETURN(release.kind, ParseReleaseKind(row.Text(0)));
  release.base_fingerprint = TextColumn(row, 1);
  release.version = static_cast<uint64_t>(row.Int(2));
  release.name = TextColumn(row, 3);
  release.manifest.manifest = TextColumn(row, 4);
  RETURN_IF_ERROR(ArrayColumn(row, 5, &release.manifest.signature));
  RETURN_IF_ERROR(ArrayColumn(row, 6, &release.manifest.key));
  release.published = TimeColumn(row, 7);
  return release;
}

absl::StatusOr<std::vector<ReleaseRecord>> ReadReleases(SqlStatement select) {
  std::vector<ReleaseRecord> releases;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return releases;
    ASSIGN_OR_RETURN(releases.emplace_back(), ReadRelease(select));
  }
}

constexpr char kReleaseColumns[] =
    "SELECT kind, base_fingerprint, version, name, manifest, signature, key, published "
    "FROM releases ";

DeviceRecord ReadDevice(const SqlStatement& row) {
  DeviceRecord device;
  device.id = TextColumn(row, 0);
  device.enrolled = TimeColumn(row, 1);
  if (!row.IsNull(2)) device.revoked = TimeColumn(row, 2);
  return device;
}

}  // namespace

absl::Status SqlStore::SetMeta(std::string_view key, std::string_view value) {
  ASSIGN_OR_RETURN(auto insert,
                   database_->Prepare("INSERT INTO meta (key, value) VALUES (?, ?) "
                                      "ON CONFLICT (key) DO UPDATE SET value = excluded.value"));
  return insert.BindText(1, key).BindText(2, value).Run();
}

absl::StatusOr<std::optional<std::string>> SqlStore::GetMeta(std::string_view key) {
  ASSIGN_OR_RETURN(auto select, database_->Prepare("SELECT value FROM meta WHERE key = ?"));
  ASSIGN_OR_RETURN(const bool found, select.BindText(1, key).Step());
  if (!found) return std::nullopt;
  return TextColumn(select, 0);
}

absl::Status SqlStore::AddTask(const TaskRecord& task) {
  ASSIGN_OR_RETURN(
      auto insert,
      database_->Prepare("INSERT INTO tasks (name, config, state, created) VALUES (?, ?, ?, ?)"));
  insert.BindText(1, task.name).BindText(2, task.config);
  const absl::Status status =
      insert.Bind(3, static_cast<int64_t>(task.state)).Bind(4, ToColumn(task.created)).Run();
  if (!absl::IsAlreadyExists(status)) return status;
  return absl::AlreadyExistsError(absl::StrCat("there is a task named ", task.name, " already"));
}

absl::Status SqlStore::SetTaskState(std::string_view name, TaskState state) {
  ASSIGN_OR_RETURN(auto update, database_->Prepare("UPDATE tasks SET state = ? WHERE name = ?"));
  RETURN_IF_ERROR(update.Bind(1, static_cast<int64_t>(state)).BindText(2, name).Run());
  if (database_->changes() == 1) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("there is no task named ", ToAbsl(name)));
}

absl::StatusOr<std::vector<TaskRecord>> SqlStore::ListTasks() {
  ASSIGN_OR_RETURN(auto select, database_->Prepare("SELECT name, config, state, created "
                                                   "FROM tasks ORDER BY created, name"));
  std::vector<TaskRecord> tasks;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return tasks;
    tasks.push_back({.name = TextColumn(select, 0),
                     .config = TextColumn(select, 1),
                     .state = static_cast<TaskState>(select.Int(2)),
                     .created = TimeColumn(select, 3)});
  }
}

absl::Status SqlStore::AddRelease(const ReleaseRecord& release) {
  ASSIGN_OR_RETURN(auto insert, database_->Prepare(
                                    "INSERT INTO releases (kind, base_fingerprint, version, name, "
                                    "manifest, signature, key, published) "
                                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"));
  insert.BindText(1, ReleaseKindName(release.kind))
      .BindText(2, release.base_fingerprint)
      .Bind(3, static_cast<int64_t>(release.version))
      .BindText(4, release.name)
      .BindText(5, release.manifest.manifest)
      .BindBlob(6, release.manifest.signature)
      .BindBlob(7, release.manifest.key)
      .Bind(8, ToColumn(release.published));
  const absl::Status status = insert.Run();
  if (!absl::IsAlreadyExists(status)) return status;
  return absl::AlreadyExistsError(absl::StrCat("version ", release.version, " of this ",
                                               ToAbsl(ReleaseKindName(release.kind)),
                                               " is published already"));
}

absl::StatusOr<std::optional<ReleaseRecord>> SqlStore::LatestRelease(
    ReleaseKind kind, std::string_view base_fingerprint) {
  ASSIGN_OR_RETURN(auto select, database_->Prepare(absl::StrCat(
                                    kReleaseColumns,
                                    "WHERE kind = ?1 AND (?2 = '' OR base_fingerprint = ?2) "
                                    "ORDER BY version DESC, published DESC LIMIT 1")));
  ASSIGN_OR_RETURN(const bool found,
                   select.BindText(1, ReleaseKindName(kind)).BindText(2, base_fingerprint).Step());
  if (!found) return std::nullopt;
  return ReadRelease(select);
}

absl::StatusOr<std::vector<ReleaseRecord>> SqlStore::ListReleases() {
  ASSIGN_OR_RETURN(auto select, database_->Prepare(absl::StrCat(
                                    kReleaseColumns, "ORDER BY published DESC, version DESC")));
  return ReadReleases(std::move(select));
}

absl::StatusOr<std::vector<ReleaseRecord>> SqlStore::NewestReleases() {
  ASSIGN_OR_RETURN(
      auto select,
      database_->Prepare(absl::StrCat(
          kReleaseColumns,
          "WHERE version = (SELECT max(version) FROM releases AS newest WHERE newest.kind = "
          "releases.kind AND newest.base_fingerprint = releases.base_fingerprint)")));
  return ReadReleases(std::move(select));
}

absl::Status SqlStore::AddDevice(const DeviceRecord& device) {
  ASSIGN_OR_RETURN(auto insert,
                   database_->Prepare("INSERT INTO devices (id, enrolled) VALUES (?, ?)"));
  const absl::Status status =
      insert.BindText(1, device.id).Bind(2, ToColumn(device.enrolled)).Run();
  if (!absl::IsAlreadyExists(status)) return status;
  return absl::AlreadyExistsError(absl::StrCat("device ", device.id, " is enrolled already"));
}

absl::Status SqlStore::RevokeDevice(std::string_view id, absl::Time when) {
  ASSIGN_OR_RETURN(auto update, database_->Prepare("UPDATE devices SET revoked = "
                                                   "coalesce(revoked, ?) WHERE id = ?"));
  RETURN_IF_ERROR(update.Bind(1, ToColumn(when)).BindText(2, id).Run());
  if (database_->changes() == 1) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("there is no device ", ToAbsl(id)));
}

absl::StatusOr<std::optional<DeviceRecord>> SqlStore::FindDevice(std::string_view id) {
  ASSIGN_OR_RETURN(auto select,
                   database_->Prepare("SELECT id, enrolled, revoked FROM devices WHERE id = ?"));
  ASSIGN_OR_RETURN(const bool found, select.BindText(1, id).Step());
  if (!found) return std::nullopt;
  return ReadDevice(select);
}

absl::StatusOr<std::vector<DeviceRecord>> SqlStore::ListDevices() {
  ASSIGN_OR_RETURN(auto select,
                   database_->Prepare("SELECT id, enrolled, revoked FROM devices ORDER BY id"));
  std::vector<DeviceRecord> devices;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return devices;
    devices.push_back(ReadDevice(select));
  }
}

absl::StatusOr<DeviceCounts> SqlStore::CountDevices() {
  ASSIGN_OR_RETURN(auto select, database_->Prepare("SELECT count(*), count(revoked) FROM devices"));
  RETURN_IF_ERROR(select.Step().status());
  return DeviceCounts{.enrolled = select.Int(0) - select.Int(1), .revoked = select.Int(1)};
}

absl::StatusOr<std::vector<LedgerRecord>> SqlStore::ListLedger(std::string_view task) {
  ASSIGN_OR_RETURN(
      auto select,
      database_->Prepare("SELECT task, round_number, epsilon, delta, "
                         "noise_multiplier, charged, spent, sweep FROM ledger "
                         "WHERE ?1 = '' OR task = ?1 ORDER BY charged, task, round_number"));
  select.BindText(1, task);
  std::vector<LedgerRecord> entries;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return entries;
    entries.push_back({.task = TextColumn(select, 0),
                       .round_number = static_cast<uint64_t>(select.Int(1)),
                       .epsilon = select.Double(2),
                       .delta = select.Double(3),
                       .noise_multiplier = select.Double(4),
                       .charged = TimeColumn(select, 5),
                       .spent = select.Int(6) != 0,
                       .sweep = static_cast<uint64_t>(select.Int(7))});
  }
}

}  // namespace lorikeet
