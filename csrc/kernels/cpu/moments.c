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
  for (int64_t j = 0; j < w; j++) {
    center[j] = rows > 0 ? x[j] : (real)NAN;
    m2[j] = rows > 0 ? x[j] - x[j] : 0; /* 0, or NaN: the variance of one row that is not finite */
  }
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

/* Contract: ref_moments. A single column is a run, except where the units are columns. */
static void cpu_moments(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_moments_args *p = args;
  const real *x = p->x;
  real *mean = p->mean, *var = p->var;
  if (p->inner == 1 && !p->by_inner) {
    for (int64_t i = lo; i < hi; i++) {
      const real *row = x + i * p->red, n = (real)p->red;
      mean[i] = reduce_run(HF_SUM, row, p->red, 0) / n;
      if (var) var[i] = reduce_run(SUM_SQUARES, row, p->red, mean[i]) / n;
    }
    return;
  }
  const int64_t o0 = p->by_inner ? 0 : lo, o1 = p->by_inner ? p->outer : hi;
  const int64_t i0 = p->by_inner ? lo : 0, i1 = p->by_inner ? hi : p->inner;
  for (int64_t o = o0; o < o1; o++)
    for (int64_t i = i0; i < i1; i += COLS) {
      const int64_t to = o * p->inner + i, w = i1 - i < COLS ? i1 - i : COLS;
      moments_cols(mean + to, var ? var + to : 0, x + o * p->red * p->inner + i, p->red, p->inner, w);
    }
}

/* Columns [j0, j0 + w) of outer o; w <= COLS. With statistics per column, rstd is taken out of the sum. `relu`: of dy, only
 * what is where (x - mean) scale + shift > 0. */
HF_INLINE void norm_grad_cols(const int by_red, const int relu, const hf_norm_grad_args *p, int64_t o, int64_t j0,
                              int64_t w) {
  const int64_t cols = p->inner, to = o * cols + j0, statistics = by_red ? o * p->red : to;
  const real *mean = (const real *)p->mean + statistics, *rstd = (const real *)p->rstd + statistics;
  const real *scale = relu ? (const real *)p->scale + to : 0, *shift = relu ? (const real *)p->shift + to : 0;
  const real *dy0 = (const real *)p->dy + o * p->red * cols + j0, *x0 = (const real *)p->x + o * p->red * cols + j0;
  real *dgamma = (real *)p->dgamma + to, *dbeta = (real *)p->dbeta + to;
  real total_g[COLS], total_b[COLS], part_g[COLS], part_b[COLS];
  const int far = p->red * cols >= FAR_BYTES / (int64_t)sizeof(real);
  for (int64_t j = 0; j < w; j++) total_g[j] = 0, total_b[j] = 0;
  for (int64_t i0 = 0; i0 < p->red; i0 += CHUNK) {
    const int64_t i1 = p->red - i0 < CHUNK ? p->red : i0 + CHUNK;
    for (int64_t j = 0; j < w; j++) part_g[j] = 0, part_b[j] = 0;
    for (int64_t i = i0; i < i1;) {
      const real *dy = dy0 + i * cols, *x = x0 + i * cols;
#define TERM(r)                                                                                                     \
  const real centred##r =                                                                                           \
      by_red ? (x[j + r * cols] - mean[i + r]) * rstd[i + r] : x[j + r * cols] - mean[j];                           \
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
    dgamma[j] = by_red ? total_g[j] : total_g[j] * rstd[j];
    dbeta[j] = total_b[j];
  }
}

/* dgamma and dbeta of a run of n with statistics of its own; lanes, chunks and tree as in reduce_run. */
HF_INLINE void norm_grad_run(const int relu, real *dgamma, real *dbeta, const real *dy, const real *x, int64_t n,
                             real mean, real rstd, real scale, real shift) {
  real total_g[LANES] = {0}, total_b[LANES] = {0};
  for (int64_t i = 0; i < n;) {
    const int64_t end = n - i < CHUNK * LANES ? n : i + CHUNK * LANES;
    real part_g[LANES] = {0}, part_b[LANES] = {0};
#define TERM                                                                        \
  const real centred = x[i + l] - mean, all = dy[i + l];                            \
  const real g = !relu || hf_fma(centred, scale, shift) > 0 ? all : 0;              \
  part_g[l] = hf_fma(g, centred, part_g[l]);                                        \
  part_b[l] += g
    for (; i + LANES <= end; i += LANES) FOR_LANES {
        TERM;
      }
    for (int l = 0; i + l < end; l++) {
      TERM;
    }
#undef TERM
    i = end;
    FOR_LANES total_g[l] += part_g[l], total_b[l] += part_b[l];
  }
  *dgamma = reduce_tree(HF_SUM, total_g) * rstd;
  *dbeta = reduce_tree(HF_SUM, total_b);
}

/* Contract: ref_norm_grad. A single column is a run, except where the units are columns or statistics are by red. */
static void cpu_norm_grad(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_norm_grad_args *p = args;
  const real *scale = p->scale, *shift = p->shift, *mean = p->mean, *rstd = p->rstd;
  real *dgamma = p->dgamma, *dbeta = p->dbeta;
  if (p->inner == 1 && !p->by_inner && !p->by_red) {
    for (int64_t o = lo; o < hi; o++) {
      const real *dy = (const real *)p->dy + o * p->red, *x = (const real *)p->x + o * p->red;
      if (scale)
        norm_grad_run(1, dgamma + o, dbeta + o, dy, x, p->red, mean[o], rstd[o], scale[o], shift[o]);
      else
        norm_grad_run(0, dgamma + o, dbeta + o, dy, x, p->red, mean[o], rstd[o], 0, 0);
    }
    return;
  }
  const int64_t o0 = p->by_inner ? 0 : lo, o1 = p->by_inner ? p->outer : hi;
  const int64_t i0 = p->by_inner ? lo : 0, i1 = p->by_inner ? hi : p->inner;
  for (int64_t o = o0; o < o1; o++)
    for (int64_t j = i0; j < i1; j += COLS) {
      const int64_t w = i1 - j < COLS ? i1 - j : COLS;
      if (p->by_red)
        norm_grad_cols(1, 0, p, o, j, w);
      else if (scale)
        norm_grad_cols(0, 1, p, o, j, w);
      else
        norm_grad_cols(0, 0, p, o, j, w);
    }
}

/* A row of n; lanes, chunks and tree as in reduce_run. centred: of a layer norm; else of an RMS norm, whose mean is 0. */
HF_INLINE void norm_row_grad_row(const int scaled, const int centred, real *dx, const real *dy, const real *x,
                                 const real *gamma, int64_t n, real mean, real rstd) {
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
  const real m = centred ? reduce_tree(HF_SUM, sum) / (real)n : 0,
             slope = reduce_tree(HF_SUM, along) / (real)n * rstd * rstd;
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
    if (!mean)
      norm_row_grad_row(p->gamma != 0, 0, dx, dy, x, p->gamma, p->cols, 0, rstd[i]);
    else if (p->gamma)
      norm_row_grad_row(1, 1, dx, dy, x, p->gamma, p->cols, mean[i], rstd[i]);
    else
      norm_row_grad_row(0, 1, dx, dy, x, 0, p->cols, mean[i], rstd[i]);
  }
}
