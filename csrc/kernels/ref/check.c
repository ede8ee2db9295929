/* Before the update: may it happen, by how much is the gradient scaled, the step's numbers as reals. */

/* scale(1) = min(1, max_norm / (|g| + 1e-6)), |g|^2 the sum of grad_norm's partial(chunks); 1 with max_norm <= 0;
 * max_norm = scalars[column]. As PyTorch's clip_grad_norm_. Sets status HF_NONFINITE if |g|^2 or loss(1) (may be NULL) is not
 * finite.
 * Units: 1. Writes with =. scale may be uninitialised. */
static void ref_grad_check(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_grad_check_args *p = args;
  if (lo >= hi) return;
  const double *partial = p->partial;
  double total = 0;
  for (int64_t c = 0; c < p->chunks; c++) total += partial[c];
  const double max_norm = ctx->scalars[p->column], scale = max_norm > 0 ? max_norm / (sqrt(total) + 1e-6) : 1;
  *(real *)p->scale = scale < 1 ? (real)scale : 1;
  const bool finite = isfinite(total) && (!p->loss || isfinite(*(const real *)p->loss));
  if (!finite && *ctx->status == HF_OK) *ctx->status = HF_NONFINITE;
}

/* Stops the run unless rows * max|x| * max|w| is less than half of the largest real (NaN is not). x_max(rows),
 * w_max(rows). Units: 1. */
static void ref_grad_bound(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_grad_bound_args *p = args;
  if (lo >= hi) return;
  real x = 0, w = 0;
  for (int64_t i = 0; i < p->rows; i++) {
    if (ref_above(((const real *)p->x_max)[i], x)) x = ((const real *)p->x_max)[i];
    if (ref_above(((const real *)p->w_max)[i], w)) w = ((const real *)p->w_max)[i];
  }
  const double largest = sizeof(real) == sizeof(float) ? FLT_MAX : DBL_MAX;
  if (!((double)p->rows * (double)x * (double)w < largest / 2) && *ctx->status == HF_OK) *ctx->status = HF_NONFINITE;
}

/* y(n) = scalars[column .. column + n). Units: 1. Writes with =. y may be uninitialised. */
static void ref_scalars(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_scalars_args *a = args;
  if (lo >= hi) return;
  for (int64_t i = 0; i < a->n; i++) ((real *)a->y)[i] = (real)ctx->scalars[a->column + i];
}
