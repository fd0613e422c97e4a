#include "coordinator/server/replica_forwarder.h"

#include <grpc/grpc_security_constants.h>

#include <algorithm>
#include <cctype>
#include <chrono>

#include "common/wire/limits.h"

namespace lorikeet {
namespace {

// Of two texts of one certificate only the spaces and line ends may differ.
std::string WithoutSpaces(std::string text) {
  std::erase_if(text, [](unsigned char c) { return std::isspace(c) != 0; });
  return text;
}

}  // namespace

bool ReplicaForwarder::IsReplica(const grpc::ServerContext& context) const {
  if (!context.auth_context()->IsPeerAuthenticated()) return false;
  const auto shown = context.auth_context()->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  return shown.size() == 1 && WithoutSpaces(std::string(shown[0].data(), shown[0].size())) ==
                                  WithoutSpaces(options_.certificate);
}

std::shared_ptr<proto::Federation::Stub> ReplicaForwarder::Leader(grpc::Status* status) {
  const auto address = options_.leader();
  *status = grpc::Status(static_cast<grpc::StatusCode>(address.status().code()),
                         std::string(address.status().message()));
  if (!address.ok() || address->empty()) return nullptr;
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<proto::Federation::Stub>& stub = stubs_[*address];
  if (stub == nullptr) {
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = options_.ca_certificate;
    tls.pem_cert_chain = options_.certificate;
    tls.pem_private_key = options_.key;
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(static_cast<int>(kMaxMessageBytes));
    arguments.SetMaxSendMessageSize(static_cast<int>(kMaxMessageBytes));
    // A coordinator that comes back is found again soon.
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
    stub = proto::Federation::NewStub(
        grpc::CreateCustomChannel(*address, grpc::SslCredentials(tls), arguments));
  }
  return stub;
}

void ReplicaForwarder::Prepare(const grpc::ServerContext& from, const DeviceId& caller,
                               grpc::ClientContext* context) const {
  context->AddMetadata(kCallerMetadata, caller);
  const auto latest =
      std::chrono::system_clock::now() + absl::ToChronoMilliseconds(options_.call_timeout);
  context->set_deadline(std::min(from.deadline(), latest));
}

}  // namespace lorikeet
