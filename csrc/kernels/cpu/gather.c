/* Rows of a table by number, and back. Rows are asked for ahead, the first ones before the loop comes to any: of a large
 * table none is in a cache, and no hardware prefetcher foresees them. So many rows that memory answers in time: a row is
 * copied in 5 ns, updated in 20. */

enum { GATHER_AHEAD = 32, SWEEP_AHEAD = 16, ROW_LINES = 8 /* of a row; the hardware follows the rest */ };

HF_INLINE void prefetch_row(const void *row, int64_t bytes) {
  for (int64_t b = 0; b < bytes && b < ROW_LINES * 64; b += 64) __builtin_prefetch((const char *)row + b);
}

HF_INLINE void ask_for_row(const hf_gather_args *p, int64_t i, int64_t bytes) {
  const int64_t at = ((const int64_t *)p->index)[i];
  if (at >= 0 && at < p->table_rows) prefetch_row((const char *)p->table + at * bytes, bytes);
}

/* Contract: ref_gather. */
static void cpu_gather(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_gather_args *p = args;
  const int64_t *index = p->index, bytes = p->cols * p->itemsize;
  for (int64_t i = lo; i < hi && i < lo + GATHER_AHEAD; i++) ask_for_row(p, i, bytes);
  for (int64_t i = lo; i < hi; i++) {
    if (i + GATHER_AHEAD < hi) ask_for_row(p, i + GATHER_AHEAD, bytes);
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

/* Contract: ref_order_rows. Merges of runs that double; to and fro between order and row. */
static void cpu_order_rows(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_order_rows_args *p = args;
  const int64_t *index = p->index, n = p->rows;
  int64_t *from = p->order, *to = p->row, *const row = p->row;
  if (lo >= hi) return;
  for (int64_t i = 0; i < n; i++) from[i] = i;
  for (int64_t run = 1; run < n; run *= 2) {
    for (int64_t at = 0; at < n; at += 2 * run) {
      const int64_t half = at + run < n ? at + run : n, end = half + run < n ? half + run : n;
      int64_t a = at, b = half;
      for (int64_t k = at; k < end; k++)
        to[k] = b == end || (a < half && index[from[a]] <= index[from[b]]) ? from[a++] : from[b++];
    }
    int64_t *const other = from;
    from = to;
    to = other;
  }
  if (from == row) memcpy(p->order, row, (size_t)n * sizeof *row);
  int64_t last = -1;
  for (int64_t k = 0; k < n; k++) {
    const int64_t t = index[((const int64_t *)p->order)[k]];
    row[k] = t > last && t < p->table_rows ? t : -1;
    last = row[k] < 0 ? last : t;
  }
}

/* Contract: ref_sum_rows. */
static void cpu_sum_rows(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_sum_rows_args *p = args;
  const int64_t *order = p->order, *row = p->row, cols = p->cols;
  for (int64_t k = lo; k < hi; k++) {
    real *g = (real *)p->g + k * cols;
    for (int64_t c = 0; c < cols; c++) g[c] = 0;
    if (k >= p->rows || row[k] < 0) continue;
    for (int64_t j = k; j < p->rows && (j == k || row[j] < 0); j++) {
      const real *dy = (const real *)p->dy + order[j] * cols;
      for (int64_t c = 0; c < cols; c++) g[c] += dy[c];
    }
  }
}
