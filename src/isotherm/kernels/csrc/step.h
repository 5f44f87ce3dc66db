// A whole Gauss-Seidel iteration with one exponential per pair.
//
// The exponentials of some tiles of rows are kept (ROWS x M of them each, in second-level cache) until the rows' sums
// are known; then the same numbers, times the new row factors, are added to the columns' sums.
#pragma once

#include <vector>

#include "softmin.h"

namespace isotherm {
namespace ISA {
namespace {

constexpr int64_t STRANDS = 32;       // parts of the rows, each with its own column sums, added in a fixed order
constexpr int64_t CARRY_ROWS = 256;   // rows whose column sums are added in T before they are carried to double
constexpr int64_t MAX_KEPT = 32;      // rows whose exponentials are kept at once, at most
constexpr int64_t KEPT_BYTES = 3 << 18;  // and about how many bytes of them
constexpr double MAX_FACTOR = 0x1p40;

// Rows whose exponentials are kept at once: one tile where all points stay in cache anyway, else as many as fit, since
// the points come from further away and serve all of them.
template <class T>
int64_t kept_rows(const Pass<T>& pass) {
  if (pass.columns <= pass.super || pass.costs.kind == Kind::Stored) return ROWS;
  const int64_t tiles = KEPT_BYTES / (pass.columns * int64_t(sizeof(T)) * ROWS);
  return tiles < 1 ? ROWS : tiles * ROWS < MAX_KEPT ? tiles * ROWS : MAX_KEPT;
}

// entries[row][columns] = 2^(t_ij - m_i) and their sums.
template <class T>
void keep_exponentials(Tile<T>& tile, int64_t begin, int64_t end, const T* m, T* entries, double* sums) {
  typedef typename Simd<T>::V V;
  constexpr int W = WIDTH<T>;
  const Pass<T>& pass = tile.pass;
  V sum[ROWS][2] = {};
  sweep(tile, begin, end, [&](int64_t j, int64_t vectors) __attribute__((always_inline)) {
    const T* h = pass.h.template as<T>() + j;
    for (int r = 0; r < tile.count; ++r) {
      const int64_t k = tile.first - begin + r;
      T* row = entries + k * pass.columns + j;
      const T shift = m[k];
      V a = sum[r][0], b = sum[r][1];
      for (int64_t v = 0; v < vectors; v += 2) {
        const V left = exp2_of(load(h + v * W) - pass.slope * fetch(tile.base[r] + v * W) - shift);
        const V right = exp2_of(load(h + v * W + W) - pass.slope * fetch(tile.base[r] + v * W + W) - shift);
        store(row + v * W, left);
        store(row + v * W + W, right);
        a += left;
        b += right;
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

// columns_j += sum_r factor_r entries[row][j].
template <class T>
void add_rows(const T* entries, int64_t columns, const T* factor, T* sums) {
  constexpr int W = WIDTH<T>;
  for (int64_t j = 0; j < columns; j += W) {
    auto a = load(sums + j), b = a - a;
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r += 2) {
      a = factor[r] * load(entries + r * columns + j) + a;
      b = factor[r + 1] * load(entries + (r + 1) * columns + j) + b;
    }
    store(sums + j, a + b);
  }
}

template <class T>
struct Strand {
  double* columns;  // (M,)
  double factors;   // sum of the row factors
  bool is_lost;     // a row factor left the range in which these sums can be trusted
};

// The next potential of row i from the sum of its exponentials; returns the row's factor for the columns.
template <class T>
T next_row(const Pass<T>& pass, const Step& step, int64_t i, T m, double sum, Strand<T>& out) {
  const T* f = static_cast<const T*>(step.f);
  const T* log_a = static_cast<const T*>(step.log_a);
  const double alpha = pass.alpha(i);
  const double raw = sum > 0.0 ? alpha - (log2(sum) + double(m)) / pass.per_cost : INFINITY;
  const double kept = step.relaxation == 1.0 ? 0.0 : (1.0 - step.relaxation) * double(f[i]);
  const T next = T(kept + step.relaxation * step.damping * (raw + step.shift));
  static_cast<T*>(step.f_raw)[i] = T(raw);
  static_cast<T*>(step.f_next)[i] = next;
  if (log_a[i] == -T(INFINITY) || !__builtin_isfinite(next)) {
    out.is_lost = out.is_lost || log_a[i] != -T(INFINITY);
    return T(0);
  }
  const double w = exp2((double(next) + double(log_a[i]) - alpha) * pass.per_cost + double(m));
  out.is_lost = out.is_lost || !(w < MAX_FACTOR);
  out.factors += w;
  return w < MAX_FACTOR ? T(w) : T(0);
}

// Rows begin .. end of the iteration.
template <class T>
void strand_rows(const Pass<T>& pass, const Step& step, int64_t begin, int64_t end, T* entries, T* carry_sums, Strand<T>& out) {
  const T* guess = static_cast<const T*>(step.guess);
  Tile<T> tile(pass);
  int64_t carried = 0;
  const auto flush = [&] {
    for (int64_t j = 0; j < pass.columns; ++j) {
      out.columns[j] += double(carry_sums[j]);
      carry_sums[j] = T(0);
    }
    carried = 0;
  };
  const int64_t kept = kept_rows(pass);
  for (int64_t i = begin; i < end; i += kept) {
    const int count = int(end - i < kept ? end - i : kept);
    T m[MAX_KEPT] = {}, factor[MAX_KEPT] = {};
    double sums[MAX_KEPT] = {};
    for (int r = 0; r < count; ++r) {
      const double shift = (pass.alpha(i + r) - double(guess[i + r])) * pass.per_cost;
      m[r] = __builtin_isfinite(shift) ? pass.clamp(shift) : T(0);
    }
    keep_exponentials(tile, i, i + count, m, entries, sums);
    bool all_safe = true;
    for (int r = 0; r < count; ++r) all_safe = all_safe && is_safe(sums[r]);
    if (!all_safe) {
      for (int r = 0; r < count; ++r) {
        m[r] = -Simd<T>::HUGE_SCORE;
        sums[r] = 0.0;
      }
      exp_sums<true>(tile, i, i + count, m, sums);
      for (int r = 0; r < count; ++r) sums[r] = 0.0;
      keep_exponentials(tile, i, i + count, m, entries, sums);
    }
    for (int r = 0; r < count; ++r) factor[r] = next_row(pass, step, i + r, m[r], sums[r], out);
    for (int r = 0; r < count; r += ROWS) add_rows(entries + r * pass.columns, pass.columns, factor + r, carry_sums);
    carried += kept;
    if (carried >= CARRY_ROWS) flush();
  }
  flush();
}

// Columns whose mass the kept exponentials do not resolve are done by themselves, as a softmin over the rows.
template <class T>
void finish_columns(const Costs& costs, const Step& step, const int64_t* missing, int64_t count, int threads) {
  Costs other = costs;
  if (costs.kind == Kind::Stored) {
    other.row_stride = costs.column_stride;
    other.column_stride = costs.row_stride;
  } else {
    other.x = costs.y;
    other.y = costs.x;
  }
  other.n = count;
  other.m = costs.n;
  other.row_index = missing;
  const Scratch weighted(costs.n * int64_t(sizeof(T))), found(count * int64_t(sizeof(T)));
  const T* f = static_cast<const T*>(step.f_next);
  for (int64_t i = 0; i < costs.n; ++i) weighted.as<T>()[i] = f[i] + static_cast<const T*>(step.log_a)[i];
  softmin<T>(other, weighted.as<T>(), nullptr, step.epsilon, found.as<T>(), threads);
  for (int64_t k = 0; k < count; ++k) static_cast<T*>(step.g_raw)[missing[k]] = found.as<T>()[k];
}

// Potentials of the columns from the sums of all strands; those that cannot be trusted are `missing`, in order.
template <class T>
void take_columns(const Pass<T>& pass, const Step& step, const Strand<T>* strands, int64_t count,
                  std::vector<int64_t>& missing) {
  double factors = 0.0;
  bool is_lost = count == 0;
  for (int64_t k = 0; k < count; ++k) {
    factors += strands[k].factors;
    is_lost = is_lost || strands[k].is_lost;
  }
  // What underflowed is below 2^-126 (2^-1022) of a row's factor; relative to such a column it does not count.
  const double least = factors * (sizeof(T) == 4 ? 0x1p-80 : 0x1p-900);
  for (int64_t j = 0; j < pass.costs.m; ++j) {
    double sum = 0.0;
    for (int64_t k = 0; k < count; ++k) sum += strands[k].columns[j];
    if (is_lost || !(sum > least)) {
      missing.push_back(j);
      continue;
    }
    // The column's own factor 2^h_j leaves again; in inner-product form beta_j stays in it.
    const double h = double(pass.h.template as<T>()[j]);
    static_cast<T*>(step.g_raw)[j] = T(pass.beta_of(j) + (h - log2(sum)) / pass.per_cost);
  }
}

template <class T>
void sinkhorn_step(const Costs& costs, const Step& step, int threads) {
  const Pass<T> pass(costs, static_cast<const T*>(step.q), LOG2E / step.epsilon);
  const int64_t per_strand = ((costs.n + STRANDS - 1) / STRANDS + ROWS - 1) / ROWS * ROWS;
  const int64_t strands = per_strand ? (costs.n + per_strand - 1) / per_strand : 0;
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
    const int64_t kept = kept_rows(c.pass);
    const Scratch local((kept + 1) * c.pass.columns * int64_t(sizeof(T)));
    const int64_t begin = k * c.per_strand, n = c.pass.costs.n;
    c.states[k] = {c.columns + k * c.pass.columns, 0.0, false};
    strand_rows(c.pass, c.step, begin, begin + c.per_strand < n ? begin + c.per_strand : n, local.as<T>(),
                local.as<T>() + kept * c.pass.columns, c.states[k]);
  }, &context);

  std::vector<int64_t> missing;
  take_columns(pass, step, context.states, strands, missing);
  if (!missing.empty()) finish_columns<T>(costs, step, missing.data(), int64_t(missing.size()), threads);
}

}  // namespace
}  // namespace ISA
}  // namespace isotherm
