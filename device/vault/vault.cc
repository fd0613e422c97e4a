#include "device/vault/vault.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/base/utf8.h"
#include "common/crypto/aead.h"

namespace lorikeet {
namespace {

constexpr std::string_view kFormat = "lorikeet-vault-1";
constexpr size_t kMaxTextBytes = size_t{16} << 20;
constexpr size_t kMaxSourceName = 64;
constexpr size_t kPadding = 64;
constexpr size_t kRecordHeader = 16;

constexpr char kSchema[] =
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;"
    "CREATE TABLE sources(id INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT;"
    "CREATE TABLE records(id INTEGER PRIMARY KEY AUTOINCREMENT, source INTEGER NOT NULL REFERENCES "
    "sources(id),"
    "                     tag BLOB NOT NULL UNIQUE, sealed BLOB NOT NULL) STRICT;";

void PutUint64(uint64_t value, uint8_t* out) {
  for (int i = 0; i < 8; ++i) out[i] = static_cast<uint8_t>(value >> (8 * i));
}

uint64_t GetUint64(const uint8_t* in) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | in[i];
  return value;
}

absl::Status CheckSourceName(std::string_view name) {
  if (name.empty() || name.size() > kMaxSourceName || FindInvalidUtf8(name)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("vault: expected a source name of 1 to %d bytes of UTF-8", kMaxSourceName));
  }
  return absl::OkStatus();
}

absl::Status CheckText(std::string_view text) {
  if (text.empty()) return absl::InvalidArgumentError("vault: expected text, got none");
  if (text.size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "vault: expected a text of at most %d bytes, got %d", kMaxTextBytes, text.size()));
  }
  if (const auto bad = FindInvalidUtf8(text)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("vault: expected UTF-8 text, got another byte at position %d", *bad));
  }
  return absl::OkStatus();
}

// Consent: train, federate, retrieve (one byte each), retention days (8 bytes, all ones: none),
// name.
std::string EncodeSource(const SourceConsent& consent, std::string_view name) {
  std::string bytes = {static_cast<char>(consent.train), static_cast<char>(consent.federate),
                       static_cast<char>(consent.retrieve)};
  uint8_t days[8];
  PutUint64(consent.retention_days ? static_cast<uint64_t>(*consent.retention_days) : ~uint64_t{0},
            days);
  bytes.append(reinterpret_cast<const char*>(days), sizeof(days)).append(name);
  return bytes;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Vault>> Vault::Open(const Options& options,
                                                   const VaultSecret& secret, const Clock* clock,
                                                   RandomSource* random) {
  const std::string path = options.dir + "/vault.db";
  const bool exists = FileExists(path);
  if (!exists && !options.create) {
    return absl::NotFoundError(absl::StrCat("vault: expected a vault in ", options.dir,
                                            ", found none (lorikeet vault add makes one)"));
  }
  if (!exists) RETURN_IF_ERROR(MakeDirs(options.dir));
  ASSIGN_OR_RETURN(auto database,
                   Database::Open(path, {.create = options.create, .secure_delete = true}));
  std::unique_ptr<Vault> vault(new Vault(std::move(database), clock, random));
  ASSIGN_OR_RETURN(auto tables, vault->database_->Prepare(
                                    "SELECT count(*) FROM sqlite_master WHERE name = 'meta'"));
  RETURN_IF_ERROR(tables.Step().status());
  const bool empty = tables.Int(0) == 0;
  tables.Reset();
  if (empty && exists && !options.create) {
    return absl::DataLossError(absl::StrCat("vault: ", path, " holds no vault"));
  }
  RETURN_IF_ERROR(empty ? vault->CreateHeader(secret) : vault->OpenHeader(secret));
  ASSIGN_OR_RETURN(const bool left_over, vault->NeedsCompacting());
  if (left_over) {
    const absl::Status status = vault->Compact();
    // Somebody reads, or the disk is full: the vault is as good as before, and a later Open
    // compacts.
    if (!status.ok() && !absl::IsUnavailable(status) && !absl::IsResourceExhausted(status)) {
      return status;
    }
  }
  RETURN_IF_ERROR(vault->LoadSources());
  RETURN_IF_ERROR(vault->ApplyRetention());
  return vault;
}

absl::Status Vault::CreateHeader(const VaultSecret& secret) {
  ASSIGN_OR_RETURN(const NewVaultKey made, MakeVaultKey(secret, random_));
  id_.resize(16);
  random_->Fill({reinterpret_cast<uint8_t*>(id_.data()), id_.size()});
  data_key_ = SecretBytes::Random(kAeadKeyBytes, random_);
  const auto sealed = AeadSeal(made.key, data_key_.Open(SecretAccess("seal the data key")),
                               AsBytes(Associated("data-key", 0, 0)), random_);
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_.get()));
  RETURN_IF_ERROR(database_->Execute(kSchema));
  RETURN_IF_ERROR(SetMeta("format", kFormat));
  RETURN_IF_ERROR(SetMeta("id", id_));
  RETURN_IF_ERROR(SetMeta("derivation", made.derivation));
  RETURN_IF_ERROR(SetMeta("data_key", AsChars(sealed)));
  RETURN_IF_ERROR(WriteCensus({}));
  return transaction.Commit();
}

absl::Status Vault::OpenHeader(const VaultSecret& secret) {
  ASSIGN_OR_RETURN(const std::string format, Meta("format"));
  if (format != kFormat) {
    return absl::DataLossError(
        absl::StrCat("vault: expected format ", ToAbsl(kFormat), ", got '", format, "'"));
  }
  ASSIGN_OR_RETURN(id_, Meta("id"));
  ASSIGN_OR_RETURN(const std::string derivation, Meta("derivation"));
  ASSIGN_OR_RETURN(const SecretBytes key, OpenVaultKey(secret, derivation));
  ASSIGN_OR_RETURN(const std::string sealed, Meta("data_key"));
  auto opened = AeadOpen(key, AsBytes(sealed), AsBytes(Associated("data-key", 0, 0)));
  if (!opened.ok() || opened->size_bytes() != kAeadKeyBytes) {
    return absl::PermissionDeniedError(
        "vault: the key does not open it: wrong passphrase or key file, or a damaged header");
  }
  data_key_ = std::move(*opened);
  return absl::OkStatus();
}

absl::StatusOr<std::string> Vault::Meta(std::string_view key) const {
  ASSIGN_OR_RETURN(auto query, database_->Prepare("SELECT value FROM meta WHERE key = ?"));
  query.BindText(1, key);
  ASSIGN_OR_RETURN(const bool found, query.Step());
  if (!found) return absl::DataLossError(absl::StrCat("vault: its header lacks ", ToAbsl(key)));
  return std::string(AsChars(query.Blob(0)));
}

absl::Status Vault::SetMeta(std::string_view key, std::string_view value) {
  ASSIGN_OR_RETURN(auto insert,
                   database_->Prepare("INSERT OR REPLACE INTO meta(key, value) VALUES(?, ?)"));
  return insert.BindText(1, key).BindBlob(2, AsBytes(value)).Run();
}

absl::StatusOr<std::string> Vault::SealedMeta(std::string_view key) const {
  ASSIGN_OR_RETURN(auto query, database_->Prepare("SELECT value FROM meta WHERE key = ?"));
  query.BindText(1, key);
  ASSIGN_OR_RETURN(const bool found, query.Step());
  if (!found) return std::string();
  const auto opened = AeadOpen(data_key_, query.Blob(0), AsBytes(Associated(key, 0, 0)));
  if (!opened.ok()) return Annotate(opened.status(), absl::StrCat("vault: ", ToAbsl(key)));
  return std::string(AsChars(opened->Open(SecretAccess("read what the vault remembers"))));
}

absl::Status Vault::SetSealedMeta(std::string_view key, std::string_view value) {
  return SetMeta(
      key, AsChars(AeadSeal(data_key_, AsBytes(value), AsBytes(Associated(key, 0, 0)), random_)));
}

std::string Vault::Associated(std::string_view what, int64_t id, int64_t source_id) const {
  return absl::StrCat(ToAbsl(what), "|", id_, "|", id, "|", source_id);
}

Hash256 Vault::TagOf(int64_t source_id, std::string_view text) const {
  const SecretAccess access("tag a record");
  return Hasher()
      .Update("lorikeet-vault-tag")
      .UpdateSized(data_key_.Open(access))
      .UpdateUint64(static_cast<uint64_t>(source_id))
      .UpdateSized(AsBytes(text))
      .Finish();
}

absl::Status Vault::LoadSources() {
  ASSIGN_OR_RETURN(auto query, database_->Prepare("SELECT id, sealed FROM sources ORDER BY id"));
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return absl::OkStatus();
    const int64_t id = query.Int(0);
    const auto opened = AeadOpen(data_key_, query.Blob(1), AsBytes(Associated("source", id, id)));
    if (!opened.ok()) return Annotate(opened.status(), absl::StrCat("vault: source ", id));
    const std::string_view bytes = AsChars(opened->Open(SecretAccess("read a source's consent")));
    if (bytes.size() < 11) return absl::DataLossError(absl::StrCat("vault: source ", id));
    Source& source = sources_[id];
    source.consent.train = bytes[0] != 0;
    source.consent.federate = bytes[1] != 0;
    source.consent.retrieve = bytes[2] != 0;
    const uint64_t days = GetUint64(AsBytes(bytes).data() + 3);
    if (days != ~uint64_t{0}) source.consent.retention_days = static_cast<int>(days);
    source.name = bytes.substr(11);
  }
}

absl::Status Vault::WriteSource(int64_t id, const Source& source, bool insert) {
  const auto sealed = AeadSeal(data_key_, AsBytes(EncodeSource(source.consent, source.name)),
                               AsBytes(Associated("source", id, id)), random_);
  ASSIGN_OR_RETURN(auto write,
                   database_->Prepare(insert ? "INSERT INTO sources(sealed, id) VALUES(?, ?)"
                                             : "UPDATE sources SET sealed = ? WHERE id = ?"));
  RETURN_IF_ERROR(write.BindBlob(1, sealed).Bind(2, id).Run());
  sources_[id] = source;
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Vault::SourceId(std::string_view name) {
  RETURN_IF_ERROR(CheckSourceName(name));
  for (const auto& [id, source] : sources_) {
    if (source.name == name) return id;
  }
  const int64_t id = sources_.empty() ? 1 : sources_.rbegin()->first + 1;
  RETURN_IF_ERROR(WriteSource(id, {std::string(name), {}}, /*insert=*/true));
  return id;
}

absl::StatusOr<Vault::Census> Vault::ReadCensus() const {
  ASSIGN_OR_RETURN(const std::string sealed, Meta("census"));
  const auto opened = AeadOpen(data_key_, AsBytes(sealed), AsBytes(Associated("census", 0, 0)));
  if (!opened.ok()) return Annotate(opened.status(), "vault: census");
  const auto bytes = opened->Open(SecretAccess("check the vault's census"));
  Census census;
  if (bytes.size() != 8 + census.tags.size()) return absl::DataLossError("vault: census");
  census.count = static_cast<int64_t>(GetUint64(bytes.data()));
  std::copy(bytes.begin() + 8, bytes.end(), census.tags.begin());
  return census;
}

absl::Status Vault::WriteCensus(const Census& census) {
  std::vector<uint8_t> bytes(8);
  PutUint64(static_cast<uint64_t>(census.count), bytes.data());
  bytes.insert(bytes.end(), census.tags.begin(), census.tags.end());
  return SetMeta("census",
                 AsChars(AeadSeal(data_key_, bytes, AsBytes(Associated("census", 0, 0)), random_)));
}

absl::StatusOr<int64_t> Vault::Add(std::string_view source, const PrivateText& text) {
  const std::string_view plain = text.Open(TextAccess("seal into the vault"));
  RETURN_IF_ERROR(CheckText(plain));
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_.get()));
  ASSIGN_OR_RETURN(const int64_t source_id, SourceId(source));
  const Hash256 tag = TagOf(source_id, plain);
  int64_t id = 0;
  {
    ASSIGN_OR_RETURN(auto known, database_->Prepare("SELECT id FROM records WHERE tag = ?"));
    known.BindBlob(1, tag);
    ASSIGN_OR_RETURN(const bool found, known.Step());
    if (found) id = known.Int(0);
  }
  if (id == 0) RETURN_IF_ERROR(InsertRecord(source_id, plain, tag, &id));
  RETURN_IF_ERROR(transaction.Commit());
  return id;
}

absl::Status Vault::InsertRecord(int64_t source_id, std::string_view text, const Hash256& tag,
                                 int64_t* id) {
  // The id enters the associated data, so the row is made first and filled second.
  ASSIGN_OR_RETURN(
      auto insert,
      database_->Prepare("INSERT INTO records(source, tag, sealed) VALUES(?, ?, zeroblob(0))"));
  RETURN_IF_ERROR(insert.Bind(1, source_id).BindBlob(2, tag).Run());
  *id = database_->last_insert_id();
  SecretBytes record((kRecordHeader + text.size() + kPadding - 1) / kPadding * kPadding);
  const auto bytes = record.OpenMutable(SecretAccess("seal into the vault"));
  PutUint64(static_cast<uint64_t>(absl::ToUnixMillis(clock_->Now())), bytes.data());
  PutUint64(text.size(), bytes.data() + 8);
  std::memcpy(bytes.data() + kRecordHeader, text.data(), text.size());
  const auto sealed =
      AeadSeal(data_key_, bytes, AsBytes(Associated("record", *id, source_id)), random_);
  ASSIGN_OR_RETURN(auto update, database_->Prepare("UPDATE records SET sealed = ? WHERE id = ?"));
  RETURN_IF_ERROR(update.BindBlob(1, sealed).Bind(2, *id).Run());
  ASSIGN_OR_RETURN(Census census, ReadCensus());
  ++census.count;
  for (size_t i = 0; i < tag.size(); ++i) census.tags[i] ^= tag[i];
  return WriteCensus(census);
}

absl::StatusOr<Vault::Opened> Vault::OpenRecord(int64_t id, int64_t source_id,
                                                std::span<const uint8_t> sealed) const {
  const auto record = AeadOpen(data_key_, sealed, AsBytes(Associated("record", id, source_id)));
  if (!record.ok()) {
    return absl::DataLossError(
        absl::StrFormat("vault: record %d was altered or damaged, its text is lost", id));
  }
  const auto bytes = record->Open(SecretAccess("open a record"));
  if (bytes.size() < kRecordHeader) return absl::DataLossError(absl::StrCat("vault: record ", id));
  const uint64_t size = GetUint64(bytes.data() + 8);
  if (size > bytes.size() - kRecordHeader) {
    return absl::DataLossError(absl::StrCat("vault: record ", id));
  }
  return Opened{absl::FromUnixMillis(static_cast<int64_t>(GetUint64(bytes.data()))),
                PrivateText(std::string(AsChars(bytes.subspan(kRecordHeader, size))))};
}

absl::StatusOr<std::vector<VaultRecord>> Vault::List() const {
  ASSIGN_OR_RETURN(auto query,
                   database_->Prepare("SELECT id, source, sealed FROM records ORDER BY id"));
  std::vector<VaultRecord> records;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return records;
    ASSIGN_OR_RETURN(const Opened opened, OpenRecord(query.Int(0), query.Int(1), query.Blob(2)));
    const auto source = sources_.find(query.Int(1));
    records.push_back({query.Int(0), source == sources_.end() ? "" : source->second.name,
                       opened.added, opened.text.size_bytes()});
  }
}

absl::StatusOr<PrivateText> Vault::Read(int64_t id) const {
  ASSIGN_OR_RETURN(auto query,
                   database_->Prepare("SELECT source, sealed FROM records WHERE id = ?"));
  query.Bind(1, id);
  ASSIGN_OR_RETURN(const bool found, query.Step());
  if (!found) return absl::NotFoundError(absl::StrCat("vault: there is no record ", id));
  ASSIGN_OR_RETURN(Opened opened, OpenRecord(id, query.Int(0), query.Blob(1)));
  return std::move(opened.text);
}

absl::StatusOr<std::vector<VaultDocument>> Vault::Records(Purpose purpose) const {
  ASSIGN_OR_RETURN(auto query,
                   database_->Prepare("SELECT id, source, sealed, tag FROM records ORDER BY id"));
  std::vector<VaultDocument> documents;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) return documents;
    const auto source = sources_.find(query.Int(1));
    if (source == sources_.end() || !source->second.consent.Allows(purpose)) continue;
    if (query.Blob(3).size() < 8) {
      return absl::DataLossError(absl::StrCat("vault: record ", query.Int(0)));
    }
    ASSIGN_OR_RETURN(Opened opened, OpenRecord(query.Int(0), query.Int(1), query.Blob(2)));
    const uint64_t lot = GetUint64(query.Blob(3).data()) >> 11;  // the tag is keyed and uniform
    documents.push_back({.id = query.Int(0),
                         .added = opened.added,
                         .lot = static_cast<double>(lot) * 0x1p-53,
                         .text = std::move(opened.text)});
  }
}

absl::StatusOr<std::vector<PrivateText>> Vault::Documents(Purpose purpose) const {
  ASSIGN_OR_RETURN(std::vector<VaultDocument> records, Records(purpose));
  std::vector<PrivateText> documents;
  for (VaultDocument& record : records) documents.push_back(std::move(record.text));
  return documents;
}

absl::StatusOr<std::vector<VaultSource>> Vault::Sources() const {
  std::vector<VaultSource> sources;
  ASSIGN_OR_RETURN(auto count, database_->Prepare("SELECT count(*) FROM records WHERE source = ?"));
  for (const auto& [id, source] : sources_) {
    count.Bind(1, id);
    RETURN_IF_ERROR(count.Step().status());
    sources.push_back({source.name, source.consent, count.Int(0)});
    count.Reset();
  }
  return sources;
}

absl::Status Vault::SetConsent(std::string_view source, const SourceConsent& consent) {
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_.get()));
  ASSIGN_OR_RETURN(const int64_t id, SourceId(source));
  RETURN_IF_ERROR(WriteSource(id, {std::string(source), consent}, /*insert=*/false));
  RETURN_IF_ERROR(transaction.Commit());
  return ApplyRetention();
}

absl::StatusOr<VaultVerification> Vault::Verify() const {
  ASSIGN_OR_RETURN(const Census expected, ReadCensus());
  ASSIGN_OR_RETURN(auto query, database_->Prepare("SELECT id, source, sealed, tag FROM records"));
  VaultVerification result;
  Census census;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, query.Step());
    if (!more) break;
    ASSIGN_OR_RETURN(const Opened opened, OpenRecord(query.Int(0), query.Int(1), query.Blob(2)));
    const Hash256 tag = TagOf(query.Int(1), opened.text.Open(TextAccess("check a record's tag")));
    if (!std::ranges::equal(tag, query.Blob(3))) {
      return absl::DataLossError(
          absl::StrFormat("vault: the tag of record %d was altered", query.Int(0)));
    }
    for (size_t i = 0; i < tag.size(); ++i) census.tags[i] ^= tag[i];
    ++census.count;
    result.bytes += static_cast<int64_t>(opened.text.size_bytes());
  }
  result.records = census.count;
  if (census.count != expected.count || census.tags != expected.tags) {
    return absl::DataLossError(absl::StrFormat(
        "vault: expected the %d records it last wrote, found %d: some were removed or put back",
        expected.count, census.count));
  }
  return result;
}

}  // namespace lorikeet
