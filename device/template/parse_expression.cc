// Expressions, by Jinja's ranks from loose to tight:
//   a if c else b < or < and < not < comparisons, in < + - < ~ < * / // % < ** < unary + -
//   < attributes, subscripts, calls, filters, tests
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/template/parser.h"

namespace lorikeet::jinja {
namespace {

// Of an expression's tree; evaluation recurses as deep.
constexpr int kMaxTreeDepth = 100;

}  // namespace

std::unique_ptr<Expression> Parser::Make(ExpressionKind kind) const {
  auto node = std::make_unique<Expression>();
  node->kind = kind;
  node->line = Peek().line;
  return node;
}

absl::Status Parser::Adopt(Expression& node, std::unique_ptr<Expression> operand) {
  if (operand != nullptr) node.depth = std::max(node.depth, operand->depth + 1);
  if (node.depth > kMaxTreeDepth) {
    return ErrorAt(node.line,
                   absl::StrCat("expected an expression of at most ", kMaxTreeDepth, " levels"));
  }
  node.operands.push_back(std::move(operand));
  return absl::OkStatus();
}

absl::Status Parser::AdoptArguments(Expression& node) {
  while (!TakeOperator(")")) {
    const bool first = node.arguments.positional.empty() && node.arguments.named.empty();
    if (!first) {
      RETURN_IF_ERROR(ExpectOperator(","));
      if (TakeOperator(")")) break;
    }
    std::string name;
    if (Peek().kind == TokenKind::kName && Peek(1).Is(TokenKind::kOperator, "=")) {
      name = Next().text;
      Next();
    } else if (!node.arguments.named.empty()) {
      return Unexpected("an argument with a name");
    }
    ASSIGN_OR_RETURN(auto argument, ParseExpression());
    node.depth = std::max(node.depth, argument->depth + 1);
    if (name.empty()) {
      node.arguments.positional.push_back(std::move(argument));
    } else {
      node.arguments.named.emplace_back(std::move(name), std::move(argument));
    }
  }
  return absl::OkStatus();
}

Parser::Result Parser::ParseTuple() {
  ASSIGN_OR_RETURN(auto first, ParseExpression());
  if (!PeekOperator(",")) return first;
  auto tuple = Make(ExpressionKind::kTuple);
  RETURN_IF_ERROR(Adopt(*tuple, std::move(first)));
  while (TakeOperator(",")) {
    const TokenKind kind = Peek().kind;
    if (kind == TokenKind::kOutputEnd || kind == TokenKind::kBlockEnd) break;
    ASSIGN_OR_RETURN(auto item, ParseExpression());
    RETURN_IF_ERROR(Adopt(*tuple, std::move(item)));
  }
  return tuple;
}

Parser::Result Parser::ParseExpression() {
  const Level level(depth_);
  RETURN_IF_ERROR(CheckDepth());
  ASSIGN_OR_RETURN(auto expression, ParseOr());
  while (PeekName("if")) {
    auto node = Make(ExpressionKind::kConditional);
    Next();
    RETURN_IF_ERROR(Adopt(*node, std::move(expression)));
    ASSIGN_OR_RETURN(auto condition, ParseOr());
    RETURN_IF_ERROR(Adopt(*node, std::move(condition)));
    std::unique_ptr<Expression> otherwise;
    if (TakeName("else")) {
      ASSIGN_OR_RETURN(otherwise, ParseExpression());
    }
    RETURN_IF_ERROR(Adopt(*node, std::move(otherwise)));
    expression = std::move(node);
  }
  return expression;
}

Parser::Result Parser::ParseOr() {
  ASSIGN_OR_RETURN(auto left, ParseAnd());
  while (PeekName("or")) {
    auto node = Make(ExpressionKind::kOr);
    Next();
    RETURN_IF_ERROR(Adopt(*node, std::move(left)));
    ASSIGN_OR_RETURN(auto right, ParseAnd());
    RETURN_IF_ERROR(Adopt(*node, std::move(right)));
    left = std::move(node);
  }
  return left;
}

Parser::Result Parser::ParseAnd() {
  ASSIGN_OR_RETURN(auto left, ParseNot());
  while (PeekName("and")) {
    auto node = Make(ExpressionKind::kAnd);
    Next();
    RETURN_IF_ERROR(Adopt(*node, std::move(left)));
    ASSIGN_OR_RETURN(auto right, ParseNot());
    RETURN_IF_ERROR(Adopt(*node, std::move(right)));
    left = std::move(node);
  }
  return left;
}

Parser::Result Parser::ParseNot() {
  if (!PeekName("not")) return ParseCompare();
  const Level level(depth_);
  RETURN_IF_ERROR(CheckDepth());
  auto node = Make(ExpressionKind::kNot);
  Next();
  ASSIGN_OR_RETURN(auto operand, ParseNot());
  RETURN_IF_ERROR(Adopt(*node, std::move(operand)));
  return node;
}

Parser::Result Parser::ParseCompare() {
  auto node = Make(ExpressionKind::kCompare);
  ASSIGN_OR_RETURN(auto left, ParseSum());
  constexpr std::string_view kOperators[] = {"==", "!=", "<", "<=", ">", ">="};
  while (true) {
    std::string found;
    if (Peek().kind == TokenKind::kOperator &&
        std::find(std::begin(kOperators), std::end(kOperators), Peek().text) !=
            std::end(kOperators)) {
      found = Next().text;
    } else if (TakeName("in")) {
      found = "in";
    } else if (PeekName("not") && Peek(1).Is(TokenKind::kName, "in")) {
      Next();
      Next();
      found = "not in";
    } else {
      break;
    }
    if (left != nullptr) RETURN_IF_ERROR(Adopt(*node, std::move(left)));
    node->operators.push_back(std::move(found));
    ASSIGN_OR_RETURN(auto right, ParseSum());
    RETURN_IF_ERROR(Adopt(*node, std::move(right)));
  }
  if (left != nullptr) return left;
  return node;
}

Parser::Result Parser::ParseBinary(std::initializer_list<std::string_view> operators,
                                   Result (Parser::*operand)()) {
  ASSIGN_OR_RETURN(auto left, (this->*operand)());
  while (Peek().kind == TokenKind::kOperator &&
         std::find(operators.begin(), operators.end(), Peek().text) != operators.end()) {
    auto node = Make(ExpressionKind::kBinary);
    node->name = Next().text;
    RETURN_IF_ERROR(Adopt(*node, std::move(left)));
    ASSIGN_OR_RETURN(auto right, (this->*operand)());
    RETURN_IF_ERROR(Adopt(*node, std::move(right)));
    left = std::move(node);
  }
  return left;
}

Parser::Result Parser::ParseSum() { return ParseBinary({"+", "-"}, &Parser::ParseConcatenation); }
Parser::Result Parser::ParseConcatenation() { return ParseBinary({"~"}, &Parser::ParseProduct); }
Parser::Result Parser::ParseProduct() {
  return ParseBinary({"*", "/", "//", "%"}, &Parser::ParsePower);
}

Parser::Result Parser::ParsePower() {
  ASSIGN_OR_RETURN(auto left, ParseUnary(true));
  while (PeekOperator("**")) {
    auto node = Make(ExpressionKind::kBinary);
    node->name = Next().text;
    RETURN_IF_ERROR(Adopt(*node, std::move(left)));
    ASSIGN_OR_RETURN(auto right, ParseUnary(true));
    RETURN_IF_ERROR(Adopt(*node, std::move(right)));
    left = std::move(node);
  }
  return left;
}

Parser::Result Parser::ParseUnary(bool with_filters) {
  const Level level(depth_);
  RETURN_IF_ERROR(CheckDepth());
  std::unique_ptr<Expression> node;
  if (PeekOperator("-") || PeekOperator("+")) {
    node = Make(ExpressionKind::kUnary);
    node->name = Next().text;
    ASSIGN_OR_RETURN(auto operand, ParseUnary(false));
    RETURN_IF_ERROR(Adopt(*node, std::move(operand)));
  } else {
    ASSIGN_OR_RETURN(node, ParsePrimary());
  }
  ASSIGN_OR_RETURN(node, ParsePostfix(std::move(node)));
  return with_filters ? ParseFilters(std::move(node)) : Result(std::move(node));
}

Parser::Result Parser::ParsePrimary() {
  auto node = Make(ExpressionKind::kLiteral);
  const Token& token = Peek();
  switch (token.kind) {
    case TokenKind::kInt:
      node->value = Value::Int(Next().integer);
      return node;
    case TokenKind::kFloat:
      node->value = Value::Float(Next().real);
      return node;
    case TokenKind::kString:
      node->is_text = true;
      while (Peek().kind == TokenKind::kString) node->text.Append(Next().text, {});
      return node;
    case TokenKind::kName: {
      const std::string& name = Next().text;
      if (name == "true" || name == "True" || name == "false" || name == "False") {
        node->value = Value::Bool(name == "true" || name == "True");
      } else if (name == "none" || name == "None") {
        node->value = Value::None();
      } else {
        node->kind = ExpressionKind::kName;
        node->name = name;
      }
      return node;
    }
    default:
      if (TakeOperator("[")) return ParseListOrTuple("]", ExpressionKind::kList);
      if (TakeOperator("(")) return ParseListOrTuple(")", ExpressionKind::kTuple);
      if (TakeOperator("{")) return ParseDict();
      return Unexpected("an expression");
  }
}

// After the opening bracket.  One expression in round brackets is just that.
Parser::Result Parser::ParseListOrTuple(std::string_view end, ExpressionKind kind) {
  auto node = Make(kind);
  bool comma = false;
  while (!TakeOperator(end)) {
    if (!node->operands.empty()) {
      RETURN_IF_ERROR(ExpectOperator(","));
      comma = true;
      if (TakeOperator(end)) break;
    }
    ASSIGN_OR_RETURN(auto item, ParseExpression());
    if (kind == ExpressionKind::kTuple && node->operands.empty() && TakeOperator(end)) return item;
    RETURN_IF_ERROR(Adopt(*node, std::move(item)));
  }
  if (kind == ExpressionKind::kTuple && !comma && !node->operands.empty()) return Unexpected(",");
  return node;
}

Parser::Result Parser::ParseDict() {
  auto node = Make(ExpressionKind::kDict);
  while (!TakeOperator("}")) {
    if (!node->operands.empty()) {
      RETURN_IF_ERROR(ExpectOperator(","));
      if (TakeOperator("}")) break;
    }
    ASSIGN_OR_RETURN(auto key, ParseExpression());
    RETURN_IF_ERROR(Adopt(*node, std::move(key)));
    RETURN_IF_ERROR(ExpectOperator(":"));
    ASSIGN_OR_RETURN(auto value, ParseExpression());
    RETURN_IF_ERROR(Adopt(*node, std::move(value)));
  }
  return node;
}

Parser::Result Parser::ParsePostfix(std::unique_ptr<Expression> operand) {
  while (true) {
    if (PeekOperator(".")) {
      auto node = Make(ExpressionKind::kAttribute);
      Next();
      RETURN_IF_ERROR(Adopt(*node, std::move(operand)));
      if (Peek().kind == TokenKind::kInt) {
        node->kind = ExpressionKind::kIndex;
        auto index = Make(ExpressionKind::kLiteral);
        index->value = Value::Int(Next().integer);
        RETURN_IF_ERROR(Adopt(*node, std::move(index)));
      } else {
        ASSIGN_OR_RETURN(node->name, ExpectName("the name of an attribute"));
      }
      operand = std::move(node);
    } else if (TakeOperator("[")) {
      ASSIGN_OR_RETURN(operand, ParseSubscript(std::move(operand)));
    } else if (PeekOperator("(")) {
      auto node = Make(ExpressionKind::kCall);
      Next();
      RETURN_IF_ERROR(Adopt(*node, std::move(operand)));
      RETURN_IF_ERROR(AdoptArguments(*node));
      operand = std::move(node);
    } else {
      return operand;
    }
  }
}

// After "[".
Parser::Result Parser::ParseSubscript(std::unique_ptr<Expression> operand) {
  auto node = Make(ExpressionKind::kIndex);
  RETURN_IF_ERROR(Adopt(*node, std::move(operand)));
  for (int part = 0; part < 3; ++part) {
    std::unique_ptr<Expression> bound;
    if (!PeekOperator(":") && !PeekOperator("]")) {
      ASSIGN_OR_RETURN(bound, ParseExpression());
    } else if (part == 0 && PeekOperator("]")) {
      return Unexpected("an index");
    }
    RETURN_IF_ERROR(Adopt(*node, std::move(bound)));
    if (!TakeOperator(":")) break;
    node->kind = ExpressionKind::kSlice;
  }
  RETURN_IF_ERROR(ExpectOperator("]"));
  if (node->kind == ExpressionKind::kSlice) node->operands.resize(4);
  return node;
}

Parser::Result Parser::ParseFilters(std::unique_ptr<Expression> operand) {
  while (true) {
    if (TakeOperator("|")) {
      ASSIGN_OR_RETURN(operand, ParseFilter(std::move(operand)));
    } else if (TakeName("is")) {
      ASSIGN_OR_RETURN(operand, ParseTest(std::move(operand)));
    } else if (PeekOperator("(")) {
      auto node = Make(ExpressionKind::kCall);
      Next();
      RETURN_IF_ERROR(Adopt(*node, std::move(operand)));
      RETURN_IF_ERROR(AdoptArguments(*node));
      operand = std::move(node);
    } else {
      return operand;
    }
  }
}

// After "|".
Parser::Result Parser::ParseFilter(std::unique_ptr<Expression> operand) {
  auto node = Make(ExpressionKind::kFilter);
  RETURN_IF_ERROR(Adopt(*node, std::move(operand)));
  ASSIGN_OR_RETURN(node->name, ExpectName("the name of a filter"));
  if (TakeOperator("(")) RETURN_IF_ERROR(AdoptArguments(*node));
  return node;
}

// After "is".
Parser::Result Parser::ParseTest(std::unique_ptr<Expression> operand) {
  auto node = Make(ExpressionKind::kTest);
  RETURN_IF_ERROR(Adopt(*node, std::move(operand)));
  node->negated = TakeName("not");
  ASSIGN_OR_RETURN(node->name, ExpectName("the name of a test"));
  if (TakeOperator("(")) {
    RETURN_IF_ERROR(AdoptArguments(*node));
    return node;
  }
  // "x is divisibleby 3": one argument without brackets.
  const Token& token = Peek();
  const bool name = token.kind == TokenKind::kName && token.text != "else" && token.text != "or" &&
                    token.text != "and" && token.text != "is" && token.text != "if" &&
                    token.text != "not" && token.text != "in";
  const bool literal = token.kind == TokenKind::kString || token.kind == TokenKind::kInt ||
                       token.kind == TokenKind::kFloat || PeekOperator("[") || PeekOperator("{");
  if (name || literal) {
    ASSIGN_OR_RETURN(auto argument, ParsePrimary());
    ASSIGN_OR_RETURN(argument, ParsePostfix(std::move(argument)));
    node->depth = std::max(node->depth, argument->depth + 1);
    node->arguments.positional.push_back(std::move(argument));
  }
  return node;
}

}  // namespace lorikeet::jinja
