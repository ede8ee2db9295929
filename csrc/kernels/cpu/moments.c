/* Mean and variance, and the parameter gradients of the norms. Formulas and shapes: ref/moments.c.
 *
 * Design: one pass. A chunk of rows is summed about the mean of all rows before it, and merged into that mean and the sum of
 * squares M by the formula of Chan, Golub and LeVeque, "Algorithms for computing the sample variance" (1983). With d the
 * chunk's distance from that mean, squares about the wrong mean cost an error of n d^2 ulp, and merging adds
 * n d^2 i / (i + n) to M for n rows after i: as chunks grow by no more than three times what is there, the error stays
 * within 4 ulp of M, whatever the data. Rejected: E[x^2] - E[x]^2 (cancels), Welford per row (a division per element), and
 * a second pass for the squares (half the speed where x does not fit in L1). Columns in blocks of COLS, four rows at a time:
 * see reduce.c. Where x is larger than an L2, rows are asked for ROWS_AHEAD ahead.
 */

enum { ROWS_AHEAD = 8 };

/* sum(w) += rows [0, n) of x - center, squares(w) += its squares. Rows `stride` apart. */
HF_INLINE void moments_rows(real *restrict sum, real *restrict squares, const real *x, const real *restrict center,
                            int64_t stride, int64_t n, int64_t w, int far) {
  int64_t k = 0;
  for (; k + 4 <= n; k += 4) {
    const real *r = x + k * stride;
    for (int64_t a = ROWS_AHEAD; far && a < ROWS_AHEAD + 4; a++) prefetch_run(r + a * stride, w);
#pragma omp simd
    for (int64_t j = 0; j < w; j++) {
      const real a = r[j] - center[j], b = r[j + stride] - center[j];
      const real c = r[j + 2 * stride] - center[j], d = r[j + 3 * stride] - center[j];
      sum[j] += (a + b) + (c + d);
      squares[j] += hf_fma(a, a, b * b) + hf_fma(c, c, d * d);
    }
  }
  for (; k < n; k++) {
#pragma omp simd
    for (int64_t j = 0; j < w; j++) {
      const real a = x[k * stride + j] - center[j];
      sum[j] += a;
      squares[j] = hf_fma(a, a, squares[j]);
    }
  }
}

/* mean(w), var(w) of the columns of x(rows, w), rows `cols` apart; w <= COLS. var may be NULL. */
static void moments_cols(real *mean, real *var, const real *x, int64_t rows, int64_t cols, int64_t w) {
  real center[COLS], m2[COLS], sum[COLS], squares[COLS];
  for (int64_t j = 0; j < w; j++) center[j] = rows > 0 ? x[j] : (real)NAN, m2[j] = 0;
  for (int64_t i = 1, n; i < rows; i += n) {
    n = 3 * i < CHUNK ? 3 * i : CHUNK;
    n = rows - i < n ? rows - i : n;
    for (int64_t j = 0; j < w; j++) sum[j] = 0, squares[j] = 0;
    moments_rows(sum, squares, x + i * cols, center, cols, n, w, rows * cols >= FAR_BYTES / (int64_t)sizeof(real));
    const real each = (real)(1.0 / (double)n), share = (real)(1.0 / (double)(i + n));
    const real spread = (real)((double)i / (double)(i + n));
#pragma omp simd
    for (int64_t j = 0; j < w; j++) {
      const real d = sum[j] * each; /* the chunk's mean - center */
      m2[j] += hf_fma(-sum[j], d, squares[j]) + sum[j] * d * spread;
      center[j] = hf_fma(sum[j], share, center[j]);
    }
  }
  for (int64_t j = 0; j < w; j++) {
    mean[j] = center[j];
    if (var) var[j] = (m2[j] > 0 || m2[j] != m2[j] ? m2[j] : 0) / (real)rows;
  }
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

/* Columns [j0, j0 + w); w <= COLS. With statistics per column, rstd is taken out of the sum. `relu`: of dy, only what is
 * where (x - mean) scale + shift > 0. */
HF_INLINE void norm_grad_cols(const int per_row, const int relu, const hf_norm_grad_args *p, int64_t j0, int64_t w) {
  const real *mean = p->mean, *rstd = p->rstd;
  const real *scale = relu ? (const real *)p->scale + j0 : 0, *shift = relu ? (const real *)p->shift + j0 : 0;
  real *dgamma = (real *)p->dgamma + j0, *dbeta = (real *)p->dbeta + j0;
  real total_g[COLS], total_b[COLS], part_g[COLS], part_b[COLS];
  const int64_t cols = p->cols;
  const int far = p->rows * cols >= FAR_BYTES / (int64_t)sizeof(real);
  for (int64_t j = 0; j < w; j++) total_g[j] = 0, total_b[j] = 0;
  for (int64_t i0 = 0; i0 < p->rows; i0 += CHUNK) {
    const int64_t i1 = p->rows - i0 < CHUNK ? p->rows : i0 + CHUNK;
    for (int64_t j = 0; j < w; j++) part_g[j] = 0, part_b[j] = 0;
    for (int64_t i = i0; i < i1;) {
      const real *dy = (const real *)p->dy + i * cols + j0, *x = (const real *)p->x + i * cols + j0;
#define TERM(r)                                                                                                     \
  const real centred##r =                                                                                           \
      per_row ? (x[j + r * cols] - mean[i + r]) * rstd[i + r] : x[j + r * cols] - mean[j0 + j];                     \
  const real all##r = dy[j + r * cols];                                                                             \
  const real g##r = !relu || hf_fma(centred##r, scale[j], shift[j]) > 0 ? all##r : 0
      if (i + 4 <= i1) {
        for (int64_t a = ROWS_AHEAD; far && a < ROWS_AHEAD + 4; a++)
          prefetch_run(x + a * cols, w), prefetch_run(dy + a * cols, w);
#pragma omp simd
        for (int64_t j = 0; j < w; j++) {
          TERM(0);
          TERM(1);
          TERM(2);
          TERM(3);
          part_g[j] = hf_fma(g3, centred3, hf_fma(g2, centred2, hf_fma(g1, centred1, hf_fma(g0, centred0, part_g[j]))));
          part_b[j] += (g0 + g1) + (g2 + g3);
        }
        i += 4;
      } else {
#pragma omp simd
        for (int64_t j = 0; j < w; j++) {
          TERM(0);
          part_g[j] = hf_fma(g0, centred0, part_g[j]);
          part_b[j] += g0;
        }
        i++;
      }
#undef TERM
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
      norm_grad_cols(1, 0, p, j, w);
    else if (p->scale)
      norm_grad_cols(0, 1, p, j, w);
    else
      norm_grad_cols(0, 0, p, j, w);
  }
}

/* A row of n; lanes, chunks and tree as in reduce_run. */
HF_INLINE void norm_row_grad_row(const int scaled, real *dx, const real *dy, const real *x, const real *gamma,
                                 int64_t n, real mean, real rstd) {
  real sum[LANES] = {0}, along[LANES] = {0};
  for (int64_t i = 0; i < n;) {
    const int64_t end = n - i < CHUNK * LANES ? n : i + CHUNK * LANES;
    real part_sum[LANES] = {0}, part_along[LANES] = {0};
    for (; i + LANES <= end; i += LANES) FOR_LANES {
        const real h = scaled ? dy[i + l] * gamma[i + l] : dy[i + l];
        part_sum[l] += h;
        part_along[l] = hf_fma(h, x[i + l] - mean, part_along[l]);
      }
    for (int l = 0; i < end; i++, l++) {
      const real h = scaled ? dy[i] * gamma[i] : dy[i];
      part_sum[l] += h;
      part_along[l] = hf_fma(h, x[i] - mean, part_along[l]);
    }
    FOR_LANES sum[l] += part_sum[l], along[l] += part_along[l];
  }
  const real m = reduce_tree(HF_SUM, sum) / (real)n, slope = reduce_tree(HF_SUM, along) / (real)n * rstd * rstd;
#pragma omp simd
  for (int64_t j = 0; j < n; j++) {
    const real h = scaled ? dy[j] * gamma[j] : dy[j];
    dx[j] = hf_fma(mean - x[j], slope, h - m) * rstd;
  }
}

/* Contract: ref_norm_row_grad. */
static void cpu_norm_row_grad(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_norm_row_grad_args *p = args;
  const real *mean = p->mean, *rstd = p->rstd;
  for (int64_t i = lo; i < hi; i++) {
    const real *dy = (const real *)p->dy + i * p->cols, *x = (const real *)p->x + i * p->cols;
    real *dx = (real *)p->dx + i * p->cols;
    if (p->gamma)
      norm_row_grad_row(1, dx, dy, x, p->gamma, p->cols, mean[i], rstd[i]);
    else
      norm_row_grad_row(0, dx, dy, x, 0, p->cols, mean[i], rstd[i]);
  }
}
