#include "simulations/world/sim_device.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr absl::Duration kShortestOutage = absl::Seconds(20);
constexpr absl::Duration kLongestOutage = absl::Seconds(120);
// ShareKeys, SubmitMaskedUpdate, Acknowledge and Unmask: see AgentRequest.
constexpr size_t kFirstRoundRequest = 5;
constexpr size_t kRoundRequests = 4;
static_assert(
    std::is_same_v<std::variant_alternative_t<kFirstRoundRequest, AgentRequest>, ShareKeysMessage>);
static_assert(std::is_same_v<
              std::variant_alternative_t<kFirstRoundRequest + kRoundRequests - 1, AgentRequest>,
              UnmaskResponse>);

void FlipBit(std::string* bytes, Rng* dice) {
  if (bytes->empty()) return;
  char& byte = (*bytes)[dice->Below(bytes->size())];
  byte = static_cast<char>(byte ^ (1 << dice->Below(8)));
}

}  // namespace

SimDevice::SimDevice(Options options, const DeviceSurroundings& surroundings,
                     std::unique_ptr<SimulatedWork> work)
    : options_(std::move(options)),
      world_(surroundings),
      work_(std::move(work)),
      random_(absl::StrCat("simulated device ", options_.id), options_.seed),
      dice_(random_.Uint64()) {}

void SimDevice::Boot() {
  ++life_;
  auto agent = Agent::Create(options_.agent, &world_.queue->clock(), &random_, &store_);
  if (!agent.ok()) {
    final_ = agent.status();
    return;
  }
  agent_ = *std::move(agent);
  Step(StartEvent{});
}

void SimDevice::Step(AgentEvent event) {
  AgentActions actions = agent_->Step(std::move(event));
  state_ = agent_->state();
  world_.observer->OnState(id(), state_);
  const uint64_t life = life_;
  for (AgentAction& action : actions) {
    if (life != life_) return;  // crashed while sending
    std::visit([this](auto&& a) { Do(std::move(a)); }, std::move(action));
  }
}

void SimDevice::Later(absl::Duration delay, std::function<void()> run) {
  world_.queue->After(delay, [this, life = life_, run = std::move(run)] {
    if (life == life_ && running()) run();
  });
}

void SimDevice::Do(WaitAction action) {
  Later(action.until - world_.queue->Now(), [this, wake = ++wake_] {
    if (wake == wake_) Step(WakeEvent{});
  });
}

void SimDevice::Do(StopAction action) { final_ = std::move(action.status); }

void SimDevice::Do(CallAction action) {
  const bool crash = planned_crash_ && planned_crash_->request_index == action.request.index();
  if (!crash || planned_crash_->after_sending) Send(action);
  if (crash) Crash();
}

void SimDevice::Send(const CallAction& action) {
  world_.observer->OnSend(id(), action);
  world_.traffic->CountRequest(action.request);
  const CallFate fate = world_.network->NextCall();
  const auto shared = std::make_shared<const CallAction>(action);
  if (fate.request_arrives) {
    world_.queue->After(fate.request_delay,
                        [this, shared, fate] { Deliver(*shared, fate, /*answered=*/true); });
  }
  if (fate.duplicated) {
    world_.queue->After(fate.duplicate_delay,
                        [this, shared, fate] { Deliver(*shared, fate, /*answered=*/false); });
  }
  // An answer in time makes the agent ignore this one.
  Later(world_.network->faults().timeout, [this, call = action.id] {
    Step(CallDone{call, {absl::UnavailableError("no answer in time"), {}}});
  });
}

// At the coordinator, whatever has become of the device meanwhile.
void SimDevice::Deliver(const CallAction& action, const CallFate& fate, bool answered) {
  AgentResponse response;
  const AgentServices services = world_.coordinator->services();
  if (services.federation != nullptr) {
    response = Execute(services, action.member.empty() ? id() : action.member, action.request);
  } else {
    response.status = absl::UnavailableError("connection refused");
  }
  if (!answered) return;
  world_.traffic->CountResponse(action.request, response);
  if (!fate.answer_arrives) return;
  if (fate.tampered) Tamper(&response);
  Later(fate.answer_delay, [this, call = action.id, response = std::move(response)] {
    Step(CallDone{call, response});
  });
}

// What somebody between device and coordinator could try: change what is signed, or replay it.
void SimDevice::Tamper(AgentResponse* response) {
  if (auto* manifest = std::get_if<SignedManifest>(&response->answer)) {
    if (first_manifest_ && dice_.Below(2) == 0) {
      *manifest = *first_manifest_;
    } else {
      first_manifest_ = *manifest;
      FlipBit(&manifest->manifest, &dice_);
    }
  } else if (auto* update = std::get_if<TrustUpdate>(&response->answer); update) {
    if (update->timestamp) FlipBit(&update->timestamp->bytes, &dice_);
  } else if (auto* evidence = std::get_if<LogEvidence>(&response->answer); evidence) {
    evidence->head.tree.root[dice_.Below(32)] ^= 1;
  } else if (auto* chunk = std::get_if<ChunkResult>(&response->answer)) {
    FlipBit(&chunk->data, &dice_);
  } else if (auto* offer = std::get_if<RoundOffer>(&response->answer);
             offer && !offer->rounds.empty()) {
    FlipBit(&offer->rounds[dice_.Below(offer->rounds.size())].description, &dice_);
  }
}

template <typename Result>
std::shared_ptr<std::future<absl::StatusOr<Result>>> SimDevice::Launch(
    std::function<absl::StatusOr<Result>()> run) {
  using Value = absl::StatusOr<Result>;
  if (last_job_.valid()) last_job_.wait();  // of a life that ended
  auto result = std::make_shared<std::promise<Value>>();
  auto done = std::make_shared<std::promise<void>>();
  last_job_ = done->get_future().share();
  auto future = std::make_shared<std::future<Value>>(result->get_future());
  world_.jobs->Submit([run = std::move(run), result, done] {
    result->set_value(run());
    done->set_value();
  });
  computing_ = true;
  return future;
}

// Simulated devices have no weights that could be unwell.
void SimDevice::Do(const CheckBaseAction&) {
  Later(absl::ZeroDuration(),
        [this] { Step(BaseChecked{{.healthy = true, .summary = "simulated"}}); });
}

void SimDevice::Do(const PersonalizeAction& action) {
  auto catalog = store_.FileContent(action.catalog_file);
  if (!catalog.ok()) return Step(PersonalizeDone{catalog.status()});
  auto job = work_->Personalize(action, *std::move(catalog), world_.queue->Now());
  Later(job.duration, [this, result = Launch(std::move(job.run))] {
    computing_ = false;
    Step(PersonalizeDone{result->get()});
  });
}

void SimDevice::Do(const ContributeAction& action) {
  const SessionId session = action.round.secagg.session;
  PlanCrash();
  auto catalog = store_.FileContent(action.catalog_file);
  if (!catalog.ok()) return Step(ContributionDone{session, catalog.status()});
  auto job = work_->Contribute(action, *std::move(catalog), world_.queue->Now());
  Later(job.duration, [this, session, result = Launch(std::move(job.run))] {
    computing_ = false;
    auto contribution = result->get();
    if (contribution.ok()) world_.observer->OnContribution(id(), session, *contribution);
    Step(ContributionDone{session, std::move(contribution)});
  });
}

void SimDevice::PlanCrash() {
  planned_crash_.reset();
  if (dice_.Uniform() >= options_.dropout) return;
  planned_crash_ =
      PlannedCrash{kFirstRoundRequest + dice_.Below(kRoundRequests), dice_.Below(2) == 0};
}

void SimDevice::Crash() {
  ++life_;
  ++crashes_;
  agent_.reset();
  computing_ = false;
  planned_crash_.reset();
  world_.queue->After(kShortestOutage + (kLongestOutage - kShortestOutage) * dice_.Uniform(),
                      [this] { Boot(); });
}

}  // namespace lorikeet
