// Many relaxed sweeps between the nodes of two grids in one call, axis by axis, with tables that are kept between them.
//
// A pass is that of grid.h for any potentials; what it knows of the costs, one AxisTable for each axis and side, is
// made once for a temperature.
#pragma once

#include "grid.h"
#include "iterates.h"

namespace isotherm {
namespace ISA {
namespace {

constexpr int64_t CHUNK = 2048;             // nodes whose updates are one piece of work
constexpr int64_t PARALLEL_PAIRS = 1 << 19;  // pairs of nodes on a line, over all lines, that are worth a second thread

// What a grid's passes share at one temperature; both directions.
template <class T>
class GridTables {
  const Grid grid;
  const double per_cost;
  const AxisTable<T>* tables[2][MAX_AXES] = {};  // of the rows and of the columns; axes with the same costs share one
  const AxisTable<T>* made[2 * MAX_AXES] = {};

 public:
  GridTables(const Grid& grid_, double per_cost_) : grid(grid_), per_cost(per_cost_) {
    int64_t numbers = 0;
    for (int d = 0; d < grid.axes; ++d) numbers += grid.n[d] * grid.m[d];
    const Scratch swapped(numbers * int64_t(sizeof(T)), false);
    T* turned = swapped.as<T>();
    AxisCosts seen[2 * MAX_AXES];
    for (int d = 0; d < grid.axes; ++d) {
      const int64_t n = grid.n[d], m = grid.m[d];
      const T* costs = static_cast<const T*>(grid.costs[d]);
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < m; ++j) turned[j * n + i] = costs[i * m + j];
      tables[0][d] = table_of({costs, n, m}, seen);
      tables[1][d] = table_of({turned, m, n}, seen);
      turned += n * m;
    }
  }
  ~GridTables() {
    for (const AxisTable<T>* one : made) delete one;
  }
  GridTables(const GridTables&) = delete;
  GridTables& operator=(const GridTables&) = delete;

  bool fits(const Grid& other, double per_cost_) const {
    bool same = grid.axes == other.axes && per_cost == per_cost_;
    for (int d = 0; same && d < grid.axes; ++d) same = grid.n[d] == other.n[d] && grid.m[d] == other.m[d];
    return same;
  }

  static void drop(void* tables) { delete static_cast<GridTables*>(tables); }

  // log2 sum_j 2^(t_j - c_ij), all in exponents. `t` is overwritten, and so is `spare`; returns which of them holds the sums.
  T* log_sum(bool is_transposed, T* t, T* spare, int threads) const {
    int64_t outer = 1, inner = 1;
    for (int d = 0; d < grid.axes; ++d) inner *= from(d, is_transposed);
    for (int d = 0; d < grid.axes; ++d) {
      const AxisTable<T>& table = *tables[is_transposed][d];
      inner /= table.m;
      const Axis axis{t, nullptr, nullptr, outer, table.n, table.m, inner, spare};
      log_sum_lines(table, axis, 1.0, outer * inner * table.n * table.m < PARALLEL_PAIRS ? 1 : threads);
      outer *= table.n;
      T* const filled = spare;
      spare = t;
      t = filled;
    }
    return t;
  }

 private:
  struct AxisCosts {
    const T* costs;
    int64_t n, m;
    bool equals(const AxisCosts& other) const {
      return n == other.n && m == other.m && !memcmp(costs, other.costs, size_t(n * m) * sizeof(T));
    }
  };

  // The table of some costs, made unless there is one.
  const AxisTable<T>* table_of(const AxisCosts& wanted, AxisCosts* seen) {
    int k = 0;
    while (made[k] && !seen[k].equals(wanted)) ++k;
    if (!made[k]) made[k] = new AxisTable<T>(Axis{nullptr, wanted.costs, nullptr, 1, wanted.n, wanted.m, 1, nullptr}, per_cost);
    seen[k] = wanted;
    return made[k];
  }

  int64_t from(int d, bool is_transposed) const { return is_transposed ? grid.n[d] : grid.m[d]; }
};

template <class T>
class GridSweeper : Iterates<T> {
  using Iterates<T>::s;
  using Iterates<T>::per_cost;
  using Iterates<T>::rows;
  using Iterates<T>::cols;
  using Iterates<T>::softmin_columns;
  const int threads;
  const GridTables<T>& tables;
  const Scratch scores, spare;
  const Scratch sums;  // RowSums of each chunk

 public:
  GridSweeper(const Grid& grid, const Sweeps& s_, int threads_)
      : Iterates<T>(s_, nodes(grid.axes, grid.n), nodes(grid.axes, grid.m), whole(nodes(grid.axes, grid.n), WD),
                    whole(nodes(grid.axes, grid.m), WD)),
        threads(threads_), tables(tables_of(grid, *s.keeper)), scores(room(grid) * int64_t(sizeof(T))),
        spare(room(grid) * int64_t(sizeof(T))), sums(chunks(rows.padded) * int64_t(sizeof(RowSums))) {}

  void run() {
    for (int64_t k = 0; k < s.count; ++k) {
      this->find_constant();
      if (this->end_sweep(k, sweep())) break;
    }
    this->hand_over();
  }

 private:
  static int64_t nodes(int axes, const int64_t* sizes) {
    int64_t product = 1;
    for (int d = 0; d < axes; ++d) product *= sizes[d];
    return product;
  }

  // The most numbers between the axes of a pass, in whole vectors.
  static int64_t room(const Grid& grid) {
    int64_t most = 0;
    for (int done = 0; done <= grid.axes; ++done) {  // axes that have been reduced, from the first
      const int64_t rows = nodes(done, grid.n) * nodes(grid.axes - done, grid.m + done);
      const int64_t columns = nodes(done, grid.m) * nodes(grid.axes - done, grid.n + done);
      most = rows > most ? rows : most;
      most = columns > most ? columns : most;
    }
    return whole(most, 2 * WIDTH<T>);
  }

  static int64_t chunks(int64_t padded) { return (padded + CHUNK - 1) / CHUNK; }

  // The tables of an earlier block, or new ones.
  const GridTables<T>& tables_of(const Grid& grid, Keeper& keeper) const {
    const bool is_ours = keeper.state && keeper.release == &GridTables<T>::drop;
    if (!is_ours || !static_cast<GridTables<T>*>(keeper.state)->fits(grid, per_cost)) {
      keeper.clear();
      keeper.state = new GridTables<T>(grid, per_cost);
      keeper.release = &GridTables<T>::drop;
    }
    return *static_cast<GridTables<T>*>(keeper.state);
  }

  RowSums sweep() {
    const T* found = pass(false, cols, cols.potential);
    for_chunks(rows.padded, [&](int64_t chunk, int64_t begin, int64_t end) {
      RowSums sum;
      for (int64_t i = begin; i < end; i += WD) this->update_rows(i, minus(found + i), sum);
      sums.as<RowSums>()[chunk] = sum;
    });
    RowSums total;
    for (int64_t chunk = 0; chunk < chunks(rows.padded); ++chunk) total.add(sums.as<RowSums>()[chunk]);
    found = pass(true, rows, rows.next);
    for_chunks(cols.padded, [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; j += WD) {
        store(softmin_columns.at + j, minus(found + j));
        this->update_columns(j);
      }
    });
    return total;
  }

  // log2 sum of one side at a potential, over the other.
  const T* pass(bool is_transposed, const Side<T>& side, const Doubles& potential) {
    T* to = scores.as<T>();
    for_chunks(side.padded, [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = T(potential.at[i] + side.log_mass.at[i]);
    });
    return tables.log_sum(is_transposed, to, spare.as<T>(), threads);
  }

  static VD minus(const double* from) { return -load(from); }
  static VD minus(const float* from) {
    typedef float Half __attribute__((vector_size(BYTES / 2)));
    Half v;
    memcpy(&v, from, sizeof(v));
    return -__builtin_convertvector(v, VD);
  }

  template <class F>
  void for_chunks(int64_t padded, F f) const {
    struct Context {
      F& f;
      int64_t padded;
    } context{f, padded};
    parallel(chunks(padded), padded < 16 * CHUNK ? 1 : threads, [](void* pointer, int64_t k) {
      const Context& c = *static_cast<Context*>(pointer);
      const FlushToZero guard;
      const int64_t end = (k + 1) * CHUNK;
      c.f(k, k * CHUNK, end < c.padded ? end : c.padded);
    }, &context);
  }
};

template <class T>
void grid_sweeps(const Grid& grid, const Sweeps& sweeps, int threads) {
  const FlushToZero guard;
  GridSweeper<T>(grid, sweeps, threads).run();
}

}  // namespace
}  // namespace ISA
}  // namespace isotherm
