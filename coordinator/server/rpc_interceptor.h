// gRPC server interceptors that tell an RpcObserver of every call.
#ifndef LORIKEET_COORDINATOR_SERVER_RPC_INTERCEPTOR_H_
#define LORIKEET_COORDINATOR_SERVER_RPC_INTERCEPTOR_H_

#include <grpcpp/support/server_interceptor.h>

#include <memory>
#include <vector>

#include "coordinator/server/rpc_observer.h"

namespace lorikeet {

// For ServerBuilder::experimental().SetInterceptorCreators.  `observer` must outlive the server.
std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> ObserveCalls(
    RpcObserver* observer);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_SERVER_RPC_INTERCEPTOR_H_
