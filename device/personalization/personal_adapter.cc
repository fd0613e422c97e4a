#include "device/personalization/personal_adapter.h"

#include "common/adapter/gguf_io.h"
#include "common/adapter/sum.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"

namespace lorikeet {
PersonalAdapter PersonalAdapter::Merge(const Adapter& persona, const Adapter& residual) {
  const AdapterRef terms[] = {{.adapter = &persona}, {.adapter = &residual}};
  absl::StatusOr<AdapterSum> sum = SumMatrices(terms);
  LORIKEET_CHECK(sum.ok());  // one base, hence one shape of each weight
  Adapter result;
  result.info = residual.info;
  result.info.kind = AdapterKind::kLora;
  result.info.alpha = sum->alpha;
  result.matrices = std::move(sum->matrices);
  return PersonalAdapter(std::move(result));
}

absl::StatusOr<PersonalAdapter> PersonalAdapter::Load(const std::string& path) {
  ASSIGN_OR_RETURN(Adapter adapter, ReadAdapter(path));
  return PersonalAdapter(std::move(adapter));
}

absl::Status PersonalAdapter::Save(const std::string& path) const {
  return WriteFileAtomic(path, SerializeAdapter(adapter_), 0600);
}

}  // namespace lorikeet
