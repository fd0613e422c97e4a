#include "coordinator/dashboard/dashboard_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/storage/open_store.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

int Connect(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  return fd;
}

// Everything until the server closes.
std::string ReadAll(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = recv(fd, buffer, sizeof(buffer), 0)) > 0;) {
    text.append(buffer, static_cast<size_t>(got));
  }
  close(fd);
  return text;
}

std::string Exchange(int port, const std::string& request) {
  const int fd = Connect(port);
  send(fd, request.data(), request.size(), MSG_NOSIGNAL);
  return ReadAll(fd);
}

std::string Get(int port, const std::string& path, const std::string& headers = "") {
  return Exchange(port, absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: localhost:", port,
                                     "\r\nConnection: close\r\n", headers, "\r\n"));
}

class DashboardServerTest : public ::testing::Test {
 protected:
  DashboardServerTest() {
    options_.source = &source_;
    options_.metrics = [] { return std::string("a_metric 1\n"); };
  }
  int Start() {
    auto server = DashboardServer::Start(options_);
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    return server_->port();
  }

  std::unique_ptr<SqlStore> store_ = OpenStore(":memory:", true).value();
  ManualClock clock_{absl::FromUnixSeconds(1700000000)};
  FleetSource source_{{.store = store_.get(), .clock = &clock_}};
  DashboardServer::Options options_;
  std::unique_ptr<DashboardServer> server_;
};

TEST_F(DashboardServerTest, ServesPageStateMetricsAndHealth) {
  const int port = Start();
  const std::string page = Get(port, "/");
  EXPECT_THAT(page, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(page, HasSubstr("<title>Lorikeet coordinator</title>"));
  for (const char* header :
       {"Content-Security-Policy: default-src 'self'", "X-Content-Type-Options: nosniff",
        "X-Frame-Options: DENY", "Referrer-Policy: no-referrer"}) {
    EXPECT_THAT(page, HasSubstr(header));
  }
  EXPECT_THAT(page, Not(HasSubstr("Access-Control")));
  EXPECT_THAT(Get(port, "/dashboard.js"), HasSubstr("Content-Type: text/javascript"));
  EXPECT_THAT(Get(port, "/uplot.js"), StartsWith("HTTP/1.1 200")) << "empty without npm";
  EXPECT_THAT(Get(port, "/state.json"), HasSubstr("\"tasks\":[]"));
  EXPECT_THAT(Get(port, "/metrics"), HasSubstr("a_metric 1"));
  EXPECT_THAT(Get(port, "/healthz"), HasSubstr("\r\n\r\nok"));
  EXPECT_THAT(Get(port, "/../store.sqlite"), StartsWith("HTTP/1.1 404"));
}

TEST_F(DashboardServerTest, SaysThatNothingChanged) {
  const int port = Start();
  const std::string first = Get(port, "/state.json");
  const size_t begin = first.find("ETag: ") + 6;
  const std::string tag = first.substr(begin, first.find("\r\n", begin) - begin);
  const std::string again = Get(port, "/state.json", absl::StrCat("If-None-Match: ", tag, "\r\n"));
  EXPECT_THAT(again, StartsWith("HTTP/1.1 304"));
  EXPECT_THAT(again, Not(HasSubstr("tasks")));
  ASSERT_TRUE(store_->AddDevice({.id = "ada", .enrolled = clock_.Now()}).ok());
  clock_.Advance(absl::Seconds(1));
  const std::string changed =
      Get(port, "/state.json", absl::StrCat("If-None-Match: ", tag, "\r\n"));
  EXPECT_THAT(changed, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(changed, HasSubstr("\"enrolled\":1"));
}

TEST_F(DashboardServerTest, ChangesNothingAndReadsNoBodies) {
  const int port = Start();
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH"}) {
    EXPECT_THAT(Exchange(port, absl::StrCat(method, " /state.json HTTP/1.1\r\nHost: localhost\r\n",
                                            "Content-Length: 0\r\n\r\n")),
                StartsWith("HTTP/1.1 405"))
        << method;
  }
  EXPECT_THAT(Get(port, "/", "Content-Length: 5\r\n"), StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(Get(port, "/", "Transfer-Encoding: chunked\r\n"), StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(Get(port, "/", "Range: bytes=0-1,2-3\r\n"), StartsWith("HTTP/1.1 416"));
}

TEST_F(DashboardServerTest, AnswersNoOtherHost) {
  options_.names = {"fleet.example"};
  const int port = Start();
  const auto status = [&](const std::string& host) {
    const std::string answer = Exchange(
        port, absl::StrCat("GET /state.json HTTP/1.1\r\n", host, "Connection: close\r\n\r\n"));
    return answer.substr(9, 3);
  };
  EXPECT_EQ(status("Host: 127.0.0.1\r\n"), "200");
  EXPECT_EQ(status("Host: [::1]:8751\r\n"), "200");
  EXPECT_EQ(status("Host: fleet.example:8751\r\n"), "200");
  EXPECT_EQ(status("Host: evil.example\r\n"), "421");
  EXPECT_EQ(status("Host: localhost.evil.example\r\n"), "421");
  EXPECT_EQ(status(""), "421");
}

TEST_F(DashboardServerTest, EndlessHeadsAndSilentConnectionsBlockNobody) {
  const int port = Start();
  const int endless = Connect(port);
  const std::string line = "X-Filler: " + std::string(1000, 'a') + "\r\n";
  std::string head = "GET / HTTP/1.1\r\nHost: localhost\r\n";
  for (int i = 0; i < 40; ++i) head += line;
  send(endless, head.data(), head.size(), MSG_NOSIGNAL);
  std::vector<int> silent;
  for (int i = 0; i < 100; ++i) silent.push_back(Connect(port));
  const absl::Time begin = absl::Now();
  std::string answer;
  // Those beyond what may wait are closed at once; then there is room again.
  while (answer.empty() && absl::Now() < begin + absl::Seconds(20)) answer = Get(port, "/healthz");
  EXPECT_THAT(answer, HasSubstr("ok"));
  EXPECT_LT(absl::Now() - begin, absl::Seconds(20));
  EXPECT_THAT(ReadAll(endless), Not(StartsWith("HTTP/1.1 200")));
  for (const int fd : silent) close(fd);
}

TEST_F(DashboardServerTest, StopsAtOnceWithConnectionsOpen) {
  const int fd = Connect(Start());
  const absl::Time begin = absl::Now();
  server_.reset();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(3));
  close(fd);
}

TEST_F(DashboardServerTest, ListensElsewhereOnlyWhenTold) {
  options_.listen = "0.0.0.0:0";
  const auto refused = DashboardServer::Start(options_);
  ASSERT_EQ(refused.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("dashboard_allow_remote"));
  options_.allow_remote = true;
  EXPECT_THAT(Get(Start(), "/healthz"), HasSubstr("ok"));
}

TEST_F(DashboardServerTest, SharesNoPort) {
  options_.listen = absl::StrCat("127.0.0.1:", Start());
  EXPECT_EQ(DashboardServer::Start(options_).status().code(), absl::StatusCode::kUnavailable);
}

TEST(ListenAddressTest, IsReadOrRefused) {
  EXPECT_EQ(ParseListenAddress("[::1]:80")->host, "::1");
  EXPECT_EQ(ParseListenAddress("localhost:8751")->port, 8751);
  for (const char* bad :
       {"", "localhost", ":80", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:8o"}) {
    EXPECT_EQ(ParseListenAddress(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

// A store that cannot be read.
TEST(FleetSourceTest, SaysThatTheStoreCannotBeRead) {
  auto store = OpenStore(":memory:", true).value();
  ASSERT_TRUE(store->AddTask({.name = "broken", .config = "{", .created = absl::Now()}).ok());
  ManualClock clock;
  int failures = 0;
  FleetSource source({.store = store.get(),
                      .clock = &clock,
                      .observe = [&](absl::Duration, bool ok) { failures += ok ? 0 : 1; }});
  const auto snapshot = source.Get();
  EXPECT_THAT(std::string(snapshot.status().message()), HasSubstr("broken"));
  EXPECT_FALSE(source.Get().ok());
  EXPECT_EQ(failures, 1) << "once, until half a second has passed";
  clock.Advance(absl::Seconds(1));
  EXPECT_FALSE(source.Get().ok());
  EXPECT_EQ(failures, 2);
  DashboardServer::Options options;
  options.source = &source;
  const auto server = DashboardServer::Start(options).value();
  EXPECT_THAT(Get(server->port(), "/healthz"), StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(Get(server->port(), "/state.json"), StartsWith("HTTP/1.1 503"));
}

}  // namespace
}  // namespace lorikeet
