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
