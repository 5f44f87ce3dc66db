// Row sums and column sums of the plan in one pass, one exponential per pair.
#pragma once

#include "gradient.h"
#include "listed_step.h"

namespace isotherm {
namespace ISA {
namespace {

// The sums of a chunk of rows against the columns of a pass: by row they are added to totals, by column they replace
// what is in by_column.
template <class T>
void marginal_sums(const Pass<T>& pass, const Plan& plan, int64_t begin, int64_t end, double* totals, T* by_column) {
  Tile<T> tile(pass);
  T minus_p[MAX_CHUNK];
  negated_exponents(pass, static_cast<const T*>(plan.p), begin, end, minus_p);
  memset(by_column, 0, size_t(pass.columns) * sizeof(T));
  sweep(tile, begin, end, [&](int64_t j, int64_t vectors) __attribute__((always_inline)) {
    add_block<true>(tile, minus_p + (tile.first - begin), j, vectors, totals + (tile.first - begin), by_column);
  }, [] {});
}

// The same over a list of pairs, whole cells of rows: to sums of all rows and of all columns.
template <class T>
void listed_sums(const Pass<T>& pass, const Plan& plan, int64_t begin, int64_t end, double* by_row, double* by_column) {
  const int64_t cell = pass.costs.cell;
  Tile<T> tile(pass);
  T minus_p[MAX_CHUNK];
  std::vector<Run> runs;
  const Scratch local(pass.columns * int64_t(sizeof(T)));
  T* carried = local.as<T>();
  for (int64_t first = begin; first < end; first += cell) {
    const int64_t last = first + cell < end ? first + cell : end;
    runs_of(pass, first, last, runs);
    for (int64_t part = first; part < last; part += MAX_CHUNK) {
      const int64_t stop = part + MAX_CHUNK < last ? part + MAX_CHUNK : last;
      negated_exponents(pass, static_cast<const T*>(plan.p), part, stop, minus_p);
      for (int64_t i = part; i < stop; i += ROWS) {
        tile.begin(i, stop);
        for (const Run& run : runs) {
          tile.block(run.j, run.width / WIDTH<T>);
          add_block<true>(tile, minus_p + (i - part), run.j, run.width / WIDTH<T>, by_row + i, carried);
        }
      }
    }
    for (const Run& run : runs)
      for (int64_t j = run.j; j < run.j + run.width; ++j) {
        by_column[j] += double(carried[j]);
        carried[j] = T(0);
      }
  }
}

template <class T>
void listed_marginals(const Costs& costs, const Plan& plan, T* rows, T* columns, int threads) {
  const Pass<T> pass(costs, static_cast<const T*>(plan.q), LOG2E / plan.epsilon);
  const int64_t per_strand = rows_of_listed_strand(costs), strands = (costs.n + per_strand - 1) / per_strand;
  const Scratch by_row(costs.n * int64_t(sizeof(double))), by_column(strands * pass.columns * int64_t(sizeof(double)));
  for_ranges(costs.n, per_strand, threads, [&](int64_t begin, int64_t end) {
    listed_sums(pass, plan, begin, end, by_row.as<double>(), by_column.as<double>() + begin / per_strand * pass.columns);
  });
  for (int64_t i = 0; i < costs.n; ++i) rows[i] = T(by_row.as<double>()[i]);
  for (int64_t j = 0; j < costs.m; ++j) {
    double sum = 0.0;
    for (int64_t k = 0; k < strands; ++k) sum += by_column.as<double>()[k * pass.columns + j];
    columns[j] = T(sum);
  }
}

// rows (n,), columns (m,).
template <class T>
void plan_marginals(const Costs& costs, const Plan& plan, T* rows, T* columns, int threads) {
  if (costs.starts) return listed_marginals(costs, plan, rows, columns, threads);
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
