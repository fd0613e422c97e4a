// The coordinator on the network: gRPC over mutual TLS, health service, deadline timer.
//
// Every client must show a certificate of the fleet's CA; its common name is the device id.  With
// `members`, the steps of a round may also be taken without one, by members that a token admitted.
// Unary calls only; each is one call of FederationService or TokenIssuerService.
#ifndef LORIKEET_COORDINATOR_SERVER_SERVER_H_
#define LORIKEET_COORDINATOR_SERVER_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/wire/federation.h"
#include "common/wire/token_service.h"
#include "coordinator/server/rpc_observer.h"

namespace lorikeet {

class FederationServer {
 public:
  struct Options {
    std::string listen = "127.0.0.1:0";  // HOST:PORT; port 0: any free one
    std::string ca_certificate;          // PEM texts
    std::string server_certificate;
    std::string server_key;
    // Thread-safe.  One of them may be null: that service is not offered.
    FederationService* service = nullptr;
    TokenIssuerService* issuer = nullptr;
    bool members = false;
    // Of several coordinators: where the rounds are run (Coordinator::Leader).  Calls about them
    // are handed on; the coordinators share one certificate.  Empty: there is one.
    std::function<absl::StatusOr<std::string>()> leader;
    std::function<absl::Time()> tick;  // called by the timer thread; returns the next deadline
    absl::Duration tick_interval = absl::Milliseconds(200);  // longest wait between ticks
    int max_threads = 64;
    RpcObserver* observer = nullptr;  // told of every call; thread-safe; may be null
  };
  // UNAVAILABLE: the port is taken (or the address is not ours).  INVALID_ARGUMENT: no certificate.
  static absl::StatusOr<std::unique_ptr<FederationServer>> Start(const Options& options);
  ~FederationServer();  // Stop
  FederationServer(const FederationServer&) = delete;
  FederationServer& operator=(const FederationServer&) = delete;

  int port() const;
  // Refuses new calls, lets running ones end for up to `grace`.  May be repeated.
  void Stop(absl::Duration grace = absl::Seconds(5));

 private:
  struct State;
  explicit FederationServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_SERVER_SERVER_H_
