// Chat templates as their authors wrote them: a safe interpreter for the part of Jinja that they
// use.
//
// Supported: the statements if, for, set, macro, filter, generation, break, continue and raw; all
// expressions; the filters, tests and methods in the tables of filters.cc, tests.cc, methods.cc;
// the functions range, namespace, dict, raise_exception, strftime_now.  White space as Hugging Face
// sets it (trim_blocks, lstrip_blocks).  Not supported: import, include, extends, call, recursive
// loops, HTML escaping.
// Every byte of the result knows whether the template or a message wrote it (text.h).
// Source: https://jinja.palletsprojects.com/templates and the chat template guide of transformers.
#ifndef LORIKEET_DEVICE_TEMPLATE_TEMPLATE_H_
#define LORIKEET_DEVICE_TEMPLATE_TEMPLATE_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/civil_time.h"
#include "device/template/ast.h"
#include "device/template/text.h"
#include "device/template/value.h"

namespace lorikeet::jinja {

// Immutable; thread-safe.
class Template {
 public:
  // INVALID_ARGUMENT names the line and what was expected; UNIMPLEMENTED a statement that is not
  // supported; RESOURCE_EXHAUSTED: longer than 1 MiB.
  static absl::StatusOr<Template> Parse(std::string_view source);

  // `variables` live in `heap`.  `now`: see Evaluator.  FAILED_PRECONDITION: the template refuses
  // (raise_exception), with its words; INVALID_ARGUMENT, UNIMPLEMENTED: what it does cannot be
  // done; RESOURCE_EXHAUSTED: beyond the heap's limits.  All name the line.
  absl::StatusOr<Text> Render(Heap& heap,
                              const std::vector<std::pair<std::string_view, Value>>& variables,
                              std::optional<absl::CivilSecond> now) const;

  // Whether it marks with {% generation %} what the model is to learn.
  bool has_generation() const { return has_generation_; }

 private:
  Template() = default;

  Body body_;
  bool has_generation_ = false;
};

}  // namespace lorikeet::jinja

#endif  // LORIKEET_DEVICE_TEMPLATE_TEMPLATE_H_
