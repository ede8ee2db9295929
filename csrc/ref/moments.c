/* mean(u) = sum x / n, var(u) = sum (x - mean)^2 / n (biased), of each column of x(rows, cols), or of each row with
 * per_row. Two passes in double. n = 0 gives NaN. Units: cols, or rows with per_row. Writes with =. var may be NULL.
 * Outputs alias nothing and may be uninitialised. */
static void ref_moments(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_moments_args *p = args;
  const int64_t n = p->per_row ? p->cols : p->rows;
  const int64_t unit_stride = p->per_row ? p->cols : 1, step = p->per_row ? 1 : p->cols;
  for (int64_t u = lo; u < hi; u++) {
    const real *x = (const real *)p->x + u * unit_stride;
    double sum = 0, square = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i * step];
    const double mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) square += (x[i * step] - mean) * (x[i * step] - mean);
    ((real *)p->mean)[u] = (real)mean;
    if (p->var) ((real *)p->var)[u] = (real)(square / (double)n);
  }
}

/* dgamma(cols) = sum_rows dy * xhat, dbeta(cols) = sum_rows dy, xhat = (x - mean) * rstd, for dy, x (rows, cols);
 * mean and rstd are (rows) with per_row (layer norm), else (cols) (batch norm). Ioffe and Szegedy 2015; Ba et al. 2016.
 * Units: cols. Writes with =. Outputs alias nothing and may be uninitialised. */
static void ref_norm_grad(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_norm_grad_args *p = args;
  const real *dy = p->dy, *x = p->x, *mean = p->mean, *rstd = p->rstd;
  for (int64_t j = lo; j < hi; j++) {
    double dgamma = 0, dbeta = 0;
    for (int64_t i = 0; i < p->rows; i++) {
      const int64_t at = i * p->cols + j, s = p->per_row ? i : j;
      dgamma += dy[at] * ((double)x[at] - mean[s]) * rstd[s];
      dbeta += dy[at];
    }
    ((real *)p->dgamma)[j] = (real)dgamma;
    ((real *)p->dbeta)[j] = (real)dbeta;
  }
}
