// The exponentials of a sweep, kept for the sweeps after it: tiles of ROWS rows, each a list of panels of one vector of
// columns. A tile may be cut: panels without an entry above a threshold are left out, and cost nothing from then on.
#pragma once

#include "step.h"

namespace isotherm {
namespace ISA {
namespace {

template <class T>
class Kept {
  typedef typename Simd<T>::V V;
  static constexpr int W = WIDTH<T>;
  static constexpr int64_t RUN = SUPER * BLOCK<T> / W / 2;  // panels whose sums are made in T before they are carried to double
  const int64_t rows, columns, per_strand;
  const double per_cost;
  struct Place {
    int64_t at, count;  // where the entries of a tile begin, and its panels
    int64_t small;      // panels that a cut leaves out, or would leave out
  };
  const Scratch entries;  // [strand][panel][ROWS][W], as many panels as are kept; the rest of a strand is spare
  const Scratch panels;   // first column of each panel, [tile][columns / W]
  const Scratch places;   // [tile]
  const Scratch ends;     // [strand], where its spare entries begin
  Costs costs{};

 public:
  Doubles absorbed;  // exponents of the columns that the kernel holds
  Doubles shift;     // alpha_i - m_i: what the kernel's rows lack
  Pass<T>* pass = nullptr;  // at the potentials of the columns that the kernel holds
  bool is_made = false, is_cut = false;
  double threshold = -INFINITY;  // exponent below which a cut leaves entries out
  double residual = INFINITY;    // of the last sweep
  int64_t mended = 0;            // tiles that were made anew since all were
  int64_t age = 0;               // sweeps since all were
  double margin = 10.0;          // powers of 2 by which a sum may fall before a cut is seen

  Kept(int64_t rows_, int64_t columns_, int64_t per_strand_, double per_cost_)
      : rows(rows_), columns(columns_), per_strand(per_strand_), per_cost(per_cost_),
        entries(rows * columns * int64_t(sizeof(T)), false),
        panels(tiles() * (columns / W) * int64_t(sizeof(int32_t)), false), places(tiles() * int64_t(sizeof(Place))),
        ends(rows / per_strand * int64_t(sizeof(int64_t))), absorbed(columns), shift(rows) {}
  ~Kept() { delete pass; }
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;

  bool fits(int64_t rows_, int64_t columns_, int64_t per_strand_, double per_cost_) const {
    return rows == rows_ && columns == columns_ && per_strand == per_strand_ && per_cost == per_cost_;
  }

  static void drop(void* kept) { delete static_cast<Kept*>(kept); }

  // The costs of this call: the same numbers, perhaps elsewhere in memory.
  void take(const Costs& given) { costs = given; }

  // A new pass over these costs, and no tile.
  void begin(const T* potential) {
    delete pass;
    pass = nullptr;
    pass = new Pass<T>(costs, potential, per_cost);
    for (int64_t k = 0; k < rows / per_strand; ++k) ends.template as<int64_t>()[k] = k * per_strand * columns;
    mended = age = 0;
  }

  int64_t tiles() const { return rows / ROWS; }

  // Share of the panels below the threshold when the kernel was made.
  double thinness() const {
    int64_t sum = 0;
    for (int64_t k = 0; k < tiles(); ++k) sum += place(k).small;
    return double(sum) / double(tiles() * (columns / W));
  }

  bool has_room(int64_t row) const {
    const int64_t strand = row / per_strand;
    return ends.template as<int64_t>()[strand] + ROWS * columns <= (strand + 1) * per_strand * columns;
  }

  // The tile that begins at row `begin`, 2^(t_ij - m_i), and sums over its rows; m is +inf for rows past the last.
  void make(Tile<T>& tile, int64_t begin, int64_t end, const T* m, bool cuts, double* sums) {
    Place& found = place(begin / ROWS);
    int32_t* list = panels.template as<int32_t>() + begin / ROWS * (columns / W);
    int64_t count = 0, small = 0;
    int64_t& spare = ends.template as<int64_t>()[begin / per_strand];
    T* entry = entries.template as<T>() + spare;
    const T slope = tile.pass.slope, least = T(threshold);
    V sum[ROWS] = {};
    sweep(tile, begin, end, [&](int64_t j, int64_t vectors) __attribute__((always_inline)) {
      const T* h = tile.pass.h.template as<T>() + j;
      for (int64_t v = 0; v < vectors; ++v) {
        const V column = load(h + v * W);
        V t[ROWS], top = splat(-T(INFINITY));
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; ++r) {
          t[r] = column - slope * fetch(tile.base[r] + v * W) - m[r];
          top = larger(t[r], top);
        }
        if (!any_above(top, least)) {
          ++small;
          if (cuts) continue;
        }
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; ++r) {
          const V e = exp2_of(t[r]);
          store(entry + r * W, e);
          sum[r] += e;
        }
        list[count++] = int32_t(j + v * W);
        entry += ROWS * W;
      }
    }, [&]() __attribute__((always_inline)) {
      for (int r = 0; r < ROWS; ++r) {
        sums[r] += total(sum[r]);
        sum[r] = V{};
      }
    });
    tile.done.exponentials += (end - begin) * count * W;
    found = {spare, count, small};
    spare += count * ROWS * W;
  }

  // The greatest exponents of the rows of a tile.
  void top(Tile<T>& tile, int64_t begin, int64_t end, T* m) const {
    const T slope = tile.pass.slope;
    V greatest_of[ROWS];
    for (V& one : greatest_of) one = splat(-Simd<T>::HUGE_SCORE);
    sweep(tile, begin, end, [&](int64_t j, int64_t vectors) __attribute__((always_inline)) {
      const T* h = tile.pass.h.template as<T>() + j;
      for (int64_t v = 0; v < vectors; ++v) {
        const V column = load(h + v * W);
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; ++r)
          greatest_of[r] = larger(column - slope * fetch(tile.base[r] + v * W), greatest_of[r]);
      }
    }, [] {});
    for (int r = 0; r < end - begin; ++r) m[r] = greatest(greatest_of[r]);
  }

  // Columns whose entries are kept for the tile that begins at a row.
  int64_t width(int64_t begin) const { return place(begin / ROWS).count * W; }

  // Gives back the entries of the tile that was made last in its strand.
  void unmake(int64_t begin) { ends.template as<int64_t>()[begin / per_strand] = place(begin / ROWS).at; }

  // sums_r = sum_j K_(begin + r) j v_j; returns the sum of v over the panels that are kept.
  double dot(int64_t begin, const T* v, double* sums) const {
    const int64_t count = place(begin / ROWS).count;
    const int32_t* list = panels.template as<int32_t>() + begin / ROWS * (columns / W);
    const T* entry = entries.template as<T>() + place(begin / ROWS).at;
    double factors = 0.0;
    for (int r = 0; r < ROWS; ++r) sums[r] = 0.0;
    for (int64_t p = 0; p < count;) {
      const int64_t stop = p + RUN < count ? p + RUN : count;
      V sum[ROWS] = {}, met = {};
      for (; p < stop; ++p, entry += ROWS * W) {
        const V factor = load(v + list[p]);
        met += factor;
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; ++r) sum[r] = load(entry + r * W) * factor + sum[r];
      }
#pragma GCC unroll 8  // an index that is not known when this is compiled would keep all sums in memory
      for (int r = 0; r < ROWS; ++r) sums[r] += total(sum[r]);
      factors += total(met);
    }
    return factors;
  }

  // sums_j += sum_r factor_r K_(begin + r) j.
  void add(int64_t begin, const T* factor, T* sums) const {
    const int64_t count = place(begin / ROWS).count;
    const int32_t* list = panels.template as<int32_t>() + begin / ROWS * (columns / W);
    const T* entry = entries.template as<T>() + place(begin / ROWS).at;
    for (int64_t p = 0; p < count; ++p, entry += ROWS * W) {
      V a = load(sums + list[p]), b = a - a;
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; r += 2) {
        a = factor[r] * load(entry + r * W) + a;
        b = factor[r + 1] * load(entry + (r + 1) * W) + b;
      }
      store(sums + list[p], a + b);
    }
  }

 private:
  Place& place(int64_t tile) const { return places.template as<Place>()[tile]; }
};

}  // namespace
}  // namespace ISA
}  // namespace isotherm
