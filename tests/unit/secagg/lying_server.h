// Honest clients at the mercy of a server that lies: it follows the protocol up to a step and then
// tells everybody what it likes, forwards the statements that suit it, and counts its loot.
#ifndef LORIKEET_TESTS_UNIT_SECAGG_LYING_SERVER_H_
#define LORIKEET_TESTS_UNIT_SECAGG_LYING_SERVER_H_

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "common/secagg/client.h"
#include "common/secagg/server.h"
#include "tests/unit/secagg/session_fixture.h"

namespace lorikeet {

class LyingServer {
 public:
  // `count` clients that have advertised, shared and sent masked inputs, all of them.
  LyingServer(const SecAggParameters& parameters, int count, uint64_t seed = 1);

  SecAggClient& client(ClientIndex index) { return *clients_[index]; }
  SecAggServer& honest() { return *server_; }
  const std::vector<std::vector<ClientIndex>>& neighbours() const { return neighbours_; }
  const MaskedUpdate& update(ClientIndex index) const { return updates_[index]; }
  const EncodedDelta& input(ClientIndex index) const { return inputs_[index]; }

  // The lists for a client that is to believe that these dropped out.
  SurvivorLists ListsFor(ClientIndex client, const std::set<ClientIndex>& dropped,
                         uint32_t survivor_count) const;

  // R3 and R4 with every client told its own set.  Each gets as many statements as it can be given
  // without noticing a lie.
  void Play(const std::vector<std::set<ClientIndex>>& told, uint32_t survivor_count);
  int signers() const;                      // clients that signed their lists
  int answers() const { return answers_; }  // clients that revealed shares
  bool SignedBy(ClientIndex client) const { return statements_[client].has_value(); }

  // Whether the server has enough shares for the sum over `targets` alone ...
  bool Isolated(const std::vector<ClientIndex>& targets) const {
    return Isolated(targets, seed_shares_, key_shares_);
  }
  // ... and whether it would have them if everybody who signed had answered.
  bool IsolatedWithoutAcknowledgements(const std::vector<ClientIndex>& targets) const;
  // Whether both secrets of some client can be recovered.
  bool AnyClientExposed() const;

 private:
  using Counts = std::map<ClientIndex, int>;
  bool Isolated(const std::vector<ClientIndex>& targets, const Counts& seeds,
                const Counts& keys) const;
  AcknowledgementSet StatementsFor(ClientIndex client) const;

  SecAggParameters parameters_;
  std::vector<std::unique_ptr<SeededRandom>> randoms_;
  std::unique_ptr<SecAggServer> server_;
  std::vector<std::unique_ptr<SecAggClient>> clients_;  // by index
  std::vector<std::vector<ClientIndex>> neighbours_;
  std::vector<EncodedDelta> inputs_;
  std::vector<MaskedUpdate> updates_;
  std::vector<std::optional<Acknowledgement>> statements_;
  Counts seed_shares_, key_shares_;
  int answers_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_UNIT_SECAGG_LYING_SERVER_H_
