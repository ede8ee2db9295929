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
 * =, which may be uninitialised: of the gradient as it is given (before scale and clip_value), of the new p, and of its
 * change; with measure, of the p that stays, and of v. */
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
    const double trust = a->trust ? ((const double *)a->trust)[run - (const hf_param_run *)a->runs] : 1;
    optim_once(optim_rules + a->rule, column, ctx, trust, c);
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
        const real change = a->measure ? *p : *p - before;
        if (a->measure) *p = before;
        if (a->average) {
          const double *factors = ctx->scalars + a->average_column;
          real *average = (real *)a->average + at;
          *average = FMA((real)factors[0], *average, (real)factors[1] * *p);
        }
        sums[0] += (long double)g * g;
        sums[1] += (long double)*p * *p;
        sums[2] += (long double)change * change;
      }
      if (a->sums && unit >= lo && unit < hi)
        for (int s = 0; s < 3; s++) ((double *)a->sums)[3 * unit + s] = (double)sums[s];
    }
  }
}

/* The same for the rows row[k] >= 0 of p and the slots, by g(rows, cols)[k, :]; those named are distinct; the sums of the
 * others are 0. Units: rows of g. */
static void ref_sweep_rows(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_sweep_rows_args *a = args;
  const double *column = ctx->scalars + a->column;
  if (column[HF_COLUMN_active] == 0) return;
  const optim_common k = optim_prepare(a->scale, column);
  optim_common clipped = k; /* by optim_clip, before L1 is added */
  clipped.scale = 1, clipped.clip = (real)INFINITY;
  real c[OPTIM_CONSTANTS];
  optim_once(optim_rules + a->rule, column, ctx, 1, c);
  for (int64_t r = lo; r < hi; r++) {
    const int64_t row = ((const int64_t *)a->row)[r];
    long double sums[3] = {0};
    for (int64_t i = r * a->cols; row >= 0 && i < (r + 1) * a->cols; i++) {
      const int64_t at = row * a->cols + i % a->cols;
      real *p = (real *)a->p + at, *slot[HF_MAX_SLOTS];
      for (int s = 0; s < HF_MAX_SLOTS; s++) slot[s] = a->slot[s] ? (real *)a->slot[s] + at : 0;
      const real before = *p, g = ((const real *)a->g)[i], taken = optim_clip(k, g) + k.l1 * SIGN(before);
      optim_rules[a->rule].each(clipped, c, 1, p, &taken, slot);
      sums[0] += (long double)g * g;
      sums[1] += (long double)*p * *p;
      sums[2] += (long double)(*p - before) * (*p - before);
    }
    for (int s = 0; a->sums && s < 3; s++) ((double *)a->sums)[3 * r + s] = (double)sums[s];
  }
}

/* total(r, s) = sum of sums(u, s) over the units u of run r, ascending, for s in [first, last); epoch(r, s) += (total, 1);
 * trust(r) = HF_TRUST of the norms sqrt(total(r, 1)), sqrt(total(r, 2)), or 1 where one of these is 0. Runs that are not
 * active, and other s, are left alone. Units: runs. */
static void ref_run_sums(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_run_sums_args *a = args;
  const hf_param_run *runs = a->runs;
  for (int64_t r = lo; r < hi; r++) {
    const double *column = ctx->scalars + runs[r].column, *sums = a->sums;
    const int64_t end = r + 1 < a->n_runs ? runs[r + 1].unit : a->units;
    if (column[HF_COLUMN_active] == 0) continue;
    double total[3] = {0};
    for (int64_t u = runs[r].unit; u < end; u++)
      for (int s = 0; s < 3; s++) total[s] += sums[3 * u + s];
    for (int64_t s = a->first; s < a->last; s++) {
      if (a->total) ((double *)a->total)[3 * r + s] = total[s];
      if (!a->epoch) continue;
      double *of_epoch = (double *)a->epoch + 2 * (3 * r + s);
      of_epoch[0] += total[s];
      of_epoch[1] += 1;
    }
    if (a->trust) {
      const bool norms = total[1] > 0 && total[2] > 0;
      const double *hyper = column + HF_N_COMMON;
      ((double *)a->trust)[r] = norms ? optim_rules[a->rule].trust(hyper, sqrt(total[1]), sqrt(total[2])) : 1;
    }
  }
}
