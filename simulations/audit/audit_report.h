// Results of audits as a table, a JSON document and a page.
#ifndef LORIKEET_SIMULATIONS_AUDIT_AUDIT_REPORT_H_
#define LORIKEET_SIMULATIONS_AUDIT_AUDIT_REPORT_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "simulations/audit/pipeline_audit.h"

namespace lorikeet {

std::string AuditTable(const std::vector<AuditResult>& results, const AuditOptions& options);
nlohmann::json AuditToJson(const std::vector<AuditResult>& results, const AuditOptions& options);
std::string AuditPage(const std::vector<AuditResult>& results, const AuditOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_AUDIT_AUDIT_REPORT_H_
