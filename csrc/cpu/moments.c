/* Mean and variance, and the parameter gradients of the norms. Formulas and shapes: ref/moments.c.
 *
 * Design: columns in blocks of COLS and rows in chunks of CHUNK: 32 KB, so the second pass over a chunk (its squares
 * about its own mean) finds it in L1 or L2, and x comes from memory once. Chunks are merged by the formula of Chan,
 * Golub and LeVeque, "Algorithms for computing the sample variance" (1983). Rejected: E[x^2] - E[x]^2 (cancels) and
 * Welford per row (a division per element).
 */

/* mean(w), var(w) of the columns of x(rows, w), rows `cols` apart; w <= COLS. var may be NULL. */
static void moments_cols(real *mean, real *var, const real *x, int64_t rows, int64_t cols, int64_t w) {
  real m2[COLS], chunk_mean[COLS], chunk_m2[COLS];
  for (int64_t j = 0; j < w; j++) mean[j] = rows > 0 ? 0 : (real)NAN, m2[j] = 0;
  for (int64_t i = 0; i < rows; i += CHUNK) {
    const int64_t n = rows - i < CHUNK ? rows - i : CHUNK;
    const real *xc = x + i * cols;
    for (int64_t j = 0; j < w; j++) chunk_mean[j] = 0, chunk_m2[j] = 0;
    reduce_rows(HF_SUM, chunk_mean, xc, 0, cols, n, w);
    for (int64_t j = 0; j < w; j++) chunk_mean[j] /= (real)n;
    if (var) reduce_rows(SUM_SQUARES, chunk_m2, xc, chunk_mean, cols, n, w);
    const double total = (double)(i + n);
    const real share = (real)((double)n / total), spread = (real)((double)i * (double)n / total);
#pragma omp simd
    for (int64_t j = 0; j < w; j++) {
      const real delta = chunk_mean[j] - mean[j];
      mean[j] = hf_fma(delta, share, mean[j]);
      m2[j] = hf_fma(delta * delta, spread, m2[j] + chunk_m2[j]);
    }
  }
  for (int64_t j = 0; var && j < w; j++) var[j] = m2[j] / (real)rows;
}

/* Contract: ref_moments. */
static void cpu_moments(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_moments_args *p = args;
  const real *x = p->x;
  real *mean = p->mean, *var = p->var;
  if (p->per_row) {
    for (int64_t i = lo; i < hi; i++) {
      const real *row = x + i * p->cols, n = (real)p->cols;
      mean[i] = reduce_run(HF_SUM, row, p->cols, 0) / n;
      if (var) var[i] = reduce_run(SUM_SQUARES, row, p->cols, mean[i]) / n;
    }
    return;
  }
  for (int64_t j = lo; j < hi; j += COLS)
    moments_cols(mean + j, var ? var + j : 0, x + j, p->rows, p->cols, hi - j < COLS ? hi - j : COLS);
}

/* Columns [j0, j0 + w); w <= COLS. With statistics per column, rstd is taken out of the sum. */
HF_INLINE void norm_grad_cols(const int per_row, const hf_norm_grad_args *p, int64_t j0, int64_t w) {
  const real *mean = p->mean, *rstd = p->rstd;
  real *dgamma = (real *)p->dgamma + j0, *dbeta = (real *)p->dbeta + j0;
  real total_g[COLS], total_b[COLS], part_g[COLS], part_b[COLS];
  for (int64_t j = 0; j < w; j++) total_g[j] = 0, total_b[j] = 0;
  for (int64_t i0 = 0; i0 < p->rows; i0 += CHUNK) {
    const int64_t i1 = p->rows - i0 < CHUNK ? p->rows : i0 + CHUNK;
    for (int64_t j = 0; j < w; j++) part_g[j] = 0, part_b[j] = 0;
    for (int64_t i = i0; i < i1; i++) {
      const real *dy = (const real *)p->dy + i * p->cols + j0, *x = (const real *)p->x + i * p->cols + j0;
      const real row_mean = per_row ? mean[i] : 0, row_rstd = per_row ? rstd[i] : 0;
#pragma omp simd
      for (int64_t j = 0; j < w; j++) {
        const real centred = per_row ? (x[j] - row_mean) * row_rstd : x[j] - mean[j0 + j];
        part_g[j] = hf_fma(dy[j], centred, part_g[j]);
        part_b[j] += dy[j];
      }
    }
    for (int64_t j = 0; j < w; j++) total_g[j] += part_g[j], total_b[j] += part_b[j];
  }
  for (int64_t j = 0; j < w; j++) {
    dgamma[j] = per_row ? total_g[j] : total_g[j] * rstd[j0 + j];
    dbeta[j] = total_b[j];
  }
}

/* Contract: ref_norm_grad. */
static void cpu_norm_grad(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_norm_grad_args *p = args;
  for (int64_t j = lo; j < hi; j += COLS) {
    const int64_t w = hi - j < COLS ? hi - j : COLS;
    if (p->per_row)
      norm_grad_cols(1, p, j, w);
    else
      norm_grad_cols(0, p, j, w);
  }
}
