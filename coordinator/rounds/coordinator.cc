// Devices' calls.  What happens to rounds is in coordinator_rounds.cc and coordinator_settle.cc.
#include "coordinator/rounds/coordinator.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/secagg/one_time_keys.h"
#include "coordinator/registry/device_registry.h"

namespace lorikeet {
namespace {

constexpr uint32_t kOldestProtocolVersion = 1;

absl::Status CheckProtocol(uint32_t version) {
  if (version >= kOldestProtocolVersion) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrFormat("protocol: expected version %d to %d, got %d", kOldestProtocolVersion,
                      kProtocolVersion, version));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Coordinator>> Coordinator::Create(const Options& options) {
  auto coordinator = std::unique_ptr<Coordinator>(new Coordinator(options));
  absl::MutexLock lock(&coordinator->mutex_);
  const absl::Status loaded = coordinator->EnsureLoaded();
  if (options.leadership != nullptr && absl::IsUnavailable(loaded)) return coordinator;
  RETURN_IF_ERROR(loaded);
  return coordinator;
}

absl::Status Coordinator::EnsureLeading() {
  if (options_.leadership == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(const bool leading, options_.leadership->Check());
  if (leading && term_ == options_.leadership->term()) return absl::OkStatus();
  loaded_ = false;
  open_.clear();
  if (!leading) {
    return absl::UnavailableError(
        absl::StrCat("expected the coordinator that runs the rounds, which is ",
                     options_.leadership->leader_address(), ", got another"));
  }
  term_ = options_.leadership->term();
  return absl::OkStatus();
}

absl::StatusOr<std::string> Coordinator::Leader() {
  absl::MutexLock lock(&mutex_);
  if (options_.leadership == nullptr) return "";
  ASSIGN_OR_RETURN(const bool leading, options_.leadership->Check());
  if (leading || !options_.leadership->leader_address().empty()) {
    return options_.leadership->leader_address();
  }
  return absl::UnavailableError("no coordinator runs the rounds now");
}

void Coordinator::Resign() {
  absl::MutexLock lock(&mutex_);
  if (options_.leadership != nullptr) options_.leadership->Resign();
}

absl::Status Coordinator::Distrust(std::string_view what, const absl::Status& stored) {
  loaded_ = false;
  if (options_.leadership != nullptr) options_.leadership->Doubt();
  return absl::UnavailableError(
      absl::StrCat(ToAbsl(what), " cannot be stored: ", stored.message()));
}

absl::Status Coordinator::EnsureLoaded() {
  RETURN_IF_ERROR(EnsureLeading());
  if (loaded_) return absl::OkStatus();
  open_.clear();
  ASSIGN_OR_RETURN(std::vector<RoundRecord> records, options_.store->OpenRounds());
  for (RoundRecord& record : records) {
    ASSIGN_OR_RETURN(const auto events, options_.store->RoundEvents(record.id));
    ASSIGN_OR_RETURN(const auto sums, options_.store->PartialSums(record.id));
    const SessionId session = record.session;
    auto round = RestoreRound(std::move(record), events, sums);
    if (!round.ok()) return Annotate(round.status(), "a round cannot be continued");
    open_[session] = *std::move(round);
  }
  loaded_ = true;
  return absl::OkStatus();
}

absl::StatusOr<OpenRound> Coordinator::RestoreRound(RoundRecord record,
                                                    const std::vector<RoundEventRecord>& events,
                                                    const std::vector<PartialSumRecord>& sums) {
  ASSIGN_OR_RETURN(OpenRound round,
                   OpenRound::Restore(std::move(record), events, sums, options_.pool));
  std::array<uint8_t, 16> writer;
  options_.random->Fill(writer);
  round.writer = ToHex(writer);
  return round;
}

absl::Status Coordinator::Admit(const DeviceId& device) {
  return AdmitDevice(options_.store, device);
}

absl::Time Coordinator::Tick() {
  absl::MutexLock lock(&mutex_);
  absl::Status status = EnsureLoaded();
  const bool following = options_.leadership != nullptr && !options_.leadership->leading();
  if (status.ok()) status = TickAll();
  options_.trust->RefreshIfDue();
  if (!status.ok() && !following) {
    LogError(absl::StrCat("deadlines: ", status.message()));
    return options_.clock->Now() + options_.round_interval;
  }
  absl::Time next =
      options_.leadership == nullptr ? absl::InfiniteFuture() : options_.leadership->next_look();
  for (const auto& [session, round] : open_) next = std::min(next, round.machine->deadline());
  return next;
}

absl::StatusOr<HelloResult> Coordinator::Hello(const DeviceId& device, uint32_t protocol_version) {
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Admit(device));
  RETURN_IF_ERROR(CheckProtocol(protocol_version));
  return HelloResult{.protocol_version = kProtocolVersion,
                     .oldest_protocol_version = kOldestProtocolVersion,
                     .now = options_.clock->Now()};
}

absl::StatusOr<SignedManifest> Coordinator::GetRelease(const DeviceId& device,
                                                       const ReleaseQuery& query) {
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Admit(device));
  ASSIGN_OR_RETURN(const auto release,
                   options_.store->LatestRelease(query.kind, query.base_fingerprint));
  if (release) return release->manifest;
  return absl::NotFoundError(absl::StrCat(
      "no ", ToAbsl(ReleaseKindName(query.kind)), " is published",
      query.base_fingerprint.empty() ? "" : absl::StrCat(" for base ", query.base_fingerprint)));
}

absl::StatusOr<ChunkResult> Coordinator::FetchChunk(const DeviceId& device,
                                                    const ChunkQuery& query) {
  {
    absl::MutexLock lock(&mutex_);
    RETURN_IF_ERROR(Admit(device));
  }
  return options_.blobs->Read(query);
}

absl::StatusOr<TrustUpdate> Coordinator::GetTrust(const DeviceId& device, const TrustQuery& query) {
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Admit(device));
  return options_.trust->Answer(query);
}

absl::StatusOr<LogEvidence> Coordinator::GetLogProof(const DeviceId& device,
                                                     const LogQuery& query) {
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(Admit(device));
  auto evidence = options_.trust->Prove(query);
  if (!absl::IsNotFound(evidence.status())) return evidence;
  RETURN_IF_ERROR(EnsureLoaded());
  // A coordinator that was killed may have opened a round and not logged it.
  for (const LogEntry& entry : query.entries) {
    if (entry.kind == LogEntryKind::kRound && open_.contains(entry.content)) {
      RETURN_IF_ERROR(options_.trust->Log(entry));
    }
  }
  return options_.trust->Prove(query);
}

absl::StatusOr<RoundOffer> Coordinator::GetRound(const DeviceId& device, const RoundQuery& query) {
  absl::MutexLock lock(&mutex_);
  // Members see what is open; they open nothing.
  const bool member = IsTokenMember(device);
  if (!member) RETURN_IF_ERROR(Admit(device));
  RETURN_IF_ERROR(EnsureLoaded());
  RETURN_IF_ERROR(CheckProtocol(query.protocol_version));
  RETURN_IF_ERROR(TickAll());
  if (!member) RETURN_IF_ERROR(OpenDueRounds(device, query));
  RoundOffer offer;
  offer.retry_after = options_.round_interval;
  for (const OpenRound* round : OfferedRounds(device, query)) {
    offer.rounds.push_back(round->record.description);
    if (!member) open_.at(round->record.session).offered.insert(std::hash<DeviceId>()(device));
  }
  return offer;
}

absl::Status Coordinator::AdmitToRound(const DeviceId& device, const SessionId& session) {
  const bool member = IsTokenMember(device);
  const auto it = open_.find(session);
  // What a round that is over says of itself, it says to everybody who knows its session.
  const bool by_token =
      it == open_.end() ? member : it->second.machine->description().token.has_value();
  if (!by_token) return AdmitDevice(options_.store, device);
  if (member) return absl::OkStatus();
  return absl::PermissionDeniedError(
      "round: expected a member that joined by anonymous token, got a device by its name");
}

absl::Status Coordinator::CheckToken(const RoundDescription& round, const DeviceId& device,
                                     const KeyAdvertisement& keys,
                                     const std::optional<Token>& token) {
  if (!round.token) {
    if (!token) return absl::OkStatus();
    return absl::InvalidArgumentError("token: expected none in this round, got one");
  }
  if (!token) {
    return absl::PermissionDeniedError("token: expected one to join this round, got none");
  }
  if (options_.redeemer == nullptr) {
    return absl::UnavailableError("token: this coordinator has no keys to check it with");
  }
  RETURN_IF_ERROR(options_.redeemer->Check(*token, round.token->epoch, OneTimeKeysHash(keys)));
  if (device != TokenMember(*token)) {
    return absl::PermissionDeniedError(
        "token: expected the member's name that follows from it, got another");
  }
  ASSIGN_OR_RETURN(const auto spent, options_.store->FindSpentToken(token->epoch, token->nonce));
  if (!spent || *spent == round.secagg.session) return absl::OkStatus();
  return absl::AlreadyExistsError(
      "token: expected one that was not used yet, got one that is spent");
}

absl::StatusOr<uint32_t> Coordinator::Receive(const DeviceId& device, const SessionId& session,
                                              RoundMessage message,
                                              const std::optional<Token>& token) {
  Arrival arrival{device, session, std::move(message), token};
  std::vector<Arrival*> batch;
  {
    absl::MutexLock lock(&arrivals_mutex_);
    arrivals_.push_back(&arrival);
    const auto my_turn = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(arrivals_mutex_) {
      return arrival.done || !batch_in_progress_;
    };
    arrivals_mutex_.Await(absl::Condition(&my_turn));
    if (arrival.done) return std::move(arrival.reply);
    batch_in_progress_ = true;
    batch.swap(arrivals_);
  }
  AcceptBatch(batch);
  absl::MutexLock lock(&arrivals_mutex_);
  batch_in_progress_ = false;
  for (Arrival* one : batch) one->done = true;
  return std::move(arrival.reply);
}

void Coordinator::AcceptBatch(const std::vector<Arrival*>& batch) {
  absl::MutexLock lock(&mutex_);
  RoundBatch changes;
  std::vector<Arrival*> uncommitted;
  const auto commit = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const absl::Status status = Commit(&changes);
    if (!status.ok()) {
      for (Arrival* one : uncommitted) one->reply = status;
    }
    uncommitted.clear();
  };
  for (Arrival* arrival : batch) {
    arrival->reply = AcceptArrival(arrival, &changes);
    uncommitted.push_back(arrival);
    if (changes.round_ended) commit();
  }
  commit();
}

absl::StatusOr<uint32_t> Coordinator::AcceptArrival(Arrival* arrival, RoundBatch* changes) {
  const DeviceId& device = arrival->device;
  const SessionId& session = arrival->session;
  const std::optional<Token>& token = arrival->token;
  // Not while something is on its way to the store: it is about the rounds as they are.
  if (changes->empty()) RETURN_IF_ERROR(EnsureLoaded());
  RETURN_IF_ERROR(AdmitToRound(device, session));
  if (changes->empty()) RETURN_IF_ERROR(TickAll());
  const auto it = open_.find(session);
  if (it == open_.end()) {
    ASSIGN_OR_RETURN(const RoundRecord record, options_.store->FindRound(session));
    // Late shares are no longer needed, and their sender did nothing wrong.
    if (record.status == RoundStatus::kDone &&
        std::holds_alternative<UnmaskResponse>(arrival->message)) {
      return 0;
    }
    return absl::AbortedError(
        absl::StrCat("the round is over: ", ToAbsl(RoundStatusName(record.status)),
                     record.message.empty() ? "" : ": ", record.message));
  }
  if (const auto* keys = std::get_if<KeyAdvertisement>(&arrival->message)) {
    RETURN_IF_ERROR(CheckToken(it->second.machine->description(), device, *keys, token));
    if (token) RETURN_IF_ERROR(changes->CheckUnspent(*token, session));
  }
  const RoundActions actions =
      StepRound(&it->second, DeviceMessage{device, std::move(arrival->message)}, token, changes);
  RETURN_IF_ERROR(actions.reply);
  return actions.ticket;
}

absl::StatusOr<uint32_t> Coordinator::AdvertiseKeys(const DeviceId& device,
                                                    const JoinRequest& request) {
  return Receive(device, request.keys.session, request.keys, request.token);
}
absl::Status Coordinator::ShareKeys(const DeviceId& device, const ShareKeysMessage& message) {
  return Receive(device, message.session, message, std::nullopt).status();
}
absl::Status Coordinator::SubmitMaskedUpdate(const DeviceId& device, const MaskedUpdate& message) {
  return Receive(device, message.session, message, std::nullopt).status();
}
absl::Status Coordinator::Acknowledge(const DeviceId& device, const Acknowledgement& message) {
  return Receive(device, message.session, message, std::nullopt).status();
}
absl::Status Coordinator::Unmask(const DeviceId& device, const UnmaskResponse& message) {
  return Receive(device, message.session, message, std::nullopt).status();
}

absl::StatusOr<PollResult> Coordinator::Poll(const DeviceId& device, const PollQuery& query) {
  absl::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(EnsureLoaded());
  RETURN_IF_ERROR(AdmitToRound(device, query.session));
  RETURN_IF_ERROR(TickAll());
  const auto it = open_.find(query.session);
  if (it != open_.end()) {
    ASSIGN_OR_RETURN(PollResult result, it->second.machine->View(device, query.ticket));
    result.retry_after = options_.poll_interval;
    return result;
  }
  ASSIGN_OR_RETURN(const RoundRecord record, options_.store->FindRound(query.session));
  PollResult result;
  const bool done = record.status == RoundStatus::kDone;
  result.phase = done ? RoundPhase::kDone : RoundPhase::kAborted;
  result.message = record.message;
  result.survivor_count = record.survivor_count;
  result.transcript = record.transcript;
  return result;
}

}  // namespace lorikeet
