// Means under the rows of the plan, each normalised by its own sum. One pass: the exponent's shift rises as it goes.
#pragma once

#include "plan.h"
#include "softmin.h"

namespace isotherm {
namespace ISA {
namespace {

// out_ik = sum_j P(j | i) values_jk; NaN where a row has no mass.
template <class T>
void conditional_mean(const Costs& costs, const T* potential, const T* values, int64_t count, double epsilon, T* out,
                      int threads) {
  typedef typename Simd<T>::V V;
  const Pass<T> pass(costs, potential, LOG2E / epsilon);
  const Scratch packed(pass.columns * stride_of(count) * int64_t(sizeof(T)));
  pack_values(values, potential, costs.m, count, packed.as<T>());
  const int64_t terms = count + 1;  // the last is the row's own sum
  for_chunks(costs, threads, [&](int64_t begin, int64_t end) {
    Tile<T> tile(pass);
    alignas(BYTES) T entries[ROWS * BLOCK<T>];
    T shift[MAX_CHUNK];
    for (T& one : shift) one = -Simd<T>::HUGE_SCORE;
    const Scratch lanes(ROWS * terms * BYTES), memory(MAX_CHUNK * terms * int64_t(sizeof(double)));
    V* sums = lanes.as<V>();
    double* totals = memory.as<double>();
    sweep(tile, begin, end, [&](int64_t j, int64_t vectors) __attribute__((always_inline)) {
      for (int r = 0; r < ROWS; ++r) {
        const int64_t row = tile.first - begin + r;
        T* scores = entries + r * BLOCK<T>;
        const V top = score_block(pass, tile.base[r], j, vectors, scores);
        if (any_above(top, shift[row])) {
          const T shrink = raise(shift[row], top);
          for (int64_t k = 0; k < terms; ++k) {
            sums[k * ROWS + r] *= shrink;
            totals[row * terms + k] *= shrink;
          }
        }
        sums[count * ROWS + r] += exponentiate(scores, vectors, shift[row]);
      }
      add_to_rows<T>(entries, packed.as<T>() + j * stride_of(count), count, vectors, sums);
    }, [&]() __attribute__((always_inline)) { carry(sums, terms, totals + (tile.first - begin) * terms); });
    for (int64_t i = begin; i < end; ++i, totals += terms)
      for (int64_t k = 0; k < count; ++k) out[i * count + k] = T(totals[k] / totals[count]);
  });
}

}  // namespace
}  // namespace ISA
}  // namespace isotherm
