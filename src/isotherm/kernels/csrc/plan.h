// Sums over the plan, P_ij = 2^(h_j - slope * base_ij + p_i): a block of it at a time, in first-level cache.
#pragma once

#include "products.h"

namespace isotherm {
namespace ISA {
namespace {

// One block of the plan for the rows of a tile, entries[ROWS][BLOCK].
template <class T>
INLINE void plan_block(const Tile<T>& tile, const T* minus_p, int64_t j, int64_t vectors, T* entries) {
  constexpr int W = WIDTH<T>;
  const T* h = tile.pass.h.template as<T>() + j;
  const T slope = tile.pass.slope;
  for (int r = 0; r < ROWS; ++r) {
    const T shift = minus_p[r];
    for (int64_t v = 0; v < vectors; v += 2) {
      store(entries + r * BLOCK<T> + v * W, exp2_of(load(h + v * W) - slope * fetch(tile.base[r] + v * W) - shift));
      store(entries + r * BLOCK<T> + v * W + W,
            exp2_of(load(h + v * W + W) - slope * fetch(tile.base[r] + v * W + W) - shift));
    }
  }
}

// Adds 2^(t_ij - minus_p_i) to the sums of the tile's rows, and where IsBoth to those of the columns.
template <bool IsBoth, class T>
INLINE void add_block(const Tile<T>& tile, const T* minus_p, int64_t j, int64_t vectors, double* rows, T* columns) {
  typedef typename Simd<T>::V V;
  constexpr int W = WIDTH<T>;
  const T* h = tile.pass.h.template as<T>() + j;
  const T slope = tile.pass.slope;
  V sums[ROWS] = {};
  for (int64_t v = 0; v < vectors; ++v) {
    const V scores = load(h + v * W);
    V column = IsBoth ? load(columns + j + v * W) : V{};
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      const V entry = exp2_of(scores - slope * fetch(tile.base[r] + v * W) - minus_p[r]);
      sums[r] += entry;
      if (IsBoth) column += entry;
    }
    if (IsBoth) store(columns + j + v * W, column);
  }
#pragma GCC unroll 8  // all of them: an index known only at run time would keep the sums in memory
  for (int r = 0; r < ROWS; ++r) {
    const double sum = total(sums[r]);
    if (r < tile.count) rows[r] += sum;
  }
}

// Exponents of the rows' factors with their sign turned, MAX_CHUNK of them; +inf where a row has no mass or is none.
template <class T>
void negated_exponents(const Pass<T>& pass, const T* p, int64_t begin, int64_t end, T* out) {
  for (int64_t k = 0; k < MAX_CHUNK; ++k) {
    const bool has_mass = begin + k < end && p[begin + k] != -T(INFINITY);
    out[k] = has_mass ? pass.clamp((pass.alpha(begin + k) - double(p[begin + k])) * pass.per_cost) : T(INFINITY);
  }
}

// totals[row][term] += the numbers in the lanes of sums[term][ROWS], which become zero.
template <class V>
INLINE void carry(V* sums, int64_t terms, double* totals) {
  for (int64_t k = 0; k < terms; ++k)
    for (int r = 0; r < ROWS; ++r) {
      totals[r * terms + k] += total(sums[k * ROWS + r]);
      sums[k * ROWS + r] = V{};
    }
}

// out_ik = sum over the columns, `terms` numbers for each row: add(tile, j, vectors, entries, sums) does a block, with
// sums[terms][ROWS].
template <class T, class Add>
void plan_sums(const Pass<T>& pass, const Plan& plan, int64_t terms, int threads, T* out, Add add) {
  typedef typename Simd<T>::V V;
  for_chunks(pass.costs, threads, [&](int64_t begin, int64_t end) {
    Tile<T> tile(pass);
    T minus_p[MAX_CHUNK];
    negated_exponents(pass, static_cast<const T*>(plan.p), begin, end, minus_p);
    alignas(BYTES) T entries[ROWS * BLOCK<T>];
    const Scratch lanes(ROWS * terms * BYTES), totals(MAX_CHUNK * terms * int64_t(sizeof(double)));
    sweep(tile, begin, end, [&](int64_t j, int64_t vectors) __attribute__((always_inline)) {
      plan_block(tile, minus_p + (tile.first - begin), j, vectors, entries);
      add(tile, j, vectors, entries, lanes.as<V>());
    }, [&]() __attribute__((always_inline)) {
      carry(lanes.as<V>(), terms, totals.as<double>() + (tile.first - begin) * terms);
    });
    for (int64_t k = 0; k < (end - begin) * terms; ++k) out[begin * terms + k] = T(totals.as<double>()[k]);
  });
}

template <class T>
void plan_apply(const Costs& costs, const Plan& plan, const T* values, int64_t count, T* out, int threads) {
  const T* q = static_cast<const T*>(plan.q);
  const Pass<T> pass(costs, q, LOG2E / plan.epsilon);
  const Scratch memory(pass.columns * stride_of(count) * int64_t(sizeof(T)));
  const T* packed = memory.as<T>();
  pack_values(values, q, costs.m, count, memory.as<T>());
  plan_sums(pass, plan, count, threads, out,
            [=](const Tile<T>&, int64_t j, int64_t vectors, const T* entries, auto* sums) {
    add_to_rows<T>(entries, packed + j * stride_of(count), count, vectors, sums);
  });
}

// sum_j P_ij C_ij.
template <class T>
void plan_cost(const Costs& costs, const Plan& plan, T* out, int threads) {
  constexpr int W = WIDTH<T>;
  const Pass<T> pass(costs, static_cast<const T*>(plan.q), LOG2E / plan.epsilon);
  plan_sums(pass, plan, 1, threads, out,
            [&](const Tile<T>& tile, int64_t j, int64_t vectors, const T* block, auto* sums) {
    const T gamma = T(pass.gamma);
    const T least = pass.has_norms ? T(0) : -T(INFINITY);  // rounding must not make a squared distance negative
    const T* beta = pass.has_norms ? pass.beta.template as<T>() + j : nullptr;
    for (int r = 0; r < tile.count; ++r) {
      const T alpha = T(pass.alpha(tile.first + r));
      const T *base = tile.base[r], *entries = block + r * BLOCK<T>;
      const auto paid = [=](int64_t v) __attribute__((always_inline)) {
        const auto e = load(entries + v * W);
        auto cost = gamma * load(base + v * W) + alpha;
        if (beta) cost += load(beta + v * W);
        cost = larger(cost, splat(least));
        return e > T(0) ? e * cost : e;  // 0 x inf on a forbidden pair is 0
      };
      auto even = sums[r], odd = even - even;
      for (int64_t v = 0; v < vectors; v += 2) {
        even += paid(v);
        odd += paid(v + 1);
      }
      sums[r] = even + odd;
    }
  });
}

// sum_ij a_i t(C_ij) b_j with t the identity or the squared deviation from a centre; pairs without mass do not count.
template <class T>
void product_sum(const Costs& costs, const T* a, const T* b, const double* centre, double* out, int threads) {
  typedef typename Simd<T>::V V;
  constexpr int W = WIDTH<T>;
  const Pass<T> pass(costs, nullptr, 1.0);
  const Scratch weights(pass.columns * int64_t(sizeof(T))), rows(costs.n * int64_t(sizeof(double)));
  for (int64_t j = 0; j < costs.m; ++j) weights.as<T>()[j] = b[j];
  const T gamma = T(pass.gamma), middle = centre ? T(*centre) : T(0);
  const T least = pass.has_norms ? T(0) : -T(INFINITY);
  for_chunks(costs, threads, [&](int64_t begin, int64_t end) {
    Tile<T> tile(pass, {1, 0});
    V sums[ROWS] = {};
    sweep(tile, begin, end, [&](int64_t j, int64_t vectors) __attribute__((always_inline)) {
      for (int r = 0; r < tile.count; ++r) {
        const T alpha = T(pass.alpha(tile.first + r));
        for (int64_t v = 0; v < vectors; ++v) {
          const V w = load(weights.as<T>() + j + v * W);
          V cost = gamma * fetch(tile.base[r] + v * W) + alpha;
          if (pass.has_norms) cost += load(pass.beta.template as<T>() + j + v * W);
          cost = larger(cost, splat(least));
          if (centre) {
            cost -= middle;
            cost *= cost;
          }
          sums[r] += w > T(0) ? w * cost : w - w;
        }
      }
    }, [&]() __attribute__((always_inline)) {
      for (int r = 0; r < tile.count; ++r) {
        rows.as<double>()[tile.first + r] += total(sums[r]);
        sums[r] = V{};
      }
    });
  });
  double sum = 0.0;
  for (int64_t i = 0; i < costs.n; ++i)
    if (a[i] > T(0)) sum += double(a[i]) * rows.as<double>()[i];
  *out = sum;
}

}  // namespace
}  // namespace ISA
}  // namespace isotherm
