#include "common/gguf/stream_writer.h"

#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/gguf/format.h"

namespace lorikeet {

absl::StatusOr<std::unique_ptr<GgufStreamWriter>> GgufStreamWriter::Create(const std::string& path,
                                                                           const GgufWriter& head) {
  ASSIGN_OR_RETURN(std::unique_ptr<AtomicFile> file, AtomicFile::Create(path));
  std::unique_ptr<GgufStreamWriter> writer(
      new GgufStreamWriter(std::move(file), head.TensorSizes()));
  RETURN_IF_ERROR(writer->Write(head.SerializeHead()));
  return writer;
}

absl::Status GgufStreamWriter::Write(std::string_view bytes) {
  bytes_written_ += bytes.size();
  return file_->Append(bytes);
}

absl::Status GgufStreamWriter::Append(std::span<const uint8_t> piece) {
  LORIKEET_CHECK(tensor_ < sizes_.size() && piece.size() <= sizes_[tensor_] - position_);
  RETURN_IF_ERROR(Write(AsChars(piece)));
  position_ += piece.size();
  if (position_ < sizes_[tensor_]) return absl::OkStatus();
  ++tensor_;
  position_ = 0;
  return Write(std::string(GgufAligned(bytes_written_) - bytes_written_, '\0'));
}

absl::Status GgufStreamWriter::Finish() {
  LORIKEET_CHECK(tensor_ == sizes_.size());
  return file_->Commit();
}

}  // namespace lorikeet
