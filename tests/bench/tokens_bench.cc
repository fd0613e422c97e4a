// Speed of anonymous tokens beside the group's multiplications, which bound it.
//
// An issuance is two multiplications a token (one evaluates, one weighs it in the batch's proof), a
// redemption one and a hash to the group.  All rows are measured in turns, processor time, median
// over the turns.  Run: tokens_bench [turns]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/status_macros.h"
#include "common/tokens/issuer.h"
#include "common/tokens/redeemer.h"
#include "common/tokens/token.h"

namespace lorikeet {
namespace {

constexpr uint32_t kBatch = 64;
constexpr double kIssuanceGoal = 6000, kRedemptionGoal = 8000;  // tokens per core-second

double Seconds(const std::function<void()>& work) {
  const std::clock_t start = std::clock();
  work();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

// Remembers nothing: the quota's store is not what is measured.
class FreeQuota final : public TokenQuota {
 public:
  absl::StatusOr<bool> TryCharge(const Charge&, uint32_t) override { return true; }
};

struct Row {
  const char* name;
  double multiplications;  // that cannot be avoided
  double goal;             // per second; 0: none is set
  std::function<void()> batch;
  std::vector<double> seconds = {};  // of a batch
};

double Median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<long>(values.size() / 2));
  return values[values.size() / 2];
}

void Print(const std::vector<Row>& rows) {
  const double multiplication = Median(rows[0].seconds) / kBatch;
  std::printf("batches of %u, %zu turns, processor time\n", kBatch, rows[0].seconds.size());
  std::printf("one multiplication in ristretto255: %.1f us\n\n", 1e6 * multiplication);
  std::printf("%-34s %10s %10s %12s %10s %8s\n", "", "us each", "per second", "bound/second",
              "of bound", "goal");
  for (const Row& row : rows) {
    const double each = Median(row.seconds) / kBatch;
    const double bound = multiplication * row.multiplications;
    std::printf("%-34s %10.1f %10.0f %12.0f %9.0f%%", row.name, 1e6 * each, 1 / each, 1 / bound,
                100 * bound / each);
    if (row.goal > 0) std::printf(" %8.0f", row.goal);
    std::printf("\n");
  }
}

int Run(int turns) {
  SystemRandom random;
  SystemClock clock;
  FreeQuota quota;
  const SigningKey signer = SigningKey::Generate(&random);
  const TokenSchedule schedule{.epoch_seconds = 86400, .tokens_per_epoch = kBatch};
  const SecretBytes seed = SecretBytes::Random(kVoprfSeedBytes, &random);
  auto issuer = TokenIssuer::Create({.schedule = schedule,
                                     .signer = &signer,
                                     .quota = &quota,
                                     .clock = &clock,
                                     .random = &random},
                                    seed.Clone());
  auto redeemer = TokenRedeemer::Create(schedule, seed.Clone());
  LORIKEET_CHECK(issuer.ok() && redeemer.ok());
  const uint64_t epoch = schedule.EpochAt(clock.Now()).value();
  const GroupElement key =
      VerifyTokenKeys((*issuer)->Keys().value(), signer.public_key()).value().KeyOf(epoch).value();

  const SecretScalar scalar = SecretScalar::Random(&random);
  GroupElement element = key;
  std::vector<PendingToken> pending;
  IssueRequest request{.epoch = epoch, .blinded = {}};
  BatchEvaluation evaluation;
  std::vector<Token> tokens;
  std::vector<std::array<uint8_t, kElementBytes>> wire(kBatch, key.bytes());
  std::vector<Row> rows;
  rows.push_back({"multiplication", 1, 0, [&] {
                    for (uint32_t i = 0; i < kBatch; ++i) element = element.Times(scalar);
                  }});
  rows.push_back(
      {"device: blind", 1, 0, [&] {
         pending.clear();
         request.blinded.clear();
         for (uint32_t i = 0; i < kBatch; ++i) {
           pending.push_back(
               PrepareToken(epoch, {}, SecretBytes::Random(kTokenSeedBytes, &random)).value());
           wire[i] = pending.back().blinded.element.bytes();
         }
       }});
  rows.push_back({"issuer: decode, evaluate, prove", 2, kIssuanceGoal, [&] {
                    for (const auto& bytes : wire) {
                      request.blinded.push_back(GroupElement::Decode(bytes).value());
                    }
                    evaluation = (*issuer)->Issue("device", request).value();
                  }});
  rows.push_back({"device: verify, unblind", 3, 0,
                  [&] { tokens = FinishTokens(key, pending, evaluation).value(); }});
  rows.push_back({"redeemer: check", 1, kRedemptionGoal, [&] {
                    for (const Token& token : tokens) {
                      LORIKEET_CHECK(redeemer->Check(token, epoch, {}).ok());
                    }
                  }});
  for (int turn = 0; turn <= turns; ++turn) {
    for (Row& row : rows) {
      const double seconds = Seconds(row.batch);
      if (turn > 0) row.seconds.push_back(seconds);  // the first warms up
    }
  }
  Print(rows);
  return 0;
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  const int turns = argc > 1 ? std::atoi(argv[1]) : 101;
  if (turns < 1) {
    std::fprintf(stderr, "usage: tokens_bench [turns], expected at least 1 turn, got %s\n",
                 argv[1]);
    return 2;
  }
  return lorikeet::Run(turns);
}
