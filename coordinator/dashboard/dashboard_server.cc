// The only file that sees cpp-httplib.
#include "coordinator/dashboard/dashboard_server.h"

#include <arpa/inet.h>
#include <httplib.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "coordinator/dashboard/assets.h"

namespace lorikeet {
namespace {

constexpr int kThreads = 6;
constexpr size_t kWaitingConnections = 64;
constexpr size_t kHeadBytes = 16 << 10;
constexpr absl::Duration kRequestTime = absl::Seconds(5);
constexpr absl::Duration kIdleTime = absl::Seconds(5);
constexpr absl::Duration kLeastIdleTime = absl::Milliseconds(50);
constexpr int kRequestsPerConnection = 100;

// Waits in slices, so that a server that stops is not waited for.
template <typename GiveUp>
bool AwaitSocket(int socket, short events, absl::Time until, const GiveUp& give_up) {
  while (!give_up()) {
    const absl::Duration left = until - absl::Now();
    if (left <= absl::ZeroDuration()) return false;
    pollfd entry = {.fd = socket, .events = events, .revents = 0};
    const int slice = static_cast<int>(
        std::min<int64_t>(50, std::max<int64_t>(1, absl::ToInt64Milliseconds(left))));
    const int ready = poll(&entry, 1, slice);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
  return false;
}

// A connection's bytes: of each request only so many, in only so much time.
class BoundedStream final : public httplib::Stream {
 public:
  BoundedStream(int socket, const std::atomic<bool>& stopping)
      : socket_(socket), stopping_(stopping) {}

  void BeginRequest() {
    until_ = absl::Now() + kRequestTime;
    left_ = kHeadBytes;
  }
  // Whether more came of the request than a request may have.
  bool exhausted() const { return left_ == 0; }
  bool has_buffered() const { return begin_ < end_; }

  bool is_readable() const override { return left_ > 0 && (has_buffered() || Await(POLLIN)); }
  bool is_writable() const override { return Await(POLLOUT); }
  // The library asks for single bytes.
  ssize_t read(char* bytes, size_t size) override {
    if (!is_readable()) return -1;
    if (!has_buffered()) {
      const ssize_t got = recv(socket_, buffer_.data(), buffer_.size(), 0);
      if (got <= 0) return got;
      begin_ = 0;
      end_ = static_cast<size_t>(got);
    }
    const size_t count = std::min({size, left_, end_ - begin_});
    std::copy_n(buffer_.begin() + static_cast<ptrdiff_t>(begin_), count, bytes);
    begin_ += count;
    left_ -= count;
    return static_cast<ssize_t>(count);
  }
  ssize_t write(const char* bytes, size_t size) override {
    if (!is_writable()) return -1;
    return send(socket_, bytes, size, MSG_NOSIGNAL);
  }
  void get_remote_ip_and_port(std::string& ip, int& port) const override { ip.clear(), port = 0; }
  void get_local_ip_and_port(std::string& ip, int& port) const override { ip.clear(), port = 0; }
  socket_t socket() const override { return socket_; }

 private:
  bool Await(short events) const {
    return AwaitSocket(socket_, events, until_, [this] { return stopping_.load(); });
  }

  const int socket_;
  const std::atomic<bool>& stopping_;
  absl::Time until_;
  size_t left_ = 0;
  std::array<char, 2048> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

// Of the connection that a thread is at.
thread_local bool refusing = false;     // taken off the listening thread only to be closed
thread_local bool close_after = false;  // what follows on it is not read as a request

class BoundedQueue final : public httplib::TaskQueue {
 public:
  // `waiting`: connections that no thread has taken yet.
  explicit BoundedQueue(std::atomic<size_t>* waiting) : waiting_(*waiting) {}
  void enqueue(std::function<void()> work) override {
    if (waiting_ >= kWaitingConnections) {
      refusing = true;
      work();
      refusing = false;
      return;
    }
    ++waiting_;
    pool_.enqueue([this, work = std::move(work)] {
      --waiting_;
      work();
    });
  }
  void shutdown() override { pool_.shutdown(); }

 private:
  std::atomic<size_t>& waiting_;
  httplib::ThreadPool pool_{kThreads};
};

class BoundedServer final : public httplib::Server {
 public:
  BoundedServer() {
    new_task_queue = [this] { return new BoundedQueue(&waiting_); };
    // Not SO_REUSEPORT, the library's default: a second coordinator would share the port silently.
    set_socket_options([](socket_t socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
  }
  // The library listens with room for five: a sixth at once would wait for a second.
  void LongerQueue() { ::listen(svr_sock_, static_cast<int>(kWaitingConnections)); }
  void Stop() {
    stopping_ = true;
    stop();
  }

 private:
  bool process_and_close_socket(socket_t socket) override {
    BoundedStream stream(socket, stopping_);
    close_after = false;
    for (int i = 1; !refusing && i <= kRequestsPerConnection; ++i) {
      // Who says nothing may stay as long as nobody else wants the thread.
      const absl::Time kept = absl::Now() + kLeastIdleTime;
      const auto unwanted = [&] { return stopping_ || (waiting_ > 0 && absl::Now() > kept); };
      if (!stream.has_buffered() &&
          !AwaitSocket(socket, POLLIN, absl::Now() + kIdleTime, unwanted)) {
        break;
      }
      stream.BeginRequest();
      bool closed = false;
      const bool last = i == kRequestsPerConnection;
      if (!process_request(stream, last, closed, nullptr) || closed) break;
      if (close_after || stream.exhausted()) break;
    }
    shutdown(socket, SHUT_RDWR);
    close(socket);
    return true;
  }

  std::atomic<bool> stopping_ = false;
  std::atomic<size_t> waiting_ = 0;
};

bool IsAddress(const std::string& host) {
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), bytes) == 1 ||
         inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

bool IsLoopback(const std::string& host) {
  in_addr v4 = {};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6 = {};
  if (inet_pton(AF_INET6, host.c_str(), &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
  return host == "localhost";
}

void AddGuards(httplib::Response& response) {
  response.set_header("Content-Security-Policy",
                      "default-src 'self'; base-uri 'none'; form-action 'none'; "
                      "frame-ancestors 'none'; object-src 'none'");
  response.set_header("X-Content-Type-Options", "nosniff");
  response.set_header("X-Frame-Options", "DENY");
  response.set_header("Referrer-Policy", "no-referrer");
  response.set_header("Cross-Origin-Resource-Policy", "same-origin");
  response.set_header("Cross-Origin-Opener-Policy", "same-origin");
  response.set_header("Cache-Control", "no-cache");
}

void Answer(httplib::Response& response, int status, const std::string& text,
            const std::string& type = "text/plain; charset=utf-8") {
  response.status = status;
  response.set_content(text, type);
}

void Refuse(httplib::Response& response, int status, const std::string& text) {
  Answer(response, status, text + "\n");
  response.set_header("Connection", "close");
  close_after = true;
}

}  // namespace

absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text) {
  const size_t colon = text.rfind(':');
  ListenAddress address;
  if (colon != std::string_view::npos) {
    std::string_view host = text.substr(0, colon);
    const std::string_view port = text.substr(colon + 1);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
      host = host.substr(1, host.size() - 2);
    }
    const auto parsed = std::from_chars(port.data(), port.data() + port.size(), address.port);
    address.host = std::string(host);
    if (!host.empty() && parsed.ec == std::errc() && parsed.ptr == port.data() + port.size() &&
        address.port >= 0 && address.port <= 65535) {
      return address;
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("dashboard: expected HOST:PORT, got '", ToAbsl(text), "'"));
}

absl::Status CheckDashboardAddress(const ListenAddress& address, bool allow_remote) {
  if (allow_remote || IsLoopback(address.host)) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat(
      "dashboard: expected an address of this machine alone (127.0.0.1, ::1 or localhost), got ",
      address.host,
      ": whoever reaches the dashboard sees it, there is no log-in; use an SSH tunnel or a proxy "
      "that asks who it is, or set dashboard_allow_remote = true"));
}

bool IsHostAllowed(std::string_view host, const std::vector<std::string>& names) {
  std::string name(host);
  const bool bracketed = !name.empty() && name.front() == '[';
  const size_t colon = name.rfind(':');
  if (colon != std::string::npos && (!bracketed || name[colon - 1] == ']')) name.resize(colon);
  if (bracketed && name.size() > 2 && name.back() == ']') name = name.substr(1, name.size() - 2);
  if (name == "localhost" || IsAddress(name)) return true;
  return std::find(names.begin(), names.end(), name) != names.end();
}

struct DashboardServer::State {
  void Handle(const httplib::Request& request, httplib::Response& response) const;
  void AnswerState(const httplib::Request& request, httplib::Response& response) const;

  Options options;
  BoundedServer server;
  int port = 0;
  std::thread thread;
};

void DashboardServer::State::AnswerState(const httplib::Request& request,
                                         httplib::Response& response) const {
  // Deadlines are shown by the coordinator's clock, whatever the reader's is.
  response.set_header("Lorikeet-Now",
                      absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone()));
  const auto snapshot = options.source->Get();
  if (!snapshot.ok()) {
    return Answer(response, 503, absl::StrCat(snapshot.status().message(), "\n"));
  }
  const std::string tag = absl::StrCat("\"", (*snapshot)->tag, "\"");
  response.set_header("ETag", tag);
  if (request.get_header_value("If-None-Match") == tag) {
    response.status = 304;
    return;
  }
  Answer(response, 200, (*snapshot)->json, "application/json");
}

void DashboardServer::State::Handle(const httplib::Request& request,
                                    httplib::Response& response) const {
  AddGuards(response);
  if (request.method != "GET" && request.method != "HEAD") {
    response.set_header("Allow", "GET, HEAD");
    return Refuse(response, 405, "expected GET: nothing can be changed here");
  }
  if (request.has_header("Transfer-Encoding") ||
      (request.has_header("Content-Length") && request.get_header_value("Content-Length") != "0")) {
    return Refuse(response, 413, "expected a request without a body");
  }
  if (!IsHostAllowed(request.get_header_value("Host"), options.names)) {
    return Refuse(response, 421,
                  "expected this machine's address or localhost as Host (or a name listed in "
                  "dashboard_names)");
  }
  if (request.has_header("Range")) return Refuse(response, 416, "expected no Range");
  if (request.path == "/state.json") return AnswerState(request, response);
  if (request.path == "/metrics") {
    return Answer(response, 200, options.metrics(), "text/plain; version=0.0.4; charset=utf-8");
  }
  if (request.path == "/healthz") {
    const absl::Status status = options.source->Get().status();
    return Answer(response, status.ok() ? 200 : 503,
                  status.ok() ? "ok\n" : absl::StrCat(status.message(), "\n"));
  }
  for (const Asset& asset : DashboardAssets()) {
    if (request.path != asset.path) continue;
    return Answer(response, 200, std::string(asset.bytes), std::string(asset.content_type));
  }
  Answer(response, 404, "not found\n");
}

DashboardServer::DashboardServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

absl::StatusOr<std::unique_ptr<DashboardServer>> DashboardServer::Start(const Options& options) {
  ASSIGN_OR_RETURN(const ListenAddress address, ParseListenAddress(options.listen));
  RETURN_IF_ERROR(CheckDashboardAddress(address, options.allow_remote));
  auto state = std::make_unique<State>();
  state->options = options;
  State* raw = state.get();
  // Everything is answered here, by comparing paths: the library's routes are regular expressions.
  state->server.set_pre_routing_handler(
      [raw](const httplib::Request& request, httplib::Response& response) {
        raw->Handle(request, response);
        return httplib::Server::HandlerResponse::Handled;
      });
  state->port = address.port;
  const bool bound = address.port == 0
                         ? (state->port = state->server.bind_to_any_port(address.host)) > 0
                         : state->server.bind_to_port(address.host, address.port);
  if (!bound) {
    return absl::UnavailableError(absl::StrCat("dashboard: cannot listen on ", options.listen,
                                               ": expected a free port of this machine"));
  }
  state->server.LongerQueue();
  state->thread = std::thread([raw] { raw->server.listen_after_bind(); });
  while (!state->server.is_running()) absl::SleepFor(absl::Milliseconds(1));
  return std::unique_ptr<DashboardServer>(new DashboardServer(std::move(state)));
}

DashboardServer::~DashboardServer() {
  state_->server.Stop();
  state_->thread.join();
}

int DashboardServer::port() const { return state_->port; }

}  // namespace lorikeet
