/* Letters: r row, d0 d1 d2 inner indices of the domain rows x dim[0] x dim[1] x dim[2]. */

#define E_ABS(a) fabs(a)
#define E_SQRT(a) sqrt(a)
#define E_EXP(a) exp(a)
#define E_EXPM1(a) expm1(a)
#define E_LOG(a) log(a)
#define E_LOG1P(a) log1p(a)
#define E_TANH(a) tanh(a)
#define E_SIGMOID(a) ref_sigmoid(a)
#define E_ERF(a) erf(a)
#define E_SINPI(a) sin(M_PI * remainder(a, 2))
#define E_COSPI(a) cos(M_PI * remainder(a, 2))
#define E_SOFTPLUS(a) ref_softplus(a)
#define E_GELU(a) ref_gelu(a)
#define E_GELU_SLOPE(a) ref_gelu_slope(a)
#define E_POW(a, b) pow(a, b)
#define E_FMA(a, b, c) fma(a, b, c)

/* exp of a number that is not positive: never overflows. */
static real ref_sigmoid(real x) {
  const real e = exp(-fabs(x));
  return (x < 0 ? e : (real)1) / (1 + e);
}
static real ref_softplus(real x) { return (x < 0 ? (real)0 : x) + log1p(exp(-fabs(x))); }
/* x Phi(x), Phi the normal distribution function, and its slope Phi(x) + x phi(x); 0 and 0, 1 at the infinities. */
static real ref_gelu(real x) { return x < -40 ? (real)0 : (real)(0.5 * x * erfc(-x * M_SQRT1_2)); }
static real ref_gelu_slope(real x) {
  const real bell = fabs(x) > 40 ? (real)0 : (real)(x * exp(-0.5 * x * x) * (0.5 * M_SQRT1_2 * M_2_SQRTPI));
  return (real)(0.5 * erfc(-x * M_SQRT1_2)) + bell;
}

static uint32_t ref_word(uint32_t stream, const hf_ctx *ctx, int64_t e) {
  return hf_random_word(ctx->seed, (uint64_t)ctx->step, stream, (uint64_t)e);
}

/* Inverted dropout (Srivastava et al. 2014): a / (1 - p), or 0 where the element's word is below the threshold. The random
 * instructions are defined in runtime/random.h. */
static real ref_dropout(real a, double p, uint32_t stream, const hf_ctx *ctx, int64_t e) {
  return p < 1 && ref_word(stream, ctx, e) >= hf_random_threshold(p) ? a * (real)(1 / (1 - p)) : (real)0;
}

static real ref_random_uniform(real a, double p, uint32_t stream, const hf_ctx *ctx, int64_t e) {
  (void)a, (void)p;
  const uint64_t w = ref_word(stream, ctx, e), more = ref_word(stream + HF_SECOND_STREAM, ctx, e);
  return sizeof(real) == sizeof(float) ? (real)(w >> 8) * (real)0x1p-24
                                       : (real)((double)(w << 21 | more >> 11) * 0x1p-53);
}

static real ref_random_normal(real a, double p, uint32_t stream, const hf_ctx *ctx, int64_t e) {
  (void)a, (void)p;
  const double u = ((double)ref_word(stream, ctx, e & ~(int64_t)16) + 0.5) * 0x1p-32;
  const uint32_t v = ref_word(stream, ctx, e | 16), turned = e & 16 ? v - (1u << 30) : v; /* sin x = cos(x - pi / 2) */
  return (real)(sqrt(-2 * log(u)) * sin(2 * M_PI * 0x1p-32 * hf_random_quarter(turned)));
}

static real ref_random_bernoulli(real a, double p, uint32_t stream, const hf_ctx *ctx, int64_t e) {
  (void)a;
  return (real)(p >= 1 || ref_word(stream, ctx, e) < hf_random_threshold(p));
}

/* One instruction on scalar registers; e is the element's number in the domain. */
static real ref_instr(const hf_ewise_args *p, int at, const real *reg, const hf_ctx *ctx, int64_t e) {
  const int64_t code = p->code[at];
  const real a = reg[hf_code_a(code)], b = reg[hf_code_b(code)], c = reg[hf_code_c(code)];
  const real imm = (real)p->imm[at];
  switch (hf_code_op(code)) {
#define HF_UNARY(name, expr) case HF_I_##name: return expr;
#define HF_BINARY(name, expr) case HF_I_##name: return expr;
#define HF_BINARY_OR_IMM(name, expr)                       \
  case HF_I_##name: return expr;                           \
  case HF_I_##name##_imm: {                                \
    const real b = imm;                                    \
    return expr;                                           \
  }
#define HF_TERNARY(name, expr)                             \
  case HF_I_##name: return expr;                           \
  case HF_I_##name##_b: {                                  \
    const real b = imm;                                    \
    return expr;                                           \
  }                                                        \
  case HF_I_##name##_c: {                                  \
    const real c = imm;                                    \
    return expr;                                           \
  }
#define HF_RANDOM(name) case HF_I_##name: return ref_##name(a, p->imm[at], hf_code_stream(code), ctx, e);
#include "ewise.def"
  }
  return NAN;
}

/* Rows [row0, row1) and columns [col0, col1) of the last dim: the epilogue of a matmul tile. */
static void ref_ewise_region(const hf_ewise_args *p, const hf_ctx *ctx, int64_t row0, int64_t row1, int64_t col0,
                             int64_t col1) {
  real reg[HF_N_REGS] = {0};
  for (int64_t r = row0; r < row1; r++) {
    double sum[HF_MAX_OUT] = {0};
    for (int64_t d0 = 0; d0 < p->dim[0]; d0++) {
      for (int64_t d1 = 0; d1 < p->dim[1]; d1++) {
        for (int64_t d2 = col0; d2 < col1; d2++) {
          const int64_t e = ((r * p->dim[0] + d0) * p->dim[1] + d1) * p->dim[2] + d2;
          for (int i = 0; i < p->n_in; i++) {
            const int64_t *s = p->in_stride + 3 * i;
            reg[HF_REG_IN + i] = ((const real *)p->in[i])[r * p->in_row[i] + d0 * s[0] + d1 * s[1] + d2 * s[2]];
          }
          for (int at = 0; at < p->n_code; at++) reg[hf_code_dst(p->code[at])] = ref_instr(p, at, reg, ctx, e);
          for (int j = 0; j < p->n_out; j++) {
            if (p->row_sum[j])
              sum[j] += reg[HF_REG_OUT + j];
            else
              ((real *)p->out[j])[e] = reg[HF_REG_OUT + j];
          }
        }
      }
    }
    for (int j = 0; j < p->n_out; j++)
      if (p->row_sum[j])
        ((real *)p->out[j])[r] = (real)(sum[j] / (p->row_sum[j] == HF_ROW_MEAN ? (double)p->dim[2] : 1));
  }
}

/* out[j](rows, dim) = program of in[i](rows, dim), broadcast by stride 0; or out[j](rows), the sum or mean over each row
 * (mean over nothing: NaN). Units: rows. Writes with =.
 * An output may alias an input of the same layout (all inputs of an element are read before its outputs are written).
 * Outputs may be uninitialised. */
static void ref_ewise(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_ewise_args *p = args;
  ref_ewise_region(p, ctx, lo, hi, 0, p->dim[2]);
}
