/* y(m,n) = epilogue(bias(n) + x(m,k) w(k,n)), any strides of x and w.
 *
 * Design
 * (a) Bits: an element of y is one chain of fused multiply-adds over k ascending that starts at the bias, whatever the
 *     tile, the packing, the k-block or the thread split: k-blocks carry the chain on through y itself. For n <= DOT_N
 *     and k >= DOT_K, with x contiguous along k, it is LANES chains (lane l takes k = l, l + LANES, ...) and a fixed tree.
 *     The choice looks at (n, k) and the strides, never at m, so a row's result does not depend on its batch.
 * (b) Register tile mr x nv vectors, row counts balanced (32 rows are 11 + 11 + 10, not 14 + 14 + 4). One always-inline
 *     body, instantiated by TILES for every (mr, nv). Rejected: one tile size with scalar edges (edges dominate at
 *     the sizes this engine is for), and run-time code generation (no assembler to ship).
 * (c) w is packed into panels where its rows are not contiguous, or where enough rows of x reuse it; x is packed where
 *     its row stride would put a tile's rows into the same cache sets. Rejected: always packing, which at batch 32
 *     costs more than the product.
 * (d) The epilogue is an elementwise program over the finished rows, while they are in L1/L2. Rejected: an epilogue
 *     in the micro-kernel's registers, a second interpreter for what is a few percent of the product's time.
 */
#include "vec.h"

enum { KC = 512, MC = 168, DOT_N = 2, DOT_K = 64 };

/* c(mr, nv * VL) = [bias or c] + a(mr, kc) b(kc, nv * VL); the last vector has `last` valid columns.
 * a: element (i, p) at a[i * a_row + p * a_col]; ADJACENT means a_row == 1. Rows go in groups of three, pointer + {0, 1, 2} *
 * a_row: x86 has no registers for 14 row pointers. */
#define UNROLL _Pragma("GCC unroll 32")
static inline __attribute__((always_inline)) void tile(const int mr, const int nv, const int adjacent, int64_t kc,
                                                       const real *a, int64_t a_row, int64_t a_col, const real *b,
                                                       int64_t b_row, int b_last, real *c, int64_t c_row, int last,
                                                       const real *bias, int first) {
  vreal acc[14][4];
  if (adjacent) a_row = 1;
  if (first) {
    UNROLL for (int j = 0; j < nv; j++) {
      vreal v = vset1((real)0);
      if (bias) v = j == nv - 1 && last < VL ? vload_n(bias + j * VL, last) : vload(bias + j * VL);
      UNROLL for (int i = 0; i < mr; i++) acc[i][j] = v;
    }
  } else {
    UNROLL for (int i = 0; i < mr; i++) UNROLL for (int j = 0; j < nv; j++) {
      const real *p = c + i * c_row + j * VL;
      acc[i][j] = j == nv - 1 && last < VL ? vload_n(p, last) : vload(p);
    }
  }
  const real *group[5];
  UNROLL for (int g = 0; g < 5; g++) group[g] = a + 3 * g * a_row;
#define K_STEP(LOAD_LAST)                                                 \
  {                                                                       \
    vreal bv[4];                                                          \
    UNROLL for (int j = 0; j < nv - 1; j++) bv[j] = vload(b + j * VL);    \
    bv[nv - 1] = LOAD_LAST;                                               \
    UNROLL for (int i = 0; i < mr; i++) {                                 \
      const vreal av = vset1(group[i / 3][(i % 3) * a_row]);              \
      UNROLL for (int j = 0; j < nv; j++) acc[i][j] = vfma(av, bv[j], acc[i][j]); \
    }                                                                     \
    b += b_row;                                                           \
    UNROLL for (int g = 0; g < (mr + 2) / 3; g++) group[g] += a_col;      \
  }
  if (b_last == VL)
    for (int64_t p = 0; p < kc; p++) K_STEP(vload(b + (nv - 1) * VL))
  else
    for (int64_t p = 0; p < kc; p++) K_STEP(vload_n(b + (nv - 1) * VL, b_last))
#undef K_STEP
  UNROLL for (int i = 0; i < mr; i++) UNROLL for (int j = 0; j < nv; j++) {
    real *p = c + i * c_row + j * VL;
    if (j == nv - 1 && last < VL)
      vstore_n(p, acc[i][j], last);
    else
      vstore(p, acc[i][j]);
  }
}

typedef void (*tile_fn)(int64_t kc, const real *a, int64_t a_row, int64_t a_col, const real *b, int64_t b_row, int b_last,
                        real *c, int64_t c_row, int last, const real *bias, int first);

#define TILE(mr, nv, adjacent, name)                                                                                \
  static __attribute__((noinline)) void name(int64_t kc, const real *a, int64_t a_row, int64_t a_col, const real *b, \
                                             int64_t b_row, int b_last, real *c, int64_t c_row, int last,           \
                                             const real *bias, int first) {                                         \
    tile((mr) <= MR##nv ? (mr) : 1, nv, adjacent, kc, a, a_row, a_col, b, b_row, b_last, c, c_row, last, bias,      \
         first);                                                                                                    \
  }
#define TILE_PAIR(mr, nv) TILE(mr, nv, 0, tile_##mr##x##nv##_rows) TILE(mr, nv, 1, tile_##mr##x##nv##_adjacent)
TILE_PAIR(1, 1) TILE_PAIR(2, 1) TILE_PAIR(3, 1) TILE_PAIR(4, 1) TILE_PAIR(5, 1) TILE_PAIR(6, 1) TILE_PAIR(7, 1)
TILE_PAIR(8, 1) TILE_PAIR(9, 1) TILE_PAIR(10, 1) TILE_PAIR(11, 1) TILE_PAIR(12, 1) TILE_PAIR(13, 1) TILE_PAIR(14, 1)
TILE_PAIR(1, 2) TILE_PAIR(2, 2) TILE_PAIR(3, 2) TILE_PAIR(4, 2) TILE_PAIR(5, 2) TILE_PAIR(6, 2) TILE_PAIR(7, 2)
TILE_PAIR(8, 2) TILE_PAIR(9, 2) TILE_PAIR(10, 2) TILE_PAIR(11, 2) TILE_PAIR(12, 2) TILE_PAIR(13, 2) TILE_PAIR(14, 2)
TILE_PAIR(1, 4) TILE_PAIR(2, 4) TILE_PAIR(3, 4) TILE_PAIR(4, 4) TILE_PAIR(5, 4) TILE_PAIR(6, 4)

#define ROW14(nv, kind)                                                                                        \
  {                                                                                                            \
    0, tile_1x##nv##_##kind, tile_2x##nv##_##kind, tile_3x##nv##_##kind, tile_4x##nv##_##kind,                 \
        tile_5x##nv##_##kind, tile_6x##nv##_##kind, tile_7x##nv##_##kind, tile_8x##nv##_##kind,                \
        tile_9x##nv##_##kind, tile_10x##nv##_##kind, tile_11x##nv##_##kind, tile_12x##nv##_##kind,             \
        tile_13x##nv##_##kind, tile_14x##nv##_##kind                                                           \
  }
#define ROW6(nv, kind)                                                                         \
  {                                                                                            \
    0, tile_1x##nv##_##kind, tile_2x##nv##_##kind, tile_3x##nv##_##kind, tile_4x##nv##_##kind, \
        tile_5x##nv##_##kind, tile_6x##nv##_##kind                                             \
  }
/* [rows adjacent][nv: 1, 2, 4][mr] */
static const tile_fn tiles[2][3][15] = {{ROW14(1, rows), ROW14(2, rows), ROW6(4, rows)},
                                        {ROW14(1, adjacent), ROW14(2, adjacent), ROW6(4, adjacent)}};

/* dst(kc, width) = w(kc, cols) zero-padded to width columns; w's element (p, j) at w[p * w_row + j * w_col]. */
static void pack_w(real *dst, int64_t width, const real *w, int64_t w_row, int64_t w_col, int64_t kc, int64_t cols) {
  if (w_col == 1) {
    for (int64_t p = 0; p < kc; p++) {
      memcpy(dst + p * width, w + p * w_row, (size_t)cols * sizeof(real));
      for (int64_t j = cols; j < width; j++) dst[p * width + j] = 0;
    }
    return;
  }
  /* 16 x 16 blocks: both the reads (along k) and the writes (along columns) stay within a few cache lines */
  for (int64_t p0 = 0; p0 < kc; p0 += 16) {
    const int64_t pn = kc - p0 < 16 ? kc - p0 : 16;
    for (int64_t j0 = 0; j0 < width; j0 += 16) {
      real *d = dst + p0 * width + j0;
      const int64_t jn = width - j0 < 16 ? width - j0 : 16;
      if (w_row == 1 && pn == 16 && jn == 16 && j0 + 16 <= cols) {
        real t[16][16];
        for (int j = 0; j < 16; j++) memcpy(t[j], w + p0 + (j0 + j) * w_col, sizeof t[j]);
        for (int p = 0; p < 16; p++) {
          UNROLL for (int j = 0; j < 16; j++) d[p * width + j] = t[j][p];
        }
      } else {
        for (int64_t p = 0; p < pn; p++)
          for (int64_t j = 0; j < jn; j++)
            d[p * width + j] = j0 + j < cols ? w[(p0 + p) * w_row + (j0 + j) * w_col] : 0;
      }
    }
  }
}

/* Rows [i, i + mr) of tile t when `rows` rows are cut into `n` balanced tiles. */
static int64_t tile_start(int64_t rows, int64_t n, int64_t t) { return rows * t / n; }

/* dst = x(rows, kc) as n balanced tiles, each stored (kc, mr): the rows of a tile adjacent. */
static void pack_x(real *dst, const real *x, int64_t x_row, int64_t x_col, int64_t rows, int64_t kc, int64_t n) {
  for (int64_t t = 0; t < n; t++) {
    const int64_t i0 = tile_start(rows, n, t), mr = tile_start(rows, n, t + 1) - i0;
    for (int64_t i = 0; i < mr; i++)
      for (int64_t p = 0; p < kc; p++) dst[p * mr + i] = x[(i0 + i) * x_row + p * x_col];
    dst += kc * mr;
  }
}

/* n <= DOT_N: y(i, j) = bias(j) + sum over lanes of x(i, :) . w(:, j) */
static void dot_rows(const hf_matmul_args *a, char *scratch, int64_t lo, int64_t hi) {
  const real *x = a->x, *bias = a->bias;
  real *y = a->y, *wt = (real *)scratch;
  const int64_t n = a->n, k = a->k;
  for (int64_t k0 = 0; k0 < k; k0 += KC) {
    const int64_t kc = k - k0 < KC ? k - k0 : KC;
    for (int64_t j = 0; j < n; j++)
      for (int64_t p = 0; p < kc; p++)
        wt[j * KC + p] = ((const real *)a->w)[(k0 + p) * a->w_row + j * a->w_col];
    for (int64_t i = lo; i < hi; i++)
      for (int64_t j = 0; j < n; j++) {
        const real *xi = x + i * a->x_row + k0, *wj = wt + j * KC;
        real lane[LANES] = {0};
        int64_t p = 0;
        for (; p + LANES <= kc; p += LANES) {
#pragma omp simd
          for (int l = 0; l < LANES; l++) lane[l] = hf_fma(xi[p + l], wj[p + l], lane[l]);
        }
        for (int l = 0; p + l < kc; l++) lane[l] = hf_fma(xi[p + l], wj[p + l], lane[l]);
        for (int half = LANES / 2; half > 0; half /= 2)
          for (int l = 0; l < half; l++) lane[l] += lane[l + half];
        const real start = k0 ? y[i * n + j] : bias ? bias[j] : 0;
        y[i * n + j] = start + lane[0];
      }
  }
}

/* y rows [r0, r1), columns [c0, c1). */
static void multiply_region(const hf_matmul_args *a, char *scratch, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
  const int64_t n = a->n, k = a->k, rows = r1 - r0;
  const real *x = (const real *)a->x + r0 * a->x_row, *w = a->w, *bias = a->bias;
  real *y = (real *)a->y + r0 * n;
  real *panel = (real *)scratch, *block = panel + KC * 4 * VL;
  const int wide = rows <= MR4 && c1 - c0 > 2 * VL;
  const int64_t mr_max = wide ? MR4 : c1 - c0 > VL ? MR2 : MR1;
  const int reuse_x = c1 - c0 >= 12 * VL || (a->x_row * (int64_t)sizeof(real)) % 2048 == 0;
  const int packed_x = a->x_row != 1 && rows > 2 && reuse_x && c1 - c0 > 2 * VL;
  const int packed_w = a->w_col != 1 || (rows >= 4 * mr_max && a->w_row * k * (int64_t)sizeof(real) > 1 << 15);
  for (int64_t k0 = 0; k0 == 0 || k0 < k; k0 += KC) {
    const int64_t kc = k - k0 < KC ? k - k0 : KC;
    for (int64_t i0 = 0; i0 < rows; i0 += packed_x ? MC : rows) {
      const int64_t ib = packed_x && rows - i0 > MC ? MC : rows - i0;
      const int64_t n_tiles = (ib + mr_max - 1) / mr_max;
      const real *xb = x + i0 * a->x_row + k0 * a->x_col;
      if (packed_x) pack_x(block, xb, a->x_row, a->x_col, ib, kc, n_tiles);
      for (int64_t j = c0; j < c1;) {
        const int64_t left = c1 - j;
        const int shape = wide && left > 3 * VL ? 2 : left > VL ? 1 : 0, nv = 1 << shape;
        const int64_t width = nv * VL, cols = left < width ? left : width;
        const int last = (int)(cols - (nv - 1) * VL);
        const real *b = w + k0 * a->w_row + j * a->w_col;
        int64_t b_row = a->w_row;
        int b_last = last;
        if (packed_w || (last < VL && sizeof(vreal) < 64 && rows > mr_max)) {
          pack_w(panel, width, b, a->w_row, a->w_col, kc, cols);
          b = panel;
          b_row = width;
          b_last = VL;
        }
        for (int64_t t = 0; t < n_tiles; t++) {
          const int64_t i = tile_start(ib, n_tiles, t), mr = tile_start(ib, n_tiles, t + 1) - i;
          real *c = y + (i0 + i) * n + j;
          const real *bj = bias ? bias + j : 0;
          if (packed_x)
            tiles[1][shape][mr](kc, block + i * kc, 1, mr, b, b_row, b_last, c, n, last, bj, k0 == 0);
          else
            tiles[a->x_row == 1][shape][mr](kc, xb + i * a->x_row, a->x_row, a->x_col, b, b_row, b_last, c, n, last, bj,
                                            k0 == 0);
        }
        j += cols;
      }
    }
  }
}

static void cpu_matmul(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_matmul_args *a = args;
  int64_t r0 = lo, r1 = hi, c0 = 0, c1 = a->n;
  if (a->by_cols) {
    r0 = 0;
    r1 = a->m;
    c0 = lo * HF_COL_BLOCK;
    c1 = hi * HF_COL_BLOCK < a->n ? hi * HF_COL_BLOCK : a->n;
  }
  if (r0 >= r1 || c0 >= c1) return;
  if (a->n <= DOT_N && a->k >= DOT_K && a->x_col == 1)
    dot_rows(a, ctx->scratch, r0, r1);
  else
    multiply_region(a, ctx->scratch, r0, r1, c0, c1);
  if (a->epilogue.n_code) cpu_ewise_region(&a->epilogue, ctx, r0, r1, c0, c1);
}
