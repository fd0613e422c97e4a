// Logarithms of normal tails and sums, accurate far out where the values themselves underflow.
#ifndef LORIKEET_COMMON_DP_SPECIAL_FUNCTIONS_H_
#define LORIKEET_COMMON_DP_SPECIAL_FUNCTIONS_H_

namespace lorikeet {

double LogErfc(double x);
// log P(standard normal <= x).
double LogNormalCdf(double x);
// log(e^a + e^b).
double LogAdd(double a, double b);
// log(e^a - e^b).  REQUIRES: a >= b.
double LogSubtract(double a, double b);
// log of the binomial coefficient's magnitude; n may be fractional.
double LogBinomial(double n, double k);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DP_SPECIAL_FUNCTIONS_H_
