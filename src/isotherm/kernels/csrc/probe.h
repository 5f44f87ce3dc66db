// The machine's own limits, for benchmarks: how fast can this instruction set multiply, and take exponentials?
#pragma once

#include "simd.h"

namespace isotherm {
namespace ISA {
namespace {

// repeats x 16 fused multiply-adds on vectors that stay in registers; returns the numbers they worked on.
template <class T>
double probe_fma(int64_t repeats) {
  typename Simd<T>::V sums[16];
  for (int k = 0; k < 16; ++k) sums[k] = splat(T(k));
  const auto factor = splat(T(0.999)), term = splat(T(0.001));
  for (int64_t i = 0; i < repeats; ++i) {
#pragma GCC unroll 16
    for (int k = 0; k < 16; ++k) sums[k] = sums[k] * factor + term;
  }
  double sum = 0.0;
  for (int k = 0; k < 16; ++k) sum += total(sums[k]);
  return sum + double(repeats) * 16 * WIDTH<T> - sum;
}

// repeats x 16 exponentials of vectors in first-level cache, added up.
template <class T>
double probe_exp(int64_t repeats) {
  alignas(BYTES) T numbers[16 * WIDTH<T>];
  for (int k = 0; k < 16 * WIDTH<T>; ++k) numbers[k] = T(-0.37) * T(k);
  typename Simd<T>::V a = {}, b = {};
  for (int64_t i = 0; i < repeats; ++i) {
#pragma GCC unroll 8
    for (int k = 0; k < 16; k += 2) {
      a += exp2_of(load(numbers + k * WIDTH<T>));
      b += exp2_of(load(numbers + k * WIDTH<T> + WIDTH<T>));
    }
    asm volatile("" : : "r"(numbers) : "memory");
  }
  return total(a + b) > 0.0 ? double(repeats) * 16 * WIDTH<T> : 0.0;
}

}  // namespace
}  // namespace ISA
}  // namespace isotherm
