/* Into and out of a step: the batch, its size, and the sums that an epoch reports. */

/* The item at p of a user's array, exactly: long double holds every int64 and double. Items may be unaligned. */
static long double ref_item(int64_t dtype, const char *p) {
  switch (dtype) {
#define ITEM(code, type)        \
  case code: {                  \
    type v;                     \
    memcpy(&v, p, sizeof v);    \
    return (long double)v;      \
  }
    ITEM(HF_SRC_F32, float)
    ITEM(HF_SRC_F64, double)
    ITEM(HF_SRC_I8, int8_t)
    ITEM(HF_SRC_I16, int16_t)
    ITEM(HF_SRC_I32, int32_t)
    ITEM(HF_SRC_I64, int64_t)
    ITEM(HF_SRC_U8, uint8_t)
    ITEM(HF_SRC_U16, uint16_t)
    ITEM(HF_SRC_U32, uint32_t)
    ITEM(HF_SRC_U64, uint64_t)
    ITEM(HF_SRC_BOOL, uint8_t)
#undef ITEM
  }
  return 0;
}

/* dst(rows, elems) = the batch's rows of a user's array, in C order, as real, or as int64 with to_int (towards zero; what no
 * int64 holds becomes the least int64, which every range check refuses).
 * Row i of the batch is row index[first + i] of the array, or first + i without an index.
 * Units: rows. Writes with =. dst aliases nothing and may be uninitialised. */
static void ref_load_batch(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_load_batch_args *p = args;
  const hf_array *a = p->source;
  for (int64_t i = lo; i < hi; i++) {
    const int64_t row = ctx->index ? ctx->index[ctx->first + i] : ctx->first + i;
    for (int64_t e = 0; e < p->elems; e++) {
      const char *item = a->data + row * a->row_stride;
      int64_t rest = e;
      for (int64_t d = a->ndim - 1; d >= 0; d--) {
        item += rest % a->shape[d] * a->stride[d];
        rest /= a->shape[d];
      }
      const long double v = ref_item(a->dtype, item);
      if (p->to_int)
        ((int64_t *)p->dst)[i * p->elems + e] = v >= -0x1p63L && v < 0x1p63L ? (int64_t)v : INT64_MIN;
      else
        ((real *)p->dst)[i * p->elems + e] = (real)v;
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
    sums[2 * i] += ((const real *)p->value)[i];
    sums[2 * i + 1] += weight;
  }
}
