// Python bindings: checks what arrives, lets go of the interpreter lock, calls the chosen instruction set.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cells.h"
#include "table.h"

namespace nb = nanobind;
using namespace isotherm;

namespace {

typedef nb::ndarray<nb::ro> Input;
typedef nb::ndarray<> Output;

// ------------------------------------------------------------------------------------- instruction sets

std::vector<const Table*> supported() {
  std::vector<const Table*> found;
#if defined(__x86_64__)
  __builtin_cpu_init();
#if defined(ISOTHERM_HAS_X86_SETS)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512bw"))
    found.push_back(&avx512::table);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found.push_back(&avx2::table);
#endif
#endif
  found.push_back(&baseline::table);
  return found;
}

std::atomic<const Table*> active{nullptr};

const Table& table() { return *active.load(std::memory_order_relaxed); }

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const Table* t : supported()) names.emplace_back(t->name);
  return names;
}

void choose(const std::string& name) {
  std::string known;
  for (const Table* t : supported()) {
    if (name == t->name) {
      active = t;
      return;
    }
    known += (known.empty() ? "" : ", ") + std::string(t->name);
  }
  throw nb::value_error(("The instruction set must be one this processor has (" + known + "): got '" + name +
                         "'. Leave it out to get the fastest.").c_str());
}

// ---------------------------------------------------------------------------------------------- checks

[[noreturn]] void reject_value(const std::string& message) { throw nb::value_error(message.c_str()); }
[[noreturn]] void reject_type(const std::string& message) { throw nb::type_error(message.c_str()); }

template <class Array>
std::string shape_of(const Array& array) {
  std::string text = "(";
  for (size_t k = 0; k < array.ndim(); ++k) text += (k ? ", " : "") + std::to_string(array.shape(k));
  return text + (array.ndim() == 1 ? ",)" : ")");
}

template <class Array>
bool is_double(const Array& array, const char* name) {
  if (array.device_type() != nb::device::cpu::value)
    reject_value(std::string("`") + name + "` must be in the CPU's memory: got device type " +
                 std::to_string(array.device_type()) + ". Move it with .cpu().");
  if (array.dtype() == nb::dtype<float>()) return false;
  if (array.dtype() == nb::dtype<double>()) return true;
  reject_type(std::string("`") + name + "` must be float32 or float64: got DLPack type code " +
              std::to_string(array.dtype().code) + " with " + std::to_string(array.dtype().bits) +
              " bits. Convert it with .float() or .double().");
}

// Shape, dtype and layout in one; -1 in `shape` leaves a length open.
template <class Array>
void check(const Array& array, const char* name, bool wants_double, std::vector<int64_t> shape) {
  if (is_double(array, name) != wants_double)
    reject_type(std::string("`") + name + "` must have the dtype of the costs, " +
                (wants_double ? "float64" : "float32") + ": got the other one. Convert it.");
  bool fits = array.ndim() == shape.size();
  std::string wanted = "(";
  for (size_t k = 0; k < shape.size(); ++k) {
    fits = fits && (shape[k] < 0 || int64_t(array.shape(k)) == shape[k]);
    wanted += (k ? ", " : "") + (shape[k] < 0 ? std::string("any") : std::to_string(shape[k]));
  }
  if (!fits)
    reject_value(std::string("`") + name + "` must have shape " + wanted + (shape.size() == 1 ? ",)" : ")") + ": got " +
                 shape_of(array) + ". Check the order of sources and targets.");
  int64_t step = 1;
  for (size_t k = array.ndim(); k-- > 0; step *= int64_t(array.shape(k)))
    if (array.shape(k) > 1 && array.stride(k) != step && array.size() > 0)
      reject_value(std::string("`") + name + "` must be contiguous: got other strides. Call .contiguous().");
}

void check_integers(const Input& array, const char* name, int bits, int64_t size) {
  const bool fits = array.device_type() == nb::device::cpu::value && array.ndim() == 1 &&
                    array.dtype() == (bits == 64 ? nb::dtype<int64_t>() : nb::dtype<int32_t>()) &&
                    (size < 0 || int64_t(array.shape(0)) == size) && (array.shape(0) < 2 || array.stride(0) == 1);
  if (!fits)
    reject_value(std::string("`") + name + "` must be a contiguous vector of int" + std::to_string(bits) +
                 (size < 0 ? "" : " of length " + std::to_string(size)) + ": got shape " + shape_of(array) + ".");
}

void check_list(const int64_t* starts, const int32_t* blocks, int64_t rows, int64_t columns, int64_t size) {
  bool fits = starts[0] == 0 && starts[rows] == size;
  for (int64_t r = 0; fits && r < rows; ++r) {
    fits = starts[r] <= starts[r + 1] && starts[r + 1] <= size;
    for (int64_t k = starts[r], last = -1; fits && k < starts[r + 1]; last = blocks[k++])
      fits = last < blocks[k] && blocks[k] < columns;
  }
  if (!fits) reject_value("`starts` must rise from 0 to the length of `blocks`, and each of its parts hold rising "
                          "numbers of cells of columns: got others.");
}

void check_temperature(double epsilon) {
  if (!(epsilon > 0.0) || std::isinf(epsilon))
    reject_value("`epsilon` must be positive and finite: got " + std::to_string(epsilon) + ".");
}

// Costs as the kernels see them, keeping the arrays alive.
struct BoundCosts {
  Costs costs{};
  bool is_double_;
  Input x;
  std::optional<Input> y, starts, blocks;

  BoundCosts(const std::string& kind, Input x_, std::optional<Input> y_, double scale, double offset,
             std::optional<Input> starts_, std::optional<Input> blocks_, int64_t cell)
      : is_double_(is_double(x_, "x")), x(x_), y(y_), starts(starts_), blocks(blocks_) {
    if (kind == "sqeuclidean") costs.kind = Kind::SquaredEuclidean;
    else if (kind == "euclidean") costs.kind = Kind::Euclidean;
    else if (kind == "dot") costs.kind = Kind::Dot;
    else if (kind == "stored") costs.kind = Kind::Stored;
    else reject_value("`kind` must be sqeuclidean, euclidean, dot or stored: got '" + kind + "'.");
    if (!std::isfinite(scale) || !std::isfinite(offset)) reject_value("`scale` and `offset` must be finite.");
    if (x.ndim() != 2) reject_value("`x` must have two dimensions: got shape " + shape_of(x) + ".");
    costs.x = x.data();
    costs.n = int64_t(x.shape(0));
    costs.scale = scale;
    costs.offset = offset;
    if (costs.kind == Kind::Stored) {
      if (y) reject_value("A stored matrix stands alone: got `y` as well.");
      costs.m = int64_t(x.shape(1));
      costs.row_stride = x.stride(0);
      costs.column_stride = x.stride(1);
      return;
    }
    if (!y) reject_value("`y` is missing: points need points to be compared with.");
    costs.d = int64_t(x.shape(1));
    check(x, "x", is_double_, {-1, -1});
    check(*y, "y", is_double_, {-1, costs.d});
    if (costs.d < 1) reject_value("Points must have at least one coordinate: got shape " + shape_of(x) + ".");
    costs.m = int64_t(y->shape(0));
    costs.y = y->data();
    if (starts || blocks) bind_list(cell);
  }

  // The list of pairs of cells; what it says is checked, since the kernels read where it points to.
  void bind_list(int64_t cell) {
    if (!starts || !blocks) reject_value("`starts` and `blocks` must be given together: got one of them.");
    if (cell < 32 || cell % 32) reject_value("`cell` must be a multiple of 32: got " + std::to_string(cell) + ".");
    const int64_t rows = (n() + cell - 1) / cell, columns = (m() + cell - 1) / cell;
    check_integers(*starts, "starts", 64, rows + 1);
    check_integers(*blocks, "blocks", 32, -1);
    costs.starts = static_cast<const int64_t*>(starts->data());
    costs.blocks = static_cast<const int32_t*>(blocks->data());
    costs.cell = cell;
    check_list(costs.starts, costs.blocks, rows, columns, int64_t(blocks->shape(0)));
  }

  int64_t n() const { return costs.n; }
  int64_t m() const { return costs.m; }
  int64_t work() const { return costs.n * costs.m; }

  // Waking another thread costs more than some ten thousand pairs.
  int worth(int threads) const { return costs.n * costs.m < (1 << 15) ? 1 : threads; }

  template <class Array>
  void expect(const Array& array, const char* name, std::vector<int64_t> shape) const {
    check(array, name, is_double_, std::move(shape));
  }
};

template <class T>
const T* data(const Input& array) { return static_cast<const T*>(array.data()); }
template <class T>
const T* data(const std::optional<Input>& array) { return array ? data<T>(*array) : nullptr; }
template <class T>
T* data(const Output& array) { return static_cast<T*>(array.data()); }

// Runs F with the kernels of the costs' dtype, outside the interpreter lock.
template <class F>
void with_kernels(const BoundCosts& bound, F f) {
  const Table& chosen = table();
  const nb::gil_scoped_release unlocked;
  if (bound.is_double_) f(chosen.f64, double());
  else f(chosen.f32, float());
}

// ---------------------------------------------------------------------------------------------- batches

// Problems side by side: what belongs to their sources lies one after the other, and so for their targets. One problem
// is done by all threads, several by one each, the largest first so that the threads end together.
struct Batch {
  std::vector<BoundCosts> problems;
  std::vector<int64_t> rows{0}, columns{0}, x_entries{0}, y_entries{0};  // where each problem begins, where the last ends

  explicit Batch(const BoundCosts& alone) { add(alone); }
  explicit Batch(const std::vector<const BoundCosts*>& all) {
    if (all.empty()) reject_value("A batch needs a problem: got none.");
    for (const BoundCosts* one : all) add(*one);
  }

  void add(const BoundCosts& one) {
    if (!problems.empty() && one.is_double_ != problems[0].is_double_)
      reject_type("The costs of a batch must have one dtype: got float32 and float64. Convert some.");
    problems.push_back(one);
    rows.push_back(n() + one.n());
    columns.push_back(m() + one.m());
    x_entries.push_back(x_entries.back() + one.n() * one.costs.d);
    y_entries.push_back(y_entries.back() + one.m() * one.costs.d);
  }

  int64_t n() const { return rows.back(); }
  int64_t m() const { return columns.back(); }
  size_t size() const { return problems.size(); }

  bool has_points() const {
    return std::all_of(problems.begin(), problems.end(), [](const BoundCosts& c) { return c.costs.kind != Kind::Stored; });
  }

  template <class Array>
  void expect(const Array& array, const char* name, std::vector<int64_t> shape) const {
    check(array, name, problems[0].is_double_, std::move(shape));
  }

  // Coordinates: a matrix where all problems have as many, else the problems' entries one after the other.
  void expect_coordinates(const Output& array, const char* name, const std::vector<int64_t>& starts, int64_t count) const {
    const int64_t d = problems[0].costs.d;
    const bool is_even = std::all_of(problems.begin(), problems.end(), [&](const BoundCosts& c) { return c.costs.d == d; });
    if (is_even) expect(array, name, {count, d});
    else expect(array, name, {starts.back()});
  }

  // Runs F(kernels, zero of the dtype, number of a problem, threads) for each problem, outside the interpreter lock.
  template <class F>
  void each(int threads, F f) const {
    const Table& chosen = table();
    const nb::gil_scoped_release unlocked;
    auto one = [&](int64_t b, int allowed) {
      if (problems[0].is_double_) f(chosen.f64, double(), b, allowed);
      else f(chosen.f32, float(), b, allowed);
    };
    if (size() == 1) return one(0, problems[0].worth(threads));
    std::vector<int64_t> sorted(size());
    std::iota(sorted.begin(), sorted.end(), 0);
    std::stable_sort(sorted.begin(), sorted.end(), [&](int64_t k, int64_t l) { return pairs(k) > pairs(l); });
    auto next = [&](int64_t k) { one(sorted[k], 1); };
    parallel(int64_t(size()), threads, [](void* g, int64_t k) { (*static_cast<decltype(next)*>(g))(k); }, &next);
  }

 private:
  int64_t pairs(int64_t b) const { return problems[b].n() * problems[b].m(); }
};

// One temperature, or one for each problem.
typedef std::variant<double, std::vector<double>> Temperature;

std::vector<double> temperatures(const Batch& c, const Temperature& epsilon) {
  const double* one = std::get_if<double>(&epsilon);
  const std::vector<double> all = one ? std::vector<double>(c.size(), *one) : std::get<std::vector<double>>(epsilon);
  if (all.size() != c.size())
    reject_value("`epsilon` must be one temperature, or one for each of the " + std::to_string(c.size()) +
                 " problems: got " + std::to_string(all.size()) + ".");
  for (const double each : all) check_temperature(each);
  return all;
}

// -------------------------------------------------------------------------------------------- functions

void softmin(const Batch& c, Input h, std::optional<Input> guess, const Temperature& epsilon, Output out, int threads) {
  c.expect(h, "h", {c.m()});
  if (guess) c.expect(*guess, "guess", {c.n()});
  c.expect(out, "out", {c.n()});
  const std::vector<double> epsilons = temperatures(c, epsilon);
  c.each(threads, [&](const auto& k, auto t, int64_t b, int allowed) {
    typedef decltype(t) T;
    k.softmin(c.problems[b].costs, data<T>(h) + c.columns[b], guess ? data<T>(guess) + c.rows[b] : nullptr, epsilons[b],
              data<T>(out) + c.rows[b], allowed);
  });
}

void symmetric_softmin(const BoundCosts& c, Input h, Input guess, double epsilon, Output out, int threads) {
  if (c.n() != c.m())
    reject_value("A symmetric softmin needs as many sources as targets: got " + std::to_string(c.n()) + " and " + std::to_string(c.m()) + ".");
  c.expect(h, "h", {c.m()});
  c.expect(guess, "guess", {c.n()});
  c.expect(out, "out", {c.n()});
  check_temperature(epsilon);
  with_kernels(c, [&](const auto& k, auto t) {
    typedef decltype(t) T;
    k.symmetric_softmin(c.costs, data<T>(h), data<T>(guess), epsilon, data<T>(out), c.worth(threads));
  });
}

void hard_min(const Batch& c, Input h, Output out, int threads) {
  c.expect(h, "h", {c.m()});
  c.expect(out, "out", {c.n()});
  c.each(threads, [&](const auto& k, auto t, int64_t b, int allowed) {
    typedef decltype(t) T;
    k.hard_min(c.problems[b].costs, data<T>(h) + c.columns[b], data<T>(out) + c.rows[b], allowed);
  });
}

// The potentials of the plans of a batch.
struct Plans {
  const Batch& batch;
  const Input &p, &q;
  const std::vector<double> epsilons;

  Plans(const Batch& c, const Input& p_, const Input& q_, const Temperature& epsilon)
      : batch(c), p(p_), q(q_), epsilons(temperatures(c, epsilon)) {
    c.expect(p, "p", {c.n()});
    c.expect(q, "q", {c.m()});
  }

  template <class T>
  Plan of(int64_t b) const { return {data<T>(p) + batch.rows[b], data<T>(q) + batch.columns[b], epsilons[b]}; }
};

void plan_apply(const Batch& c, Input p, Input q, Input values, const Temperature& epsilon, Output out, int threads) {
  const Plans plans(c, p, q, epsilon);
  c.expect(values, "values", {c.m(), -1});
  const int64_t width = int64_t(values.shape(1));
  c.expect(out, "out", {c.n(), width});
  c.each(threads, [&](const auto& k, auto t, int64_t b, int allowed) {
    typedef decltype(t) T;
    k.plan_apply(c.problems[b].costs, plans.of<T>(b), data<T>(values) + c.columns[b] * width, width,
                 data<T>(out) + c.rows[b] * width, allowed);
  });
}

void plan_cost(const Batch& c, Input p, Input q, const Temperature& epsilon, Output out, int threads) {
  const Plans plans(c, p, q, epsilon);
  c.expect(out, "out", {c.n()});
  c.each(threads, [&](const auto& k, auto t, int64_t b, int allowed) {
    typedef decltype(t) T;
    k.plan_cost(c.problems[b].costs, plans.of<T>(b), data<T>(out) + c.rows[b], allowed);
  });
}

void plan_marginals(const Batch& c, Input p, Input q, const Temperature& epsilon, Output rows, Output columns, int threads) {
  const Plans plans(c, p, q, epsilon);
  c.expect(rows, "rows", {c.n()});
  c.expect(columns, "columns", {c.m()});
  c.each(threads, [&](const auto& k, auto t, int64_t b, int allowed) {
    typedef decltype(t) T;
    k.plan_marginals(c.problems[b].costs, plans.of<T>(b), data<T>(rows) + c.rows[b], data<T>(columns) + c.columns[b], allowed);
  });
}

void conditional_mean(const Batch& c, Input h, Input values, const Temperature& epsilon, Output out, int threads) {
  c.expect(h, "h", {c.m()});
  c.expect(values, "values", {c.m(), -1});
  const int64_t width = int64_t(values.shape(1));
  c.expect(out, "out", {c.n(), width});
  const std::vector<double> epsilons = temperatures(c, epsilon);
  c.each(threads, [&](const auto& k, auto t, int64_t b, int allowed) {
    typedef decltype(t) T;
    k.conditional_mean(c.problems[b].costs, data<T>(h) + c.columns[b], data<T>(values) + c.columns[b] * width, width,
                       epsilons[b], data<T>(out) + c.rows[b] * width, allowed);
  });
}

void plan_grad(const Batch& c, Input p, Input q, std::optional<Input> left, std::optional<Input> right,
               const Temperature& epsilon, Output by_x, std::optional<Output> by_y, int threads) {
  if (!c.has_points()) reject_value("A stored matrix has no points to differentiate by.");
  if (left.has_value() != right.has_value()) reject_value("`left` and `right` must be given together: got one of them.");
  const Plans plans(c, p, q, epsilon);
  int64_t count = 0;
  if (left) {
    c.expect(*left, "left", {c.n(), -1});
    count = int64_t(left->shape(1));
    c.expect(*right, "right", {c.m(), count});
    if (count < 1) reject_value("`left` and `right` must have a column at least: got none.");
  }
  c.expect_coordinates(by_x, "by_x", c.x_entries, c.n());
  if (by_y) c.expect_coordinates(*by_y, "by_y", c.y_entries, c.m());
  c.each(threads, [&](const auto& k, auto t, int64_t b, int allowed) {
    typedef decltype(t) T;
    Weights weights{nullptr, nullptr, count};
    if (left) weights = {data<T>(*left) + c.rows[b] * count, data<T>(*right) + c.columns[b] * count, count};
    k.plan_grad(c.problems[b].costs, plans.of<T>(b), weights, data<T>(by_x) + c.x_entries[b],
                by_y ? data<T>(*by_y) + c.y_entries[b] : nullptr, allowed);
  });
}

// Permutation of points (n, d), float64, in which each run of leaf * 2^k that starts at a multiple of it is a cell.
void sort_into_cells(Input points, int64_t leaf, Output order, int threads) {
  check(points, "points", true, {-1, -1});
  if (leaf < 1) reject_value("`leaf` must be positive: got " + std::to_string(leaf) + ".");
  if (order.dtype() != nb::dtype<int64_t>() || order.ndim() != 1 || order.shape(0) != points.shape(0))
    reject_value("`order` must be int64 with one entry per point: got shape " + shape_of(order) + ".");
  const auto* data = static_cast<const double*>(points.data());
  auto* out = static_cast<int64_t*>(order.data());
  const int64_t n = int64_t(points.shape(0)), d = int64_t(points.shape(1));
  const nb::gil_scoped_release unlocked;
  sort_points(data, n, d, leaf, out, threads);
}

Cells cells_of(const Input& table, const std::optional<Input>& inside, const char* name) {
  check(table, name, true, {-1, -1});
  const int64_t width = int64_t(table.shape(1));
  if (width < 5 || (width - 2) % 3) reject_value(std::string("`") + name + "` must have 3 D + 2 columns: got others.");
  const int64_t d = (width - 2) / 3;
  if (inside) check(*inside, name, true, {int64_t(table.shape(0)), d + 1, -1});
  return {static_cast<const double*>(table.data()), inside ? static_cast<const double*>(inside->data()) : nullptr,
          int64_t(table.shape(0)), d, inside ? int64_t(inside->shape(2)) : 0};
}

Score score_of(const std::string& kind, double scale, double offset) {
  if (kind == "sqeuclidean") return {2.0 * scale, 0.0, offset};
  if (kind == "dot") return {-scale, 0.0, offset};
  if (kind == "euclidean") return {0.0, scale, offset};
  reject_value("`kind` must be sqeuclidean, euclidean or dot: got '" + kind + "'.");
}

// Pairs of cells whose bound is at least `least`; see cells.h.
nb::tuple select_cells_(Input rows, Input row_points, Input columns, Input column_points, Input groups, const std::string& kind, double scale, double offset,
                        double least, int threads) {
  const Cells r = cells_of(rows, row_points, "rows"), c = cells_of(columns, column_points, "columns");
  const Cells g = cells_of(groups, std::nullopt, "groups");
  const Score score = score_of(kind, scale, offset);
  if (r.d != c.d || g.d != c.d) reject_value("Cells of one space are compared: got different numbers of coordinates.");
  auto* starts = new std::vector<int64_t>;
  auto* blocks = new std::vector<int32_t>;
  const nb::capsule owns_starts(starts, [](void* p) noexcept { delete static_cast<std::vector<int64_t>*>(p); });
  const nb::capsule owns_blocks(blocks, [](void* p) noexcept { delete static_cast<std::vector<int32_t>*>(p); });
  {
    const nb::gil_scoped_release unlocked;
    select_cells(r, c, g, score, least, threads, *starts, *blocks);
  }
  typedef nb::ndarray<nb::numpy, int64_t, nb::ndim<1>> Long;
  typedef nb::ndarray<nb::numpy, int32_t, nb::ndim<1>> Int;
  return nb::make_tuple(Long(starts->data(), {starts->size()}, owns_starts), Int(blocks->data(), {blocks->size()}, owns_blocks));
}

void skipped_scores_(Input rows, Input row_points, Input columns, Input column_points, Input groups, const std::string& kind, double scale, double offset,
                     double epsilon, Input starts, Input blocks, Output sums, Output greatest, int threads) {
  const Cells r = cells_of(rows, row_points, "rows"), c = cells_of(columns, column_points, "columns");
  const Cells g = cells_of(groups, std::nullopt, "groups");
  const Score score = score_of(kind, scale, offset);
  if (r.d != c.d || g.d != c.d) reject_value("Cells of one space are compared: got different numbers of coordinates.");
  check_temperature(epsilon);
  check_integers(starts, "starts", 64, r.count + 1);
  check_integers(blocks, "blocks", 32, -1);
  check(sums, "sums", true, {r.count});
  check(greatest, "greatest", true, {r.count});
  const nb::gil_scoped_release unlocked;
  skipped_scores(r, c, g, score, epsilon, static_cast<const int64_t*>(starts.data()),
                 static_cast<const int32_t*>(blocks.data()), data<double>(sums), data<double>(greatest), threads);
}

double product_sum(const BoundCosts& c, Input a, Input b, std::optional<double> centre, int threads) {
  c.expect(a, "a", {c.n()});
  c.expect(b, "b", {c.m()});
  double sum = 0.0;
  with_kernels(c, [&](const auto& k, auto t) {
    typedef decltype(t) T;
    k.product_sum(c.costs, data<T>(a), data<T>(b), centre ? &*centre : nullptr, &sum, c.worth(threads));
  });
  return sum;
}

void sinkhorn_step(const BoundCosts& c, Input q, Input f, Input guess, Input log_a, double epsilon, double damping,
                   double shift, double relaxation, Output f_raw, Output f_next, Output g_raw, int threads,
                   std::optional<Input> column_starts, std::optional<Input> column_blocks) {
  c.expect(q, "q", {c.m()});
  c.expect(f, "f", {c.n()});
  c.expect(guess, "guess", {c.n()});
  c.expect(log_a, "log_a", {c.n()});
  c.expect(f_raw, "f_raw", {c.n()});
  c.expect(f_next, "f_next", {c.n()});
  c.expect(g_raw, "g_raw", {c.m()});
  check_temperature(epsilon);
  const Step step{q.data(), f.data(), guess.data(), log_a.data(), epsilon, damping, shift, relaxation,
                  f_raw.data(), f_next.data(), g_raw.data()};
  if (!c.costs.starts) return with_kernels(c, [&](const auto& k, auto) { k.sinkhorn_step(c.costs, step, c.worth(threads)); });
  if (!column_starts || !column_blocks) reject_value("A list of pairs must be given from the side of the columns as well.");
  const int64_t cells = (c.m() + c.costs.cell - 1) / c.costs.cell;
  check_integers(*column_starts, "column_starts", 64, cells + 1);
  check_integers(*column_blocks, "column_blocks", 32, int64_t(c.blocks->shape(0)));
  const auto* starts = static_cast<const int64_t*>(column_starts->data());
  const auto* blocks = static_cast<const int32_t*>(column_blocks->data());
  check_list(starts, blocks, cells, (c.n() + c.costs.cell - 1) / c.costs.cell, int64_t(c.blocks->shape(0)));
  with_kernels(c, [&](const auto& k, auto) { k.listed_step(c.costs, step, starts, blocks, threads); });
}

// One axis of a grid. The dtype is that of h.
Axis axis_of(const Input& h, const Input& costs, const std::optional<Input>& weights, const Output& out) {
  const bool wants_double = is_double(h, "h");
  check(h, "h", wants_double, {-1, -1, -1});
  const int64_t outer = int64_t(h.shape(0)), m = int64_t(h.shape(1)), inner = int64_t(h.shape(2));
  check(costs, "costs", wants_double, {-1, m});
  const int64_t n = int64_t(costs.shape(0));
  if (weights) check(*weights, "weights", wants_double, {n, m});
  check(out, "out", wants_double, {outer, n, inner});
  if (n < 1 || m < 1) reject_value("An axis must have at least one node on both sides: got shape " + shape_of(costs) + ".");
  return {h.data(), costs.data(), weights ? weights->data() : nullptr, outer, n, m, inner, out.data()};
}

void axis_log_sum(Input h, Input costs, std::optional<Input> weights, double epsilon, Output out, int threads) {
  const Axis axis = axis_of(h, costs, weights, out);
  check_temperature(epsilon);
  const Table& chosen = table();
  const bool wants_double = is_double(h, "h");
  const nb::gil_scoped_release unlocked;
  (wants_double ? chosen.f64.axis_log_sum : chosen.f32.axis_log_sum)(axis, epsilon, threads);
}

void axis_max(Input h, Input costs, Output out, int threads) {
  const Axis axis = axis_of(h, costs, std::nullopt, out);
  const Table& chosen = table();
  const bool wants_double = is_double(h, "h");
  const nb::gil_scoped_release unlocked;
  (wants_double ? chosen.f64.axis_max : chosen.f32.axis_max)(axis, threads);
}

// The costs along each axis of a grid, keeping the arrays alive.
struct BoundGrid {
  bool is_double_;
  std::vector<Input> matrices;
  Grid grid{};
  int64_t rows = 1, columns = 1, steps = 0;  // nodes of both grids; those that a node meets in the passes of a sweep

  explicit BoundGrid(const std::vector<Input>& matrices_) : matrices(matrices_) {
    if (matrices.empty() || matrices.size() > size_t(MAX_AXES))
      reject_value("A grid has one to three axes: got " + std::to_string(matrices.size()) + ".");
    is_double_ = is_double(matrices[0], "matrices[0]");
    for (const Input& one : matrices) {
      check(one, "matrices", is_double_, {-1, -1});
      const int64_t n = int64_t(one.shape(0)), m = int64_t(one.shape(1));
      if (n < 1 || m < 1) reject_value("An axis must have at least one node on both sides: got shape " + shape_of(one) + ".");
      grid.n[grid.axes] = n;
      grid.m[grid.axes] = m;
      grid.costs[grid.axes++] = one.data();
      rows *= n;
      columns *= m;
      steps += n + m;
    }
  }

  int64_t n() const { return rows; }
  int64_t m() const { return columns; }
  int64_t work() const { return std::max(rows, columns) * steps; }

  template <class Array>
  void expect(const Array& array, const char* name, std::vector<int64_t> shape) const {
    check(array, name, is_double_, std::move(shape));
  }
};

// Sweeps of one problem as Python hands them over, keeping the arrays alive.
struct BoundSweeps {
  const std::variant<BoundCosts, BoundGrid> costs;
  const int64_t work;  // pairs that a sweep meets, about
  std::vector<Input> inputs;
  std::vector<Output> outputs;
  const std::shared_ptr<Keeper> keeper;
  std::vector<double> residuals, changes;
  int64_t done = 0;
  double dual = 0.0;
  bool has_dropped = false;
  Sweeps sweeps{};

  // settings: epsilon, rho_a, rho_b, omega, last omega, dual, tolerance, residual.
  template <class C>
  BoundSweeps(const C& c, Input a, Input b, Input f, Input g, std::optional<Input> before,
              const std::vector<double>& settings, int64_t count, std::shared_ptr<Keeper> keeper_, Output next_f, Output next_g, Output exact_g,
              Output softmin)
      : costs(c), work(c.work()), inputs{a, b, f, g}, outputs{next_f, next_g, exact_g, softmin}, keeper(std::move(keeper_)) {
    c.expect(a, "a", {c.n()});
    c.expect(b, "b", {c.m()});
    c.expect(f, "f", {c.n()});
    c.expect(g, "g", {c.m()});
    if (before) {
      c.expect(*before, "before", {c.n()});
      inputs.push_back(*before);
    }
    c.expect(next_f, "next_f", {c.n()});
    c.expect(next_g, "next_g", {c.m()});
    c.expect(exact_g, "exact_g", {c.m()});
    c.expect(softmin, "softmin", {c.n()});
    if (c.n() < 1 || c.m() < 1) reject_value("A problem needs a source and a target: got none on one side.");
    if (settings.size() != 8) reject_value("`settings` must hold eight numbers: got " + std::to_string(settings.size()) + ".");
    if (count < 1) reject_value("`count` must be positive: got " + std::to_string(count) + ".");
    check_temperature(settings[0]);
    for (int k = 1; k < 5; ++k)
      if (!(settings[k] > 0.0)) reject_value("Prices and factors must be positive: got " + std::to_string(settings[k]) + ".");
    residuals.resize(count);
    changes.resize(count);
    sweeps = {a.data(), b.data(), f.data(), g.data(), before ? before->data() : nullptr,
              settings[0], settings[1], settings[2], settings[3], settings[4], settings[5], settings[6], settings[7], count, keeper.get(),
              next_f.data(), next_g.data(), exact_g.data(), softmin.data(), residuals.data(), changes.data(),
              &done, &dual, &has_dropped};
  }
  BoundSweeps(const BoundSweeps&) = delete;
  BoundSweeps& operator=(const BoundSweeps&) = delete;

  void run(const Table& chosen, int threads) const {
    Keeper passing;  // where nothing is to be kept
    Sweeps mine = sweeps;
    if (!keeper) mine.keeper = &passing;
    if (const BoundCosts* pairs = std::get_if<BoundCosts>(&costs))
      (pairs->is_double_ ? chosen.f64.sinkhorn_sweeps : chosen.f32.sinkhorn_sweeps)(pairs->costs, mine, threads);
    else if (const BoundGrid* grid = std::get_if<BoundGrid>(&costs))
      (grid->is_double_ ? chosen.f64.grid_sweeps : chosen.f32.grid_sweeps)(grid->grid, mine, threads);
  }

  nb::tuple found() const {
    return nb::make_tuple(std::vector<double>(residuals.begin(), residuals.begin() + done),
                          std::vector<double>(changes.begin(), changes.begin() + done), dual, has_dropped);
  }
};

// Several problems: each by one thread, the largest first so that the threads end together. One: by all.
void sinkhorn_sweeps(const std::vector<const BoundSweeps*>& problems, int threads) {
  std::vector<const BoundSweeps*> sorted = problems;
  std::stable_sort(sorted.begin(), sorted.end(), [](const BoundSweeps* p, const BoundSweeps* q) {
    return p->work > q->work;
  });
  const Table& chosen = table();
  const nb::gil_scoped_release unlocked;
  if (sorted.size() == 1) return sorted[0]->run(chosen, threads);
  auto one = [&](int64_t k) { sorted[k]->run(chosen, 1); };
  parallel(int64_t(sorted.size()), threads, [](void* f, int64_t k) { (*static_cast<decltype(one)*>(f))(k); }, &one);
}

}  // namespace

NB_MODULE(_cpu, m) {
  m.doc() = "Fused reductions over all pairs, compiled for several instruction sets. Called by isotherm.kernels.";
  active = supported().front();
  m.def("instruction_sets", &instruction_sets, "Instruction sets this processor has, fastest first.");
  m.def("instruction_set", [] { return std::string(table().name); }, "The one in use.");
  m.def("choose_instruction_set", &choose, nb::arg("name"), "Use another one; for tests and timings.");
  m.def("thread_source", [] { return std::string(thread_source()); }, "Whose threads run the kernels.");

  m.def("probe_fma", [](int64_t repeats, bool is_double) {
    const nb::gil_scoped_release unlocked;
    return is_double ? table().f64.probe_fma(repeats) : table().f32.probe_fma(repeats);
  }, nb::arg("repeats"), nb::arg("is_double"), "Fused multiply-adds in registers; returns how many were done.");
  m.def("probe_exp", [](int64_t repeats, bool is_double) {
    const nb::gil_scoped_release unlocked;
    return is_double ? table().f64.probe_exp(repeats) : table().f32.probe_exp(repeats);
  }, nb::arg("repeats"), nb::arg("is_double"), "Exponentials in first-level cache; returns how many were done.");

  m.def("prefer_huge_pages", [](Output array) { prefer_huge_pages(array.data(), int64_t(array.nbytes())); }, nb::arg("array"),
        "Asks for large pages where an array will lie; to be called before it is written to.");
  m.def("work_so_far", [] {
    const Work work = work_so_far();
    return nb::make_tuple(work.pairs, work.exponentials);
  }, "Pairs that the kernels of this process met, and the exponentials that they took for them.");

  nb::class_<BoundCosts>(m, "Costs", "Costs as the kernels see them: scale * base + offset.")
      .def(nb::init<const std::string&, Input, std::optional<Input>, double, double, std::optional<Input>,
                    std::optional<Input>, int64_t>(),
           nb::arg("kind"), nb::arg("x"), nb::arg("y").none(), nb::arg("scale"), nb::arg("offset"),
           nb::arg("starts").none() = nb::none(), nb::arg("blocks").none() = nb::none(), nb::arg("cell") = 0);
  nb::class_<Batch>(m, "Batch", "Problems side by side; a reduction takes one `Costs` as a batch of itself.")
      .def(nb::init<const std::vector<const BoundCosts*>&>(), nb::arg("problems"))
      .def(nb::init_implicit<const BoundCosts&>());
  m.def("sort_into_cells", &sort_into_cells, nb::arg("points"), nb::arg("leaf"), nb::arg("order"), nb::arg("threads"));
  m.def("select_cells", &select_cells_, nb::arg("rows"), nb::arg("row_points"), nb::arg("columns"),
        nb::arg("column_points"), nb::arg("groups"), nb::arg("kind"),
        nb::arg("scale"), nb::arg("offset"), nb::arg("least"), nb::arg("threads"));
  m.def("skipped_scores", &skipped_scores_, nb::arg("rows"), nb::arg("row_points"), nb::arg("columns"),
        nb::arg("column_points"), nb::arg("groups"), nb::arg("kind"),
        nb::arg("scale"), nb::arg("offset"), nb::arg("epsilon"), nb::arg("starts"), nb::arg("blocks"), nb::arg("sums"),
        nb::arg("greatest"), nb::arg("threads"));
  m.def("softmin", &softmin, nb::arg("costs"), nb::arg("h"), nb::arg("guess").none(), nb::arg("epsilon"),
        nb::arg("out"), nb::arg("threads"));
  m.def("symmetric_softmin", &symmetric_softmin, nb::arg("costs"), nb::arg("h"), nb::arg("guess"), nb::arg("epsilon"),
        nb::arg("out"), nb::arg("threads"));
  m.def("hard_min", &hard_min, nb::arg("costs"), nb::arg("h"), nb::arg("out"), nb::arg("threads"));
  m.def("plan_apply", &plan_apply, nb::arg("costs"), nb::arg("p"), nb::arg("q"), nb::arg("values"), nb::arg("epsilon"),
        nb::arg("out"), nb::arg("threads"));
  m.def("plan_cost", &plan_cost, nb::arg("costs"), nb::arg("p"), nb::arg("q"), nb::arg("epsilon"), nb::arg("out"),
        nb::arg("threads"));
  m.def("plan_marginals", &plan_marginals, nb::arg("costs"), nb::arg("p"), nb::arg("q"), nb::arg("epsilon"),
        nb::arg("rows"), nb::arg("columns"), nb::arg("threads"));
  m.def("conditional_mean", &conditional_mean, nb::arg("costs"), nb::arg("h"), nb::arg("values"), nb::arg("epsilon"),
        nb::arg("out"), nb::arg("threads"));
  m.def("plan_grad", &plan_grad, nb::arg("costs"), nb::arg("p"), nb::arg("q"), nb::arg("left").none(),
        nb::arg("right").none(), nb::arg("epsilon"), nb::arg("by_x"), nb::arg("by_y").none(), nb::arg("threads"));
  m.def("product_sum", &product_sum, nb::arg("costs"), nb::arg("a"), nb::arg("b"), nb::arg("centre").none(),
        nb::arg("threads"));
  m.def("sinkhorn_step", &sinkhorn_step, nb::arg("costs"), nb::arg("q"), nb::arg("f"), nb::arg("guess"),
        nb::arg("log_a"), nb::arg("epsilon"), nb::arg("damping"), nb::arg("shift"), nb::arg("relaxation"), nb::arg("f_raw"),
        nb::arg("f_next"), nb::arg("g_raw"), nb::arg("threads"), nb::arg("column_starts").none() = nb::none(),
        nb::arg("column_blocks").none() = nb::none());
  m.def("axis_log_sum", &axis_log_sum, nb::arg("h"), nb::arg("costs"), nb::arg("weights").none(), nb::arg("epsilon"),
        nb::arg("out"), nb::arg("threads"));
  m.def("axis_max", &axis_max, nb::arg("h"), nb::arg("costs"), nb::arg("out"), nb::arg("threads"));
  nb::class_<Keeper>(m, "Keeper", "What one call of a kernel leaves for the next.").def(nb::init<>());
  nb::class_<BoundGrid>(m, "Grid", "Costs between the nodes of two grids, one matrix for each axis.")
      .def(nb::init<const std::vector<Input>&>(), nb::arg("matrices"));
  nb::class_<BoundSweeps>(m, "Sweeps", "Sweeps of one problem and what came of them.")
      .def(nb::init<const BoundCosts&, Input, Input, Input, Input, std::optional<Input>, const std::vector<double>&,
                    int64_t, std::shared_ptr<Keeper>, Output, Output, Output, Output>(),
           nb::arg("costs"), nb::arg("a"), nb::arg("b"), nb::arg("f"), nb::arg("g"), nb::arg("before").none(),
           nb::arg("settings"), nb::arg("count"), nb::arg("keeper").none(), nb::arg("next_f"), nb::arg("next_g"), nb::arg("exact_g"),
           nb::arg("softmin"))
      .def(nb::init<const BoundGrid&, Input, Input, Input, Input, std::optional<Input>, const std::vector<double>&,
                    int64_t, std::shared_ptr<Keeper>, Output, Output, Output, Output>(),
           nb::arg("costs"), nb::arg("a"), nb::arg("b"), nb::arg("f"), nb::arg("g"), nb::arg("before").none(),
           nb::arg("settings"), nb::arg("count"), nb::arg("keeper").none(), nb::arg("next_f"), nb::arg("next_g"), nb::arg("exact_g"),
           nb::arg("softmin"))
      .def("found", &BoundSweeps::found, "Residuals, changes, dual value, whether it dropped.");
  m.def("sinkhorn_sweeps", &sinkhorn_sweeps, nb::arg("problems"), nb::arg("threads"));
}
