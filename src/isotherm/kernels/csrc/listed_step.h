// A whole Gauss-Seidel iteration over a list of pairs of cells, with one exponential per pair.
//
// As in step.h, the exponentials of a tile of rows are kept until the rows' sums are known, here the listed ones next to
// each other; then they are added to the sums of the columns they belong to.
#pragma once

#include <vector>

#include "step.h"

namespace isotherm {
namespace ISA {
namespace {

constexpr int64_t LISTED_STRANDS = 8;  // each holds a sum for every column

// Rows of a strand, whole cells.
inline int64_t rows_of_listed_strand(const Costs& costs) {
  const int64_t cells = (costs.n + costs.cell - 1) / costs.cell, each = (cells + LISTED_STRANDS - 1) / LISTED_STRANDS;
  return (each ? each : 1) * costs.cell;
}

struct Run {
  int64_t j, width, at;  // columns j .. j + width are kept from position `at` on
};

// The listed columns of rows `begin` ..., in runs.
template <class T>
int64_t runs_of(const Pass<T>& pass, int64_t begin, int64_t end, std::vector<Run>& runs) {
  const Share<T> share(pass, begin, end);
  int64_t kept = 0;
  runs.clear();
  for (int64_t k = share.first, j, width; k < share.last; kept += width) {
    k = share.run(k, share.last, &j, &width);
    runs.push_back({j, width, kept});
  }
  return kept;
}

template <class T>
void keep_listed(Tile<T>& tile, int64_t begin, int64_t end, const std::vector<Run>& runs, int64_t kept, const T* m,
                 T* entries, double* sums) {
  typedef typename Simd<T>::V V;
  constexpr int W = WIDTH<T>;
  const Pass<T>& pass = tile.pass;
  tile.begin(begin, end);
  for (const Run& run : runs) {
    tile.block(run.j, run.width / W);
    const T* h = pass.h.template as<T>() + run.j;
    for (int r = 0; r < tile.count; ++r) {
      T* row = entries + r * kept + run.at;
      V a = {}, b = {};
      for (int64_t v = 0; v < run.width / W; v += 2) {
        const V left = exp2_of(load(h + v * W) - pass.slope * load(tile.base[r] + v * W) - m[r]);
        const V right = exp2_of(load(h + v * W + W) - pass.slope * load(tile.base[r] + v * W + W) - m[r]);
        store(row + v * W, left);
        store(row + v * W + W, right);
        a += left;
        b += right;
      }
      sums[r] += total(a + b);
    }
  }
}

// carry_j += sum_r factor_r entries[row][j] for the columns of the runs.
template <class T>
void add_to_listed(const T* entries, int64_t kept, const std::vector<Run>& runs, const T* factor, T* carry) {
  constexpr int W = WIDTH<T>;
  for (const Run& run : runs) {
    for (int64_t j = 0; j < run.width; j += W) {
      auto a = load(carry + run.j + j), b = a - a;
      const T* column = entries + run.at + j;
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; r += 2) {
        a = factor[r] * load(column + r * kept) + a;
        b = factor[r + 1] * load(column + (r + 1) * kept) + b;
      }
      store(carry + run.j + j, a + b);
    }
  }
}

// Rows begin .. end, whole cells.
template <class T>
void listed_rows(const Pass<T>& pass, const Step& step, int64_t begin, int64_t end, T* carry, Strand<T>& out) {
  const T* guess = static_cast<const T*>(step.guess);
  const int64_t cell = pass.costs.cell;
  Tile<T> tile(pass);
  std::vector<Run> runs;
  int64_t longest = 0;
  for (int64_t i = begin; i < end; i += cell) {
    const int64_t kept = runs_of(pass, i, end, runs);
    if (kept > longest) longest = kept;
  }
  const Scratch scratch(ROWS * longest * int64_t(sizeof(T)));
  T* entries = scratch.as<T>();
  for (int64_t first = begin; first < end; first += cell) {
    const int64_t last = first + cell < end ? first + cell : end;
    const int64_t kept = runs_of(pass, first, last, runs);
    for (int64_t i = first; i < last; i += ROWS) {
      const int count = int(last - i < ROWS ? last - i : ROWS);
      T m[ROWS] = {}, factor[ROWS] = {};
      double sums[ROWS] = {};
      for (int r = 0; r < count; ++r) {
        const double shift = (pass.alpha(i + r) - double(guess[i + r])) * pass.per_cost;
        m[r] = __builtin_isfinite(shift) ? pass.clamp(shift) : T(0);
      }
      keep_listed(tile, i, i + count, runs, kept, m, entries, sums);
      bool all_safe = true;
      for (int r = 0; r < count; ++r) all_safe = all_safe && is_safe(sums[r]);
      if (!all_safe) {
        for (int r = 0; r < count; ++r) {
          m[r] = -Simd<T>::HUGE_SCORE;
          sums[r] = 0.0;
        }
        exp_sums<true>(tile, i, i + count, m, sums);
        for (int r = 0; r < count; ++r) sums[r] = 0.0;
        keep_listed(tile, i, i + count, runs, kept, m, entries, sums);
      }
      for (int r = 0; r < count; ++r) factor[r] = next_row(pass, step, i + r, m[r], sums[r], out);
      add_to_listed(entries, kept, runs, factor, carry);
    }
    for (const Run& run : runs)
      for (int64_t j = run.j; j < run.j + run.width; ++j) {
        out.columns[j] += double(carry[j]);
        carry[j] = T(0);
      }
  }
}

// Columns that the kept exponentials do not resolve are done again, with all of their cell, as a softmin over the rows.
template <class T>
void finish_listed(const Costs& costs, const Step& step, const int64_t* starts, const int32_t* blocks,
                   const std::vector<int64_t>& missing, int threads) {
  Costs other = costs;
  other.x = costs.y;
  other.y = costs.x;
  other.m = costs.n;
  std::vector<int64_t> rows, part_starts(1, 0);
  std::vector<int32_t> parts;
  int64_t last = -1;
  for (const int64_t j : missing) {
    const int64_t c = j / costs.cell;
    if (c == last) continue;
    last = c;
    for (int64_t k = c * costs.cell; k < (c + 1) * costs.cell && k < costs.m; ++k) rows.push_back(k);
    parts.insert(parts.end(), blocks + starts[c], blocks + starts[c + 1]);
    part_starts.push_back(int64_t(parts.size()));
  }
  other.n = int64_t(rows.size());
  other.row_index = rows.data();
  other.starts = part_starts.data();
  other.blocks = parts.data();
  const Scratch weighted(costs.n * int64_t(sizeof(T))), found(other.n * int64_t(sizeof(T)));
  const T* f = static_cast<const T*>(step.f_next);
  for (int64_t i = 0; i < costs.n; ++i) weighted.as<T>()[i] = f[i] + static_cast<const T*>(step.log_a)[i];
  softmin<T>(other, weighted.as<T>(), nullptr, step.epsilon, found.as<T>(), threads);
  size_t at = 0;
  for (int64_t k = 0; k < other.n; ++k)
    if (at < missing.size() && rows[k] == missing[at]) {
      static_cast<T*>(step.g_raw)[missing[at]] = found.as<T>()[k];
      ++at;
    }
}

template <class T>
void listed_step(const Costs& costs, const Step& step, const int64_t* column_starts, const int32_t* column_blocks,
                 int threads) {
  const Pass<T> pass(costs, static_cast<const T*>(step.q), LOG2E / step.epsilon);
  const int64_t per_strand = rows_of_listed_strand(costs), strands = (costs.n + per_strand - 1) / per_strand;
  const Scratch columns(strands * pass.columns * int64_t(sizeof(double)));
  const Scratch states(strands * int64_t(sizeof(Strand<T>)));
  struct Context {
    const Pass<T>& pass;
    const Step& step;
    int64_t per_strand;
    double* columns;
    Strand<T>* states;
  } context{pass, step, per_strand, columns.as<double>(), states.as<Strand<T>>()};
  parallel(strands, threads, [](void* pointer, int64_t k) {
    Context& c = *static_cast<Context*>(pointer);
    const FlushToZero guard;
    const Scratch carry(c.pass.columns * int64_t(sizeof(T)));
    const int64_t begin = k * c.per_strand, n = c.pass.costs.n;
    c.states[k] = {c.columns + k * c.pass.columns, 0.0, false};
    listed_rows(c.pass, c.step, begin, begin + c.per_strand < n ? begin + c.per_strand : n, carry.template as<T>(), c.states[k]);
  }, &context);
  std::vector<int64_t> missing;
  take_columns(pass, step, context.states, strands, missing);
  if (!missing.empty()) finish_listed<T>(costs, step, column_starts, column_blocks, missing, threads);
}

}  // namespace
}  // namespace ISA
}  // namespace isotherm
