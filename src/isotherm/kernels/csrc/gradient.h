// Derivatives of <P * W, C> by the points of both clouds in one pass, the plan P and the weights W held fixed.
//
// For distances they are sums of P_ij W_ij times x_i - y_j, in every dimension: sums of points minus the mass times the
// other point would take a third of the operations less, and lose the digits that near points share.
#pragma once

#include "plan.h"

namespace isotherm {
namespace ISA {
namespace {

constexpr int64_t PANEL_NUMBERS = int64_t(1) << 22;  // of all chunks' column sums together, about

// What the sums of points, or of differences, are multiplied by.
inline double factor_of(const Costs& costs) {
  return costs.kind == Kind::Dot ? costs.scale : costs.kind == Kind::Euclidean ? -costs.scale : -2.0 * costs.scale;
}

// entries_rj *= sum_k left_rk right_jk.
template <class T>
INLINE void weigh(const Tile<T>& tile, const Weights& weights, const T* right, int64_t vectors, T* entries) {
  constexpr int W = WIDTH<T>;
  for (int r = 0; r < tile.count; ++r) {
    const T* left = static_cast<const T*>(weights.left) + (tile.first + r) * weights.count;
    for (int64_t v = 0; v < vectors; ++v) {
      const T* column = right + v * stride_of(weights.count) * W;
      auto weight = left[0] * load(column);
      for (int64_t k = 1; k < weights.count; ++k) weight = left[k] * load(column + k * W) + weight;
      T* entry = entries + r * BLOCK<T> + v * W;
      store(entry, load(entry) * weight);
    }
  }
}

// entries_rj /= |x_r - y_j|; a distance of zero has derivative zero here.
template <class T>
INLINE void divide_by_length(const Tile<T>& tile, int64_t vectors, T* entries) {
  for (int r = 0; r < ROWS; ++r)
    for (int64_t v = 0; v < vectors; ++v) {
      T* entry = entries + r * BLOCK<T> + v * WIDTH<T>;
      const auto length = load(tile.base[r] + v * WIDTH<T>);
      store(entry, length > T(0) ? load(entry) / length : length);
    }
}

// A chunk of rows against the columns of a pass: sums by row go to totals[row][d], those by column, in T, to by_column,
// packed as the points are.
template <class T>
void gradient_sums(const Pass<T>& pass, const Plan& plan, const Weights& weights, const T* right, int64_t begin,
                   int64_t end, double* totals, T* by_column) {
  typedef typename Simd<T>::V V;
  const int64_t D = pass.costs.d, stride = stride_of(D);
  Tile<T> tile(pass);
  T minus_p[MAX_CHUNK];
  negated_exponents(pass, static_cast<const T*>(plan.p), begin, end, minus_p);
  alignas(BYTES) T entries[ROWS * BLOCK<T>];
  const Scratch lanes(ROWS * D * BYTES), found(MAX_CHUNK * D * int64_t(sizeof(double)));
  V* sums = lanes.as<V>();
  if (by_column) memset(by_column, 0, size_t(pass.columns * stride) * sizeof(T));
  sweep(tile, begin, end, [&](int64_t j, int64_t vectors) __attribute__((always_inline)) {
    plan_block(tile, minus_p + (tile.first - begin), j, vectors, entries);
    if (weights.count) weigh(tile, weights, right + j * stride_of(weights.count), vectors, entries);
    if (pass.costs.kind == Kind::Euclidean) divide_by_length(tile, vectors, entries);
    const T *x = tile.x.template as<T>(), *y = pass.y.template as<T>() + j * stride;
    if (pass.costs.kind == Kind::Dot) {
      add_to_rows(entries, y, D, vectors, sums);
      if (by_column) add_to_columns(entries, x, D, vectors, by_column + j * stride);
    } else if (by_column) {
      add_differences<T, true>(entries, y, x, D, vectors, sums, by_column + j * stride);
    } else {
      add_differences<T, false>(entries, y, x, D, vectors, sums, by_column);
    }
  }, [&]() __attribute__((always_inline)) {
    carry(sums, D, found.as<double>() + (tile.first - begin) * D);
  });
  for (int64_t k = 0; k < (end - begin) * D; ++k) totals[k] += found.as<double>()[k];
}

// Adds the chunks' column sums of D numbers, always in the same order, for the m columns of a panel.
template <class T>
void finish_columns(int64_t m, int64_t D, double factor, const T* by_column, int64_t columns, int64_t chunks, int threads,
                    T* out) {
  constexpr int W = WIDTH<T>;
  const int64_t stride = stride_of(D);
  for_ranges(m, W, threads, [=](int64_t begin, int64_t end) {
    const Scratch memory(D * W * int64_t(sizeof(double)));
    double* sums = memory.as<double>();  // [d][WIDTH]
    for (int64_t c = 0; c < chunks; ++c)
      for (int64_t k = 0; k < D; ++k) {
        const T* part = by_column + (c * columns + begin) * stride + k * W;
        for (int w = 0; w < W; ++w) sums[k * W + w] += double(part[w]);
      }
    for (int64_t j = begin; j < end; ++j)
      for (int64_t k = 0; k < D; ++k) out[j * D + k] = T(factor * sums[k * W + (j - begin)]);
  });
}

// Columns are taken a panel at a time: each chunk of rows has column sums of its own, and they should not grow with m.
template <class T>
int64_t panel_columns(const Costs& costs, int64_t D, int64_t chunk) {
  const int64_t chunks = costs.n / chunk + 1;
  const int64_t fitting = PANEL_NUMBERS / (chunks * D * BLOCK<T>), all = (costs.m + BLOCK<T> - 1) / BLOCK<T>;
  const int64_t blocks = fitting < all ? fitting : all;
  return BLOCK<T> * (blocks > SUPER ? SUPER : blocks ? blocks : 1);
}

// by_x (n, d) and, unless null, by_y (m, d).
template <class T>
void plan_grad(const Costs& costs, const Plan& plan, const Weights& weights, T* by_x, T* by_y, int threads) {
  const T *q = static_cast<const T*>(plan.q), *right = static_cast<const T*>(weights.right);
  const int64_t D = costs.d, stride = stride_of(D);
  const Scratch totals(costs.n * D * int64_t(sizeof(double)));
  const int64_t chunk = chunk_rows(costs), width = by_y ? panel_columns<T>(costs, D, chunk) : costs.m;
  const int64_t chunks = (costs.n + chunk - 1) / chunk;
  const Scratch by_column(by_y ? chunks * width * stride * int64_t(sizeof(T)) : 0);  // of one panel at a time
  for (int64_t from = 0; from < costs.m; from += width) {
    Costs panel = costs;
    panel.y = static_cast<const T*>(costs.y) + from * D;
    panel.m = costs.m - from < width ? costs.m - from : width;
    const Pass<T> pass(panel, q + from, LOG2E / plan.epsilon);
    const Scratch packed(pass.columns * stride_of(weights.count) * int64_t(sizeof(T)));
    if (right) pack_values(right + from * weights.count, q + from, panel.m, weights.count, packed.as<T>());
    for_chunks(costs, threads, [&](int64_t begin, int64_t end) {
      gradient_sums(pass, plan, weights, packed.as<T>(), begin, end, totals.as<double>() + begin * D,
                    by_y ? by_column.as<T>() + begin / chunk * pass.columns * stride : nullptr);
    });
    if (by_y) finish_columns(panel.m, D, factor_of(costs), by_column.as<T>(), pass.columns, chunks, threads, by_y + from * D);
  }
  for (int64_t k = 0; k < costs.n * D; ++k) by_x[k] = T(factor_of(costs) * totals.as<double>()[k]);
}

}  // namespace
}  // namespace ISA
}  // namespace isotherm
