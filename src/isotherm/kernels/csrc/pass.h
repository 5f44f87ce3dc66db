// One pass over all pairs: a tile of rows at a time, its base costs a block of columns at a time, in first-level cache.
//
// Base costs (|x - y|^2, |x - y|, x . y, or a stored entry) are written to a small buffer; each reduction then reads
// them from there. Stores and loads run beside the arithmetic, and costs and reductions stay separate pieces of code.
#pragma once

#include <math.h>

#include "simd.h"
#include "table.h"

namespace isotherm {
namespace ISA {
namespace {

template <class T>
constexpr int64_t BLOCK = 2048 / int64_t(sizeof(T));  // columns of a block: 16 KB for a tile of 8 rows
constexpr int64_t SUPER = 8;            // blocks whose packed points are used by all tiles of a chunk in turn, at most
constexpr int64_t SUPER_BYTES = 1 << 19;  // and their points' bytes: they stay in second-level cache
constexpr int64_t MAX_CHUNK = 256;      // rows that a thread takes at a time, at most
constexpr int64_t STRIP = 64;           // rows of a stored matrix that are read together where its columns are contiguous
constexpr int MAX_DIFFERENCES = 8;      // dimensions up to which squared distances come from differences
constexpr double LOG2E = 1.4426950408889634074;

// What columns carry is packed [vector][stride][WIDTH]. The stride is odd where it is long: at a power of two the same
// coordinate of all columns would share a few lines of the first-level cache.
inline int64_t stride_of(int64_t terms) { return terms > MAX_DIFFERENCES ? terms | 1 : terms; }

struct Scratch {
  void* memory;
  explicit Scratch(int64_t bytes, bool is_zeroed = true) : memory(acquire(bytes, is_zeroed)) {}
  ~Scratch() { release(memory); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  template <class T>
  T* as() const { return static_cast<T*>(memory); }
};

// Doubles, zeros at first.
struct Doubles {
  Scratch memory;
  double* at;
  explicit Doubles(int64_t count) : memory(count * int64_t(sizeof(double))), at(memory.as<double>()) {}
};

INLINE void exchange(Doubles& a, Doubles& b) {
  double* const kept = a.at;
  a.at = b.at;
  b.at = kept;
}

// A vector of base costs. Stored costs come from memory, so the same row's next block is asked for meanwhile: hardware
// stops looking ahead where a block ends.
template <class T>
INLINE typename Simd<T>::V fetch(const T* base) {
  __builtin_prefetch(base + BLOCK<T>);
  return load(base);
}

template <class T>
using Form = void (*)(const T* x, const T* y, int64_t d, int64_t vectors, T* out);

// Tile of rows x, packed [d][ROWS], against packed columns y; writes out[row][BLOCK].
template <class T, int D, bool IsRoot>
void difference_block(const T* x, const T* y, int64_t, int64_t vectors, T* out) {
  typedef typename Simd<T>::V V;
  constexpr int W = WIDTH<T>;
  for (int64_t v = 0; v < vectors; v += 2, y += 2 * D * W, out += 2 * W) {
    V left[D], right[D];
    for (int d = 0; d < D; ++d) {
      left[d] = load(y + d * W);
      right[d] = load(y + (D + d) * W);
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      V a = left[0] - x[r], b = right[0] - x[r];
      V sum_a = a * a, sum_b = b * b;
#pragma GCC unroll 8
      for (int d = 1; d < D; ++d) {
        a = left[d] - x[d * ROWS + r];
        b = right[d] - x[d * ROWS + r];
        sum_a = a * a + sum_a;
        sum_b = b * b + sum_b;
      }
      store(out + r * BLOCK<T>, IsRoot ? root(sum_a) : sum_a);
      store(out + r * BLOCK<T> + W, IsRoot ? root(sum_b) : sum_b);
    }
  }
}

// Any dimension: a register tile of ROWS x 2 vectors, updated by one coordinate after the other.
template <class T, bool IsDot>
void long_block(const T* x, const T* y, int64_t d, int64_t vectors, T* out) {
  typedef typename Simd<T>::V V;
  constexpr int W = WIDTH<T>;
  const int64_t stride = stride_of(d) * W;
  for (int64_t v = 0; v < vectors; v += 2, y += 2 * stride, out += 2 * W) {
    V sum[ROWS][2] = {};
    const T* left = y;
    const T* right = y + stride;
    for (int64_t k = 0; k < d; ++k, left += W, right += W) {
      const V l = load(left), r2 = load(right);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; ++r) {
        const T xr = x[k * ROWS + r];
        if (IsDot) {
          sum[r][0] = l * xr + sum[r][0];
          sum[r][1] = r2 * xr + sum[r][1];
        } else {
          const V a = l - xr, b = r2 - xr;
          sum[r][0] = a * a + sum[r][0];
          sum[r][1] = b * b + sum[r][1];
        }
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      store(out + r * BLOCK<T>, IsDot ? sum[r][0] : root(sum[r][0]));
      store(out + r * BLOCK<T> + W, IsDot ? sum[r][1] : root(sum[r][1]));
    }
  }
}

template <class T, bool IsRoot>
Form<T> difference_form(int64_t d) {
  switch (d) {
    case 1: return difference_block<T, 1, IsRoot>;
    case 2: return difference_block<T, 2, IsRoot>;
    case 3: return difference_block<T, 3, IsRoot>;
    case 4: return difference_block<T, 4, IsRoot>;
    case 5: return difference_block<T, 5, IsRoot>;
    case 6: return difference_block<T, 6, IsRoot>;
    case 7: return difference_block<T, 7, IsRoot>;
    default: return difference_block<T, 8, IsRoot>;
  }
}

// Columns and constants of a pass. Exponents are in base 2: t_ij = h_j - slope * base_ij, and
// cost_ij = alpha_i + beta_j + gamma * base_ij, where |x - y|^2 in inner-product form puts the norms in alpha and beta.
template <class T>
struct Pass {
  const Costs& costs;
  const double per_cost;  // exponent per unit of cost, log2(e) / epsilon
  const bool has_norms;
  const int64_t columns;  // m, rounded up to whole pairs of vectors
  const int64_t super;    // columns whose packed points are used by all tiles of a chunk in turn
  const double gamma;
  T slope;
  Form<T> form = nullptr;
  Scratch y, h, beta;              // packed points, exponents and beta of the columns
  Scratch row_norms, column_norms;  // scale |x_i|^2 and scale |y_j|^2 in double

  Pass(const Costs& given, const T* potential, double per_cost_)
      : costs(given),
        per_cost(per_cost_),
        has_norms(given.kind == Kind::SquaredEuclidean && given.d > MAX_DIFFERENCES),
        columns((given.m + 2 * WIDTH<T> - 1) / (2 * WIDTH<T>) * 2 * WIDTH<T>),
        super(super_columns(given.d)),
        gamma(has_norms ? -2.0 * given.scale : given.scale),
        y(given.kind == Kind::Stored ? 0 : columns * stride_of(given.d) * int64_t(sizeof(T))),
        h(columns * int64_t(sizeof(T))),
        beta(has_norms ? columns * int64_t(sizeof(T)) : 0),
        row_norms(has_norms ? given.n * int64_t(sizeof(double)) : 0),
        column_norms(has_norms ? given.m * int64_t(sizeof(double)) : 0) {
    slope = clamp(gamma * per_cost);
    if (has_norms) {
      for (int64_t i = 0; i < costs.n; ++i) row_norms.as<double>()[i] = norm(costs.x, row(i));
      for (int64_t j = 0; j < costs.m; ++j) column_norms.as<double>()[j] = norm(costs.y, j);
    }
    pack_columns();
    for (int64_t j = 0; j < columns; ++j) {
      const bool has_mass = j < costs.m && (!potential || potential[j] != -T(INFINITY));
      const double shifted = has_mass ? (potential ? double(potential[j]) : 0.0) - beta_of(j) : 0.0;
      h.template as<T>()[j] = has_mass ? clamp(shifted * per_cost) : -T(INFINITY);
    }
  }

  // Keeps sums of two such numbers finite, so that no infinity meets another.
  static T clamp(double value) {
    const double limit = Simd<T>::HUGE_SCORE;
    return T(value > limit ? limit : value < -limit ? -limit : value);
  }

  int64_t row(int64_t i) const { return costs.row_index ? costs.row_index[i] : i; }
  double alpha(int64_t i) const { return costs.offset + (has_norms ? row_norms.as<double>()[i] : 0.0); }
  double beta_of(int64_t j) const { return has_norms ? column_norms.as<double>()[j] : 0.0; }

  double norm(const void* points, int64_t i) const {
    const T* point = static_cast<const T*>(points) + i * costs.d;
    double sum = 0.0;
    for (int64_t d = 0; d < costs.d; ++d) sum += double(point[d]) * double(point[d]);
    return costs.scale * sum;
  }

  void pack_columns() {
    if (costs.kind == Kind::Stored) return;
    constexpr int W = WIDTH<T>;
    const T* source = static_cast<const T*>(costs.y);
    T* packed = y.template as<T>();
    for (int64_t j = 0; j < costs.m; ++j)
      for (int64_t d = 0; d < costs.d; ++d) packed[(j / W * stride_of(costs.d) + d) * W + j % W] = source[j * costs.d + d];
    if (has_norms)
      for (int64_t j = 0; j < costs.m; ++j) beta.template as<T>()[j] = T(beta_of(j));
    if (costs.kind == Kind::Dot || has_norms)
      form = long_block<T, true>;
    else if (costs.kind == Kind::SquaredEuclidean)
      form = difference_form<T, false>(costs.d);
    else
      form = costs.d <= MAX_DIFFERENCES ? difference_form<T, true>(costs.d) : long_block<T, false>;
  }

  static int64_t super_columns(int64_t d) {
    const int64_t blocks = SUPER_BYTES / (BLOCK<T> * int64_t(sizeof(T)) * (d ? d : 1));
    return BLOCK<T> * (blocks > SUPER ? SUPER : blocks ? blocks : 1);
  }
};

// Whether a stored matrix has its columns, and not its rows, next to each other in memory.
inline bool is_by_columns(const Costs& costs) {
  return costs.kind == Kind::Stored && costs.row_stride == 1 && costs.column_stride > 1 && !costs.row_index;
}

// The rows of one tile, and base costs of a block of columns for each of them.
template <class T>
struct Tile {
  // Rows of a strip begin in different sets of the first-level cache.
  static constexpr int64_t STRIP_STRIDE = BLOCK<T> + 64 / int64_t(sizeof(T));
  const Pass<T>& pass;
  const Work each;  // what a pair of a block counts for
  Work done;
  Scratch x, buffer, strip;
  int64_t first = 0, last = 0;  // the tile's first row, and where the rows that come after it end
  int64_t strip_first = 0, strip_end = 0, strip_column = -1;  // what the strip holds
  int count = 0;
  const T* base[ROWS];  // ROWS pointers to `vectors` vectors; rows past the last repeat it

  explicit Tile(const Pass<T>& pass_, const Work& each_ = {1, 1})
      : pass(pass_), each(each_), x(ROWS * pass_.costs.d * int64_t(sizeof(T)), false), buffer(ROWS * BLOCK<T> * int64_t(sizeof(T)), false),
        strip(is_by_columns(pass_.costs) ? STRIP * STRIP_STRIDE * int64_t(sizeof(T)) : 0, false) {}
  ~Tile() { count_work(done); }
  Tile(const Tile&) = delete;
  Tile& operator=(const Tile&) = delete;

  void begin(int64_t i, int64_t end) {
    first = i;
    last = end;
    count = int(end - i < ROWS ? end - i : ROWS);
    if (pass.costs.kind == Kind::Stored) return;
    const int64_t D = pass.costs.d;
    for (int r = 0; r < ROWS; ++r) {
      const T* point = static_cast<const T*>(pass.costs.x) + source(r) * D;
      for (int64_t d = 0; d < D; ++d) x.template as<T>()[d * ROWS + r] = point[d];
    }
  }

  int64_t source(int r) const { return pass.row(first + (r < count ? r : count - 1)); }

  void block(int64_t j, int64_t vectors) {
    T* out = buffer.template as<T>();
    done.pairs += each.pairs * count * vectors * WIDTH<T>;
    done.exponentials += each.exponentials * count * vectors * WIDTH<T>;
    if (pass.costs.kind != Kind::Stored) {
      pass.form(x.template as<T>(), pass.y.template as<T>() + j * stride_of(pass.costs.d), pass.costs.d, vectors, out);
      for (int r = 0; r < ROWS; ++r) base[r] = out + r * BLOCK<T>;
      return;
    }
    const T* matrix = static_cast<const T*>(pass.costs.x);
    const int64_t width = vectors * WIDTH<T>, step = pass.costs.column_stride;
    if (step == 1 && j + width <= pass.costs.m) {
      for (int r = 0; r < ROWS; ++r) base[r] = matrix + source(r) * pass.costs.row_stride + j;
      return;
    }
    const int64_t left = pass.costs.m - j < width ? pass.costs.m - j : width;
    if (is_by_columns(pass.costs)) return strip_block(j, width, left);
    const T* rows[ROWS];
    for (int r = 0; r < ROWS; ++r) {
      rows[r] = matrix + source(r) * pass.costs.row_stride + j * step;
      base[r] = out + r * BLOCK<T>;
    }
    for (int64_t k = 0; k < width; ++k)
      for (int r = 0; r < ROWS; ++r) out[r * BLOCK<T> + k] = k < left ? rows[r][k * step] : T(0);
  }

  // The same from a strip of rows that this tile and the ones after it share: columns are read in runs of STRIP numbers.
  void strip_block(int64_t j, int64_t width, int64_t left) {
    T* out = strip.template as<T>();
    if (strip_column != j || first < strip_first || first + count > strip_end) {
      strip_first = first;
      strip_end = last - first < STRIP ? last : first + STRIP;
      strip_column = j;
      constexpr int64_t S = SQUARE<T>;
      const int64_t step = pass.costs.column_stride, rows = strip_end - strip_first;
      const T* source = static_cast<const T*>(pass.costs.x) + strip_first + j * step;
      for (int64_t k = 0; k < width; k += S) {
        int64_t r = 0;
        for (; k + S <= left && r + S <= rows; r += S) transpose(source + k * step + r, step, out + r * STRIP_STRIDE + k, STRIP_STRIDE);
        for (; r < rows; ++r)
          for (int64_t c = k; c < k + S; ++c) out[r * STRIP_STRIDE + c] = c < left ? source[c * step + r] : T(0);
      }
    }
    for (int r = 0; r < ROWS; ++r) base[r] = out + (first - strip_first + (r < count ? r : count - 1)) * STRIP_STRIDE;
  }
};

// Rows that meet the same columns, and those columns as entries: blocks of all of them, or of a list.
template <class T>
struct Share {
  const Pass<T>& pass;
  int64_t end;          // of the rows
  int64_t first, last;  // entries
  int64_t group;        // entries whose packed points are used by all tiles of the share in turn

  Share(const Pass<T>& pass_, int64_t begin, int64_t end_) : pass(pass_), end(end_) {
    const Costs& c = pass.costs;
    if (!c.starts) {
      first = 0;
      last = (pass.columns + BLOCK<T> - 1) / BLOCK<T>;
      group = is_by_columns(c) ? 1 : pass.super / BLOCK<T>;
      return;
    }
    const int64_t r = begin / c.cell;
    if ((r + 1) * c.cell < end) end = (r + 1) * c.cell;
    first = c.starts[r];
    last = c.starts[r + 1];
    group = pass.super / c.cell;
  }

  // Columns j .. j + width of entry k and of those after it that go on where it ends; returns the next entry.
  __attribute__((always_inline)) int64_t run(int64_t k, int64_t stop, int64_t* j, int64_t* width) const {
    const Costs& c = pass.costs;
    int64_t next = k + 1, wanted = BLOCK<T>;
    *j = k * BLOCK<T>;
    if (c.starts) {
      *j = c.blocks[k] * c.cell;
      for (wanted = c.cell; next < stop && wanted + c.cell <= BLOCK<T> && c.blocks[next] * c.cell == *j + wanted; ++next)
        wanted += c.cell;
    }
    *width = pass.columns - *j < wanted ? pass.columns - *j : wanted;
    return next;
  }
};

// Rows begin .. end against their columns: calls visit(j, vectors) for each block and done() once a tile has seen a
// group of them, so that sums can be carried from vectors to double.
template <class T, class Visit, class Done>
INLINE void sweep(Tile<T>& tile, int64_t begin, int64_t end, Visit visit, Done done) {
  const Pass<T>& pass = tile.pass;
  for (int64_t from = begin; from < end;) {
    const Share<T> share(pass, from, end);
    for (int64_t entry = share.first; entry < share.last; entry += share.group) {
      const int64_t stop = entry + share.group < share.last ? entry + share.group : share.last;
      for (int64_t i = from; i < share.end; i += ROWS) {
        tile.begin(i, share.end);
        for (int64_t k = entry, j, width; k < stop;) {
          k = share.run(k, stop, &j, &width);
          tile.block(j, width / WIDTH<T>);
          visit(j, width / WIDTH<T>);
        }
        done();
      }
    }
    from = share.end;
  }
}

// Rows that a thread takes at a time where it carries something from one to the next.
inline int64_t shared_rows(const Costs& costs) {
  const int64_t chunk = (costs.n / 64 + ROWS) / ROWS * ROWS;
  return chunk < MAX_CHUNK ? chunk : MAX_CHUNK;
}

// Rows that a thread takes at a time. Those of a stored matrix are read from end to end; points are used again.
inline int64_t chunk_rows(const Costs& costs) {
  if (is_by_columns(costs)) return STRIP;
  return costs.kind == Kind::Stored ? ROWS : shared_rows(costs);
}

// Calls f(begin, end) for all ranges of `chunk` of the numbers up to n, each on one thread.
template <class F>
void for_ranges(int64_t n, int64_t chunk, int threads, F f) {
  struct Context {
    F* f;
    int64_t n, chunk;
  } context{&f, n, chunk};
  parallel((n + chunk - 1) / chunk, threads, [](void* pointer, int64_t k) {
    const Context& c = *static_cast<Context*>(pointer);
    const FlushToZero guard;
    const int64_t begin = k * c.chunk;
    (*c.f)(begin, begin + c.chunk < c.n ? begin + c.chunk : c.n);
  }, &context);
}

// Rows are cut the same way whatever the number of threads, and each is reduced by one of them.
template <class F>
void for_chunks(const Costs& costs, int threads, F f) {
  for_ranges(costs.n, chunk_rows(costs), threads, f);
}

}  // namespace
}  // namespace ISA
}  // namespace isotherm
