// The part of regular expressions that rank_pattern and alpha_pattern need (peft_config.h).
#include <algorithm>
#include <bitset>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/adapter/peft_config.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

using CharSet = std::bitset<256>;

// One character of a set, optionally absent or repeated.
struct Atom {
  CharSet set;
  bool optional = false;
  bool repeated = false;
};

struct Pattern {
  bool anchored = false;  // ^: only all of the path
  std::vector<Atom> atoms;
};

void AddRange(char first, char last, CharSet& set) {
  for (int c = static_cast<uint8_t>(first); c <= static_cast<uint8_t>(last); ++c) set.set(c);
}

CharSet Single(char c) {
  CharSet set;
  AddRange(c, c, set);
  return set;
}

// \d, \w, or a character that means itself when escaped.
std::optional<CharSet> Escaped(char c) {
  CharSet set;
  if (c == 'd' || c == 'w') AddRange('0', '9', set);
  if (c == 'w') {
    AddRange('a', 'z', set);
    AddRange('A', 'Z', set);
    AddRange('_', '_', set);
  }
  if (set.any()) return set;
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  if (letter) return std::nullopt;
  return Single(c);
}

// "[a-z0]" at the start of `text`, which is cut behind it.
std::optional<CharSet> TakeClass(std::string_view& text) {
  const size_t end = text.find(']', 1);
  if (end == text.npos || end == 1 || text[1] == '^') return std::nullopt;
  const std::string_view inside = text.substr(1, end - 1);
  if (inside.find_first_of("[\\") != inside.npos) return std::nullopt;
  CharSet set;
  for (size_t i = 0; i < inside.size(); ++i) {
    if (i + 2 < inside.size() && inside[i + 1] == '-') {
      if (static_cast<uint8_t>(inside[i]) > static_cast<uint8_t>(inside[i + 2])) {
        return std::nullopt;
      }
      AddRange(inside[i], inside[i + 2], set);
      i += 2;
    } else {
      AddRange(inside[i], inside[i], set);
    }
  }
  text.remove_prefix(end + 1);
  return set;
}

std::optional<CharSet> TakeSet(std::string_view& text) {
  const char c = text[0];
  if (c == '[') return TakeClass(text);
  if (c == '\\') {
    if (text.size() < 2) return std::nullopt;
    const std::optional<CharSet> set = Escaped(text[1]);
    text.remove_prefix(2);
    return set;
  }
  if (std::string_view("()|{}]^$*+?").find(c) != std::string_view::npos) return std::nullopt;
  text.remove_prefix(1);
  if (c != '.') return Single(c);
  CharSet any;
  return any.set();
}

std::optional<Pattern> Compile(std::string_view text) {
  Pattern pattern;
  if (text.starts_with('^')) {
    pattern.anchored = true;
    text.remove_prefix(1);
  }
  if (text.ends_with('$') && !text.ends_with("\\$")) text.remove_suffix(1);
  while (!text.empty()) {
    const std::optional<CharSet> set = TakeSet(text);
    if (!set) return std::nullopt;
    Atom atom{.set = *set};
    if (!text.empty() && std::string_view("*+?").find(text[0]) != std::string_view::npos) {
      atom.optional = text[0] != '+';
      atom.repeated = text[0] != '?';
      text.remove_prefix(1);
    }
    pattern.atoms.push_back(atom);
  }
  if (pattern.atoms.empty()) return std::nullopt;
  return pattern;
}

// All of `text`?  reached[a]: the first a atoms can match what was read so far.
bool MatchesAll(const std::vector<Atom>& atoms, std::string_view text) {
  std::vector<char> reached(atoms.size() + 1), next(atoms.size() + 1);
  const auto skip_optional = [&](std::vector<char>& states) {
    for (size_t a = 0; a < atoms.size(); ++a) {
      if (states[a] && atoms[a].optional) states[a + 1] = 1;
    }
  };
  reached[0] = 1;
  skip_optional(reached);
  for (const char c : text) {
    next.assign(next.size(), 0);
    for (size_t a = 0; a < atoms.size(); ++a) {
      if (!atoms[a].set.test(static_cast<uint8_t>(c))) continue;
      if (reached[a]) next[a + 1] = 1;
      if (reached[a + 1] && atoms[a].repeated) next[a + 1] = 1;
    }
    skip_optional(next);
    if (std::ranges::find(next, 1) == next.end()) return false;
    reached.swap(next);
  }
  return reached.back() != 0;
}

}  // namespace

bool PeftPatternMatches(std::string_view pattern, std::string_view path) {
  const std::optional<Pattern> compiled = Compile(pattern);
  if (!compiled) return false;
  if (MatchesAll(compiled->atoms, path)) return true;
  if (compiled->anchored) return false;
  for (size_t dot = path.find('.'); dot != path.npos; dot = path.find('.', dot + 1)) {
    if (MatchesAll(compiled->atoms, path.substr(dot + 1))) return true;
  }
  return false;
}

absl::Status CheckPeftPattern(std::string_view pattern) {
  if (Compile(pattern)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "expected a module's name, or a pattern of . \\. \\d \\w [a-z] with * + ?, got \"",
      absl::CHexEscape(ToAbsl(pattern.substr(0, 80))), "\""));
}

}  // namespace lorikeet
