/* y(n, n) = scale x x' + add x + diagonal I; contract: ref_matmul_symmetric.
 *
 * Design: blocks of columns go from the diagonal down through matmul's tiles; the first 16 rows of a block need half of
 * its columns, and get no more. Then tiles of VL x VL are scaled, added to and mirrored in one pass, which reads and
 * writes half of y while it is in L1 or L2. w is packed once per block. A unit joins a long and a short block: units
 * cost the same. At n = 256 it takes 0.58 of the product's time. Rejected: rows instead of columns (w would be packed
 * anew for each block of rows), and an epilogue program (a row of a block is too short for it).
 */

/* y's block (rows, cols) at (i, j), i >= j and at most VL each: the sums become y, also on the other side of the diagonal.
 * A block on the diagonal has all of its sums, of which those above are those below. */
HF_INLINE void symmetric_tile(const hf_matmul_symmetric_args *a, int64_t i, int64_t j, int64_t rows, int64_t cols,
                              const int whole) {
  const int64_t n = a->n;
  const vreal scale = vset1((real)a->scale), add = vset1((real)a->add);
  real *y = (real *)a->y + i * n + j;
  const real *x = (const real *)a->x + i * a->row + j; /* where add is not 0, x(n, n) */
  vreal v[VL];
  UNROLL for (int r = 0; r < VL; r++) {
    const int64_t at = whole || r < rows ? r : 0;
    v[r] = whole ? vload(y + at * n) : vload_n(y + at * n, (int)cols);
  }
  if (a->add != 0 || a->scale != 1) {
    UNROLL for (int r = 0; r < VL; r++) {
      const int64_t at = whole || r < rows ? r : 0;
      v[r] = v[r] * scale;
      if (a->add != 0) v[r] = vfma(add, whole ? vload(x + at * a->row) : vload_n(x + at * a->row, (int)cols), v[r]);
    }
    UNROLL for (int r = 0; r < VL; r++) {
      if (whole)
        vstore(y + r * n, v[r]);
      else if (r < rows)
        vstore_n(y + r * n, v[r], (int)cols);
    }
  }
  if (i == j) {
    if (a->diagonal != 0)
      for (int64_t r = 0; r < rows; r++) y[r * n + r] += (real)a->diagonal;
    return;
  }
  vtranspose(v);
  real *mirror = (real *)a->y + j * n + i;
  UNROLL for (int c = 0; c < VL; c++) {
    if (whole)
      vstore(mirror + c * n, v[c]);
    else if (c < cols)
      vstore_n(mirror + c * n, v[c], (int)rows);
  }
}

/* Columns [c0, c1) from the diagonal down. */
static void symmetric_block(const hf_matmul_symmetric_args *a, int64_t c0, int64_t c1) {
  for (int64_t j = c0; j < c1; j += VL) {
    const int64_t cols = c1 - j < VL ? c1 - j : VL;
    for (int64_t i = j; i < a->n; i += VL) {
      const int64_t rows = a->n - i < VL ? a->n - i : VL;
      if (rows == VL && cols == VL)
        symmetric_tile(a, i, j, VL, VL, 1);
      else
        symmetric_tile(a, i, j, rows, cols, 0);
    }
  }
}

static void cpu_matmul_symmetric(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_matmul_symmetric_args *a = args;
  const int64_t n = a->n, size = HF_SYMMETRIC_BLOCK << (a->bf16 != 0), blocks = (n + size - 1) / size;
  const hf_matmul_args product = {.y = a->y,
                                  .x = a->x,
                                  .w = a->x,
                                  .m = n,
                                  .n = n,
                                  .k = a->k,
                                  .x_row = a->row,
                                  .x_col = a->col,
                                  .w_row = a->square ? a->row : a->col,
                                  .w_col = a->square ? a->col : a->row};
#if defined(HF_ISA_avx512) && !defined(HF_F64)
  if (a->bf16) {
    hf_matmul_bf16_args rounded; /* its struct is that of matmul */
    memcpy(&rounded, &product, sizeof rounded);
    multiply_bf16_below(&rounded, ctx->scratch, lo, hi);
  }
#endif
  for (int64_t b = lo; b < blocks - lo; b++) {
    if (b >= hi && b < blocks - hi) continue;
    const int64_t c0 = b * size, c1 = c0 + size < n ? c0 + size : n;
    if (!a->bf16) {
      const int64_t half = c0 + size / 2 < c1 ? size / 2 : 0; /* rows that need half of the columns */
      if (half) multiply_region(&product, ctx->scratch, c0, c0 + half, c0, c0 + half);
      multiply_region(&product, ctx->scratch, c0 + half, n, c0, c1);
    }
    symmetric_block(a, c0, c1);
  }
}
