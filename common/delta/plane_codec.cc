#include "common/delta/plane_codec.h"

#include <zstd.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

constexpr uint8_t kZeros = 0;
constexpr uint8_t kDense = 1;
constexpr uint8_t kSparse = 2;
constexpr uint8_t kLongGap = 255;

// Changes hardly repeat: what zstd adds is its entropy coder, which every level has.  Heads of
// files (texts) repeat, and are small.
constexpr int kChangeLevel = 1;
constexpr int kTextLevel = 9;

void Check(size_t zstd_result) { LORIKEET_CHECK(ZSTD_isError(zstd_result) == 0); }

// The gaps before the bytes that are not zero, and those bytes.
void SplitSparse(std::span<const uint8_t> plane, std::vector<uint8_t>* gaps,
                 std::vector<uint8_t>* values) {
  gaps->clear();
  values->clear();
  size_t gap = 0;
  for (const uint8_t byte : plane) {
    if (byte == 0) {
      ++gap;
      continue;
    }
    for (; gap >= kLongGap; gap -= kLongGap) gaps->push_back(kLongGap);
    gaps->push_back(static_cast<uint8_t>(gap));
    values->push_back(byte);
    gap = 0;
  }
}

}  // namespace

struct PlanePacker::Zstd {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ~Zstd() { ZSTD_freeCCtx(context); }
};

PlanePacker::PlanePacker() : zstd_(std::make_unique<Zstd>()) {
  LORIKEET_CHECK(zstd_->context != nullptr);
}
PlanePacker::~PlanePacker() = default;

void PlanePacker::PackBytes(std::span<const uint8_t> bytes, std::string* out) {
  std::string frame(ZSTD_compressBound(bytes.size()), '\0');
  const size_t length =
      ZSTD_compress2(zstd_->context, frame.data(), frame.size(), bytes.data(), bytes.size());
  Check(length);
  AppendVarint(length, out);
  out->append(frame, 0, length);
}

void PlanePacker::PackAfter(std::span<const uint8_t> prefix, std::span<const uint8_t> bytes,
                            std::string* out) {
  Check(ZSTD_CCtx_reset(zstd_->context, ZSTD_reset_session_and_parameters));
  Check(ZSTD_CCtx_setParameter(zstd_->context, ZSTD_c_compressionLevel, kTextLevel));
  if (!prefix.empty()) {
    // Reaches back over the whole prefix.
    const int window_log =
        std::max(static_cast<int>(std::bit_width(prefix.size() + bytes.size())), 10);
    Check(ZSTD_CCtx_setParameter(zstd_->context, ZSTD_c_windowLog, window_log));
    Check(ZSTD_CCtx_refPrefix(zstd_->context, prefix.data(), prefix.size()));
  }
  PackBytes(bytes, out);
}

void PlanePacker::PackSparse(std::span<const uint8_t> plane, std::string* out) {
  SplitSparse(plane, &gaps_, &values_);
  out->push_back(kSparse);
  AppendVarint(values_.size(), out);
  AppendVarint(gaps_.size(), out);
  PackBytes(gaps_, out);
  PackBytes(values_, out);
}

void PlanePacker::Pack(std::span<const uint8_t> plane, std::string* out) {
  const size_t zeros = static_cast<size_t>(std::ranges::count(plane, 0));
  if (zeros == plane.size()) {
    out->push_back(kZeros);
    return;
  }
  Check(ZSTD_CCtx_reset(zstd_->context, ZSTD_reset_session_and_parameters));
  Check(ZSTD_CCtx_setParameter(zstd_->context, ZSTD_c_compressionLevel, kChangeLevel));
  const size_t before = out->size();
  out->push_back(kDense);
  PackBytes(plane, out);
  // With fewer zeros than this a bit a byte is no loss.
  if (zeros < plane.size() / 4) return;
  sparse_.clear();
  PackSparse(plane, &sparse_);
  if (sparse_.size() < out->size() - before) out->replace(before, std::string::npos, sparse_);
}

struct PlaneUnpacker::Zstd {
  ZSTD_DCtx* context = ZSTD_createDCtx();
  ~Zstd() { ZSTD_freeDCtx(context); }
};

PlaneUnpacker::PlaneUnpacker() : zstd_(std::make_unique<Zstd>()) {
  LORIKEET_CHECK(zstd_->context != nullptr);
}
PlaneUnpacker::~PlaneUnpacker() = default;

absl::Status PlaneUnpacker::UnpackAfter(std::span<const uint8_t> prefix, DeltaReader* in,
                                        std::span<uint8_t> bytes) {
  ASSIGN_OR_RETURN(const uint64_t length, in->Varint());
  ASSIGN_OR_RETURN(const auto frame, in->Bytes(length));
  Check(ZSTD_DCtx_reset(zstd_->context, ZSTD_reset_session_and_parameters));
  Check(ZSTD_DCtx_refPrefix(zstd_->context, prefix.data(), prefix.size()));
  // Straight into memory of the size that must come: a frame that holds more is refused by zstd.
  const size_t got =
      ZSTD_decompressDCtx(zstd_->context, bytes.data(), bytes.size(), frame.data(), frame.size());
  if (ZSTD_isError(got) != 0 || got != bytes.size()) {
    return absl::DataLossError(absl::StrFormat(
        "delta: expected a zstd frame of %d bytes, got %s", bytes.size(),
        ZSTD_isError(got) != 0 ? ZSTD_getErrorName(got) : absl::StrFormat("%d", got).c_str()));
  }
  return absl::OkStatus();
}

absl::Status PlaneUnpacker::UnpackSparse(DeltaReader* in, std::span<uint8_t> plane) {
  ASSIGN_OR_RETURN(const uint64_t values, in->Varint());
  ASSIGN_OR_RETURN(const uint64_t gaps, in->Varint());
  // A gap of 255 stands for 255 bytes, so there are at most twice as many as bytes in the plane.
  if (values > plane.size() || gaps < values || gaps > 2 * plane.size()) {
    return absl::DataLossError(absl::StrFormat(
        "delta: expected at most %d changes, got %d with %d gaps", plane.size(), values, gaps));
  }
  gaps_.resize(gaps);
  values_.resize(values);
  RETURN_IF_ERROR(UnpackAfter({}, in, gaps_));
  RETURN_IF_ERROR(UnpackAfter({}, in, values_));
  std::ranges::fill(plane, uint8_t{0});
  size_t position = 0, value = 0;
  for (const uint8_t gap : gaps_) {
    position += gap;
    if (gap == kLongGap) continue;
    if (position >= plane.size() || value == values_.size()) {
      return absl::DataLossError("delta: expected changes inside the plane, got one behind it");
    }
    plane[position++] = values_[value++];
  }
  if (value != values_.size()) return absl::DataLossError("delta: expected a gap for each change");
  return absl::OkStatus();
}

absl::Status PlaneUnpacker::Unpack(DeltaReader* in, std::span<uint8_t> plane) {
  ASSIGN_OR_RETURN(const uint8_t mode, in->Byte());
  switch (mode) {
    case kZeros:
      std::ranges::fill(plane, uint8_t{0});
      return absl::OkStatus();
    case kDense:
      return UnpackAfter({}, in, plane);
    case kSparse:
      return UnpackSparse(in, plane);
    default:
      return absl::DataLossError(absl::StrFormat("delta: expected a mode up to 2, got %d", mode));
  }
}

}  // namespace lorikeet
