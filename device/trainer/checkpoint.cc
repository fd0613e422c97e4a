#include "device/trainer/checkpoint.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/base/atomic_file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

static_assert(std::endian::native == std::endian::little, "checkpoints are written as they lie");

constexpr std::string_view kMagic = "LKTRAIN\n";
constexpr uint32_t kVersion = 2;
constexpr size_t kFingerprintBytes = 64;
constexpr size_t kChecksumBytes = sizeof(Hash256);
constexpr size_t kHeaderBytes = 8 + 4 + 4 + kFingerprintBytes + 3 * sizeof(Hash256);
constexpr size_t kStepBytes = 4 + 8 + 8 + 8;
constexpr size_t kLossBytes = 4 + 8;
constexpr char kFileName[] = "training.checkpoint";

template <typename T>
std::span<const uint8_t> BytesOf(std::span<const T> values) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()};
}

// Hashes what it writes.  After an error nothing more is written; Finish returns it.
class Writer {
 public:
  explicit Writer(AtomicFile& file) : file_(file) {}

  template <typename T>
  void Value(const T& value) {
    static_assert(std::is_arithmetic_v<T> || std::is_same_v<T, Hash256>);
    Bytes({reinterpret_cast<const char*>(&value), sizeof(T)});
  }
  void Bytes(std::string_view bytes) {
    hasher_.Update(bytes);
    if (bytes.size() >= kBuffer) {
      Flush();
      if (status_.ok()) status_ = file_.Append(bytes);
      return;
    }
    buffer_.append(bytes);
    if (buffer_.size() >= kBuffer) Flush();
  }
  void Floats(std::span<const float> values) { Bytes(AsChars(BytesOf(values))); }
  void SizedFloats(std::span<const float> values) {
    Value<uint64_t>(values.size());
    Floats(values);
  }
  // The checksum, and all to the file.
  absl::Status Finish() {
    Value(hasher_.Finish());
    Flush();
    return status_;
  }
  const absl::Status& status() const { return status_; }

 private:
  static constexpr size_t kBuffer = size_t{1} << 16;

  void Flush() {
    if (status_.ok()) status_ = file_.Append(buffer_);
    buffer_.clear();
  }

  AtomicFile& file_;
  Hasher hasher_;
  std::string buffer_;
  absl::Status status_;
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
  // Everything before is a multiple of four bytes long and mappings begin at a page.
  std::span<const float> Floats() {
    const uint64_t count = Count(sizeof(float));
    const std::string_view taken = Bytes(count * sizeof(float));
    return {reinterpret_cast<const float*>(taken.data()), taken.size() / sizeof(float)};
  }
  // A count of elements that the rest of the bytes can hold, so that nothing large is allocated in
  // vain.
  uint64_t Count(size_t element_bytes) {
    const auto count = Value<uint64_t>();
    if (count > bytes_.size() / element_bytes) ok_ = false;
    return ok_ ? count : 0;
  }
  bool ok() const { return ok_; }
  bool at_end() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

void UpdateDouble(Hasher& hasher, double value) {
  hasher.UpdateUint64(std::bit_cast<uint64_t>(value));
}

// Options that change the result, one a line.  17 digits tell any two doubles apart.
std::string OptionsText(const TrainOptions& options) {
  std::string text;
  const auto whole = [&text](const char* name, int64_t value) {
    absl::StrAppend(&text, name, "=", value, "\n");
  };
  const auto real = [&text](const char* name, double value) {
    absl::StrAppendFormat(&text, "%s=%.17g\n", name, value);
  };
  whole("max_steps", options.max_steps);
  real("epochs", options.epochs);
  whole("batch_size", options.batch_size);
  whole("accumulate", options.accumulate);
  whole("pack_rows", options.pack_rows);
  whole("precision", static_cast<int64_t>(options.precision));
  real("learning_rate", options.learning_rate);
  whole("schedule", static_cast<int64_t>(options.schedule));
  whole("warmup_steps", options.warmup_steps);
  real("weight_decay", options.weight_decay);
  real("beta1", options.beta1);
  real("beta2", options.beta2);
  real("epsilon", options.epsilon);
  real("clip_gradient_norm", options.clip_gradient_norm);
  whole("eval_every", options.eval_every);
  whole("patience", options.patience);
  whole("keep_best", options.keep_best ? 1 : 0);
  absl::StrAppend(&text, "seed=", options.seed, "\n");
  text.resize((text.size() + 3) / 4 * 4, '\n');
  return text;
}

Hash256 HashAdapter(const Adapter& adapter) {
  Hasher hasher;
  const AdapterInfo& info = adapter.info;
  for (const std::string* text :
       {&info.architecture, &info.name, &info.base_fingerprint, &info.persona_id, &info.parent}) {
    hasher.UpdateSized(AsBytes(*text));
  }
  hasher.UpdateUint64(static_cast<uint64_t>(info.kind)).UpdateUint64(info.version);
  UpdateDouble(hasher, info.alpha);
  for (const AdapterMatrix& matrix : adapter.matrices) {
    hasher.UpdateUint64(matrix.target.layer_index);
    hasher.UpdateUint64(static_cast<uint64_t>(matrix.target.module));
    for (const int size : {matrix.rank, matrix.in_features, matrix.out_features}) {
      hasher.UpdateUint64(size);
    }
    for (const std::vector<float>* values : {&matrix.a, &matrix.b, &matrix.core}) {
      hasher.UpdateSized(BytesOf(std::span<const float>(*values)));
    }
  }
  return hasher.Finish();
}

Hash256 HashData(std::span<const Sequence> train, std::span<const Sequence> eval) {
  Hasher hasher;
  for (const auto& sequences : {train, eval}) {
    hasher.UpdateUint64(sequences.size());
    for (const Sequence& sequence : sequences) {
      hasher.UpdateSized(BytesOf(std::span<const TokenId>(sequence.tokens)));
      hasher.UpdateSized(BytesOf(std::span<const float>(sequence.loss_mask)));
    }
  }
  return hasher.Finish();
}

// Names the first option that differs.
absl::Status CheckOptionsText(const std::string& found, const std::string& expected) {
  if (found == expected) return absl::OkStatus();
  const std::vector<std::string> theirs = absl::StrSplit(found, '\n', absl::SkipEmpty());
  const std::vector<std::string> ours = absl::StrSplit(expected, '\n', absl::SkipEmpty());
  for (size_t i = 0; i < std::min(theirs.size(), ours.size()); ++i) {
    if (theirs[i] == ours[i]) continue;
    return absl::FailedPreconditionError(
        absl::StrFormat("checkpoint of a run with other options: expected %s, got %s", ours[i],
                        theirs[i].substr(0, 80)));
  }
  return absl::FailedPreconditionError(
      absl::StrFormat("checkpoint of a run with other options: expected %d of them, got %d",
                      ours.size(), theirs.size()));
}

absl::Status CheckIdentity(const TrainIdentity& found, const TrainIdentity& expected) {
  if (found.base_fingerprint != expected.base_fingerprint) {
    return absl::FailedPreconditionError(
        absl::StrCat("checkpoint of another base: expected fingerprint ", expected.base_fingerprint,
                     ", got ", found.base_fingerprint));
  }
  RETURN_IF_ERROR(CheckOptionsText(found.options, expected.options));
  const auto refuse = [](const char* what, const Hash256& wanted, const Hash256& got) {
    return absl::FailedPreconditionError(
        absl::StrFormat("checkpoint of a run with another %s: expected hash %s, got %s", what,
                        ToHex(wanted), ToHex(got)));
  };
  if (found.start != expected.start) {
    return refuse("starting adapter", expected.start, found.start);
  }
  if (found.frozen != expected.frozen) {
    return refuse("list of frozen adapters", expected.frozen, found.frozen);
  }
  if (found.data != expected.data) return refuse("data set", expected.data, found.data);
  return absl::OkStatus();
}

TrainIdentity ReadIdentity(Reader& reader) {
  TrainIdentity found;
  found.base_fingerprint = std::string(reader.Bytes(kFingerprintBytes));
  for (Hash256* hash : {&found.start, &found.frozen, &found.data}) {
    *hash = reader.Value<Hash256>();
  }
  found.options = std::string(reader.Bytes(reader.Count(1)));
  return found;
}

void ReadState(Reader& reader, TrainState& state) {
  state.step = reader.Value<int32_t>();
  state.tokens = reader.Value<int64_t>();
  state.evaluations_without_improvement = reader.Value<int32_t>();
  state.best_loss = reader.Value<double>();
  for (uint64_t& word : state.sampler.epoch_start) word = reader.Value<uint64_t>();
  state.sampler.used = reader.Value<uint64_t>();
  state.steps.resize(reader.Count(kStepBytes));
  for (StepRecord& record : state.steps) {
    record.step = reader.Value<int32_t>();
    record.loss = reader.Value<double>();
    record.gradient_norm = reader.Value<double>();
    record.tokens = reader.Value<int64_t>();
  }
  state.eval_loss.resize(reader.Count(kLossBytes));
  for (LossPoint& point : state.eval_loss) {
    point.step = reader.Value<int32_t>();
    point.loss = reader.Value<double>();
  }
}

void WriteState(Writer& writer, const TrainState& state) {
  writer.Value<int32_t>(state.step);
  writer.Value<int64_t>(state.tokens);
  writer.Value<int32_t>(state.evaluations_without_improvement);
  writer.Value<double>(state.best_loss);
  for (const uint64_t word : state.sampler.epoch_start) writer.Value(word);
  writer.Value(state.sampler.used);
  writer.Value<uint64_t>(state.steps.size());
  for (const StepRecord& record : state.steps) {
    writer.Value<int32_t>(record.step);
    writer.Value<double>(record.loss);
    writer.Value<double>(record.gradient_norm);
    writer.Value<int64_t>(record.tokens);
  }
  writer.Value<uint64_t>(state.eval_loss.size());
  for (const LossPoint& point : state.eval_loss) {
    writer.Value<int32_t>(point.step);
    writer.Value<double>(point.loss);
  }
}

absl::Status ParseCheckpoint(std::string_view bytes, const TrainIdentity& expected,
                             Checkpoint& checkpoint) {
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
  RETURN_IF_ERROR(CheckIdentity(ReadIdentity(reader), expected));
  ReadState(reader, checkpoint.state);
  checkpoint.parameters = reader.Floats();
  checkpoint.first_moments = reader.Floats();
  checkpoint.second_moments = reader.Floats();
  checkpoint.best = reader.Floats();
  if (!reader.ok() || !reader.at_end()) {
    return absl::DataLossError("checkpoint malformed: lists do not fit its size");
  }
  return absl::OkStatus();
}

}  // namespace

TrainIdentity IdentifyRun(const std::string& base_fingerprint, const TrainOptions& options,
                          const Adapter& start, std::span<const AdapterRef> frozen,
                          std::span<const Sequence> train, std::span<const Sequence> eval) {
  TrainIdentity identity;
  identity.base_fingerprint = base_fingerprint;
  identity.options = OptionsText(options);
  identity.start = HashAdapter(start);
  Hasher frozen_hasher;
  for (const AdapterRef& ref : frozen) {
    frozen_hasher.Update(HashAdapter(*ref.adapter));
    UpdateDouble(frozen_hasher, ref.scale);
  }
  identity.frozen = frozen_hasher.Finish();
  identity.data = HashData(train, eval);
  return identity;
}

std::string CheckpointPath(const std::string& directory) { return directory + "/" + kFileName; }

absl::StatusOr<std::unique_ptr<FileLock>> OpenCheckpointDirectory(const std::string& directory) {
  RETURN_IF_ERROR(MakeDirs(directory));
  ASSIGN_OR_RETURN(std::unique_ptr<FileLock> lock, FileLock::Acquire(directory + "/training.lock"));
  // AtomicFile's temporary files; nobody else can be writing one now.
  const std::string leftover = absl::StrCat(kFileName, ".tmp.");
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    if (entry.path().filename().string().starts_with(leftover)) {
      std::filesystem::remove(entry.path(), error);
    }
  }
  return lock;
}

absl::Status WriteCheckpoint(const std::string& directory, const TrainIdentity& identity,
                             const TrainState& state, const TrainTensors& tensors) {
  LORIKEET_CHECK(identity.base_fingerprint.size() == kFingerprintBytes);
  ASSIGN_OR_RETURN(const std::unique_ptr<AtomicFile> file,
                   AtomicFile::Create(CheckpointPath(directory), 0600));
  Writer writer(*file);
  writer.Bytes(kMagic);
  writer.Value(kVersion);
  writer.Value(uint32_t{0});
  writer.Bytes(identity.base_fingerprint);
  for (const Hash256& hash : {identity.start, identity.frozen, identity.data}) writer.Value(hash);
  writer.Value<uint64_t>(identity.options.size());
  writer.Bytes(identity.options);
  WriteState(writer, state);
  uint64_t count = 0;
  for (const auto& values : tensors.parameters) count += values.size();
  writer.Value(count);
  for (const auto& values : tensors.parameters) writer.Floats(values);
  writer.SizedFloats(tensors.first_moments);
  writer.SizedFloats(tensors.second_moments);
  const bool has_best = tensors.best != nullptr && tensors.best->filled();
  writer.Value<uint64_t>(has_best ? tensors.best->count() : 0);
  if (has_best) {
    RETURN_IF_ERROR(tensors.best->ForEachPiece([&writer](std::span<const float> piece) {
      writer.Floats(piece);
      return writer.status();
    }));
  }
  RETURN_IF_ERROR(writer.Finish());
  return file->Commit();
}

absl::StatusOr<std::optional<Checkpoint>> ReadCheckpoint(const std::string& directory,
                                                         const TrainIdentity& expected) {
  const std::string path = CheckpointPath(directory);
  if (!FileExists(path)) return std::optional<Checkpoint>();
  std::optional<Checkpoint> checkpoint(std::in_place);
  ASSIGN_OR_RETURN(checkpoint->file, MappedFile::Open(path));
  RETURN_IF_ERROR(
      Annotate(ParseCheckpoint(AsChars(checkpoint->file->bytes()), expected, *checkpoint), path));
  return checkpoint;
}

}  // namespace lorikeet
