/* Rows of a table by number, and back. */

/* Contract: ref_gather. */
static void cpu_gather(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_gather_args *p = args;
  const int64_t *index = p->index, bytes = p->cols * p->itemsize;
  for (int64_t i = lo; i < hi; i++) {
    char *y = (char *)p->y + i * bytes;
    if (index[i] < 0 || index[i] >= p->table_rows) {
      *ctx->status = HF_BAD_INDEX;
      memset(y, 0, (size_t)bytes);
    } else {
      memcpy(y, (const char *)p->table + index[i] * bytes, (size_t)bytes);
    }
  }
}

/* Contract: ref_scatter_add. */
static void cpu_scatter_add(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_scatter_add_args *p = args;
  const int64_t *index = p->index, cols = p->cols;
  real *dtable = p->dtable;
  for (int64_t e = lo * cols; e < hi * cols; e++) dtable[e] = 0;
  for (int64_t i = 0; i < p->rows; i++) {
    if (index[i] < lo || index[i] >= hi) continue;
    const real *dy = (const real *)p->dy + i * cols;
    real *to = dtable + index[i] * cols;
    for (int64_t j = 0; j < cols; j++) to[j] += dy[j];
  }
}
