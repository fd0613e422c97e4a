#include "tests/unit/coordinator/test_fleet.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/dp/encoder.h"
#include "common/gguf/writer.h"
#include "common/wire/sign_round.h"
#include "coordinator/distribution/root_keeper.h"
#include "coordinator/registry/device_registry.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

SigningKey FleetKey(uint64_t seed) {
  SeededRandom random("fleet key", seed);
  return SigningKey::Generate(&random);
}

TaskConfig FleetTask(const FleetOptions& options, const std::string& base) {
  TaskConfig task;
  task.name = "voices";
  task.base_fingerprint = base;
  task.rounds = options.rounds;
  task.cohort_min = options.cohort_min;
  task.cohort_max = options.cohort_max;
  task.corrupt_fraction = 0;
  task.noise_multiplier = options.noise_multiplier;
  task.noise = options.noise;
  task.separation = options.separation;
  task.epsilon_budget = options.epsilon_budget;
  task.demonstration = true;
  task.tokens = options.tokens || options.bucket_personas > 0 ? "required" : "off";
  if (options.bucket_personas > 0) {
    task.routing = "routed";
    task.bucket_personas = options.bucket_personas;
  }
  task.clip_norm = 10;
  task.min_count = 0.5;
  task.advertise = task.share = task.mask = task.acknowledge = task.unmask = absl::Seconds(10);
  return task;
}

}  // namespace

Catalog TinyCatalog(const std::string& base_fingerprint, uint64_t version, int personas) {
  Catalog catalog;
  catalog.base_fingerprint = base_fingerprint;
  catalog.architecture = "llama";
  catalog.version = version;
  catalog.rank = 2;
  catalog.alpha = 2;
  AdapterMatrix matrix;
  matrix.rank = 2;
  matrix.in_features = 4;
  matrix.out_features = 4;
  matrix.a = {1, 0, 0, 0, 0, 1, 0, 0};
  matrix.b = {1, 0, 0, 1, 0, 0, 0, 0};
  catalog.basis = {matrix};
  const std::vector<std::string_view> documents = {"a short line of text", "and one more of them"};
  catalog.background = MakeStyleBackground(documents);
  for (int k = 0; k < personas; ++k) {
    catalog.personas.push_back(
        {.id = k < 2 ? (k == 0 ? "brief" : "formal") : absl::StrCat("kind-", k),
         .cores = {0, 0, 0, 0},
         .card = MakeStyleCard(CountStyle(documents), catalog.background)});
  }
  return catalog;
}

std::string WriteTinyBase(const std::string& directory, int seed) {
  GgufWriter writer;
  writer.AddString("general.architecture", "llama");
  const std::vector<float> values = {static_cast<float>(seed), 2, 3, 4};
  writer.AddTensor("token_embd.weight", {4}, values);
  const std::string path = absl::StrCat(directory, "/base-", seed, ".gguf");
  EXPECT_TRUE(writer.Write(path).ok());
  return path;
}

TestFleet::TestFleet(const FleetOptions& options)
    : directory_(MakeTempDir("fleet")),
      store_path_(options.store.empty() ? directory_ + "/store.sqlite" : options.store),
      key_(FleetKey(1)),
      issuer_key_(FleetKey(2)),
      root_key_(FleetKey(3)) {
  blobs_ = *DirectoryBlobStore::Open(directory_ + "/releases");
  store_ = *OpenStore(store_path_, true);
  const Ed25519PublicKey online = key_.public_key();
  root_ = MakeFirstRoot({.root_keys = {&root_key_},
                         .threshold = 1,
                         .online = {{TrustRole::kTimestamp, online},
                                    {TrustRole::kSnapshot, online},
                                    {TrustRole::kTargets, online},
                                    {TrustRole::kLog, online},
                                    {TrustRole::kRounds, online}},
                         .expires = clock_.Now() + absl::Hours(24 * 365)});
  EXPECT_TRUE(AcceptRoot(store_.get(), root_).ok());
  const auto base = publisher().PublishBase(WriteTinyBase(directory_, 1), "tiny");
  EXPECT_TRUE(base.ok()) << base.status();
  base_ = base->base_fingerprint;
  EXPECT_TRUE(
      WriteCatalog(TinyCatalog(base_, 1, options.personas), directory_ + "/catalog.gguf").ok());
  const auto catalog = publisher().PublishCatalog(directory_ + "/catalog.gguf", "voices");
  EXPECT_TRUE(catalog.ok()) << catalog.status();
  const std::string config = TaskConfigToJson(FleetTask(options, base_));
  EXPECT_TRUE(store_->AddTask({.name = "voices", .config = config, .created = clock_.Now()}).ok());
  for (int i = 0; i < options.devices; ++i) {
    EXPECT_TRUE(EnrollDevice(store_.get(), absl::StrCat("device-", i), clock_.Now()).ok());
  }
  Restart();
}

std::unique_ptr<Coordinator> TestFleet::Replica(SqlStore* store, const ReplicaOptions& options) {
  const Clock* clock = options.clock != nullptr ? options.clock : &clock_;
  auto trust =
      TrustOffice::Create({.store = store, .clock = clock, .keys = {&key_, &key_, &key_, &key_}});
  EXPECT_TRUE(trust.ok()) << trust.status();
  trust_.push_back(*std::move(trust));
  auto coordinator =
      Coordinator::Create({.store = store,
                           .blobs = blobs_.get(),
                           .clock = clock,
                           .random = options.random != nullptr ? options.random : &random_,
                           .key = &key_,
                           .redeemer = &*redeemer_,
                           .trust = trust_.back().get(),
                           .leadership = options.leadership,
                           .total_budget = total_budget_});
  EXPECT_TRUE(coordinator.ok()) << coordinator.status();
  return *std::move(coordinator);
}

void TestFleet::LimitTotal(const PrivacyBudget& budget) {
  total_budget_ = budget;
  Restart();
}

void TestFleet::Restart() {
  coordinator_.reset();
  office_.reset();
  const std::vector<uint8_t> seed(kVoprfSeedBytes, 7);
  redeemer_ = TokenRedeemer::Create(token_schedule(), SecretBytes::CopyOf(seed)).value();
  store_ = *OpenStore(store_path_, false);
  coordinator_ = Replica(store_.get());
  office_store_ = *OpenStore(store_path_, false);
  office_ = TokenOffice::Create({.store = office_store_.get(),
                                 .schedule = token_schedule(),
                                 .signer = &issuer_key_,
                                 .clock = &clock_,
                                 .random = &random_},
                                SecretBytes::CopyOf(seed))
                .value();
}

Publisher TestFleet::publisher() {
  return Publisher({.store = store_.get(), .blobs = blobs_.get(), .key = &key_, .clock = &clock_});
}

Catalog TestFleet::LatestCatalog() {
  return *LoadCatalog(**store_->LatestRelease(ReleaseKind::kCatalog, base_), blobs_.get());
}

RoundRecord TestFleet::LatestRound() { return store_->ListRounds("")->front(); }

TestDevice::TestDevice(TestFleet* fleet, int index)
    : fleet_(fleet),
      id_(absl::StrCat("device-", index)),
      random_("test device", static_cast<uint64_t>(index)) {}

absl::Status TestDevice::FetchToken() {
  const uint64_t epoch = round_.token->epoch;
  const SecretBytes seed = SecretBytes::Random(kOneTimeSeedBytes, &random_);
  ASSIGN_OR_RETURN(OneTimeKeys keys, OneTimeKeys::FromSeed(seed));
  std::vector<PendingToken> pending;
  ASSIGN_OR_RETURN(PendingToken prepared,
                   PrepareToken(epoch, OneTimeKeysHash(keys.ForSession({})), seed));
  pending.push_back(std::move(prepared));
  ASSIGN_OR_RETURN(const SignedTokenKeys signed_keys, fleet_->office().GetTokenKeys(id_));
  ASSIGN_OR_RETURN(const TokenKeySet set,
                   VerifyTokenKeys(signed_keys, fleet_->issuer_key().public_key()));
  ASSIGN_OR_RETURN(const GroupElement key, set.KeyOf(epoch));
  ASSIGN_OR_RETURN(const BatchEvaluation evaluation,
                   fleet_->office().IssueTokens(id_, {epoch, {pending[0].blinded.element}}));
  ASSIGN_OR_RETURN(const auto tokens, FinishTokens(key, pending, evaluation));
  token_ = tokens[0];
  caller_ = TokenMember(tokens[0]);
  ASSIGN_OR_RETURN(client_, SecAggClient::Create(round_.secagg, &random_, std::move(keys)));
  return absl::OkStatus();
}

absl::Status TestDevice::Prepare(uint64_t catalog_version) {
  RoundQuery query;
  query.base_fingerprint = fleet_->base();
  query.catalog_version = catalog_version;
  ASSIGN_OR_RETURN(const RoundOffer offer, fleet_->entrance().GetRound(id_, query));
  if (offer.rounds.empty()) return absl::NotFoundError("no round is offered");
  const auto has_persona = [this] {
    const int index = persona_ - round_.layout.first_persona;
    return index >= 0 && index < round_.layout.persona_count;
  };
  for (size_t i = 0; i == 0 || !has_persona(); ++i) {
    if (i == offer.rounds.size()) return absl::NotFoundError("no round is for this persona");
    ASSIGN_OR_RETURN(round_, VerifyRoundDescription(offer.rounds[i], fleet_->key().public_key()));
  }
  caller_ = id_;
  token_.reset();
  shares_.reset();
  acknowledgement_.reset();
  unmask_.reset();
  masked_ = false;
  if (round_.token) {
    RETURN_IF_ERROR(FetchToken());
  } else {
    ASSIGN_OR_RETURN(client_, SecAggClient::Create(round_.secagg, &random_));
  }
  ASSIGN_OR_RETURN(keys_, client_->AdvertiseKeys());
  return absl::OkStatus();
}

absl::Status TestDevice::Advertise(FederationService* service) {
  ASSIGN_OR_RETURN(ticket_, service->AdvertiseKeys(caller_, {keys_, token_}));
  return absl::OkStatus();
}

absl::Status TestDevice::Join(uint64_t catalog_version) {
  RETURN_IF_ERROR(Prepare(catalog_version));
  return Advertise(&fleet_->entrance());
}

absl::StatusOr<PollResult> TestDevice::Poll() {
  return fleet_->entrance().Poll(caller_, {.session = round_.secagg.session, .ticket = ticket_});
}

absl::Status TestDevice::Share() {
  ASSIGN_OR_RETURN(const PollResult poll, Poll());
  if (!poll.directory) return absl::FailedPreconditionError("no directory yet");
  if (!shares_) {
    ASSIGN_OR_RETURN(shares_, client_->ShareKeys(*poll.directory));
  }
  return fleet_->entrance().ShareKeys(caller_, *shares_);
}

absl::Status TestDevice::Mask(int persona, float value) {
  ASSIGN_OR_RETURN(const PollResult poll, Poll());
  if (!poll.delivery) return absl::FailedPreconditionError("no delivery yet");
  if (masked_) return fleet_->entrance().SubmitMaskedUpdate(caller_, update_);
  const UpdateLayout& layout = round_.layout;
  std::vector<float> vector(static_cast<size_t>(layout.dimension()));
  const size_t block = static_cast<size_t>(layout.block_size);
  const size_t count_at = static_cast<size_t>(layout.persona_count) * block;
  const size_t index = static_cast<size_t>(persona - layout.first_persona);
  for (size_t j = 0; j < block; ++j) vector[index * block + j] = value;
  vector[count_at + index] = static_cast<float>(layout.count_weight);
  vector[vector.size() - 2] = static_cast<float>(3.0 * layout.loss_weight);
  vector[vector.size() - 1] = static_cast<float>(2.0 * layout.loss_weight);
  ASSIGN_OR_RETURN(const ClippedDelta clipped, Clip(std::move(vector), round_.encoding.clip_norm));
  ASSIGN_OR_RETURN(const EncodedDelta encoded, Encode(clipped, round_.encoding, &random_));
  ASSIGN_OR_RETURN(update_, client_->MaskInput(*poll.delivery, encoded));
  masked_ = true;
  return fleet_->entrance().SubmitMaskedUpdate(caller_, update_);
}

absl::Status TestDevice::Acknowledge() {
  ASSIGN_OR_RETURN(const PollResult poll, Poll());
  if (!poll.survivors) return absl::FailedPreconditionError("no survivors yet");
  if (!acknowledgement_) {
    ASSIGN_OR_RETURN(acknowledgement_, client_->Acknowledge(*poll.survivors));
  }
  return fleet_->entrance().Acknowledge(caller_, *acknowledgement_);
}

absl::Status TestDevice::Unmask() {
  ASSIGN_OR_RETURN(const PollResult poll, Poll());
  // Enough others were faster: the round has ended without this device's shares.
  if (poll.phase >= RoundPhase::kDone) return absl::OkStatus();
  if (!poll.acknowledgements) return absl::FailedPreconditionError("no acknowledgements yet");
  if (!unmask_) {
    ASSIGN_OR_RETURN(unmask_, client_->Unmask(*poll.acknowledgements));
  }
  return fleet_->entrance().Unmask(caller_, *unmask_);
}

}  // namespace lorikeet
