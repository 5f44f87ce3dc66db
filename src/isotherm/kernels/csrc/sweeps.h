// Many relaxed sweeps of one problem in one call, on a kernel that is kept between them.
//
// The exponentials 2^(h_j - C_ij - m_i) of one sweep are kept (N x M of them). A sweep after it needs no exponential of
// a pair: with v_j = 2^(h'_j - h_j) and row factors w_i it is K v and K' w, both in one pass over K. Where a potential has
// moved too far, or a sum is too small beside what underflowed, the kernel is made anew at the present potentials; a
// column that it does not resolve even then is summed by itself. Near the solution most entries weigh less than the
// tolerance can see: there the kernel is cut, and made anew, whole, where a sum is too small beside what was left out.
// Potentials are kept in double, in units of epsilon / log2(e), so that they are exponents of 2.
#pragma once

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

constexpr int WD = WIDTH<double>;

// log2 of normal numbers and of 0.
INLINE VD log2_of(VD x) {
  const ID bits = (ID)x;
  VD e = (VD)((bits >> 52) | 0x4330000000000000u) - (4503599627370496.0 + 1023.0);
  VD m = (VD)((bits & 0x000fffffffffffffu) | 0x3ff0000000000000u);
  e = m > 1.4142135623730951 ? e + 1.0 : e;
  m = m > 1.4142135623730951 ? m * 0.5 : m;
  const VD s = (m - 1.0) / (m + 1.0), z = s * s;
  VD p = splat(1.0 / 21.0);  // atanh(s) / s = sum z^k / (2k + 1), z < 0.03
  for (int k = 9; k >= 0; --k) p = p * z + 1.0 / (2 * k + 1);
  return x > 0.0 ? s * p * (2.0 * LOG2E) + e : splat(-double(INFINITY));
}

// One side of the problem: n points, arrays padded to `padded`. Padding has no mass.
template <class T>
struct Side {
  const int64_t n, padded;
  const double slack;  // epsilon / rho; 0 where the marginal is a constraint
  const double damping;
  Doubles mass, log_mass, potential, next;
  double total_mass = 0.0;

  Side(int64_t n_, int64_t padded_, const T* weights, const T* given, double rho, const Sweeps& s)
      : n(n_), padded(padded_), slack(s.epsilon / rho), damping(1.0 / (1.0 + slack)),
        mass(padded), log_mass(padded), potential(padded), next(padded) {
    const double per_cost = LOG2E / s.epsilon;
    for (int64_t i = 0; i < padded; ++i) {
      mass.at[i] = i < n ? double(weights[i]) : 0.0;
      potential.at[i] = i < n ? double(given[i]) * per_cost : 0.0;
      total_mass += mass.at[i];
    }
    for (int64_t i = 0; i < padded; i += WD) store(log_mass.at + i, log2_of(load(mass.at + i)));
  }

  // log2 of a mass over the least weight that is not zero.
  double log_least(double over) const {
    double least = INFINITY;
    for (int64_t i = 0; i < n; ++i)
      if (mass.at[i] > 0.0 && mass.at[i] < least) least = mass.at[i];
    return log2(over / least);
  }

  // log2 of sum_i a_i exp(-f_i / rho).
  double log_kept_mass() const {
    if (slack == 0.0) return log2(total_mass);
    double top = -INFINITY, sum = 0.0;
    for (int64_t i = 0; i < n; ++i) top = fmax(top, log_mass.at[i] - potential.at[i] * slack);
    for (int64_t i = 0; i < n; ++i) sum += exp2(log_mass.at[i] - potential.at[i] * slack - top);
    return top + log2(sum);
  }

  // The dual's term of this side at `next`, in exponents.
  double dual(double rho_exponents) const {
    double sum = 0.0;
    for (int64_t i = 0; i < n; ++i) {
      if (!(mass.at[i] > 0.0)) continue;
      sum += mass.at[i] * (slack == 0.0 ? next.at[i] : -rho_exponents * expm1(-next.at[i] / rho_exponents));
    }
    return sum;
  }
};

template <class T>
class Sweeper {
  typedef typename Simd<T>::V V;
  const Costs& costs;
  const Sweeps& s;
  const int threads;
  const double per_cost;
  const int64_t columns, strands, per_strand;
  Side<T> rows, cols;
  Kept<T>& kept;
  Doubles before, softmin;    // soft minima of the last sweep and of this one, the constant included
  Doubles column_sums, softmin_columns, exact;
  const Scratch scaling, carry, spare, list;
  struct Strand {
    double missed, wanted, change, factors;
    int64_t mended;
    bool is_lost;
  };
  Strand states[MAX_STRANDS];
  double last_omega, constant = 0.0, dual_value;
  double cut_bits;  // by which a cut's threshold is below one; infinity where none is made
  double digits;    // powers of 2 that the tolerance sees

 public:
  Sweeper(const Costs& costs_, const Sweeps& s_, int threads_)
      : costs(costs_), s(s_), threads(threads_), per_cost(LOG2E / s.epsilon),
        columns((costs.m + 2 * WIDTH<T> - 1) / (2 * WIDTH<T>) * 2 * WIDTH<T>),
        strands(count_strands(costs)),
        per_strand(((costs.n + strands - 1) / strands + ROWS - 1) / ROWS * ROWS),
        rows(costs.n, strands * per_strand, static_cast<const T*>(s.a), static_cast<const T*>(s.f), s.rho_a, s),
        cols(costs.m, columns, static_cast<const T*>(s.b), static_cast<const T*>(s.g), s.rho_b, s),
        kept(kept_of(*s.keeper)), before(rows.padded), softmin(rows.padded),
        column_sums(strands * columns), softmin_columns(columns), exact(columns),
        scaling(columns * int64_t(sizeof(T))),
        carry(strands * columns * int64_t(sizeof(T))), spare((rows.n + cols.n) * 2 * int64_t(sizeof(T))),
        list(cols.n * int64_t(sizeof(int64_t)), false),
        last_omega(s.last_omega), dual_value(s.dual) {
    const T* given = static_cast<const T*>(s.before);
    for (int64_t i = 0; given && i < rows.n; ++i) before.at[i] = double(given[i]) * per_cost;
    for (int64_t j = 0; j < cols.n; ++j) exact.at[j] = cols.potential.at[j];
    kept.take(costs);
    if (s.residual < kept.residual) kept.residual = s.residual;
    set_cut();
  }

  void run() {
    int64_t patience = 0, rest = 0;
    for (int64_t k = 0; k < s.count; ++k) {
      const double softness = rows.slack + cols.slack;
      constant = softness > 0.0 ? (rows.log_kept_mass() - cols.log_kept_mass()) / softness : 0.0;
      bool is_done = false;
      if (kept.is_made && rest == 0 && !should_cut()) {
        is_done = sweep(false);
        rest = patience = is_done || kept.is_cut ? 0 : 2 * patience + 1;
      } else if (rest > 0) {
        --rest;
      }
      if (!is_done) sweep(true);
      Strand sum{};
      for (int64_t t = 0; t < strands; ++t) {
        sum.missed += states[t].missed;
        sum.wanted += states[t].wanted;
        sum.change += states[t].change;
      }
      s.residuals[k] = kept.residual = sum.missed / sum.wanted;
      s.changes[k] = sqrt(sum.change) / per_cost;
      *s.done = k + 1;
      ++kept.age;
      accept();
      if (s.omega != 1.0 && has_dropped()) {
        *s.has_dropped = true;
        break;
      }
      if (s.residuals[k] <= s.tolerance || !(s.residuals[k] == s.residuals[k])) break;
    }
    finish();
  }

 private:
  static int64_t count_strands(const Costs& costs) {
    const int64_t wanted = (costs.n * costs.m + STRAND_PAIRS - 1) / STRAND_PAIRS, most = (costs.n + ROWS - 1) / ROWS;
    const int64_t count = wanted < MAX_STRANDS ? wanted : MAX_STRANDS;
    return count < 1 || most < 1 ? 1 : count < most ? count : most;
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
    Tile<T> tile(*kept.pass);
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
      update_rows(i, found, least_sum, factor, state);
      kept.add(i, factor, sums);
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
  void update_rows(int64_t i, const double* sums, double least_sum, T* factor, Strand& state) {
    for (int r = 0; r < ROWS; r += WD) {
      const int64_t at = i + r;
      const VD sum = load(sums + r), mass = load(rows.mass.at + at), f = load(rows.potential.at + at);
      const VD found = load(kept.shift.at + at) - log2_of(sum);
      const VD past = load(before.at + at);
      const VD exact_softmin = last_omega == 1.0 ? found : (found + (last_omega - 1.0) * past) / last_omega;
      const VD zero = {};
      const VD row = exp2_of(f - exact_softmin);
      const VD wanted = rows.slack == 0.0 ? splat(1.0) : exp2_of(-f * rows.slack);
      const VD off = row - wanted;
      const VD moved = f + constant, shifted = found + constant;
      const VD target = rows.damping * shifted, step = target - moved;
      const VD next = s.omega == 1.0 ? target : (1.0 - s.omega) * moved + s.omega * target;
      const VD w = mass > 0.0 ? exp2_of(next + load(rows.log_mass.at + at) - load(kept.shift.at + at)) : zero;
      store(softmin.at + at, shifted);
      store(rows.next.at + at, next);
      for (int k = 0; k < WD; ++k) {
        const bool is_point = at + k < rows.n;
        state.is_lost = state.is_lost || (is_point && !(sum[k] > least_sum && w[k] < MAX_FACTOR));
        factor[r + k] = is_point && w[k] < MAX_FACTOR ? T(w[k]) : T(0);
      }
      state.missed += total(mass > 0.0 ? mass * larger(off, -off) : zero);
      state.wanted += total(mass > 0.0 ? mass * wanted : zero);
      state.change += total(mass > 0.0 ? mass * step * step : zero);
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
    for (int64_t j = 0; j < columns; j += WD) {
      const VD target = cols.damping * load(softmin_columns.at + j), moved = load(cols.potential.at + j) - constant;
      store(exact.at + j, target);
      store(cols.next.at + j, s.omega == 1.0 ? target : (1.0 - s.omega) * moved + s.omega * target);
    }
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

  void accept() {
    memcpy(rows.potential.at, rows.next.at, size_t(rows.padded) * sizeof(double));
    memcpy(cols.potential.at, cols.next.at, size_t(columns) * sizeof(double));
    memcpy(before.at, softmin.at, size_t(rows.padded) * sizeof(double));
    last_omega = s.omega;
  }

  // Whether the dual value is lower than after the last relaxed sweep, beyond rounding.
  bool has_dropped() {
    VD mass = {};
    for (int64_t j = 0; j < columns; j += WD) {
      const VD b = load(cols.mass.at + j), zero = {};
      mass += b > 0.0 ? b * exp2_of(load(cols.potential.at + j) - load(softmin_columns.at + j)) : zero;
    }
    const double parts[] = {rows.dual(s.rho_a * per_cost), cols.dual(s.rho_b * per_cost), -LOG2E * total(mass)};
    double value = 0.0, size = 0.0;
    for (const double part : parts) {
      value += part / per_cost;
      size += fabs(part) / per_cost;
    }
    const double past = dual_value, unit = sizeof(T) == 4 ? 0x1p-23 : 0x1p-52;
    dual_value = value;
    return !(__builtin_isfinite(value) && value >= past - 8.0 * unit * size);
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
    for (int64_t i = 0; i < rows.n; ++i) {
      static_cast<T*>(s.next_f)[i] = T(rows.potential.at[i] / per_cost);
      static_cast<T*>(s.softmin)[i] = T(before.at[i] / per_cost);
    }
    for (int64_t j = 0; j < cols.n; ++j) {
      static_cast<T*>(s.next_g)[j] = T(cols.potential.at[j] / per_cost);
      static_cast<T*>(s.exact_g)[j] = T(exact.at[j] / per_cost);
    }
    *s.last_dual = dual_value;
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
