/* y(outer, inner) = sum, mean, max, min, argmax or max of the absolute values over red of x(outer, red, inner), both
 * contiguous.
 * argmax gives int64 numbers in [0, red), the first of equals; all but sum and mean let NaN win, as NumPy does.
 * Over nothing (red = 0): sum 0, mean NaN, max -inf, min inf, argmax 0, max of absolute values 0.
 * Units: outer, or inner with by_inner. Writes with =. y aliases nothing and may be uninitialised. */
static void ref_reduce(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_reduce_args *p = args;
  const int64_t outer0 = p->by_inner ? 0 : lo, outer1 = p->by_inner ? p->outer : hi;
  const int64_t inner0 = p->by_inner ? lo : 0, inner1 = p->by_inner ? hi : p->inner;
  for (int64_t o = outer0; o < outer1; o++) {
    for (int64_t i = inner0; i < inner1; i++) {
      const real *x = (const real *)p->x + o * p->red * p->inner + i;
      double sum = 0;
      real high = -INFINITY, low = INFINITY, size = 0;
      int64_t at = 0;
      for (int64_t k = 0; k < p->red; k++) {
        const real v = x[k * p->inner];
        sum += v;
        if (ref_below(v, low)) low = v;
        if (ref_above(fabs(v), size)) size = fabs(v);
        if (ref_above(v, high)) {
          high = v;
          at = k;
        }
      }
      const int64_t to = o * p->inner + i;
      switch (p->kind) {
      case HF_SUM: ((real *)p->y)[to] = (real)sum; break;
      case HF_MEAN: ((real *)p->y)[to] = (real)(sum / (double)p->red); break;
      case HF_MAX: ((real *)p->y)[to] = high; break;
      case HF_MIN: ((real *)p->y)[to] = low; break;
      case HF_ARGMAX: ((int64_t *)p->y)[to] = at; break;
      case HF_MAX_ABS: ((real *)p->y)[to] = size; break;
      }
    }
  }
}
