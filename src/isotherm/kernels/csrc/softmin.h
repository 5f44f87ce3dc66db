// Sums of exponentials over the columns, and the largest exponent.
#pragma once

#include "pass.h"

namespace isotherm {
namespace ISA {
namespace {

// Exponents t_ij of one row against a block of columns; returns the largest of each lane.
template <class T>
INLINE typename Simd<T>::V score_block(const Pass<T>& pass, const T* base, int64_t j, int64_t vectors, T* scores) {
  constexpr int W = WIDTH<T>;
  const T* h = pass.h.template as<T>() + j;
  const T slope = pass.slope;
  auto top = splat(-T(INFINITY)), top2 = top;
  for (int64_t v = 0; v < vectors; v += 2) {
    const auto t = load(h + v * W) - slope * fetch(base + v * W);
    const auto u = load(h + v * W + W) - slope * fetch(base + v * W + W);
    store(scores + v * W, t);
    store(scores + v * W + W, u);
    top = larger(t, top);
    top2 = larger(u, top2);
  }
  return larger(top, top2);
}

// Raises the shift to the largest exponent; returns what sums made with the old one are to be multiplied by.
template <class T, class V>
INLINE T raise(T& shift, V top) {
  const T before = shift;
  shift = greatest(top);
  return T(exp2(double(before) - double(shift)));
}

// Turns exponents into 2^(t_ij - shift); returns their sums.
template <class T>
INLINE typename Simd<T>::V exponentiate(T* scores, int64_t vectors, T shift) {
  constexpr int W = WIDTH<T>;
  auto a = splat(T(0)), b = a;
  for (int64_t v = 0; v < vectors; v += 2) {
    const auto left = exp2_of(load(scores + v * W) - shift), right = exp2_of(load(scores + v * W + W) - shift);
    store(scores + v * W, left);
    store(scores + v * W + W, right);
    a += left;
    b += right;
  }
  return a + b;
}

// Sums of 2^(t_ij - m_i) over the columns. Online, m is raised to each block's maximum; otherwise it is given.
template <bool IsOnline, class T>
void exp_sums(Tile<T>& tile, int64_t begin, int64_t end, T* m, double* sums) {
  typedef typename Simd<T>::V V;
  constexpr int W = WIDTH<T>;
  const Pass<T>& pass = tile.pass;
  const T slope = pass.slope;
  alignas(BYTES) T scores[BLOCK<T>];
  V sum[ROWS] = {};
  sweep(tile, begin, end, [&](int64_t j, int64_t vectors) __attribute__((always_inline)) {
    const T* h = pass.h.template as<T>() + j;
    for (int r = 0; r < tile.count; ++r) {
      T& shift = m[tile.first - begin + r];
      if (IsOnline) {
        const V top = score_block(pass, tile.base[r], j, vectors, scores);
        if (any_above(top, shift)) {
          const T shrink = raise(shift, top);
          sum[r] *= shrink;
          sums[tile.first - begin + r] *= shrink;
        }
        sum[r] += exponentiate(scores, vectors, shift);
        continue;
      }
      V a = sum[r], b = {};
      const T* base = tile.base[r];
      const T fixed = shift;
      for (int64_t v = 0; v < vectors; v += 2) {
        a += exp2_of(load(h + v * W) - slope * fetch(base + v * W) - fixed);
        b += exp2_of(load(h + v * W + W) - slope * fetch(base + v * W + W) - fixed);
      }
      sum[r] = a + b;
    }
  }, [&]() __attribute__((always_inline)) {
    for (int r = 0; r < tile.count; ++r) {
      sums[tile.first - begin + r] += total(sum[r]);
      sum[r] = V{};
    }
  });
}

// A sum outside these bounds says that the given shift was too far off.
inline bool is_safe(double sum) { return sum > 0x1p-40 && sum < 0x1p40; }

template <class T>
void softmin(const Costs& costs, const T* potential, const T* guess, double epsilon, T* out, int threads) {
  const Pass<T> pass(costs, potential, LOG2E / epsilon);
  for_chunks(costs, threads, [&](int64_t begin, int64_t end) {
    Tile<T> tile(pass);
    T m[MAX_CHUNK];
    double sums[MAX_CHUNK] = {};
    const auto start_over = [&](int64_t from, int64_t count) {
      for (int64_t k = from; k < from + count; ++k) {
        m[k] = -Simd<T>::HUGE_SCORE;
        sums[k] = 0.0;
      }
      exp_sums<true>(tile, begin + from, begin + from + count, m + from, sums + from);
    };
    if (guess) {
      for (int64_t i = begin; i < end; ++i) {
        const double shift = (pass.alpha(i) - double(guess[i])) * pass.per_cost;
        m[i - begin] = __builtin_isfinite(shift) ? pass.clamp(shift) : T(0);
      }
      exp_sums<false>(tile, begin, end, m, sums);
      for (int64_t from = 0; from < end - begin; from += ROWS) {
        const int64_t count = end - begin - from < ROWS ? end - begin - from : ROWS;
        bool all_safe = true;
        for (int64_t k = from; k < from + count; ++k) all_safe = all_safe && is_safe(sums[k]);
        if (!all_safe) start_over(from, count);
      }
    } else {
      start_over(0, end - begin);
    }
    for (int64_t i = begin; i < end; ++i) {
      const double sum = sums[i - begin];
      out[i] = sum > 0.0 ? T(pass.alpha(i) - (log2(sum) + double(m[i - begin])) / pass.per_cost) : T(INFINITY);
    }
  });
}

template <class T>
void hard_min(const Costs& costs, const T* potential, T* out, int threads) {
  typedef typename Simd<T>::V V;
  constexpr int W = WIDTH<T>;
  const Pass<T> pass(costs, potential, 1.0);
  for_chunks(costs, threads, [&](int64_t begin, int64_t end) {
    Tile<T> tile(pass, {1, 0});
    T best[MAX_CHUNK];
    for (int64_t k = 0; k < end - begin; ++k) best[k] = -T(INFINITY);
    V top[ROWS];
    for (int r = 0; r < ROWS; ++r) top[r] = splat(-T(INFINITY));
    sweep(tile, begin, end, [&](int64_t j, int64_t vectors) __attribute__((always_inline)) {
      for (int r = 0; r < tile.count; ++r) {
        V a = top[r], b = top[r];
        const T* h = pass.h.template as<T>() + j;
        for (int64_t v = 0; v < vectors; v += 2) {
          a = larger(load(h + v * W) - pass.slope * fetch(tile.base[r] + v * W), a);
          b = larger(load(h + v * W + W) - pass.slope * fetch(tile.base[r] + v * W + W), b);
        }
        top[r] = larger(a, b);
      }
    }, [&]() __attribute__((always_inline)) {
      for (int r = 0; r < tile.count; ++r) {
        const T found = greatest(top[r]);
        if (found > best[tile.first - begin + r]) best[tile.first - begin + r] = found;
        top[r] = splat(-T(INFINITY));
      }
    });
    for (int64_t i = begin; i < end; ++i) out[i] = T(pass.alpha(i) - double(best[i - begin]));
  });
}

}  // namespace
}  // namespace ISA
}  // namespace isotherm
