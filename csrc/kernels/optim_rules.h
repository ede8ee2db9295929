/* The rules of defs/optim.def as functions, for ref/optim.c and cpu/optim.c, which say what FMA, SQRT and NORMAL (0 below
 * the normal range: averages of gradients that have become exactly 0 decay to subnormals and would stay there, at 100
 * cycles an operation) are. A rule is two functions: `once` works out its constants, `each` goes over elements. */
#ifndef HF_OPTIM_RULES_H
#define HF_OPTIM_RULES_H

enum { OPTIM_CONSTANTS = 8 };

/* What a set of scalars says about every rule: g' = clamp(g scale) + decay p, p' = shrink p; a NaN passes. */
typedef struct optim_common {
  real scale, clip, decay, shrink, l1;
} optim_common;

static optim_common optim_prepare(const void *scale, const double *column) {
  const double clip = column[HF_COLUMN_clip_value], lr = column[HF_N_COMMON];
  return (optim_common){.scale = *(const real *)scale,
                        .clip = clip > 0 ? (real)clip : (real)INFINITY,
                        .decay = (real)column[HF_COLUMN_decay],
                        .shrink = (real)(1 - lr * column[HF_COLUMN_decoupled]),
                        .l1 = (real)column[HF_COLUMN_l1]};
}

static inline __attribute__((always_inline)) real optim_clip(const optim_common k, real g) {
  g *= k.scale;
  g = g > k.clip ? k.clip : g;
  return g < -k.clip ? -k.clip : g;
}

static inline __attribute__((always_inline)) real optim_max(real a, real b) { return a > b ? a : b; }
static inline __attribute__((always_inline)) real optim_min(real a, real b) { return a < b ? a : b; }

/* NAdam's mu_t, and the product of mu_1 to mu_t: beta1^t times that of 1 - q^i / 2, q = 0.96^decay. The logarithm of the
 * latter is -sum over k of 2^-k / k times q^k + q^2k + ... + q^tk, which is q^k (1 - q^tk) / (1 - q^k); 54 terms give all
 * bits. Divided by their k = 1, numerator and denominator are sums of powers, which cancel nothing. */
static inline double optim_mu(double beta1, double decay, double t) { return beta1 * (1 - 0.5 * pow(0.96, t * decay)); }
static inline double optim_mu_product(double beta1, double decay, double t) {
  const double power = pow(beta1, t), log_q = decay * log(0.96), q = exp(log_q), q_t = exp(t * log_q);
  if (power < 0x1p-60) return 0; /* of no effect on 1 - product */
  const double first = decay > 0 ? expm1(t * log_q) / expm1(log_q) : t;
  double sum = 0, q_k = 1, q_tk = 1, above = 0, below = 0, half = 1;
  for (int k = 1; k <= 54; k++) {
    above += q_tk, below += q_k, q_tk *= q_t, q_k *= q, half *= 0.5;
    sum += half / k * q_k * (above / below);
  }
  return power * exp(-first * sum);
}

/* RAdam's length of the average of squares, and what its rate is multiplied by. */
static inline double optim_length(double beta2, double t) {
  const double power = pow(beta2, t);
  return 2 / (1 - beta2) - 1 - 2 * t * power / (1 - power);
}
static inline double optim_rectified(double beta2, double t) {
  const double most = 2 / (1 - beta2) - 1, rho = optim_length(beta2, t);
  if (!(rho > 5)) return 1;
  return sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho) * (1 - pow(beta2, t)));
}

#define MAX(a, b) optim_max(a, b)
#define MIN(a, b) optim_min(a, b)
#define ABS(x) optim_max(x, -(x))
#define SIGN(x) ((x) > 0 ? (real)1 : (x) < 0 ? (real)-1 : (real)0)
#define OLD(name) name##_at[i]

/* c = the rule's constants */
#define HF_RULE(rule)                                                            \
  static void rule_##rule##_once(const double *h, double t, real *c) {           \
    (void)t;
#define HF_HYPER(name) const double name = *h++;
#define HF_ONCE(name, e) *c++ = (real)(e);
#define HF_END(rule) }
#include "optim.def"

/* p(n) and the slots, each (n) and apart from the others, by the gradient g(n) */
#define HF_RULE(rule)                                                                                       \
  static void rule_##rule##_each(const optim_common k, const real *c, int64_t n, real *restrict p_at,       \
                                 const real *restrict g_at, real *const *slot) {                            \
    (void)slot;
#define HF_SLOT(name) real *restrict name##_at = *slot++;
#define HF_ONCE(name, e) const real name = *c++;
#define HF_EACH                                       \
  _Pragma("omp simd") for (int64_t i = 0; i < n; i++) { \
    const real g = FMA(k.decay, p_at[i], optim_clip(k, g_at[i]));
#define HF_LET(name, e) const real name = e;
#define HF_SET(name, e)        \
  const real name = NORMAL(e); \
  name##_at[i] = name;
/* p is read again here: kept from the beginning it would take a register that AVX2 lacks */
#define HF_MOVE(e)                    \
  const real p = k.shrink * p_at[i]; \
  p_at[i] = e;
#define HF_END(rule) \
  }                  \
  }
#include "optim.def"

static const struct optim_rule {
  void (*once)(const double *h, double t, real *c);
  void (*each)(const optim_common k, const real *c, int64_t n, real *p, const real *g, real *const *slot);
} optim_rules[HF_N_RULES] = {
#define HF_RULE(rule) {rule_##rule##_once, rule_##rule##_each},
#include "optim.def"
};

#endif
