#include "device/agent/device_ledger_json.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/dp/encoder.h"

namespace lorikeet {
namespace {

using nlohmann::json;

// The largest delta that a round could have when there were no entries.
constexpr double kLargestOldDelta = 1e-5;

// JSON knows no infinity, which a curve may have at high orders.
json CurveToJson(const RdpCurve& curve) {
  json values = json::array();
  for (const double value : curve.values) {
    values.push_back(std::isfinite(value) ? json(value) : json());
  }
  return {{"orders", curve.orders}, {"values", values}};
}

absl::StatusOr<RdpCurve> CurveFrom(const json& j) {
  RdpCurve curve;
  curve.orders = j.at("orders").get<std::vector<double>>();
  for (const json& value : j.at("values")) {
    curve.values.push_back(value.is_null() ? std::numeric_limits<double>::infinity()
                                           : value.get<double>());
  }
  if (curve.orders.size() != curve.values.size()) {
    return absl::DataLossError(absl::StrCat("ledger: expected ", curve.orders.size(),
                                            " values of a curve, got ", curve.values.size()));
  }
  return curve;
}

json NoiseToJson(const ChargedNoise& noise) {
  if (const auto* m = std::get_if<DistributedMechanism>(&noise)) {
    return {{"of", "devices"},          {"kind", std::string(NoiseKindName(m->noise))},
            {"scale", m->scale},        {"sigma_local", m->sigma_local},
            {"survivors", m->clients},  {"clip_norm", m->clip_norm},
            {"dimension", m->dimension}};
  }
  if (const auto* c = std::get_if<CentralNoise>(&noise)) {
    return {{"of", "coordinator"},
            {"mechanism", ToHex(c->mechanism)},
            {"steps", c->steps},
            {"step", c->step},
            {"separation", c->separation},
            {"participations", c->participations},
            {"noise_multiplier", c->noise_multiplier}};
  }
  return {{"of", "unknown"}};
}

absl::StatusOr<ChargedNoise> NoiseFrom(const json& j) {
  const std::string of = j.at("of").get<std::string>();
  if (of == "unknown") return UnknownNoise{};
  if (of == "devices") {
    DistributedMechanism m;
    ASSIGN_OR_RETURN(m.noise, ParseNoiseKind(j.at("kind").get<std::string>()));
    m.scale = j.at("scale").get<double>();
    m.sigma_local = j.at("sigma_local").get<double>();
    m.clients = j.at("survivors").get<int64_t>();
    m.clip_norm = j.at("clip_norm").get<double>();
    m.dimension = j.at("dimension").get<int64_t>();
    return m;
  }
  if (of != "coordinator") {
    return absl::DataLossError(
        absl::StrCat("ledger: expected noise of devices, of coordinator or unknown, got ", of));
  }
  CentralNoise c;
  ASSIGN_OR_RETURN(c.mechanism, HashFromHex(j.at("mechanism").get<std::string>()));
  c.steps = j.at("steps").get<int64_t>();
  c.step = j.at("step").get<int64_t>();
  c.separation = j.at("separation").get<int64_t>();
  c.participations = j.at("participations").get<int64_t>();
  c.noise_multiplier = j.at("noise_multiplier").get<double>();
  return c;
}

json EntryToJson(const LedgerEntry& entry) {
  return {{"session", ToHex(entry.session)},
          {"task", entry.task},
          {"round", entry.round_number},
          {"at_ms", absl::ToUnixMillis(entry.at)},
          {"status", std::string(ChargeStatusName(entry.status))},
          {"stated_epsilon", entry.stated_epsilon},
          {"own_epsilon", entry.own_epsilon},
          {"delta", entry.delta},
          {"cohort_min", entry.cohort_min},
          {"honest_survivors", entry.honest_survivors},
          {"demonstration", entry.demonstration},
          {"routed", entry.routed},
          {"noise", NoiseToJson(entry.noise)},
          {"curve_factor", entry.curve_factor}};
}

absl::StatusOr<ChargeStatus> StatusFrom(const std::string& name) {
  for (const ChargeStatus status :
       {ChargeStatus::kCharged, ChargeStatus::kContributed, ChargeStatus::kRefunded}) {
    if (name == ChargeStatusName(status)) return status;
  }
  return absl::DataLossError(
      absl::StrCat("ledger: expected charged, contributed or refunded, got ", name));
}

absl::StatusOr<LedgerEntry> EntryFrom(const json& j) {
  LedgerEntry entry;
  ASSIGN_OR_RETURN(entry.session, HashFromHex(j.at("session").get<std::string>()));
  entry.task = j.at("task").get<std::string>();
  entry.round_number = j.at("round").get<uint64_t>();
  entry.at = absl::FromUnixMillis(j.at("at_ms").get<int64_t>());
  ASSIGN_OR_RETURN(entry.status, StatusFrom(j.at("status").get<std::string>()));
  entry.stated_epsilon = j.at("stated_epsilon").get<double>();
  entry.own_epsilon = j.at("own_epsilon").get<double>();
  entry.delta = j.at("delta").get<double>();
  entry.cohort_min = j.at("cohort_min").get<int>();
  entry.honest_survivors = j.at("honest_survivors").get<int>();
  entry.demonstration = j.at("demonstration").get<bool>();
  entry.routed = j.at("routed").get<bool>();
  ASSIGN_OR_RETURN(entry.noise, NoiseFrom(j.at("noise")));
  entry.curve_factor = j.at("curve_factor").get<double>();
  return entry;
}

json FoldedToJson(const FoldedEntries& folded) {
  json mechanisms = json::array();
  for (const Hash256& mechanism : folded.mechanisms) mechanisms.push_back(ToHex(mechanism));
  return {{"rounds", folded.rounds},
          {"charges", folded.charges},
          {"refunded", folded.refunded},
          {"curves", folded.composed.releases},
          {"curve", CurveToJson(folded.composed.spent)},
          {"unknown_epsilon", folded.unknown_epsilon},
          {"unknown_delta", folded.unknown_delta},
          {"basic_epsilon", folded.basic_epsilon},
          {"basic_delta", folded.basic_delta},
          {"mechanisms", mechanisms}};
}

absl::StatusOr<FoldedEntries> FoldedFrom(const json& j) {
  FoldedEntries folded;
  folded.rounds = j.at("rounds").get<int64_t>();
  folded.charges = j.at("charges").get<int64_t>();
  folded.refunded = j.at("refunded").get<int64_t>();
  folded.composed.releases = j.at("curves").get<int64_t>();
  ASSIGN_OR_RETURN(folded.composed.spent, CurveFrom(j.at("curve")));
  folded.unknown_epsilon = j.at("unknown_epsilon").get<double>();
  folded.unknown_delta = j.at("unknown_delta").get<double>();
  folded.basic_epsilon = j.at("basic_epsilon").get<double>();
  folded.basic_delta = j.at("basic_delta").get<double>();
  for (const json& mechanism : j.at("mechanisms")) {
    ASSIGN_OR_RETURN(const Hash256 hash, HashFromHex(mechanism.get<std::string>()));
    folded.mechanisms.push_back(hash);
  }
  return folded;
}

}  // namespace

json LedgerToJson(const DeviceLedger& ledger) {
  json entries = json::array();
  for (const LedgerEntry& entry : ledger.entries) entries.push_back(EntryToJson(entry));
  const OwnerTerms& terms = ledger.terms;
  return {{"entries", entries},
          {"folded", FoldedToJson(ledger.folded)},
          {"terms",
           {{"max_total_epsilon", terms.max_total_epsilon},
            {"delta", terms.delta},
            {"assumed_corrupt_fraction", terms.assumed_corrupt_fraction}}}};
}

absl::StatusOr<DeviceLedger> LedgerFromJson(const json& j) {
  DeviceLedger ledger;
  for (const json& entry : j.at("entries")) {
    ASSIGN_OR_RETURN(LedgerEntry read, EntryFrom(entry));
    ledger.entries.push_back(std::move(read));
  }
  ASSIGN_OR_RETURN(ledger.folded, FoldedFrom(j.at("folded")));
  const json& terms = j.at("terms");
  ledger.terms = {.max_total_epsilon = terms.at("max_total_epsilon").get<double>(),
                  .delta = terms.at("delta").get<double>(),
                  .assumed_corrupt_fraction = terms.at("assumed_corrupt_fraction").get<double>()};
  return ledger;
}

DeviceLedger CarriedOver(double epsilon_spent, int64_t rounds) {
  DeviceLedger ledger;
  if (epsilon_spent == 0) return ledger;
  LedgerEntry entry;
  entry.task = "before there were entries";
  entry.at = absl::UnixEpoch();
  entry.status = ChargeStatus::kContributed;
  entry.stated_epsilon = entry.own_epsilon = epsilon_spent;
  entry.delta = kLargestOldDelta * static_cast<double>(std::max<int64_t>(rounds, 1));
  ledger.entries.push_back(entry);
  return ledger;
}

}  // namespace lorikeet
