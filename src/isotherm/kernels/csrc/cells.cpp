// See cells.h.
#include "cells.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "table.h"

namespace isotherm {
namespace {

constexpr int64_t SERIAL_POINTS = 256;  // that are not worth another thread
constexpr double FAR = -50.0;  // exponent below which a group need not be looked at cell by cell

struct Part {
  int64_t* order;
  int64_t count;
};

// Halves a part of more than `leaf` points across the widest side of its box, at a power of two of leaves.
void halve(const double* points, int64_t d, int64_t leaf, const Part& part, Part* left, Part* right) {
  int64_t half = leaf;
  while (2 * half < part.count) half *= 2;
  int64_t widest = 0;
  double width = -1.0;
  for (int64_t k = 0; k < d; ++k) {
    double low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < part.count; ++i) {
      const double value = points[part.order[i] * d + k];
      low = std::min(low, value);
      high = std::max(high, value);
    }
    if (high - low > width) {
      width = high - low;
      widest = k;
    }
  }
  const auto before = [=](int64_t i, int64_t j) {  // ties by index, so that the order is one and the same everywhere
    const double a = points[i * d + widest], b = points[j * d + widest];
    return a != b ? a < b : i < j;
  };
  std::nth_element(part.order, part.order + half, part.order + part.count, before);
  *left = {part.order, half};
  *right = {part.order + half, part.count - half};
}

void split(const double* points, int64_t d, int64_t leaf, Part part) {
  while (part.count > leaf) {
    Part left;
    halve(points, d, leaf, part, &left, &part);
    split(points, d, leaf, left);
  }
}

// Largest score that any point of cell i of the rows may have with any point of cell j of the columns.
//
// Along one coordinate x = c + u, |u| <= h and y = e + v, |v| <= k the exponent is product (c + u)(e + v) + s u + t v: bilinear, so
// it is largest at a corner.
double bound(const Cells& rows, int64_t i, const Cells& columns, int64_t j, const Score& score) {
  const int64_t d = rows.d;
  const double *x = rows.row(i), *y = columns.row(j);
  double total = x[3 * d] + y[3 * d] - score.offset, square = 0.0;
  for (int64_t k = 0; k < d; ++k) {
    const double c = x[k], h = x[d + k], s = x[2 * d + k], e = y[k], w = y[d + k], t = y[2 * d + k];
    const double left = (s + score.product * e) * h, right = (t + score.product * c) * w, cross = score.product * h * w;
    total += score.product * c * e + std::max(std::fabs(left + right) + cross, std::fabs(left - right) - cross);
    const double apart = std::max(std::fabs(c - e) - h - w, 0.0);
    square += apart * apart;
  }
  return score.distance ? total - score.distance * std::sqrt(square) : total;
}

// The same with the points of one cell as they are: scores of cell i, point by point, against the box of cell j.
//
// Bilinear in the other side's point v alone: top_j + sum_k product x_k e_k + |t_k + product x_k| w_k.
double bound_by_points(const Cells& cells, int64_t i, const Cells& others, int64_t j, const Score& score) {
  constexpr int64_t LANES = 32;
  const int64_t d = cells.d, size = cells.size;
  const double *points = cells.points(i), *box = others.row(j);
  double best = -INFINITY;
  for (int64_t first = 0; first < size; first += LANES) {
    const int64_t count = std::min(LANES, size - first);
    double total[LANES] = {}, square[LANES] = {};
    for (int64_t k = 0; k < d; ++k) {
      const double e = box[k], w = box[d + k], t = box[2 * d + k];
      const double* x = points + k * size + first;
      if (score.distance) {
        for (int64_t r = 0; r < count; ++r) {
          const double apart = std::max(std::fabs(x[r] - e) - w, 0.0);
          square[r] += apart * apart;
        }
      } else {
        for (int64_t r = 0; r < count; ++r) {
          const double c = score.product * x[r];
          total[r] += c * e + std::fabs(t + c) * w;
        }
      }
    }
    const double* potential = points + d * size + first;
    for (int64_t r = 0; r < count; ++r) {
      const double found = potential[r] + total[r] - (score.distance ? score.distance * std::sqrt(square[r]) : 0.0);
      best = std::max(best, found);
    }
  }
  return best + box[3 * d] - score.offset;
}

// The least of the bounds; as soon as one is below `enough`, that one.
double close_bound(const Cells& rows, int64_t i, const Cells& columns, int64_t j, const Score& score, double enough) {
  double least = bound(rows, i, columns, j, score);
  if (least < enough) return least;
  least = std::min(least, bound_by_points(rows, i, columns, j, score));
  if (least < enough) return least;
  return std::min(least, bound_by_points(columns, j, rows, i, score));
}

int64_t best_partner(const Cells& cells, int64_t i, const Cells& others, const Score& score, bool is_row) {
  int64_t best = 0;
  double top = -INFINITY;
  for (int64_t j = 0; j < others.count; ++j) {
    const double found = is_row ? bound(cells, i, others, j, score) : bound(others, j, cells, i, score);
    if (found > top) {
      top = found;
      best = j;
    }
  }
  return best;
}

template <class F>
void for_each_index(int64_t count, int threads, F f) {
  parallel(count, threads, [](void* pointer, int64_t k) { (*static_cast<F*>(pointer))(k); }, &f);
}

}  // namespace

void sort_points(const double* points, int64_t n, int64_t d, int64_t leaf, int64_t* order, int threads) {
  std::iota(order, order + n, int64_t(0));
  std::vector<Part> parts{{order, n}};
  while (threads > 1 && parts.size() < size_t(2 * threads)) {  // the first in line is the largest
    const Part first = parts.front();
    if (first.count <= std::max(leaf, SERIAL_POINTS)) break;
    parts.erase(parts.begin());
    Part halves[2];
    halve(points, d, leaf, first, &halves[0], &halves[1]);
    parts.insert(parts.end(), halves, halves + 2);
  }
  for_each_index(int64_t(parts.size()), threads, [&](int64_t k) { split(points, d, leaf, parts[size_t(k)]); });
}

void select_cells(const Cells& rows, const Cells& columns, const Cells& groups, const Score& score, double least,
                  int threads, std::vector<int64_t>& starts, std::vector<int32_t>& blocks) {
  std::vector<std::vector<int32_t>> lists(rows.count);
  for_each_index(rows.count, threads, [&](int64_t i) {
    for (int64_t g = 0; g < groups.count; ++g) {
      if (bound(rows, i, groups, g, score) < least) continue;
      const int64_t stop = std::min((g + 1) * GROUP, columns.count);
      for (int64_t j = g * GROUP; j < stop; ++j)
        if (!(close_bound(rows, i, columns, j, score, least) < least)) lists[i].push_back(int32_t(j));
    }
    if (lists[i].empty() && columns.count) lists[i].push_back(int32_t(best_partner(rows, i, columns, score, true)));
  });
  std::vector<char> is_met(columns.count, 0);
  for (const auto& list : lists)
    for (const int32_t j : list) is_met[j] = 1;
  for (int64_t j = 0; j < columns.count; ++j) {
    if (is_met[j] || !rows.count) continue;
    auto& list = lists[best_partner(columns, j, rows, score, false)];
    list.insert(std::lower_bound(list.begin(), list.end(), int32_t(j)), int32_t(j));
  }
  starts.assign(1, 0);
  for (const auto& list : lists) {
    blocks.insert(blocks.end(), list.begin(), list.end());
    starts.push_back(int64_t(blocks.size()));
  }
}

void skipped_scores(const Cells& rows, const Cells& columns, const Cells& groups, const Score& score, double epsilon,
                    const int64_t* starts, const int32_t* blocks, double* sums, double* greatest, int threads) {
  for_each_index(rows.count, threads, [&](int64_t i) {
    double sum = 0.0, top = -INFINITY;
    const auto skip = [&](double found, double mass) {
      top = std::max(top, found);
      if (mass > 0.0) sum += mass * std::exp(found / epsilon);
    };
    int64_t next = starts[i];
    for (int64_t g = 0; g < groups.count; ++g) {
      const int64_t stop = std::min((g + 1) * GROUP, columns.count);
      const bool is_listed = next < starts[i + 1] && blocks[next] < stop;
      const double of_group = bound(rows, i, groups, g, score);
      if (!is_listed && of_group < FAR * epsilon) {
        skip(of_group, groups.mass(g));
        continue;
      }
      for (int64_t j = g * GROUP; j < stop; ++j) {
        if (next < starts[i + 1] && blocks[next] == j) ++next;
        else skip(std::min(of_group, close_bound(rows, i, columns, j, score, FAR * epsilon)), columns.mass(j));
      }
    }
    sums[i] = rows.mass(i) > 0.0 ? rows.mass(i) * sum : 0.0;
    greatest[i] = top;
  });
}

}  // namespace isotherm
