// Fuzz target: the documents of common/trust, and an update made of arbitrary bytes.  The first
// byte chooses.
#include "common/base/status_macros.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/trust/trust_repository.h"

namespace lorikeet {
namespace {

// What was read is written as the same bytes.
template <typename T>
void ReadBack(const std::string& bytes, absl::StatusOr<T> (*parse)(std::string_view),
              std::string (*serialize)(const T&)) {
  const absl::StatusOr<T> document = parse(bytes);
  if (document.ok()) LORIKEET_CHECK(serialize(*document) == bytes);
}

void ReadSignedBack(const std::string& text) {
  const auto document = ParseSigned(text);
  if (document.ok()) LORIKEET_CHECK(*ParseSigned(SerializeSigned(*document)) == *document);
}

struct Genuine {
  TrustRepository repository;
  TrustState state = UpdatedState(repository);
  TrustUpdate next = repository.PublishNext();
};

// One document of a genuine update replaced: accepted only if it is the same.
void Replace(std::optional<SignedMetadata> TrustUpdate::* field, const std::string& bytes) {
  static const Genuine* const genuine = new Genuine();
  TrustUpdate update = genuine->next;
  (update.*field)->bytes = bytes;
  TrustState state = genuine->state;
  const bool same = bytes == (genuine->next.*field)->bytes;
  LORIKEET_CHECK(state.Update(update, TrustEpoch()).ok() == same);
  LORIKEET_CHECK(TrustState::Load(state.documents()).ok());
}

std::string Tagged(char tag, const std::string& bytes) { return std::string(1, tag) + bytes; }

}  // namespace

std::vector<std::string> FuzzSeeds() {
  TrustRepository repository;
  const std::string root = SerializeRoot(repository.root);
  UpdatedState(repository);
  const TrustUpdate update = repository.PublishNext();
  return {Tagged(0, root),
          Tagged(1, update.timestamp->bytes),
          Tagged(2, update.snapshot->bytes),
          Tagged(3, update.targets->bytes),
          Tagged(4, SerializeSigned(*update.timestamp)),
          Tagged(5, update.timestamp->bytes),
          Tagged(6, update.snapshot->bytes),
          Tagged(7, update.targets->bytes)};
}

}  // namespace lorikeet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lorikeet;  // NOLINT: the entry point cannot live in a namespace
  if (size == 0) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 0:
      ReadBack(bytes, ParseRoot, SerializeRoot);
      break;
    case 1:
      ReadBack(bytes, ParseTimestamp, SerializeTimestamp);
      break;
    case 2:
      ReadBack(bytes, ParseSnapshot, SerializeSnapshot);
      break;
    case 3:
      ReadBack(bytes, ParseTargets, SerializeTargets);
      break;
    case 4:
      ReadSignedBack(bytes);
      break;
    case 5:
      Replace(&TrustUpdate::timestamp, bytes);
      break;
    case 6:
      Replace(&TrustUpdate::snapshot, bytes);
      break;
    case 7:
      Replace(&TrustUpdate::targets, bytes);
      break;
    default:
      break;
  }
  return 0;
}
