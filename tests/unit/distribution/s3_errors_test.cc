// S3BlobStore against a server that does what real ones do on bad days: a script of answers.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/strings.h"
#include "coordinator/distribution/s3_blob_store.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

// Answers one request a connection, with the next of the answers; then with the last for ever.
class ScriptedServer {
 public:
  explicit ScriptedServer(std::vector<std::string> answers) : answers_(std::move(answers)) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~ScriptedServer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  std::string endpoint() const { return absl::StrCat("http://127.0.0.1:", port_); }
  // First lines of the requests so far.  To be asked when no request is on its way.
  const std::vector<std::string>& requests() const { return requests_; }

 private:
  void Serve() {
    for (int connection; (connection = accept(listener_, nullptr, nullptr)) >= 0;) {
      const std::string request = ReadRequest(connection);
      const std::string& answer = answers_[std::min(requests_.size(), answers_.size() - 1)];
      requests_.push_back(request.substr(0, request.find('\r')));
      EXPECT_EQ(send(connection, answer.data(), answer.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(answer.size()));
      shutdown(connection, SHUT_WR);
      close(connection);
    }
  }
  static std::string ReadRequest(int connection) {
    std::string text;
    char buffer[4096];
    for (size_t want = std::string::npos; text.size() < want;) {
      const ssize_t got = recv(connection, buffer, sizeof(buffer), 0);
      if (got <= 0) break;
      text.append(buffer, static_cast<size_t>(got));
      const size_t head = text.find("\r\n\r\n");
      if (head == std::string::npos) continue;
      const size_t at = text.find("Content-Length: ");
      want = head + 4 + (at < head ? std::stoul(text.substr(at + 16)) : 0);
    }
    return text;
  }

  std::vector<std::string> answers_;
  std::vector<std::string> requests_;
  int listener_;
  int port_ = 0;
  std::thread thread_;
};

std::string Answer(std::string_view status, std::string_view body, std::string_view headers = "") {
  return absl::StrCat("HTTP/1.1 ", ToAbsl(status), "\r\nContent-Length: ", body.size(),
                      "\r\nConnection: close\r\n", ToAbsl(headers), "\r\n", ToAbsl(body));
}
std::string ErrorXml(std::string_view code) {
  return absl::StrCat("<Error><Code>", ToAbsl(code), "</Code><Message>as it is</Message></Error>");
}
const std::string kBytes = "released bytes";
const Hash256 kHash = Blake2b(AsBytes(kBytes));
std::string Range(std::string_view bytes, size_t total) {
  return Answer("206 Partial Content", bytes,
                absl::StrCat("Content-Range: bytes 0-", bytes.size() - 1, "/", total, "\r\n"));
}

class S3ErrorsTest : public testing::Test {
 protected:
  std::unique_ptr<S3BlobStore> StoreAt(const std::string& endpoint) {
    S3Options options;
    options.endpoint = endpoint;
    options.bucket = "bucket";
    options.credentials = {"id", "a very secret key", ""};
    options.timeouts = {
        .connect = absl::Seconds(2), .stalled = absl::Seconds(2), .total = absl::Seconds(2)};
    options.attempts = 3;
    options.first_pause = absl::Milliseconds(1);
    return S3BlobStore::Create(options, &clock_).value();
  }
  SystemClock clock_;
};

TEST_F(S3ErrorsTest, PassingTroubleIsTriedAgain) {
  ScriptedServer server({Answer("503 Slow Down", ErrorXml("SlowDown")),
                         Answer("500 Internal Server Error", ""), Range(kBytes, kBytes.size())});
  const auto bytes = StoreAt(server.endpoint())->Get(kHash);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(*bytes, kBytes);
  EXPECT_THAT(server.requests(), SizeIs(3));
}

TEST_F(S3ErrorsTest, LastingTroubleIsUnavailableWithTheServersWords) {
  ScriptedServer server({Answer("503 Slow Down", ErrorXml("SlowDown"))});
  const absl::Status status = StoreAt(server.endpoint())->Get(kHash).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(Message(status)), HasSubstr("bucket bucket at 127.0.0.1:"));
  EXPECT_THAT(std::string(Message(status)), HasSubstr("status 503 SlowDown as it is"));
  EXPECT_THAT(server.requests(), SizeIs(3));
}

TEST_F(S3ErrorsTest, ARefusalIsNotTriedAgainAndShowsNoSecret) {
  ScriptedServer server({Answer("403 Forbidden", ErrorXml("SignatureDoesNotMatch"))});
  const absl::Status status = StoreAt(server.endpoint())->Get(kHash).status();
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
  EXPECT_THAT(std::string(Message(status)), HasSubstr("SignatureDoesNotMatch"));
  EXPECT_THAT(std::string(Message(status)), testing::Not(HasSubstr("secret")));
  EXPECT_THAT(server.requests(), SizeIs(1));
}

TEST_F(S3ErrorsTest, OtherBytesAreFoundOut) {
  ScriptedServer server({Range("altered  bytes", 14)});
  EXPECT_TRUE(absl::IsDataLoss(StoreAt(server.endpoint())->Get(kHash).status()));
}

TEST_F(S3ErrorsTest, ShortRangesAreFoundOut) {
  ScriptedServer server({Range(kBytes, 5000)});
  EXPECT_TRUE(absl::IsDataLoss(
      StoreAt(server.endpoint())->Read({.file_hash = kHash, .offset = 0, .length = 9}).status()));
}

// No more is read than was asked for, whatever comes.
TEST_F(S3ErrorsTest, EndlessAnswersAreCut) {
  ScriptedServer server({Range(std::string(3 << 20, 'x'), 3 << 20)});
  const absl::Status status = StoreAt(server.endpoint())->Get(kHash).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
}

TEST_F(S3ErrorsTest, AServerThatIsNotThere) {
  std::string endpoint;
  {
    const ScriptedServer gone({""});
    endpoint = gone.endpoint();
  }
  const absl::Status status = StoreAt(endpoint)->Get(kHash).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
}

TEST_F(S3ErrorsTest, EndpointsAndBucketsThatCannotBe) {
  for (const auto& [endpoint, bucket] :
       {std::pair<std::string, std::string>{"127.0.0.1:9000", "bucket"},
        {"ftp://host", "bucket"},
        {"http://host/path", "bucket"},
        {"http://host", "B"},
        {"http://host", "a/../b"}}) {
    S3Options options;
    options.endpoint = endpoint;
    options.bucket = bucket;
    EXPECT_TRUE(absl::IsInvalidArgument(S3BlobStore::Create(options, &clock_).status()))
        << endpoint << " " << bucket;
  }
}

}  // namespace
}  // namespace lorikeet
