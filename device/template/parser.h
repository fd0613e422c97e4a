// Tokens to a syntax tree.  One parser in two files: statements (parser.cc) and expressions
// (parse_expression.cc).
#ifndef LORIKEET_DEVICE_TEMPLATE_PARSER_H_
#define LORIKEET_DEVICE_TEMPLATE_PARSER_H_

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "device/template/ast.h"
#include "device/template/lexer.h"

namespace lorikeet::jinja {

class Parser {
 public:
  // REQUIRES: the last token is kEnd.
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  // The whole template.  INVALID_ARGUMENT names the line and what was expected; UNIMPLEMENTED a
  // statement of Jinja that is not supported.
  absl::StatusOr<Body> ParseTemplate();
  // Whether there is a {% generation %}.  REQUIRES: ParseTemplate was called.
  bool has_generation() const { return has_generation_; }

 private:
  // Counts open levels of recursion while it lives.
  class Level {
   public:
    explicit Level(int& depth) : depth_(++depth) {}
    ~Level() { --depth_; }

   private:
    int& depth_;
  };

  const Token& Peek(size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }
  bool PeekName(std::string_view name) const { return Peek().Is(TokenKind::kName, name); }
  bool PeekOperator(std::string_view text) const { return Peek().Is(TokenKind::kOperator, text); }
  const Token& Next();
  bool TakeOperator(std::string_view text);
  bool TakeName(std::string_view name);
  absl::Status Unexpected(std::string_view expected) const;
  absl::Status ExpectOperator(std::string_view text);
  absl::StatusOr<std::string> ExpectName(std::string_view what);
  absl::Status ExpectBlockEnd();
  absl::Status CheckDepth() const;

  // Statements up to a tag named as one of `ends`, whose name is taken; empty `ends`: to the end.
  absl::Status ParseBody(std::initializer_list<std::string_view> ends, Body& body,
                         std::string* end_name);
  absl::StatusOr<std::unique_ptr<Statement>> ParseStatement();
  absl::Status ParseIf(Statement& statement);
  absl::Status ParseFor(Statement& statement);
  absl::Status ParseSet(Statement& statement);
  absl::Status ParseMacro(Statement& statement);
  absl::Status ParseFilterBlock(Statement& statement);
  // {% name %} ... {% endname %}: the rest from the name on.
  absl::Status ParseRest(std::string_view end, Body& body);
  absl::StatusOr<std::vector<std::string>> ParseTargets(std::string_view what);

  using Result = absl::StatusOr<std::unique_ptr<Expression>>;
  std::unique_ptr<Expression> Make(ExpressionKind kind) const;
  // Takes `operand` as the next operand of `node`.  INVALID_ARGUMENT: nested too deep.
  absl::Status Adopt(Expression& node, std::unique_ptr<Expression> operand);
  absl::Status AdoptArguments(Expression& node);  // after "("
  Result ParseExpression();                       // a tuple without brackets is none
  Result ParseTuple();                            // a, b or one expression
  Result ParseOr();
  Result ParseAnd();
  Result ParseNot();
  Result ParseCompare();
  Result ParseSum();
  Result ParseConcatenation();
  Result ParseProduct();
  Result ParsePower();
  Result ParseUnary(bool with_filters);
  Result ParsePrimary();
  Result ParseListOrTuple(std::string_view end, ExpressionKind kind);
  Result ParseDict();
  Result ParsePostfix(std::unique_ptr<Expression> operand);
  Result ParseSubscript(std::unique_ptr<Expression> operand);
  Result ParseFilters(std::unique_ptr<Expression> operand);
  Result ParseFilter(std::unique_ptr<Expression> operand);
  Result ParseTest(std::unique_ptr<Expression> operand);
  // left (operator right)*, the operators all of one rank.
  Result ParseBinary(std::initializer_list<std::string_view> operators,
                     Result (Parser::*operand)());

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  int loops_ = 0;  // {% for %} around
  bool has_generation_ = false;
};

}  // namespace lorikeet::jinja

#endif  // LORIKEET_DEVICE_TEMPLATE_PARSER_H_
