// Many relaxed sweeps of one problem in one call, on a kernel that is kept between them.
//
// The exponentials 2^(h_j - C_ij - m_i) of one sweep are kept (N x M of them). A sweep after it needs no exponential of
// a pair: with v_j = 2^(h'_j - h_j) and row factors w_i it is K v and K' w, both in one pass over K. Where a potential has
// moved too far, or a sum is too small beside what underflowed, the kernel is made anew at the present potentials; a
// column that it does not resolve even then is summed by itself. Near the solution most entries weigh less than the
// tolerance can see: there the kernel is cut, and made anew, whole, where a sum is too small beside what was left out.
#pragma once

#include "iterates.h"
#include "kept.h"

namespace isotherm {
namespace ISA {
namespace {

constexpr double LEAST_SUM = 0x1p-30;  // below which a row of the kernel is shifted anew
constexpr double MAX_DRIFT = 60.0;  // exponents by which a potential may leave the kernel it was absorbed in
template <class T>
constexpr double LOST = sizeof(T) == 4 ? 0x1p-80 : 0x1p-900;  // a sum this small beside its factors is not resolved
constexpr int64_t STRAND_PAIRS = 1 << 17;                     // pairs that are worth a thread
constexpr int64_t MAX_STRANDS = 8;
constexpr int64_t CUT_PAIRS = 1 << 16;  // fewer stay in second-level cache
constexpr double CUT_SHARE = 0.25;      // panels that a cut must leave out to be worth making the kernel anew
constexpr double UNSEEN_BITS = 6.0;     // what is left out weighs less than the tolerance by so many powers of 2
constexpr double LEAST_MARGIN = 10.0, MOST_MARGIN = 40.0;  // powers of 2 by which a sum may fall before a cut is seen
constexpr int64_t YOUNG = 5, OLD = 15;  // sweeps after which a cut kernel that failed had too small a margin, or a large one
constexpr double MENDED = 0.25;         // tiles made anew, one by one, beyond which all are
constexpr int64_t STRAY = 8;            // one column in so many may be summed by itself before the kernel is made anew
constexpr double CUT_BELOW = 0.5;       // residual from which on a kernel is cut
template <class T>
constexpr double DIGITS = sizeof(T) == 4 ? 22.0 : 50.0;  // of a kernel's entry

template <class T>
class Sweeper : Iterates<T> {
  using Iterates<T>::s;
  using Iterates<T>::per_cost;
  using Iterates<T>::rows;
  using Iterates<T>::cols;
  using Iterates<T>::softmin_columns;
  using Iterates<T>::exact;
  using Iterates<T>::constant;
  typedef typename Simd<T>::V V;
  const Costs& costs;
  const int threads;
  const int64_t columns, strands, per_strand;
  Kept<T>& kept;
  Doubles column_sums;
  const Scratch scaling, carry, spare, list;
  struct Strand {
    RowSums sums;
    double factors;
    int64_t mended;
    bool is_lost;
  };
  Strand states[MAX_STRANDS];
  double cut_bits;  // by which a cut's threshold is below one; infinity where none is made
  double digits;    // powers of 2 that the tolerance sees

 public:
  Sweeper(const Costs& costs_, const Sweeps& s_, int threads_)
      : Iterates<T>(s_, costs_.n, costs_.m, count_strands(costs_) * rows_of_strand(costs_), padded_columns(costs_)),
        costs(costs_), threads(threads_), columns(padded_columns(costs)), strands(count_strands(costs)),
        per_strand(rows_of_strand(costs)), kept(kept_of(*s.keeper)), column_sums(strands * columns),
        scaling(columns * int64_t(sizeof(T))),
        carry(strands * columns * int64_t(sizeof(T))), spare((rows.n + cols.n) * 2 * int64_t(sizeof(T))),
        list(cols.n * int64_t(sizeof(int64_t)), false) {
    kept.take(costs);
    if (s.residual < kept.residual) kept.residual = s.residual;
    set_cut();
  }

  void run() {
    int64_t patience = 0, rest = 0;
    for (int64_t k = 0; k < s.count; ++k) {
      this->find_constant();
      bool is_done = false;
      if (kept.is_made && rest == 0 && !should_cut()) {
        is_done = sweep(false);
        rest = patience = is_done || kept.is_cut ? 0 : 2 * patience + 1;
      } else if (rest > 0) {
        --rest;
      }
      if (!is_done) sweep(true);
      RowSums sums;
      for (int64_t t = 0; t < strands; ++t) sums.add(states[t].sums);
      ++kept.age;
      const bool is_last = this->end_sweep(k, sums);
      kept.residual = s.residuals[k];
      if (is_last) break;
    }
    finish();
  }

 private:
  static int64_t count_strands(const Costs& costs) {
    const int64_t wanted = (costs.n * costs.m + STRAND_PAIRS - 1) / STRAND_PAIRS, most = (costs.n + ROWS - 1) / ROWS;
    const int64_t count = wanted < MAX_STRANDS ? wanted : MAX_STRANDS;
    return count < 1 || most < 1 ? 1 : count < most ? count : most;
  }

  static int64_t rows_of_strand(const Costs& costs) {
    const int64_t strands = count_strands(costs);
    return ((costs.n + strands - 1) / strands + ROWS - 1) / ROWS * ROWS;
  }

  static int64_t padded_columns(const Costs& costs) {
    return (costs.m + 2 * WIDTH<T> - 1) / (2 * WIDTH<T>) * 2 * WIDTH<T>;
  }

  // The kernel of an earlier block, or room for one.
  Kept<T>& kept_of(Keeper& keeper) const {
    const bool is_ours = keeper.state && keeper.release == &Kept<T>::drop;
    if (!is_ours || !static_cast<Kept<T>*>(keeper.state)->fits(rows.padded, columns, per_strand, per_cost)) {
      keeper.clear();
      keeper.state = new Kept<T>(rows.padded, columns, per_strand, per_cost);
      keeper.release = &Kept<T>::drop;
    }
    return *static_cast<Kept<T>*>(keeper.state);
  }

  // Where the kernel is to be cut, so that what is left out stays unseen while sums fall by the margin.
  void set_cut() {
    digits = s.tolerance > 0.0 ? fmin(DIGITS<T>, UNSEEN_BITS - log2(s.tolerance)) : DIGITS<T>;
    cut_bits = INFINITY;
    if (costs.n * costs.m < CUT_PAIRS) return;
    const double wanted = digits + kept.margin + fmax(log2(double(cols.n)), cols.log_least(rows.total_mass));
    if (wanted < -log2(LOST<T>)) cut_bits = wanted;
  }

  bool can_cut() const { return s.tolerance > 0.0 && __builtin_isfinite(cut_bits) && kept.residual <= CUT_BELOW; }
  // A cut that did not last gets more room the next time, one that did gets less.
  void adapt_margin() {
    if (!kept.is_cut) return;
    if (kept.age < YOUNG) kept.margin = fmin(kept.margin + LEAST_MARGIN, MOST_MARGIN);
    if (kept.age > OLD) kept.margin = fmax(kept.margin - LEAST_MARGIN, LEAST_MARGIN);
    set_cut();
  }

  bool should_cut() const {
    return can_cut() && (kept.is_cut ? kept.mended > MENDED * kept.tiles() : kept.thinness() > CUT_SHARE);
  }

  // The least sum beside which the factors of entries left out, no larger than the kernel's threshold, are not seen.
  double unseen(double left_out) const { return exp2(digits + kept.threshold) * left_out; }

  // The least sum that the kernel resolves, for all factors and for those of the entries that are left out.
  double least(double factors, double left_out) const {
    return fmax(LOST<T> * (factors > 1.0 ? factors : 1.0), kept.is_cut ? unseen(left_out) : 0.0);
  }

  // The next potentials, from the present ones; false, and nothing but `next` is touched, if the kernel does not do.
  bool sweep(bool is_fresh) {
    T* potential = spare.template as<T>();
    if (is_fresh) {
      for (int64_t j = 0; j < cols.n; ++j)
        potential[j] = T((cols.potential.at[j] + cols.log_mass.at[j]) / per_cost);
      adapt_margin();
      kept.begin(potential);
      const Pass<T>& pass = *kept.pass;
      for (int64_t j = 0; j < cols.n; ++j)
        kept.absorbed.at[j] = cols.mass.at[j] > 0.0 ? double(pass.h.template as<T>()[j]) + pass.beta_of(j) * per_cost : 0.0;
      const bool is_near = set_scaling();
      kept.is_cut = can_cut();
      kept.threshold = __builtin_isfinite(cut_bits) ? -cut_bits : -double(INFINITY);
      kept.is_made = sum_rows(true) && is_near;
    } else if (!set_scaling() || !sum_rows(false)) {
      return false;
    }
    return sum_columns(is_fresh);
  }

  // v_j = 2^(h_j - absorbed_j); whether all are within the drift that the kernel bears.
  bool set_scaling() {
    VD worst = {};
    T* v = scaling.template as<T>();
    for (int64_t j = 0; j < columns; j += WD) {
      const VD has_mass = load(cols.mass.at + j);
      const VD drift = load(cols.potential.at + j) + load(cols.log_mass.at + j) - load(kept.absorbed.at + j);
      const VD kept = has_mass > 0.0 ? drift : VD{};
      worst = larger(larger(kept, -kept), worst);
      const VD factor = has_mass > 0.0 ? exp2_of(kept) : VD{};
      for (int k = 0; k < WD; ++k) v[j + k] = T(factor[k]);
    }
    return greatest(worst) <= MAX_DRIFT;
  }

  // All rows, strand by strand; whether all sums are resolved. Where it is fresh, the kernel is made on the way.
  bool sum_rows(bool is_fresh) {
    double factors = 0.0;
    for (int64_t j = 0; j < columns; ++j) factors += double(scaling.template as<T>()[j]);
    struct Context {
      Sweeper& self;
      bool is_fresh;
      double factors;
    } context{*this, is_fresh, factors};
    parallel(strands, threads, [](void* pointer, int64_t k) {
      const Context& c = *static_cast<Context*>(pointer);
      const FlushToZero guard;
      c.self.strand(k, c.is_fresh, c.factors);
    }, &context);
    bool is_lost = false;
    for (int64_t k = 0; k < strands; ++k) {
      is_lost = is_lost || states[k].is_lost;
      kept.mended += states[k].mended;
    }
    return !is_lost;
  }

  void strand(int64_t k, bool is_fresh, double factors) {
    const int64_t begin = k * per_strand, end = begin + per_strand < rows.n ? begin + per_strand : rows.n;
    const T* v = scaling.template as<T>();
    T* sums = carry.template as<T>() + k * columns;
    double* total_sums = column_sums.at + k * columns;
    for (int64_t j = 0; j < columns; ++j) total_sums[j] = 0.0;
    Strand state{};
    int64_t carried = 0;
    const auto flush = [&] {
      for (int64_t j = 0; j < columns; ++j) {
        total_sums[j] += double(sums[j]);
        sums[j] = T(0);
      }
      carried = 0;
    };
    Tile<T> tile(*kept.pass, {0, 0});  // a pair counts where its entry is made or used
    for (int64_t i = begin; i < end; i += ROWS) {
      const int count = int(end - i < ROWS ? end - i : ROWS);
      if (is_fresh) absorb(tile, i, count, kept.is_cut);
      double found[ROWS];
      double least_sum = least(factors, factors - kept.dot(i, v, found));
      for (bool cuts = kept.is_cut; !is_fresh && !is_resolved(found, count, least_sum) && kept.has_room(i); cuts = false) {
        absorb(tile, i, count, cuts);
        least_sum = least(factors, factors - kept.dot(i, v, found));
        ++state.mended;
        if (!cuts) break;
        if (!is_resolved(found, count, least_sum)) kept.unmake(i);
      }
      T factor[ROWS];
      update_tile(i, found, least_sum, factor, state);
      kept.add(i, factor, sums);
      tile.done.pairs += count * kept.width(i);
      carried += ROWS;
      if (carried >= CARRY_ROWS) flush();
      if (state.is_lost && !is_fresh) break;
    }
    flush();
    states[k] = state;
  }

  static bool is_resolved(const double* sums, int count, double least_sum) {
    bool all = true;
    for (int r = 0; r < count; ++r) all = all && sums[r] > fmax(least_sum, LEAST_SUM) && sums[r] < 1.0 / LEAST_SUM;
    return all;
  }

  // Rows i .. i + count of the kernel, shifted by the soft minimum at which f would stay.
  void absorb(Tile<T>& tile, int64_t i, int count, bool cuts) {
    const Pass<T>& pass = tile.pass;
    T m[ROWS];
    double sums[ROWS] = {};
    bool all_safe = false;
    for (int r = 0; r < ROWS; ++r) {
      const double guess = (rows.potential.at[i + r] + constant) / rows.damping - constant;
      const double exponent = r < count ? pass.alpha(i + r) * per_cost - guess : 0.0;
      m[r] = r >= count ? T(INFINITY) : __builtin_isfinite(exponent) ? Pass<T>::clamp(exponent) : T(0);
      all_safe = all_safe || rows.potential.at[i + r] != 0.0;  // where nothing is known yet, not worth a try
    }
    if (all_safe) {
      kept.make(tile, i, i + count, m, cuts, sums);
      const double low = cuts ? unseen(double(cols.n)) : 0.0;
      for (int r = 0; r < count; ++r) all_safe = all_safe && is_safe(sums[r]) && sums[r] > low;
      if (!all_safe) kept.unmake(i);
    }
    if (!all_safe) {
      kept.top(tile, i, i + count, m);
      kept.make(tile, i, i + count, m, cuts, sums);
    }
    for (int r = 0; r < count; ++r) kept.shift.at[i + r] = pass.alpha(i + r) * per_cost - double(m[r]);
  }

  // Soft minima, residual and next potentials of a tile of rows, and their factors in the columns' sums.
  void update_tile(int64_t i, const double* sums, double least_sum, T* factor, Strand& state) {
    for (int r = 0; r < ROWS; r += WD) {
      const int64_t at = i + r;
      const VD sum = load(sums + r), zero = {};
      const VD next = this->update_rows(at, load(kept.shift.at + at) - log2_of(sum), state.sums);
      const VD w = load(rows.mass.at + at) > 0.0 ? exp2_of(next + load(rows.log_mass.at + at) - load(kept.shift.at + at)) : zero;
      for (int k = 0; k < WD; ++k) {
        const bool is_point = at + k < rows.n;
        state.is_lost = state.is_lost || (is_point && !(sum[k] > least_sum && w[k] < MAX_FACTOR));
        factor[r + k] = is_point && w[k] < MAX_FACTOR ? T(w[k]) : T(0);
      }
      state.factors += total(w);
    }
  }

  // Soft minima of the columns with mass and the potentials that follow.
  bool sum_columns(bool is_fresh) {
    double factors = 0.0;
    for (int64_t k = 0; k < strands; ++k) factors += states[k].factors;
    const bool is_lost = is_fresh && !kept.is_made;
    const double least_sum = least(factors, factors);
    int64_t missing = 0;
    for (int64_t j = 0; j < columns; j += WD) {
      VD sum = load(column_sums.at + j);
      for (int64_t k = 1; k < strands; ++k) sum += load(column_sums.at + k * columns + j);
      const VD mass = load(cols.mass.at + j);
      const VD zero = {};
      store(softmin_columns.at + j, mass > 0.0 ? load(kept.absorbed.at + j) - log2_of(sum) : zero);
      for (int k = 0; k < WD; ++k) {
        if (!(mass[k] > 0.0) || (sum[k] > least_sum && !is_lost)) continue;
        if (!is_fresh && STRAY * (missing + 1) > cols.n) return false;
        list.as<int64_t>()[missing++] = j + k;
      }
    }
    if (missing) sum_by_themselves(list.as<int64_t>(), missing, rows.next.at);
    for (int64_t j = 0; j < columns; j += WD) this->update_columns(j);
    return true;
  }

  // Soft minima of some columns for the potential f, each from the costs.
  void sum_by_themselves(const int64_t* missing, int64_t count, const double* f) {
    T* weights = spare.template as<T>();
    T* potential = weights + rows.n;
    const Scratch out(cols.n * int64_t(sizeof(T)));
    for (int64_t i = 0; i < rows.n; ++i) {
      potential[i] = T(f[i] / per_cost);
      weights[i] = T(rows.log_mass.at[i] / per_cost);
    }
    Step step{};
    step.log_a = weights;
    step.f_next = potential;
    step.g_raw = out.as<T>();
    step.epsilon = s.epsilon;
    finish_columns<T>(costs, step, missing, count, threads);
    for (int64_t k = 0; k < count; ++k) softmin_columns.at[missing[k]] = double(out.as<T>()[missing[k]]) * per_cost;
  }

  // What the caller gets; columns without mass have taken no part and get the soft minimum at the last f.
  void finish() {
    int64_t massless = 0;
    for (int64_t j = 0; j < cols.n; ++j)
      if (!(cols.mass.at[j] > 0.0)) list.as<int64_t>()[massless++] = j;
    if (massless) sum_by_themselves(list.as<int64_t>(), massless, rows.potential.at);
    for (int64_t k = 0; k < massless; ++k) {
      const int64_t j = list.as<int64_t>()[k];
      exact.at[j] = cols.potential.at[j] = cols.damping * softmin_columns.at[j];
    }
    this->hand_over();
  }
};

template <class T>
void sinkhorn_sweeps(const Costs& costs, const Sweeps& sweeps, int threads) {
  const FlushToZero guard;
  Sweeper<T>(costs, sweeps, threads).run();
}

}  // namespace
}  // namespace ISA
}  // namespace isotherm
