#include "coordinator/server/server.h"

#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <malloc.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/log.h"
#include "common/wire/limits.h"
#include "common/wire/proto_convert.h"
#include "common/wire/tls_teardown.h"
#include "coordinator/server/federation_adapter.h"
#include "coordinator/server/replica_forwarder.h"
#include "coordinator/server/rpc_interceptor.h"

namespace lorikeet {

struct FederationServer::State {
  explicit State(const Options& server_options)
      : options(server_options),
        forwarder({.ca_certificate = options.ca_certificate,
                   .certificate = options.server_certificate,
                   .key = options.server_key,
                   .leader = options.leader}),
        adapter(server_options.service, options.leader ? &forwarder : nullptr),
        issuer_adapter(server_options.issuer) {}

  void RunTimer() {
    for (;;) {
      const absl::Time next = options.tick();
      absl::MutexLock lock(&mutex);
      const absl::Time until = std::min(next, absl::Now() + options.tick_interval);
      // At least a little: a deadline that stays in the past must not spin.
      const absl::Time wake = std::max(until, absl::Now() + absl::Milliseconds(5));
      const auto stopped = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return stopping; };
      if (mutex.AwaitWithDeadline(absl::Condition(&stopped), wake)) return;
    }
  }

  Options options;
  ReplicaForwarder forwarder;
  FederationAdapter adapter;
  TokenIssuerAdapter issuer_adapter;
  std::unique_ptr<grpc::Server> server;
  int port = 0;
  absl::Mutex mutex;
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  std::thread timer;
};

FederationServer::FederationServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
FederationServer::~FederationServer() { Stop(); }

namespace {

// Of the whole process.  Messages of half a megabyte come and go on many threads; kept in the
// arenas of each they held twice the memory that is in use, and more with every round.
void GiveMemoryBack() {
#ifdef __GLIBC__
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, 1 << 16);
  mallopt(M_TRIM_THRESHOLD, 1 << 16);
#endif
}

}  // namespace

absl::StatusOr<std::unique_ptr<FederationServer>> FederationServer::Start(const Options& options) {
  if (options.ca_certificate.empty() || options.server_certificate.empty() ||
      options.server_key.empty()) {
    return absl::InvalidArgumentError(
        "server: expected PEM texts of a CA certificate, a server certificate and its key");
  }
  GiveMemoryBack();
  KeepTlsTablesAtExit();
  SilenceProtobuf();
  // gRPC's own lines would stand beside our one-line errors.
  gpr_set_log_function([](gpr_log_func_args* line) { LogDebug(line->message); });
  auto state = std::make_unique<State>(options);
  grpc::SslServerCredentialsOptions tls(
      options.members ? GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY
                      : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  tls.pem_root_certs = options.ca_certificate;
  tls.pem_key_cert_pairs = {{options.server_key, options.server_certificate}};

  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  // Without this a second coordinator would share the port silently.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(static_cast<int>(kMaxMessageBytes));
  builder.SetResourceQuota(grpc::ResourceQuota("coordinator").SetMaxThreads(options.max_threads));
  if (options.observer != nullptr) {
    builder.experimental().SetInterceptorCreators(ObserveCalls(options.observer));
  }
  builder.AddListeningPort(options.listen, grpc::SslServerCredentials(tls), &state->port);
  if (options.service != nullptr) builder.RegisterService(&state->adapter);
  if (options.issuer != nullptr) builder.RegisterService(&state->issuer_adapter);
  state->server = builder.BuildAndStart();
  if (state->server == nullptr || state->port == 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", options.listen,
                     ": expected a free port of this machine, and certificates that fit (is "
                     "another coordinator running?)"));
  }
  State* raw = state.get();
  if (options.tick) state->timer = std::thread([raw] { raw->RunTimer(); });
  return std::unique_ptr<FederationServer>(new FederationServer(std::move(state)));
}

int FederationServer::port() const { return state_->port; }

void FederationServer::Stop(absl::Duration grace) {
  {
    absl::MutexLock lock(&state_->mutex);
    if (state_->stopping) return;
    state_->stopping = true;
  }
  state_->server->Shutdown(absl::ToChronoTime(absl::Now() + grace));
  state_->server->Wait();
  if (state_->timer.joinable()) state_->timer.join();
}

}  // namespace lorikeet
