// Vectors of one instruction set, and the few operations on them that a compiler does not find by itself.
//
// Written with the vector extensions of GCC and Clang. Compiled once per instruction set, each time in its own
// namespace, so nothing here may come from the standard library's templates: the linker would merge the copies.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

namespace isotherm {
namespace ISA {

#if defined(__AVX512F__)
constexpr int BYTES = 64;
constexpr int ROWS = 8;  // rows of a tile: 8 x 2 accumulators and their operands fit 32 registers
#elif defined(__AVX2__)
constexpr int BYTES = 32;
constexpr int ROWS = 4;  // 16 registers
#else
constexpr int BYTES = 16;
constexpr int ROWS = 4;
#endif

template <class T>
struct Simd;
template <>
struct Simd<float> {
  typedef float V __attribute__((vector_size(BYTES)));
  typedef uint32_t I __attribute__((vector_size(BYTES)));
  static constexpr float HUGE_SCORE = 1e38f;
};
template <>
struct Simd<double> {
  typedef double V __attribute__((vector_size(BYTES)));
  typedef uint64_t I __attribute__((vector_size(BYTES)));
  static constexpr double HUGE_SCORE = 8e307;
};
typedef Simd<float>::V VF;
typedef Simd<double>::V VD;
typedef Simd<float>::I IF;
typedef Simd<double>::I ID;

template <class T>
constexpr int WIDTH = BYTES / int(sizeof(T));

// Loads and stores carry their own alignment: buffers are ours, but a cost matrix is the caller's.
INLINE VF load(const float* p) { VF v; memcpy(&v, p, BYTES); return v; }
INLINE VD load(const double* p) { VD v; memcpy(&v, p, BYTES); return v; }
INLINE void store(float* p, VF v) { memcpy(p, &v, BYTES); }
INLINE void store(double* p, VD v) { memcpy(p, &v, BYTES); }
INLINE VF splat(float a) { return a - VF{}; }
INLINE VD splat(double a) { return a - VD{}; }

// Keeps a vector in a register: GCC would load it anew for each of its uses, and loads become the limit.
template <class V>
INLINE V in_register(V v) {
#if defined(__x86_64__)
  asm("" : "+v"(v));
#endif
  return v;
}

#if defined(__AVX512F__)
INLINE VF larger(VF a, VF b) { return _mm512_max_ps(a, b); }
INLINE VD larger(VD a, VD b) { return _mm512_max_pd(a, b); }
INLINE VF root(VF a) { return _mm512_sqrt_ps(a); }
INLINE VD root(VD a) { return _mm512_sqrt_pd(a); }
#else
INLINE VF larger(VF a, VF b) { return a > b ? a : b; }
INLINE VD larger(VD a, VD b) { return a > b ? a : b; }
#if defined(__AVX2__)
INLINE VF root(VF a) { return _mm256_sqrt_ps(a); }
INLINE VD root(VD a) { return _mm256_sqrt_pd(a); }
#elif defined(__x86_64__)
INLINE VF root(VF a) { return _mm_sqrt_ps(a); }
INLINE VD root(VD a) { return _mm_sqrt_pd(a); }
#else
INLINE VF root(VF a) { for (int k = 0; k < WIDTH<float>; ++k) a[k] = __builtin_sqrtf(a[k]); return a; }
INLINE VD root(VD a) { for (int k = 0; k < WIDTH<double>; ++k) a[k] = __builtin_sqrt(a[k]); return a; }
#endif
#endif

// 2^t: relative error below 5e-7 in float and 1e-15 in double; exactly 0 for -inf and below the normal numbers.
// Near-minimax polynomials of degree 5 and 11; their own errors are 7.5e-8 and 3e-18.
#if defined(__AVX512F__)
// t = floor(t) + r with r in [0, 1); scalef takes the floor itself and underflows to 0.
INLINE VF exp2_of(VF t) {
  const VF r = _mm512_reduce_ps(t, 0x09);
  VF p = 1.877576765658014964e-3f * r + 8.989339876598735766e-3f;
  p = p * r + 5.582631823168337682e-2f;
  p = p * r + 2.401536169827235783e-1f;
  p = p * r + 6.931530732070962291e-1f;
  p = p * r + 9.999999250637599349e-1f;
  return _mm512_scalef_ps(p, t);
}
INLINE VD exp2_of(VD t) {
  const VD r = _mm512_reduce_pd(t, 0x09);
  VD p = 6.27243695713783512e-10 * r + 6.554455773857050403e-9;
  p = p * r + 1.025445771423247227e-7;
  p = p * r + 1.320819344985004002e-6;
  p = p * r + 1.525319025275119249e-5;
  p = p * r + 1.540351144627428811e-4;
  p = p * r + 1.333355866158347062e-3;
  p = p * r + 9.618129098792448962e-3;
  p = p * r + 5.550410866571116324e-2;
  p = p * r + 2.402265069590547121e-1;
  p = p * r + 6.931471805599462346e-1;
  p = p * r + 9.999999999999999969e-1;
  return _mm512_scalef_pd(p, t);
}
#else
// t = n + r with r in [-1/2, 1/2]: adding 1.5 * 2^23 leaves n in the low bits, which are then added to the exponent.
INLINE VF exp2_of(VF t) {
  const IF gone = ~(IF)(t > -125.0f);  // also -inf, whose remainder is NaN
  t = t < 127.0f ? t : splat(127.0f);
  const VF magic = splat(12582912.0f);
  const VF shifted = t + magic;
  const VF r = t - (shifted - magic);
  VF p = 1.327647263195087605e-3f * r + 9.67554134312132739e-3f;
  p = p * r + 5.550713271855644202e-2f;
  p = p * r + 2.402211972371071963e-1f;
  p = p * r + 6.931469670650352143e-1f;
  p = p * r + 1.000000071654714145f;
  return (VF)(((IF)p + ((IF)shifted << 23)) & ~gone);
}
INLINE VD exp2_of(VD t) {
  const ID gone = ~(ID)(t > -1021.0);
  t = t < 1023.0 ? t : splat(1023.0);
  const VD magic = splat(6755399441055744.0);
  const VD shifted = t + magic;
  const VD r = t - (shifted - magic);
  VD p = 4.435282706957277151e-10 * r + 7.074105613508142796e-9;
  p = p * r + 1.017819802167193084e-7;
  p = p * r + 1.321543308967639918e-6;
  p = p * r + 1.525273348998852565e-5;
  p = p * r + 1.540353046251443206e-4;
  p = p * r + 1.333355814678992172e-3;
  p = p * r + 9.618129107588335244e-3;
  p = p * r + 5.55041086648199216e-2;
  p = p * r + 2.40226506959101562e-1;
  p = p * r + 6.931471805599453305e-1;
  p = p * r + 9.999999999999999971e-1;
  return (VD)(((ID)p + ((ID)shifted << 52)) & ~gone);
}
#endif

// out[c][r] = in[r][c] for SQUARE x SQUARE numbers: halves of ever smaller blocks are exchanged between pairs of rows.
template <class T>
constexpr int SQUARE = 32 / int(sizeof(T));
#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, I{__VA_ARGS__})
#endif
INLINE void transpose(const float* in, int64_t in_stride, float* out, int64_t out_stride) {
  typedef float V __attribute__((vector_size(32)));
  [[maybe_unused]] typedef int32_t I __attribute__((vector_size(32)));
  V a[8], b[8];
  for (int r = 0; r < 8; ++r) memcpy(&a[r], in + r * in_stride, 32);
  for (int r = 0; r < 4; ++r) {
    b[r] = SHUFFLE(a[r], a[r + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    b[r + 4] = SHUFFLE(a[r], a[r + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
  for (int r = 0; r < 8; r += 4)
    for (int k = r; k < r + 2; ++k) {
      a[k] = SHUFFLE(b[k], b[k + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      a[k + 2] = SHUFFLE(b[k], b[k + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int r = 0; r < 8; r += 2) {
    b[r] = SHUFFLE(a[r], a[r + 1], 0, 8, 2, 10, 4, 12, 6, 14);
    b[r + 1] = SHUFFLE(a[r], a[r + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  }
  for (int r = 0; r < 8; ++r) memcpy(out + r * out_stride, &b[r], 32);
}
INLINE void transpose(const double* in, int64_t in_stride, double* out, int64_t out_stride) {
  typedef double V __attribute__((vector_size(32)));
  [[maybe_unused]] typedef int64_t I __attribute__((vector_size(32)));
  V a[4], b[4];
  for (int r = 0; r < 4; ++r) memcpy(&a[r], in + r * in_stride, 32);
  for (int r = 0; r < 2; ++r) {
    b[r] = SHUFFLE(a[r], a[r + 2], 0, 1, 4, 5);
    b[r + 2] = SHUFFLE(a[r], a[r + 2], 2, 3, 6, 7);
  }
  for (int r = 0; r < 4; r += 2) {
    a[r] = SHUFFLE(b[r], b[r + 1], 0, 4, 2, 6);
    a[r + 1] = SHUFFLE(b[r], b[r + 1], 1, 5, 3, 7);
  }
  for (int r = 0; r < 4; ++r) memcpy(out + r * out_stride, &a[r], 32);
}

template <int Bytes>
struct Doubles {
  typedef double V __attribute__((vector_size(Bytes)));
};

// Sum of a vector's numbers, in double: half is added to half until two are left.
template <int Bytes>
INLINE double total_of(typename Doubles<Bytes>::V v) {
  if constexpr (Bytes > 16) {
    typename Doubles<Bytes / 2>::V low, high;
    memcpy(&low, &v, Bytes / 2);
    memcpy(&high, reinterpret_cast<const char*>(&v) + Bytes / 2, Bytes / 2);
    return total_of<Bytes / 2>(low + high);
  } else {
    return v[0] + v[1];
  }
}
INLINE double total(VD v) {
  v = in_register(v);  // else its halves are read from memory, and the sums of a loop are kept there from the start
  return total_of<BYTES>(v);
}
INLINE double total(VF v) {
  v = in_register(v);  // else its halves are read from memory, and the sums of a loop are kept there from the start
  typedef float Half __attribute__((vector_size(BYTES / 2)));
  Half low, high;
  memcpy(&low, &v, sizeof(Half));
  memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof(Half), sizeof(Half));
  return total_of<BYTES>(__builtin_convertvector(low, VD) + __builtin_convertvector(high, VD));
}

template <class V>
INLINE auto greatest(V v) {
  auto top = v[0];
  for (int k = 1; k < int(sizeof(v) / sizeof(v[0])); ++k) top = v[k] > top ? v[k] : top;
  return top;
}

// Whether a number of the vector is greater than the bound.
#if defined(__AVX512F__)
INLINE bool any_above(VF v, float bound) { return _mm512_cmp_ps_mask(v, splat(bound), _CMP_GT_OQ) != 0; }
INLINE bool any_above(VD v, double bound) { return _mm512_cmp_pd_mask(v, splat(bound), _CMP_GT_OQ) != 0; }
#elif defined(__AVX2__)
INLINE bool any_above(VF v, float bound) { return _mm256_movemask_ps((VF)(v > bound)) != 0; }
INLINE bool any_above(VD v, double bound) { return _mm256_movemask_pd((VD)(v > bound)) != 0; }
#else
template <class V, class T>
INLINE bool any_above(V v, T bound) { return greatest(v) > bound; }
#endif

// Results below the normal numbers become zero while this lives: on most processors they cost a hundred cycles each.
struct FlushToZero {
#if defined(__x86_64__)
  unsigned before;
  FlushToZero() : before(_mm_getcsr()) { _mm_setcsr(before | 0x8040u); }
  ~FlushToZero() { _mm_setcsr(before); }
#elif defined(__aarch64__)
  uint64_t before;
  FlushToZero() { asm volatile("mrs %0, fpcr" : "=r"(before)); asm volatile("msr fpcr, %0" ::"r"(before | (1u << 24))); }
  ~FlushToZero() { asm volatile("msr fpcr, %0" ::"r"(before)); }
#endif
};

}  // namespace ISA
}  // namespace isotherm
