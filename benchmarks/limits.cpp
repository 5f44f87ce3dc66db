// What one core can do at most: fused multiply-adds, and the exponentials of the kernels themselves, from first-level
// cache and into registers. Compiled by limits.py for the instruction set that the kernels run on.
#include "simd.h"

namespace {

using namespace isotherm::ISA;

volatile double sink;  // what is computed is used

template <class T>
void multiply_adds(int64_t rounds) {
  typedef typename Simd<T>::V V;
  constexpr int CHAINS = 12;  // two units, latency four, and some to spare
  volatile T seed = T(0.999);
  const V factor = splat(T(seed)), term = splat(T(seed) - T(0.5));
  V chain[CHAINS];
  for (int k = 0; k < CHAINS; ++k) chain[k] = splat(T(k) + T(seed));
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int k = 0; k < CHAINS; ++k) chain[k] = chain[k] * factor + term;
  }
  for (int k = 1; k < CHAINS; ++k) chain[0] += chain[k];
  sink = total(chain[0]);
}

template <class T>
void exponentials(int64_t rounds) {
  typedef typename Simd<T>::V V;
  constexpr int W = WIDTH<T>, LENGTH = 1024;
  alignas(BYTES) T exponents[LENGTH];
  for (int k = 0; k < LENGTH; ++k) exponents[k] = T(-0.02) * T(k);
  V sums[4] = {};
  for (int64_t round = 0; round < rounds; ++round) {
    for (int k = 0; k < LENGTH; k += 4 * W) {
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) sums[q] += exp2_of(load(exponents + k + q * W));
    }
    asm volatile("" ::"r"(exponents) : "memory");  // they may have changed: compute them again
  }
  sink = total((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

}  // namespace

extern "C" {
// Multiply-adds, and exponentials, in one round.
int64_t multiply_adds_f32_work() { return 12 * WIDTH<float>; }
int64_t multiply_adds_f64_work() { return 12 * WIDTH<double>; }
int64_t exponentials_f32_work() { return 1024; }
int64_t exponentials_f64_work() { return 1024; }

void multiply_adds_f32(int64_t rounds) { multiply_adds<float>(rounds); }
void multiply_adds_f64(int64_t rounds) { multiply_adds<double>(rounds); }
void exponentials_f32(int64_t rounds) { exponentials<float>(rounds); }
void exponentials_f64(int64_t rounds) { exponentials<double>(rounds); }
}
