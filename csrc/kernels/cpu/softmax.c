/* Softmax and its cross-entropy. Formulas and shapes: ref/softmax.c.
 *
 * Design
 * (a) Up to NARROW columns, LANES rows at a time are transposed to a tile, one row per lane: a row of 10 classes would
 *     leave lanes empty and spend its time in trees across lanes. Missing rows are rows of zeros.
 * (b) Wider rows go one by one: LANES lanes and a fixed tree, x read from L1 in each pass. Tails are padded with -inf,
 *     whose exponential adds 0 (where max is not finite the row is NaN anyway).
 * (c) Which of the two follows from cols alone, so a row's result does not depend on its batch.
 * (d) The exponentials of a row that is not too long stay in a buffer in L1, and dx is written once: past the caches where
 *     it is large (see ewise.c).
 * (e) The largest element is subtracted first: exponents are <= 0 and the sum lies in [1, cols]. A maximum
 *     that loses a NaN will do: that NaN's own exponential makes the sum NaN.
 */
enum { NARROW = 32, ROW_BUFFER = 16384 / sizeof(real), ROW_AHEAD = 4096 / sizeof(real) };

typedef real softmax_tile[NARROW][LANES] __attribute__((aligned(64)));

/* t(cols, LANES) = the transpose of x(n, cols), n <= LANES. */
HF_INLINE void tile_load(softmax_tile t, const real *x, int64_t n, int64_t cols) {
  if (n == LANES) {
    for (int64_t j = 0; j < cols; j++) {
      const real *from = x + j;
      _Pragma("GCC unroll 16") for (int l = 0; l < LANES; l++, from += cols) t[j][l] = *from;
    }
    return;
  }
  for (int64_t j = 0; j < cols; j++) FOR_LANES t[j][l] = 0;
  for (int64_t l = 0; l < n; l++)
    for (int64_t j = 0; j < cols; j++) t[j][l] = x[l * cols + j];
}

HF_INLINE void tile_store(real *y, softmax_tile t, int64_t n, int64_t cols) {
  if (n == LANES) {
    for (int64_t j = 0; j < cols; j++) {
      real *to = y + j;
      _Pragma("GCC unroll 16") for (int l = 0; l < LANES; l++, to += cols) *to = t[j][l];
    }
    return;
  }
  for (int64_t l = 0; l < n; l++)
    for (int64_t j = 0; j < cols; j++) y[l * cols + j] = t[j][l];
}

/* max(LANES) over the columns of the tile. */
HF_INLINE void tile_max(real *max, softmax_tile t, int64_t cols) {
  FOR_LANES max[l] = reduce_identity(LOOSE_MAX);
  for (int64_t j = 0; j < cols; j++) FOR_LANES max[l] = reduce_combine(LOOSE_MAX, max[l], t[j][l]);
}

/* Rows of a softmax: y(n, cols), x(n, cols), n <= LANES. */
HF_INLINE void softmax_tile_rows(const int log, real *y, const real *x, int64_t n, int64_t cols) {
  softmax_tile t;
  real max[LANES], sum[LANES] = {0};
  tile_load(t, x, n, cols);
  tile_max(max, t, cols);
  for (int64_t j = 0; j < cols; j++) FOR_LANES {
      const real d = t[j][l] - max[l], e = hf_exp_nonpos(d);
      t[j][l] = log ? d : e;
      sum[l] += e;
    }
  FOR_LANES sum[l] = log ? hf_log(sum[l]) : 1 / sum[l];
  for (int64_t j = 0; j < cols; j++) FOR_LANES t[j][l] = log ? t[j][l] - sum[l] : t[j][l] * sum[l];
  tile_store(y, t, n, cols);
}

/* The largest of x(n), n >= LANES; a NaN may be lost. Four maxima at a time: one waits for itself. */
HF_INLINE real row_max(const real *x, int64_t n) {
  real max[4][LANES];
  for (int k = 0; k < 4; k++) FOR_LANES max[k][l] = x[l];
  int64_t i = LANES;
  for (; i + 4 * LANES <= n; i += 4 * LANES)
    _Pragma("GCC unroll 4") for (int k = 0; k < 4; k++) FOR_LANES max[k][l] =
        reduce_combine(LOOSE_MAX, max[k][l], x[i + k * LANES + l]);
  for (; i + LANES <= n; i += LANES) FOR_LANES max[0][l] = reduce_combine(LOOSE_MAX, max[0][l], x[i + l]);
  if (i < n) FOR_LANES max[1][l] = reduce_combine(LOOSE_MAX, max[1][l], x[n - LANES + l]);
  FOR_LANES {
    const real a = reduce_combine(LOOSE_MAX, max[0][l], max[1][l]), b = reduce_combine(LOOSE_MAX, max[2][l], max[3][l]);
    max[0][l] = reduce_combine(LOOSE_MAX, a, b);
  }
  return reduce_tree(LOOSE_MAX, max[0]);
}

/* Gives the sum of exp(x(n) - *max); with store, e(n) = exp(x - *max) too; e may be x. Then *max = the largest of next(n),
 * the row that follows: its loads and comparisons find their place between the multiplications. */
HF_INLINE real exp_run(const int store, real *e, const real *x, int64_t n, real *max, const real *next) {
  real sum[LANES] = {0}, most[LANES], tail[LANES];
  const real top = *max, *far = next + (n < ROW_AHEAD ? ROW_AHEAD : n);
  FOR_LANES most[l] = next[n - LANES + l];
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    __builtin_prefetch(far + i);
    FOR_LANES {
      const real v = hf_exp_nonpos(x[i + l] - top);
      most[l] = reduce_combine(LOOSE_MAX, most[l], next[i + l]);
      if (store) e[i + l] = v;
      sum[l] += v;
    }
  }
  if (i < n) {
    pad_lanes(tail, x + i, (int)(n - i), -(real)INFINITY);
    FOR_LANES {
      tail[l] = hf_exp_nonpos(tail[l] - top);
      sum[l] += tail[l];
    }
    if (store) crop_lanes(e + i, tail, (int)(n - i));
  }
  *max = reduce_tree(LOOSE_MAX, most);
  return reduce_tree(HF_SUM, sum);
}

/* Contract: ref_softmax. */
static void cpu_softmax(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_softmax_args *p = args;
  const int64_t cols = p->cols;
  for (int64_t i = lo; cols <= NARROW && i < hi; i += LANES) {
    const real *x = (const real *)p->x + i * cols;
    real *y = (real *)p->y + i * cols;
    const int64_t n = hi - i < LANES ? hi - i : LANES;
    if (p->log)
      softmax_tile_rows(1, y, x, n, cols);
    else
      softmax_tile_rows(0, y, x, n, cols);
  }
  real next_max = cols > NARROW && lo < hi ? row_max((const real *)p->x + lo * cols, cols) : 0;
  for (int64_t i = lo; cols > NARROW && i < hi; i++) {
    const real *x = (const real *)p->x + i * cols, *next = i + 1 < hi ? x + cols : x, max = next_max;
    real *y = (real *)p->y + i * cols;
    if (p->log) {
      const real log_sum = hf_log(exp_run(0, y, x, cols, &next_max, next));
#pragma omp simd
      for (int64_t j = 0; j < cols; j++) y[j] = x[j] - max - log_sum;
    } else {
      const real scale = 1 / exp_run(1, y, x, cols, &next_max, next);
#pragma omp simd
      for (int64_t j = 0; j < cols; j++) y[j] *= scale;
    }
  }
}

/* What a piece of softmax_cross_entropy knows: t_ij = on * target_ij + off. */
typedef struct xent_target {
  real on, off;
} xent_target;

/* Rows [i, i + n), n <= LANES; the labels have been checked. */
HF_INLINE void xent_tile_rows(const hf_softmax_cross_entropy_args *p, const xent_target k, int64_t i, int64_t n) {
  const int64_t cols = p->cols;
  const real *x = (const real *)p->x + i * cols, *dloss = p->dloss;
  softmax_tile t, target;
  real max[LANES], sum[LANES] = {0}, sum_t[LANES] = {0}, sum_tx[LANES] = {0}, scale[LANES] = {0};
  tile_load(t, x, n, cols);
  if (p->labels) {
    for (int64_t j = 0; j < cols; j++) FOR_LANES target[j][l] = k.off;
    for (int64_t l = 0; l < n; l++) target[((const int64_t *)p->labels)[i + l]][l] = k.on + k.off;
  } else {
    tile_load(target, (const real *)p->target + i * cols, n, cols);
    for (int64_t j = 0; j < cols; j++) FOR_LANES target[j][l] = hf_fma(k.on, target[j][l], k.off);
  }
  tile_max(max, t, cols);
  for (int64_t j = 0; j < cols; j++) FOR_LANES {
      const real d = t[j][l] - max[l], e = hf_exp_nonpos(d), u = target[j][l];
      t[j][l] = e;
      sum[l] += e;
      sum_t[l] += u;
      sum_tx[l] += u != 0 ? u * d : 0;
    }
  if (p->loss) {
    real loss[LANES];
    FOR_LANES loss[l] = hf_fma(hf_log(sum[l]), sum_t[l], -sum_tx[l]);
    for (int64_t l = 0; l < n; l++) ((real *)p->loss)[i + l] = loss[l];
  }
  if (p->dx) {
    for (int64_t l = 0; l < n; l++) scale[l] = dloss[(i + l) * p->dloss_row];
    FOR_LANES sum[l] = sum_t[l] / sum[l];
    for (int64_t j = 0; j < cols; j++) FOR_LANES t[j][l] = hf_fma(t[j][l], sum[l], -target[j][l]) * scale[l];
    tile_store((real *)p->dx + i * cols, t, n, cols);
  }
}

/* sum_t and sum_tx: the sums of t and t (x - max) over a row; `label` counts where there is no target. */
HF_INLINE void xent_sums(const int soft, real *sum_t, real *sum_tx, const real *x, const real *target, int64_t label,
                         int64_t cols, const xent_target k, real max) {
  real lane_t[LANES] = {0}, lane_tx[LANES] = {0}, lane_x[LANES] = {0}, x_tail[LANES], target_tail[LANES];
  for (int64_t j = 0; (soft || k.off != 0) && j < cols; j += LANES) {
    const real *xj = x + j, *tj = soft ? target + j : x_tail;
    if (cols - j < LANES) {
      pad_lanes(x_tail, xj, (int)(cols - j), max);
      xj = x_tail;
      if (soft) {
        pad_lanes(target_tail, tj, (int)(cols - j), 0);
        tj = target_tail;
      }
    }
    FOR_LANES {
      const real d = xj[l] - max;
      lane_x[l] += d;
      if (soft) {
        lane_t[l] += tj[l];
        lane_tx[l] += tj[l] != 0 ? tj[l] * d : 0;
      }
    }
  }
  *sum_t = soft ? hf_fma(k.on, reduce_tree(HF_SUM, lane_t), k.off * (real)cols) : 1;
  *sum_tx = k.off != 0 ? k.off * reduce_tree(HF_SUM, lane_x) : 0;
  if (k.on != 0) *sum_tx = hf_fma(k.on, soft ? reduce_tree(HF_SUM, lane_tx) : x[label] - max, *sum_tx);
}

/* Row i; its label has been checked. next_max: the row's largest element, then that of the next row, where there is one. */
HF_INLINE void xent_row(const int soft, const hf_softmax_cross_entropy_args *p, const xent_target k, int64_t i,
                        int last, real *next_max) {
  real buffer[ROW_BUFFER] __attribute__((aligned(64)));
  const int64_t cols = p->cols, label = soft ? 0 : ((const int64_t *)p->labels)[i];
  const real *x = (const real *)p->x + i * cols, *target = soft ? (const real *)p->target + i * cols : 0;
  const real max = *next_max, *next = last ? x : x + cols;
  real sum_t, sum_tx, *dx = p->dx ? (real *)p->dx + i * cols : 0;
  xent_sums(soft, &sum_t, &sum_tx, x, target, label, cols, k, max);
  real *e = cols <= ROW_BUFFER ? buffer : dx;
  const real sum = dx ? exp_run(1, e, x, cols, next_max, next) : exp_run(0, 0, x, cols, next_max, next);
  if (p->loss) ((real *)p->loss)[i] = hf_fma(hf_log(sum), sum_t, -sum_tx);
  if (!dx) return;
  const real scale = ((const real *)p->dloss)[i * p->dloss_row], share = sum_t / sum, at_label = e[label];
  const int stream = e == buffer && p->rows * cols * 2 >= STREAM_BYTES / (int64_t)sizeof(real);
  real *to = stream ? buffer : dx;
#pragma omp simd
  for (int64_t j = 0; j < cols; j++) {
    const real t = soft ? hf_fma(k.on, target[j], k.off) : k.off;
    to[j] = hf_fma(e[j], share, -t) * scale;
  }
  if (!soft) to[label] = hf_fma(at_label, share, -(k.on + k.off)) * scale;
  if (stream) stream_copy(dx, buffer, cols);
}

/* First row of [lo, hi) whose label lies outside [0, cols), or hi. */
static int64_t xent_bad_label(const int64_t *labels, int64_t cols, int64_t lo, int64_t hi) {
  while (lo < hi && (!labels || (labels[lo] >= 0 && labels[lo] < cols))) lo++;
  return lo;
}

/* Rows [lo, hi), their labels in range. */
static void xent_rows(const hf_softmax_cross_entropy_args *p, const xent_target k, int64_t lo, int64_t hi) {
  if (p->cols <= NARROW) {
    for (int64_t i = lo; i < hi; i += LANES) xent_tile_rows(p, k, i, hi - i < LANES ? hi - i : LANES);
    return;
  }
  real next_max = lo < hi ? row_max((const real *)p->x + lo * p->cols, p->cols) : 0;
  for (int64_t i = lo; i < hi; i++) {
    if (p->labels)
      xent_row(0, p, k, i, i + 1 == hi, &next_max);
    else
      xent_row(1, p, k, i, i + 1 == hi, &next_max);
  }
}

/* Contract: ref_softmax_cross_entropy. */
static void cpu_softmax_cross_entropy(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_softmax_cross_entropy_args *p = args;
  const xent_target k = {(real)(1 - p->smoothing), (real)(p->smoothing / (double)p->cols)};
  while (lo < hi) {
    const int64_t bad = xent_bad_label(p->labels, p->cols, lo, hi);
    xent_rows(p, k, lo, bad);
    if (bad < hi) {
      *ctx->status = HF_BAD_INDEX;
      if (p->loss) ((real *)p->loss)[bad] = 0;
      for (int64_t j = 0; p->dx && j < p->cols; j++) ((real *)p->dx)[bad * p->cols + j] = 0;
    }
    lo = bad + 1;
  }
  stream_end();
}
