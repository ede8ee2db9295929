/* The update of the flat parameter buffer. Formulas: PyTorch's torch.optim documentation (SGD, Adagrad, RMSprop, Adam,
 * AdamW) with its defaults (no dampening, no lr_decay, not centred, no amsgrad).
 *   g' = clamp(g * scale, -clip_value, clip_value) + weight_decay * p      (no clamp with clip_value <= 0)
 * lr = ctx->lr, t = ctx->step + 1. All buffers are (n), scale is (1). Units: elements; or with product.m > 0, where g is
 * the product's result and p(m, n), rows. p and the state are updated in place, g is only read; no buffer
 * aliases another. Constants are worked out in double and rounded once. */

/* partial[c], double = sum of squares of g(n) in chunk c of HF_NORM_CHUNK elements, in ascending order.
 * Units: chunks. Writes with =. partial may be uninitialised. */
static void ref_grad_norm(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_grad_norm_args *p = args;
  const real *g = p->g;
  for (int64_t c = lo; c < hi; c++) {
    const int64_t end = (c + 1) * HF_NORM_CHUNK < p->n ? (c + 1) * HF_NORM_CHUNK : p->n;
    double sum = 0;
    for (int64_t i = c * HF_NORM_CHUNK; i < end; i++) sum += (double)g[i] * g[i];
    ((double *)p->partial)[c] = sum;
  }
}

/* scale(1) = min(1, max_norm / (|g| + 1e-6)), |g|^2 the sum of grad_norm's partial(chunks); 1 with max_norm <=
 * 0. As PyTorch's clip_grad_norm_. Sets status HF_NONFINITE if |g|^2 or loss(1) (may be NULL) is not finite.
 * Units: 1. Writes with =. scale may be uninitialised. */
static void ref_grad_check(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_grad_check_args *p = args;
  if (lo >= hi) return;
  const double *partial = p->partial;
  double total = 0;
  for (int64_t c = 0; c < p->chunks; c++) total += partial[c];
  const double scale = p->max_norm > 0 ? p->max_norm / (sqrt(total) + 1e-6) : 1;
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

/* Elements per unit of an optimiser. */
static int64_t ref_unit(const hf_matmul_args *product) { return product->m ? product->n : 1; }

/* g' of the header for element i. A NaN passes the clamp. */
static inline real ref_gradient(const void *g_stored, const hf_matmul_args *product, int64_t i, real scale,
                                double clip_value, double weight_decay, real p) {
  real g = product->m ? ref_product(product, i / product->n, i % product->n) : ((const real *)g_stored)[i];
  const real clip = (real)clip_value;
  g *= scale;
  if (clip > 0) g = g > clip ? clip : g < -clip ? -clip : g;
  return g + (real)weight_decay * p;
}

/* SGD. v = momentum v + g';  p -= lr (nesterov ? g' + momentum v : v).  velocity NULL: p -= lr g'. */
static void ref_sgd(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_sgd_args *a = args;
  real *p = a->p, *velocity = a->velocity;
  const real scale = *(const real *)a->scale, lr = (real)ctx->lr, momentum = (real)a->momentum;
  const int64_t unit = ref_unit(&a->product);
  for (int64_t i = lo * unit; i < hi * unit; i++) {
    real d = ref_gradient(a->g, &a->product, i, scale, a->clip_value, a->weight_decay, p[i]);
    if (velocity) {
      velocity[i] = momentum * velocity[i] + d;
      d = a->nesterov ? d + momentum * velocity[i] : velocity[i];
    }
    p[i] -= lr * d;
  }
}

/* Adagrad (Duchi et al. 2011). s += g'^2;  p -= lr g' / (sqrt(s) + eps). */
static void ref_adagrad(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_adagrad_args *a = args;
  real *p = a->p, *accumulator = a->accumulator;
  const real scale = *(const real *)a->scale, lr = (real)ctx->lr, eps = (real)a->eps;
  const int64_t unit = ref_unit(&a->product);
  for (int64_t i = lo * unit; i < hi * unit; i++) {
    const real d = ref_gradient(a->g, &a->product, i, scale, a->clip_value, a->weight_decay, p[i]);
    accumulator[i] += d * d;
    p[i] -= lr * (d / (sqrt(accumulator[i]) + eps));
  }
}

/* RMSprop (Hinton 2012). s = alpha s + (1 - alpha) g'^2;  d = g' / (sqrt(s) + eps);  v = momentum v + d;  p -= lr v.
 * velocity NULL: p -= lr d. */
static void ref_rmsprop(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_rmsprop_args *a = args;
  real *p = a->p, *square = a->square_avg, *velocity = a->velocity;
  const real scale = *(const real *)a->scale, lr = (real)ctx->lr, eps = (real)a->eps;
  const real alpha = (real)a->alpha, beta = (real)(1 - a->alpha), momentum = (real)a->momentum;
  const int64_t unit = ref_unit(&a->product);
  for (int64_t i = lo * unit; i < hi * unit; i++) {
    real d = ref_gradient(a->g, &a->product, i, scale, a->clip_value, a->weight_decay, p[i]);
    square[i] = alpha * square[i] + beta * d * d;
    d /= sqrt(square[i]) + eps;
    if (velocity) d = velocity[i] = momentum * velocity[i] + d;
    p[i] -= lr * d;
  }
}

/* Adam (Kingma and Ba 2015); decoupled: AdamW (Loshchilov and Hutter 2019), where weight decay leaves g' alone and
 * p *= 1 - lr weight_decay comes first.
 *   m += (1 - beta1)(g' - m);  v = beta2 v + (1 - beta2) g'^2
 *   p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps) */
static void ref_adam(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_adam_args *a = args;
  real *p = a->p, *m = a->m, *v = a->v;
  const double t = (double)(ctx->step + 1);
  const real scale = *(const real *)a->scale, eps = (real)a->eps;
  const real gain1 = (real)(1 - a->beta1), beta2 = (real)a->beta2, gain2 = (real)(1 - a->beta2);
  const real rate = (real)(ctx->lr / (1 - pow(a->beta1, t))), root = (real)sqrt(1 - pow(a->beta2, t));
  const real shrink = a->decoupled ? (real)(1 - ctx->lr * a->weight_decay) : 1;
  const int64_t unit = ref_unit(&a->product);
  for (int64_t i = lo * unit; i < hi * unit; i++) {
    const real d = ref_gradient(a->g, &a->product, i, scale, a->clip_value, a->decoupled ? 0 : a->weight_decay, p[i]);
    m[i] += gain1 * (d - m[i]);
    v[i] = beta2 * v[i] + gain2 * d * d;
    p[i] = shrink * p[i] - rate * (m[i] / (sqrt(v[i]) / root + eps));
  }
}
