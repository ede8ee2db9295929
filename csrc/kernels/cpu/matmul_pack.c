/* Copies of matmul's operands in the order in which a register tile reads them. */
#include "vec.h"

#define UNROLL _Pragma("GCC unroll 32")
#define NOINLINE static __attribute__((noinline)) /* keeps the caller's frame small: products can be tiny */

/* Scratch: KC x NC of w (256 KiB), and a tile of x or of y'. */
enum { KC = 1024, NC = 256 / sizeof(real), STREAM = 16, SET_ROWS = 8 };

/* dst[p * d_row + i] = src[i * s_row + p] for p < kc, i < rows; up to i = VL - 1, copies of row 0. */
static void transpose(real *dst, int64_t d_row, const real *src, int64_t s_row, int64_t rows, int64_t kc) {
  for (int64_t p = 0; p < kc; p += VL) {
    const int64_t left = kc - p;
    vreal v[VL];
    UNROLL for (int i = 0; i < VL; i++) {
      const real *row = src + (i < rows ? i : 0) * s_row + p;
      v[i] = left >= VL ? vload(row) : vload_n(row, (int)left);
    }
    vtranspose(v);
    UNROLL for (int q = 0; q < VL; q++) {
      if (q < left) vstore(dst + (p + q) * d_row, v[q]);
    }
  }
}

/* dst = w(kc, cols) as panels (kc, width) one after the other. Columns up to a multiple of VL get junk. */
NOINLINE void pack_w(real *dst, int64_t width, const real *w, int64_t w_row, int64_t w_col, int64_t kc, int64_t cols) {
  if (w_col == 1) {
    for (int64_t p = 0; p < kc; p++) {
      const real *row = w + p * w_row;
      real *d = dst + p * width;
      if (p + 8 < kc)
        for (int64_t j = 0; j < cols; j += 64 / (int64_t)sizeof(real)) __builtin_prefetch(row + 8 * w_row + j);
      for (int64_t j0 = 0; j0 < cols; j0 += width, d += kc * width)
        for (int64_t j = j0; j < j0 + width && j < cols; j += VL)
          vstore(d + j - j0, cols - j < VL ? vload_n(row + j, (int)(cols - j)) : vload(row + j));
    }
    return;
  }
  for (int64_t j = 0; j < cols; j += VL) {
    real *d = dst + j / width * width * kc + j % width;
    const int64_t jn = cols - j < VL ? cols - j : VL;
    if (w_row == 1)
      transpose(d, width, w + j * w_col, w_col, jn, kc);
    else
      for (int64_t p = 0; p < kc; p++)
        for (int64_t l = 0; l < VL; l++) d[p * width + l] = l < jn ? w[p * w_row + (j + l) * w_col] : 0;
  }
}

/* dst(n, d_row) = the transpose of w(kc, n); d_row >= kc is a multiple of VL. */
NOINLINE void pack_wt(real *dst, int64_t d_row, const real *w, int64_t w_row, int64_t w_col, int64_t kc, int64_t n) {
  if (w_col == 1)
    for (int64_t p = 0; p < kc; p += VL) transpose(dst + p, d_row, w + p * w_row, w_row, kc - p < VL ? kc - p : VL, n);
  else
    for (int64_t j = 0; j < n; j++)
      for (int64_t p = 0; p < kc; p++) dst[j * d_row + p] = w[p * w_row + j * w_col];
}

/* dst(kc, mr) = x(mr, kc), x_row or x_col being 1. Vector stores put up to VL - 1 elements of junk where the next store
 * goes; the last one's stays behind. */
NOINLINE void pack_x(real *dst, const real *x, int64_t x_row, int64_t x_col, int64_t mr, int64_t kc) {
  if (x_row == 1)
    for (int64_t p = 0; p < kc; p++, x += x_col, dst += mr)
      for (int64_t i = 0; i < mr; i += VL) vstore(dst + i, mr - i < VL ? vload_n(x + i, (int)(mr - i)) : vload(x + i));
  else
    for (int64_t i = (mr - 1) / VL * VL; i >= 0; i -= VL)
      transpose(dst + i, mr, x + i * x_row, x_row, mr - i < VL ? mr - i : VL, kc);
}
