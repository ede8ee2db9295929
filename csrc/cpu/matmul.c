/* y(m,n) = epilogue(bias(n) + x(m,k) w(k,n)), any strides of x and w.
 *
 * Design
 * (a) Bits: an element of y is one chain of fused multiply-adds over k ascending that starts at the bias, whatever the
 *     tile, the packing, the k-block or the thread split: k-blocks carry the chain on through y itself. For n <= DOT_N
 *     and k >= DOT_K, with x contiguous along k, it is LANES chains (lane l takes k = l, l + LANES, ...) and a fixed
 *     tree. The choice looks at (n, k) and the strides, never at m, so a row's result does not depend on its batch.
 * (b) Register tile mr x nv vectors, row counts balanced (32 rows are 11 + 11 + 10, not 14 + 14 + 4). One always-inline
 *     body, instantiated by TILE_PAIR for every (mr, nv). Rejected: one tile size with scalar edges (edges dominate at
 *     the sizes this engine is for), and run-time code generation (no assembler to ship).
 * (c) Loops: k-blocks, groups of NC columns, row tiles, the group's vector panels. A tile's x rows stay in L1 over the
 *     group, and the group's w, KC x NC, stays in L2 over the rows; w is read and y written in runs of 8 lines, which
 *     the TLB and the prefetchers want. KC is large because every k-block reads and writes y once more. Rejected:
 *     panels outside, tiles inside (10-20 % slower: y and w walked two lines at a time).
 * (d) w is packed into panels where its rows are not contiguous, or where it is large and enough rows of x reuse it.
 *     x is read in place, but for strides that put a tile's lines into the same cache sets. Rejected: always packing,
 *     which with (c) gains nothing at 1024^3, loses 3-5 % at batch 128, and doubles the time of tiny products.
 * (e) The epilogue is an elementwise program over the finished rows, while they are in L1/L2. Rejected: an epilogue
 *     in the micro-kernel's registers, a second interpreter for what is a few percent of the product's time.
 */
#include "vec.h"

/* Scratch: KC x NC of w, MC x KC of x: 256 KiB + 512 KiB. DOT_KC is part of the dot products' result. */
enum { KC = 512, NC = 512 / sizeof(real), MC = 1024 / sizeof(real), DOT_N = 2, DOT_K = 64, DOT_KC = 512 };

#define UNROLL _Pragma("GCC unroll 32")
#define NOINLINE static __attribute__((noinline)) /* keeps the caller's frame small: products can be tiny */

/* c(mr, nv * VL) = [bias or c] + a(mr, kc) b(kc, nv * VL); the last vector has `last` valid columns, b_last in b.
 * a: element (i, p) at a[i * a_row + p * a_col]; ADJACENT means a_row == 1. Rows go in groups of three, pointer +
 * {0, 1, 2} * a_row: x86 has no registers for 14 row pointers. */
HF_INLINE void tile(const int mr, const int nv, const int adjacent, int64_t kc, const real *a, int64_t a_row,
                    int64_t a_col, const real *b, int64_t b_row, int b_last, real *c, int64_t c_row, int last,
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
    const real *p = c;
    UNROLL for (int i = 0; i < mr; i++, p += c_row) {
      UNROLL for (int j = 0; j < nv; j++) {
        const int partial = j == nv - 1 && last < VL;
        acc[i][j] = partial ? vload_n(p + j * VL, last) : vload(p + j * VL);
      }
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
  UNROLL for (int i = 0; i < mr; i++, c += c_row) {
    UNROLL for (int j = 0; j < nv; j++) {
      if (j == nv - 1 && last < VL)
        vstore_n(c + j * VL, acc[i][j], last);
      else
        vstore(c + j * VL, acc[i][j]);
    }
  }
}

typedef void (*tile_fn)(int64_t kc, const real *a, int64_t a_row, int64_t a_col, const real *b, int64_t b_row,
                        int b_last, real *c, int64_t c_row, int last, const real *bias, int first);

#define TILE(mr, nv, adjacent, name)                                                                                \
  NOINLINE void name(int64_t kc, const real *a, int64_t a_row, int64_t a_col, const real *b, int64_t b_row,          \
                     int b_last, real *c, int64_t c_row, int last, const real *bias, int first) {                   \
    tile((mr) <= MR##nv ? (mr) : 1, nv, adjacent, kc, a, a_row, a_col, b, b_row, b_last, c, c_row, last, bias,      \
         first);                                                                                                    \
  }
#define TILE_PAIR(mr, nv) TILE(mr, nv, 0, tile_##mr##x##nv##_rows) TILE(mr, nv, 1, tile_##mr##x##nv##_adjacent)
// clang-format off
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
// clang-format on

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

/* dst = x(rows, kc), x_row or x_col being 1, as tiles of mr_max rows (the last may have fewer), each stored (kc, mr).
 * Vector stores put up to VL - 1 elements of junk where the next store goes; the last one's stays behind. */
NOINLINE void pack_x(real *dst, const real *x, int64_t x_row, int64_t x_col, int64_t rows, int64_t kc, int64_t mr_max) {
  for (int64_t i0 = 0; i0 < rows; i0 += mr_max, x += mr_max * x_row) {
    const int64_t mr = rows - i0 < mr_max ? rows - i0 : mr_max;
    real *d = dst + i0 * kc;
    if (x_row == 1)
      for (int64_t p = 0; p < kc; p++)
        for (int64_t i = 0; i < mr; i += VL)
          vstore(d + p * mr + i, mr - i < VL ? vload_n(x + p * x_col + i, (int)(mr - i)) : vload(x + p * x_col + i));
    else
      for (int64_t i = (mr - 1) / VL * VL; i >= 0; i -= VL)
        transpose(d + i, mr, x + i * x_row, x_row, mr - i < VL ? mr - i : VL, kc);
  }
}

/* n <= DOT_N: y(i, j) = bias(j) + sum over lanes of x(i, :) . w(:, j) */
NOINLINE void dot_rows(const hf_matmul_args *a, char *scratch, int64_t lo, int64_t hi) {
  const real *x = a->x, *bias = a->bias;
  real *y = a->y, *wt = (real *)scratch;
  const int64_t n = a->n, k = a->k;
  for (int64_t k0 = 0; k0 < k; k0 += DOT_KC) {
    const int64_t kc = k - k0 < DOT_KC ? k - k0 : DOT_KC;
    for (int64_t j = 0; j < n; j++)
      for (int64_t p = 0; p < kc; p++) wt[j * DOT_KC + p] = ((const real *)a->w)[(k0 + p) * a->w_row + j * a->w_col];
    for (int64_t i = lo; i < hi; i++)
      for (int64_t j = 0; j < n; j++) {
        const real *xi = x + i * a->x_row + k0, *wj = wt + j * DOT_KC;
        vreal acc[LANES / VL];
        real lane[LANES];
        int64_t p = 0;
        UNROLL for (int v = 0; v < LANES / VL; v++) acc[v] = vset1((real)0);
        for (; p + LANES <= kc; p += LANES) {
          UNROLL for (int v = 0; v < LANES / VL; v++) {
            acc[v] = vfma(vload(xi + p + v * VL), vload(wj + p + v * VL), acc[v]);
          }
        }
        UNROLL for (int v = 0; v < LANES / VL; v++) vstore(lane + v * VL, acc[v]);
        for (int l = 0; p + l < kc; l++) lane[l] = hf_fma(xi[p + l], wj[p + l], lane[l]);
        for (int half = LANES / 2; half > 0; half /= 2)
          for (int l = 0; l < half; l++) lane[l] += lane[l + half];
        const real start = k0 ? y[i * n + j] : bias ? bias[j] : 0;
        y[i * n + j] = start + lane[0];
      }
  }
}

/* The step that cuts `size` into the fewest parts of at most `max`, of about the same size. */
static int64_t balanced(int64_t size, int64_t max) {
  if (size <= max) return size;
  const int64_t n = (size + max - 1) / max;
  return (size + n - 1) / n;
}

/* y rows [r0, r1), columns [c0, c1). */
static void multiply_region(const hf_matmul_args *a, char *scratch, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
  const int64_t n = a->n, k = a->k, rows = r1 - r0;
  const real *x = (const real *)a->x + r0 * a->x_row, *w = a->w, *bias = a->bias;
  real *y = (real *)a->y + r0 * n, *panels = (real *)scratch, *block = panels + KC * NC;
  const int shape = rows <= MR4 && c1 - c0 > 3 * VL ? 2 : c1 - c0 > VL ? 1 : 0; /* panels of 1 << shape vectors */
  /* x's lines, one per row of a tile or per k, fall into few cache sets */
  const int same_sets = (a->x_row == 1 ? a->x_col : a->x_row) * (int64_t)sizeof(real) % 2048 == 0;
  const int64_t mr1 = same_sets && a->x_col == 1 && MR1 > 8 ? 8 : MR1; /* too few columns to pack x for */
  const int64_t mr_max = shape == 2 ? MR4 : shape == 1 ? MR2 : mr1, width = VL << shape;
  const int narrow = mr_max * sizeof(real) < 56; /* of each line of x, a tile of adjacent rows uses a part */
  const int packed_x = same_sets && (a->x_row == 1 ? narrow : a->x_col == 1) && rows > 2 && c1 - c0 >= NC;
  const int packed_w = a->w_col != 1 || (rows >= 8 * mr_max && a->w_row * (int64_t)sizeof(real) >= 4096) ||
                       (rows > mr_max && (c1 - c0) % VL && !MASKED);
  /* w is used once, and comes from L3 or memory: read it by whole rows */
  const int stream = !packed_w && rows <= 2 && a->w_row * k * (int64_t)sizeof(real) >= 1 << 20;
  const int64_t k_step = balanced(k, stream ? 16 : KC), group = stream ? c1 - c0 : NC;
  const int64_t i_step = packed_x ? balanced(rows, MC) : rows;
  int64_t k0 = 0;
  do { /* once even with k == 0 */
    const int64_t kc = k - k0 < k_step ? k - k0 : k_step;
    for (int64_t i0 = 0; i0 < rows; i0 += i_step) {
      const int64_t i1 = rows - i0 < i_step ? rows : i0 + i_step, mr_step = balanced(i1 - i0, mr_max);
      const real *xb = x + i0 * a->x_row + k0 * a->x_col;
      if (packed_x) pack_x(block, xb, a->x_row, a->x_col, i1 - i0, kc, mr_step);
      for (int64_t g0 = c0; g0 < c1; g0 += group) {
        const int64_t g1 = c1 - g0 < group ? c1 : g0 + group;
        const real *wg = w + k0 * a->w_row + g0 * a->w_col;
        if (packed_w) pack_w(panels, width, wg, a->w_row, a->w_col, kc, g1 - g0);
        for (int64_t i = i0; i < i1; i += mr_step) {
          const int64_t mr = i1 - i < mr_step ? i1 - i : mr_step;
          const real *at = packed_x ? block + (i - i0) * kc : xb + (i - i0) * a->x_row;
          const int64_t a_row = packed_x ? 1 : a->x_row, a_col = packed_x ? mr : a->x_col;
          for (int64_t j = g0, nv; j < g1; j += nv * VL) {
            const int64_t left = g1 - j;
            const int s = left > 3 * VL ? shape : left > VL && shape > 0;
            nv = 1 << s;
            const int last = left < nv * VL ? (int)(left - (nv - 1) * VL) : VL;
            const real *b = packed_w ? panels + (j - g0) / width * width * kc + (j - g0) % width : wg + (j - g0);
            tiles[a_row == 1][s][mr](kc, at, a_row, a_col, b, packed_w ? width : a->w_row, packed_w ? VL : last,
                                     y + i * n + j, n, last, bias ? bias + j : 0, k0 == 0);
          }
        }
      }
    }
    k0 += k_step;
  } while (k0 < k);
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
