/* The update of the flat parameter buffer: one sweep per optimiser. Formulas and shapes: ref/optim.c.
 *
 * Design
 * (a) Each element is on its own, so a simd loop over a run suffices. Clipping off is clipping at infinity and weight
 *     decay off is a decay of 0, so the loops hold no branches. Square roots and divisions are IEEE's: no rsqrt.
 * (b) The gradient of a large weight is taken from its product, some rows at a time, and swept while it lies in cache:
 *     it is neither written to memory, nor checked there, nor read. Rejected: blocks of a few columns, as the product's
 *     tiles have them, or tiles (0.9 times as fast: p and its state are then read in runs of 512 bytes, which the
 *     processor does not see coming), and asking for p and its state while multiplying (no gain).
 */

/* Contract: ref_grad_norm. 16 double lanes and a fixed tree. */
static void cpu_grad_norm(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_grad_norm_args *p = args;
  for (int64_t c = lo; c < hi; c++) {
    const real *g = (const real *)p->g + c * HF_NORM_CHUNK;
    const int64_t left = p->n - c * HF_NORM_CHUNK, n = left < HF_NORM_CHUNK ? left : HF_NORM_CHUNK;
    double lane[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
#pragma omp simd
      for (int l = 0; l < 16; l++) lane[l] += (double)g[i + l] * (double)g[i + l];
    }
    for (int l = 0; i + l < n; l++) lane[l] += (double)g[i + l] * (double)g[i + l];
    for (int half = 8; half > 0; half /= 2)
      for (int l = 0; l < half; l++) lane[l] += lane[l + half];
    ((double *)p->partial)[c] = lane[0];
  }
}

/* g' = clamp(g scale, -clip, clip) + decay p; a NaN passes. */
typedef struct optim_gradient {
  real scale, clip, decay;
} optim_gradient;

static optim_gradient optim_prepare(const void *scale, double clip_value, double weight_decay) {
  const real clip = clip_value > 0 ? (real)clip_value : (real)INFINITY;
  return (optim_gradient){*(const real *)scale, clip, (real)weight_decay};
}

HF_INLINE real optim_take(const optim_gradient k, real g, real p) {
  g *= k.scale;
  g = g > k.clip ? k.clip : g;
  g = g < -k.clip ? -k.clip : g;
  return hf_fma(k.decay, p, g);
}

/* Averages of gradients that have become exactly 0 (dead units) decay to subnormals and would stay there, at 100 cycles an
 * operation. */
HF_INLINE real optim_keep(real x) {
#ifdef HF_F64
  return hf_abs(x) < 0x1p-1022 ? 0 : x;
#else
  return hf_abs(x) < 0x1p-126f ? 0 : x;
#endif
}

/* Elements [at, at + n) of an optimiser's buffers and their gradient; optim_next goes on to the next ones. */
typedef struct optim_run {
  const real *g;
  int64_t at, n, end;
} optim_run;

static optim_run optim_start(const hf_matmul_args *product, int64_t lo, int64_t hi) {
  const int64_t row = product->m ? product->n : 1;
  return (optim_run){.at = lo * row, .n = 0, .end = hi * row};
}

static int optim_next(optim_run *r, const hf_matmul_args *product, const void *g, const hf_ctx *ctx) {
  r->at += r->n;
  r->n = r->end - r->at;
  if (r->n <= 0) return 0;
  if (!product->m) {
    r->g = (const real *)g + r->at;
    return 1;
  }
  const int64_t n = product->n, most = HF_PRODUCT_BYTES / (int64_t)sizeof(real) / n * n;
  if (r->n > most) r->n = most;
  hf_matmul_args rows = *product;
  rows.m = r->n / n;
  rows.x = (real *)product->x + r->at / n * product->x_row;
  rows.y = ctx->scratch + ctx->scratch_bytes - HF_PRODUCT_BYTES;
  cpu_matmul(&rows, ctx, 0, rows.m);
  r->g = rows.y;
  return 1;
}

/* The loop over the runs of an optimiser's share. */
#define OPTIM_SWEEP(a) \
  for (optim_run run = optim_start(&(a)->product, lo, hi); optim_next(&run, &(a)->product, (a)->g, ctx);)
/* The run's part of a buffer. */
#define OPTIM_PART(buffer) ((real *)(buffer) + run.at)

/* Contract: ref_sgd. */
static void cpu_sgd(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_sgd_args *a = args;
  const optim_gradient k = optim_prepare(a->scale, a->clip_value, a->weight_decay);
  const real lr = (real)ctx->lr, momentum = (real)a->momentum;
  if (!a->velocity) {
    OPTIM_SWEEP(a) {
      real *restrict p = OPTIM_PART(a->p);
      const real *restrict g = run.g;
#pragma omp simd
      for (int64_t i = 0; i < run.n; i++) p[i] = hf_fma(-lr, optim_take(k, g[i], p[i]), p[i]);
    }
    return;
  }
  /* plain: v; nesterov: g' + momentum v */
  const real from_g = a->nesterov ? 1 : 0, from_v = a->nesterov ? momentum : 1;
  OPTIM_SWEEP(a) {
    real *restrict p = OPTIM_PART(a->p), *restrict velocity = OPTIM_PART(a->velocity);
    const real *restrict g = run.g;
#pragma omp simd
    for (int64_t i = 0; i < run.n; i++) {
      const real d = optim_take(k, g[i], p[i]), v = optim_keep(hf_fma(momentum, velocity[i], d));
      velocity[i] = v;
      p[i] = hf_fma(-lr, hf_fma(from_v, v, from_g * d), p[i]);
    }
  }
}

/* Contract: ref_adagrad. */
static void cpu_adagrad(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_adagrad_args *a = args;
  const optim_gradient k = optim_prepare(a->scale, a->clip_value, a->weight_decay);
  const real lr = (real)ctx->lr, eps = (real)a->eps;
  OPTIM_SWEEP(a) {
    real *restrict p = OPTIM_PART(a->p), *restrict accumulator = OPTIM_PART(a->accumulator);
    const real *restrict g = run.g;
#pragma omp simd
    for (int64_t i = 0; i < run.n; i++) {
      const real d = optim_take(k, g[i], p[i]), s = hf_fma(d, d, accumulator[i]);
      accumulator[i] = s;
      p[i] = hf_fma(-lr, d / (hf_sqrt(s) + eps), p[i]);
    }
  }
}

/* Contract: ref_rmsprop. */
static void cpu_rmsprop(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_rmsprop_args *a = args;
  const optim_gradient k = optim_prepare(a->scale, a->clip_value, a->weight_decay);
  const real lr = (real)ctx->lr, eps = (real)a->eps, momentum = (real)a->momentum;
  const real alpha = (real)a->alpha, beta = (real)(1 - a->alpha);
#define RMSPROP_STEP                                                                      \
  const real d = optim_take(k, g[i], p[i]);                                               \
  const real s = optim_keep(hf_fma(alpha, square[i], beta * d * d));                      \
  square[i] = s;                                                                          \
  real step = d / (hf_sqrt(s) + eps);
  OPTIM_SWEEP(a) {
    real *restrict p = OPTIM_PART(a->p), *restrict square = OPTIM_PART(a->square_avg);
    real *restrict velocity = a->velocity ? OPTIM_PART(a->velocity) : 0;
    const real *restrict g = run.g;
    if (velocity) {
#pragma omp simd
      for (int64_t i = 0; i < run.n; i++) {
        RMSPROP_STEP
        step = optim_keep(hf_fma(momentum, velocity[i], step));
        velocity[i] = step;
        p[i] = hf_fma(-lr, step, p[i]);
      }
    } else {
#pragma omp simd
      for (int64_t i = 0; i < run.n; i++) {
        RMSPROP_STEP
        p[i] = hf_fma(-lr, step, p[i]);
      }
    }
  }
#undef RMSPROP_STEP
}

/* Contract: ref_adam. The division by sqrt(1 - beta2^t), a constant, is a multiplication. */
static void cpu_adam(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_adam_args *a = args;
  const optim_gradient k = optim_prepare(a->scale, a->clip_value, a->decoupled ? 0 : a->weight_decay);
  const double t = (double)(ctx->step + 1);
  const real gain1 = (real)(1 - a->beta1), beta2 = (real)a->beta2, gain2 = (real)(1 - a->beta2), eps = (real)a->eps;
  const real rate = (real)(ctx->lr / (1 - pow(a->beta1, t))), root = (real)(1 / sqrt(1 - pow(a->beta2, t)));
  const real shrink = a->decoupled ? (real)(1 - ctx->lr * a->weight_decay) : 1;
  OPTIM_SWEEP(a) {
    real *restrict p = OPTIM_PART(a->p), *restrict m = OPTIM_PART(a->m), *restrict v = OPTIM_PART(a->v);
    const real *restrict g = run.g;
#pragma omp simd
    for (int64_t i = 0; i < run.n; i++) {
      const real d = optim_take(k, g[i], p[i]);
      const real mi = optim_keep(hf_fma(gain1, d - m[i], m[i]));
      const real vi = optim_keep(hf_fma(beta2, v[i], gain2 * d * d));
      m[i] = mi;
      v[i] = vi;
      p[i] = hf_fma(-rate, mi / hf_fma(hf_sqrt(vi), root, eps), shrink * p[i]);
    }
  }
}
