#include "common/secagg/reed_solomon.h"

#include <utility>

#include "common/secagg/field.h"

namespace lorikeet {
namespace {

using field::Add;
using field::Invert;
using field::Multiply;
using field::Subtract;

// Drops leading zeros; the zero polynomial becomes empty.
void Trim(Polynomial* p) {
  while (!p->empty() && p->back() == 0) p->pop_back();
}

// p * (x - root)
void MultiplyByRoot(Polynomial* p, uint64_t root) {
  p->push_back(0);
  for (size_t i = p->size(); i-- > 0;) {
    const uint64_t shifted = i > 0 ? (*p)[i - 1] : 0;
    (*p)[i] = Subtract(shifted, Multiply(root, (*p)[i]));
  }
}

Polynomial MultiplyPolynomials(const Polynomial& a, const Polynomial& b) {
  if (a.empty() || b.empty()) return {};
  Polynomial product(a.size() + b.size() - 1, 0);
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = 0; j < b.size(); ++j)
      product[i + j] = Add(product[i + j], Multiply(a[i], b[j]));
  }
  return product;
}

Polynomial SubtractPolynomials(Polynomial a, const Polynomial& b) {
  if (a.size() < b.size()) a.resize(b.size(), 0);
  for (size_t i = 0; i < b.size(); ++i) a[i] = Subtract(a[i], b[i]);
  Trim(&a);
  return a;
}

// Quotient and remainder.  REQUIRES: b not zero, trimmed.
std::pair<Polynomial, Polynomial> Divide(Polynomial a, const Polynomial& b) {
  Trim(&a);
  if (a.size() < b.size()) return {{}, std::move(a)};
  Polynomial quotient(a.size() - b.size() + 1, 0);
  const uint64_t inverse = Invert(b.back());
  for (size_t i = quotient.size(); i-- > 0;) {
    const uint64_t factor = Multiply(a[i + b.size() - 1], inverse);
    quotient[i] = factor;
    for (size_t j = 0; j < b.size(); ++j) a[i + j] = Subtract(a[i + j], Multiply(factor, b[j]));
  }
  Trim(&a);
  return {std::move(quotient), std::move(a)};
}

}  // namespace

uint64_t EvaluatePolynomial(const Polynomial& polynomial, uint64_t point) {
  uint64_t value = 0;
  for (size_t i = polynomial.size(); i-- > 0;) value = Add(Multiply(value, point), polynomial[i]);
  return value;
}

Polynomial InterpolatePolynomial(std::span<const uint64_t> points,
                                 std::span<const uint64_t> values) {
  Polynomial result, basis = {1};
  for (size_t i = 0; i < points.size(); ++i) {
    const uint64_t missing = Subtract(values[i], EvaluatePolynomial(result, points[i]));
    const uint64_t factor = Multiply(missing, Invert(EvaluatePolynomial(basis, points[i])));
    result.resize(basis.size(), 0);
    for (size_t j = 0; j < basis.size(); ++j)
      result[j] = Add(result[j], Multiply(factor, basis[j]));
    MultiplyByRoot(&basis, points[i]);
  }
  Trim(&result);
  return result;
}

std::optional<Polynomial> DecodeReedSolomon(std::span<const uint64_t> points,
                                            std::span<const uint64_t> values, int dimension) {
  Polynomial previous = {1};
  for (uint64_t point : points) MultiplyByRoot(&previous, point);
  Polynomial current = InterpolatePolynomial(points, values);
  // Extended Euclid on (prod (x - x_i), interpolation), stopped when the remainder's degree is
  // below (n + dimension) / 2.
  Polynomial previous_factor, current_factor = {1};
  while (!current.empty() && 2 * (current.size() - 1) >= points.size() + dimension) {
    auto [quotient, remainder] = Divide(std::move(previous), current);
    Polynomial factor = SubtractPolynomials(std::move(previous_factor),
                                            MultiplyPolynomials(quotient, current_factor));
    previous = std::exchange(current, std::move(remainder));
    previous_factor = std::exchange(current_factor, std::move(factor));
  }
  if (current_factor.empty()) return std::nullopt;
  auto [decoded, remainder] = Divide(std::move(current), current_factor);
  if (!remainder.empty() || decoded.size() > static_cast<size_t>(dimension)) return std::nullopt;
  return decoded;
}

}  // namespace lorikeet
