/* y(m,n) = epilogue(bias(n) + bf16(x)(m,k) bf16(w)(k,n)) through AVX512-BF16; definition in ref/matmul_bf16.c.
 *
 * Design
 * (a) vdpbf16ps adds two products to each of 16 float sums, so operands are 32-bit pairs (k even, k odd). One vector
 *     holds the pairs of 16 columns of w, and one pair of x is broadcast to it.
 * (b) Both operands are rounded on their way into this thread's scratch, block by block, and meet the tile while they
 *     are in L1 and L2: x as rows of pairs, w as panels (k pairs, 64 columns). Costs 4-8 % of a large product.
 *     Rejected: bfloat16 copies in the arena, made by steps of their own. No two products of a training step read the
 *     same copy (forward pairs w along its rows, dX along its columns; forward pairs x along features, dW along the
 *     batch), so copies would be written and read once each, with barriers between.
 * (c) Loops: k-blocks of KC, row blocks of MC, groups of NC columns, panels, tiles. A panel's KC x 64 pairs (32 KiB)
 *     stay in L1 over all rows, x's block (512 KiB) and the group (256 KiB) in L2. The chain of a sum is carried
 *     through y from one k-block to the next, so a result's bits depend on neither blocks, tile nor threads.
 * (d) Tile 6 rows x 4 vectors: 24 chains hide the latency of two units, and 10 loads feed 24 instructions.
 * (e) The instructions are allowed by a target attribute, not by the file's flags: isa.c hands out this kernel only
 *     where the processor has them. Rejected: one more ISA level, a copy of every kernel for the sake of one.
 */
#if defined(HF_ISA_avx512) && !defined(HF_F64)

#define BF16_CODE __attribute__((target("avx512bf16")))
#define BF16_UNROLL _Pragma("GCC unroll 16")
/* 768 KiB of scratch. AHEAD: rows from the one that is rounded to the one that is prefetched; 3 % at 1024^3. */
enum { BF16_KC = 256, BF16_MC = 1024, BF16_NC = 512, BF16_MR = 6, PANEL = HF_COL_BLOCK, AHEAD = 4 };

/* 16 pairs of the run p[0 .. n), n >= 1: lane l = (p[2l], p[2l + 1]); 0 from n on. */
BF16_CODE HF_INLINE vreal pairs_along(const float *p, int64_t n) {
  const vreal low = n >= VL ? vload(p) : vload_n(p, (int)n);
  const vreal high = n >= 2 * VL ? vload(p + VL) : n > VL ? vload_n(p + VL, (int)(n - VL)) : vset1(0.0f);
  return (vreal)_mm512_cvtne2ps_pbh(high, low);
}

/* 16 pairs across two runs: lane l = (p[l], p[next + l]), 0 from n on; where the second run is `missing`, (p[l], 0). */
BF16_CODE HF_INLINE vreal pairs_across(const float *p, int64_t next, int missing, int64_t n) {
  const vreal even = n >= VL ? vload(p) : vload_n(p, (int)n);
  const vreal odd = missing ? vset1(0.0f) : n >= VL ? vload(p + next) : vload_n(p + next, (int)n);
  const __m512i low_then_high = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                                                 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return (vreal)_mm512_permutexvar_epi16(low_then_high, (__m512i)_mm512_cvtne2ps_pbh(odd, even));
}

/* dst[r * stride + l] = v[l][r] for r < n. */
HF_INLINE void store_transposed(float *dst, int64_t stride, vreal *v, int64_t n) {
  vtranspose(v);
  BF16_UNROLL for (int r = 0; r < VL; r++) {
    if (r < n) vstore(dst + r * stride, v[r]);
  }
}

/* dst = x(rows, kc) as rows of pairs, `stride` (a multiple of 16) apart. Pairs are stored as the bits of a float. */
BF16_CODE static __attribute__((noinline)) void pack_pair_rows(float *dst, int64_t stride, const float *x,
                                                               int64_t x_row, int64_t x_col, int64_t rows, int64_t kc) {
  if (x_col == 1) {
    for (int64_t i = 0; i < rows; i++)
      for (int64_t k = 0; k < kc; k += 2 * VL) {
        const float *p = x + i * x_row + k;
        if (i + AHEAD < rows) {
          __builtin_prefetch(p + AHEAD * x_row);
          __builtin_prefetch(p + AHEAD * x_row + VL);
        }
        vstore(dst + i * stride + k / 2, pairs_along(p, kc - k));
      }
    return;
  }
  for (int64_t i = 0; i < rows; i += VL)
    for (int64_t k0 = 0; k0 < kc; k0 += 2 * VL) {
      vreal v[VL];
      BF16_UNROLL for (int p = 0; p < VL; p++) {
        const int64_t k = k0 + 2 * p;
        v[p] = k < kc ? pairs_across(x + i + k * x_col, x_col, k + 1 == kc, rows - i) : vset1(0.0f);
      }
      store_transposed(dst + i * stride + k0 / 2, stride, v, rows - i);
    }
}

/* dst = w(kc, cols) as panels of pairs (kp, PANEL); kp is a multiple of 16, pairs from kc on are 0. */
BF16_CODE static __attribute__((noinline)) void pack_pair_panels(float *dst, const float *w, int64_t w_row,
                                                                 int64_t w_col, int64_t cols, int64_t kc, int64_t kp) {
  if (w_col == 1) {
    for (int64_t p = 0; p < kp; p++)
      for (int64_t j = 0; j < cols; j += VL) {
        const float *from = w + 2 * p * w_row + j;
        if (2 * (p + AHEAD) < kc) {
          __builtin_prefetch(from + 2 * AHEAD * w_row);
          __builtin_prefetch(from + (2 * AHEAD + 1) * w_row);
        }
        vstore(dst + j / PANEL * PANEL * kp + p * PANEL + j % PANEL,
               2 * p < kc ? pairs_across(from, w_row, 2 * p + 1 == kc, cols - j) : vset1(0.0f));
      }
    return;
  }
  for (int64_t j = 0; j < cols; j += VL)
    for (int64_t p = 0; p < kp; p += VL) {
      vreal v[VL];
      BF16_UNROLL for (int l = 0; l < VL; l++) {
        v[l] = j + l < cols ? pairs_along(w + 2 * p + (j + l) * w_col, kc - 2 * p) : vset1(0.0f);
      }
      store_transposed(dst + j / PANEL * PANEL * kp + p * PANEL + j % PANEL, PANEL, v, kp - p);
    }
}

/* c(mr, 16 nv) = [bias or c] + x(mr, kp pairs) w(kp pairs, 16 nv); the last vector has `last` valid columns. */
BF16_CODE HF_INLINE void bf16_tile(const int mr, const int nv, int64_t kp, const float *x, int64_t x_row,
                                   const float *w, float *c, int64_t c_row, int last, const float *bias, int first) {
  vreal acc[BF16_MR][PANEL / VL];
  BF16_UNROLL for (int i = 0; i < mr; i++) {
    const float *from = first ? bias : c + i * c_row;
    BF16_UNROLL for (int j = 0; j < nv; j++) {
      const int partial = j == nv - 1 && last < VL;
      acc[i][j] = !from ? vset1(0.0f) : partial ? vload_n(from + j * VL, last) : vload(from + j * VL);
    }
  }
  const float *x3 = x + 3 * x_row; /* rows as pointer + {0, 1, 2} * x_row: x86 addresses these */
  for (int64_t p = 0; p < kp; p++, w += PANEL) {
    vreal b[PANEL / VL];
    BF16_UNROLL for (int j = 0; j < nv; j++) b[j] = vload(w + j * VL);
    BF16_UNROLL for (int i = 0; i < mr; i++) {
      const __m512bh a = (__m512bh)vset1((i < 3 ? x : x3)[i % 3 * x_row + p]);
      BF16_UNROLL for (int j = 0; j < nv; j++) acc[i][j] = _mm512_dpbf16_ps(acc[i][j], a, (__m512bh)b[j]);
    }
  }
  BF16_UNROLL for (int i = 0; i < mr; i++) {
    BF16_UNROLL for (int j = 0; j < nv; j++) {
      float *to = c + i * c_row + j * VL;
      if (j == nv - 1 && last < VL)
        vstore_n(to, acc[i][j], last);
      else
        vstore(to, acc[i][j]);
    }
  }
}

typedef void (*bf16_tile_fn)(int64_t kp, const float *x, int64_t x_row, const float *w, float *c, int64_t c_row,
                             int last, const float *bias, int first);
#define BF16_TILE(mr, nv)                                                                                               \
  BF16_CODE static void bf16_tile_##mr##x##nv(int64_t kp, const float *x, int64_t x_row, const float *w, float *c,      \
                                              int64_t c_row, int last, const float *bias, int first) {                  \
    bf16_tile(mr, nv, kp, x, x_row, w, c, c_row, last, bias, first);                                                    \
  }
// clang-format off
#define BF16_TILES(nv) BF16_TILE(1, nv) BF16_TILE(2, nv) BF16_TILE(3, nv) BF16_TILE(4, nv) BF16_TILE(5, nv) BF16_TILE(6, nv)
BF16_TILES(1) BF16_TILES(2) BF16_TILES(3) BF16_TILES(4)
#define BF16_ROW(nv) {bf16_tile_1x##nv, bf16_tile_2x##nv, bf16_tile_3x##nv, bf16_tile_4x##nv, bf16_tile_5x##nv, bf16_tile_6x##nv}
static const bf16_tile_fn bf16_tiles[4][BF16_MR] = {BF16_ROW(1), BF16_ROW(2), BF16_ROW(3), BF16_ROW(4)}; /* [nv - 1][mr - 1] */
// clang-format on

/* y rows [r0, r1), columns [c0, c1). */
static void multiply_bf16(const hf_matmul_bf16_args *a, char *scratch, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
  float *pairs = (float *)scratch, *panels = pairs + BF16_MC * (BF16_KC / 2), *y = a->y;
  const int64_t n_blocks = (a->k + BF16_KC - 1) / BF16_KC, even = n_blocks ? (a->k + n_blocks - 1) / n_blocks : 0;
  const int64_t k_step = (even + 2 * VL - 1) / (2 * VL) * (2 * VL); /* blocks of about the same size */
  int64_t k0 = 0;
  do { /* once even with k == 0 */
    const int64_t kc = a->k - k0 < k_step ? a->k - k0 : k_step, kp = (kc + 1) / 2, stride = (kp + VL - 1) / VL * VL;
    for (int64_t i0 = r0, rows; i0 < r1; i0 += rows) {
      rows = r1 - i0 < BF16_MC ? r1 - i0 : BF16_MC;
      const int64_t n_tiles = (rows + BF16_MR - 1) / BF16_MR, mr_max = (rows + n_tiles - 1) / n_tiles;
      pack_pair_rows(pairs, stride, (const float *)a->x + i0 * a->x_row + k0 * a->x_col, a->x_row, a->x_col, rows, kc);
      for (int64_t g = c0, cols; g < c1; g += cols) {
        cols = c1 - g < BF16_NC ? c1 - g : BF16_NC;
        pack_pair_panels(panels, (const float *)a->w + k0 * a->w_row + g * a->w_col, a->w_row, a->w_col, cols, kc,
                         stride);
        for (int64_t j = 0; j < cols; j += PANEL) {
          const int64_t width = cols - j < PANEL ? cols - j : PANEL, nv = (width + VL - 1) / VL;
          const float *bias = a->bias ? (const float *)a->bias + g + j : 0;
          for (int64_t i = 0, mr; i < rows; i += mr) {
            mr = rows - i < mr_max ? rows - i : mr_max;
            bf16_tiles[nv - 1][mr - 1](kp, pairs + i * stride, stride, panels + j * stride, y + (i0 + i) * a->n + g + j,
                                       a->n, (int)(width - (nv - 1) * VL), bias, k0 == 0);
          }
        }
      }
    }
    k0 += k_step;
  } while (k0 < a->k);
}

/* y(n, n) on and below the diagonal, of blocks [lo, hi) of PANEL columns and as many from the last one on: x is packed once
 * for all of them. Up to 15 columns above the diagonal are written too. */
static void multiply_bf16_below(const hf_matmul_bf16_args *a, char *scratch, int64_t lo, int64_t hi) {
  float *pairs = (float *)scratch, *panel = pairs + BF16_MC * (BF16_KC / 2), *y = a->y;
  const int64_t n = a->n, blocks = (n + PANEL - 1) / PANEL;
  int64_t k0 = 0;
  do { /* once even with k == 0 */
    const int64_t kc = a->k - k0 < BF16_KC ? a->k - k0 : BF16_KC, kp = (kc + 1) / 2, stride = (kp + VL - 1) / VL * VL;
    for (int64_t i0 = lo * PANEL, rows; i0 < n; i0 += rows) {
      rows = n - i0 < BF16_MC ? n - i0 : BF16_MC;
      pack_pair_rows(pairs, stride, (const float *)a->x + i0 * a->x_row + k0 * a->x_col, a->x_row, a->x_col, rows, kc);
      for (int64_t b = lo; b < blocks - lo; b++) {
        const int64_t c0 = b * PANEL, width = n - c0 < PANEL ? n - c0 : PANEL;
        if ((b >= hi && b < blocks - hi) || c0 >= i0 + rows) continue;
        pack_pair_panels(panel, (const float *)a->w + k0 * a->w_row + c0 * a->w_col, a->w_row, a->w_col, width, kc,
                         stride);
        for (int64_t i = c0 > i0 ? c0 - i0 : 0, mr; i < rows; i += mr) {
          mr = rows - i < BF16_MR ? rows - i : BF16_MR;
          const int64_t below = i0 + i + mr - c0 < width ? i0 + i + mr - c0 : width, nv = (below + VL - 1) / VL;
          const int64_t last = width - (nv - 1) * VL < VL ? width - (nv - 1) * VL : VL;
          bf16_tiles[nv - 1][mr - 1](kp, pairs + i * stride, stride, panel, y + (i0 + i) * n + c0, n, (int)last, 0,
                                     k0 == 0);
        }
      }
    }
    k0 += BF16_KC;
  } while (k0 < a->k);
}

/* Contract: ref_matmul_bf16. */
static void cpu_matmul_bf16(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_matmul_bf16_args *a = args;
  const hf_region y = hf_matmul_region(a->by_cols, a->m, a->n, lo, hi);
  if (y.r0 >= y.r1 || y.c0 >= y.c1) return;
  multiply_bf16(a, ctx->scratch, y.r0, y.r1, y.c0, y.c1);
  if (a->epilogue.n_code) cpu_ewise_region(&a->epilogue, ctx, y.r0, y.r1, y.c0, y.c1);
}

#else
#define cpu_matmul_bf16 0
#endif
