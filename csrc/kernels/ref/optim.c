/* The update of the flat parameter buffer; its rules are in defs/optim.def.
 *   g' = clamp(g * scale, -clip_value, clip_value) + decay * p + l1 * sign(p)      (no clamp with clip_value <= 0)
 *   p' = (1 - lr decoupled) p
 * Numbers come from ctx->scalars, a set of columns for each run; t = ctx->step + since. scale is (1). p and the slots are
 * updated in place, g is only read; no buffer aliases another. Constants are worked out in double and rounded once. */

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

#define FMA(a, b, c) ((a) * (b) + (c))
#define SQRT(x) sqrt(x)
#define NORMAL(x) (x)
#include "kernels/optim_rules.h"

/* The parameters' update; optim.def. Units: HF_SWEEP_CHUNK elements of a run, or rows of the product. Writes sums with
 * =, which may be uninitialised. */
static void ref_sweep(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_sweep_args *a = args;
  const hf_matmul_args *product = &a->product;
  const int64_t size = product->m ? product->n : HF_SWEEP_CHUNK;
  for (const hf_param_run *run = a->runs; run < (const hf_param_run *)a->runs + a->n_runs; run++) {
    const double *column = ctx->scalars + run->column;
    if (column[HF_COLUMN_active] == 0) continue;
    const optim_common k = optim_prepare(a->scale, column);
    optim_common clipped = k; /* by optim_clip, before L1 is added */
    clipped.scale = 1, clipped.clip = (real)INFINITY;
    real c[OPTIM_CONSTANTS];
    optim_rules[a->rule].once(column + HF_N_COMMON, (double)ctx->step + column[HF_COLUMN_since], c);
    for (int64_t i = 0; i < run->n;) {
      const int64_t unit = run->unit + i / size, end = i + size < run->n ? i + size : run->n;
      long double sums[3] = {0};
      if (unit < lo || unit >= hi) i = end;
      for (; i < end; i++) {
        const int64_t at = run->offset + i;
        real *p = (real *)a->p + at, *slot[HF_MAX_SLOTS];
        for (int s = 0; s < HF_MAX_SLOTS; s++) slot[s] = a->slot[s] ? (real *)a->slot[s] + at : 0;
        const real before = *p, g = product->m ? ref_product(product, i / size, i % size) : ((const real *)a->g)[at];
        const real taken = optim_clip(k, g) + k.l1 * SIGN(before);
        optim_rules[a->rule].each(clipped, c, 1, p, &taken, slot);
        sums[0] += (long double)g * g;
        sums[1] += (long double)*p * *p;
        sums[2] += (long double)(*p - before) * (*p - before);
      }
      if (a->sums && unit >= lo && unit < hi)
        for (int s = 0; s < 3; s++) ((double *)a->sums)[3 * unit + s] = (double)sums[s];
    }
  }
}

/* The same for the rows row[k] >= 0 of p and the slots, by g(rows, cols)[k, :]; those named are distinct. Units: rows of
 * g. */
static void ref_sweep_rows(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_sweep_rows_args *a = args;
  const double *column = ctx->scalars + a->column;
  if (column[HF_COLUMN_active] == 0) return;
  const optim_common k = optim_prepare(a->scale, column);
  optim_common clipped = k; /* by optim_clip, before L1 is added */
  clipped.scale = 1, clipped.clip = (real)INFINITY;
  real c[OPTIM_CONSTANTS];
  optim_rules[a->rule].once(column + HF_N_COMMON, (double)ctx->step + column[HF_COLUMN_since], c);
  for (int64_t i = lo * a->cols; i < hi * a->cols; i++) {
    const int64_t row = ((const int64_t *)a->row)[i / a->cols], at = row * a->cols + i % a->cols;
    if (row < 0) continue;
    real *p = (real *)a->p + at, *slot[HF_MAX_SLOTS];
    for (int s = 0; s < HF_MAX_SLOTS; s++) slot[s] = a->slot[s] ? (real *)a->slot[s] + at : 0;
    const real taken = optim_clip(k, ((const real *)a->g)[i]) + k.l1 * SIGN(*p);
    optim_rules[a->rule].each(clipped, c, 1, p, &taken, slot);
  }
}
