// One axis of a separable reduction: the middle of a tensor seen as (outer, m, inner), without transposing copies.
//
//   log_sum   out[o, i, k] = epsilon log sum_j w_ij exp((h[o, j, k] - C_ij) / epsilon)
//   max       out[o, i, k] = max_j h[o, j, k] - C_ij
//
// With t_j = h_j log2(e) / epsilon and c_ij = C_ij log2(e) / epsilon, and anchors i0 of a tile of rows I and j0 of a tile
// of columns J, the exponents split without error in real arithmetic into
//
//   t_j - c_ij = A_j + B_i - rho_ij,   A_j = t_j - c_i0j,   B_i = -(c_ij0 - c_i0j0),   rho_ij = c_ij - c_i0j - c_ij0 + c_i0j0
//
// so that 2^-rho is a matrix shared by all lines (o, k): one exponential for each (I, j) and each (i, J), multiply-adds
// for the pairs. Rows of a tile are halved until |rho| <= LIMIT; a tile of one row has rho = 0 and is the exponent form,
// one exponential per pair. Errors beyond rounding: let T_i be the largest of A_j + B_i over the line, R = max |rho|. The sum is
// at least 2^(T_i - R). What underflows in 2^(A_j - max A) is below 2^(T_i + R - 126) each (2^-1022 in double), and tiles of
// columns are left out where max A + B_i < T_i - 2 R - SPARE for every row and line at hand, which is below
// 2^(T_i - R - SPARE) each; most of these show in the largest t_j of a tile and bounds of B_i - c_i0j already.
// Together: less than m 2^-SPARE of the sum. Weights are a factor of the matrix; with them the
// error is that share of max w times the unweighted sum.
#pragma once

#include "pass.h"

namespace isotherm {
namespace ISA {
namespace {

constexpr int64_t TILE_COLUMNS = 16;
constexpr int64_t MAX_TILE_ROWS = 32;

template <class T>
struct AxisLimits;
template <>
struct AxisLimits<float> {
  static constexpr double LIMIT = 47.0, SPARE = 32.0;
  static constexpr float LARGEST = 4e37f;  // sums of a few such numbers stay finite
  static constexpr float ULP = 0x1p-23f;
};
template <>
struct AxisLimits<double> {
  static constexpr double LIMIT = 200.0, SPARE = 64.0;
  static constexpr double LARGEST = 2e307;
  static constexpr double ULP = 0x1p-52;
};

INLINE int64_t whole(int64_t count, int64_t step) { return (count + step - 1) / step * step; }

template <class T>
INLINE T bounded(double value) {
  const double limit = AxisLimits<T>::LARGEST;
  return T(value > limit ? limit : value < -limit ? -limit : value);
}

// What the lines of one pass share. Rows past the last have no mass, columns past the last zero weight.
template <class T>
struct AxisTable {
  const int64_t n, m, columns;  // columns: m, rounded up to whole tiles
  int64_t tile_rows = MAX_TILE_ROWS;
  int64_t rows = 0;             // n, rounded up to whole tiles
  T skip = T(0);                // tiles this far below the largest exponent are left out
  Scratch matrix;           // w 2^-rho, [tile of rows][tile of columns][column][row]
  Scratch anchors, shifts;  // c_i0j [tile][columns], B_i [rows][tile of columns]
  Scratch most, least;      // bounds of B_i - c_i0j, [tile][tile of columns]

  AxisTable(const Axis& axis, double per_cost)
      : n(axis.n),
        m(axis.m),
        columns(whole(axis.m, TILE_COLUMNS)),
        matrix(whole(axis.n, MAX_TILE_ROWS) * columns * int64_t(sizeof(T))),
        anchors(axis.n * columns * int64_t(sizeof(T))),
        shifts(whole(axis.n, MAX_TILE_ROWS) * (columns / TILE_COLUMNS) * int64_t(sizeof(T))),
        most(axis.n * (columns / TILE_COLUMNS) * int64_t(sizeof(T))),
        least(axis.n * (columns / TILE_COLUMNS) * int64_t(sizeof(T))) {
    const T* costs = static_cast<const T*>(axis.costs);
    const Scratch exponents(n * columns * int64_t(sizeof(T)));  // -rho, [n][columns]
    T* const out = exponents.template as<T>();
    while (tile_rows > 1 && corners(costs, per_cost) > AxisLimits<T>::LIMIT) tile_rows /= 2;
    double spread = fill(costs, per_cost, out);
    while (tile_rows > 1 && !(spread <= AxisLimits<T>::LIMIT)) {
      tile_rows /= 2;
      spread = fill(costs, per_cost, out);
    }
    skip = T(2.0 * spread + AxisLimits<T>::SPARE);
    rows = whole(n, tile_rows);
    finish(static_cast<const T*>(axis.weights), out);
    bound();
  }

  int64_t tiles() const { return columns / TILE_COLUMNS; }

  static int64_t middle(int64_t from, int64_t step, int64_t end) { return from + (from + step < end ? step : end - from) / 2; }

  // max |rho| over the corners of tiles, where it is largest for most costs: a first guess of their height.
  double corners(const T* costs, double per_cost) const {
    double spread = 0.0;
    for (int64_t from = 0; from < n; from += tile_rows) {
      const int64_t end = from + tile_rows < n ? from + tile_rows : n;
      const T* anchor = costs + middle(from, tile_rows, n) * m;
      for (int64_t i = from; i < end; i += end - from > 1 ? end - from - 1 : 1)
        for (int64_t begin = 0; begin < m; begin += TILE_COLUMNS) {
          const int64_t stop = begin + TILE_COLUMNS < m ? begin + TILE_COLUMNS : m, j0 = middle(begin, TILE_COLUMNS, m);
          const double offset = double(costs[i * m + j0]) - double(anchor[j0]);
          for (int64_t j = begin; j < stop; j += stop - begin > 1 ? stop - begin - 1 : 1) {
            const double rho = (double(costs[i * m + j]) - double(anchor[j]) - offset) * per_cost;
            spread = rho > spread ? rho : -rho > spread ? -rho : spread;
          }
        }
    }
    return spread;
  }

  // Writes -rho, anchors and shifts for the present height of tiles; returns max |rho|.
  double fill(const T* costs, double per_cost, T* exponents) {
    T peak[TILE_COLUMNS] = {};  // one for each column of a tile, so that the loop over them needs no order
    for (int64_t i = 0; i < n; ++i) {
      const int64_t from = i / tile_rows * tile_rows;
      const T* anchor = costs + middle(from, tile_rows, n) * m;
      const T* row = costs + i * m;
      if (i == from) {
        T* kept = anchors.template as<T>() + i / tile_rows * columns;
        for (int64_t j = 0; j < m; ++j) kept[j] = bounded<T>(double(anchor[j]) * per_cost);
      }
      for (int64_t J = 0; J < tiles(); ++J) {
        const int64_t begin = J * TILE_COLUMNS, left = m - begin, j0 = middle(begin, TILE_COLUMNS, m);
        const double offset = double(row[j0]) - double(anchor[j0]);
        shifts.template as<T>()[i * tiles() + J] = bounded<T>(-offset * per_cost);
        T* out = exponents + i * columns + begin;
        if (left >= TILE_COLUMNS) fill_tile(anchor + begin, row + begin, offset, per_cost, TILE_COLUMNS, out, peak);
        else fill_tile(anchor + begin, row + begin, offset, per_cost, left, out, peak);
      }
    }
    T spread = T(0);
    for (const T one : peak) spread = one > spread ? one : spread;
    return double(spread);
  }

  INLINE void fill_tile(const T* anchor, const T* row, double offset, double per_cost, int64_t count, T* out, T* peak) {
    for (int64_t j = 0; j < count; ++j) out[j] = bounded<T>((double(anchor[j]) - double(row[j]) + offset) * per_cost);
    for (int64_t j = 0; j < count; ++j) {
      const T size = out[j] < T(0) ? -out[j] : out[j];
      peak[j] = size > peak[j] ? size : peak[j];
    }
  }

  static T larger_size(T a, T b) {
    a = a < T(0) ? -a : a;
    b = b < T(0) ? -b : b;
    return a > b ? a : b;
  }

  // Bounds of B_i - c_i0j for each tile, wide enough for what rounding makes of them.
  void bound() {
    for (int64_t i = 0; i < n; i += tile_rows)
      for (int64_t J = 0; J < tiles(); ++J) {
        const int64_t at = i / tile_rows * tiles() + J, end = i + tile_rows < n ? i + tile_rows : n;
        const int64_t stop = (J + 1) * TILE_COLUMNS < m ? (J + 1) * TILE_COLUMNS : m;
        const T* anchor = anchors.template as<T>() + i / tile_rows * columns;
        const T* shift = shifts.template as<T>() + J;
        T near = anchor[J * TILE_COLUMNS], far = near, high = shift[i * tiles()], low = high;
        for (int64_t j = J * TILE_COLUMNS; j < stop; ++j) {
          near = anchor[j] < near ? anchor[j] : near;
          far = anchor[j] > far ? anchor[j] : far;
        }
        for (int64_t r = i; r < end; ++r) {
          high = shift[r * tiles()] > high ? shift[r * tiles()] : high;
          low = shift[r * tiles()] < low ? shift[r * tiles()] : low;
        }
        const T rounding = T(4) * AxisLimits<T>::ULP * (larger_size(near, far) + larger_size(high, low));
        most.template as<T>()[at] = high - near + rounding;
        least.template as<T>()[at] = low - far - rounding;
      }
  }

  void finish(const T* weights, const T* exponents) {
    constexpr int W = WIDTH<T>;
    T entries[TILE_COLUMNS];
    for (int64_t i = 0; i < n; ++i)
      for (int64_t J = 0; J < tiles(); ++J) {
        const int64_t begin = J * TILE_COLUMNS, left = m - begin < TILE_COLUMNS ? m - begin : TILE_COLUMNS;
        for (int64_t j = 0; j < TILE_COLUMNS; j += W) store(entries + j, exp2_of(load(exponents + i * columns + begin + j)));
        T* out = matrix.template as<T>() + (i / tile_rows * columns + begin) * tile_rows + i % tile_rows;
        for (int64_t j = 0; j < left; ++j) out[j * tile_rows] = weights ? entries[j] * weights[i * m + begin + j] : entries[j];
      }
  }
};

// log2 of positive normal numbers: relative error below 3 ulp; -inf at zero and below the normal numbers.
template <class T>
INLINE typename Simd<T>::V log2_of(typename Simd<T>::V a) {
  typedef typename Simd<T>::V V;
  typedef typename Simd<T>::I I;
  constexpr bool IS_DOUBLE = sizeof(T) == 8;
  constexpr int SHIFT = IS_DOUBLE ? 52 : 23;
  typedef decltype(I{}[0] + I{}[0]) Word;
  constexpr Word ROOT_HALF = Word(IS_DOUBLE ? 0x3fe6a09e667f3bcdull : 0x3f3504f3ull);
  // a = 2^e r with r in [sqrt(1/2), sqrt(2)): the bits above those of sqrt(1/2) count the power.
  const I bits = (I)a - ROOT_HALF;
  const I power = bits >> SHIFT;
  const V r = (V)((bits & Word((Word(1) << SHIFT) - 1)) + ROOT_HALF);
  const T magic = IS_DOUBLE ? T(6755399441055744.0) : T(12582912.0);  // its last bit is worth one
  // The power may be negative as a signed number of (64 - SHIFT) bits: bring the sign back before it is converted.
  constexpr int WIDTH_BITS = int(sizeof(T)) * 8;
  constexpr Word SIGN = Word(1) << (WIDTH_BITS - SHIFT - 1);
  const I centred = (power + SIGN) & Word((Word(1) << (WIDTH_BITS - SHIFT)) - 1);
  const V e = (V)(centred + (I)splat(magic)) - (magic + T(SIGN));
  const V s = (r - T(1)) / (r + T(1)), z = s * s;
  V p;
  if (IS_DOUBLE) {
    p = splat(T(1.0 / 21.0));
    p = p * z + T(1.0 / 19.0);
    p = p * z + T(1.0 / 17.0);
    p = p * z + T(1.0 / 15.0);
    p = p * z + T(1.0 / 13.0);
    p = p * z + T(1.0 / 11.0);
    p = p * z + T(1.0 / 9.0);
  } else {
    p = splat(T(1.0 / 9.0));
  }
  p = p * z + T(1.0 / 7.0);
  p = p * z + T(1.0 / 5.0);
  p = p * z + T(1.0 / 3.0);
  p = p * z;
  const V result = (p * s + s) * T(2.0 * LOG2E) + e;
  const T smallest = IS_DOUBLE ? T(2.2250738585072014e-308) : T(1.17549435e-38);
  return a >= smallest ? result : splat(-T(INFINITY));
}

// WIDTH lines at a time: entry j of line l is at first[l] + j * step.
template <class T>
struct Bundle {
  int64_t first_in[WIDTH<T>], first_out[WIDTH<T>];
  int count;
  bool is_block;  // a whole vector of neighbours in memory

  Bundle(const Axis& axis, int64_t bundle) {
    const int64_t lines = axis.outer * axis.inner, from = bundle * WIDTH<T>;
    count = int(lines - from < WIDTH<T> ? lines - from : WIDTH<T>);
    for (int l = 0; l < WIDTH<T>; ++l) {
      const int64_t line = from + (l < count ? l : count - 1), o = line / axis.inner, k = line % axis.inner;
      first_in[l] = o * axis.m * axis.inner + k;
      first_out[l] = o * axis.n * axis.inner + k;
    }
    constexpr int64_t LAST = WIDTH<T> - 1;
    is_block = count == WIDTH<T> && first_in[LAST] - first_in[0] == LAST && first_out[LAST] - first_out[0] == LAST;
  }

  typename Simd<T>::V get(const T* from, int64_t j, int64_t step) const {
    if (is_block) return load(from + first_in[0] + j * step);
    typename Simd<T>::V v = {};
    for (int l = 0; l < WIDTH<T>; ++l) v[l] = from[first_in[l] + j * step];
    return v;
  }

  void put(T* to, int64_t i, int64_t step, typename Simd<T>::V v) const {
    if (is_block) return store(to + first_out[0] + i * step, v);
    for (int l = 0; l < count; ++l) to[first_out[l] + i * step] = v[l];
  }
};

// Sums of one tile of rows: ROUND rows at a time, in registers.
template <class T, int ROUND>
INLINE void add_tile(const AxisTable<T>& table, int64_t i, int64_t J, const T* terms, const T* highest, const T* best,
                     T* sums) {
  typedef typename Simd<T>::V V;
  constexpr int W = WIDTH<T>;
  const V top = load(highest + J * W);
  for (int64_t r = 0; r < table.tile_rows; r += ROUND) {
    V part[ROUND] = {};
    const T* column = table.matrix.template as<T>() + (i * table.columns + J * TILE_COLUMNS * table.tile_rows) + r;
    for (int64_t j = 0; j < TILE_COLUMNS; ++j, column += table.tile_rows) {
      const V term = load(terms + j * W);
#pragma GCC unroll 8
      for (int k = 0; k < ROUND; ++k) part[k] = term * column[k] + part[k];
    }
#pragma GCC unroll 8
    for (int k = 0; k < ROUND; ++k) {
      const T shift = table.shifts.template as<T>()[(i + r + k) * table.tiles() + J];
      T* sum = sums + (r + k) * W;
      store(sum, exp2_of(top + shift - load(best + (r + k) * W)) * part[k] + load(sum));
    }
  }
}

template <class T>
INLINE Work log_sum_bundle(const AxisTable<T>& table, const Axis& axis, const Bundle<T>& bundle, double per_cost, T* scratch) {
  typedef typename Simd<T>::V V;
  constexpr int W = WIDTH<T>;
  const T floor = T(-4) * AxisLimits<T>::LARGEST;
  const int64_t tiles = table.tiles(), height = table.tile_rows;
  Work done;
  T* scores = scratch;                        // t_j, [columns]
  T* shifted = scores + table.columns * W;    // A_j, [columns]
  T* terms = shifted + table.columns * W;     // 2^(A_j - highest), [TILE_COLUMNS]
  T* highest = terms + TILE_COLUMNS * W;      // max A_j, [tile of columns]
  T* best = highest + tiles * W;              // max_J highest + B_i, [row of the tile]
  T* sums = best + MAX_TILE_ROWS * W;
  T* peaks = sums + MAX_TILE_ROWS * W;        // max t_j, [tile of columns]
  int32_t* met = reinterpret_cast<int32_t*>(peaks + tiles * W);  // tiles of columns that may count, in order
  const T factor = bounded<T>(per_cost), largest = AxisLimits<T>::LARGEST, none = -T(INFINITY);
  const T* h = static_cast<const T*>(axis.h);
  V size = {};  // max |t_j|
  for (int64_t J = 0; J < tiles; ++J) {
    V peak = splat(none);
    for (int64_t j = J * TILE_COLUMNS; j < (J + 1) * TILE_COLUMNS; ++j) {
      V t = splat(none);
      if (j < table.m) {
        const V given = bundle.get(h, j, axis.inner);
        t = given * factor;
        t = t > largest ? splat(largest) : t;
        t = t < -largest ? splat(-largest) : t;
        size = given > none ? larger(larger(t, -t), size) : size;
        t = given > none ? t : splat(none);
      }
      store(scores + j * W, t);
      peak = larger(t, peak);
    }
    store(peaks + J * W, peak);
  }
  const T reach = table.skip + T(8) * AxisLimits<T>::ULP * greatest(size);
  for (int64_t i = 0; i < table.rows; i += height) {
    const T* anchor = table.anchors.template as<T>() + i / height * table.columns;
    const T* most = table.most.template as<T>() + i / height * tiles;
    const T* least = table.least.template as<T>() + i / height * tiles;
    V bound = splat(floor);  // of T_i, for every row of the tile
    for (int64_t J = 0; J < tiles; ++J) bound = larger(load(peaks + J * W) + least[J], bound);
    int64_t count = 0;
    for (int64_t J = 0; J < tiles; ++J)
      if (any_above(load(peaks + J * W) + most[J] - bound, -reach)) met[count++] = int32_t(J);
    for (int64_t k = 0; k < count; ++k) {
      const int64_t J = met[k];
      V top = splat(none);
      for (int64_t j = J * TILE_COLUMNS; j < (J + 1) * TILE_COLUMNS; ++j) {
        const V a = load(scores + j * W) - anchor[j];
        store(shifted + j * W, a);
        top = larger(a, top);
      }
      store(highest + J * W, top);
    }
    for (int64_t r = 0; r < height; ++r) {
      const T* shift = table.shifts.template as<T>() + (i + r) * tiles;
      V top = splat(none);
      for (int64_t k = 0; k < count; ++k) top = larger(load(highest + met[k] * W) + shift[met[k]], top);
      store(best + r * W, larger(top, splat(floor)));
      store(sums + r * W, V{});
    }
    for (int64_t k = 0; k < count; ++k) {
      const int64_t J = met[k];
      const V top = load(highest + J * W), level = larger(top, splat(floor));
      V nearest = splat(none);
      for (int64_t r = 0; r < height; ++r)
        nearest = larger(top + table.shifts.template as<T>()[(i + r) * tiles + J] - load(best + r * W), nearest);
      if (!any_above(nearest, -table.skip)) continue;
      done.add({height * TILE_COLUMNS * bundle.count, (height + TILE_COLUMNS) * bundle.count});
      for (int64_t j = 0; j < TILE_COLUMNS; ++j)
        store(terms + j * W, exp2_of(load(shifted + (J * TILE_COLUMNS + j) * W) - level));
      switch (height) {
        case 1: add_tile<T, 1>(table, i, J, terms, highest, best, sums); break;
        case 2: add_tile<T, 2>(table, i, J, terms, highest, best, sums); break;
        case 4: add_tile<T, 4>(table, i, J, terms, highest, best, sums); break;
        default: add_tile<T, 8>(table, i, J, terms, highest, best, sums);
      }
    }
    const T back = T(1.0 / double(factor));
    const int64_t last = i + height < table.n ? height : table.n - i;
    for (int64_t r = 0; r < last; ++r)
      bundle.put(static_cast<T*>(axis.out), i + r, axis.inner, (log2_of<T>(load(sums + r * W)) + load(best + r * W)) * back);
  }
  return done;
}

template <class T>
INLINE Work max_bundle(const Axis& axis, const Bundle<T>& bundle, T* scores) {
  typedef typename Simd<T>::V V;
  constexpr int W = WIDTH<T>;
  const T* costs = static_cast<const T*>(axis.costs);
  for (int64_t j = 0; j < axis.m; ++j) store(scores + j * W, bundle.get(static_cast<const T*>(axis.h), j, axis.inner));
  for (int64_t i = 0; i < axis.n; ++i) {
    V even = splat(-T(INFINITY)), odd = even;
    const T* row = costs + i * axis.m;
    int64_t j = 0;
    for (; j + 1 < axis.m; j += 2) {
      even = larger(load(scores + j * W) - row[j], even);
      odd = larger(load(scores + (j + 1) * W) - row[j + 1], odd);
    }
    if (j < axis.m) even = larger(load(scores + j * W) - row[j], even);
    bundle.put(static_cast<T*>(axis.out), i, axis.inner, larger(even, odd));
  }
  return {axis.n * axis.m * bundle.count, 0};
}

// Bundles are the same whatever the number of threads, and each is reduced by one of them.
template <class T, class F>
void for_bundles(const Axis& axis, int64_t scratch, int threads, F f) {
  const int64_t bundles = (axis.outer * axis.inner + WIDTH<T> - 1) / WIDTH<T>, chunk = bundles / 64 + 1;
  struct Context {
    F* f;
    const Axis& axis;
    int64_t bundles, chunk, scratch;
  } context{&f, axis, bundles, chunk, scratch};
  parallel((bundles + chunk - 1) / chunk, threads, [](void* pointer, int64_t k) {
    const Context& c = *static_cast<Context*>(pointer);
    const FlushToZero guard;
    const Scratch memory(c.scratch * WIDTH<T> * int64_t(sizeof(T)));
    const int64_t end = (k + 1) * c.chunk < c.bundles ? (k + 1) * c.chunk : c.bundles;
    Work done;
    for (int64_t b = k * c.chunk; b < end; ++b) done.add((*c.f)(Bundle<T>(c.axis, b), memory.template as<T>()));
    count_work(done);
  }, &context);
}

// The pass along one axis: of `axis`, the potentials and lines alone.
template <class T>
void log_sum_lines(const AxisTable<T>& table, const Axis& axis, double per_cost, int threads) {
  const int64_t scratch = 2 * table.columns + TILE_COLUMNS + 3 * table.tiles() + 2 * MAX_TILE_ROWS;
  for_bundles<T>(axis, scratch, threads, [&](const Bundle<T>& bundle, T* memory) {
    return log_sum_bundle(table, axis, bundle, per_cost, memory);
  });
}

template <class T>
void axis_log_sum(const Axis& axis, double epsilon, int threads) {
  const FlushToZero guard;
  const double per_cost = double(bounded<T>(LOG2E / epsilon));
  log_sum_lines(AxisTable<T>(axis, per_cost), axis, per_cost, threads);
}

template <class T>
void axis_max(const Axis& axis, int threads) {
  for_bundles<T>(axis, axis.m, threads, [&](const Bundle<T>& bundle, T* memory) { return max_bundle(axis, bundle, memory); });
}

}  // namespace
}  // namespace ISA
}  // namespace isotherm
