/* y(rows, cols)[i, :] = table(table_rows, cols)[index[i], :], items of itemsize bytes, index(rows) int64.
 * An index outside [0, table_rows) sets status HF_BAD_INDEX and gives zeros.
 * Units: rows. Writes with =. y aliases nothing and may be uninitialised. */
static void ref_gather(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_gather_args *p = args;
  const int64_t *index = p->index, bytes = p->cols * p->itemsize;
  for (int64_t i = lo; i < hi; i++) {
    const int in_range = index[i] >= 0 && index[i] < p->table_rows;
    if (!in_range) *ctx->status = HF_BAD_INDEX;
    for (int64_t b = 0; b < bytes; b++)
      ((char *)p->y)[i * bytes + b] = in_range ? ((const char *)p->table)[index[i] * bytes + b] : 0;
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

/* order(rows): the places 0 .. rows - 1, by index(rows) ascending, equal ones by place ascending. row(rows)[k] =
 * index[order[k]] where that is in [0, table_rows) and k is the first with it, else -1.
 * Units: 1. Writes with =. order and row alias nothing and may be uninitialised. */
static void ref_order_rows(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_order_rows_args *p = args;
  const int64_t *index = p->index;
  int64_t *order = p->order, *row = p->row;
  if (lo >= hi) return;
  for (int64_t i = 0; i < p->rows; i++) { /* insertion */
    int64_t k = i;
    for (; k > 0 && index[order[k - 1]] > index[i]; k--) order[k] = order[k - 1];
    order[k] = i;
  }
  for (int64_t k = 0; k < p->rows; k++) {
    const int64_t t = index[order[k]];
    row[k] = t >= 0 && t < p->table_rows && (k == 0 || index[order[k - 1]] != t) ? t : -1;
  }
}

/* g(units, cols)[k, :] = sum of dy(rows, cols)[order[j], :] over j = k and those behind it with row[j] < 0, ascending;
 * 0 where row[k] < 0 or k >= rows.
 * Units: rows of g, at least as many as rows. Writes with =. g aliases nothing and may be uninitialised. */
static void ref_sum_rows(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_sum_rows_args *p = args;
  const int64_t *order = p->order, *row = p->row;
  for (int64_t k = lo; k < hi; k++)
    for (int64_t c = 0; c < p->cols; c++) {
      double sum = 0;
      if (k < p->rows && row[k] >= 0)
        for (int64_t j = k; j < p->rows && (j == k || row[j] < 0); j++)
          sum += ((const real *)p->dy)[order[j] * p->cols + c];
      ((real *)p->g)[k * p->cols + c] = (real)sum;
    }
}
