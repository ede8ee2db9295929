/* mean(outer, inner) = sum_red x / red, var(outer, inner) = sum_red (x - mean)^2 / red (biased) of x(outer, red, inner). Two
 * passes in double. red = 0 gives NaN. Units: outer, or inner with by_inner. Writes with =. var may be NULL.
 * Outputs alias nothing and may be uninitialised. */
static void ref_moments(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_moments_args *p = args;
  const int64_t outer0 = p->by_inner ? 0 : lo, outer1 = p->by_inner ? p->outer : hi;
  const int64_t inner0 = p->by_inner ? lo : 0, inner1 = p->by_inner ? hi : p->inner;
  for (int64_t o = outer0; o < outer1; o++) {
    for (int64_t i = inner0; i < inner1; i++) {
      const real *x = (const real *)p->x + o * p->red * p->inner + i;
      double sum = 0, square = 0;
      for (int64_t k = 0; k < p->red; k++) sum += x[k * p->inner];
      const double mean = sum / (double)p->red;
      for (int64_t k = 0; k < p->red; k++) square += (x[k * p->inner] - mean) * (x[k * p->inner] - mean);
      ((real *)p->mean)[o * p->inner + i] = (real)mean;
      if (p->var) ((real *)p->var)[o * p->inner + i] = (real)(square / (double)p->red);
    }
  }
}

/* dgamma(outer, inner) = sum_red g * xhat, dbeta(outer, inner) = sum_red g, xhat = (x - mean) * rstd, for dy, x (outer, red,
 * inner); g is dy or, with scale and shift (outer, inner) of a batch norm before a ReLU, dy where
 * (x - mean) * scale + shift > 0, else 0; mean and rstd are (outer, inner), or (outer, red) with by_red (layer norm).
 * Ioffe and Szegedy 2015; Ba et al. 2016; Ulyanov et al. 2016; Wu and He 2018.
 * Units: outer, or inner with by_inner. Writes with =. Outputs alias nothing and may be uninitialised. */
static void ref_norm_grad(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_norm_grad_args *p = args;
  const real *dy = p->dy, *x = p->x, *mean = p->mean, *rstd = p->rstd, *scale = p->scale, *shift = p->shift;
  const int64_t outer0 = p->by_inner ? 0 : lo, outer1 = p->by_inner ? p->outer : hi;
  const int64_t inner0 = p->by_inner ? lo : 0, inner1 = p->by_inner ? hi : p->inner;
  for (int64_t o = outer0; o < outer1; o++) {
    for (int64_t i = inner0; i < inner1; i++) {
      const int64_t to = o * p->inner + i;
      double dgamma = 0, dbeta = 0;
      for (int64_t k = 0; k < p->red; k++) {
        const int64_t at = (o * p->red + k) * p->inner + i, s = p->by_red ? o * p->red + k : to;
        const double g = !scale || fma(x[at] - mean[to], scale[to], shift[to]) > 0 ? dy[at] : 0;
        dgamma += g * ((double)x[at] - mean[s]) * rstd[s];
        dbeta += g;
      }
      ((real *)p->dgamma)[to] = (real)dgamma;
      ((real *)p->dbeta)[to] = (real)dbeta;
    }
  }
}

/* dx = rstd (h - mean_row(h) - xhat mean_row(h xhat)) with h = dy gamma, xhat = (x - mean) rstd, for dx, dy, x (rows, cols);
 * mean and rstd (rows), gamma (cols) or NULL: ones. The gradient of layer norm by its input (Ba et al. 2016). mean NULL: of
 * RMS norm (Zhang, Sennrich 2019), rstd (h - xhat mean_row(h xhat)) with xhat = x rstd.
 * Units: rows. Writes with =. dx may alias dy and x, and may be uninitialised. */
static void ref_norm_row_grad(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_norm_row_grad_args *p = args;
  const real *gamma = p->gamma;
  const int64_t n = p->cols;
  for (int64_t i = lo; i < hi; i++) {
    const real *dy = (const real *)p->dy + i * n, *x = (const real *)p->x + i * n;
    real *dx = (real *)p->dx + i * n;
    const double mean = p->mean ? ((const real *)p->mean)[i] : 0, rstd = ((const real *)p->rstd)[i];
    double sum = 0, along = 0;
    for (int64_t j = 0; j < n; j++) {
      const double h = (double)dy[j] * (gamma ? gamma[j] : 1);
      sum += p->mean ? h : 0;
      along += h * ((x[j] - mean) * rstd);
    }
    for (int64_t j = 0; j < n; j++) {
      const double h = (double)dy[j] * (gamma ? gamma[j] : 1);
      dx[j] = (real)(rstd * (h - sum / (double)n - (x[j] - mean) * rstd * (along / (double)n)));
    }
  }
}
