// Products of a block of the plan with numbers that its columns, or its rows, carry: small matrix products in registers.
//
// `entries` is [ROWS][BLOCK]. What columns carry is packed as points are, what rows carry is [terms][ROWS].
#pragma once

#include "pass.h"

namespace isotherm {
namespace ISA {
namespace {

// Values (m, terms) of the columns, packed; zero where there is no mass, whatever the value.
template <class T>
void pack_values(const T* values, const T* potential, int64_t m, int64_t terms, T* packed) {
  constexpr int W = WIDTH<T>;
  for (int64_t j = 0; j < m; ++j) {
    const bool has_mass = potential[j] != -T(INFINITY);
    for (int64_t k = 0; k < terms; ++k)
      packed[(j / W * stride_of(terms) + k) * W + j % W] = has_mass ? values[j * terms + k] : T(0);
  }
}

// sums[k][r] += sum_j entries_rj columns_jk for `Count` terms k, or columns_jk - rows_rk in the place of columns_jk.
template <class T, int Count, bool IsDifference>
INLINE void add_terms_to_rows(const T* entries, const T* columns, const T* rows, int64_t stride, int64_t vectors,
                              typename Simd<T>::V* sums) {
  typedef typename Simd<T>::V V;
  constexpr int W = WIDTH<T>;
  V sum[Count][ROWS];
#pragma GCC unroll 3
  for (int k = 0; k < Count; ++k)
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) sum[k][r] = sums[k * ROWS + r];
  for (int64_t v = 0; v < vectors; ++v, columns += stride * W) {
    V term[Count];
#pragma GCC unroll 3
    for (int k = 0; k < Count; ++k) term[k] = load(columns + k * W);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      const V entry = in_register(load(entries + r * BLOCK<T> + v * W));
#pragma GCC unroll 3
      for (int k = 0; k < Count; ++k)
        sum[k][r] = entry * (IsDifference ? term[k] - rows[k * ROWS + r] : term[k]) + sum[k][r];
    }
  }
#pragma GCC unroll 3
  for (int k = 0; k < Count; ++k)
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) sums[k * ROWS + r] = sum[k][r];
}

// The same for any number of terms, three at a time: 3 x ROWS accumulators.
template <class T, bool IsDifference = false>
INLINE void add_to_rows(const T* entries, const T* columns, const T* rows, int64_t terms, int64_t vectors,
                        typename Simd<T>::V* sums) {
  constexpr int W = WIDTH<T>;
  const int64_t stride = stride_of(terms);
  for (int64_t k = 0; k < terms; k += 3, columns += 3 * W, rows += IsDifference ? 3 * ROWS : 0, sums += 3 * ROWS) {
    switch (terms - k) {
      case 1: add_terms_to_rows<T, 1, IsDifference>(entries, columns, rows, stride, vectors, sums); break;
      case 2: add_terms_to_rows<T, 2, IsDifference>(entries, columns, rows, stride, vectors, sums); break;
      default: add_terms_to_rows<T, 3, IsDifference>(entries, columns, rows, stride, vectors, sums);
    }
  }
}

// sums_jk += sum_r entries_rj rows_rk for `Count` terms k, or rows_rk - columns_jk in the place of rows_rk.
template <class T, int Count, bool IsDifference>
INLINE void add_terms_to_columns(const T* entries, const T* columns, const T* rows, int64_t stride, int64_t vectors,
                                 T* sums) {
  typedef typename Simd<T>::V V;
  constexpr int W = WIDTH<T>;
  for (int64_t v = 0; v < vectors; v += 2, columns += 2 * stride * W, sums += 2 * stride * W, entries += 2 * W) {
    V sum[2][Count], own[2][Count];
#pragma GCC unroll 4
    for (int k = 0; k < Count; ++k) {
      sum[0][k] = load(sums + k * W);
      sum[1][k] = load(sums + (stride + k) * W);
      if (IsDifference) {
        own[0][k] = load(columns + k * W);
        own[1][k] = load(columns + (stride + k) * W);
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      const V left = load(entries + r * BLOCK<T>), right = load(entries + r * BLOCK<T> + W);
#pragma GCC unroll 4
      for (int k = 0; k < Count; ++k) {
        const V term = splat(rows[k * ROWS + r]);
        sum[0][k] = left * (IsDifference ? term - own[0][k] : term) + sum[0][k];
        sum[1][k] = right * (IsDifference ? term - own[1][k] : term) + sum[1][k];
      }
    }
#pragma GCC unroll 4
    for (int k = 0; k < Count; ++k) {
      store(sums + k * W, sum[0][k]);
      store(sums + (stride + k) * W, sum[1][k]);
    }
  }
}

// The same for any number of terms, four at a time.
template <class T, bool IsDifference>
INLINE void add_to_columns(const T* entries, const T* columns, const T* rows, int64_t terms, int64_t vectors, T* sums) {
  constexpr int W = WIDTH<T>;
  const int64_t stride = stride_of(terms);
  for (int64_t k = 0; k < terms; k += 4, columns += 4 * W, rows += 4 * ROWS, sums += 4 * W) {
    switch (terms - k) {
      case 1: add_terms_to_columns<T, 1, IsDifference>(entries, columns, rows, stride, vectors, sums); break;
      case 2: add_terms_to_columns<T, 2, IsDifference>(entries, columns, rows, stride, vectors, sums); break;
      case 3: add_terms_to_columns<T, 3, IsDifference>(entries, columns, rows, stride, vectors, sums); break;
      default: add_terms_to_columns<T, 4, IsDifference>(entries, columns, rows, stride, vectors, sums);
    }
  }
}

// Sums of the entries themselves, by rows and by columns.
template <class T>
INLINE void add_masses(const T* entries, int64_t vectors, typename Simd<T>::V* by_row, T* by_column) {
  constexpr int W = WIDTH<T>;
  typename Simd<T>::V sum[ROWS];
  for (int r = 0; r < ROWS; ++r) sum[r] = by_row[r];
  for (int64_t v = 0; v < vectors; ++v) {
    auto column = splat(T(0));
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      const auto entry = load(entries + r * BLOCK<T> + v * W);
      sum[r] += entry;
      column += entry;
    }
    if (by_column) store(by_column + v * W, load(by_column + v * W) + column);
  }
  for (int r = 0; r < ROWS; ++r) by_row[r] = sum[r];
}

}  // namespace
}  // namespace ISA
}  // namespace isotherm
