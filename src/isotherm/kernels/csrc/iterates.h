// The potentials of one problem between sweeps, and what a sweep does with soft minima however these are found.
// Potentials are kept in double, in units of epsilon / log2(e), so that they are exponents of 2.
#pragma once

#include "pass.h"

namespace isotherm {
namespace ISA {
namespace {

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
    const auto exponent = [&](int64_t i) {
      return load(mass.at + i) > 0.0 ? load(log_mass.at + i) - load(potential.at + i) * slack : splat(-double(INFINITY));
    };
    VD highest = exponent(0), sum = {};
    for (int64_t i = WD; i < padded; i += WD) highest = larger(exponent(i), highest);
    const double top = greatest(highest);
    for (int64_t i = 0; i < padded; i += WD) sum += exp2_of(exponent(i) - top);
    return top + log2(total(sum));
  }

  // The dual's term of this side at its potential, in exponents.
  double dual(double rho_exponents) const {
    if (slack == 0.0) {
      VD sum = {};
      const VD zero = {};
      for (int64_t i = 0; i < padded; i += WD)
        sum += load(mass.at + i) > 0.0 ? load(mass.at + i) * load(potential.at + i) : zero;
      return total(sum);
    }
    double sum = 0.0;
    for (int64_t i = 0; i < n; ++i)
      if (mass.at[i] > 0.0) sum -= mass.at[i] * rho_exponents * expm1(-potential.at[i] / rho_exponents);
    return sum;
  }
};

// Sums over some rows of a sweep, lane by lane.
struct RowSums {
  VD missed = {}, wanted = {}, change = {};

  void add(const RowSums& other) {
    missed += other.missed;
    wanted += other.wanted;
    change += other.change;
  }
};

template <class T>
class Iterates {
 protected:
  const Sweeps& s;
  const double per_cost;
  Side<T> rows, cols;
  Doubles before, softmin;  // soft minima of the last sweep and of this one, the constant included
  Doubles softmin_columns, exact;
  double last_omega, constant = 0.0, dual_value;

  // Arrays of the rows and of the columns are padded to so many numbers.
  Iterates(const Sweeps& s_, int64_t n, int64_t m, int64_t padded_rows, int64_t padded_columns)
      : s(s_), per_cost(LOG2E / s.epsilon),
        rows(n, padded_rows, static_cast<const T*>(s.a), static_cast<const T*>(s.f), s.rho_a, s),
        cols(m, padded_columns, static_cast<const T*>(s.b), static_cast<const T*>(s.g), s.rho_b, s),
        before(padded_rows), softmin(padded_rows), softmin_columns(padded_columns), exact(padded_columns),
        last_omega(s.last_omega), dual_value(s.dual) {
    const T* given = static_cast<const T*>(s.before);
    for (int64_t i = 0; given && i < rows.n; ++i) before.at[i] = double(given[i]) * per_cost;
    for (int64_t j = 0; j < cols.n; ++j) exact.at[j] = cols.potential.at[j];
  }

  // The constant that is best moved from g to f.
  void find_constant() {
    const double softness = rows.slack + cols.slack;
    constant = softness > 0.0 ? (rows.log_kept_mass() - cols.log_kept_mass()) / softness : 0.0;
  }

  // Residual and next potentials of a vector of rows with these soft minima.
  VD update_rows(int64_t at, VD found, RowSums& sums) {
    const VD mass = load(rows.mass.at + at), f = load(rows.potential.at + at), past = load(before.at + at), zero = {};
    const VD exact_softmin = last_omega == 1.0 ? found : (found + (last_omega - 1.0) * past) / last_omega;
    const VD wanted = rows.slack == 0.0 ? splat(1.0) : exp2_of(-f * rows.slack);
    const VD off = exp2_of(f - exact_softmin) - wanted;
    const VD moved = f + constant, shifted = found + constant;
    const VD target = rows.damping * shifted, step = target - moved;
    const VD next = relaxed(moved, target);
    store(softmin.at + at, shifted);
    store(rows.next.at + at, next);
    sums.missed += mass > 0.0 ? mass * larger(off, -off) : zero;
    sums.wanted += mass > 0.0 ? mass * wanted : zero;
    sums.change += mass > 0.0 ? mass * step * step : zero;
    return next;
  }

  // Next potentials of a vector of columns from their soft minima; those without mass get the exact one.
  void update_columns(int64_t at) {
    const VD target = cols.damping * load(softmin_columns.at + at), moved = load(cols.potential.at + at) - constant;
    store(exact.at + at, target);
    store(cols.next.at + at, load(cols.mass.at + at) > 0.0 ? relaxed(moved, target) : target);
  }

  // Takes the next potentials for the present ones and writes down how sweep k went; whether it was the last.
  bool end_sweep(int64_t k, const RowSums& sums) {
    s.residuals[k] = total(sums.missed) / total(sums.wanted);
    s.changes[k] = sqrt(total(sums.change)) / per_cost;
    *s.done = k + 1;
    exchange(rows.potential, rows.next);
    exchange(cols.potential, cols.next);
    exchange(before, softmin);
    last_omega = s.omega;
    if (s.omega != 1.0 && has_dropped()) return *s.has_dropped = true;
    return s.residuals[k] <= s.tolerance || !(s.residuals[k] == s.residuals[k]);
  }

  // What the caller gets.
  void hand_over() const {
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

 private:
  VD relaxed(VD moved, VD target) const {
    return s.omega == 1.0 ? target : (1.0 - s.omega) * moved + s.omega * target;
  }

  // Whether the dual value is lower than after the last relaxed sweep, beyond rounding.
  bool has_dropped() {
    VD mass = {};
    for (int64_t j = 0; j < cols.padded; j += WD) {
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
};

}  // namespace
}  // namespace ISA
}  // namespace isotherm
