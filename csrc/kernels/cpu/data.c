/* Into and out of a step: the batch, and which labels a prediction meets. Formulas: ref/data.c.
 *
 * Design: a batch is copied in one pass, converted on the way. The longest evenly spaced run of items at the end of a row is
 * converted in one loop that vectorises; an odometer walks the dimensions before it. Rows in random order are asked for
 * ahead: no hardware prefetcher foresees them. Rejected: a copy by the caller into a common dtype, a pass more.
 */

/* What no int64 holds becomes the least int64, which every range check refuses. */
static inline int64_t load_whole(double v) { return v >= -0x1p63 && v < 0x1p63 ? (int64_t)v : INT64_MIN; }

/* X(element type of the user's array, C type, value v as int64) */
#define LOAD_SOURCES(X)                                                         \
  X(HF_SRC_F32, float, load_whole(v))                                           \
  X(HF_SRC_F64, double, load_whole(v))                                          \
  X(HF_SRC_I8, int8_t, v)                                                       \
  X(HF_SRC_I16, int16_t, v)                                                     \
  X(HF_SRC_I32, int32_t, v)                                                     \
  X(HF_SRC_I64, int64_t, v)                                                     \
  X(HF_SRC_U8, uint8_t, v)                                                      \
  X(HF_SRC_U16, uint16_t, v)                                                    \
  X(HF_SRC_U32, uint32_t, v)                                                    \
  X(HF_SRC_U64, uint64_t, v <= INT64_MAX ? (int64_t)v : INT64_MIN)              \
  X(HF_SRC_BOOL, uint8_t, v)

static int64_t load_item_size(int64_t dtype) {
  switch (dtype) {
#define LOAD_SIZE(code, type, as_int) case code: return sizeof(type);
    LOAD_SOURCES(LOAD_SIZE)
  }
  return 0;
}

/* dst[i] = the item at src + i * stride bytes, i in [0, n). A user's items may be unaligned. */
#define LOAD_LOOP(type, to, value)        \
  for (int64_t i = 0; i < n; i++) {       \
    type v;                               \
    memcpy(&v, src + i * step, sizeof v); \
    (to)[i] = value;                      \
  }
#define LOAD_CONVERT(code, type, as_int)                                                                  \
  case code:                                                                                              \
    if (to_int) {                                                                                         \
      const int64_t step = stride;                                                                        \
      LOAD_LOOP(type, (int64_t *)dst, as_int)                                                             \
    } else if (stride == sizeof(type)) { /* a step known when compiling: vectorises, or becomes memcpy */ \
      const int64_t step = sizeof(type);                                                                  \
      LOAD_LOOP(type, (real *)dst, (real)v)                                                               \
    } else {                                                                                              \
      const int64_t step = stride;                                                                        \
      LOAD_LOOP(type, (real *)dst, (real)v)                                                               \
    }                                                                                                     \
    break;
/* One item per row: dst[i] = the item at data + index[i] * row_stride. */
#define LOAD_PICK(code, type, as_int)                     \
  case code:                                              \
    for (int64_t i = 0; i < n; i++) {                     \
      type v;                                             \
      memcpy(&v, data + index[i] * row_stride, sizeof v); \
      if (to_int)                                         \
        ((int64_t *)dst)[i] = as_int;                     \
      else                                                \
        ((real *)dst)[i] = (real)v;                       \
    }                                                     \
    break;
static void load_pick(void *restrict dst, int to_int, const char *restrict data, int64_t dtype, int64_t row_stride,
                      const int64_t *index, int64_t n) {
  switch (dtype) { LOAD_SOURCES(LOAD_PICK) }
}

static void load_convert(void *restrict dst, int to_int, const char *restrict src, int64_t dtype, int64_t stride,
                         int64_t n) {
  switch (dtype) { LOAD_SOURCES(LOAD_CONVERT) }
}

enum { LOAD_AHEAD = 4, LOAD_FETCH = 4096 }; /* rows to look ahead; longest row in bytes that is worth it */

/* Rows [lo, hi), without `ahead`. */
static void load_rows(const hf_load_batch_args *p, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_array *a = p->source;
  const int64_t itemsize = p->to_int ? (int64_t)sizeof(int64_t) : (int64_t)sizeof(real);
  const int64_t row_bytes = p->elems * itemsize;
  char *dst = p->dst;
  if (p->elems == 0) return;

  int64_t outer = a->ndim, run = 1, stride = load_item_size(a->dtype);
  while (outer > 0 && (run == 1 || a->shape[outer - 1] == 1 || a->stride[outer - 1] == run * stride)) {
    outer--;
    if (a->shape[outer] > 1 && run == 1) stride = a->stride[outer];
    run *= a->shape[outer];
  }
  if (!ctx->index && outer == 0 && (run == 1 || a->row_stride == run * stride)) {
    const char *src = a->data + (ctx->first + lo) * a->row_stride;
    load_convert(dst + lo * row_bytes, p->to_int, src, a->dtype, run == 1 ? a->row_stride : stride, (hi - lo) * run);
    return;
  }
  if (ctx->index && outer == 0 && run == 1) {
    load_pick(dst + lo * row_bytes, p->to_int, a->data, a->dtype, a->row_stride, ctx->index + ctx->first + lo, hi - lo);
    return;
  }
  const int64_t fetch = outer == 0 && stride > 0 && run * stride < LOAD_FETCH ? run * stride : 0;
  for (int64_t i = lo; i < hi; i++) {
    const int64_t row = ctx->index ? ctx->index[ctx->first + i] : ctx->first + i;
    const char *src = a->data + row * a->row_stride;
    if (ctx->index && i + LOAD_AHEAD < hi)
      for (int64_t b = 0; b < fetch; b += 64)
        __builtin_prefetch(a->data + ctx->index[ctx->first + i + LOAD_AHEAD] * a->row_stride + b);
    char *to = dst + i * row_bytes, *end = to + row_bytes;
    int64_t at[6] = {0};
    while (to < end) {
      load_convert(to, p->to_int, src, a->dtype, stride, run);
      to += run * itemsize;
      for (int64_t d = outer - 1; d >= 0; d--) {
        src += a->stride[d];
        if (++at[d] < a->shape[d]) break;
        src -= a->shape[d] * a->stride[d];
        at[d] = 0;
      }
    }
  }
}

/* Contract: ref_load_batch. */
static void cpu_load_batch(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_load_batch_args *p = args;
  if (!p->ahead) {
    load_rows(p, ctx, lo, hi);
    return;
  }
  const int64_t ahead = p->ahead % (p->rows > 0 ? p->rows : 1),
                turn = p->rows - ahead; /* from row `turn` on: the first ones */
  hf_ctx moved = *ctx;
  moved.first = ctx->first + ahead;
  if (lo < turn) load_rows(p, &moved, lo, hi < turn ? hi : turn);
  moved.first = ctx->first - turn;
  if (hi > turn) load_rows(p, &moved, lo > turn ? lo : turn, hi);
}

/* Contract: ref_correct. A NaN counts as the largest; the first of equals wins. */
static void cpu_correct(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_correct_args *p = args;
  for (int64_t i = lo; i < hi; i++) {
    const real *x = (const real *)p->x + i * p->cols;
    int64_t at = 0;
    for (int64_t j = 1; j < p->cols; j++) at = x[j] > x[at] || (x[j] != x[j] && x[at] == x[at]) ? j : at;
    ((real *)p->y)[i] = (real)(at == ((const int64_t *)p->labels)[i]);
  }
}
