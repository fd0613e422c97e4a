// Tests of the store that run over SQLite and over PostgreSQL.
#ifndef LORIKEET_TESTS_UNIT_COORDINATOR_STORE_BACKEND_H_
#define LORIKEET_TESTS_UNIT_COORDINATOR_STORE_BACKEND_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "coordinator/storage/open_store.h"
#include "coordinator/storage/sql_connection.h"
#include "tests/support/private_postgres.h"
#include "tests/support/shared_data.h"

namespace lorikeet {

enum class StoreBackend { kSqlite, kPostgres };

inline std::string StoreBackendName(const testing::TestParamInfo<StoreBackend>& info) {
  return info.param == StoreBackend::kSqlite ? "Sqlite" : "Postgres";
}

// An empty place for a store: a path or a URL, see OpenStore.
inline std::string StorePlace(StoreBackend backend, PrivatePostgres* server) {
  return backend == StoreBackend::kSqlite ? MakeTempDir("store") + "/store.sqlite"
                                          : server->NewSchema();
}

// A connection past the store, to see or to make what it would not.
inline std::unique_ptr<SqlConnection> ConnectToStore(const std::string& place) {
  if (!IsPostgresUrl(place)) return OverSqlite(Database::Open(place, {}).value());
  return OverPostgres(PostgresConnection::Open({.url = place}).value());
}

// place_ is empty at the start; every call of Open is another process's view of it.
class StoreBackendTest : public testing::TestWithParam<StoreBackend> {
 protected:
  void SetUp() override {
    if (GetParam() == StoreBackend::kPostgres) {
      LORIKEET_POSTGRES_OR_SKIP(server);
      server_ = server;
    }
    place_ = StorePlace(GetParam(), server_);
  }
  std::unique_ptr<Store> Open() {
    auto store = OpenStore(place_, /*create=*/true);
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *std::move(store) : nullptr;
  }

  PrivatePostgres* server_ = nullptr;
  std::string place_;
};

}  // namespace lorikeet

#define LORIKEET_INSTANTIATE_STORE_TEST(Test)                                               \
  INSTANTIATE_TEST_SUITE_P(Over, Test,                                                      \
                           testing::Values(StoreBackend::kSqlite, StoreBackend::kPostgres), \
                           StoreBackendName)

#endif  // LORIKEET_TESTS_UNIT_COORDINATOR_STORE_BACKEND_H_
