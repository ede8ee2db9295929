/* Kernels of a few lines that nothing makes faster: one for ref/ and cpu/ alike, as a second would be its copy. What they
 * compute is written once more in tests/c/test_data.c and tests/numpy_backend.py. */

/* dst row first + i = src row i: rows of a result into the user's array. Units: rows. Writes with =. */
static void plain_store_batch(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_store_batch_args *p = args;
  memcpy((char *)p->dst + (ctx->first + lo) * p->row_bytes, (const char *)p->src + lo * p->row_bytes,
         (size_t)((hi - lo) * p->row_bytes));
}

/* y(1) = n. Units: 1. Writes with =. y may be uninitialised. */
static void plain_dim_value(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_dim_value_args *p = args;
  for (int64_t i = lo; i < hi; i++) ((real *)p->y)[i] = (real)p->n;
}

/* y(rows, elems) = x(rows, elems), int64 to real. Units: rows. Writes with =. y aliases nothing, may be
 * uninitialised. */
static void plain_int_to_real(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_int_to_real_args *p = args;
  for (int64_t e = lo * p->elems; e < hi * p->elems; e++) ((real *)p->y)[e] = (real)((const int64_t *)p->x)[e];
}

/* sums(2), double: sums[0] += value, sums[1] += weight; value(1) a sum over the batch's rows, weight(1) real, or absent:
 * rows. Units: 1. Writes with +=. */
static void plain_accumulate(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_accumulate_args *p = args;
  const double weight = p->weight ? *(const real *)p->weight : (double)p->rows;
  double *sums = p->sums;
  for (int64_t i = lo; i < hi; i++) {
    sums[2 * i] += ((const real *)p->value)[i];
    sums[2 * i + 1] += weight;
  }
}

/* scale(1) = min(1, max_norm / (|g| + 1e-6)), |g|^2 the sum of grad_norm's partial(chunks); 1 with max_norm <= 0;
 * max_norm = scalars[column]. As PyTorch's clip_grad_norm_. Sets status HF_NONFINITE if |g|^2 or loss(1) (may be NULL) is not
 * finite.
 * Units: 1. Writes with =. scale may be uninitialised. */
static void plain_grad_check(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
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

/* y(n) = scalars[column .. column + n). Units: 1. Writes with =. y may be uninitialised. */
static void plain_scalars(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_scalars_args *a = args;
  if (lo >= hi) return;
  for (int64_t i = 0; i < a->n; i++) ((real *)a->y)[i] = (real)ctx->scalars[a->column + i];
}

/* The first i in [0, n) with a[i] >= x (strict: > x), n if there is none; a ascending. */
static int64_t first_at_least(const real *a, int64_t n, real x, int strict) {
  int64_t lo = 0;
  while (n > 0) {
    const int64_t half = n / 2;
    const int below = strict ? a[lo + half] <= x : a[lo + half] < x;
    lo = below ? lo + half + 1 : lo;
    n = below ? n - half - 1 : half;
  }
  return lo;
}

/* y(rows, cols)[i, j]: the line through (knots(cols, n)[j], values(n)) at x(rows, cols)[i, j]; values[0] at and below the
 * first knot, values[n - 1] at and above the last; where x meets several equal knots the mean of the first's value and
 * the last's. slope(rows, cols): of the line there, 0 where it is level or jumps. knots ascend, values are any.
 * Units: rows. Writes with =. y and slope alias nothing and may be uninitialised. */
static void plain_interp(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_interp_args *p = args;
  const int64_t cols = p->cols, n = p->n;
  const real *v = p->values;
  for (int64_t e = lo * cols; e < hi * cols; e++) {
    const real *k = (const real *)p->knots + e % cols * n, x = ((const real *)p->x)[e];
    real y, slope = 0;
    if (!(x > k[0])) {
      y = v[0];
    } else if (x >= k[n - 1]) {
      y = v[n - 1];
    } else {
      const int64_t i = first_at_least(k, n, x, 0);
      if (k[i] == x) {
        const int64_t last = first_at_least(k + i, n - i, x, 1) + i - 1;
        y = (real)0.5 * (v[i] + v[last]);
        if (last == i) slope = (v[i + 1] - v[i]) / (k[i + 1] - k[i]);
      } else {
        const real width = k[i] - k[i - 1], height = v[i] - v[i - 1];
        slope = height / width; /* may overflow; y may not */
        y = v[i - 1] + (x - k[i - 1]) / width * height;
      }
    }
    ((real *)p->y)[e] = y;
    ((real *)p->slope)[e] = slope;
  }
}
