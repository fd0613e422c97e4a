// RETURN_IF_ERROR and ASSIGN_OR_RETURN for absl::Status.
#ifndef LORIKEET_COMMON_BASE_STATUS_MACROS_H_
#define LORIKEET_COMMON_BASE_STATUS_MACROS_H_

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define LORIKEET_CONCAT_INNER(a, b) a##b
#define LORIKEET_CONCAT(a, b) LORIKEET_CONCAT_INNER(a, b)

// Evaluates an expression of type absl::Status; returns it from the enclosing function if it is not
// OK.
#define RETURN_IF_ERROR(expr)                                       \
  do {                                                              \
    if (absl::Status status_macro_ = (expr); !status_macro_.ok()) { \
      return status_macro_;                                         \
    }                                                               \
  } while (false)

// ASSIGN_OR_RETURN(auto x, F()): x takes the value of a StatusOr, or its error is returned.
#define ASSIGN_OR_RETURN(lhs, expr) \
  ASSIGN_OR_RETURN_IMPL(LORIKEET_CONCAT(status_or_, __LINE__), lhs, expr)
#define ASSIGN_OR_RETURN_IMPL(result, lhs, expr)       \
  auto result = (expr);                                \
  if (!result.ok()) return std::move(result).status(); \
  lhs = std::move(result).value()

// For our own bugs only: never for bytes from a disk, a peer or a user.
#define LORIKEET_CHECK(condition)                                                          \
  do {                                                                                     \
    if (!(condition)) {                                                                    \
      std::fprintf(stderr, "%s:%d: internal error: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                        \
    }                                                                                      \
  } while (false)

#endif  // LORIKEET_COMMON_BASE_STATUS_MACROS_H_
