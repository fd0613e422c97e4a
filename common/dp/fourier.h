// Discrete Fourier transform of complex vectors, for convolutions.
#ifndef LORIKEET_COMMON_DP_FOURIER_H_
#define LORIKEET_COMMON_DP_FOURIER_H_

#include <complex>
#include <vector>

namespace lorikeet {

// In place.  REQUIRES: a power of two of values.  The inverse is not divided by their number.
void Fourier(std::vector<std::complex<double>>* values, bool inverse);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DP_FOURIER_H_
