/* Checks and numbers before the update; a few operations each. */

/* Contract: ref_grad_check. */
static void cpu_grad_check(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_grad_check_args *p = args;
  if (lo >= hi) return;
  const double *partial = p->partial;
  double total = 0;
  for (int64_t c = 0; c < p->chunks; c++) total += partial[c];
  const double max_norm = ctx->scalars[p->column], scale = max_norm > 0 ? max_norm / (sqrt(total) + 1e-6) : 1;
  *(real *)p->scale = scale < 1 ? (real)scale : 1;
  const int finite = isfinite(total) && (!p->loss || isfinite(*(const real *)p->loss));
  if (!finite && *ctx->status == HF_OK) *ctx->status = HF_NONFINITE;
}

/* Contract: ref_grad_bound. */
static void cpu_grad_bound(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_grad_bound_args *p = args;
  if (lo >= hi) return;
  const real x = reduce_run(HF_MAX_ABS, p->x_max, p->rows, 0), w = reduce_run(HF_MAX_ABS, p->w_max, p->rows, 0);
  const double largest = sizeof(real) == sizeof(float) ? 0x1.fffffep127 : 0x1.fffffffffffffp1023;
  if (!((double)p->rows * (double)x * (double)w < largest / 2) && *ctx->status == HF_OK) *ctx->status = HF_NONFINITE;
}

/* Contract: ref_scalars. */
static void cpu_scalars(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_scalars_args *a = args;
  if (lo >= hi) return;
  for (int64_t i = 0; i < a->n; i++) ((real *)a->y)[i] = (real)ctx->scalars[a->column + i];
}
