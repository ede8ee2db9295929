/* Into and out of a step: the batch, and which labels a prediction meets. */

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
 * Row i of the batch is row index[first + j] of the array, or first + j without an index; j = i, or (i + ahead) mod rows.
 * Units: rows. Writes with =. dst aliases nothing and may be uninitialised. */
static void ref_load_batch(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_load_batch_args *p = args;
  const hf_array *a = p->source;
  for (int64_t i = lo; i < hi; i++) {
    const int64_t at = ctx->first + (p->ahead ? (i + p->ahead) % p->rows : i);
    const int64_t row = ctx->index ? ctx->index[at] : at;
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

/* y(rows) = 1 where the first maximum of x(rows, cols) stands at labels(rows), int64; else 0. A NaN counts as the
 * maximum. Units: rows. Writes with =. y aliases nothing and may be uninitialised. */
static void ref_correct(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_correct_args *p = args;
  for (int64_t i = lo; i < hi; i++) {
    const real *x = (const real *)p->x + i * p->cols;
    int64_t at = 0, k = 0;
    for (; k < p->cols; k++)
      if (ref_above(x[k], x[at])) at++, k = -1; /* something is above it: the next */
    ((real *)p->y)[i] = (real)(at == ((const int64_t *)p->labels)[i]);
  }
}

/* Nothing: the executor gives control back before it. */
static void ref_yield(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)args, (void)ctx, (void)lo, (void)hi;
}
