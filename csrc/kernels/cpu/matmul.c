/* y(m,n) = epilogue(bias(n) + x(m,k) w(k,n)), any strides of x and w.
 *
 * Design
 * (a) Bits: an element of y is one chain of fused multiply-adds over k ascending that starts at the bias, whatever the
 *     tile, the packing, the k-block or the thread split: k-blocks carry the chain on through y itself. Products with
 *     few columns sum in lanes instead (matmul_dot.c); (n, k) and the strides choose, never m.
 * (b) Register tile mr x nv vectors, row counts balanced (32 rows are 11 + 11 + 10, not 14 + 14 + 4); the fewer the
 *     rows, the wider, so that w is read in long runs. One always-inline body, instantiated by TILE_PAIR for every
 *     (mr, nv). Rejected: one tile size with scalar edges (edges dominate at the sizes this engine is for), and
 *     run-time code generation (no assembler to ship).
 * (c) Loops: k-blocks, groups of columns, row tiles, the group's vector panels. The group's w, KC x NC, stays in L2
 *     over the rows, and x comes through L1 again for each group, which the loop hides: from L2 it runs at 97 % of the
 *     peak with 8 rows as with 14. What costs is y, read and written once more per k-block, so KC is large. A first
 *     tile asks for the lines of w that its right neighbour needs, one step of k at a time; y's lines are fetched a
 *     tile ahead. Rejected: panels outside, tiles inside (10-20 % slower: y and w walked two lines at a time), and
 *     prefetches of x, or of w in bursts (up to a third slower); y's fetched inside the k loop (1 % of 1024^3, but
 *     4-10 % more instructions in small products).
 * (d) w is packed into panels where its rows are not contiguous, or where it is large and enough rows of x reuse it.
 *     Where its rows are contiguous, the first tile of rows reads it in place and stores the panels as it multiplies:
 *     stores are free in a loop that waits for the multipliers (a pass of its own took 2 % of 1024^3, 3 % at batch
 *     256). x is read in place. Where its rows are a multiple of a page apart, the lines of a tile fall into one set
 *     of L1, so a tile has no more rows than that set has ways to spare; one tile alone is copied instead. Rejected:
 *     always packing, which loses 3-5 % at batch 128 and doubles the time of tiny products, and copying all of x,
 *     block by block, for tiles of 14 rows (3 % of 1024^3 for the copy, nothing gained).
 * (e) One or two rows of x against a w that lies beyond L2: w is walked in blocks of whole rows, as the time is that
 *     of reading it once.
 * (f) A narrow product whose x is stored by columns is computed transposed, y' = w' x': its vectors go along x's
 *     columns.
 * (g) The epilogue is an elementwise program over the finished rows, while they are in L1/L2. Rejected: an epilogue in
 *     the micro-kernel's registers, a second interpreter for what is a few percent of the product's time.
 */

/* The compiler no longer knows p's value: it would compute all of c's row pointers before the k loop, and spill them. */
#define FORGET(p) __asm__("" : "+r"(p))

/* c(mr, nv * VL) = [bias or c] + a(mr, kc) b(kc, nv * VL); the last vector has `last` valid columns, b_last in b.
 * a: element (i, p) at a[i * a_row + p * a_col]; adjacent means a_row == 1. b + ahead is fetched, b's own line with 0.
 * Rows go in groups of three, pointer + {0, 1, 2} * a_row: x86 has no registers for 14 row pointers.
 * b is copied to panel(kc, nv * VL), unless that is 0. */
HF_INLINE void tile(const int mr, const int nv, const int adjacent, real *panel, int64_t kc, const real *a,
                    int64_t a_row, int64_t a_col, const real *b, int64_t b_row, int64_t ahead, int b_last, real *c,
                    int64_t c_row, int last, const real *bias, int first) {
  vreal acc[16][16];
  if (adjacent) a_row = 1;
  if (first) {
    UNROLL for (int j = 0; j < nv; j++) {
      vreal v = vset1((real)0);
      if (bias) v = j == nv - 1 && last < VL ? vload_n(bias + j * VL, last) : vload(bias + j * VL);
      UNROLL for (int i = 0; i < mr; i++) acc[i][j] = v;
    }
  } else {
    const real *p = c;
    FORGET(p);
    UNROLL for (int i = 0; i < mr; i++, p += c_row) {
      UNROLL for (int j = 0; j < nv; j++) {
        const int partial = j == nv - 1 && last < VL;
        acc[i][j] = partial ? vload_n(p + j * VL, last) : vload(p + j * VL);
      }
    }
  }
  const real *group[6];
  UNROLL for (int g = 0; g < (mr + 2) / 3; g++) group[g] = a + 3 * g * a_row;
#define K_STEP(LOAD_LAST)                                                 \
  {                                                                       \
    vreal bv[16];                                                          \
    UNROLL for (int j = 0; j < nv && nv <= 4; j += 64 / (VL * (int)sizeof(real)))                         \
      __builtin_prefetch(b + ahead + j * VL, 0, 2);                       \
    UNROLL for (int j = 0; j < nv - 1; j++) bv[j] = vload(b + j * VL);    \
    bv[nv - 1] = LOAD_LAST;                                               \
    if (panel) {                                                          \
      UNROLL for (int j = 0; j < nv; j++) vstore(panel + j * VL, bv[j]);  \
      panel += nv * VL;                                                   \
    }                                                                     \
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
  FORGET(c);
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
                        int64_t ahead, int b_last, real *c, int64_t c_row, int last, const real *bias, int first);

#define TILE(mr, nv, adjacent, name)                                                                                \
  NOINLINE void name(int64_t kc, const real *a, int64_t a_row, int64_t a_col, const real *b, int64_t b_row,          \
                     int64_t ahead, int b_last, real *c, int64_t c_row, int last, const real *bias, int first) {   \
    tile((mr) <= MR##nv ? (mr) : 1, nv, adjacent, 0, kc, a, a_row, a_col, b, b_row, ahead, b_last, c, c_row, last,   \
         bias, first);                                                                                               \
  }
#define TILE_PAIR(mr, nv) TILE(mr, nv, 0, tile_##mr##x##nv##_rows) TILE(mr, nv, 1, tile_##mr##x##nv##_adjacent)
// clang-format off
TILE_PAIR(1, 1) TILE_PAIR(2, 1) TILE_PAIR(3, 1) TILE_PAIR(4, 1) TILE_PAIR(5, 1) TILE_PAIR(6, 1) TILE_PAIR(7, 1)
TILE_PAIR(8, 1) TILE_PAIR(9, 1) TILE_PAIR(10, 1) TILE_PAIR(11, 1) TILE_PAIR(12, 1) TILE_PAIR(13, 1) TILE_PAIR(14, 1)
TILE_PAIR(15, 1) TILE_PAIR(16, 1)
TILE_PAIR(1, 2) TILE_PAIR(2, 2) TILE_PAIR(3, 2) TILE_PAIR(4, 2) TILE_PAIR(5, 2) TILE_PAIR(6, 2) TILE_PAIR(7, 2)
TILE_PAIR(8, 2) TILE_PAIR(9, 2) TILE_PAIR(10, 2) TILE_PAIR(11, 2) TILE_PAIR(12, 2) TILE_PAIR(13, 2) TILE_PAIR(14, 2)
TILE_PAIR(1, 4) TILE_PAIR(2, 4) TILE_PAIR(3, 4) TILE_PAIR(4, 4) TILE_PAIR(5, 4) TILE_PAIR(6, 4)
TILE_PAIR(1, 8) TILE_PAIR(2, 8) TILE_PAIR(3, 8) TILE_PAIR(1, 16)

#define ROWS3(nv, kind) 0, tile_1x##nv##_##kind, tile_2x##nv##_##kind, tile_3x##nv##_##kind
#define ROWS6(nv, kind) ROWS3(nv, kind), tile_4x##nv##_##kind, tile_5x##nv##_##kind, tile_6x##nv##_##kind
#define ROWS14(nv, kind)                                                                                        \
  ROWS6(nv, kind), tile_7x##nv##_##kind, tile_8x##nv##_##kind, tile_9x##nv##_##kind, tile_10x##nv##_##kind,     \
      tile_11x##nv##_##kind, tile_12x##nv##_##kind, tile_13x##nv##_##kind, tile_14x##nv##_##kind
#define ROWS16(nv, kind) ROWS14(nv, kind), tile_15x##nv##_##kind, tile_16x##nv##_##kind
/* [rows adjacent][log2(nv)][mr] */
static const tile_fn tiles[2][5][17] = {
    {{ROWS16(1, rows)}, {ROWS14(2, rows)}, {ROWS6(4, rows)}, {ROWS3(8, rows)}, {0, tile_1x16_rows}},
    {{ROWS16(1, adjacent)}, {ROWS14(2, adjacent)}, {ROWS6(4, adjacent)}, {ROWS3(8, adjacent)}, {0, tile_1x16_adjacent}}};
// clang-format on

/* The first rows of a product that packs w: their tiles read w in place, and write the panel while they multiply. */
enum { PACK_ROWS = (int)MR2 < (int)SET_ROWS ? (int)MR2 : (int)SET_ROWS };
#define PACKING_TILE(adjacent, name)                                                                                   \
  NOINLINE void name(real *panel, int64_t kc, const real *a, int64_t a_row, int64_t a_col, const real *b,             \
                     int64_t b_row, int64_t ahead, real *c, int64_t c_row, const real *bias, int first) {             \
    if (!panel) __builtin_unreachable();                                                                              \
    tile(PACK_ROWS, 2, adjacent, panel, kc, a, a_row, a_col, b, b_row, ahead, VL, c, c_row, VL, bias, first);         \
  }
PACKING_TILE(0, packing_tile_rows)
PACKING_TILE(1, packing_tile_adjacent)

/* The step that cuts `size` into the fewest parts of at most `max`, of about the same size. */
static int64_t balanced(int64_t size, int64_t max) {
  if (size <= max) return size;
  const int64_t n = (size + max - 1) / max;
  return (size + n - 1) / n;
}

/* y rows [r0, r1), columns [c0, c1). */
static void multiply_region(const hf_matmul_args *a, char *scratch, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
  const int64_t n = a->n, k = a->k, rows = r1 - r0, cols = c1 - c0;
  const real *x = (const real *)a->x + r0 * a->x_row, *w = a->w, *bias = a->bias;
  real *y = (real *)a->y + r0 * n, *panels = (real *)scratch, *x_tile = panels + KC * NC;
  static const int max[] = {MR1, MR2, MR4, MR8, MR16};
  int shape = cols > VL; /* panels of 1 << shape vectors: the widest that still has room for these rows */
  while (shape && shape < 4 && rows <= max[shape + 1] && cols > VL << shape) shape++;
  const int64_t width = VL << shape, bytes = sizeof(real);
  /* x's lines, one per row of a tile or per k, fall into one set of the L1 cache */
  const int same_set = (a->x_row == 1 ? a->x_col : a->x_row) * bytes % 4096 == 0;
  const int narrow = max[shape] * bytes < 48; /* of each line of x, a tile of adjacent rows uses a part */
  const int packed_x =
      same_set && cols >= 2 * NC &&
      (a->x_row == 1 ? narrow && rows > max[shape] : a->x_col == 1 && rows > SET_ROWS && rows <= max[shape]);
  const int64_t mr_max = same_set && a->x_row != 1 && !packed_x && max[shape] > SET_ROWS ? SET_ROWS : max[shape];
  const int packed_w =
      a->w_col != 1 || (rows >= 8 * mr_max && a->w_row * bytes >= 4096) || (rows > mr_max && cols % VL && !MASKED);
  const int64_t pack_rows = packed_w && a->w_col == 1 && shape == 1 ? PACK_ROWS : 0;
  /* w is used once, and comes from L3 or memory: read it by whole rows */
  const int stream = !packed_w && rows <= 2 && cols * k * bytes >= 1 << 20;
  const int64_t k_max = stream ? STREAM : packed_w && shape > 1 ? KC / 2 : KC, k_step = balanced(k, k_max);
  int64_t group = packed_w && shape <= 1 ? NC : 2 * NC;
  if (stream || (packed_x && !packed_w && rows <= mr_max)) group = cols;
  const int64_t mr_step = balanced(rows - pack_rows, mr_max);
  int64_t k0 = 0;
  do { /* once even with k == 0 */
    const int64_t kc = k - k0 < k_step ? k - k0 : k_step;
    for (int64_t g0 = c0; g0 < c1; g0 += group) {
      const int64_t g1 = c1 - g0 < group ? c1 : g0 + group;
      const int64_t whole = pack_rows ? (g1 - g0) & -width : 0; /* columns in whole panels */
      const real *wg = w + k0 * a->w_row + g0 * a->w_col;
      if (packed_w && whole < g1 - g0)
        pack_w(panels + whole * kc, width, wg + whole * a->w_col, a->w_row, a->w_col, kc, g1 - g0 - whole);
      for (int64_t i = 0, mr; i < rows; i += mr) {
        mr = i < pack_rows ? pack_rows : rows - i < mr_step ? rows - i : mr_step;
        const real *at = x + i * a->x_row + k0 * a->x_col;
        int64_t a_row = a->x_row, a_col = a->x_col;
        if (packed_x) {
          pack_x(x_tile, at, a_row, a_col, mr, kc);
          at = x_tile;
          a_row = 1;
          a_col = mr;
        }
        for (int64_t j = g0, nv; j < g1; j += nv * VL) {
          const int64_t left = g1 - j;
          int s = shape;
          while (s > 0 && left <= ((1 << s) - 1) * VL) s--;
          nv = 1 << s;
          const int last = left < nv * VL ? (int)(left - (nv - 1) * VL) : VL;
          real *panel = panels + ((j - g0) & -width) * kc + ((j - g0) & (width - 1));
          real *c = y + i * n + j;
          if (kc >= 128) { /* y's lines of the next tile */
            const real *next = left > nv * VL ? c + nv * VL : c + mr * n + g0 - j;
            if (left > nv * VL || i + mr < rows)
              for (int64_t q = 0; q < mr; q++)
                for (int64_t v = 0; v < nv; v++) __builtin_prefetch(next + q * n + v * VL, 1, 3);
          }
          const int64_t ahead = i == 0 && left > nv * VL ? nv * VL : 0; /* w's next lines */
          const real *from = wg + (j - g0), *start = bias ? bias + j : 0;
          if (i < pack_rows && j - g0 < whole)
            (a_row == 1 ? packing_tile_adjacent : packing_tile_rows)(panel, kc, at, a_row, a_col, from, a->w_row, ahead,
                                                                     c, n, start, k0 == 0);
          else if (packed_w)
            tiles[a_row == 1][s][mr](kc, at, a_row, a_col, panel, width, 0, VL, c, n, last, start, k0 == 0);
          else
            tiles[a_row == 1][s][mr](kc, at, a_row, a_col, from, a->w_row, ahead, last, c, n, last, start, k0 == 0);
        }
      }
    }
    k0 += k_step;
  } while (k0 < k);
}

/* All columns of y rows [r0, r1), n < LANES: y' = w' x' by strips of x's columns, whose vectors are contiguous. */
NOINLINE void multiply_transposed(const hf_matmul_args *a, char *scratch, int64_t r0, int64_t r1) {
  const int64_t n = a->n, k = a->k, k_step = balanced(k, KC), strip = 2 * VL;
  const int64_t mr_step = balanced(n, MR2);
  real *t = (real *)scratch; /* y'(n, strip) */
  for (int64_t i = r0; i < r1; i += strip) {
    const int64_t here = r1 - i < strip ? r1 - i : strip;
    const int s = here > VL;
    const int last = here < (VL << s) ? (int)(here - s * VL) : VL;
    for (int64_t j = 0; j < n; j++)
      for (int64_t l = 0; l < strip; l++) t[j * strip + l] = a->bias ? ((const real *)a->bias)[j] : 0;
    for (int64_t k0 = 0; k0 < k; k0 += k_step) {
      const int64_t kc = k - k0 < k_step ? k - k0 : k_step;
      for (int64_t j = 0; j < n; j += mr_step)
        tiles[a->w_col == 1][s][n - j < mr_step ? n - j : mr_step](
            kc, (const real *)a->w + k0 * a->w_row + j * a->w_col, a->w_col, a->w_row,
            (const real *)a->x + i + k0 * a->x_col, a->x_col, 0, last, t + j * strip, strip, VL, 0, 0);
    }
    real *y = (real *)a->y + i * n;
    for (int64_t l = 0; l < here; l++)
      for (int64_t j = 0; j < n; j++) y[l * n + j] = t[j * strip + l];
  }
}

static void cpu_matmul(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_matmul_args *a = args;
  const hf_region y = hf_matmul_region(a->by_cols, a->m, a->n, lo, hi);
  if (y.r0 >= y.r1 || y.c0 >= y.c1) return;
  if (is_dot(a))
    dot_region(a, ctx->scratch, y.r0, y.r1);
  else if (a->x_row == 1 && a->n < LANES && a->n % VL && a->m > VL)
    multiply_transposed(a, ctx->scratch, y.r0, y.r1);
  else
    multiply_region(a, ctx->scratch, y.r0, y.r1, y.c0, y.c1);
  if (a->epilogue.n_code) cpu_ewise_region(&a->epilogue, ctx, y.r0, y.r1, y.c0, y.c1);
}
