// Many relaxed sweeps of one problem in one call, on a kernel that is kept between them.
//
// The exponentials 2^(h_j - C_ij - m_i) of one sweep are kept (N x M of them). A sweep after it needs no exponential of
// a pair: with v_j = 2^(h'_j - h_j) and row factors w_i it is K v and K' w, both in one pass over K. Where a potential has
// moved too far, or a sum is too small beside what underflowed, the kernel is made anew at the present potentials; a
// column that it does not resolve even then is summed by itself. Potentials are kept in double, in units of
// epsilon / log2(e), so that they are exponents of 2.
#pragma once

#include "step.h"

namespace isotherm {
namespace ISA {
namespace {

constexpr double MAX_DRIFT = 60.0;  // exponents by which a potential may leave the kernel it was absorbed in
template <class T>
constexpr double LOST = sizeof(T) == 4 ? 0x1p-80 : 0x1p-900;  // a sum this small beside its factors is not resolved
constexpr int64_t STRAND_PAIRS = 1 << 17;                     // pairs that are worth a thread
constexpr int64_t MAX_STRANDS = 8;

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

// Doubles, in whole vectors past the end: zeros there.
struct Doubles {
  Scratch memory;
  double* at;
  explicit Doubles(int64_t count) : memory(count * int64_t(sizeof(double))), at(memory.as<double>()) {}
};

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
      log_mass.at[i] = mass.at[i] > 0.0 ? log2(mass.at[i]) : -INFINITY;
      potential.at[i] = i < n ? double(given[i]) * per_cost : 0.0;
      total_mass += mass.at[i];
    }
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
  Doubles absorbed;           // exponents of the columns that the kernel holds
  Doubles shift;              // alpha_i - m_i: what the kernel's rows lack
  Doubles before, softmin;    // soft minima of the last sweep and of this one, the constant included
  Doubles column_sums, softmin_columns, exact;
  const Scratch kernel, scaling, carry, spare;
  struct Strand {
    double missed, wanted, change, factors;
    bool is_lost;
  };
  Strand states[MAX_STRANDS];
  double last_omega, constant = 0.0, dual_value;
  bool has_kernel = false;

 public:
  Sweeper(const Costs& costs_, const Sweeps& s_, int threads_)
      : costs(costs_), s(s_), threads(threads_), per_cost(LOG2E / s.epsilon),
        columns((costs.m + 2 * WIDTH<T> - 1) / (2 * WIDTH<T>) * 2 * WIDTH<T>),
        strands(count_strands(costs)),
        per_strand(((costs.n + strands - 1) / strands + ROWS - 1) / ROWS * ROWS),
        rows(costs.n, strands * per_strand, static_cast<const T*>(s.a), static_cast<const T*>(s.f), s.rho_a, s),
        cols(costs.m, columns, static_cast<const T*>(s.b), static_cast<const T*>(s.g), s.rho_b, s),
        absorbed(columns), shift(rows.padded), before(rows.padded), softmin(rows.padded),
        column_sums(strands * columns), softmin_columns(columns), exact(columns),
        kernel(rows.padded * columns * int64_t(sizeof(T)), false), scaling(columns * int64_t(sizeof(T))),
        carry(strands * columns * int64_t(sizeof(T))), spare((rows.n + cols.n) * 2 * int64_t(sizeof(T))),
        last_omega(s.last_omega), dual_value(s.dual) {
    const T* given = static_cast<const T*>(s.before);
    for (int64_t i = 0; given && i < rows.n; ++i) before.at[i] = double(given[i]) * per_cost;
    for (int64_t j = 0; j < cols.n; ++j) exact.at[j] = cols.potential.at[j];
  }

  void run() {
    int64_t patience = 0, rest = 0;
    for (int64_t k = 0; k < s.count; ++k) {
      const double softness = rows.slack + cols.slack;
      constant = softness > 0.0 ? (rows.log_kept_mass() - cols.log_kept_mass()) / softness : 0.0;
      bool is_done = false;
      if (has_kernel && rest == 0) {
        is_done = sweep(false);
        patience = is_done ? 0 : 2 * patience + 1;
        rest = patience;
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
      s.residuals[k] = sum.missed / sum.wanted;
      s.changes[k] = sqrt(sum.change) / per_cost;
      *s.done = k + 1;
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
    const int64_t wanted = costs.n * costs.m / STRAND_PAIRS, most = (costs.n + ROWS - 1) / ROWS;
    const int64_t count = wanted < MAX_STRANDS ? wanted : MAX_STRANDS;
    return count < 1 || most < 1 ? 1 : count < most ? count : most;
  }

  T* kernel_row(int64_t i) const { return kernel.template as<T>() + i * columns; }

  // The next potentials, from the present ones; false, and nothing but `next` is touched, if the kernel does not do.
  bool sweep(bool is_fresh) {
    T* potential = spare.template as<T>();
    if (is_fresh) {
      for (int64_t j = 0; j < cols.n; ++j)
        potential[j] = T((cols.potential.at[j] + cols.log_mass.at[j]) / per_cost);
      const Pass<T> pass(costs, potential, per_cost);
      for (int64_t j = 0; j < cols.n; ++j)
        absorbed.at[j] = cols.mass.at[j] > 0.0 ? double(pass.h.template as<T>()[j]) + pass.beta_of(j) * per_cost : 0.0;
      const bool is_near = set_scaling();
      has_kernel = sum_rows(&pass) && is_near;
    } else if (!set_scaling() || !sum_rows(nullptr)) {
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
      const VD drift = load(cols.potential.at + j) + load(cols.log_mass.at + j) - load(absorbed.at + j);
      const VD kept = has_mass > 0.0 ? drift : VD{};
      worst = larger(larger(kept, -kept), worst);
      const VD factor = has_mass > 0.0 ? exp2_of(kept) : VD{};
      for (int k = 0; k < WD; ++k) v[j + k] = T(factor[k]);
    }
    return greatest(worst) <= MAX_DRIFT;
  }

  // All rows, strand by strand; whether all sums are resolved. With a pass, its kernel is made on the way.
  bool sum_rows(const Pass<T>* pass) {
    double factors = 0.0;
    for (int64_t j = 0; j < columns; ++j) factors += double(scaling.template as<T>()[j]);
    struct Context {
      Sweeper& self;
      const Pass<T>* pass;
      double least;
    } context{*this, pass, LOST<T> * (factors > 1.0 ? factors : 1.0)};
    parallel(strands, threads, [](void* pointer, int64_t k) {
      const Context& c = *static_cast<Context*>(pointer);
      const FlushToZero guard;
      c.self.strand(k, c.pass, c.least);
    }, &context);
    bool is_lost = false;
    for (int64_t k = 0; k < strands; ++k) is_lost = is_lost || states[k].is_lost;
    return !is_lost;
  }

  void strand(int64_t k, const Pass<T>* pass, double least) {
    const int64_t begin = k * per_strand, end = begin + per_strand < rows.n ? begin + per_strand : rows.n;
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
    for (int64_t i = begin; i < end; i += ROWS) {
      if (pass) absorb(*pass, i, end);
      double found[ROWS];
      dot_rows(i, found);
      T factor[ROWS];
      update_rows(i, found, least, factor, state);
      add_rows(kernel_row(i), columns, factor, sums);
      carried += ROWS;
      if (carried >= CARRY_ROWS) flush();
      if (state.is_lost && !pass) break;
    }
    flush();
    states[k] = state;
  }

  // Rows i .. i + ROWS of the kernel at the present potentials, shifted by the soft minimum at which f would stay.
  void absorb(const Pass<T>& pass, int64_t i, int64_t end) {
    Tile<T> tile(pass);
    const int count = int(end - i < ROWS ? end - i : ROWS);
    T m[ROWS] = {};
    double sums[ROWS] = {};
    for (int r = 0; r < count; ++r) {
      const double guess = (rows.potential.at[i + r] + constant) / rows.damping - constant;
      const double exponent = pass.alpha(i + r) * per_cost - guess;
      m[r] = __builtin_isfinite(exponent) ? Pass<T>::clamp(exponent) : T(0);
    }
    keep_exponentials(tile, i, i + count, m, kernel_row(i), sums);
    bool all_safe = true;
    for (int r = 0; r < count; ++r) all_safe = all_safe && is_safe(sums[r]);
    if (!all_safe) {
      for (int r = 0; r < count; ++r) {
        m[r] = -Simd<T>::HUGE_SCORE;
        sums[r] = 0.0;
      }
      exp_sums<true>(tile, i, i + count, m, sums);
      keep_exponentials(tile, i, i + count, m, kernel_row(i), sums);
    }
    for (int r = 0; r < count; ++r) shift.at[i + r] = pass.alpha(i + r) * per_cost - double(m[r]);
    memset(kernel_row(i + count), 0, size_t(ROWS - count) * size_t(columns) * sizeof(T));
  }

  // sums_r = sum_j K_(i + r) j v_j, carried to double now and then.
  void dot_rows(int64_t i, double* sums) const {
    constexpr int W = WIDTH<T>;
    const T* v = scaling.template as<T>();
    for (int r = 0; r < ROWS; ++r) sums[r] = 0.0;
    for (int64_t from = 0; from < columns; from += SUPER * BLOCK<T>) {
      const int64_t stop = from + SUPER * BLOCK<T> < columns ? from + SUPER * BLOCK<T> : columns;
      V sum[ROWS][2] = {};
      for (int64_t j = from; j < stop; j += 2 * W) {
        const V left = load(v + j), right = load(v + j + W);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; ++r) {
          const T* row = kernel_row(i + r) + j;
          sum[r][0] = load(row) * left + sum[r][0];
          sum[r][1] = load(row + W) * right + sum[r][1];
        }
      }
      for (int r = 0; r < ROWS; ++r) sums[r] += total(sum[r][0] + sum[r][1]);
    }
  }

  // Soft minima, residual and next potentials of a tile of rows, and their factors in the columns' sums.
  void update_rows(int64_t i, const double* sums, double least, T* factor, Strand& state) {
    for (int r = 0; r < ROWS; r += WD) {
      const int64_t at = i + r;
      const VD sum = load(sums + r), mass = load(rows.mass.at + at), f = load(rows.potential.at + at);
      const VD found = load(shift.at + at) - log2_of(sum);
      const VD past = load(before.at + at);
      const VD exact_softmin = last_omega == 1.0 ? found : (found + (last_omega - 1.0) * past) / last_omega;
      const VD zero = {};
      const VD row = exp2_of(f - exact_softmin);
      const VD wanted = rows.slack == 0.0 ? splat(1.0) : exp2_of(-f * rows.slack);
      const VD off = row - wanted;
      const VD moved = f + constant, shifted = found + constant;
      const VD target = rows.damping * shifted, step = target - moved;
      const VD next = s.omega == 1.0 ? target : (1.0 - s.omega) * moved + s.omega * target;
      const VD w = mass > 0.0 ? exp2_of(next + load(rows.log_mass.at + at) - load(shift.at + at)) : zero;
      store(softmin.at + at, shifted);
      store(rows.next.at + at, next);
      for (int k = 0; k < WD; ++k) {
        const bool is_point = at + k < rows.n;
        state.is_lost = state.is_lost || (is_point && !(sum[k] > least && w[k] < MAX_FACTOR));
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
    const bool is_lost = is_fresh && !has_kernel;
    const double least = LOST<T> * (factors > 1.0 ? factors : 1.0);
    int64_t missing = 0;
    const Scratch list(is_fresh ? cols.n * int64_t(sizeof(int64_t)) : 0);
    for (int64_t j = 0; j < columns; j += WD) {
      VD sum = load(column_sums.at + j);
      for (int64_t k = 1; k < strands; ++k) sum += load(column_sums.at + k * columns + j);
      const VD mass = load(cols.mass.at + j);
      const VD zero = {};
      store(softmin_columns.at + j, mass > 0.0 ? load(absorbed.at + j) - log2_of(sum) : zero);
      for (int k = 0; k < WD; ++k) {
        if (!(mass[k] > 0.0) || (sum[k] > least && !is_lost)) continue;
        if (!is_fresh) return false;
        list.as<int64_t>()[missing++] = j + k;
      }
    }
    if (missing) sum_by_themselves(list.as<int64_t>(), missing, rows.next.at);
    for (int64_t j = 0; j < columns; j += WD) {
      const VD target = cols.damping * load(softmin_columns.at + j), moved = load(cols.potential.at + j) - constant;
      store(exact.at + j, target);
      store(cols.next.at + j, s.omega == 1.0 ? target : (1.0 - s.omega) * moved + s.omega * target);
    }
    has_kernel = has_kernel || !is_fresh;
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
    const Scratch list(cols.n * int64_t(sizeof(int64_t)));
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
