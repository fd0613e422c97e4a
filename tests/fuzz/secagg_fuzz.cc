// Fuzz target: secure aggregation between members and a coordinator that lie to each other.
//
// The input is a script of edits to a session that is honest otherwise: messages changed field by
// field, lost, repeated, sent too early, too late or under another name.  Whatever happens, nobody
// crashes, errors are of the kinds that are documented, a message that was refused has changed
// nothing, no client reveals both kinds of share of one peer, and members alone cannot falsify a
// sum.
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/secagg/client.h"
#include "common/wire/decode.h"
#include "common/wire/encode.h"
#include "coordinator/aggregation/secagg_session.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/message_edits.h"

namespace lorikeet {
namespace {

constexpr int kModulusBits = 12;
constexpr int64_t kDimension = 4;

// What happens to the message number `when`; answers of the coordinator have the odd numbers.
struct ScriptedEdit {
  uint8_t when = 0;
  uint8_t flow = 0;
  FieldEdit edit;
};
constexpr size_t kEditBytes = 6;
constexpr size_t kMaxEdits = 64;

enum Flow : uint8_t { kChange, kLose, kRepeat, kOtherName, kReplay, kEndStep, kFlows };

std::vector<ScriptedEdit> ReadScript(std::span<const uint8_t> bytes) {
  std::vector<ScriptedEdit> script;
  while (bytes.size() >= kEditBytes && script.size() < kMaxEdits) {
    script.push_back({bytes[0], bytes[1], {bytes[2], bytes[3], bytes[4], bytes[5]}});
    bytes = bytes.subspan(kEditBytes);
  }
  return script;
}

std::vector<uint32_t> Unpack(const MaskedUpdate& update) {
  std::vector<uint32_t> words(kDimension, 0);
  AddPackedBits(update.packed, kModulusBits, words);
  return words;
}

absl::StatusOr<KeyAdvertisement> Decode(const std::string& bytes, const KeyAdvertisement&) {
  return DecodeKeyAdvertisement(bytes);
}
absl::StatusOr<ShareKeysMessage> Decode(const std::string& bytes, const ShareKeysMessage&) {
  return DecodeShareKeysMessage(bytes);
}
absl::StatusOr<MaskedUpdate> Decode(const std::string& bytes, const MaskedUpdate&) {
  return DecodeMaskedUpdate(bytes);
}
absl::StatusOr<Acknowledgement> Decode(const std::string& bytes, const Acknowledgement&) {
  return DecodeAcknowledgement(bytes);
}
absl::StatusOr<UnmaskResponse> Decode(const std::string& bytes, const UnmaskResponse&) {
  return DecodeUnmaskResponse(bytes);
}
absl::StatusOr<KeyDirectory> Decode(const std::string& bytes, const KeyDirectory&) {
  return DecodeKeyDirectory(bytes);
}
absl::StatusOr<ShareDelivery> Decode(const std::string& bytes, const ShareDelivery&) {
  return DecodeShareDelivery(bytes);
}
absl::StatusOr<SurvivorLists> Decode(const std::string& bytes, const SurvivorLists&) {
  return DecodeSurvivorLists(bytes);
}
absl::StatusOr<AcknowledgementSet> Decode(const std::string& bytes, const AcknowledgementSet&) {
  return DecodeAcknowledgementSet(bytes);
}

struct Member {
  std::unique_ptr<SecAggClient> client;
  std::unique_ptr<SeededRandom> random;
  std::vector<uint32_t> input;
  std::optional<uint32_t> ticket;
  std::optional<MaskedUpdate> honest_update;
  bool gone = false;  // its client aborted, or it was told that it dropped out
};

class Play {
 public:
  Play(std::span<const uint8_t> bytes, bool complete_graph);
  void Run();

 private:
  void RunStep(SecAggStep step);
  void RunMember(size_t i, SecAggStep step);
  template <typename Message>
  void Send(size_t from, absl::StatusOr<Message> message);
  template <typename Message>
  std::optional<Message> Answer(size_t to, const std::optional<Message>& message, bool* lost);
  absl::StatusOr<SecAggSession::Accepted> Offer(size_t as, const RoundMessage& message);
  template <typename Message>
  absl::StatusOr<SecAggSession::Accepted> OfferBytes(size_t as, const Message& message);
  void CallTooEarly(SecAggClient& client, SecAggStep step) const;
  void CheckResponse(const UnmaskResponse& response);
  void CheckSum() const;

  std::vector<ScriptedEdit> script_;
  SecAggParameters parameters_;
  std::vector<Member> members_;
  std::unique_ptr<SecAggSession> session_;
  SeenValues seen_;
  std::vector<RoundMessage> sent_;
  uint32_t member_messages_ = 0, answers_ = 0;
  bool coordinator_lied_ = false;
  bool end_step_ = false;
  std::map<ClientIndex, std::vector<uint32_t>> accepted_;      // masked, by sender
  std::map<ClientIndex, int> seeds_revealed_, keys_revealed_;  // by honest clients, by owner
};

std::string DeviceName(size_t i) { return "device-" + std::to_string(i); }

Play::Play(std::span<const uint8_t> bytes, bool complete_graph) : script_(ReadScript(bytes)) {
  parameters_ = {.session = Blake2b({}),
                 .cohort_min = complete_graph ? 2 : 5,
                 .cohort_max = complete_graph ? 3 : 6,
                 .degree = complete_graph ? 0 : 4,
                 .threshold = complete_graph ? 2 : 3,
                 .dimension = kDimension,
                 .modulus_bits = kModulusBits};
  session_ = SecAggSession::Create(parameters_).value();
  for (int i = 0; i < parameters_.cohort_max; ++i) {
    Member& member = members_.emplace_back();
    member.random = std::make_unique<SeededRandom>("secagg fuzz", static_cast<uint64_t>(i));
    member.client = SecAggClient::Create(parameters_, member.random.get()).value();
    for (int64_t e = 0; e < kDimension; ++e) {
      member.input.push_back(static_cast<uint32_t>(i * 1000 + e * 77) & ((1u << kModulusBits) - 1));
    }
  }
}

absl::StatusOr<SecAggSession::Accepted> Play::Offer(size_t as, const RoundMessage& message) {
  const int arrived = session_->arrived();
  const SecAggStep step = session_->step();
  auto accepted = session_->Accept(DeviceName(as % members_.size()), message);
  LORIKEET_CHECK(session_->step() == step);
  if (!accepted.ok()) {
    LORIKEET_CHECK(session_->arrived() == arrived);
    const absl::StatusCode code = accepted.status().code();
    LORIKEET_CHECK(
        code == absl::StatusCode::kInvalidArgument ||
        code == absl::StatusCode::kFailedPrecondition || code == absl::StatusCode::kAlreadyExists ||
        code == absl::StatusCode::kPermissionDenied ||
        code == absl::StatusCode::kResourceExhausted || code == absl::StatusCode::kAborted);
    return accepted;
  }
  LORIKEET_CHECK(session_->arrived() == arrived + (accepted->is_new ? 1 : 0));
  if (const auto* update = std::get_if<MaskedUpdate>(&message); update && accepted->is_new) {
    accepted_[update->sender] = Unpack(*update);
  }
  return accepted;
}

// As it comes over the wire, whose limits hold for everybody.
template <typename Message>
absl::StatusOr<SecAggSession::Accepted> Play::OfferBytes(size_t as, const Message& message) {
  ASSIGN_OR_RETURN(const Message decoded, Decode(Encode(message), message));
  return Offer(as, decoded);
}

// A member's message on its way, with what the script does to it.
template <typename Message>
void Play::Send(size_t from, absl::StatusOr<Message> message) {
  if (!message.ok()) {
    LORIKEET_CHECK(message.status().code() == absl::StatusCode::kAborted ||
                   message.status().code() == absl::StatusCode::kFailedPrecondition);
    members_[from].gone = true;
    return;
  }
  Remember(*message, seen_);
  sent_.push_back(*message);
  const uint32_t number = 2 * member_messages_++;
  Message changed = *message;
  bool is_changed = false;
  for (const ScriptedEdit& edit : script_) {
    if (edit.when != number) continue;
    switch (edit.flow % kFlows) {
      case kChange:
        EditMessage(edit.edit, seen_, changed);
        is_changed = true;
        break;
      case kLose:
        return;
      case kRepeat:
        (void)OfferBytes(from, changed);
        break;
      case kOtherName:
        (void)OfferBytes(edit.edit.value, changed);
        break;
      case kReplay:
        (void)Offer(edit.edit.at, sent_[edit.edit.value % sent_.size()]);
        break;
      default:
        end_step_ = true;
    }
  }
  absl::StatusOr<SecAggSession::Accepted> accepted = OfferBytes(from, changed);
  if (!accepted.ok() && is_changed) accepted = Offer(from, *message);
  if (!accepted.ok()) return;
  if constexpr (std::is_same_v<Message, KeyAdvertisement>) {
    members_[from].ticket = accepted->ticket;
  }
}

// A coordinator's message on its way; nothing if it does not get there.
template <typename Message>
std::optional<Message> Play::Answer(size_t to, const std::optional<Message>& message, bool* lost) {
  LORIKEET_CHECK(message.has_value());
  Remember(*message, seen_);
  const uint32_t number = 2 * answers_++ + 1;
  Message changed = *message;
  for (const ScriptedEdit& edit : script_) {
    if (edit.when != number) continue;
    if (edit.flow % kFlows == kLose) {
      *lost = true;
      return std::nullopt;
    }
    if (edit.flow % kFlows == kEndStep) {
      CallTooEarly(*members_[to].client, session_->step());
      continue;
    }
    EditMessage(edit.edit, seen_, changed);
    coordinator_lied_ = true;
  }
  const auto decoded = Decode(Encode(changed), changed);
  *lost = !decoded.ok();
  return decoded.ok() ? std::optional<Message>(*decoded) : std::nullopt;
}

// A client does no step before its time, and is none the worse for being asked.
void Play::CallTooEarly(SecAggClient& client, SecAggStep step) const {
  const auto refused = [](const absl::Status& status) {
    LORIKEET_CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  };
  if (step < SecAggStep::kMask) {
    refused(client.MaskInput({}, EncodedDelta::ForTest(members_[0].input)).status());
  }
  if (step < SecAggStep::kAcknowledge) refused(client.Acknowledge({}).status());
  if (step < SecAggStep::kUnmask) refused(client.Unmask({}).status());
}

void Play::CheckResponse(const UnmaskResponse& response) {
  std::set<ClientIndex> owners;
  for (const RevealedShare& share : response.seed_shares) {
    LORIKEET_CHECK(owners.insert(share.owner).second);
    ++seeds_revealed_[share.owner];
  }
  for (const RevealedShare& share : response.mask_key_shares) {
    LORIKEET_CHECK(owners.insert(share.owner).second);
    ++keys_revealed_[share.owner];
  }
}

void Play::RunMember(size_t i, SecAggStep step) {
  Member& member = members_[i];
  if (step == SecAggStep::kAdvertise) return Send(i, member.client->AdvertiseKeys());
  if (!member.ticket || member.gone) return;
  const auto view = session_->View(DeviceName(i), *member.ticket);
  if (!view.ok()) {
    LORIKEET_CHECK(view.status().code() == absl::StatusCode::kAborted);
    member.gone = true;
    return;
  }
  bool lost = false;
  if (step == SecAggStep::kShare) {
    const auto directory = Answer(i, view->directory, &lost);
    if (!lost) Send(i, member.client->ShareKeys(*directory));
  } else if (step == SecAggStep::kMask) {
    const auto delivery = Answer(i, view->delivery, &lost);
    if (lost) return;
    auto update = member.client->MaskInput(*delivery, EncodedDelta::ForTest(member.input));
    if (update.ok()) member.honest_update = *update;
    Send(i, std::move(update));
  } else if (step == SecAggStep::kAcknowledge) {
    const auto survivors = Answer(i, view->survivors, &lost);
    if (!lost) Send(i, member.client->Acknowledge(*survivors));
  } else {
    const auto statements = Answer(i, view->acknowledgements, &lost);
    if (lost) return;
    auto response = member.client->Unmask(*statements);
    if (response.ok()) CheckResponse(*response);
    Send(i, std::move(response));
  }
}

void Play::RunStep(SecAggStep step) {
  end_step_ = false;
  for (size_t i = 0; i < members_.size() && !end_step_; ++i) {
    RunMember(i, step);
  }
  const absl::Status closed = session_->CloseStep();
  if (closed.ok()) return;
  LORIKEET_CHECK(closed.code() == absl::StatusCode::kAborted ||
                 closed.code() == absl::StatusCode::kUnavailable ||
                 closed.code() == absl::StatusCode::kFailedPrecondition);
  session_->Abort("the members are through");
}

// The sum is that of the inputs whose masked form arrived.  A member that adds something to its own
// masked form has another input, no more.
void Play::CheckSum() const {
  std::vector<uint32_t> expected(kDimension, 0);
  for (const auto& [index, masked] : accepted_) {
    const Member* owner = nullptr;
    for (const Member& member : members_) {
      if (member.honest_update && member.honest_update->sender == index) owner = &member;
    }
    LORIKEET_CHECK(owner != nullptr);
    const std::vector<uint32_t> honest = Unpack(*owner->honest_update);
    for (int64_t e = 0; e < kDimension; ++e) {
      expected[e] += owner->input[e] + masked[e] - honest[e];
    }
  }
  LORIKEET_CHECK(session_->sum()->survivor_count == accepted_.size());
  for (int64_t e = 0; e < kDimension; ++e) {
    const uint32_t cut = (1u << kModulusBits) - 1;
    LORIKEET_CHECK((session_->sum()->sum[e] & cut) == (expected[e] & cut));
  }
}

void Play::Run() {
  for (const SecAggStep step : {SecAggStep::kAdvertise, SecAggStep::kShare, SecAggStep::kMask,
                                SecAggStep::kAcknowledge, SecAggStep::kUnmask}) {
    if (!session_->running()) break;
    RunStep(step);
  }
  for (const auto& [owner, count] : seeds_revealed_) {
    const auto keys = keys_revealed_.find(owner);
    if (keys == keys_revealed_.end()) continue;
    LORIKEET_CHECK(std::min(count, keys->second) < parameters_.threshold);
  }
  if (session_->step() == SecAggStep::kDone && !coordinator_lied_) CheckSum();
  if (script_.empty()) LORIKEET_CHECK(session_->step() == SecAggStep::kDone);
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  const std::string complete(1, '\0');
  const std::string sparse(1, '\1');
  const auto edit = [](uint8_t when, uint8_t flow, uint8_t field, uint8_t op, uint8_t at,
                       uint8_t value) {
    const uint8_t bytes[] = {when, flow, field, op, at, value};
    return std::string(reinterpret_cast<const char*>(bytes), sizeof(bytes));
  };
  return {complete, sparse + edit(24, kLose, 0, 0, 0, 0) + edit(25, kChange, 3, 1, 0, 0),
          complete + edit(6, kChange, 2, 0, 3, 1) + edit(8, kReplay, 0, 0, 1, 3) +
              edit(9, kEndStep, 0, 0, 0, 1) + edit(12, kRepeat, 0, 0, 0, 0),
          complete + edit(24, kChange, 4, 1, 0, 0) + edit(18, kOtherName, 0, 0, 0, 2) +
              edit(10, kEndStep, 0, 0, 0, 0)};
}

}  // namespace lorikeet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lorikeet;  // NOLINT: the entry point cannot live in a namespace
  if (size == 0) return 0;
  Play(std::span(data, size).subspan(1), /*complete_graph=*/data[0] % 2 == 0).Run();
  return 0;
}
