/* y(m, n) = epilogue(bias(n) + x(m, k) w(k, n)): y[i, j] starts at bias[j] (0 without bias) and takes k FMAs, k
 * ascending. x and w are strided (x_row, x_col, w_row, w_col), so either may be a transposed view; y is contiguous. k
 * may be 0. Units: rows of y, or with by_cols blocks of HF_COL_BLOCK columns. Writes with =. y may be uninitialised and
 * aliases neither x, w nor bias; the epilogue usually has y as in[0] and out[0]. */
static inline real ref_product(const hf_matmul_args *p, int64_t i, int64_t j) {
  const real *x = p->x, *w = p->w, *bias = p->bias;
  real sum = bias ? bias[j] : (real)0;
  for (int64_t k = 0; k < p->k; k++) sum = fma(x[i * p->x_row + k * p->x_col], w[k * p->w_row + j * p->w_col], sum);
  return sum;
}

static void ref_matmul(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_matmul_args *p = args;
  real *y = p->y;
  const hf_region part = hf_matmul_region(p->by_cols, p->m, p->n, lo, hi);
  for (int64_t i = part.r0; i < part.r1; i++) {
    for (int64_t j = part.c0; j < part.c1; j++) y[i * p->n + j] = ref_product(p, i, j);
  }
  if (p->epilogue.n_code > 0) ref_ewise_region(&p->epilogue, ctx, part.r0, part.r1, part.c0, part.c1);
}
