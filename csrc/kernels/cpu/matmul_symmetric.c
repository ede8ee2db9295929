/* y(n, n) = scale x x' + add x + diagonal I; contract: ref_matmul_symmetric.
 *
 * Design: blocks of columns go from the diagonal down through matmul's tiles and are then mirrored, which reads and writes
 * half of y while it is in L1 or L2. A block is as wide as a tile, so that little above the diagonal is computed; w is
 * packed once per block. A unit joins a long and a short block: units cost the same. At n = 256 it takes 0.58 of the
 * product's time. Rejected: rows instead of columns (w would be packed anew for each block of rows), and an epilogue
 * program (a row of a block is too short for it).
 */

/* Rows from c0 on of columns [c0, c1): the sums become y, on both sides of the diagonal. */
static void symmetric_block(const hf_matmul_symmetric_args *a, int64_t c0, int64_t c1) {
  const int64_t n = a->n;
  const real scale = (real)a->scale, add = (real)a->add;
  real *y = a->y;
  for (int64_t i = c0; i < n; i++) {
    real *restrict row = y + i * n;
    const real *restrict x = (const real *)a->x + i * a->row;
    const int64_t end = i < c1 ? i + 1 : c1;
    if (add != 0) {
#pragma omp simd
      for (int64_t j = c0; j < end; j++) row[j] = hf_fma(add, x[j], scale * row[j]);
    } else if (scale != 1) {
#pragma omp simd
      for (int64_t j = c0; j < end; j++) row[j] *= scale;
    }
    if (i < c1) row[i] += (real)a->diagonal;
  }
  for (int64_t j0 = c0; j0 < c1; j0 += VL) {
    const int64_t j1 = j0 + VL < c1 ? j0 + VL : c1;
    int64_t i = j1;
    for (; i + VL <= n; i += VL) transpose(y + j0 * n + i, n, y + i * n + j0, n, VL, j1 - j0);
    for (; i < n; i++)
      for (int64_t j = j0; j < j1; j++) y[j * n + i] = y[i * n + j];
    for (i = j0; i < j1; i++)
      for (int64_t j = j0; j < i; j++) y[j * n + i] = y[i * n + j];
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
    if (!a->bf16) multiply_region(&product, ctx->scratch, c0, n, c0, c1);
    symmetric_block(a, c0, c1);
  }
}
