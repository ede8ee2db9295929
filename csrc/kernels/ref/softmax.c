/* The largest element of a row; NaN if there is one. */
static real ref_row_max(const real *x, int64_t cols) {
  real max = -INFINITY;
  for (int64_t j = 0; j < cols; j++) max = ref_above(x[j], max) ? x[j] : max;
  return max;
}

/* y(rows, cols) = exp(x - max) / sum exp(x - max), or its logarithm (x - max) - log sum exp(x - max).
 * Units: rows. Writes with =. y may alias x and may be uninitialised. */
static void ref_softmax(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_softmax_args *p = args;
  for (int64_t i = lo; i < hi; i++) {
    const real *x = (const real *)p->x + i * p->cols;
    real *y = (real *)p->y + i * p->cols;
    const real max = ref_row_max(x, p->cols);
    double sum = 0;
    for (int64_t j = 0; j < p->cols; j++) sum += exp(x[j] - max);
    for (int64_t j = 0; j < p->cols; j++) y[j] = p->log ? x[j] - max - (real)log(sum) : exp(x[j] - max) / (real)sum;
  }
}

/* Softmax cross-entropy of logits x(rows, cols) against labels(rows), int64, or target(rows, cols): just one of the
 *   two. t_ij = (1 - s) target_ij + s / cols     s: label smoothing (Szegedy et al. 2016); target one-hot for labels
 *   loss(rows): loss_i = -sum_j t_ij log softmax(x)_ij, with 0 log 0 = 0
 *   dx(rows, cols): dx_ij = (softmax(x)_ij sum_j t_ij - t_ij) dloss[i * dloss_row]
 * loss and dx may each be NULL. A label outside [0, cols) sets status HF_BAD_INDEX and gives zeros.
 * Units: rows. Writes with =. dx may alias x; loss and dx may be uninitialised. */
static void ref_softmax_cross_entropy(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_softmax_cross_entropy_args *p = args;
  const int64_t cols = p->cols;
  for (int64_t i = lo; i < hi; i++) {
    const real *x = (const real *)p->x + i * cols, *target = p->target ? (const real *)p->target + i * cols : NULL;
    const int64_t label = p->labels ? ((const int64_t *)p->labels)[i] : 0;
    real *loss = p->loss ? (real *)p->loss + i : NULL, *dx = p->dx ? (real *)p->dx + i * cols : NULL;
    if (p->labels && (label < 0 || label >= cols)) {
      *ctx->status = HF_BAD_INDEX;
      if (loss) *loss = 0;
      for (int64_t j = 0; dx && j < cols; j++) dx[j] = 0;
      continue;
    }
    const real max = ref_row_max(x, cols);
    double sum = 0, sum_t = target ? 0 : 1, sum_tx = 0;
    for (int64_t j = 0; j < cols; j++) {
      const double t = (1 - p->smoothing) * (target ? target[j] : j == label) + p->smoothing / (double)cols;
      sum += exp(x[j] - max);
      if (target) sum_t += t;
      sum_tx += t != 0 ? t * (x[j] - max) : 0;
    }
    if (loss) *loss = (real)(log(sum) * sum_t - sum_tx);
    const double dloss = dx ? ((const real *)p->dloss)[i * p->dloss_row] : 0;
    for (int64_t j = 0; dx && j < cols; j++) {
      const double t = (1 - p->smoothing) * (target ? target[j] : j == label) + p->smoothing / (double)cols;
      dx[j] = (real)((exp(x[j] - max) / sum * sum_t - t) * dloss);
    }
  }
}
