/* Before the update: may it happen? */

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
