// Cells of points: boxes that hold some points each, and bounds on the plan between two of them.
#pragma once

#include <cstdint>
#include <vector>

namespace isotherm {

constexpr int64_t GROUP = 16;  // cells of a group, which is itself a cell

// One row per cell: centre (d), half widths (d), slope (d), top, mass. A potential over the cell is at most
// top + slope . (point - centre).
struct Cells {
  const double* table;   // (count, 3 d + 2)
  const double* inside;  // (count, d + 1, size): the points, a coordinate at a time, and their potentials; or null
  int64_t count, d, size;

  const double* row(int64_t i) const { return table + i * (3 * d + 2); }
  const double* points(int64_t i) const { return inside + i * (d + 1) * size; }
  double mass(int64_t i) const { return row(i)[3 * d + 1]; }
};

// Exponent of the plan in units of cost: p_i + q_j + product x_i . y_j - distance |x_i - y_j| - offset.
struct Score {
  double product, distance, offset;
};

// Permutation in which each run of leaf * 2^k points that starts at a multiple of it fills a cell of its own: halves at
// powers of two, across the widest side of the box.
void sort_points(const double* points, int64_t n, int64_t d, int64_t leaf, int64_t* order, int threads);

// For each cell of rows the cells of columns that hold a pair whose score may exceed `least`, and at least one; each
// cell of columns is met at least once. groups[k] covers columns k * GROUP .. (k + 1) * GROUP.
void select_cells(const Cells& rows, const Cells& columns, const Cells& groups, const Score& score, double least,
                  int threads, std::vector<int64_t>& starts, std::vector<int32_t>& blocks);

// Of the pairs not in the list: sums_r >= mass_r sum_j mass_j exp(score_ij / epsilon), greatest_r >= score_ij.
void skipped_scores(const Cells& rows, const Cells& columns, const Cells& groups, const Score& score, double epsilon,
                    const int64_t* starts, const int32_t* blocks, double* sums, double* greatest, int threads);

}  // namespace isotherm
