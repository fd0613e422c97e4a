#include "simulations/scenarios/protocol_scale.h"

#include <ctime>
#include <memory>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/thread_pool.h"
#include "common/dp/encoder.h"
#include "common/secagg/client.h"
#include "common/secagg/server.h"
#include "common/wire/encode.h"
#include "coordinator/rounds/task_config.h"
#include "simulations/checkers/invariants.h"

namespace lorikeet {
namespace {

// Adds the processor time of its life to a sum.
class Stopwatch {
 public:
  explicit Stopwatch(double* sum) : sum_(sum) {}
  ~Stopwatch() {
    *sum_ += static_cast<double>(std::clock() - start_) / static_cast<double>(CLOCKS_PER_SEC);
  }

 private:
  double* sum_;
  std::clock_t start_ = std::clock();
};

class ScaleSession {
 public:
  static absl::StatusOr<std::unique_ptr<ScaleSession>> Create(const ScaleOptions& options) {
    TaskConfig task;
    task.cohort_max = options.devices;
    task.cohort_min = options.devices / 2 + 1;
    task.corrupt_fraction = options.corrupt;
    task.dropout_fraction = options.dropout;
    auto session = std::unique_ptr<ScaleSession>(new ScaleSession(options));
    ASSIGN_OR_RETURN(session->parameters_, GraphOf(task));
    session->parameters_.session = Hasher().Update("scale").UpdateUint64(options.seed).Finish();
    session->encoding_.dimension = options.dimension;
    session->encoding_.scale = 1024;
    session->encoding_.modulus_bits = options.modulus_bits;
    session->parameters_.dimension = session->encoding_.padded_dimension();
    session->parameters_.modulus_bits = options.modulus_bits;
    session->expected_.assign(static_cast<size_t>(session->parameters_.dimension), 0);
    ASSIGN_OR_RETURN(session->server_, SecAggServer::Create(session->parameters_));
    return session;
  }

  absl::StatusOr<ScaleResult> Run() {
    result_.degree = parameters_.degree > 0 ? parameters_.degree : options_.devices - 1;
    result_.threshold = parameters_.threshold;
    RETURN_IF_ERROR(Advertise());
    RETURN_IF_ERROR(Share());
    RETURN_IF_ERROR(Mask());
    RETURN_IF_ERROR(AcknowledgeSurvivors());
    RETURN_IF_ERROR(Unmask());
    return result_;
  }

 private:
  explicit ScaleSession(const ScaleOptions& options)
      : options_(options), random_("protocol scale", options.seed) {}

  // Runs `work` of a client or the server, and returns its result.
  template <typename Work>
  static auto Timed(double* seconds, const Work& work) {
    const Stopwatch watch(seconds);
    return work();
  }
  template <typename Message>
  static const Message& Count(uint64_t* bytes, const Message& message) {
    *bytes += Encode(message).size();
    return message;
  }

  absl::Status Advertise() {
    ScaleStep& step = result_.steps[0];
    step.name = "advertise";
    for (int i = 0; i < options_.devices; ++i) {
      ASSIGN_OR_RETURN(auto client, SecAggClient::Create(parameters_, &random_));
      ASSIGN_OR_RETURN(const KeyAdvertisement keys,
                       Timed(&step.client_seconds, [&] { return client->AdvertiseKeys(); }));
      Count(&step.bytes_up, keys);
      ASSIGN_OR_RETURN(const uint32_t ticket, Timed(&step.server_seconds, [&] {
                         return server_->AddAdvertisement(keys);
                       }));
      tickets_.push_back(ticket);
      clients_.push_back(std::move(client));
    }
    RETURN_IF_ERROR(Timed(&step.server_seconds, [&] { return server_->CloseAdvertise(); }));
    for (const uint32_t ticket : tickets_) {
      ASSIGN_OR_RETURN(indices_.emplace_back(), server_->IndexFor(ticket));
    }
    return absl::OkStatus();
  }

  absl::Status Share() {
    ScaleStep& step = result_.steps[1];
    step.name = "share";
    for (size_t i = 0; i < clients_.size(); ++i) {
      ASSIGN_OR_RETURN(const KeyDirectory directory, Timed(&step.server_seconds, [&] {
                         return server_->DirectoryFor(tickets_[i]);
                       }));
      Count(&step.bytes_down, directory);
      ASSIGN_OR_RETURN(const ShareKeysMessage message, Timed(&step.client_seconds, [&] {
                         return clients_[i]->ShareKeys(directory);
                       }));
      Count(&step.bytes_up, message);
      RETURN_IF_ERROR(Timed(&step.server_seconds, [&] { return server_->AddShareKeys(message); }));
    }
    return Timed(&step.server_seconds, [&] { return server_->CloseShare(); });
  }

  absl::Status Mask() {
    ScaleStep& step = result_.steps[2];
    step.name = "mask";
    const size_t survivors =
        clients_.size() - static_cast<size_t>(options_.dropout * options_.devices);
    for (size_t i = 0; i < survivors; ++i) {
      ASSIGN_OR_RETURN(const EncodedDelta input, Contribution(static_cast<int>(i)));
      for (size_t e = 0; e < expected_.size(); ++e) expected_[e] += input.words()[e];
      ASSIGN_OR_RETURN(const ShareDelivery delivery, Timed(&step.server_seconds, [&] {
                         return server_->DeliveryFor(indices_[i]);
                       }));
      Count(&step.bytes_down, delivery);
      ASSIGN_OR_RETURN(const MaskedUpdate update, Timed(&step.client_seconds, [&] {
                         return clients_[i]->MaskInput(delivery, input);
                       }));
      Count(&step.bytes_up, update);
      RETURN_IF_ERROR(
          Timed(&step.server_seconds, [&] { return server_->AddMaskedUpdate(update); }));
    }
    for (size_t i = survivors; i < clients_.size(); ++i) clients_[i].reset();  // fell silent
    result_.survivors = static_cast<int>(survivors);
    return Timed(&step.server_seconds, [&] { return server_->CloseMask(); });
  }

  absl::StatusOr<EncodedDelta> Contribution(int index) {
    std::vector<float> values(static_cast<size_t>(options_.dimension));
    Rng rng(options_.seed * 1000003 + static_cast<uint64_t>(index));
    for (float& value : values) value = static_cast<float>(rng.Uniform() - 0.5);
    ASSIGN_OR_RETURN(const ClippedDelta clipped, Clip(std::move(values), encoding_.clip_norm));
    return Encode(clipped, encoding_, &random_);
  }

  absl::Status AcknowledgeSurvivors() {
    ScaleStep& step = result_.steps[3];
    step.name = "acknowledge";
    for (int i = 0; i < result_.survivors; ++i) {
      const size_t at = static_cast<size_t>(i);
      ASSIGN_OR_RETURN(const SurvivorLists lists, Timed(&step.server_seconds, [&] {
                         return server_->SurvivorsFor(indices_[at]);
                       }));
      Count(&step.bytes_down, lists);
      ASSIGN_OR_RETURN(const Acknowledgement message, Timed(&step.client_seconds, [&] {
                         return clients_[at]->Acknowledge(lists);
                       }));
      Count(&step.bytes_up, message);
      RETURN_IF_ERROR(
          Timed(&step.server_seconds, [&] { return server_->AddAcknowledgement(message); }));
    }
    return Timed(&step.server_seconds, [&] { return server_->CloseAcknowledge(); });
  }

  absl::Status Unmask() {
    ScaleStep& step = result_.steps[4];
    step.name = "unmask";
    for (int i = 0; i < result_.survivors; ++i) {
      const size_t at = static_cast<size_t>(i);
      ASSIGN_OR_RETURN(const AcknowledgementSet set, Timed(&step.server_seconds, [&] {
                         return server_->AcknowledgementsFor(indices_[at]);
                       }));
      Count(&step.bytes_down, set);
      ASSIGN_OR_RETURN(const UnmaskResponse message,
                       Timed(&step.client_seconds, [&] { return clients_[at]->Unmask(set); }));
      Count(&step.bytes_up, message);
      RETURN_IF_ERROR(
          Timed(&step.server_seconds, [&] { return server_->AddUnmaskResponse(message); }));
      clients_[at].reset();
    }
    ThreadPool pool(options_.threads);
    const absl::Time start = absl::Now();
    ASSIGN_OR_RETURN(const AggregateSum sum,
                     Timed(&step.server_seconds, [&] { return server_->Finish(&pool); }));
    result_.unmask_wall_seconds = absl::ToDoubleSeconds(absl::Now() - start);
    result_.sum_error = SumError({expected_}, sum.sum, parameters_.modulus_bits);
    return absl::OkStatus();
  }

  ScaleOptions options_;
  SeededRandom random_;
  SecAggParameters parameters_;
  EncodingParameters encoding_;
  std::unique_ptr<SecAggServer> server_;
  std::vector<std::unique_ptr<SecAggClient>> clients_;
  std::vector<uint32_t> tickets_;
  std::vector<ClientIndex> indices_;
  std::vector<uint32_t> expected_;  // sum of what was encoded; the inputs themselves are not kept
  ScaleResult result_;
};

}  // namespace

absl::StatusOr<ScaleResult> RunScale(const ScaleOptions& options) {
  ASSIGN_OR_RETURN(const auto session, ScaleSession::Create(options));
  return session->Run();
}

}  // namespace lorikeet
