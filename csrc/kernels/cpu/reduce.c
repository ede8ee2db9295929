/* Reductions of contiguous runs and of columns. Formulas and shapes: ref/reduce.c.
 *
 * Design
 * (a) A run goes to LANES lanes and a fixed tree; columns go to one lane each, so a column's result does not depend on
 *     the columns beside it, nor a run's on the runs beside it.
 * (b) Both are cut into chunks of CHUNK steps whose partial results are then combined: a float sum of n terms has an
 *     error that grows with CHUNK + n / CHUNK instead of n.
 * (c) Columns are taken COLS at a time, so that each row is read in runs of 4 KB, which the prefetchers follow, while the
 *     sums stay in L1, and four rows at a time, so that a partial sum is loaded and stored once per four additions.
 * (d) The tail of a run is copied to a padded buffer: one body for full and short blocks, and no masks to emulate.
 */
enum { CHUNK = 64, COLS = 4096 / sizeof(real) };

/* What a run can be reduced to besides hf_reduce_kind: the sum of (x - center)^2, and a maximum that may lose a NaN. */
enum { SUM_SQUARES = HF_MAX_ABS + 1, LOOSE_MAX };

#define FOR_LANES _Pragma("omp simd") for (int l = 0; l < LANES; l++)

HF_INLINE real reduce_identity(const int kind) {
  return kind == HF_MAX || kind == LOOSE_MAX ? -(real)INFINITY : kind == HF_MIN ? (real)INFINITY : (real)0;
}

/* a and b into one. In a maximum or minimum NaN wins. */
HF_INLINE real reduce_combine(const int kind, real a, real b) {
  if (kind == HF_MAX || kind == HF_MIN || kind == HF_MAX_ABS) {
    /* two selects side by side: nested ones are not vectorised */
    const real far = (kind == HF_MIN ? a < b : a > b) ? a : b;
    return a != a ? a : far;
  }
  if (kind == LOOSE_MAX) return a > b ? a : b;
  return a + b;
}

/* What of an element is combined. */
HF_INLINE real reduce_value(const int kind, real x) { return kind == HF_MAX_ABS ? hf_abs(x) : x; }

/* One element into a partial result. */
HF_INLINE real reduce_take(const int kind, real acc, real x, real center) {
  if (kind == SUM_SQUARES) return hf_fma(x - center, x - center, acc);
  return reduce_combine(kind, acc, reduce_value(kind, x));
}

HF_INLINE real reduce_tree(const int kind, real *lane) {
  _Pragma("GCC unroll 4") for (int half = LANES / 2; half > 0; half /= 2)
      _Pragma("GCC unroll 8") for (int l = 0; l < half; l++) lane[l] = reduce_combine(kind, lane[l], lane[l + half]);
  return lane[0];
}

/* to(LANES) = x(n), then pad; n <= LANES. No memcpy: its call costs more than the rest of a short run. */
HF_INLINE void pad_lanes(real *to, const real *x, int n, real pad) { FOR_LANES to[l] = l < n ? x[l] : pad; }

/* to(n) = x(LANES). */
HF_INLINE void crop_lanes(real *to, const real *x, int n) { FOR_LANES if (l < n) to[l] = x[l]; }

/* part(LANES) = part and x(n). */
HF_INLINE void reduce_lanes(const int kind, real *part, const real *x, int64_t n, real center) {
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) FOR_LANES part[l] = reduce_take(kind, part[l], x[i + l], center);
  if (i < n) {
    real tail[LANES];
    pad_lanes(tail, x + i, (int)(n - i), kind == SUM_SQUARES ? center : reduce_identity(kind));
    FOR_LANES part[l] = reduce_take(kind, part[l], tail[l], center);
  }
}

/* x(n) to one number. */
HF_INLINE real reduce_run(const int kind, const real *x, int64_t n, real center) {
  const real start = reduce_identity(kind);
  real total[LANES], part[LANES];
  FOR_LANES total[l] = start;
  for (int64_t i = 0; i < n; i += CHUNK * LANES) {
    FOR_LANES part[l] = start;
    reduce_lanes(kind, part, x + i, n - i < CHUNK * LANES ? n - i : CHUNK * LANES, center);
    FOR_LANES total[l] = reduce_combine(kind, total[l], part[l]);
  }
  return reduce_tree(kind, total);
}

/* acc(w) = acc and rows [0, n) of x, rows `stride` apart. */
HF_INLINE void reduce_rows(const int kind, real *restrict acc, const real *x, int64_t stride, int64_t n, int64_t w) {
  int64_t k = 0;
  for (; k + 4 <= n; k += 4) {
    const real *a = x + k * stride, *b = a + stride, *c = b + stride, *d = c + stride;
#pragma omp simd
    for (int64_t j = 0; j < w; j++) {
      const real ab = reduce_combine(kind, reduce_value(kind, a[j]), reduce_value(kind, b[j]));
      const real cd = reduce_combine(kind, reduce_value(kind, c[j]), reduce_value(kind, d[j]));
      acc[j] = reduce_combine(kind, acc[j], reduce_combine(kind, ab, cd));
    }
  }
  for (; k < n; k++) {
#pragma omp simd
    for (int64_t j = 0; j < w; j++) acc[j] = reduce_combine(kind, acc[j], reduce_value(kind, x[k * stride + j]));
  }
}

/* y(w) = columns of x(red, w), rows `stride` apart; w <= COLS. */
HF_INLINE void reduce_cols(const int kind, real *y, const real *x, int64_t red, int64_t stride, int64_t w) {
  real total[COLS], part[COLS];
  for (int64_t j = 0; j < w; j++) total[j] = reduce_identity(kind);
  for (int64_t k = 0; k < red; k += CHUNK) {
    for (int64_t j = 0; j < w; j++) part[j] = reduce_identity(kind);
    reduce_rows(kind, part, x + k * stride, stride, red - k < CHUNK ? red - k : CHUNK, w);
    for (int64_t j = 0; j < w; j++) total[j] = reduce_combine(kind, total[j], part[j]);
  }
  for (int64_t j = 0; j < w; j++) y[j] = total[j];
}

/* Outer [o0, o1), inner [i0, i1). */
HF_INLINE void reduce_region(const int kind, const hf_reduce_args *p, int64_t o0, int64_t o1, int64_t i0, int64_t i1) {
  for (int64_t o = o0; o < o1; o++) {
    const real *x = (const real *)p->x + o * p->red * p->inner;
    real *y = (real *)p->y + o * p->inner;
    if (p->inner == 1)
      y[0] = reduce_run(kind, x, p->red, 0);
    else
      for (int64_t i = i0; i < i1; i += COLS)
        reduce_cols(kind, y + i, x + i, p->red, p->inner, i1 - i < COLS ? i1 - i : COLS);
    if (p->kind == HF_MEAN)
      for (int64_t i = i0; i < i1; i++) y[i] /= (real)p->red;
  }
}

/* Number of the first element of x(n) that is the largest, or NaN if there is one: the maximum, then a search for it. */
static int64_t argmax_run(const real *x, int64_t n) {
  const real max = reduce_run(HF_MAX, x, n, 0);
  int64_t i = 0;
  for (int found = 0; i + LANES <= n; i += LANES) {
#pragma omp simd reduction(| : found)
    for (int l = 0; l < LANES; l++) found |= (x[i + l] == max) | (x[i + l] != x[i + l]);
    if (found) break;
  }
  while (i < n && !((x[i] == max) | (x[i] != x[i]))) i++;
  return i < n ? i : 0;
}

/* The same of the columns of x(red, w), rows `stride` apart; w <= COLS. */
static void argmax_cols(int64_t *y, const real *x, int64_t red, int64_t stride, int64_t w) {
  real max[COLS];
  for (int64_t j = 0; j < w; j++) max[j] = red > 0 ? x[j] : 0, y[j] = 0;
  for (int64_t k = 1; k < red; k++) {
    const real *v = x + k * stride;
#pragma omp simd
    for (int64_t j = 0; j < w; j++) {
      const int take = (v[j] > max[j]) | ((v[j] != v[j]) & (max[j] == max[j]));
      max[j] = take ? v[j] : max[j];
      y[j] = take ? k : y[j];
    }
  }
}

static void reduce_argmax(const hf_reduce_args *p, int64_t o0, int64_t o1, int64_t i0, int64_t i1) {
  for (int64_t o = o0; o < o1; o++) {
    const real *x = (const real *)p->x + o * p->red * p->inner;
    int64_t *y = (int64_t *)p->y + o * p->inner;
    if (p->inner == 1)
      y[0] = argmax_run(x, p->red);
    else
      for (int64_t i = i0; i < i1; i += COLS)
        argmax_cols(y + i, x + i, p->red, p->inner, i1 - i < COLS ? i1 - i : COLS);
  }
}

/* Contract: ref_reduce. */
static void cpu_reduce(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_reduce_args *p = args;
  const int64_t o0 = p->by_inner ? 0 : lo, o1 = p->by_inner ? p->outer : hi;
  const int64_t i0 = p->by_inner ? lo : 0, i1 = p->by_inner ? hi : p->inner;
  if (i0 >= i1) return;
  switch (p->kind) {
  case HF_SUM:
  case HF_MEAN: reduce_region(HF_SUM, p, o0, o1, i0, i1); break;
  case HF_MAX: reduce_region(HF_MAX, p, o0, o1, i0, i1); break;
  case HF_MIN: reduce_region(HF_MIN, p, o0, o1, i0, i1); break;
  case HF_MAX_ABS: reduce_region(HF_MAX_ABS, p, o0, o1, i0, i1); break;
  case HF_ARGMAX: reduce_argmax(p, o0, o1, i0, i1); break;
  }
}
