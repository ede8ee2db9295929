/* Into and out of a step: the batch, its size, and the sums that an epoch reports. */

/* A float that no int64 holds becomes the least int64, which every range check refuses. */
static int64_t ref_whole(double v) { return v >= -0x1p63 && v < 0x1p63 ? (int64_t)v : INT64_MIN; }

/* X(element type of the user's array, C type, value v as int64) */
#define REF_SOURCES(X)                                                                                                 \
  X(HF_SRC_F32, float, ref_whole(v)) X(HF_SRC_F64, double, ref_whole(v))                                               \
  X(HF_SRC_I8, int8_t, v) X(HF_SRC_I16, int16_t, v) X(HF_SRC_I32, int32_t, v) X(HF_SRC_I64, int64_t, v)                \
  X(HF_SRC_U8, uint8_t, v) X(HF_SRC_U16, uint16_t, v) X(HF_SRC_U32, uint32_t, v) X(HF_SRC_U64, uint64_t, (int64_t)v)   \
  X(HF_SRC_BOOL, uint8_t, v != 0)

static int64_t ref_source_size(int64_t dtype) {
  switch (dtype) {
#define REF_SIZE(code, type, as_int) case code: return sizeof(type);
    REF_SOURCES(REF_SIZE)
  }
  return 0;
}

/* dst[i] = the item at src + i * stride bytes, i in [0, n). A user's items may be unaligned. */
#define REF_LOOP(type, to, value)                        \
  for (int64_t i = 0; i < n; i++) {                      \
    type v;                                              \
    memcpy(&v, src + i * step, sizeof v);                \
    (to)[i] = value;                                     \
  }
#define REF_CONVERT(code, type, as_int)                                                                   \
  case code:                                                                                              \
    if (to_int) {                                                                                         \
      const int64_t step = stride;                                                                        \
      REF_LOOP(type, (int64_t *)dst, as_int)                                                              \
    } else if (stride == sizeof(type)) { /* a step known when compiling: vectorises, or becomes memcpy */ \
      const int64_t step = sizeof(type);                                                                  \
      REF_LOOP(type, (real *)dst, (real)v)                                                                \
    } else {                                                                                              \
      const int64_t step = stride;                                                                        \
      REF_LOOP(type, (real *)dst, (real)v)                                                                \
    }                                                                                                     \
    break;
/* One item per row: dst[i] = the item at data + index[i] * row_stride. */
#define REF_PICK(code, type, as_int)                       \
  case code:                                               \
    for (int64_t i = 0; i < n; i++) {                      \
      type v;                                              \
      memcpy(&v, data + index[i] * row_stride, sizeof v);  \
      if (to_int)                                          \
        ((int64_t *)dst)[i] = as_int;                      \
      else                                                 \
        ((real *)dst)[i] = (real)v;                        \
    }                                                      \
    break;
static void ref_pick(void *restrict dst, bool to_int, const char *restrict data, int64_t dtype, int64_t row_stride,
                     const int64_t *index, int64_t n) {
  switch (dtype) { REF_SOURCES(REF_PICK) }
}

static void ref_convert(void *restrict dst, bool to_int, const char *restrict src, int64_t dtype, int64_t stride,
                        int64_t n) {
  switch (dtype) { REF_SOURCES(REF_CONVERT) }
}

enum { REF_AHEAD = 4, REF_FETCH = 4096 }; /* rows to look ahead; longest row in bytes that is worth it */

/* dst(rows, elems) = the batch's rows of a user's array, in C order, as real, or as int64 with to_int.
 * Row i of the batch is row index[first + i] of the array, or first + i without an index.
 * The longest evenly spaced run of items at the end of a row is converted in one loop; an odometer walks the dimensions
 * before it. Units: rows. Writes with =. dst aliases nothing and may be uninitialised. */
static void ref_load_batch(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_load_batch_args *p = args;
  const hf_array *a = p->source;
  const int64_t itemsize = p->to_int ? (int64_t)sizeof(int64_t) : (int64_t)sizeof(real);
  const int64_t row_bytes = p->elems * itemsize;
  char *dst = p->dst;
  if (p->elems == 0) return;

  int64_t outer = a->ndim, run = 1, stride = ref_source_size(a->dtype);
  while (outer > 0 && (run == 1 || a->shape[outer - 1] == 1 || a->stride[outer - 1] == run * stride)) {
    outer--;
    if (a->shape[outer] > 1 && run == 1) stride = a->stride[outer];
    run *= a->shape[outer];
  }
  if (!ctx->index && outer == 0 && (run == 1 || a->row_stride == run * stride)) {
    const char *src = a->data + (ctx->first + lo) * a->row_stride;
    ref_convert(dst + lo * row_bytes, p->to_int, src, a->dtype, run == 1 ? a->row_stride : stride, (hi - lo) * run);
    return;
  }
  if (ctx->index && outer == 0 && run == 1) {
    ref_pick(dst + lo * row_bytes, p->to_int, a->data, a->dtype, a->row_stride, ctx->index + ctx->first + lo, hi - lo);
    return;
  }
  const int64_t fetch = outer == 0 && stride > 0 && run * stride < REF_FETCH ? run * stride : 0;
  for (int64_t i = lo; i < hi; i++) {
    const int64_t row = ctx->index ? ctx->index[ctx->first + i] : ctx->first + i;
    const char *src = a->data + row * a->row_stride;
    if (ctx->index && i + REF_AHEAD < hi) /* rows in random order: no hardware prefetcher foresees them */
      for (int64_t b = 0; b < fetch; b += 64)
        __builtin_prefetch(a->data + ctx->index[ctx->first + i + REF_AHEAD] * a->row_stride + b);
    char *to = dst + i * row_bytes, *end = to + row_bytes;
    int64_t at[6] = {0};
    while (to < end) {
      ref_convert(to, p->to_int, src, a->dtype, stride, run);
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

/* dst row first + i = src row i: rows of a result into the user's array. Units: rows. Writes with =. */
static void ref_store_batch(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_store_batch_args *p = args;
  memcpy((char *)p->dst + (ctx->first + lo) * p->row_bytes, (const char *)p->src + lo * p->row_bytes,
         (size_t)((hi - lo) * p->row_bytes));
}

/* y(1) = n. Units: 1. Writes with =. y may be uninitialised. */
static void ref_dim_value(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_dim_value_args *p = args;
  for (int64_t i = lo; i < hi; i++) ((real *)p->y)[i] = (real)p->n;
}

/* y(rows, elems) = x(rows, elems), int64 to real. Units: rows. Writes with =. y aliases nothing, may be
 * uninitialised. */
static void ref_int_to_real(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_int_to_real_args *p = args;
  for (int64_t e = lo * p->elems; e < hi * p->elems; e++) ((real *)p->y)[e] = (real)((const int64_t *)p->x)[e];
}

/* y(rows) = 1 where the first maximum of x(rows, cols) stands at labels(rows), int64; else 0. A NaN counts as the
 * maximum. Units: rows. Writes with =. y aliases nothing and may be uninitialised. */
static void ref_correct(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_correct_args *p = args;
  for (int64_t i = lo; i < hi; i++) {
    const real *x = (const real *)p->x + i * p->cols;
    int64_t at = 0;
    for (int64_t j = 1; j < p->cols; j++) at = ref_above(x[j], x[at]) ? j : at;
    ((real *)p->y)[i] = (real)(at == ((const int64_t *)p->labels)[i]);
  }
}

/* Nothing: the executor gives control back before it. */
static void ref_yield(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)args, (void)ctx, (void)lo, (void)hi;
}

/* sums(2), double: sums[0] += value, sums[1] += weight; value(1) a sum over the batch's rows, weight(1) real, or absent:
 * rows. Units: 1. Writes with +=. */
static void ref_accumulate(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_accumulate_args *p = args;
  const double weight = p->weight ? *(const real *)p->weight : (double)p->rows;
  double *sums = p->sums;
  for (int64_t i = lo; i < hi; i++) {
    sums[0] += *(const real *)p->value;
    sums[1] += weight;
  }
}
