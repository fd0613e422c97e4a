#include "coordinator/server/rpc_interceptor.h"

#include <string_view>

#include "absl/time/clock.h"

namespace lorikeet {
namespace {

using grpc::experimental::InterceptionHookPoints;

// One a call.
class CallObserver final : public grpc::experimental::Interceptor {
 public:
  CallObserver(RpcObserver* observer, std::string_view method)
      : observer_(observer), method_(method) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      // The codes are the same numbers in both (google.rpc.Code).
      const auto code = static_cast<absl::StatusCode>(methods->GetSendStatus().error_code());
      observer_->OnCall(method_, code, absl::Now() - begin_);
    }
    methods->Proceed();
  }

 private:
  RpcObserver* observer_;
  std::string_view method_;  // gRPC's, which outlives the call
  absl::Time begin_ = absl::Now();
};

class CallObserverFactory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit CallObserverFactory(RpcObserver* observer) : observer_(observer) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    std::string_view method = info->method();  // "/package.Service/Method"
    method.remove_prefix(method.rfind('/') + 1);
    return new CallObserver(observer_, method);  // gRPC deletes it
  }

 private:
  RpcObserver* observer_;
};

}  // namespace

std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> ObserveCalls(
    RpcObserver* observer) {
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> factories;
  factories.push_back(std::make_unique<CallObserverFactory>(observer));
  return factories;
}

}  // namespace lorikeet
