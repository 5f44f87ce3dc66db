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

// sums[k][r] += sum_j entries_rj columns_jk for `Count` terms k.
template <class T, int Count>
INLINE void add_terms_to_rows(const T* entries, const T* columns, int64_t stride, int64_t vectors,
                              typename Simd<T>::V* sums) {
  typedef typename Simd<T>::V V;
  constexpr int W = WIDTH<T>;
  V sum[Count * ROWS];
#pragma GCC unroll 24
  for (int k = 0; k < Count * ROWS; ++k) sum[k] = sums[k];
  for (int64_t v = 0; v < vectors; ++v, columns += stride * W) {
    V term[Count];
#pragma GCC unroll 3
    for (int k = 0; k < Count; ++k) term[k] = load(columns + k * W);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      const V entry = in_register(load(entries + r * BLOCK<T> + v * W));
#pragma GCC unroll 3
      for (int k = 0; k < Count; ++k) sum[k * ROWS + r] = entry * term[k] + sum[k * ROWS + r];
    }
  }
#pragma GCC unroll 24
  for (int k = 0; k < Count * ROWS; ++k) sums[k] = sum[k];
}

// The same for any number of terms, three at a time: 3 x ROWS accumulators.
template <class T>
INLINE void add_to_rows(const T* entries, const T* columns, int64_t terms, int64_t vectors, typename Simd<T>::V* sums) {
  constexpr int W = WIDTH<T>;
  const int64_t stride = stride_of(terms);
  for (int64_t k = 0; k < terms; k += 3, columns += 3 * W, sums += 3 * ROWS) {
    switch (terms - k) {
      case 1: add_terms_to_rows<T, 1>(entries, columns, stride, vectors, sums); break;
      case 2: add_terms_to_rows<T, 2>(entries, columns, stride, vectors, sums); break;
      default: add_terms_to_rows<T, 3>(entries, columns, stride, vectors, sums);
    }
  }
}

// sums_jk += sum_r entries_rj rows_rk for `Count` terms k.
template <class T, int Count>
INLINE void add_terms_to_columns(const T* entries, const T* rows, int64_t stride, int64_t vectors, T* sums) {
  typedef typename Simd<T>::V V;
  constexpr int W = WIDTH<T>;
  for (int64_t v = 0; v < vectors; v += 2, sums += 2 * stride * W, entries += 2 * W) {
    V sum[2][Count];
#pragma GCC unroll 4
    for (int k = 0; k < Count; ++k) {
      sum[0][k] = load(sums + k * W);
      sum[1][k] = load(sums + (stride + k) * W);
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      const V left = load(entries + r * BLOCK<T>), right = load(entries + r * BLOCK<T> + W);
#pragma GCC unroll 4
      for (int k = 0; k < Count; ++k) {
        sum[0][k] = left * rows[k * ROWS + r] + sum[0][k];
        sum[1][k] = right * rows[k * ROWS + r] + sum[1][k];
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
template <class T>
INLINE void add_to_columns(const T* entries, const T* rows, int64_t terms, int64_t vectors, T* sums) {
  constexpr int W = WIDTH<T>;
  const int64_t stride = stride_of(terms);
  for (int64_t k = 0; k < terms; k += 4, rows += 4 * ROWS, sums += 4 * W) {
    switch (terms - k) {
      case 1: add_terms_to_columns<T, 1>(entries, rows, stride, vectors, sums); break;
      case 2: add_terms_to_columns<T, 2>(entries, rows, stride, vectors, sums); break;
      case 3: add_terms_to_columns<T, 3>(entries, rows, stride, vectors, sums); break;
      default: add_terms_to_columns<T, 4>(entries, rows, stride, vectors, sums);
    }
  }
}

// by_row[k][r] += sum_j entries_rj (columns_jk - rows_rk), and by_column_jk the same with its sign turned, over r.
template <class T, int Count, bool HasColumns>
INLINE void add_difference_terms(const T* entries, const T* columns, const T* rows, int64_t stride, int64_t vectors,
                                 typename Simd<T>::V* by_row, T* by_column) {
  typedef typename Simd<T>::V V;
  constexpr int W = WIDTH<T>;
  V sum[Count * ROWS];
#pragma GCC unroll 16
  for (int k = 0; k < Count * ROWS; ++k) sum[k] = by_row[k];
  for (int64_t v = 0; v < vectors; ++v, columns += stride * W, by_column += HasColumns ? stride * W : 0) {
    V term[Count], column[Count];
#pragma GCC unroll 2
    for (int k = 0; k < Count; ++k) {
      term[k] = load(columns + k * W);
      if (HasColumns) column[k] = load(by_column + k * W);
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      const V entry = in_register(load(entries + r * BLOCK<T> + v * W));
#pragma GCC unroll 2
      for (int k = 0; k < Count; ++k) {
        const V difference = term[k] - rows[k * ROWS + r];
        sum[k * ROWS + r] = entry * difference + sum[k * ROWS + r];
        if (HasColumns) column[k] = column[k] - entry * difference;
      }
    }
#pragma GCC unroll 2
    for (int k = 0; k < Count; ++k)
      if (HasColumns) store(by_column + k * W, column[k]);
  }
#pragma GCC unroll 16
  for (int k = 0; k < Count * ROWS; ++k) by_row[k] = sum[k];
}

// The same for any number of terms, two at a time; without columns by_column is not touched.
template <class T, bool HasColumns>
INLINE void add_differences(const T* entries, const T* columns, const T* rows, int64_t terms, int64_t vectors,
                            typename Simd<T>::V* by_row, T* by_column) {
  constexpr int W = WIDTH<T>;
  const int64_t stride = stride_of(terms);
  for (int64_t k = 0; k < terms; k += 2, columns += 2 * W, rows += 2 * ROWS, by_row += 2 * ROWS) {
    T* part = HasColumns ? by_column + k * W : nullptr;
    if (terms - k == 1) add_difference_terms<T, 1, HasColumns>(entries, columns, rows, stride, vectors, by_row, part);
    else add_difference_terms<T, 2, HasColumns>(entries, columns, rows, stride, vectors, by_row, part);
  }
}

}  // namespace
}  // namespace ISA
}  // namespace isotherm
