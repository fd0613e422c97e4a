#include "simulations/retrieval/retrieval_page.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/report/html_page.h"
#include "common/report/svg_plot.h"

namespace lorikeet {
namespace {

std::string Text(const Interval& interval, int digits) {
  return absl::StrFormat("%.*f [%.*f, %.*f]", digits, interval.mean, digits, interval.low, digits,
                         interval.high);
}

std::string Signed(const Interval& interval) {
  return absl::StrFormat("%+.3f [%+.3f, %+.3f]", interval.mean, interval.low, interval.high);
}

std::string Sizes(const RetrievalSummary& summary, const RetrievalSetting& setting) {
  return absl::StrFormat(
      "%s, %s: %d users (%d more to fit weights on), %.0f held-out texts, %.0f tokens, %.0f of "
      "them in fact words, %.0f questions; vaults of %.0f bytes; %.1f passages and %.0f of at most "
      "%d tokens a prompt, best %s; %d held-out texts left out because a training split shows "
      "their conversation",
      setting.set, setting.model, summary.users, summary.fitted_users, summary.texts,
      summary.tokens, summary.fact_tokens, summary.questions, summary.vault_bytes, summary.passages,
      summary.passage_tokens, setting.retrieve_tokens, setting.best_last ? "last" : "first",
      setting.leaky_texts);
}

// "lower", "higher" or "the same", as the interval says.
std::string Verdict(const Interval& difference, std::string_view below, std::string_view above) {
  if (difference.high < 0) return std::string(below);
  if (difference.low > 0) return std::string(above);
  return "no difference beyond noise";
}

std::vector<std::string> Row(const WayResult& way, const RetrievalSetting& setting) {
  std::vector<std::string> row = {way.way.name, Text(way.loss, 3), Signed(way.loss_change),
                                  Text(way.fact_loss, 2), Signed(way.fact_loss_change)};
  if (setting.has_questions) {
    row.push_back(Text(way.recall_first, 2));
    row.push_back(absl::StrFormat("%.2f", way.reciprocal_rank.mean));
  }
  return row;
}

std::vector<std::string> Header(const RetrievalSetting& setting) {
  std::vector<std::string> header = {"way", "loss", "change", "loss of fact words", "change"};
  if (setting.has_questions) {
    header.push_back("fact first of 10");
    header.push_back("1 / rank");
  }
  return header;
}

std::string Comparison(const RetrievalSummary::Comparison& comparison,
                       const RetrievalSetting& setting) {
  std::string text = absl::StrFormat(
      "Both against %s: loss %s (%s); loss of fact words %s (%s)", comparison.with,
      Signed(comparison.loss), Verdict(comparison.loss, "both is better", "both is worse"),
      Signed(comparison.fact_loss),
      Verdict(comparison.fact_loss, "both is better", "both is worse"));
  if (setting.has_questions) {
    absl::StrAppendFormat(&text, "; fact first %s (%s)", Signed(comparison.recall_first),
                          Verdict(comparison.recall_first, "both is worse", "both is better"));
  }
  return text;
}

std::string Bars(const RetrievalSummary& summary, bool facts) {
  std::vector<BarGroup> groups;
  for (const WayResult& way : summary.ways) {
    if (groups.size() == 4) break;
    groups.push_back(
        {.name = way.way.name, .values = {facts ? way.fact_loss.mean : way.loss.mean}});
  }
  return BarPlot(groups, {facts ? "fact words" : "all words"},
                 {.x_label = "", .y_label = "nats a token", .y_from_zero = true});
}

}  // namespace

std::string RetrievalTable(const RetrievalSummary& summary, const RetrievalSetting& setting) {
  std::string text = absl::StrCat(Sizes(summary, setting), "\n");
  for (const WayResult& way : summary.ways) {
    absl::StrAppendFormat(&text, "%-50s loss %s, change %s; fact words %s, change %s", way.way.name,
                          Text(way.loss, 3), Signed(way.loss_change), Text(way.fact_loss, 2),
                          Signed(way.fact_loss_change));
    if (setting.has_questions) {
      absl::StrAppendFormat(&text, "; fact first of 10 %s, 1/rank %.2f", Text(way.recall_first, 2),
                            way.reciprocal_rank.mean);
    }
    if (way.way.copy) {
      absl::StrAppendFormat(&text, "; weights %.3f %.3f %.3f", way.way.weights[0],
                            way.way.weights[1], way.way.weights[2]);
    }
    text.push_back('\n');
  }
  for (const auto& comparison : summary.comparisons) {
    absl::StrAppend(&text, Comparison(comparison, setting), "\n");
  }
  return text;
}

std::string RetrievalPage(const RetrievalSummary& summary, const RetrievalSetting& setting) {
  HtmlPage page(absl::StrCat("Retrieval and adapters: ", setting.set));
  page.Paragraph(Sizes(summary, setting));
  for (const auto& comparison : summary.comparisons) {
    page.Note(absl::StrCat(Comparison(comparison, setting), "."));
  }
  page.Figure(Bars(summary, false), "Loss of held-out texts, given what stood before them.");
  page.Figure(Bars(summary, true), "Loss of fact words alone.");
  std::vector<std::vector<std::string>> rows;
  for (const WayResult& way : summary.ways) rows.push_back(Row(way, setting));
  page.Heading("All ways").Table(Header(setting), rows);
  page.Paragraph(
      "Retrieval is what generate and chat do with a vault: passages found by BM25 for what stands "
      "before the text, in front of the prompt, and what followed the last one to three tokens in "
      "the vault mixed into the next token's distribution. The adapter is trained on the vault "
      "alone, from the plain base. Losses are nats a token; brackets hold 95 % of bootstrap "
      "samples "
      "of users; changes are from the plain model.");
  page.Paragraph(
      "A fact word is a content word of the held-out text that the vault holds, that the user's "
      "persona sentences hold where there are any, that few others' do, and that the question does "
      "not: what could be recalled. It favours whoever repeats the vault's words, by intention. "
      "Fact first: the user's persona sentence gains most, among ten people's, over the plain "
      "model as an answer to the question; the plain model itself knows nothing of the user, which "
      "is 0.10 by chance.");
  return page.Render();
}

}  // namespace lorikeet
