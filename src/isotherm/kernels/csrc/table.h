// What the kernels are told and how they are called; shared by the bindings and every instruction set.
#pragma once

#include <cstdint>

namespace isotherm {

// cost_ij = scale * base_ij + offset, base = |x - y|^2, |x - y|, x . y or a stored matrix.
enum class Kind : int { SquaredEuclidean, Euclidean, Dot, Stored };

struct Costs {
  Kind kind;
  int64_t n, m, d;
  const void* x;  // (n, d); the matrix where it is stored
  const void* y;  // (m, d)
  int64_t row_stride, column_stride;  // of a stored matrix, in elements
  double scale, offset;
  const int64_t* row_index;  // which rows of x (or of the matrix), all in order where null
  // Which pairs count, all where null: rows r * cell .. (r + 1) * cell meet the columns of blocks[starts[r] .. starts[r + 1]),
  // each of `cell` columns, in rising order.
  const int64_t* starts;
  const int32_t* blocks;
  int64_t cell;
};

// One fused iteration; see kernels/sinkhorn_step/__init__.py for the equations.
struct Step {
  const void *q, *f, *guess, *log_a;  // (m,), (n,), (n,) or null, (n,), units of cost
  double epsilon, damping, shift, relaxation;
  void *f_raw, *f_next, *g_raw;  // (n,), (n,), (m,)
};

// What a kernel leaves for its next call, whatever its dtype and instruction set.
struct Keeper {
  void* state = nullptr;
  void (*release)(void*) = nullptr;
  Keeper() = default;
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;
  ~Keeper() { clear(); }
  void clear() {
    if (state) release(state);
    state = nullptr;
  }
};

// Relaxed sweeps of one problem; see kernels/sinkhorn_sweeps/front.py for the equations.
struct Sweeps {
  const void *a, *b, *f, *g, *before;  // weights, potentials, soft minimum of the last sweep or null
  double epsilon, rho_a, rho_b, omega, last_omega, dual, tolerance, residual;
  int64_t count;
  Keeper* keeper;
  void *next_f, *next_g, *exact_g, *softmin;  // (n,), (m,), (m,), (n,)
  double *residuals, *changes;                // (count,)
  int64_t* done;                              // sweeps that were made
  double* last_dual;
  bool* has_dropped;
};

// Sums over the plan exp((p_i + q_j - C_ij) / epsilon). What is not asked for is null.
struct Plan {
  const void *p, *q;  // (n,), (m,)
  double epsilon;
};

// Weights on the pairs of a plan, W_ij = sum_k left_ik right_jk; all one where count is 0.
struct Weights {
  const void *left, *right;  // (n, count), (m, count)
  int64_t count;
};

// A tensor h (outer, m, inner) to out (outer, n, inner), reduced over its middle; see grid.h.
struct Axis {
  const void *h, *costs, *weights;  // (outer, m, inner), (n, m), (n, m) or null for all one
  int64_t outer, n, m, inner;
  void* out;
};

// Costs between the nodes of two grids, summed over axes: the last axis runs fastest.
constexpr int MAX_AXES = 3;
struct Grid {
  int axes;
  int64_t n[MAX_AXES], m[MAX_AXES];
  const void* costs[MAX_AXES];  // (n[d], m[d])
};

template <class T>
struct Kernels {
  void (*softmin)(const Costs&, const T* h, const T* guess, double epsilon, T* out, int threads);
  void (*symmetric_softmin)(const Costs&, const T* h, const T* guess, double epsilon, T* out, int threads);
  void (*hard_min)(const Costs&, const T* h, T* out, int threads);
  void (*plan_apply)(const Costs&, const Plan&, const T* values, int64_t k, T* out, int threads);
  void (*plan_cost)(const Costs&, const Plan&, T* out, int threads);
  void (*plan_marginals)(const Costs&, const Plan&, T* rows, T* columns, int threads);
  void (*conditional_mean)(const Costs&, const T* h, const T* values, int64_t k, double epsilon, T* out, int threads);
  void (*plan_grad)(const Costs&, const Plan&, const Weights&, T* by_x, T* by_y, int threads);
  void (*product_sum)(const Costs&, const T* a, const T* b, const double* centre, double* out, int threads);
  void (*sinkhorn_step)(const Costs&, const Step&, int threads);
  void (*listed_step)(const Costs&, const Step&, const int64_t* column_starts, const int32_t* column_blocks, int threads);
  void (*axis_log_sum)(const Axis&, double epsilon, int threads);
  void (*axis_max)(const Axis&, int threads);
  void (*sinkhorn_sweeps)(const Costs&, const Sweeps&, int threads);
  void (*grid_sweeps)(const Grid&, const Sweeps&, int threads);
  double (*probe_fma)(int64_t repeats);  // see probe.h
  double (*probe_exp)(int64_t repeats);
};

struct Table {
  const char* name;
  int width;  // bytes of a vector
  Kernels<float> f32;
  Kernels<double> f64;
};

namespace avx512 { extern const Table table; }
namespace avx2 { extern const Table table; }
namespace baseline { extern const Table table; }

// Runs body(context, k) for k = 0 .. count - 1, each once, on at most `threads` threads; see threads.cpp.
void parallel(int64_t count, int threads, void (*body)(void* context, int64_t k), void* context);
const char* thread_source();

// Pairs of points (of nodes along an axis) that kernels met, and exponentials that they took for them; spare lanes of
// vectors count as pairs. Kernels count what they do as they go and add it up once for each piece of work.
struct Work {
  int64_t pairs = 0, exponentials = 0;
  void add(const Work& other) {
    pairs += other.pairs;
    exponentials += other.exponentials;
  }
};
void count_work(const Work& done);
Work work_so_far();  // of this process

// Asks the system for large pages in these bytes, so that touching them first takes one fault for 2 MB; a wish, no more.
void prefer_huge_pages(void* memory, int64_t bytes);

// Aligned to 64 bytes, zeroed unless told; throws std::bad_alloc. Freed by release().
void* acquire(int64_t bytes, bool is_zeroed = true);
void release(void* memory);

}  // namespace isotherm
