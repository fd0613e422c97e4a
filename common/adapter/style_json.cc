// Style cards and backgrounds as JSON.
#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/adapter/style_card.h"
#include "common/adapter/style_features.h"
#include "common/base/plain_text.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "nlohmann/json.hpp"

namespace lorikeet {
namespace {

constexpr size_t kMaxSentenceBytes = 400;

using nlohmann::json;

absl::Status CheckVector(std::span<const double> values, size_t size, double low, double high,
                         std::string_view name) {
  if (values.size() != size) {
    return absl::InvalidArgumentError(absl::StrCat("style card: ", ToAbsl(name), " has ",
                                                   values.size(), " values, expected ", size));
  }
  for (double value : values) {
    if (!std::isfinite(value) || value < low || value > high) {
      return absl::InvalidArgumentError(absl::StrCat("style card: ", ToAbsl(name), " holds ", value,
                                                     ", expected ", low, " to ", high));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<json> ParseObject(std::string_view text) {
  json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::InvalidArgumentError("style card: expected a JSON object");
  const auto version = object.find("version");
  if (version == object.end() || !version->is_number_integer() || *version != kStyleCardVersion) {
    return absl::InvalidArgumentError(
        absl::StrCat("style card: expected version ", kStyleCardVersion, ", found ",
                     version == object.end() ? "none" : version->dump()));
  }
  return object;
}

absl::Status ReadVector(const json& object, const char* key, std::vector<double>* out) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_array()) {
    return absl::InvalidArgumentError(absl::StrCat("style card: expected an array \"", key, "\""));
  }
  for (const json& value : *it) {
    if (!value.is_number()) {
      return absl::InvalidArgumentError(
          absl::StrCat("style card: \"", key, "\" holds a non-number"));
    }
    out->push_back(value.get<double>());
  }
  return absl::OkStatus();
}

// One byte a share: 0 for 0, else 1 + its logarithm in steps.
constexpr double kLowestShare = -20, kStepsAnOctave = 15.8;

uint8_t ShareCode(double share) {
  if (!(share > 0)) return 0;
  const double code = 1 + std::round((std::log2(share) - kLowestShare) * kStepsAnOctave);
  return code < 1 ? 0 : static_cast<uint8_t>(std::min(code, 255.0));
}

double ShareOf(uint8_t code) {
  return code == 0 ? 0 : std::exp2(kLowestShare + (code - 1) / kStepsAnOctave);
}

std::string EncodeSketch(std::span<const double> sketch) {
  std::string codes;
  for (double share : sketch) codes.push_back(static_cast<char>(ShareCode(share)));
  return absl::Base64Escape(codes);
}

absl::Status ReadSketch(const json& object, std::vector<double>* out) {
  const auto it = object.find("sketch");
  std::string codes;
  if (it == object.end() || !it->is_string() ||
      !absl::Base64Unescape(it->get_ref<const std::string&>(), &codes)) {
    return absl::InvalidArgumentError("style card: expected \"sketch\" in base64");
  }
  for (char code : codes) out->push_back(ShareOf(static_cast<uint8_t>(code)));
  return absl::OkStatus();
}

absl::Status ReadNumber(const json& object, const char* key, double* out) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_number()) {
    return absl::InvalidArgumentError(absl::StrCat("style card: expected a number \"", key, "\""));
  }
  *out = it->get<double>();
  return absl::OkStatus();
}

absl::Status ReadLength(const json& object, LengthStatistics* out) {
  std::vector<double> length;
  RETURN_IF_ERROR(ReadVector(object, "length", &length));
  if (length.size() != 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("style card: expected 2 numbers in \"length\", found ", length.size()));
  }
  *out = {.mean = length[0], .spread = length[1]};
  return absl::OkStatus();
}

absl::Status ReadCount(const json& object, const char* key, int64_t* out) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_number_unsigned()) {
    return absl::InvalidArgumentError(absl::StrCat("style card: expected a count \"", key, "\""));
  }
  *out = it->get<int64_t>();
  return absl::OkStatus();
}

}  // namespace

double RoundShare(double share) { return ShareOf(ShareCode(share)); }

absl::Status CheckStyleCard(const StyleCard& card) {
  const StyleStatistics& s = card.statistics;
  RETURN_IF_ERROR(CheckVector(s.form, kStyleFormCount, -1e6, 1e6, "form"));
  RETURN_IF_ERROR(CheckVector(s.words, StyleFunctionWords().size(), 0, 1e6, "words"));
  RETURN_IF_ERROR(CheckVector(s.sketch, kStyleSketchBins, 0, 1, "sketch"));
  RETURN_IF_ERROR(CheckVector(card.explanation, card.explanation.size(), 0, 1e6, "explanation"));
  const double of_itself[] = {card.explanation_residual, card.self_evidence, card.gain,
                              s.length.mean, s.length.spread};
  RETURN_IF_ERROR(CheckVector(of_itself, 5, 0, 1e3, "residual, self evidence, gain or length"));
  if (s.document_count < 0 || s.word_count < 0 || s.feature_count < 0) {
    return absl::InvalidArgumentError("style card: expected counts of at least 0");
  }
  return Annotate(CheckPlainText(card.sentence, kMaxSentenceBytes), "style card: sentence");
}

absl::Status CheckStyleBackground(const StyleBackground& background) {
  const size_t words = StyleFunctionWords().size();
  RETURN_IF_ERROR(CheckVector(background.form_center, kStyleFormCount, -1e6, 1e6, "form_center"));
  RETURN_IF_ERROR(CheckVector(background.form_spread, kStyleFormCount, 1e-6, 1e6, "form_spread"));
  RETURN_IF_ERROR(CheckVector(background.words_center, words, 0, 1e6, "words_center"));
  RETURN_IF_ERROR(CheckVector(background.words_spread, words, 1e-6, 1e6, "words_spread"));
  const double length[] = {background.length.mean, background.length.spread};
  RETURN_IF_ERROR(CheckVector(length, 2, 0, 1e3, "background length"));
  if (background.feature_count < 0) {
    return absl::InvalidArgumentError("style card: expected a count of at least 0");
  }
  return CheckVector(background.sketch, kStyleSketchBins, 0, 1, "background sketch");
}

std::string StyleCardToJson(const StyleCard& card) {
  json object;
  object["version"] = kStyleCardVersion;
  object["documents"] = static_cast<uint64_t>(card.statistics.document_count);
  object["words_counted"] = static_cast<uint64_t>(card.statistics.word_count);
  object["form"] = card.statistics.form;
  object["words"] = card.statistics.words;
  object["features"] = static_cast<uint64_t>(card.statistics.feature_count);
  object["sketch"] = EncodeSketch(card.statistics.sketch);
  object["explanation"] = card.explanation;
  object["length"] = {card.statistics.length.mean, card.statistics.length.spread};
  object["explanation_residual"] = card.explanation_residual;
  object["self_evidence"] = card.self_evidence;
  object["gain"] = card.gain;
  object["sentence"] = card.sentence;
  return object.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
}

absl::StatusOr<StyleCard> StyleCardFromJson(std::string_view text) {
  ASSIGN_OR_RETURN(const json object, ParseObject(text));
  StyleCard card;
  RETURN_IF_ERROR(ReadCount(object, "documents", &card.statistics.document_count));
  RETURN_IF_ERROR(ReadCount(object, "words_counted", &card.statistics.word_count));
  RETURN_IF_ERROR(ReadVector(object, "form", &card.statistics.form));
  RETURN_IF_ERROR(ReadVector(object, "words", &card.statistics.words));
  RETURN_IF_ERROR(ReadCount(object, "features", &card.statistics.feature_count));
  RETURN_IF_ERROR(ReadSketch(object, &card.statistics.sketch));
  RETURN_IF_ERROR(ReadVector(object, "explanation", &card.explanation));
  RETURN_IF_ERROR(ReadNumber(object, "explanation_residual", &card.explanation_residual));
  RETURN_IF_ERROR(ReadNumber(object, "self_evidence", &card.self_evidence));
  RETURN_IF_ERROR(ReadLength(object, &card.statistics.length));
  RETURN_IF_ERROR(ReadNumber(object, "gain", &card.gain));
  const auto sentence = object.find("sentence");
  if (sentence == object.end() || !sentence->is_string()) {
    return absl::InvalidArgumentError("style card: expected a string \"sentence\"");
  }
  card.sentence = sentence->get<std::string>();
  RETURN_IF_ERROR(CheckStyleCard(card));
  return card;
}

std::string StyleBackgroundToJson(const StyleBackground& background) {
  json object;
  object["version"] = kStyleCardVersion;
  object["form_center"] = background.form_center;
  object["form_spread"] = background.form_spread;
  object["words_center"] = background.words_center;
  object["words_spread"] = background.words_spread;
  object["features"] = static_cast<uint64_t>(background.feature_count);
  object["sketch"] = EncodeSketch(background.sketch);
  object["length"] = {background.length.mean, background.length.spread};
  return object.dump();
}

absl::StatusOr<StyleBackground> StyleBackgroundFromJson(std::string_view text) {
  ASSIGN_OR_RETURN(const json object, ParseObject(text));
  StyleBackground background;
  RETURN_IF_ERROR(ReadVector(object, "form_center", &background.form_center));
  RETURN_IF_ERROR(ReadVector(object, "form_spread", &background.form_spread));
  RETURN_IF_ERROR(ReadVector(object, "words_center", &background.words_center));
  RETURN_IF_ERROR(ReadVector(object, "words_spread", &background.words_spread));
  RETURN_IF_ERROR(ReadCount(object, "features", &background.feature_count));
  RETURN_IF_ERROR(ReadSketch(object, &background.sketch));
  RETURN_IF_ERROR(ReadLength(object, &background.length));
  RETURN_IF_ERROR(CheckStyleBackground(background));
  return background;
}

}  // namespace lorikeet
