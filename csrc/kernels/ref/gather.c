/* y(rows, cols)[i, :] = table(table_rows, cols)[index[i], :], items of itemsize bytes, index(rows) int64.
 * An index outside [0, table_rows) sets status HF_BAD_INDEX and gives zeros.
 * Units: rows. Writes with =. y aliases nothing and may be uninitialised. */
static void ref_gather(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_gather_args *p = args;
  const int64_t *index = p->index, bytes = p->cols * p->itemsize;
  for (int64_t i = lo; i < hi; i++) {
    const int known = index[i] >= 0 && index[i] < p->table_rows;
    if (!known) *ctx->status = HF_BAD_INDEX;
    for (int64_t b = 0; b < bytes; b++)
      ((char *)p->y)[i * bytes + b] = known ? ((const char *)p->table)[index[i] * bytes + b] : 0;
  }
}

/* dtable(table_rows, cols)[t, :] = sum of dy(rows, cols)[i, :] over the i with index[i] == t, i ascending: the gradient
 * of gather. Indices outside the table are left out (gather has reported them).
 * Units: table rows; a piece reads all of index but only its own rows of dy. Writes with =. dtable aliases nothing and
 * may be uninitialised. */
static void ref_scatter_add(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_scatter_add_args *p = args;
  const int64_t *index = p->index, cols = p->cols;
  for (int64_t t = lo; t < hi; t++) {
    for (int64_t j = 0; j < cols; j++) {
      double sum = 0;
      for (int64_t i = 0; i < p->rows; i++) sum += index[i] == t ? ((const real *)p->dy)[i * cols + j] : (real)0;
      ((real *)p->dtable)[t * cols + j] = (real)sum;
    }
  }
}
