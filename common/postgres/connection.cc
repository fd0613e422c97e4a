#include "common/postgres/connection.h"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

// Types of parameters (pg_type.dat).
constexpr Oid kUnknown = 0, kBytea = 17, kInt8 = 20, kText = 25, kFloat8 = 701;

// libpq's messages end in newlines and may have several lines.
std::string OneLine(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const bool space = c == '\n' || c == '\t' || c == ' ';
    if (!space) line.push_back(c);
    if (space && !line.empty() && line.back() != ' ') line.push_back(' ');
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

std::string BigEndianBytes(uint64_t value) {
  std::string bytes(8, '\0');
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(value >> (56 - 8 * i));
  return bytes;
}

// Parameters as libpq takes them, all in binary format (text with its length, so that a NUL in it
// is an error and not its end).
class Parameters {
 public:
  explicit Parameters(std::span<const PostgresValue> values) {
    numbers_.reserve(values.size());  // pointers into it stay valid
    for (const PostgresValue& value : values) Add(value);
  }
  int count() const { return static_cast<int>(types_.size()); }
  const Oid* types() const { return types_.data(); }
  const char* const* values() const { return values_.data(); }
  const int* lengths() const { return lengths_.data(); }
  const int* formats() const { return formats_.data(); }

 private:
  void Add(const PostgresValue& value) {
    if (const auto* integer = std::get_if<int64_t>(&value)) {
      numbers_.push_back(BigEndianBytes(static_cast<uint64_t>(*integer)));
      Add(kInt8, &numbers_.back());
    } else if (const auto* number = std::get_if<double>(&value)) {
      numbers_.push_back(BigEndianBytes(std::bit_cast<uint64_t>(*number)));
      Add(kFloat8, &numbers_.back());
    } else if (const auto* text = std::get_if<std::string>(&value)) {
      Add(kText, text);
    } else if (const auto* bytes = std::get_if<PostgresBytes>(&value)) {
      Add(kBytea, &bytes->bytes);
    } else {
      Add(kUnknown, nullptr);
    }
  }
  void Add(Oid type, const std::string* bytes) {
    types_.push_back(type);
    values_.push_back(bytes == nullptr ? nullptr : bytes->data());
    lengths_.push_back(bytes == nullptr ? 0 : static_cast<int>(bytes->size()));
    formats_.push_back(1);
  }
  std::vector<std::string> numbers_;
  std::vector<Oid> types_;
  std::vector<const char*> values_;
  std::vector<int> lengths_, formats_;
};

std::string Milliseconds(absl::Duration duration) {
  return absl::StrCat(absl::ToInt64Milliseconds(duration));
}

}  // namespace

bool IsPostgresUrl(std::string_view text) {
  return text.starts_with("postgresql://") || text.starts_with("postgres://");
}

void PostgresConnection::Finish::operator()(pg_conn* connection) const { PQfinish(connection); }

PostgresConnection::~PostgresConnection() = default;

absl::StatusOr<std::unique_ptr<PostgresConnection>> PostgresConnection::Open(
    const Options& options) {
  // libpq's own message would quote the URL, and with it the password.
  PQconninfoOption* parsed =
      IsPostgresUrl(options.url) ? PQconninfoParse(options.url.c_str(), nullptr) : nullptr;
  if (parsed == nullptr) {
    return absl::InvalidArgumentError(
        "database: expected postgresql://user@host:port/database, got something else");
  }
  PQconninfoFree(parsed);
  auto connection = std::unique_ptr<PostgresConnection>(new PostgresConnection(options));
  RETURN_IF_ERROR(connection->Connect());
  return connection;
}

absl::Status PostgresConnection::Connect() {
  const absl::Time before = absl::Now();
  if (before < next_attempt_) return last_attempt_;
  last_attempt_ = TryConnect();
  const absl::Time after = absl::Now();
  next_attempt_ = last_attempt_.ok() ? absl::InfinitePast() : after + (after - before);
  return last_attempt_;
}

absl::Status PostgresConnection::TryConnect() {
  const std::string connect_seconds =
      absl::StrCat(std::max<int64_t>(2, absl::ToInt64Seconds(options_.connect_timeout)));
  const std::string user_timeout = Milliseconds(options_.answer_timeout);
  // What stands before dbname the URL may overrule, what stands after it not.
  const std::array<const char*, 8> keys = {
      "connect_timeout", "tcp_user_timeout",     "keepalives_idle", "application_name",
      "dbname",          "target_session_attrs", "client_encoding", nullptr};
  const std::array<const char*, 8> values = {
      connect_seconds.c_str(), user_timeout.c_str(), "10",   "lorikeet",
      options_.url.c_str(),    "read-write",         "UTF8", nullptr};
  connection_.reset(PQconnectdbParams(keys.data(), values.data(), /*expand_dbname=*/1));
  if (connection_ == nullptr) return absl::ResourceExhaustedError("database: no memory");
  if (PQstatus(connection_.get()) != CONNECTION_OK) {
    return Lose(absl::StrCat("cannot connect: ", PQerrorMessage(connection_.get())));
  }
  PQsetNoticeProcessor(connection_.get(), [](void*, const char*) {}, nullptr);
  PQsetnonblocking(connection_.get(), 1);
  const absl::Status status = PrepareSession();
  if (!status.ok()) connection_.reset();
  return status;
}

absl::Status PostgresConnection::PrepareSession() {
  const char* encoding = PQparameterStatus(connection_.get(), "server_encoding");
  if (encoding == nullptr || std::string_view(encoding) != "UTF8") {
    return absl::FailedPreconditionError(
        absl::StrCat("database: expected a database with encoding UTF8, got ",
                     encoding == nullptr ? "an unknown one" : encoding));
  }
  for (const auto& [name, value] :
       {std::pair<const char*, std::string>{"synchronous_commit", "on"},
        {"default_transaction_isolation", "read committed"},
        {"statement_timeout", Milliseconds(options_.answer_timeout)},
        {"lock_timeout", Milliseconds(options_.lock_timeout)},
        {"idle_in_transaction_session_timeout", Milliseconds(options_.idle_transaction_timeout)}}) {
    const std::array<PostgresValue, 2> setting = {PostgresValue(std::string(name)),
                                                  PostgresValue(value)};
    RETURN_IF_ERROR(Ask("SELECT set_config($1, $2, false)", setting).status());
  }
  ASSIGN_OR_RETURN(const PostgresResult fsync, Ask("SELECT current_setting('fsync')", {}));
  if (fsync.Text(0, 0) == "on") return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("database: expected a server with fsync = on, got ", ToAbsl(fsync.Text(0, 0)),
                   ": it would forget what it committed"));
}

absl::Status PostgresConnection::Lose(std::string_view why) {
  connection_.reset();
  return absl::UnavailableError(absl::StrCat("database: ", OneLine(why)));
}

absl::Status PostgresConnection::EnsureConnected() {
  if (connection_ != nullptr && PQstatus(connection_.get()) == CONNECTION_OK) {
    // A server that went away has closed its end, which an idle socket shows at once.
    pollfd socket = {.fd = PQsocket(connection_.get()), .events = POLLIN, .revents = 0};
    const bool readable = poll(&socket, 1, 0) > 0;
    if (!readable ||
        (PQconsumeInput(connection_.get()) == 1 && PQstatus(connection_.get()) == CONNECTION_OK)) {
      return absl::OkStatus();
    }
  }
  if (in_transaction_) return Lose("the connection was lost in a transaction; nothing was stored");
  return Connect();
}

absl::Status PostgresConnection::WaitForSocket(bool to_write, absl::Time deadline) {
  for (;;) {
    const absl::Duration left = deadline - absl::Now();
    if (left <= absl::ZeroDuration()) {
      return Lose(absl::StrCat("no answer in ", absl::FormatDuration(options_.answer_timeout),
                               "; it is not known whether the last statement took effect"));
    }
    pollfd socket = {.fd = PQsocket(connection_.get()),
                     .events = static_cast<int16_t>(POLLIN | (to_write ? POLLOUT : 0)),
                     .revents = 0};
    const int ready = poll(&socket, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1);
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno != EINTR) return Lose(absl::StrCat("poll: ", strerror(errno)));
  }
}

absl::StatusOr<PostgresResult> PostgresConnection::Await(std::string_view what) {
  const auto lost = [&] {
    return Lose(absl::StrCat(
        "the connection was lost while it was to ", ToAbsl(what),
        "; it is not known whether that took effect: ", PQerrorMessage(connection_.get())));
  };
  const absl::Time deadline = absl::Now() + options_.answer_timeout;
  for (;;) {
    const int unsent = PQflush(connection_.get());
    if (unsent < 0) return lost();
    if (unsent == 0) break;
    RETURN_IF_ERROR(WaitForSocket(/*to_write=*/true, deadline));
    if (PQconsumeInput(connection_.get()) != 1) return lost();
  }
  PostgresResult last(nullptr);
  for (;;) {
    while (PQisBusy(connection_.get()) != 0) {
      RETURN_IF_ERROR(WaitForSocket(/*to_write=*/false, deadline));
      if (PQconsumeInput(connection_.get()) != 1) return lost();
    }
    PostgresResult next(PQgetResult(connection_.get()));
    if (next.result_ == nullptr) break;
    // Of several statements the first error counts.
    if (last.result_ == nullptr || last.status().ok()) last = std::move(next);
  }
  // A server that ends a session says why, and hangs up.
  if (PQstatus(connection_.get()) != CONNECTION_OK || last.result_ == nullptr) {
    return last.result_ != nullptr && !last.status().ok() ? Annotate(lost(), Message(last.status()))
                                                          : lost();
  }
  RETURN_IF_ERROR(last.status());
  return last;
}

absl::StatusOr<PostgresResult> PostgresConnection::Query(const std::string& sql,
                                                         std::span<const PostgresValue> values) {
  RETURN_IF_ERROR(EnsureConnected());
  return Ask(sql, values);
}

absl::StatusOr<PostgresResult> PostgresConnection::Ask(const std::string& sql,
                                                       std::span<const PostgresValue> values) {
  const Parameters parameters(values);
  if (PQsendQueryParams(connection_.get(), sql.c_str(), parameters.count(), parameters.types(),
                        parameters.values(), parameters.lengths(), parameters.formats(),
                        /*resultFormat=*/1) != 1) {
    return Lose(absl::StrCat("cannot send a statement: ", PQerrorMessage(connection_.get())));
  }
  return Await("run a statement");
}

absl::Status PostgresConnection::Execute(const std::string& sql) {
  RETURN_IF_ERROR(EnsureConnected());
  if (PQsendQuery(connection_.get(), sql.c_str()) != 1) {
    return Lose(absl::StrCat("cannot send a statement: ", PQerrorMessage(connection_.get())));
  }
  return Await("run statements").status();
}

absl::Status PostgresConnection::Begin() {
  RETURN_IF_ERROR(Execute("BEGIN"));
  in_transaction_ = true;
  return absl::OkStatus();
}

absl::Status PostgresConnection::Commit() {
  RETURN_IF_ERROR(EnsureConnected());
  const auto result = Query("COMMIT");
  in_transaction_ = false;
  RETURN_IF_ERROR(result.status());
  // After an error inside, COMMIT is a ROLLBACK and not an error.
  if (result->command() == "COMMIT") return absl::OkStatus();
  return absl::InternalError(absl::StrCat("database: expected a commit, got ",
                                          ToAbsl(result->command()), ": a statement had failed"));
}

void PostgresConnection::Rollback() {
  if (connection_ != nullptr) Execute("ROLLBACK").IgnoreError();
  in_transaction_ = false;
}

}  // namespace lorikeet
