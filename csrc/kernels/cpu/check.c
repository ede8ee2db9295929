/* Checks before the update. */

/* Contract: ref_grad_bound. */
static void cpu_grad_bound(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_grad_bound_args *p = args;
  if (lo >= hi) return;
  const real x = reduce_run(HF_MAX_ABS, p->x_max, p->rows, 0), w = reduce_run(HF_MAX_ABS, p->w_max, p->rows, 0);
  const double largest = sizeof(real) == sizeof(float) ? 0x1.fffffep127 : 0x1.fffffffffffffp1023;
  if (!((double)p->rows * (double)x * (double)w < largest / 2) && *ctx->status == HF_OK) *ctx->status = HF_NONFINITE;
}
