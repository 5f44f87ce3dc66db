// Row sums and column sums of the plan in one pass, one exponential per pair.
#pragma once

#include "gradient.h"

namespace isotherm {
namespace ISA {
namespace {

// The sums of a chunk of rows against the columns of a pass: by row they are added to totals, by column they replace
// what is in by_column.
template <class T>
void marginal_sums(const Pass<T>& pass, const Plan& plan, int64_t begin, int64_t end, double* totals, T* by_column) {
  constexpr int W = WIDTH<T>;
  Tile<T> tile(pass);
  T minus_p[MAX_CHUNK];
  negated_exponents(pass, static_cast<const T*>(plan.p), begin, end, minus_p);
  alignas(BYTES) T entries[ROWS * BLOCK<T>];
  typedef typename Simd<T>::V V;
  V sums[ROWS] = {};
  memset(by_column, 0, size_t(pass.columns) * sizeof(T));
  sweep(tile, begin, end, [&](int64_t j, int64_t vectors) __attribute__((always_inline)) {
    plan_block(tile, minus_p + (tile.first - begin), j, vectors, entries);
    for (int64_t v = 0; v < vectors; ++v) {
      auto column = load(by_column + j + v * W);
      for (int r = 0; r < ROWS; ++r) {
        const auto entry = load(entries + r * BLOCK<T> + v * W);
        sums[r] += entry;
        column += entry;
      }
      store(by_column + j + v * W, column);
    }
  }, [&]() __attribute__((always_inline)) {
    for (int r = 0; r < tile.count; ++r) totals[tile.first - begin + r] += total(sums[r]);
    for (V& sum : sums) sum = V{};
  });
}

// rows (n,), columns (m,). Not for listed pairs.
template <class T>
void plan_marginals(const Costs& costs, const Plan& plan, T* rows, T* columns, int threads) {
  const Scratch totals(costs.n * int64_t(sizeof(double)));
  const int64_t chunk = is_by_columns(costs) ? STRIP : shared_rows(costs);  // each has sums for all columns of a panel
  const int64_t width = panel_columns<T>(costs, 1, chunk), chunks = (costs.n + chunk - 1) / chunk;
  const Scratch by_column(chunks * width * int64_t(sizeof(T)));
  for (int64_t from = 0; from < costs.m; from += width) {
    Costs panel = costs;
    if (costs.kind == Kind::Stored) panel.x = static_cast<const T*>(costs.x) + from * costs.column_stride;
    else panel.y = static_cast<const T*>(costs.y) + from * costs.d;
    panel.m = costs.m - from < width ? costs.m - from : width;
    const Pass<T> pass(panel, static_cast<const T*>(plan.q) + from, LOG2E / plan.epsilon);
    for_ranges(costs.n, chunk, threads, [&](int64_t begin, int64_t end) {
      marginal_sums(pass, plan, begin, end, totals.as<double>() + begin, by_column.as<T>() + begin / chunk * pass.columns);
    });
    finish_columns(panel.m, 1, 1.0, by_column.as<T>(), pass.columns, chunks, threads, columns + from);
  }
  for (int64_t i = 0; i < costs.n; ++i) rows[i] = T(totals.as<double>()[i]);
}

}  // namespace
}  // namespace ISA
}  // namespace isotherm
