/* Products with few columns, n <= DOT_N, and rows of x contiguous along k: y(i, j) = start + x(i, :) . w(:, j).
 *
 * Design
 * (a) Vectors along y's columns would be mostly empty, so they go along k: an element is LANES chains of fused
 *     multiply-adds (lane l takes k = l, l + LANES, ...) and a fixed tree; k in blocks of dot_block(n), added in order.
 *     n and k alone decide this, so a row's result does not depend on its batch.
 * (b) A tile is `rows` rows with all their columns: its sums are one contiguous run of y, and one pass of shuffles ends
 *     the trees of VL of them together. Rejected: a tree per element (for k = 256 it takes longer than the products).
 */

/* DOT_MANY: fewest k for more than 2 columns: below, trees and transposition cost more than the empty lanes. */
enum { DOT_N = 12, DOT_K = 64, DOT_MANY = 256, DOT_W = 32768 / sizeof(real) };
/* DOTS: most products whose accumulators fit; DOT_ROWS: most rows of a tile. */
enum { DOT_VECS = LANES / VL, DOTS = (VREGS - 3) / DOT_VECS, DOT_ROWS = 8 };

static int is_dot(const hf_matmul_args *a) {
  return a->n <= DOT_N && a->k >= (a->n <= 2 ? DOT_K : DOT_MANY) && a->x_col == 1;
}

/* k-steps per block: w's block, as rows of k, stays in L1. */
static int64_t dot_block(int64_t n) { return DOT_W / n / LANES * LANES; }

/* y(rows * n) = start(rows * n) + x(rows, kc) wt(n, kc), rows of x, wt, y at x_row, wt_row, n. */
HF_INLINE void dot_tile(const int rows, const int n, int64_t kc, const real *x, int64_t x_row, const real *wt,
                        int64_t wt_row, real *y, const real *start) {
  vreal acc[VREGS][DOT_VECS];
  UNROLL for (int q = 0; q < rows * n; q++) { UNROLL for (int v = 0; v < DOT_VECS; v++) acc[q][v] = vset1((real)0); }
#define DOT_STEP(LOAD)                                                                           \
  {                                                                                              \
    vreal xv[DOT_ROWS];                                                                          \
    UNROLL for (int i = 0; i < rows; i++) xv[i] = LOAD(x + i * x_row + at);                      \
    UNROLL for (int j = 0; j < n; j++) {                                                         \
      vreal wv = LOAD(wt + j * wt_row + at); \
      if (rows > 1) KEEP(wv); \
      UNROLL for (int i = 0; i < rows; i++) acc[i * n + j][v] = vfma(xv[i], wv, acc[i * n + j][v]); \
    }                                                                                            \
  }
  int64_t p = 0;
  for (; p + LANES <= kc; p += LANES) {
    UNROLL for (int v = 0; v < DOT_VECS; v++) {
      const int64_t at = p + v * VL;
      DOT_STEP(vload)
    }
  }
  if (p < kc) {
    UNROLL for (int v = 0; v < DOT_VECS; v++) {
      const int64_t at = p + v * VL;
      const int left = kc - at < VL ? (int)(kc - at) : VL;
      if (left <= 0) break;
#define LOAD_LEFT(from) vload_n(from, left)
      DOT_STEP(LOAD_LEFT)
#undef LOAD_LEFT
    }
  }
#undef DOT_STEP
  UNROLL for (int q0 = 0; q0 < rows * n; q0 += VL) {
    const int left = rows * n - q0 < VL ? rows * n - q0 : VL;
    const int count = left > 8 ? 16 : left > 4 ? 8 : left > 2 ? 4 : left;
    vreal sum[16];
    UNROLL for (int i = 0; i < count; i++) {
      vreal *lanes = acc[i < left ? q0 + i : q0];
      UNROLL for (int half = DOT_VECS / 2; half > 0; half /= 2) {
        UNROLL for (int v = 0; v < half; v++) lanes[v] += lanes[v + half];
      }
      sum[i] = lanes[0];
    }
    vfold(sum, count < VL ? count : VL);
    if (rows * n - q0 >= VL)
      vstore(y + q0, vload(start + q0) + sum[0]);
    else
      vstore_n(y + q0, vload_n(start + q0, rows * n - q0) + sum[0], rows * n - q0);
  }
}

typedef void (*dot_fn)(int64_t kc, const real *x, int64_t x_row, const real *wt, int64_t wt_row, real *y,
                       const real *start);

/* Rows whose accumulators and x fit in the registers, with one vector of w. */
#define FIT_ROWS(n) ((VREGS - 2) / ((n) * DOT_VECS + 1))
#define TILE_ROWS(n) (FIT_ROWS(n) < 1 ? 1 : FIT_ROWS(n) < DOT_ROWS ? FIT_ROWS(n) : DOT_ROWS)
#define DOT(name, rows, n)                                                                                       \
  NOINLINE void name(int64_t kc, const real *x, int64_t x_row, const real *wt, int64_t wt_row, real *y,          \
                     const real *start) {                                                                        \
    dot_tile(rows, (n) <= DOTS ? (n) : 1, kc, x, x_row, wt, wt_row, y, start);                                   \
  }
#define DOT_PAIR(n) DOT(dot_row_##n, 1, n) DOT(dot_rows_##n, TILE_ROWS(n), n)
// clang-format off
DOT_PAIR(1) DOT_PAIR(2) DOT_PAIR(3) DOT_PAIR(4) DOT_PAIR(5) DOT_PAIR(6)
DOT_PAIR(7) DOT_PAIR(8) DOT_PAIR(9) DOT_PAIR(10) DOT_PAIR(11) DOT_PAIR(12)
#define DOT_LIST(kind) {0, kind##_1, kind##_2, kind##_3, kind##_4, kind##_5, kind##_6, kind##_7, kind##_8, kind##_9, \
                        kind##_10, kind##_11, kind##_12}
/* [whole tile of rows][columns] */
static const dot_fn dots[2][DOT_N + 1] = {DOT_LIST(dot_row), DOT_LIST(dot_rows)};
// clang-format on

/* y rows [r0, r1); is_dot(a). */
NOINLINE void dot_region(const hf_matmul_args *a, char *scratch, int64_t r0, int64_t r1) {
  const int64_t n = a->n, k = a->k, block = dot_block(n), wide = n < DOTS ? n : DOTS, tile = TILE_ROWS(n);
  real start[VREGS];
  for (int64_t q = 0; q < tile * n; q++) start[q] = a->bias ? ((const real *)a->bias)[q % n] : 0;
  for (int64_t k0 = 0; k0 < k; k0 += block) {
    const int64_t kc = k - k0 < block ? k - k0 : block;
    const real *w = (const real *)a->w + k0 * a->w_row, *wt = w;
    int64_t wt_row = a->w_col;
    if (a->w_row != 1) {
      wt = (real *)scratch;
      wt_row = (kc + VL - 1) / VL * VL;
      pack_wt((real *)scratch, wt_row, w, a->w_row, a->w_col, kc, n);
    }
    for (int64_t i = r0, rows; i < r1; i += rows) {
      const real *x = (const real *)a->x + i * a->x_row + k0;
      real *y = (real *)a->y + i * n;
      rows = r1 - i >= tile ? tile : 1;
      for (int64_t j = 0; j < n; j += wide) {
        const int64_t cols = n - j < wide ? n - j : wide;
        dots[rows == tile && cols == n][cols](kc, x, a->x_row, wt + j * wt_row, wt_row, y + j, k0 ? y + j : start + j);
      }
    }
  }
}
