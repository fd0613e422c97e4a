// The syntax tree of a template.
#ifndef LORIKEET_DEVICE_TEMPLATE_AST_H_
#define LORIKEET_DEVICE_TEMPLATE_AST_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "device/template/value.h"

namespace lorikeet::jinja {

enum class ExpressionKind : uint8_t {
  kLiteral,      // number, true, false, none: `value`; string: `text`
  kName,         // `name`
  kList,         // operands
  kTuple,        // operands
  kDict,         // operands: key, value, key, value ...
  kNot,          // operand
  kAnd,          // two operands
  kOr,           // two operands
  kUnary,        // `name` is the operator
  kBinary,       // `name` is the operator
  kCompare,      // operands; one of `operators` between neighbours
  kConditional,  // then, condition, else (may be null)
  kAttribute,    // operand.name
  kIndex,        // operand[operand]
  kSlice,        // operand[begin:end:step]; the last three may be null
  kCall,         // operand(arguments)
  kFilter,       // operand | name(arguments)
  kTest,         // operand is name(arguments); `negated`
};

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

struct Arguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
};

struct Expression {
  ExpressionKind kind = ExpressionKind::kLiteral;
  int line = 1;
  int depth = 1;  // of the tree from here down
  Value value;
  Text text;
  bool is_text = false;
  std::string name;
  bool negated = false;
  std::vector<std::string> operators;
  std::vector<ExpressionPtr> operands;
  Arguments arguments;
};

enum class StatementKind : uint8_t {
  kData,        // `text`
  kOutput,      // `expression`
  kIf,          // `branches`
  kFor,         // `targets` in `expression` if `condition`: `body`, else `otherwise`
  kSet,         // `targets` = `expression`, or `object`.`targets[0]` = `expression`
  kSetBlock,    // `targets[0]` = what `body` writes, through the filters of `expression`
  kMacro,       // `targets[0]`(`parameters`): `body`
  kFilter,      // what `body` writes through the filters of `expression`
  kGeneration,  // `body` is what the model is to learn
  kBreak,
  kContinue,
};

struct Statement;
using Body = std::vector<std::unique_ptr<const Statement>>;

struct Branch {
  ExpressionPtr condition;  // null: else
  Body body;
};

struct Parameter {
  std::string name;
  ExpressionPtr fallback;  // null: undefined
};

struct Statement {
  StatementKind kind = StatementKind::kData;
  int line = 1;
  std::string text;
  std::string object;
  std::vector<std::string> targets;
  std::vector<Parameter> parameters;
  ExpressionPtr expression;
  ExpressionPtr condition;
  std::vector<Branch> branches;
  Body body;
  Body otherwise;
};

// In an expression of filters alone ({% filter f %}, {% set x | f %}): stands for what the body
// wrote.
inline constexpr char kBodyName[] = "{body}";

}  // namespace lorikeet::jinja

#endif  // LORIKEET_DEVICE_TEMPLATE_AST_H_
