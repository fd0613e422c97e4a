#include "device/template/parser.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet::jinja {
namespace {

// Of open statements and expressions together: what the stack bears.
constexpr int kMaxDepth = 100;

}  // namespace

const Token& Parser::Next() {
  const Token& token = Peek();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool Parser::TakeOperator(std::string_view text) {
  if (!PeekOperator(text)) return false;
  Next();
  return true;
}

bool Parser::TakeName(std::string_view name) {
  if (!PeekName(name)) return false;
  Next();
  return true;
}

absl::Status Parser::Unexpected(std::string_view expected) const {
  const Token& token = Peek();
  const std::string got = token.kind == TokenKind::kData  ? "text"
                          : token.kind == TokenKind::kEnd ? token.text
                                                          : absl::StrCat("\"", token.text, "\"");
  return ErrorAt(token.line, absl::StrCat("expected ", ToAbsl(expected), ", got ", got));
}

absl::Status Parser::ExpectOperator(std::string_view text) {
  if (TakeOperator(text)) return absl::OkStatus();
  return Unexpected(absl::StrCat("\"", ToAbsl(text), "\""));
}

absl::StatusOr<std::string> Parser::ExpectName(std::string_view what) {
  if (Peek().kind != TokenKind::kName) return Unexpected(what);
  return Next().text;
}

absl::Status Parser::ExpectBlockEnd() {
  if (Peek().kind != TokenKind::kBlockEnd) return Unexpected("\"%}\"");
  Next();
  return absl::OkStatus();
}

absl::Status Parser::CheckDepth() const {
  if (depth_ <= kMaxDepth) return absl::OkStatus();
  return ErrorAt(Peek().line,
                 absl::StrCat("expected tags and brackets nested at most ", kMaxDepth, " deep"));
}

absl::StatusOr<Body> Parser::ParseTemplate() {
  Body body;
  RETURN_IF_ERROR(ParseBody({}, body, nullptr));
  return body;
}

absl::Status Parser::ParseBody(std::initializer_list<std::string_view> ends, Body& body,
                               std::string* end_name) {
  const Level level(depth_);
  RETURN_IF_ERROR(CheckDepth());
  while (true) {
    const Token& token = Peek();
    if (token.kind == TokenKind::kEnd) {
      if (ends.size() == 0) return absl::OkStatus();
      return Unexpected(absl::StrCat("{% ", ToAbsl(ends.end()[-1]), " %}"));
    }
    auto statement = std::make_unique<Statement>();
    statement->line = token.line;
    Next();
    if (token.kind == TokenKind::kData) {
      statement->text = token.text;
    } else if (token.kind == TokenKind::kOutputBegin) {
      statement->kind = StatementKind::kOutput;
      ASSIGN_OR_RETURN(statement->expression, ParseTuple());
      if (Peek().kind != TokenKind::kOutputEnd) return Unexpected("\"}}\"");
      Next();
    } else {
      const std::string& name = Peek().text;
      if (Peek().kind == TokenKind::kName &&
          std::find(ends.begin(), ends.end(), name) != ends.end()) {
        *end_name = name;
        Next();
        return absl::OkStatus();
      }
      ASSIGN_OR_RETURN(statement, ParseStatement());
    }
    body.push_back(std::move(statement));
  }
}

absl::StatusOr<std::unique_ptr<Statement>> Parser::ParseStatement() {
  auto statement = std::make_unique<Statement>();
  statement->line = Peek().line;
  if (Peek().kind != TokenKind::kName) return Unexpected("the name of a statement");
  const std::string name = Next().text;
  if (name == "if") {
    RETURN_IF_ERROR(ParseIf(*statement));
  } else if (name == "for") {
    RETURN_IF_ERROR(ParseFor(*statement));
  } else if (name == "set") {
    RETURN_IF_ERROR(ParseSet(*statement));
  } else if (name == "macro") {
    RETURN_IF_ERROR(ParseMacro(*statement));
  } else if (name == "filter") {
    RETURN_IF_ERROR(ParseFilterBlock(*statement));
  } else if (name == "generation") {
    has_generation_ = true;
    statement->kind = StatementKind::kGeneration;
    RETURN_IF_ERROR(ParseRest("endgeneration", statement->body));
  } else if (name == "break" || name == "continue") {
    if (loops_ == 0) return ErrorAt(statement->line, absl::StrCat(name, " outside of a loop"));
    statement->kind = name == "break" ? StatementKind::kBreak : StatementKind::kContinue;
    RETURN_IF_ERROR(ExpectBlockEnd());
  } else if (name.starts_with("end") || name == "else" || name == "elif") {
    return ErrorAt(statement->line, absl::StrCat("{% ", name, " %} without its beginning"));
  } else {
    return absl::UnimplementedError(
        absl::StrCat("line ", statement->line,
                     ": expected if, for, set, macro, filter, "
                     "generation, break or continue, got the statement \"",
                     name, "\""));
  }
  return statement;
}

absl::Status Parser::ParseRest(std::string_view end, Body& body) {
  RETURN_IF_ERROR(ExpectBlockEnd());
  std::string name;
  RETURN_IF_ERROR(ParseBody({end}, body, &name));
  // {% endmacro name %} is allowed.
  if (end == "endmacro" && Peek().kind == TokenKind::kName) Next();
  return ExpectBlockEnd();
}

absl::Status Parser::ParseIf(Statement& statement) {
  statement.kind = StatementKind::kIf;
  std::string end = "if";
  while (end != "endif") {
    Branch& branch = statement.branches.emplace_back();
    if (end != "else") {
      ASSIGN_OR_RETURN(branch.condition, ParseTuple());
    }
    RETURN_IF_ERROR(ExpectBlockEnd());
    if (end == "else") {
      RETURN_IF_ERROR(ParseBody({"endif"}, branch.body, &end));
    } else {
      RETURN_IF_ERROR(ParseBody({"elif", "else", "endif"}, branch.body, &end));
    }
  }
  return ExpectBlockEnd();
}

absl::StatusOr<std::vector<std::string>> Parser::ParseTargets(std::string_view what) {
  std::vector<std::string> targets;
  const bool bracket = TakeOperator("(");
  do {
    ASSIGN_OR_RETURN(std::string name, ExpectName(what));
    targets.push_back(std::move(name));
  } while (TakeOperator(","));
  if (bracket) RETURN_IF_ERROR(ExpectOperator(")"));
  return targets;
}

absl::Status Parser::ParseFor(Statement& statement) {
  statement.kind = StatementKind::kFor;
  ASSIGN_OR_RETURN(statement.targets, ParseTargets("the name of a loop variable"));
  if (!TakeName("in")) return Unexpected("\"in\"");
  // Without "if": that begins the loop's condition.
  ASSIGN_OR_RETURN(statement.expression, ParseOr());
  if (TakeName("if")) {
    ASSIGN_OR_RETURN(statement.condition, ParseExpression());
  }
  if (PeekName("recursive")) {
    return absl::UnimplementedError(
        absl::StrCat("line ", statement.line, ": recursive loops are not supported"));
  }
  RETURN_IF_ERROR(ExpectBlockEnd());
  std::string end;
  ++loops_;
  RETURN_IF_ERROR(ParseBody({"else", "endfor"}, statement.body, &end));
  --loops_;
  if (end == "endfor") return ExpectBlockEnd();
  return ParseRest("endfor", statement.otherwise);
}

absl::Status Parser::ParseSet(Statement& statement) {
  statement.kind = StatementKind::kSet;
  ASSIGN_OR_RETURN(statement.targets, ParseTargets("the name of a variable"));
  if (statement.targets.size() == 1 && TakeOperator(".")) {
    statement.object = statement.targets[0];
    ASSIGN_OR_RETURN(statement.targets[0], ExpectName("the name of an attribute"));
  }
  if (TakeOperator("=")) {
    ASSIGN_OR_RETURN(statement.expression, ParseTuple());
    return ExpectBlockEnd();
  }
  if (statement.targets.size() > 1) return Unexpected("\"=\"");
  statement.kind = StatementKind::kSetBlock;
  auto body = Make(ExpressionKind::kName);
  body->name = kBodyName;
  ASSIGN_OR_RETURN(statement.expression, ParseFilters(std::move(body)));
  return ParseRest("endset", statement.body);
}

absl::Status Parser::ParseFilterBlock(Statement& statement) {
  statement.kind = StatementKind::kFilter;
  auto body = Make(ExpressionKind::kName);
  body->name = kBodyName;
  ASSIGN_OR_RETURN(auto first, ParseFilter(std::move(body)));
  ASSIGN_OR_RETURN(statement.expression, ParseFilters(std::move(first)));
  return ParseRest("endfilter", statement.body);
}

absl::Status Parser::ParseMacro(Statement& statement) {
  statement.kind = StatementKind::kMacro;
  ASSIGN_OR_RETURN(std::string name, ExpectName("the name of a macro"));
  statement.targets.push_back(std::move(name));
  RETURN_IF_ERROR(ExpectOperator("("));
  while (!TakeOperator(")")) {
    if (!statement.parameters.empty()) RETURN_IF_ERROR(ExpectOperator(","));
    Parameter& parameter = statement.parameters.emplace_back();
    ASSIGN_OR_RETURN(parameter.name, ExpectName("the name of a parameter"));
    if (TakeOperator("=")) {
      ASSIGN_OR_RETURN(parameter.fallback, ParseExpression());
    }
  }
  const int loops = std::exchange(loops_, 0);
  RETURN_IF_ERROR(ParseRest("endmacro", statement.body));
  loops_ = loops;
  return absl::OkStatus();
}

}  // namespace lorikeet::jinja
