#include "common/dp/matrix_noise.h"

#include <sodium.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>

#include "absl/strings/str_format.h"
#include "common/base/hash.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

constexpr int64_t kMostSteps = 100000;
constexpr int64_t kMostDimension = int64_t{1} << 28;
constexpr int64_t kMostBandedWork = int64_t{1} << 22;
constexpr uint64_t kStateFormat = 1;
constexpr size_t kStateWords = 8;  // of 64 bits, before the seed

absl::Status Require(bool holds, const char* field, const char* expected, int64_t got) {
  if (holds) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("matrix noise: %s: expected %s, got %d", field, expected, got));
}

// In (0, 1].
double Uniform(RandomSource* random) {
  return static_cast<double>((random->Uint64() >> 11) + 1) * 0x1p-53;
}

void AppendWord(uint64_t word, std::string* bytes) {
  for (int shift = 0; shift < 64; shift += 8)
    bytes->push_back(static_cast<char>(word >> shift & 0xff));
}

uint64_t WordAt(std::string_view bytes, size_t index) {
  uint64_t word = 0;
  for (size_t i = 0; i < 8; ++i)
    word |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[8 * index + i])) << (8 * i);
  return word;
}

}  // namespace

absl::Status ValidateMatrixShape(const MatrixShape& s) {
  RETURN_IF_ERROR(Require(s.steps >= 1 && s.steps <= kMostSteps, "steps", "1 to 100000", s.steps));
  RETURN_IF_ERROR(Require(s.separation >= 1 && s.separation <= s.steps, "separation",
                          "1 to the steps", s.separation));
  const int64_t fit = (s.steps + s.separation - 1) / s.separation;
  RETURN_IF_ERROR(Require(s.participations >= 0 && s.participations <= fit, "participations",
                          "no more than fit between the separations", s.participations));
  return Require(s.bands >= 0 && s.bands <= s.steps, "bands", "0 to the steps", s.bands);
}

int64_t ParticipationsOf(const MatrixShape& shape) {
  return shape.participations > 0 ? shape.participations
                                  : (shape.steps + shape.separation - 1) / shape.separation;
}

std::vector<double> MatrixCoefficients(const MatrixShape& shape) {
  std::vector<double> c(shape.steps, 0.0);
  const int64_t bands = shape.bands > 0 ? shape.bands : shape.steps;
  c[0] = 1;
  for (int64_t i = 1; i < bands; ++i)
    c[i] = c[i - 1] * static_cast<double>(2 * i - 1) / static_cast<double>(2 * i);
  return c;
}

std::vector<double> InverseCoefficients(const MatrixShape& shape) {
  std::vector<double> inverse(shape.steps, 0.0);
  inverse[0] = 1;
  if (shape.bands == 0 || shape.bands == shape.steps) {  // the series of sqrt(1 - x)
    for (int64_t i = 1; i < shape.steps; ++i)
      inverse[i] = inverse[i - 1] * static_cast<double>(2 * i - 3) / static_cast<double>(2 * i);
    return inverse;
  }
  const std::vector<double> c = MatrixCoefficients(shape);
  for (int64_t i = 1; i < shape.steps; ++i) {
    double sum = 0;
    for (int64_t j = 1; j <= std::min(i, shape.bands - 1); ++j) sum += c[j] * inverse[i - j];
    inverse[i] = -sum;
  }
  return inverse;
}

double MatrixSensitivity(const MatrixShape& shape) {
  const std::vector<double> c = MatrixCoefficients(shape);
  // The sum of k columns, each the one before moved by b: one comes in every b, the one k b back
  // goes out.
  const int64_t reach = ParticipationsOf(shape) * shape.separation;
  std::vector<double> column = c;
  for (int64_t i = shape.separation; i < shape.steps; ++i) {
    column[i] += column[i - shape.separation] - (i >= reach ? c[i - reach] : 0);
  }
  double squares = 0;
  for (const double value : column) squares += value * value;
  return std::sqrt(squares);
}

PrefixError PrefixErrorOf(const MatrixShape& shape) {
  const std::vector<double> inverse = InverseCoefficients(shape);
  double weight = 0, row = 0, sum = 0;
  for (const double value : inverse) {
    weight += value;         // a coefficient of A C^-1
    row += weight * weight;  // squared norm of its row
    sum += row;
  }
  const double n = static_cast<double>(shape.steps);
  return {.correlated = MatrixSensitivity(shape) * std::sqrt(sum / n),
          .independent = std::sqrt(static_cast<double>(ParticipationsOf(shape)) * (n + 1) / 2)};
}

int64_t BestBands(const MatrixShape& shape) {
  MatrixShape tried = shape;
  tried.bands = 0;
  int64_t best = 0;
  double least = PrefixErrorOf(tried).correlated;
  const int64_t most = std::min(shape.steps, kMostBandedWork / shape.steps);
  const auto attempt = [&](int64_t bands) {
    if (bands > most) return;
    tried.bands = bands;
    const double error = PrefixErrorOf(tried).correlated;
    if (error >= least) return;
    least = error;
    best = bands;
  };
  for (int64_t bands = 1; bands <= most; bands *= 2) attempt(bands);
  attempt(shape.separation);
  return best;
}

double StepDeviation(const MatrixShape& shape, int64_t step) {
  const std::vector<double> inverse = InverseCoefficients(shape);
  double squares = 0;
  for (int64_t i = 0; i <= step; ++i) squares += inverse[i] * inverse[i];
  return std::sqrt(squares);
}

absl::StatusOr<CorrelatedNoise> CorrelatedNoise::Create(const Options& options) {
  RETURN_IF_ERROR(ValidateMatrixShape(options.shape));
  RETURN_IF_ERROR(Require(options.dimension >= 1 && options.dimension <= kMostDimension,
                          "dimension", "1 to 2^28", options.dimension));
  if (!(options.deviation > 0 && std::isfinite(options.deviation))) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "matrix noise: deviation: expected a positive number, got %g", options.deviation));
  }
  CorrelatedNoise noise;
  noise.options_ = options;
  noise.inverse_ = InverseCoefficients(options.shape);
  return noise;
}

CorrelatedNoise::~CorrelatedNoise() { sodium_memzero(options_.seed.data(), options_.seed.size()); }

// sum += weight x z_step, by Box and Muller.
void CorrelatedNoise::AddIndependent(int64_t step, double weight, std::span<double> sum) const {
  Hash256 seed = Hasher().Update(options_.seed).UpdateUint64(static_cast<uint64_t>(step)).Finish();
  SeededRandom random(seed);
  sodium_memzero(seed.data(), seed.size());
  for (size_t i = 0; i < sum.size(); i += 2) {
    const double radius = weight * options_.deviation * std::sqrt(-2 * std::log(Uniform(&random)));
    const double angle = 2 * std::numbers::pi * Uniform(&random);
    sum[i] += radius * std::cos(angle);
    if (i + 1 < sum.size()) sum[i + 1] += radius * std::sin(angle);
  }
}

absl::Status CorrelatedNoise::Skip() {
  if (step_ >= options_.shape.steps) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "matrix noise: expected at most %d rounds, all are used up", options_.shape.steps));
  }
  ++step_;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<double>> CorrelatedNoise::Next() {
  RETURN_IF_ERROR(Skip());
  std::vector<double> sum(options_.dimension, 0.0);
  for (int64_t step = 0; step < step_; ++step)
    AddIndependent(step, inverse_[step_ - 1 - step], sum);
  return sum;
}

std::string CorrelatedNoise::Serialize() const {
  const MatrixShape& s = options_.shape;
  std::string bytes;
  for (const uint64_t word :
       {kStateFormat, static_cast<uint64_t>(s.steps), static_cast<uint64_t>(s.separation),
        static_cast<uint64_t>(s.participations), static_cast<uint64_t>(s.bands),
        static_cast<uint64_t>(options_.dimension), static_cast<uint64_t>(step_),
        std::bit_cast<uint64_t>(options_.deviation)}) {
    AppendWord(word, &bytes);
  }
  if (step_ == s.steps) {
    bytes.append(options_.seed.size(), '\0');
  } else {
    bytes.append(reinterpret_cast<const char*>(options_.seed.data()), options_.seed.size());
  }
  return bytes;
}

absl::StatusOr<CorrelatedNoise> CorrelatedNoise::Restore(std::string_view bytes) {
  Options options;
  if (bytes.size() != 8 * kStateWords + options.seed.size() || WordAt(bytes, 0) != kStateFormat) {
    return absl::DataLossError(
        absl::StrFormat("matrix noise: expected a state of %d bytes in format %d, got %d bytes",
                        8 * kStateWords + options.seed.size(), kStateFormat, bytes.size()));
  }
  options.shape = {.steps = static_cast<int64_t>(WordAt(bytes, 1)),
                   .separation = static_cast<int64_t>(WordAt(bytes, 2)),
                   .participations = static_cast<int64_t>(WordAt(bytes, 3)),
                   .bands = static_cast<int64_t>(WordAt(bytes, 4))};
  options.dimension = static_cast<int64_t>(WordAt(bytes, 5));
  options.deviation = std::bit_cast<double>(WordAt(bytes, 7));
  std::memcpy(options.seed.data(), bytes.data() + 8 * kStateWords, options.seed.size());
  absl::StatusOr<CorrelatedNoise> noise = Create(options);
  const int64_t step = static_cast<int64_t>(WordAt(bytes, 6));
  if (!noise.ok() || step < 0 || step > options.shape.steps) {
    return absl::DataLossError("matrix noise: expected a state as it was stored, got another");
  }
  noise->step_ = step;
  return noise;
}

}  // namespace lorikeet
