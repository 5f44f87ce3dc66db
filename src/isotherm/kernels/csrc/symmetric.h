// A softmin over the points themselves: cost_ij = cost_ji, so that each exponential counts for its row and its column.
//
// Rows are taken a cell at a time. Inside a cell every pair is met twice, once for each of its rows; cells further right
// are met once, and those further left not at all.
#pragma once

#include <vector>

#include "plan.h"
#include "softmin.h"
#include "step.h"

namespace isotherm {
namespace ISA {
namespace {

constexpr int64_t HALF_CELL = 64;  // rows of a cell where all pairs are met; whole pairs of vectors

// The cell of rows begin .. end, at most MAX_CHUNK of them.
template <class T>
void add_cell(Tile<T>& tile, const T* minus_p, int64_t begin, int64_t end, double* rows, T* columns) {
  const Pass<T>& pass = tile.pass;
  const Costs& c = pass.costs;
  const auto meet = [&](int64_t j, int64_t width, bool is_both) {
    for (int64_t i = begin; i < end; i += ROWS) {
      tile.begin(i, end);
      tile.block(j, width / WIDTH<T>);
      if (is_both) add_block<true>(tile, minus_p + (i - begin), j, width / WIDTH<T>, rows + i, columns);
      else add_block<false>(tile, minus_p + (i - begin), j, width / WIDTH<T>, rows + i, columns);
    }
  };
  const int64_t cell = c.starts ? c.cell : HALF_CELL, diagonal = begin / cell * cell;
  const int64_t next = diagonal + cell < pass.columns ? diagonal + cell : pass.columns;
  if (!c.starts) {
    meet(diagonal, next - diagonal, false);
    for (int64_t j = next; j < pass.columns; j += BLOCK<T>) meet(j, pass.columns - j < BLOCK<T> ? pass.columns - j : BLOCK<T>, true);
    return;
  }
  const Share<T> share(pass, begin, end);
  for (int64_t k = share.first; k < share.last;) {
    int64_t j, width;
    const int64_t block = c.blocks[k] * cell;
    if (block < diagonal) { ++k; continue; }
    if (block == diagonal) { meet(diagonal, next - diagonal, false); ++k; continue; }
    k = share.run(k, share.last, &j, &width);
    meet(j, width, true);
  }
}

// out_i = -epsilon log sum_j exp((h_j - C_ij) / epsilon). The guess only says how large the sums will be; rows without mass
// of their own, and those whose sums fall too far beside the others', are done by themselves.
template <class T>
void symmetric_softmin(const Costs& costs, const T* potential, const T* guess, double epsilon, T* out, int threads) {
  const int64_t n = costs.n;
  double top = -INFINITY;  // of h_i - softmin_i
  for (int64_t i = 0; i < n; ++i) {
    const double above = double(potential[i]) - double(guess[i]);
    if (__builtin_isfinite(above) && above > top) top = above;
  }
  if (!__builtin_isfinite(top)) return softmin<T>(costs, potential, guess, epsilon, out, threads);

  const Pass<T> pass(costs, potential, LOG2E / epsilon);
  const int64_t cell = costs.starts ? costs.cell : HALF_CELL;
  const int64_t per_strand = ((n + STRANDS - 1) / STRANDS + cell - 1) / cell * cell, strands = (n + per_strand - 1) / per_strand;
  const Scratch by_row(n * int64_t(sizeof(double))), by_column(strands * pass.columns * int64_t(sizeof(double)));
  for_ranges(n, per_strand, threads, [&](int64_t begin, int64_t end) {
    Tile<T> tile(pass);
    const Scratch local(pass.columns * int64_t(sizeof(T)));
    T* carried = local.as<T>();
    double* columns = by_column.as<double>() + begin / per_strand * pass.columns;
    T minus_p[MAX_CHUNK];
    for (int64_t i = begin, rows = 0; i < end; i += cell) {
      const int64_t stop = i + cell < end ? i + cell : end;
      for (int64_t k = 0; k < MAX_CHUNK; ++k) {
        const bool has_mass = i + k < stop && potential[i + k] != -T(INFINITY);
        minus_p[k] = has_mass ? pass.clamp((pass.alpha(i + k) - (double(potential[i + k]) - top)) * pass.per_cost) : T(INFINITY);
      }
      add_cell(tile, minus_p, i, stop, by_row.as<double>(), carried);
      rows += stop - i;
      if (rows < CARRY_ROWS && stop < end) continue;
      for (int64_t j = begin; j < pass.columns; ++j) {
        columns[j] += double(carried[j]);
        carried[j] = T(0);
      }
      rows = 0;
    }
  });

  std::vector<int64_t> missing;
  for (int64_t i = 0; i < n; ++i) {
    double sum = by_row.as<double>()[i];
    for (int64_t k = 0; k * per_strand <= i; ++k) sum += by_column.as<double>()[k * pass.columns + i];
    // What underflowed is below 2^-126 (2^-1022) each; beside such a sum it does not count.
    if (!(sum > (sizeof(T) == 4 ? 0x1p-80 : 0x1p-900) && sum < MAX_FACTOR)) missing.push_back(i);
    else out[i] = T(double(potential[i]) - top - log2(sum) / pass.per_cost);
  }
  if (missing.empty()) return;
  if (costs.starts) return softmin<T>(costs, potential, guess, epsilon, out, threads);
  Costs some = costs;
  some.n = int64_t(missing.size());
  some.row_index = missing.data();
  const Scratch found(some.n * int64_t(sizeof(T)));
  softmin<T>(some, potential, nullptr, epsilon, found.as<T>(), threads);
  for (int64_t k = 0; k < some.n; ++k) out[missing[size_t(k)]] = found.as<T>()[k];
}

}  // namespace
}  // namespace ISA
}  // namespace isotherm
