#include "coordinator/registry/token_office.h"

#include <string>
#include <utility>

#include "common/base/status_macros.h"
#include "coordinator/registry/device_registry.h"

namespace lorikeet {

absl::StatusOr<bool> TokenOffice::StoredQuota::TryCharge(const Charge& charge, uint32_t limit) {
  return store_->TryChargeTokens({.device = std::string(charge.device),
                                  .epoch = charge.epoch,
                                  .request = charge.request,
                                  .count = charge.count},
                                 limit);
}

absl::StatusOr<std::unique_ptr<TokenOffice>> TokenOffice::Create(const Options& options,
                                                                 SecretBytes seed) {
  auto office = std::unique_ptr<TokenOffice>(new TokenOffice(options.store));
  ASSIGN_OR_RETURN(office->issuer_, TokenIssuer::Create({.schedule = options.schedule,
                                                         .signer = options.signer,
                                                         .quota = &office->quota_,
                                                         .clock = options.clock,
                                                         .random = options.random},
                                                        std::move(seed)));
  return office;
}

absl::StatusOr<SignedTokenKeys> TokenOffice::GetTokenKeys(const DeviceId& device) {
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(AdmitDevice(store_, device));
  return issuer_->Keys();
}

absl::StatusOr<BatchEvaluation> TokenOffice::IssueTokens(const DeviceId& device,
                                                         const IssueRequest& request) {
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(AdmitDevice(store_, device));
  return issuer_->Issue(device, request);
}

}  // namespace lorikeet
