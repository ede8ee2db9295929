/* y(m, n) = epilogue(bias(n) + bf16(x)(m, k) bf16(w)(k, n)): ref_matmul with operands rounded to bfloat16 and, built for
 * float, the arithmetic of x86's vdpbf16ps, which is the definition of this op: y[i, j] starts at bias[j] and takes k in
 * pairs, ascending, of each pair the odd one first, each by a fused multiply-add that rounds to nearest even (a plain one
 * does the same but where the product over- or underflows: two bfloat16 multiply exactly in float32). Subnormals count as
 * 0 in operands and sums. An odd k ends with a pair whose second half is 0.
 * Strides, units and aliasing as in ref_matmul; of x_row and x_col one is 1, and so of w_row and w_col. */

/* Round to nearest even on the upper 16 bits of a float; NaN stays NaN, made quiet. In double: rounds twice. */
static real ref_bf16(real value) {
  float f = (float)value;
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  if (isnan(f))
    u |= 0x400000;
  else if (fabs(f) < FLT_MIN)
    u &= 0x80000000;
  else
    u += 0x7fff + (u >> 16 & 1);
  u &= 0xffff0000;
  memcpy(&f, &u, sizeof u);
  return f;
}

static real ref_flush(real v) { return fabs(v) < FLT_MIN ? copysign((real)0, v) : v; }

static real ref_product_bf16(const hf_matmul_bf16_args *p, int64_t i, int64_t j) {
  const real *x = p->x, *w = p->w, *bias = p->bias;
  real sum = bias ? bias[j] : (real)0;
  for (int64_t q = 0; q < (p->k + 1) / 2 * 2; q++) {
    const int64_t k = q ^ 1; /* 1, 0, 3, 2, ... */
    const real xk = k < p->k ? ref_bf16(x[i * p->x_row + k * p->x_col]) : (real)0;
    const real wk = k < p->k ? ref_bf16(w[k * p->w_row + j * p->w_col]) : (real)0;
    sum = ref_flush(fma(xk, wk, ref_flush(sum)));
  }
  return sum;
}

static void ref_matmul_bf16(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_matmul_bf16_args *p = args;
  real *y = p->y;
  const hf_region part = hf_matmul_region(p->by_cols, p->m, p->n, lo, hi);
  for (int64_t i = part.r0; i < part.r1; i++) {
    for (int64_t j = part.c0; j < part.c1; j++) y[i * p->n + j] = ref_product_bf16(p, i, j);
  }
  if (p->epilogue.n_code > 0) ref_ewise_region(&p->epilogue, ctx, part.r0, part.r1, part.c0, part.c1);
}
