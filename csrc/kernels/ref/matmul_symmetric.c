/* y(n, n) = scale x x' + add x + diagonal I of x(n, k), strides row and col, one of them 1; with square x(n, n) is symmetric,
 * and only then may add be anything but 0. An element of x x' is one chain of FMAs over k ascending from 0, or with bf16
 * as in ref_matmul_bf16; below the diagonal y[i, j] = fma(add, x[i, j], scale sum), above it is the same number. Units:
 * unit u is columns [u S, (u + 1) S) and as many, counted from the last block of S = HF_SYMMETRIC_BLOCK (twice that with
 * bf16) columns, from the diagonal down, and their mirror image. Writes with =. y may be uninitialised and does not alias
 * x. */

/* The product of which half is needed. */
static inline hf_matmul_args ref_symmetric_product(const hf_matmul_symmetric_args *p) {
  return (hf_matmul_args){.x = p->x,
                          .w = p->x,
                          .k = p->k,
                          .x_row = p->row,
                          .x_col = p->col,
                          .w_row = p->square ? p->row : p->col,
                          .w_col = p->square ? p->col : p->row};
}

static void ref_matmul_symmetric(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_matmul_symmetric_args *p = args;
  const int64_t n = p->n, size = HF_SYMMETRIC_BLOCK << (p->bf16 != 0), blocks = (n + size - 1) / size;
  const hf_matmul_args product = ref_symmetric_product(p);
  hf_matmul_bf16_args rounded; /* its struct is that of matmul */
  memcpy(&rounded, &product, sizeof rounded);
  real *y = p->y;
  for (int64_t j = 0; j < n; j++) {
    const int64_t block = j / size, unit = 2 * block < blocks ? block : blocks - 1 - block;
    if (unit < lo || unit >= hi) continue;
    for (int64_t i = j; i < n; i++) {
      const real sum = p->bf16 ? ref_product_bf16(&rounded, i, j) : ref_product(&product, i, j);
      const real x = p->add != 0 ? ((const real *)p->x)[i * p->row + j * p->col] : (real)0;
      y[i * n + j] = fma((real)p->add, x, (real)p->scale * sum) + (i == j ? (real)p->diagonal : (real)0);
      y[j * n + i] = y[i * n + j];
    }
  }
}
