// A server that tells clients different dropout lists cannot isolate anyone: by maximum flow for
// the chosen (k, t, p), and played against real clients.
#include "common/secagg/parameters.h"
#include "gtest/gtest.h"
#include "tests/unit/secagg/isolation.h"
#include "tests/unit/secagg/lying_server.h"

namespace lorikeet {
namespace {

// A random graph of a session, with floor(fraction n) corrupt clients at random.
IsolationProblem RandomProblem(uint32_t clients, const GraphParameters& graph, int acknowledgements,
                               double corrupt_fraction, uint64_t seed) {
  IsolationProblem problem;
  const Hash256 root = Hasher().Update("isolation").UpdateUint64(seed).Finish();
  problem.neighbours = NeighbourLists(SessionGraph({}, root, clients, graph.degree), clients);
  problem.corrupt.assign(clients, false);
  Rng rng(seed);
  for (int i = 0; i < static_cast<int>(corrupt_fraction * clients);) {
    const uint64_t client = rng.Below(clients);
    i += problem.corrupt[client] ? 0 : 1;
    problem.corrupt[client] = true;
  }
  problem.threshold = graph.threshold;
  problem.acknowledgements = acknowledgements;
  return problem;
}

// Honest clients next to each other in the ring: `first` and those that share most neighbours.
std::vector<ClientIndex> Segment(const IsolationProblem& problem, ClientIndex first, size_t size) {
  std::vector<ClientIndex> segment = {first};
  std::set<ClientIndex> inside = {first};
  while (segment.size() < size) {
    ClientIndex best = 0;
    int most = -1;
    for (const ClientIndex other : problem.neighbours[segment.back()]) {
      if (inside.contains(other)) continue;
      int common = 0;
      for (const ClientIndex third : problem.neighbours[other]) common += inside.contains(third);
      if (common > most) {
        most = common;
        best = other;
      }
    }
    segment.push_back(best);
    inside.insert(best);
  }
  std::erase_if(segment, [&](ClientIndex client) { return problem.corrupt[client]; });
  return segment;
}

struct Setting {
  uint32_t clients;
  double corrupt, dropout;
};

class IsolationTest : public testing::TestWithParam<Setting> {
 protected:
  GraphParameters Graph(bool semi_malicious) const {
    const Setting& s = GetParam();
    return ChooseGraph({.clients = s.clients,
                        .corrupt_fraction = s.corrupt,
                        .dropout_fraction = s.dropout,
                        .semi_malicious = semi_malicious})
        .value();
  }
  // How many of some targets, single clients and segments, have a plan.
  int Plans(const GraphParameters& graph, int acknowledgements, int* tried) const {
    int plans = 0;
    *tried = 0;
    for (uint64_t seed = 1; seed <= 2; ++seed) {
      const IsolationProblem problem =
          RandomProblem(GetParam().clients, graph, acknowledgements, GetParam().corrupt, seed);
      for (ClientIndex client = 0; client < 8; ++client) {
        if (problem.corrupt[client]) continue;
        for (const size_t size : {size_t{1}, static_cast<size_t>(graph.degree)}) {
          ++*tried;
          plans += PlanIsolation(problem, Segment(problem, client, size)).has_value() ? 1 : 0;
        }
      }
    }
    return plans;
  }
};

TEST_P(IsolationTest, InfeasibleForTheChosenParameters) {
  const GraphParameters graph = Graph(true);
  int tried = 0;
  EXPECT_EQ(Plans(graph, graph.threshold, &tried), 0);
  EXPECT_GT(tried, 20);
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const IsolationProblem problem =
        RandomProblem(GetParam().clients, graph, graph.threshold, GetParam().corrupt, seed);
    for (ClientIndex client = 0; client < GetParam().clients; ++client)
      EXPECT_FALSE(BothSharesCollectable(problem, client));
  }
}

// The same server, against the parameters for one that follows the protocol and without
// acknowledgements: it isolates whomever it likes.
TEST_P(IsolationTest, FeasibleForSemiHonestParametersWithoutAcknowledgements) {
  int tried = 0;
  EXPECT_EQ(Plans(Graph(false), 0, &tried), tried);
}

// The acknowledgements are what stops it, but not with every threshold.
TEST_P(IsolationTest, SemiHonestThresholdsAreTooLowEvenWithAcknowledgements) {
  const GraphParameters graph = Graph(false);
  int exposed = 0;
  const IsolationProblem problem =
      RandomProblem(GetParam().clients, graph, graph.threshold, GetParam().corrupt, 1);
  for (ClientIndex client = 0; client < GetParam().clients; ++client)
    exposed += BothSharesCollectable(problem, client) ? 1 : 0;
  EXPECT_GT(exposed, 0);
}

// 5. More corrupt clients than the parameters were chosen for: outside what is promised.
TEST_P(IsolationTest, ManyMoreCorruptClientsThanAllowedBreakIt) {
  const GraphParameters graph = Graph(true);
  const IsolationProblem problem =
      RandomProblem(GetParam().clients, graph, graph.threshold, 0.6, 1);
  int exposed = 0;
  for (ClientIndex client = 0; client < GetParam().clients; ++client)
    exposed += BothSharesCollectable(problem, client) ? 1 : 0;
  EXPECT_GT(exposed, 0);
}

INSTANTIATE_TEST_SUITE_P(Settings, IsolationTest,
                         testing::Values(Setting{100, .05, .1}, Setting{1000, .05, .1},
                                         Setting{1000, .1, .1}, Setting{1000, .1, .2}));

// Attack 1 with real clients, as strong as the flow can plan it.
class EquivocationTest : public testing::TestWithParam<size_t> {
 protected:
  static constexpr int kClients = 60;
  const SecAggParameters parameters_ = {.session = SessionNamed("equivocation"),
                                        .cohort_min = 30,
                                        .cohort_max = kClients,
                                        .degree = 16,
                                        .threshold = 9,
                                        .dimension = 8,
                                        .modulus_bits = 20};
  IsolationProblem ProblemOf(const LyingServer& server) const {
    return {.neighbours = server.neighbours(),
            .corrupt = std::vector<bool>(kClients, false),
            .threshold = parameters_.threshold,
            .acknowledgements = 0};
  }
};

TEST_P(EquivocationTest, EndsWithNothingRevealed) {
  LyingServer server(parameters_, kClients);
  IsolationProblem problem = ProblemOf(server);
  const std::vector<ClientIndex> targets = Segment(problem, 5, GetParam());
  const auto told = PlanIsolation(problem, targets);
  ASSERT_TRUE(told.has_value()) << "the plan ignores acknowledgements and must exist";
  server.Play(*told, kClients);
  // Every client was told something it could believe and signed it; without the statements of the
  // others all of them would have answered, and the targets been laid bare.
  EXPECT_EQ(server.signers(), kClients);
  EXPECT_TRUE(server.IsolatedWithoutAcknowledgements(targets));
  EXPECT_FALSE(server.Isolated(targets));
  EXPECT_FALSE(server.AnyClientExposed());
  EXPECT_LT(server.answers(), kClients);
  problem.acknowledgements = parameters_.threshold;
  EXPECT_FALSE(PlanIsolation(problem, targets).has_value());
}
INSTANTIATE_TEST_SUITE_P(TargetAndSegments, EquivocationTest, testing::Values(1, 2, 8, 16));

// The other way to a segment: the same lie to everybody, two gaps in the ring.  Clients at a gap
// have too few neighbours left.
TEST(ConsistentGapTest, ClientsAtTheGapRefuse) {
  SecAggParameters parameters = {.session = SessionNamed("gap"),
                                 .cohort_min = 20,
                                 .cohort_max = 60,
                                 .degree = 16,
                                 .threshold = 9,
                                 .dimension = 8,
                                 .modulus_bits = 20};
  LyingServer server(parameters, 60);
  IsolationProblem problem{.neighbours = server.neighbours(),
                           .corrupt = std::vector<bool>(60, false),
                           .threshold = 9,
                           .acknowledgements = 9};
  const std::vector<ClientIndex> segment = Segment(problem, 5, 16);
  std::set<ClientIndex> gap;
  for (const ClientIndex client : segment) {
    for (const ClientIndex other : server.neighbours()[client]) gap.insert(other);
  }
  for (const ClientIndex client : segment) gap.erase(client);
  EXPECT_EQ(gap.size(), 16u);
  server.Play(std::vector<std::set<ClientIndex>>(60, gap), 44);
  EXPECT_LT(server.signers(), 60);
  EXPECT_FALSE(server.Isolated(segment));
  EXPECT_FALSE(server.AnyClientExposed());
}

}  // namespace
}  // namespace lorikeet
