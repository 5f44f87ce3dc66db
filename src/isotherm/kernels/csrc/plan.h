// Sums over the plan, P_ij = 2^(h_j - slope * base_ij + p_i): a block of it at a time, in first-level cache.
#pragma once

#include "pass.h"

namespace isotherm {
namespace ISA {
namespace {

// One block of the plan for the rows of a tile, entries[row][BLOCK].
template <class T>
INLINE void plan_block(const Tile<T>& tile, const T* minus_p, int64_t j, int64_t vectors, T* entries) {
  constexpr int W = WIDTH<T>;
  const T* h = tile.pass.h.template as<T>() + j;
  const T slope = tile.pass.slope;
  for (int r = 0; r < tile.count; ++r) {
    const T shift = minus_p[r];
    for (int64_t v = 0; v < vectors; v += 2) {
      store(entries + r * BLOCK<T> + v * W, exp2_of(load(h + v * W) - slope * load(tile.base[r] + v * W) - shift));
      store(entries + r * BLOCK<T> + v * W + W,
            exp2_of(load(h + v * W + W) - slope * load(tile.base[r] + v * W + W) - shift));
    }
  }
}

// Exponents of the rows' factors with their sign turned; +inf where a row has no mass.
template <class T>
void negated_exponents(const Pass<T>& pass, const T* p, int64_t begin, int64_t end, T* out) {
  for (int64_t i = begin; i < end; ++i)
    out[i - begin] = p[i] == -T(INFINITY) ? T(INFINITY) : pass.clamp((pass.alpha(i) - double(p[i])) * pass.per_cost);
}

// sums[k] += sum_j entries_j term(k, j) for `Count` columns k; two partial sums each, to hide the latency of the additions.
template <class T, int Count, class Term>
INLINE void add_terms(const T* entries, int64_t vectors, typename Simd<T>::V* sums, Term term) {
  constexpr int W = WIDTH<T>;
  typename Simd<T>::V even[Count], odd[Count] = {};
#pragma GCC unroll 4
  for (int k = 0; k < Count; ++k) even[k] = sums[k];
  for (int64_t v = 0; v < vectors; v += 2) {
    const auto left = load(entries + v * W), right = load(entries + v * W + W);
#pragma GCC unroll 4
    for (int k = 0; k < Count; ++k) {
      even[k] = left * term(k, v) + even[k];
      odd[k] = right * term(k, v + 1) + odd[k];
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < Count; ++k) sums[k] = even[k] + odd[k];
}

// The same for any number of columns, four at a time; term(k, v) is a vector.
template <class T, class Term>
INLINE void add_all_terms(const T* entries, int64_t count, int64_t vectors, typename Simd<T>::V* sums, Term term) {
  for (int64_t k = 0; k < count; k += 4) {
    const auto part = [&](int c, int64_t v) __attribute__((always_inline)) { return term(k + c, v); };
    switch (count - k) {
      case 1: add_terms<T, 1>(entries, vectors, sums + k, part); break;
      case 2: add_terms<T, 2>(entries, vectors, sums + k, part); break;
      case 3: add_terms<T, 3>(entries, vectors, sums + k, part); break;
      default: add_terms<T, 4>(entries, vectors, sums + k, part);
    }
  }
}

// out_ik = sum over the columns, `count` numbers for each row: add(tile row, j, vectors, entries, sums) does a block.
template <class T, class Add>
void plan_sums(const Pass<T>& pass, const Plan& plan, int64_t count, int threads, T* out, Add add) {
  typedef typename Simd<T>::V V;
  for_chunks(pass.costs.n, threads, [&](int64_t begin, int64_t end) {
    Tile<T> tile(pass);
    T minus_p[MAX_CHUNK];
    negated_exponents(pass, static_cast<const T*>(plan.p), begin, end, minus_p);
    alignas(BYTES) T entries[ROWS * BLOCK<T>];
    const Scratch lanes(ROWS * count * BYTES), totals((end - begin) * count * int64_t(sizeof(double)));
    V* sums = lanes.as<V>();
    sweep(tile, begin, end, [&](int64_t j, int64_t vectors) __attribute__((always_inline)) {
      plan_block(tile, minus_p + (tile.first - begin), j, vectors, entries);
      for (int r = 0; r < tile.count; ++r) add(tile, r, j, vectors, entries + r * BLOCK<T>, sums + r * count);
    }, [&]() __attribute__((always_inline)) {
      for (int r = 0; r < tile.count; ++r)
        for (int64_t k = 0; k < count; ++k) {
          totals.as<double>()[(tile.first - begin + r) * count + k] += total(sums[r * count + k]);
          sums[r * count + k] = V{};
        }
    });
    for (int64_t k = 0; k < (end - begin) * count; ++k) out[begin * count + k] = T(totals.as<double>()[k]);
  });
}

// Values (m, count) in transposed order, each column `stride` long; zero where there is no mass, whatever the value.
template <class T>
void transpose_values(const T* values, const T* q, int64_t m, int64_t count, int64_t stride, T* columns) {
  for (int64_t j = 0; j < m; ++j)
    for (int64_t k = 0; k < count; ++k) columns[k * stride + j] = q[j] == -T(INFINITY) ? T(0) : values[j * count + k];
}

template <class T>
void plan_apply(const Costs& costs, const Plan& plan, const T* values, int64_t count, T* out, int threads) {
  const Pass<T> pass(costs, static_cast<const T*>(plan.q), LOG2E / plan.epsilon);
  const int64_t stride = pass.columns;
  const Scratch transposed(stride * count * int64_t(sizeof(T)));
  T* columns = transposed.as<T>();
  transpose_values(values, static_cast<const T*>(plan.q), costs.m, count, stride, columns);
  plan_sums(pass, plan, count, threads, out,
            [=](const Tile<T>&, int, int64_t j, int64_t vectors, const T* entries, auto* sums) {
    add_all_terms(entries, count, vectors, sums, [=](int64_t k, int64_t v) __attribute__((always_inline)) {
      return load(columns + k * stride + j + v * WIDTH<T>);
    });
  });
}

// sum_j P_ij C_ij.
template <class T>
void plan_cost(const Costs& costs, const Plan& plan, T* out, int threads) {
  constexpr int W = WIDTH<T>;
  const Pass<T> pass(costs, static_cast<const T*>(plan.q), LOG2E / plan.epsilon);
  plan_sums(pass, plan, 1, threads, out,
            [&](const Tile<T>& tile, int r, int64_t j, int64_t vectors, const T* entries, auto* sums) {
    const T alpha = T(pass.alpha(tile.first + r)), gamma = T(pass.gamma);
    const T least = pass.has_norms ? T(0) : -T(INFINITY);  // rounding must not make a squared distance negative
    const T* base = tile.base[r];
    const T* beta = pass.has_norms ? pass.beta.template as<T>() + j : nullptr;
    const auto paid = [=](int64_t v) __attribute__((always_inline)) {
      const auto e = load(entries + v * W);
      auto cost = gamma * load(base + v * W) + alpha;
      if (beta) cost += load(beta + v * W);
      cost = larger(cost, splat(least));
      return e > T(0) ? e * cost : e;  // 0 x inf on a forbidden pair is 0
    };
    auto even = sums[0], odd = even - even;
    for (int64_t v = 0; v < vectors; v += 2) {
      even += paid(v);
      odd += paid(v + 1);
    }
    sums[0] = even + odd;
  });
}

// entries_j *= sum_k left_k columns_k[j].
template <class T>
INLINE void weigh(T* entries, const T* left, const T* columns, int64_t stride, int64_t count, int64_t vectors) {
  constexpr int W = WIDTH<T>;
  for (int64_t v = 0; v < vectors; ++v) {
    auto weight = left[0] * load(columns + v * W);
    for (int64_t k = 1; k < count; ++k) weight = left[k] * load(columns + k * stride + v * W) + weight;
    store(entries + v * W, load(entries + v * W) * weight);
  }
}

// Derivative of <P * W, C> with P and W held fixed, by each x_i: sum_j P_ij W_ij dC_ij / dx_i, (n, d).
template <class T>
void plan_grad(const Costs& costs, const Plan& plan, const Weights& weights, T* out, int threads) {
  constexpr int W = WIDTH<T>;
  const Pass<T> pass(costs, static_cast<const T*>(plan.q), LOG2E / plan.epsilon);
  const int64_t stride = pass.columns, count = weights.count;
  const Scratch transposed(stride * count * int64_t(sizeof(T)));
  T* columns = transposed.as<T>();
  const T* left = static_cast<const T*>(weights.left);
  if (count)
    transpose_values(static_cast<const T*>(weights.right), static_cast<const T*>(plan.q), costs.m, count, stride, columns);
  const int64_t D = costs.d;
  const bool is_dot = costs.kind == Kind::Dot;
  plan_sums(pass, plan, D, threads, out,
            [&](const Tile<T>& tile, int r, int64_t j, int64_t vectors, T* entries, auto* sums) {
    if (count) weigh(entries, left + (tile.first + r) * count, columns + j, stride, count, vectors);
    if (costs.kind == Kind::Euclidean)
      for (int64_t v = 0; v < vectors; ++v) {  // a distance of zero has derivative zero here
        const auto length = load(tile.base[r] + v * W), e = load(entries + v * W);
        store(entries + v * W, length > T(0) ? e / length : length);
      }
    const T* y = pass.y.template as<T>() + j * D;
    const T* x = tile.x.template as<T>() + r;
    add_all_terms(entries, D, vectors, sums, [=](int64_t k, int64_t v) __attribute__((always_inline)) {
      return load(y + (v * D + k) * W) - (is_dot ? T(0) : x[k * ROWS]);
    });
  });
  const double factor = is_dot ? costs.scale : costs.kind == Kind::Euclidean ? -costs.scale : -2.0 * costs.scale;
  for (int64_t k = 0; k < costs.n * D; ++k) out[k] = T(factor * double(out[k]));
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
  for_chunks(costs.n, threads, [&](int64_t begin, int64_t end) {
    Tile<T> tile(pass);
    V sums[ROWS] = {};
    sweep(tile, begin, end, [&](int64_t j, int64_t vectors) __attribute__((always_inline)) {
      for (int r = 0; r < tile.count; ++r) {
        const T alpha = T(pass.alpha(tile.first + r));
        for (int64_t v = 0; v < vectors; ++v) {
          const V w = load(weights.as<T>() + j + v * W);
          V cost = gamma * load(tile.base[r] + v * W) + alpha;
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
