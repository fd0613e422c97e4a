#include "common/tokenizer/tokenizer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/tokenizer/bpe.h"
#include "common/tokenizer/spm.h"

namespace lorikeet {

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::Create(
    std::shared_ptr<const GgufFile> file) {
  ASSIGN_OR_RETURN(const std::string_view model, file->GetString("tokenizer.ggml.model"));
  if (model == "gpt2") return BpeTokenizer::Create(std::move(file));
  if (model == "llama") return SpmTokenizer::Create(std::move(file));
  return absl::InvalidArgumentError(absl::StrCat(
      "tokenizer model \"", ToAbsl(model),
      "\" is not supported; supported: gpt2 (byte-level BPE), llama (SentencePiece BPE)"));
}

}  // namespace lorikeet
