#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/template/evaluator.h"
#include "device/template/lexer.h"

namespace lorikeet::jinja {

absl::StatusOr<Text> Evaluator::Render(const Body& body) { return Capture(body); }

absl::StatusOr<Text> Evaluator::Capture(const Body& body) {
  Text text;
  Text* const outer = std::exchange(out_, &text);
  const absl::Status status = Execute(body);
  out_ = outer;
  RETURN_IF_ERROR(status);
  return text;
}

absl::Status Evaluator::Write(const Text& text) {
  RETURN_IF_ERROR(heap_.Charge(static_cast<int64_t>(text.size())));
  if (!generating_) {
    out_->Append(text);
    return absl::OkStatus();
  }
  Text marked = text;
  marked.MarkGenerated();
  out_->Append(marked);
  return absl::OkStatus();
}

absl::Status Evaluator::Execute(const Body& body) {
  const Level level(depth_);
  if (depth_ > heap_.limits().depth) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the template nests deeper than ", heap_.limits().depth, " levels"));
  }
  for (const auto& statement : body) {
    RETURN_IF_ERROR(Execute(*statement));
    if (flow_ != Flow::kNext) break;
  }
  return absl::OkStatus();
}

absl::Status Evaluator::Execute(const Statement& statement) {
  RETURN_IF_ERROR(heap_.Step());
  switch (statement.kind) {
    case StatementKind::kData:
      return Write(Text(statement.text));
    case StatementKind::kOutput: {
      ASSIGN_OR_RETURN(const Value value, Evaluate(*statement.expression));
      if (value.is(Kind::kString)) return Write(*value.text);
      ASSIGN_OR_RETURN(const Value text, ToText(value));
      return Write(*text.text);
    }
    case StatementKind::kIf:
      return ExecuteIf(statement);
    case StatementKind::kFor:
      return ExecuteFor(statement);
    case StatementKind::kSet:
    case StatementKind::kSetBlock:
      return ExecuteSet(statement);
    case StatementKind::kMacro:
      RETURN_IF_ERROR(heap_.Charge(sizeof(Macro)));
      frame_->Set(statement.targets[0], heap_.MakeMacro({&statement, frame_}));
      return absl::OkStatus();
    case StatementKind::kFilter: {
      ASSIGN_OR_RETURN(const Value value, ExecuteFiltered(statement));
      ASSIGN_OR_RETURN(const Value text, ToText(value));
      return Write(*text.text);
    }
    case StatementKind::kGeneration: {
      const bool outer = std::exchange(generating_, true);
      const absl::Status status = Execute(statement.body);
      generating_ = outer;
      return status;
    }
    case StatementKind::kBreak:
      flow_ = Flow::kBreak;
      return absl::OkStatus();
    case StatementKind::kContinue:
      flow_ = Flow::kContinue;
      return absl::OkStatus();
  }
  return absl::InternalError("a statement of no known kind");
}

absl::Status Evaluator::ExecuteIf(const Statement& statement) {
  for (const Branch& branch : statement.branches) {
    if (branch.condition != nullptr) {
      ASSIGN_OR_RETURN(const Value condition, Evaluate(*branch.condition));
      if (!IsTrue(condition)) continue;
    }
    return Execute(branch.body);
  }
  return absl::OkStatus();
}

absl::Status Evaluator::Bind(const std::vector<std::string>& targets, const Value& value) {
  if (targets.size() == 1) {
    frame_->Set(targets[0], value);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::vector<Value>* parts, Items(value));
  if (parts->size() != targets.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected ", targets.size(), " values to unpack, got ", parts->size()));
  }
  for (size_t i = 0; i < targets.size(); ++i) frame_->Set(targets[i], (*parts)[i]);
  return absl::OkStatus();
}

absl::Status Evaluator::ExecuteFor(const Statement& statement) {
  ASSIGN_OR_RETURN(const Value sequence, Evaluate(*statement.expression));
  const auto all = Items(sequence);
  if (!all.ok()) return ErrorAt(statement.line, Message(all.status()));
  Frame* const outer = frame_;
  std::vector<Value> items;
  for (const Value& item : **all) {
    if (statement.condition != nullptr) {
      RETURN_IF_ERROR(heap_.Charge(sizeof(Frame)));
      frame_ = heap_.MakeFrame(outer);
      RETURN_IF_ERROR(Bind(statement.targets, item));
      ASSIGN_OR_RETURN(const Value condition, Evaluate(*statement.condition));
      frame_ = outer;
      if (!IsTrue(condition)) continue;
    }
    items.push_back(item);
  }
  if (items.empty()) return Execute(statement.otherwise);
  RETURN_IF_ERROR(heap_.Charge(static_cast<int64_t>(items.size() * sizeof(Value))));
  ASSIGN_OR_RETURN(const Value kept, heap_.MakeList(std::move(items)));
  Loop* const loop = heap_.MakeLoop();
  loop->items = &kept.list->items;
  loop->depth = ++loop_depth_;
  for (; loop->index < loop->items->size(); ++loop->index) {
    RETURN_IF_ERROR(heap_.Charge(sizeof(Frame) + 64));
    frame_ = heap_.MakeFrame(outer);
    if (absl::Status bound = Bind(statement.targets, (*loop->items)[loop->index]); !bound.ok()) {
      return ErrorAt(statement.line, Message(bound));
    }
    frame_->Set("loop", Value::Of(loop));
    RETURN_IF_ERROR(Execute(statement.body));
    if (std::exchange(flow_, Flow::kNext) == Flow::kBreak) break;
  }
  --loop_depth_;
  frame_ = outer;
  return absl::OkStatus();
}

absl::StatusOr<Value> Evaluator::ExecuteFiltered(const Statement& statement) {
  Frame* const outer = frame_;
  RETURN_IF_ERROR(heap_.Charge(sizeof(Frame)));
  frame_ = heap_.MakeFrame(outer);
  ASSIGN_OR_RETURN(Text text, Capture(statement.body));
  ASSIGN_OR_RETURN(const Value written, heap_.MakeText(std::move(text)));
  frame_->Set(kBodyName, written);
  ASSIGN_OR_RETURN(const Value value, Evaluate(*statement.expression));
  frame_ = outer;
  return value;
}

absl::Status Evaluator::ExecuteSet(const Statement& statement) {
  Value value;
  if (statement.kind == StatementKind::kSetBlock) {
    ASSIGN_OR_RETURN(value, ExecuteFiltered(statement));
  } else {
    ASSIGN_OR_RETURN(value, Evaluate(*statement.expression));
  }
  RETURN_IF_ERROR(heap_.Charge(2 * sizeof(Value)));
  if (statement.object.empty()) {
    if (absl::Status bound = Bind(statement.targets, value); !bound.ok()) {
      return ErrorAt(statement.line, Message(bound));
    }
    return absl::OkStatus();
  }
  const Value object = Lookup(statement.object);
  if (!object.is(Kind::kNamespace)) {
    return ErrorAt(statement.line,
                   absl::StrCat("expected ", statement.object, " to be a namespace, got ",
                                ToAbsl(KindName(object.kind))));
  }
  ASSIGN_OR_RETURN(const Value key, heap_.MakeText(statement.targets[0]));
  RETURN_IF_ERROR(heap_.Step(static_cast<int64_t>(object.dict->items.size())));
  Insert(*object.dict, key, value);
  return absl::OkStatus();
}

}  // namespace lorikeet::jinja
