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

/* dgamma(cols) = sum_rows g * xhat, dbeta(cols) = sum_rows g, xhat = (x - mean) * rstd, for dy, x (rows, cols); g is dy or,
 * with scale(cols) and shift(cols) of a batch norm before a ReLU, dy where (x - mean) * scale + shift > 0, else 0;
 * mean and rstd are (rows) with per_row (layer norm), else (cols) (batch norm). Ioffe and Szegedy 2015; Ba et al. 2016.
 * Units: cols. Writes with =. Outputs alias nothing and may be uninitialised. */
static void ref_norm_grad(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_norm_grad_args *p = args;
  const real *dy = p->dy, *x = p->x, *mean = p->mean, *rstd = p->rstd, *scale = p->scale, *shift = p->shift;
  for (int64_t j = lo; j < hi; j++) {
    double dgamma = 0, dbeta = 0;
    for (int64_t i = 0; i < p->rows; i++) {
      const int64_t at = i * p->cols + j, s = p->per_row ? i : j;
      const double g = !scale || fma(x[at] - mean[j], scale[j], shift[j]) > 0 ? dy[at] : 0;
      dgamma += g * ((double)x[at] - mean[s]) * rstd[s];
      dbeta += g;
    }
    ((real *)p->dgamma)[j] = (real)dgamma;
    ((real *)p->dbeta)[j] = (real)dbeta;
  }
}

/* dx = rstd (h - mean_row(h) - xhat mean_row(h xhat)) with h = dy gamma, xhat = (x - mean) rstd, for dx, dy, x (rows, cols);
 * mean and rstd (rows), gamma (cols) or NULL: ones. The gradient of layer norm by its input (Ba et al. 2016).
 * Units: rows. Writes with =. dx may alias dy and x, and may be uninitialised. */
static void ref_norm_row_grad(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_norm_row_grad_args *p = args;
  const real *gamma = p->gamma;
  const int64_t n = p->cols;
  for (int64_t i = lo; i < hi; i++) {
    const real *dy = (const real *)p->dy + i * n, *x = (const real *)p->x + i * n;
    real *dx = (real *)p->dx + i * n;
    const double mean = ((const real *)p->mean)[i], rstd = ((const real *)p->rstd)[i];
    double sum = 0, along = 0;
    for (int64_t j = 0; j < n; j++) {
      const double h = (double)dy[j] * (gamma ? gamma[j] : 1);
      sum += h;
      along += h * ((x[j] - mean) * rstd);
    }
    for (int64_t j = 0; j < n; j++) {
      const double h = (double)dy[j] * (gamma ? gamma[j] : 1);
      dx[j] = (real)(rstd * (h - sum / (double)n - (x[j] - mean) * rstd * (along / (double)n)));
    }
  }
}
