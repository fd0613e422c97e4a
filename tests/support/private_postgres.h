// A PostgreSQL server of a test's own: in a temporary directory, on a socket there (no port), with
// fsync on, by an unprivileged user where the test is run by root.  It ends with the test program,
// however that ends.
#ifndef LORIKEET_TESTS_SUPPORT_PRIVATE_POSTGRES_H_
#define LORIKEET_TESTS_SUPPORT_PRIVATE_POSTGRES_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lorikeet {

class PrivatePostgres {
 public:
  // NOT_FOUND: there are no server programs ($LORIKEET_POSTGRES_BIN, /usr/lib/postgresql/*/bin).
  static absl::StatusOr<std::unique_ptr<PrivatePostgres>> Start();
  // One for the whole test program, started when first asked for.
  static const absl::StatusOr<std::unique_ptr<PrivatePostgres>>& Shared();
  ~PrivatePostgres();
  PrivatePostgres(const PrivatePostgres&) = delete;
  PrivatePostgres& operator=(const PrivatePostgres&) = delete;

  // The URL of a schema of its own: as good as an empty database, and quicker.
  std::string NewSchema();

  // As a power cut: kill -9 of the server and its sessions.
  void Kill();
  // After Kill.  Returns once it answers.
  absl::Status Restart();

 private:
  PrivatePostgres(std::string programs, std::string directory)
      : programs_(std::move(programs)), directory_(std::move(directory)) {}
  // "": the default schema.
  std::string Url(std::string_view schema) const;
  absl::Status Launch();

  const std::string programs_, directory_;
  pid_t server_ = -1;
  int schemas_ = 0;
};

}  // namespace lorikeet

// First statement of a test that needs PostgreSQL: defines `var` as a PrivatePostgres* or skips.
#define LORIKEET_POSTGRES_OR_SKIP(var)                                                \
  const auto& var##_shared = ::lorikeet::PrivatePostgres::Shared();                   \
  if (absl::IsNotFound(var##_shared.status())) GTEST_SKIP() << var##_shared.status(); \
  ASSERT_TRUE(var##_shared.ok()) << var##_shared.status();                            \
  [[maybe_unused]] ::lorikeet::PrivatePostgres* const var = var##_shared->get()

#endif  // LORIKEET_TESTS_SUPPORT_PRIVATE_POSTGRES_H_
