// Sums of exponentials over the columns, and the largest exponent.
#pragma once

#include "pass.h"

namespace isotherm {
namespace ISA {
namespace {

// Sums of 2^(t_ij - m_i) over the columns. Online, m is raised to each block's maximum; otherwise it is given.
template <bool IsOnline, class T>
void exp_sums(Tile<T>& tile, int64_t begin, int64_t end, T* m, double* sums) {
  typedef typename Simd<T>::V V;
  constexpr int W = WIDTH<T>;
  const Pass<T>& pass = tile.pass;
  const T* h = pass.h.template as<T>();
  const T slope = pass.slope;
  alignas(BYTES) T scores[BLOCK<T>];
  V sum[ROWS][2] = {};
  sweep(tile, begin, end, [&](int64_t j, int64_t vectors) __attribute__((always_inline)) {
    for (int r = 0; r < tile.count; ++r) {
      const T* base = tile.base[r];
      T& shift = m[tile.first - begin + r];
      if (IsOnline) {
        V top = splat(-T(INFINITY)), top2 = top;
        for (int64_t v = 0; v < vectors; v += 2) {
          const V t = load(h + j + v * W) - slope * load(base + v * W);
          const V u = load(h + j + v * W + W) - slope * load(base + v * W + W);
          store(scores + v * W, t);
          store(scores + v * W + W, u);
          top = larger(t, top);
          top2 = larger(u, top2);
        }
        top = larger(top, top2);
        if (any_above(top, shift)) {
          const T best = greatest(top);
          const T shrink = T(exp2(double(shift) - double(best)));
          sum[r][0] *= shrink;
          sum[r][1] *= shrink;
          sums[tile.first - begin + r] *= shrink;
          shift = best;
        }
      }
      V a = sum[r][0], b = sum[r][1];
      const T fixed = shift;
      for (int64_t v = 0; v < vectors; v += 2) {
        if (IsOnline) {
          a += exp2_of(load(scores + v * W) - fixed);
          b += exp2_of(load(scores + v * W + W) - fixed);
        } else {
          a += exp2_of(load(h + j + v * W) - slope * load(base + v * W) - fixed);
          b += exp2_of(load(h + j + v * W + W) - slope * load(base + v * W + W) - fixed);
        }
      }
      sum[r][0] = a;
      sum[r][1] = b;
    }
  }, [&]() __attribute__((always_inline)) {
    for (int r = 0; r < tile.count; ++r) {
      sums[tile.first - begin + r] += total(sum[r][0] + sum[r][1]);
      sum[r][0] = sum[r][1] = V{};
    }
  });
}

// A sum outside these bounds says that the given shift was too far off.
inline bool is_safe(double sum) { return sum > 0x1p-40 && sum < 0x1p40; }

template <class T>
void softmin(const Costs& costs, const T* potential, const T* guess, double epsilon, T* out, int threads) {
  const Pass<T> pass(costs, potential, LOG2E / epsilon);
  for_chunks(costs.n, threads, [&](int64_t begin, int64_t end) {
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
  for_chunks(costs.n, threads, [&](int64_t begin, int64_t end) {
    Tile<T> tile(pass);
    T best[MAX_CHUNK];
    for (int64_t k = 0; k < end - begin; ++k) best[k] = -T(INFINITY);
    V top[ROWS];
    for (int r = 0; r < ROWS; ++r) top[r] = splat(-T(INFINITY));
    sweep(tile, begin, end, [&](int64_t j, int64_t vectors) __attribute__((always_inline)) {
      for (int r = 0; r < tile.count; ++r) {
        V a = top[r], b = top[r];
        const T* h = pass.h.template as<T>() + j;
        for (int64_t v = 0; v < vectors; v += 2) {
          a = larger(load(h + v * W) - pass.slope * load(tile.base[r] + v * W), a);
          b = larger(load(h + v * W + W) - pass.slope * load(tile.base[r] + v * W + W), b);
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
