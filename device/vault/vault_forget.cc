// Forgetting: records leave the file, and the adapters that may know them are remembered.
//
// meta rows: "adapters" = sealed [{"path", "model", "catalog", "catalog_key", "rank", "rebuild"}],
// "unsettled" = sealed list of record ids.  The unsettled ids are written in the transaction that
// deletes the records, so a program that dies afterwards cannot lose them.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "device/vault/vault.h"

namespace lorikeet {
namespace {

using nlohmann::json;

constexpr std::string_view kAdapters = "adapters";
constexpr std::string_view kUnsettled = "unsettled";

std::string EncodeAdapters(const std::vector<VaultAdapter>& adapters) {
  json list = json::array();
  for (const VaultAdapter& adapter : adapters) {
    list.push_back({{"path", adapter.path},
                    {"model", adapter.model},
                    {"catalog", adapter.catalog},
                    {"catalog_key", adapter.catalog_key},
                    {"rank", adapter.residual_rank},
                    {"rebuild", adapter.rebuild}});
  }
  return list.dump();
}

}  // namespace

absl::Status Vault::Forget(const std::vector<int64_t>& ids) {
  if (ids.empty()) return absl::OkStatus();
  {
    ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_.get()));
    RETURN_IF_ERROR(DeleteRecords(ids));
    RETURN_IF_ERROR(AddUnsettled(ids));
    RETURN_IF_ERROR(SetMeta("compact", "1"));
    RETURN_IF_ERROR(transaction.Commit());
  }
  return Compact();
}

absl::StatusOr<bool> Vault::NeedsCompacting() const {
  ASSIGN_OR_RETURN(auto query, database_->Prepare("SELECT 1 FROM meta WHERE key = 'compact'"));
  return query.Step();
}

absl::Status Vault::Compact() {
  // secure_delete has zeroed the cells; these remove copies in the journal and free pages.
  RETURN_IF_ERROR(EmptyJournal());
  RETURN_IF_ERROR(database_->Execute("VACUUM"));
  RETURN_IF_ERROR(EmptyJournal());
  return database_->Execute("DELETE FROM meta WHERE key = 'compact'");
}

absl::Status Vault::EmptyJournal() {
  ASSIGN_OR_RETURN(auto checkpoint, database_->Prepare("PRAGMA wal_checkpoint(TRUNCATE)"));
  RETURN_IF_ERROR(checkpoint.Step().status());
  if (checkpoint.Int(0) == 0) return absl::OkStatus();
  return absl::UnavailableError(
      "vault: the records are deleted, but another program is reading the vault, so sealed copies "
      "stay in its journal; the next command that opens the vault removes them");
}

absl::Status Vault::DeleteRecords(const std::vector<int64_t>& ids) {
  ASSIGN_OR_RETURN(Census census, ReadCensus());
  ASSIGN_OR_RETURN(auto find, database_->Prepare("SELECT tag FROM records WHERE id = ?"));
  ASSIGN_OR_RETURN(auto remove, database_->Prepare("DELETE FROM records WHERE id = ?"));
  for (const int64_t id : ids) {
    find.Bind(1, id);
    ASSIGN_OR_RETURN(const bool found, find.Step());
    if (!found) return absl::NotFoundError(absl::StrCat("vault: there is no record ", id));
    const auto tag = find.Blob(0);
    if (tag.size() != census.tags.size()) {
      return absl::DataLossError(absl::StrCat("vault: record ", id));
    }
    for (size_t i = 0; i < tag.size(); ++i) census.tags[i] ^= tag[i];
    --census.count;
    find.Reset();
    RETURN_IF_ERROR(remove.Bind(1, id).Run());
  }
  return WriteCensus(census);
}

absl::Status Vault::ApplyRetention() {
  const bool limited = std::any_of(sources_.begin(), sources_.end(), [](const auto& entry) {
    return entry.second.consent.retention_days.has_value();
  });
  if (!limited) return absl::OkStatus();
  std::vector<int64_t> expired;
  {
    ASSIGN_OR_RETURN(auto query, database_->Prepare("SELECT id, source, sealed FROM records"));
    for (;;) {
      ASSIGN_OR_RETURN(const bool more, query.Step());
      if (!more) break;
      const auto source = sources_.find(query.Int(1));
      if (source == sources_.end() || !source->second.consent.retention_days) continue;
      ASSIGN_OR_RETURN(const Opened opened, OpenRecord(query.Int(0), query.Int(1), query.Blob(2)));
      const absl::Duration limit = absl::Hours(24) * *source->second.consent.retention_days;
      if (clock_->Now() - opened.added > limit) expired.push_back(query.Int(0));
    }
  }
  const absl::Status status = Forget(expired);
  return absl::IsUnavailable(status) ? absl::OkStatus() : status;  // a later Open compacts
}

absl::Status Vault::RememberAdapter(const VaultAdapter& adapter) {
  return ChangeAdapters(adapter.path, &adapter);
}

absl::Status Vault::DropAdapter(const std::string& path) { return ChangeAdapters(path, nullptr); }

absl::Status Vault::ChangeAdapters(const std::string& path, const VaultAdapter* adapter) {
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_.get()));
  ASSIGN_OR_RETURN(std::vector<VaultAdapter> adapters, Adapters());
  std::erase_if(adapters, [&](const VaultAdapter& a) { return a.path == path; });
  if (adapter != nullptr) adapters.push_back(*adapter);
  RETURN_IF_ERROR(SetSealedMeta(kAdapters, EncodeAdapters(adapters)));
  return transaction.Commit();
}

absl::StatusOr<std::vector<VaultAdapter>> Vault::Adapters() const {
  ASSIGN_OR_RETURN(const std::string bytes, SealedMeta(kAdapters));
  std::vector<VaultAdapter> adapters;
  if (bytes.empty()) return adapters;
  const json list = json::parse(bytes, nullptr, /*allow_exceptions=*/false);
  if (!list.is_array()) return absl::DataLossError("vault: its list of adapters");
  for (const json& entry : list) {
    adapters.push_back({.path = entry.value("path", ""),
                        .model = entry.value("model", ""),
                        .catalog = entry.value("catalog", ""),
                        .catalog_key = entry.value("catalog_key", ""),
                        .residual_rank = entry.value("rank", 0),
                        .rebuild = entry.value("rebuild", false)});
  }
  return adapters;
}

absl::StatusOr<std::vector<int64_t>> Vault::Unsettled() const {
  ASSIGN_OR_RETURN(const std::string bytes, SealedMeta(kUnsettled));
  if (bytes.empty()) return std::vector<int64_t>();
  const json list = json::parse(bytes, nullptr, /*allow_exceptions=*/false);
  if (!list.is_array()) return absl::DataLossError("vault: its list of forgotten records");
  return list.get<std::vector<int64_t>>();
}

absl::Status Vault::AddUnsettled(const std::vector<int64_t>& ids) {
  ASSIGN_OR_RETURN(const std::vector<VaultAdapter> adapters, Adapters());
  if (adapters.empty()) return absl::OkStatus();  // nobody learned them
  ASSIGN_OR_RETURN(std::vector<int64_t> all, Unsettled());
  all.insert(all.end(), ids.begin(), ids.end());
  std::ranges::sort(all);
  all.erase(std::ranges::unique(all).begin(), all.end());
  return SetSealedMeta(kUnsettled, json(all).dump());
}

absl::Status Vault::Settle(const std::vector<int64_t>& ids) {
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_.get()));
  ASSIGN_OR_RETURN(std::vector<int64_t> all, Unsettled());
  std::erase_if(all, [&](int64_t id) { return std::ranges::find(ids, id) != ids.end(); });
  RETURN_IF_ERROR(SetSealedMeta(kUnsettled, json(all).dump()));
  return transaction.Commit();
}

}  // namespace lorikeet
