// Hands calls about rounds on to the coordinator that runs them.  One of the few files that see
// gRPC.
//
// Coordinators over one store share one certificate and key.  Who calls is found out by the one
// that was called, and named in the metadata (kCallerMetadata), which counts only beside that
// certificate.  A call is handed on once: if its receiver does not run the rounds either, it says
// UNAVAILABLE, and the device tries again.
#ifndef LORIKEET_COORDINATOR_SERVER_REPLICA_FORWARDER_H_
#define LORIKEET_COORDINATOR_SERVER_REPLICA_FORWARDER_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/wire/federation.h"
#include "federation.grpc.pb.h"

namespace lorikeet {

inline constexpr char kCallerMetadata[] = "lorikeet-caller";

// Thread-safe.
class ReplicaForwarder {
 public:
  struct Options {
    std::string ca_certificate;  // PEM texts
    std::string certificate;
    std::string key;
    // Where the rounds are run: HOST:PORT, or empty for this one.  Thread-safe.
    std::function<absl::StatusOr<std::string>()> leader;
    absl::Duration call_timeout = absl::Seconds(20);
  };
  explicit ReplicaForwarder(const Options& options) : options_(options) {}

  // True if this coordinator is to answer; else `*status` and `response` are the other's answer.
  template <typename Request, typename Response>
  bool AnswerHere(grpc::Status (proto::Federation::Stub::*method)(grpc::ClientContext*,
                                                                  const Request&, Response*),
                  const grpc::ServerContext& from, const DeviceId& caller, const Request& request,
                  Response* response, grpc::Status* status) {
    const auto stub = Leader(status);
    if (stub == nullptr) return status->ok();
    grpc::ClientContext context;
    Prepare(from, caller, &context);
    *status = (stub.get()->*method)(&context, request, response);
    return false;
  }
  // Whether the client is one of the coordinators, by its certificate.
  bool IsReplica(const grpc::ServerContext& context) const;

 private:
  // Null: this one (`*status` is OK), or nobody.
  std::shared_ptr<proto::Federation::Stub> Leader(grpc::Status* status);
  void Prepare(const grpc::ServerContext& from, const DeviceId& caller,
               grpc::ClientContext* context) const;

  const Options options_;
  absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<proto::Federation::Stub>> stubs_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_SERVER_REPLICA_FORWARDER_H_
