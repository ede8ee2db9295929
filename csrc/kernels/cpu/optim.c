/* The update of the flat parameter buffer. Formulas and shapes: ref/optim.c, defs/optim.def.
 *
 * Design
 * (a) Each element is on its own, so a simd loop over a run suffices. Clipping off is clipping at infinity and weight
 *     decay off is a decay of 0, so the loops hold no branches. Square roots and divisions are IEEE's: no rsqrt. Rejected:
 *     update rules as programs of the elementwise interpreter (3 to 4 times the time).
 * (b) The gradient of a large weight is taken from its product, some rows at a time, and swept while it lies in cache:
 *     it is neither written to memory, nor checked there, nor read. Rejected: blocks of a few columns, as the product's
 *     tiles have them, or tiles (0.9 times as fast: p and its state are then read in runs of 512 bytes, which the
 *     processor does not see coming), and asking for p and its state while multiplying (no gain).
 * (c) What few runs ask for (an L1 penalty, sums of squares) happens around the rule, on blocks that stay in L1, so that a
 *     rule is compiled once. Rejected: flags in the loop.
 * (d) An average follows block by block, while p is in L1. Its own bytes are what it costs: 1.6 MB of the 7.2 that an
 *     Adam step of 200,000 parameters moves through the last cache. Rejected: the average in the rule's own loop, and
 *     blocks of 64 to 512 (at most 2 % of the sweep, and the loop compiled twice is 160 KB), asking for its memory ahead
 *     (-5 to +20 %, by the state of the caches), arrays that start at different offsets of a page, huge pages (nothing).
 */

enum { SWEEP_BACK = 64 }; /* units that a sweep which goes backwards goes over forwards */

/* 16 double lanes and a fixed tree. */
static double optim_squares(const real *x, int64_t n) {
  double lane[16] = {0};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
#pragma omp simd
    for (int l = 0; l < 16; l++) lane[l] += (double)x[i + l] * (double)x[i + l];
  }
  for (int l = 0; i + l < n; l++) lane[l] += (double)x[i + l] * (double)x[i + l];
  for (int half = 8; half > 0; half /= 2)
    for (int l = 0; l < half; l++) lane[l] += lane[l + half];
  return lane[0];
}

/* Contract: ref_grad_norm. */
static void cpu_grad_norm(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_grad_norm_args *p = args;
  for (int64_t c = lo; c < hi; c++) {
    const int64_t left = p->n - c * HF_NORM_CHUNK, n = left < HF_NORM_CHUNK ? left : HF_NORM_CHUNK;
    ((double *)p->partial)[c] = optim_squares((const real *)p->g + c * HF_NORM_CHUNK, n);
  }
}

/* sum[s] += optim_squares(x[s](n)), all three together. Asks for what lies n further on in those of ahead(streams),
 * as what comes next: the processor's own guess does not reach past the end of a block that is gone over twice. */
static void optim_sums(const real *const *x, int64_t n, double *sum, const real *const *ahead, int streams) {
  double lane[3][16] = {{0}};
  const real *restrict g = x[0], *restrict p = x[1], *restrict v = x[2];
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int s = 0; s < streams; s++)
      for (int l = 0; l < 16; l += LANES) __builtin_prefetch(ahead[s] + n + i + l, 1);
#pragma omp simd
    for (int l = 0; l < 16; l++) {
      lane[0][l] += (double)g[i + l] * (double)g[i + l];
      lane[1][l] += (double)p[i + l] * (double)p[i + l];
      lane[2][l] += (double)v[i + l] * (double)v[i + l];
    }
  }
  for (int s = 0; s < 3; s++) {
    for (int l = 0; i + l < n; l++) lane[s][l] += (double)x[s][i + l] * (double)x[s][i + l];
    for (int half = 8; half > 0; half /= 2)
      for (int l = 0; l < half; l++) lane[s][l] += lane[s][l + half];
    sum[s] += lane[s][0];
  }
}

#define FMA(a, b, c) hf_fma(a, b, c)
#define SQRT(x) hf_sqrt(x)
#ifdef HF_F64
#define NORMAL(x) optim_normal(x, 0x1p-1022)
#else
#define NORMAL(x) optim_normal(x, 0x1p-126f)
#endif
HF_INLINE real optim_normal(real x, real least) { return hf_abs(x) < least ? 0 : x; }
#include "kernels/optim_rules.h"

/* Elements [from, end) of a run's slices p, g and slot, with what the rule itself does not do. sums: three for each unit
 * of `size` elements, or NULL; a unit is never cut. measure: as that of ref_sweep. */
static void optim_blocks(const struct optim_rule *rule, optim_common k, const real *c, int64_t n, int64_t size, real *p,
                         const real *g, real *const *slot, double *sums, int measure) {
  real taken[HF_SWEEP_CHUNK], before[HF_SWEEP_CHUNK], moved[HF_SWEEP_CHUNK], *part[HF_MAX_SLOTS];
  const optim_common given = k;
  if (k.l1 != 0) k.scale = 1, k.clip = (real)INFINITY;
  for (int64_t unit = 0; unit < n; unit += size) {
    const int64_t end = unit + size < n ? unit + size : n;
    double sum[3] = {0};
    for (int64_t at = unit; at < end; at += HF_SWEEP_CHUNK) {
      const int64_t count = end - at < HF_SWEEP_CHUNK ? end - at : HF_SWEEP_CHUNK;
      real *q = measure ? moved : p + at;
      const real *from = g + at, *given_p = measure ? p + at : before;
      memcpy(measure ? moved : before, p + at, (size_t)count * sizeof(real));
      int streams = 0;
      const real *ahead[HF_MAX_SLOTS + 2] = {p + at, from};
      for (int s = 0; s < HF_MAX_SLOTS; s++) {
        part[s] = slot[s] ? slot[s] + at : 0;
        if (slot[s]) ahead[2 + streams++] = part[s];
      }
      if (given.l1 != 0) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++) taken[i] = FMA(given.l1, SIGN(given_p[i]), optim_clip(given, from[i]));
      }
      rule->each(k, c, count, q, given.l1 != 0 ? taken : from, part);
      if (!sums) continue;
      if (!measure) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++) before[i] = q[i] - before[i];
      }
      optim_sums((const real *[]){from, p + at, measure ? moved : before}, count, sum, ahead,
                 at + count < end || unit + size < n ? streams + 2 : 0);
    }
    if (sums) memcpy(sums + unit / size * 3, sum, sizeof sum);
  }
}

static void optim_average(real *restrict average, const real *restrict p, int64_t n, const double *factors) {
  const real keep = (real)factors[0], gain = (real)factors[1];
#pragma omp simd
  for (int64_t i = 0; i < n; i++) average[i] = FMA(keep, average[i], gain * p[i]);
}

/* Contract: ref_sweep. */
static void cpu_sweep(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_sweep_args *a = args;
  const struct optim_rule *rule = optim_rules + a->rule;
  const int64_t size = a->product.m ? a->product.n : HF_SWEEP_CHUNK;
  for (int64_t i = 0; i < a->n_runs; i++) {
    const int64_t r = a->trust ? a->n_runs - 1 - i : i;
    const hf_param_run *run = (const hf_param_run *)a->runs + r;
    const int64_t first = lo > run->unit ? (lo - run->unit) * size : 0;
    const int64_t last = (hi - run->unit) * size < run->n ? (hi - run->unit) * size : run->n;
    const double *column = ctx->scalars + run->column;
    if (first >= last || column[HF_COLUMN_active] == 0) continue;
    const optim_common k = optim_prepare(a->scale, column);
    real c[OPTIM_CONSTANTS];
    optim_once(rule, column, ctx, a->trust ? ((const double *)a->trust)[r] : 1, c);
    /* the rows of a product that fit in the scratch; else all at once, or where another sweep has measured, from the end
     * back, which caches still hold */
    const int64_t all = last - first, rows = HF_PRODUCT_BYTES / (int64_t)sizeof(real) / size * size;
    const int64_t most = a->product.m ? rows : a->trust ? SWEEP_BACK * HF_SWEEP_CHUNK : all;
    for (int64_t done = 0, n; done < all; done += n) {
      n = a->trust ? (all - done - 1) % most + 1 : all - done < most ? all - done : most; /* pieces begin at units */
      const int64_t at = a->trust ? last - done - n : first + done;
      const real *g = (const real *)a->g + run->offset + at;
      if (a->product.m) {
        hf_matmul_args part = a->product;
        part.m = n / size;
        part.x = (real *)part.x + at / size * part.x_row;
        part.y = ctx->scratch + ctx->scratch_bytes - HF_PRODUCT_BYTES;
        cpu_matmul(&part, ctx, 0, part.m);
        g = part.y;
      }
      real *p = (real *)a->p + run->offset + at, *slot[HF_MAX_SLOTS];
      for (int s = 0; s < HF_MAX_SLOTS; s++) slot[s] = a->slot[s] ? (real *)a->slot[s] + run->offset + at : 0;
      double *sums = a->sums ? (double *)a->sums + (run->unit + at / size) * 3 : 0;
      const int alone = k.l1 == 0 && !sums && !a->measure;
      if (!alone) optim_blocks(rule, k, c, n, size, p, g, slot, sums, a->measure != 0);
      /* an average follows while p is in L1 */
      const int64_t block = a->average && alone ? HF_SWEEP_CHUNK : n;
      for (int64_t b = 0; b < n && (alone || a->average); b += block) {
        const int64_t count = n - b < block ? n - b : block;
        if (alone) rule->each(k, c, count, p + b, g + b, slot);
        if (a->average)
          optim_average((real *)a->average + run->offset + at + b, p + b, count, ctx->scalars + a->average_column);
        for (int s = 0; s < HF_MAX_SLOTS; s++)
          if (slot[s]) slot[s] += count;
      }
    }
  }
}

HF_INLINE void ask_for_rows(const hf_sweep_rows_args *a, int64_t i) {
  const int64_t row = ((const int64_t *)a->row)[i], at = row * a->cols, bytes = a->cols * (int64_t)sizeof(real);
  if (row < 0) return;
  prefetch_row((real *)a->p + at, bytes);
  for (int s = 0; s < HF_MAX_SLOTS; s++)
    if (a->slot[s]) prefetch_row((real *)a->slot[s] + at, bytes);
}

/* Contract: ref_sweep_rows. */
static void cpu_sweep_rows(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_sweep_rows_args *a = args;
  const struct optim_rule *rule = optim_rules + a->rule;
  const int64_t *row = a->row, cols = a->cols;
  const double *column = ctx->scalars + a->column;
  if (lo >= hi || column[HF_COLUMN_active] == 0) return;
  const optim_common k = optim_prepare(a->scale, column);
  real c[OPTIM_CONSTANTS];
  optim_once(rule, column, ctx, 1, c);
  for (int64_t i = lo; i < hi && i < lo + SWEEP_AHEAD; i++) ask_for_rows(a, i);
  for (int64_t i = lo; i < hi; i++) {
    if (i + SWEEP_AHEAD < hi) ask_for_rows(a, i + SWEEP_AHEAD);
    double *sums = a->sums ? (double *)a->sums + 3 * i : 0;
    if (row[i] < 0) {
      if (sums) memset(sums, 0, 3 * sizeof *sums);
      continue;
    }
    const real *g = (const real *)a->g + i * cols;
    real *p = (real *)a->p + row[i] * cols, *slot[HF_MAX_SLOTS];
    for (int s = 0; s < HF_MAX_SLOTS; s++) slot[s] = a->slot[s] ? (real *)a->slot[s] + row[i] * cols : 0;
    if (k.l1 == 0 && !sums)
      rule->each(k, c, cols, p, g, slot);
    else
      optim_blocks(rule, k, c, cols, cols, p, g, slot, sums, 0);
  }
}
