#include "device/trainer/checkpoint.h"

#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/adapter/gguf_io.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

static_assert(std::endian::native == std::endian::little, "checkpoints are written as they lie");

constexpr std::string_view kMagic = "LKTRAIN\n";
constexpr uint32_t kVersion = 1;
constexpr size_t kFingerprintBytes = 64;
constexpr size_t kChecksumBytes = sizeof(Hash256);
constexpr size_t kHeaderBytes = 8 + 4 + 4 + kFingerprintBytes + 4 * sizeof(Hash256);

template <typename T>
std::span<const uint8_t> BytesOf(const std::vector<T>& values) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(T)};
}

class Writer {
 public:
  template <typename T>
  void Value(const T& value) {
    static_assert(std::is_arithmetic_v<T> || std::is_same_v<T, Hash256>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  void Bytes(std::string_view bytes) { bytes_.append(bytes); }
  void Floats(const std::vector<float>& values) {
    Value<uint64_t>(values.size());
    Bytes(AsChars(BytesOf(values)));
  }
  void Losses(const std::vector<LossPoint>& points) {
    Value<uint64_t>(points.size());
    for (const LossPoint& point : points) {
      Value<int32_t>(point.step);
      Value<double>(point.loss);
    }
  }
  std::string Take() { return std::move(bytes_); }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// Reads past the end give zeros and clear ok().
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  T Value() {
    T value{};
    const std::string_view taken = Bytes(sizeof(T));
    if (!taken.empty()) std::memcpy(&value, taken.data(), sizeof(T));
    return value;
  }
  std::string_view Bytes(uint64_t count) {
    if (!ok_ || count > bytes_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }
  std::vector<float> Floats() {
    const uint64_t count = Count(sizeof(float));
    std::vector<float> values(count);
    const std::string_view taken = Bytes(count * sizeof(float));
    if (!taken.empty()) std::memcpy(values.data(), taken.data(), taken.size());
    return values;
  }
  std::vector<LossPoint> Losses() {
    std::vector<LossPoint> points(Count(sizeof(int32_t) + sizeof(double)));
    for (LossPoint& point : points) {
      point.step = Value<int32_t>();
      point.loss = Value<double>();
    }
    return points;
  }
  bool ok() const { return ok_; }
  bool at_end() const { return bytes_.empty(); }

 private:
  // A count of elements that the rest of the bytes can hold, so that nothing large is allocated in
  // vain.
  uint64_t Count(size_t element_bytes) {
    const auto count = Value<uint64_t>();
    if (count > bytes_.size() / element_bytes) ok_ = false;
    return ok_ ? count : 0;
  }

  std::string_view bytes_;
  bool ok_ = true;
};

void UpdateDouble(Hasher& hasher, double value) {
  hasher.UpdateUint64(std::bit_cast<uint64_t>(value));
}

Hash256 HashOptions(const TrainOptions& options) {
  Hasher hasher;
  hasher.UpdateUint64(options.max_steps);
  hasher.UpdateUint64(options.batch_size);
  hasher.UpdateUint64(options.pack_rows);
  hasher.UpdateUint64(static_cast<uint64_t>(options.schedule));
  hasher.UpdateUint64(options.warmup_steps);
  hasher.UpdateUint64(options.eval_every);
  hasher.UpdateUint64(options.patience);
  hasher.UpdateUint64(options.keep_best ? 1 : 0);
  hasher.UpdateUint64(options.seed);
  for (const double value :
       {options.epochs, options.learning_rate, options.weight_decay, options.beta1, options.beta2,
        options.epsilon, options.clip_gradient_norm}) {
    UpdateDouble(hasher, value);
  }
  return hasher.Finish();
}

Hash256 HashData(std::span<const Sequence> train, std::span<const Sequence> eval) {
  Hasher hasher;
  for (const auto& sequences : {train, eval}) {
    hasher.UpdateUint64(sequences.size());
    for (const Sequence& sequence : sequences) {
      hasher.UpdateSized(BytesOf(sequence.tokens));
      hasher.UpdateSized(BytesOf(sequence.loss_mask));
    }
  }
  return hasher.Finish();
}

absl::Status CheckIdentity(const TrainIdentity& found, const TrainIdentity& expected) {
  if (found.base_fingerprint != expected.base_fingerprint) {
    return absl::FailedPreconditionError(
        absl::StrCat("checkpoint of another base: expected fingerprint ", expected.base_fingerprint,
                     ", got ", found.base_fingerprint));
  }
  const auto refuse = [](const char* what, const Hash256& wanted, const Hash256& got) {
    return absl::FailedPreconditionError(
        absl::StrFormat("checkpoint of a run with another %s: expected hash %s, got %s", what,
                        ToHex(wanted), ToHex(got)));
  };
  if (found.options != expected.options) {
    return refuse("set of options", expected.options, found.options);
  }
  if (found.start != expected.start) {
    return refuse("starting adapter", expected.start, found.start);
  }
  if (found.frozen != expected.frozen) {
    return refuse("list of frozen adapters", expected.frozen, found.frozen);
  }
  if (found.data != expected.data) return refuse("data set", expected.data, found.data);
  return absl::OkStatus();
}

}  // namespace

TrainIdentity IdentifyRun(const std::string& base_fingerprint, const TrainOptions& options,
                          const Adapter& start, std::span<const AdapterRef> frozen,
                          std::span<const Sequence> train, std::span<const Sequence> eval) {
  TrainIdentity identity;
  identity.base_fingerprint = base_fingerprint;
  identity.options = HashOptions(options);
  identity.start = Blake2b(AsBytes(SerializeAdapter(start)));
  Hasher frozen_hasher;
  for (const AdapterRef& ref : frozen) {
    frozen_hasher.UpdateSized(AsBytes(SerializeAdapter(*ref.adapter)));
    UpdateDouble(frozen_hasher, ref.scale);
  }
  identity.frozen = frozen_hasher.Finish();
  identity.data = HashData(train, eval);
  return identity;
}

std::string CheckpointPath(const std::string& directory) {
  return directory + "/training.checkpoint";
}

std::string SerializeCheckpoint(const TrainIdentity& identity, const TrainState& state) {
  LORIKEET_CHECK(identity.base_fingerprint.size() == kFingerprintBytes);
  Writer writer;
  writer.Bytes(kMagic);
  writer.Value(kVersion);
  writer.Value(uint32_t{0});
  writer.Bytes(identity.base_fingerprint);
  for (const Hash256& hash : {identity.options, identity.start, identity.frozen, identity.data}) {
    writer.Value(hash);
  }
  LORIKEET_CHECK(writer.bytes().size() == kHeaderBytes);
  writer.Value<int32_t>(state.step);
  writer.Value<int64_t>(state.tokens);
  writer.Value<int32_t>(state.evaluations_without_improvement);
  writer.Value<double>(state.best_loss);
  for (const uint64_t word : state.sampler.epoch_start) writer.Value(word);
  writer.Value(state.sampler.used);
  writer.Losses(state.train_loss);
  writer.Losses(state.eval_loss);
  writer.Floats(state.parameters);
  writer.Floats(state.first_moments);
  writer.Floats(state.second_moments);
  writer.Floats(state.best_parameters);
  writer.Value(Blake2b(AsBytes(writer.bytes())));
  return writer.Take();
}

absl::StatusOr<TrainState> ParseCheckpoint(std::string_view bytes, const TrainIdentity& expected) {
  if (!bytes.starts_with(kMagic)) {
    return absl::InvalidArgumentError("expected a training checkpoint, got another kind of file");
  }
  Reader reader(bytes);
  reader.Bytes(kMagic.size());
  const auto version = reader.Value<uint32_t>();
  if (reader.ok() && version != kVersion) {
    return absl::FailedPreconditionError(
        absl::StrFormat("checkpoint of another version: expected %d, got %d", kVersion, version));
  }
  if (bytes.size() < kHeaderBytes + kChecksumBytes) {
    return absl::DataLossError(absl::StrFormat("checkpoint truncated to %d bytes", bytes.size()));
  }
  const std::string_view content = bytes.substr(0, bytes.size() - kChecksumBytes);
  const Hash256 checksum = Blake2b(AsBytes(content));
  if (std::memcmp(checksum.data(), bytes.data() + content.size(), kChecksumBytes) != 0) {
    return absl::DataLossError("checkpoint damaged or truncated: its checksum does not match");
  }
  reader = Reader(content);
  reader.Bytes(kMagic.size() + 2 * sizeof(uint32_t));
  TrainIdentity found;
  found.base_fingerprint = std::string(reader.Bytes(kFingerprintBytes));
  for (Hash256* hash : {&found.options, &found.start, &found.frozen, &found.data}) {
    *hash = reader.Value<Hash256>();
  }
  RETURN_IF_ERROR(CheckIdentity(found, expected));
  TrainState state;
  state.step = reader.Value<int32_t>();
  state.tokens = reader.Value<int64_t>();
  state.evaluations_without_improvement = reader.Value<int32_t>();
  state.best_loss = reader.Value<double>();
  for (uint64_t& word : state.sampler.epoch_start) word = reader.Value<uint64_t>();
  state.sampler.used = reader.Value<uint64_t>();
  state.train_loss = reader.Losses();
  state.eval_loss = reader.Losses();
  state.parameters = reader.Floats();
  state.first_moments = reader.Floats();
  state.second_moments = reader.Floats();
  state.best_parameters = reader.Floats();
  if (!reader.ok() || !reader.at_end()) {
    return absl::DataLossError("checkpoint malformed: lists do not fit its size");
  }
  return state;
}

absl::Status WriteCheckpoint(const std::string& directory, const TrainIdentity& identity,
                             const TrainState& state) {
  RETURN_IF_ERROR(MakeDirs(directory));
  return WriteFileAtomic(CheckpointPath(directory), SerializeCheckpoint(identity, state), 0600);
}

absl::StatusOr<std::optional<TrainState>> ReadCheckpoint(const std::string& directory,
                                                         const TrainIdentity& expected) {
  const std::string path = CheckpointPath(directory);
  if (!FileExists(path)) return std::optional<TrainState>();
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  absl::StatusOr<TrainState> state = ParseCheckpoint(bytes, expected);
  if (!state.ok()) return Annotate(state.status(), path);
  return std::optional<TrainState>(std::move(*state));
}

}  // namespace lorikeet
