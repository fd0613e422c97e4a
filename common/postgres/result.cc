#include "common/postgres/result.h"

#include <libpq-fe.h>

#include <bit>
#include <charconv>

#include "absl/strings/str_cat.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

// Big-endian, as PostgreSQL sends numbers; sign-extended.
int64_t BigEndian(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return 0;
  uint64_t value = bytes.size() > 1 && (bytes[0] & 0x80) != 0 ? ~uint64_t{0} : 0;
  for (const uint8_t byte : bytes) value = value << 8 | byte;
  return static_cast<int64_t>(value);
}

struct StateCode {
  std::string_view prefix;  // of an SQLSTATE (PostgreSQL manual, appendix A)
  absl::StatusCode code;
};
// The first that fits.
constexpr StateCode kStateCodes[] = {
    {"23505", absl::StatusCode::kAlreadyExists},
    {"23", absl::StatusCode::kFailedPrecondition},   // other constraints
    {"22", absl::StatusCode::kInvalidArgument},      // a value that cannot be stored
    {"53300", absl::StatusCode::kUnavailable},       // too many connections
    {"53", absl::StatusCode::kResourceExhausted},    // disk, memory
    {"54", absl::StatusCode::kResourceExhausted},    // a limit of the server
    {"28", absl::StatusCode::kPermissionDenied},     // who we are
    {"42501", absl::StatusCode::kPermissionDenied},  // what we may
    {"XX001", absl::StatusCode::kDataLoss},
    {"XX002", absl::StatusCode::kDataLoss},
    {"08", absl::StatusCode::kUnavailable},     // connection
    {"25006", absl::StatusCode::kUnavailable},  // a standby that is not (yet) the primary
    {"25P03", absl::StatusCode::kUnavailable},  // idle in a transaction for too long
    {"40", absl::StatusCode::kUnavailable},     // deadlock, serialization
    {"55P03", absl::StatusCode::kUnavailable},  // lock not available in time
    {"57", absl::StatusCode::kUnavailable},     // shutting down, starting up, cancelled
    {"58", absl::StatusCode::kUnavailable},     // the server's own input and output
};

absl::StatusCode CodeOf(std::string_view state) {
  for (const StateCode& entry : kStateCodes) {
    if (state.starts_with(entry.prefix)) return entry.code;
  }
  return absl::StatusCode::kInternal;
}

std::string_view Field(const PGresult* result, int field) {
  const char* text = PQresultErrorField(result, field);
  return text == nullptr ? std::string_view() : std::string_view(text);
}

}  // namespace

void PostgresResult::Clear::operator()(pg_result* result) const { PQclear(result); }

int PostgresResult::row_count() const { return PQntuples(result_.get()); }

int64_t PostgresResult::changed() const {
  const std::string_view text = PQcmdTuples(result_.get());
  int64_t count = 0;
  std::from_chars(text.data(), text.data() + text.size(), count);
  return count;
}

std::string_view PostgresResult::command() const { return PQcmdStatus(result_.get()); }

bool PostgresResult::IsNull(int row, int column) const {
  return PQgetisnull(result_.get(), row, column) != 0;
}

int64_t PostgresResult::Int(int row, int column) const { return BigEndian(Blob(row, column)); }

double PostgresResult::Double(int row, int column) const {
  return std::bit_cast<double>(BigEndian(Blob(row, column)));
}

std::string_view PostgresResult::Text(int row, int column) const {
  return AsChars(Blob(row, column));
}

std::span<const uint8_t> PostgresResult::Blob(int row, int column) const {
  const auto* bytes = reinterpret_cast<const uint8_t*>(PQgetvalue(result_.get(), row, column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<size_t>(PQgetlength(result_.get(), row, column))};
}

absl::Status PostgresResult::status() const {
  const ExecStatusType status = PQresultStatus(result_.get());
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return absl::OkStatus();
  // Only the primary message: the detail holds the values of rows.
  const std::string_view state = Field(result_.get(), PG_DIAG_SQLSTATE);
  const std::string_view message = Field(result_.get(), PG_DIAG_MESSAGE_PRIMARY);
  return absl::Status(CodeOf(state),
                      absl::StrCat("database: ", ToAbsl(message), " (", ToAbsl(state), ")"));
}

}  // namespace lorikeet
