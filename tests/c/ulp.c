/* Measures the functions of vmath.h: float32 against the float64 libm over all 2^32 floats, float64 (-DHF_F64) against
 * the long double libm over a sample of all doubles and denser ones of those between 2^-32 and 2^11.
 *
 *   gcc -O3 -mavx512f -mprefer-vector-width=512 -ffp-contract=off -fno-math-errno -fno-trapping-math \
 *       -fopenmp-simd -I csrc/kernels/cpu tests/c/ulp.c -lm -o ulp && ./ulp [--stride N] [function ...]
 *
 * --stride N looks at 2^32 / N bit patterns of each range only (default 1: about a minute a function in float32; ctest
 * samples). The checksum is over a fixed sample, whatever the stride: every build with FMA must give the one that stands
 * in the table, so all ISAs agree to the last bit.
 *
 * Exits 1 if an error is over its bound, a special value is wrong, a NaN or a sign appears or vanishes, a result leaves
 * its range, an odd function is not odd, or the checksum differs. One ULP is the spacing in the binade of the true
 * result.
 */
#include "types.h"
#include "vmath.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HF_F64
typedef long double wide; /* 64 bits of significand on x86-64, 113 on aarch64 */
#define WIDE(name) name##l
#define BY_TYPE(f32, f64) f64
enum { MIN_EXPONENT = -1022, MAX_EXPONENT = 1023, FRACTION = 52, SAMPLE_STRIDE = 16411 };
#else
typedef double wide;
#define WIDE(name) name
#define BY_TYPE(f32, f64) f32
enum { MIN_EXPONENT = -126, MAX_EXPONENT = 127, FRACTION = 23, SAMPLE_STRIDE = 251 };
#endif

enum { BLOCK = 4096 };
#define SQRT1_2 0.707106781186547524400844362104849039284835938L
#define SQRT1_2PI 0.398942280401432677939946059934381868475858631L

static wide ref_sigmoid(wide x) { return 1 / (1 + WIDE(exp)(-x)); }
static wide ref_gelu(wide x) { return x < -60 ? 0 : x * WIDE(erfc)(-x * (wide)SQRT1_2) / 2; }
static wide ref_gelu_slope(wide x) {
  if (x > 60 || x < -60) return x > 0;
  return WIDE(erfc)(-x * (wide)SQRT1_2) / 2 + x * WIDE(exp)(-x * x / 2) * (wide)SQRT1_2PI;
}
static wide ref_softplus(wide x) { return (0 > x ? 0 : x) + WIDE(log1p)(WIDE(exp)(-WIDE(fabs)(x))); }

/* The exponent that goes with base x: by its bits a small whole number, one in [-2, 2), or one whose result reaches the
 * ends of the type. */
static real exponent_of(real x) {
  const uint64_t u = hf_bits(x) * 0x9e3779b97f4a7c15u;
  const double part = (double)(u >> 12) * 0x1p-51 - 1, log = fabs(logb(x)) + 0.5;
  const double y[] = {nearbyint(part * 8), part * 2, part * (MAX_EXPONENT + 60) / (isfinite(log) ? log : 1)};
  return isnan(x) ? 1 : (real)y[u % 3]; /* a NaN may lose its bits on its way to the reference */
}
static real exponents[BLOCK];
static void v_pow(const real *x, real *y) {
#pragma omp simd
  for (int i = 0; i < BLOCK; i++) y[i] = hf_pow(x[i], exponents[i]);
}
static wide ref_pow(wide x) { return WIDE(pow)(x, exponent_of((real)x)); }

#define VECTOR(name)                                                                                                   \
    static void v_##name(const real *x, real *y) {                                                                     \
        _Pragma("omp simd") for (int i = 0; i < BLOCK; i++) y[i] = hf_##name(x[i]);                                    \
    }
VECTOR(exp)
VECTOR(exp_nonpos)
VECTOR(expm1)
VECTOR(log)
VECTOR(log1p)
VECTOR(tanh)
VECTOR(sigmoid)
VECTOR(erf)
VECTOR(softplus)
VECTOR(gelu)
VECTOR(gelu_slope)
VECTOR(sqrt)
VECTOR(abs)

typedef struct {
  const char *name;
  void (*f)(const real *, real *);
  wide (*ref)(wide);
  double bound; /* ULP */
  double lo, hi; /* range of the results */
  /* NONPOS: of x <= 0 only. OF_X, OF_ONE: the error in ULP of x or 1, the size of the terms that the result is a
   * difference of. */
  enum { PLAIN, ODD, NONPOS, OF_X, OF_ONE } kind;
  uint64_t checksum; /* with FMA */
} Function;

static const Function functions[] = {
    {"exp", v_exp, WIDE(exp), BY_TYPE(2, 1.2), 0, INFINITY, PLAIN, BY_TYPE(0xa5d8882a7843411e, 0x1628af09186b42b8)},
    {"exp_nonpos", v_exp_nonpos, WIDE(exp), BY_TYPE(2, 1.2), 0, 1, NONPOS,
     BY_TYPE(0x03e2447d302ad88f, 0xcb0a0f280638c581)},
    {"expm1", v_expm1, WIDE(expm1), BY_TYPE(2, 1.2), -1, INFINITY, PLAIN,
     BY_TYPE(0x5e922c3316b9ab9e, 0x8462ef5144a90679)},
    {"log", v_log, WIDE(log), BY_TYPE(1.5, 1.5), -INFINITY, INFINITY, PLAIN,
     BY_TYPE(0x272621837a36dac2, 0x8a0149f3edefc6b2)},
    {"log1p", v_log1p, WIDE(log1p), BY_TYPE(2, 1.5), -INFINITY, INFINITY, PLAIN,
     BY_TYPE(0x1e7579ace21c0915, 0x08202212ab748232)},
    {"tanh", v_tanh, WIDE(tanh), BY_TYPE(2.2, 1.5), -1, 1, ODD, BY_TYPE(0xabeb16c2bf0679a9, 0xeddf0b856b4c463e)},
    {"sigmoid", v_sigmoid, ref_sigmoid, BY_TYPE(2.5, 2.5), 0, 1, PLAIN,
     BY_TYPE(0x7f3e77897b58d5bf, 0x6d1af0fa01cbba0f)},
    {"erf", v_erf, WIDE(erf), BY_TYPE(2.5, 1.5), -1, 1, ODD, BY_TYPE(0xe4b2fc3fd4d9d91b, 0x33ee38b349325a69)},
    {"softplus", v_softplus, ref_softplus, BY_TYPE(2.5, 2), 0, INFINITY, PLAIN,
     BY_TYPE(0xba33bbc61da56a0b, 0xa585f6b8449cb583)},
    {"gelu", v_gelu, ref_gelu, BY_TYPE(2, 2.5), -0.17, INFINITY, OF_X, BY_TYPE(0x93ec6f8dae00b9cb, 0xeb7df5f28d7b319e)},
    {"gelu_slope", v_gelu_slope, ref_gelu_slope, BY_TYPE(2, 2), -0.13, 1.13, OF_ONE,
     BY_TYPE(0x977077a4824cabe2, 0xfb0ee3e5a5ce3dda)},
    {"pow", v_pow, ref_pow, BY_TYPE(1, 1.2), -INFINITY, INFINITY, PLAIN,
     BY_TYPE(0x2cae635580780979, 0x07d94685a0fb3b81)},
    {"sqrt", v_sqrt, WIDE(sqrt), 0.5, -0.0, INFINITY, PLAIN, BY_TYPE(0x1a9b802ad12a5319, 0x5ec975f8e9223ff2)},
    {"abs", v_abs, WIDE(fabs), 0, 0, INFINITY, PLAIN, BY_TYPE(0xccc6f9e1bba57631, 0xc391d41cc177bb07)},
};
enum { N_FUNCTIONS = sizeof functions / sizeof *functions };

/* The smallest subnormal; the first x whose exponential overflows; one whose exponential is 0. */
#define TINY BY_TYPE(0x1p-149f, 0x1p-1074)
#define TOO_LARGE BY_TYPE(0x1.62e430p+6f, 0x1.62e42fefa39f0p+9)
#define TOO_LOW BY_TYPE(-104.0f, -746.0)
#define BELOW_MINUS_1 BY_TYPE(-0x1.000002p+0f, -0x1.0000000000001p+0)

/* Exact results, compared with their sign; NaN stands for any NaN. */
static const struct {
  const char *name;
  real x, y;
} specials[] = {
    {"exp", 0.0, 1.0},
    {"exp", -0.0, 1.0},
    {"exp", INFINITY, INFINITY},
    {"exp", -INFINITY, 0.0},
    {"exp", TOO_LARGE, INFINITY},
    {"exp", TOO_LOW, 0.0},
    {"exp_nonpos", -0.0, 1.0},
    {"exp_nonpos", -INFINITY, 0.0},
    {"exp_nonpos", TOO_LOW, 0.0},
    {"expm1", 0.0, 0.0},
    {"expm1", -0.0, -0.0},
    {"expm1", TINY, TINY},
    {"expm1", INFINITY, INFINITY},
    {"expm1", -INFINITY, -1.0},
    {"expm1", TOO_LARGE, INFINITY},
    {"log", 0.0, -INFINITY},
    {"log", -0.0, -INFINITY},
    {"log", 1.0, 0.0},
    {"log", INFINITY, INFINITY},
    {"log", -INFINITY, NAN},
    {"log", -TINY, NAN},
    {"log1p", 0.0, 0.0},
    {"log1p", -0.0, -0.0},
    {"log1p", -TINY, -TINY},
    {"log1p", -1.0, -INFINITY},
    {"log1p", BELOW_MINUS_1, NAN},
    {"log1p", INFINITY, INFINITY},
    {"log1p", -INFINITY, NAN},
    {"tanh", 0.0, 0.0},
    {"tanh", -0.0, -0.0},
    {"tanh", TINY, TINY},
    {"tanh", 20.0, 1.0},
    {"tanh", INFINITY, 1.0},
    {"tanh", -INFINITY, -1.0},
    {"sigmoid", 0.0, 0.5},
    {"sigmoid", -0.0, 0.5},
    {"sigmoid", INFINITY, 1.0},
    {"sigmoid", -INFINITY, 0.0},
    {"erf", 0.0, 0.0},
    {"erf", -0.0, -0.0},
    {"erf", 7.0, 1.0},
    {"erf", INFINITY, 1.0},
    {"erf", -INFINITY, -1.0},
    {"gelu", INFINITY, INFINITY},
    {"gelu", -INFINITY, 0.0},
    {"gelu", BY_TYPE(-10.0f, -39.0), 0.0},
    {"gelu_slope", 0.0, 0.5},
    {"gelu_slope", INFINITY, 1.0},
    {"softplus", INFINITY, INFINITY},
    {"softplus", -INFINITY, 0.0},
    {"softplus", 1000.0, 1000.0},
    {"sqrt", 0.0, 0.0},
    {"sqrt", -0.0, -0.0},
    {"sqrt", -1.0, NAN},
    {"sqrt", INFINITY, INFINITY},
    {"abs", -0.0, 0.0},
    {"abs", -INFINITY, INFINITY},
};

/* Exact powers. */
static const struct {
  real x, exponent, y;
} powers[] = {
    {3.0, 2.0, 9.0},
    {-3.0, 3.0, -27.0},
    {2.0, -1.0, 0.5},
    {9.0, 0.5, 3.0},
    {10.0, 3.0, 1000.0},
    {7.0, 5.0, 16807.0},
    {TINY, 1.0, TINY},
    {2.0, MAX_EXPONENT + 1, INFINITY},
    {2.0, MIN_EXPONENT - FRACTION, TINY},
    {-2.0, MIN_EXPONENT - FRACTION - 2, BY_TYPE(-0.0f, 0.0)},
    {NAN, 0.0, 1.0},
    {1.0, NAN, 1.0},
    {-1.0, NAN, NAN},
    {NAN, 1.0, NAN},
    {0.0, 0.0, 1.0},
    {-0.0, 3.0, -0.0},
    {-0.0, 2.0, 0.0},
    {-0.0, -3.0, -INFINITY},
    {-0.0, 0.5, 0.0},
    {0.0, -0.5, INFINITY},
    {INFINITY, -1.0, 0.0},
    {-INFINITY, 3.0, -INFINITY},
    {-INFINITY, 0.5, INFINITY},
    {-INFINITY, -3.0, -0.0},
    {-2.0, 0.5, NAN},
    {-1.0, INFINITY, 1.0},
    {-1.0, -INFINITY, 1.0},
    {0.5, INFINITY, 0.0},
    {0.5, -INFINITY, INFINITY},
    {-2.0, INFINITY, INFINITY},
    {-2.0, -INFINITY, 0.0},
    {-1.0, BY_TYPE(0x1p24f, 0x1p53), 1.0},
    {-1.0, BY_TYPE(0xffffffp0f, 0x1fffffffffffffp0), -1.0},
};

static real x_block[BLOCK], y_block[BLOCK], negated[BLOCK];

/* Bit patterns [first, first + count). */
typedef struct {
  uint64_t first;
  long double count;
} Range;

#ifdef HF_F64
/* All doubles, and the positive and negative ones of magnitude 2^-32 to 2^11. */
static const Range ranges[] = {
    {0, 0x1p64L}, {(1023ull - 32) << 52, 43 * 0x1p52L}, {(3071ull - 32) << 52, 43 * 0x1p52L}};
#else
static const Range ranges[] = {{0, 0x1p32L}};
#endif
enum { N_RANGES = sizeof ranges / sizeof *ranges };

/* Fills x_block with patterns number i, i + 1, ... of the range, of which there are 2^32 / stride (then with 0), and
 * returns how many. The step between patterns is odd, so that all their bits change. */
static int fill(const Range *range, uint64_t i, uint64_t stride) {
  const uint64_t step = (uint64_t)(range->count * 0x1p-32L) * stride | BY_TYPE(0, 1);
  int n = 0;
  for (; n < BLOCK && (i + (uint64_t)n) * stride < 1ull << 32; n++)
    x_block[n] = hf_from_bits((real_bits)(range->first + (i + (uint64_t)n) * step));
  for (int k = n; k < BLOCK; k++) x_block[k] = 0;
  for (int k = 0; k < BLOCK; k++) exponents[k] = exponent_of(x_block[k]);
  return n;
}

static int fail(const Function *fn, const char *what, real x, real y) {
  printf("%-10s FAIL %s: f(%a) = %a\n", fn->name, what, (double)x, (double)y);
  return 1;
}

/* |y - ref| in ULP of unit. Beyond the type's range both count as the power of 2 there, so an inf that rounding asks
 * for costs at most half an ULP. */
static double ulp_error(real y, wide ref, wide unit) {
  const wide end = WIDE(ldexp)(1, MAX_EXPONENT + 1);
  const wide a = WIDE(fabs)(ref) < end ? WIDE(fabs)(ref) : end, b = hf_abs(y) < INFINITY ? (wide)hf_abs(y) : end;
  if (a == b) return 0;
  int e;
  WIDE(frexp)(unit, &e);
  e = unit == 0 || e - 1 < MIN_EXPONENT ? MIN_EXPONENT : e - 1 > MAX_EXPONENT ? MAX_EXPONENT : e - 1;
  return (double)WIDE(ldexp)(WIDE(fabs)(a - b), FRACTION - e);
}

/* FNV-1a over the bits. Any NaN counts as the same: the sign of a new NaN, sqrt(-1), is the processor's choice. */
static uint64_t checksum(const Function *fn) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const Range *range = ranges; range < ranges + N_RANGES; range++) {
    for (uint64_t i = 0, n = BLOCK; n == BLOCK; i += BLOCK) {
      n = (uint64_t)fill(range, i, SAMPLE_STRIDE);
      fn->f(x_block, y_block);
      for (uint64_t k = 0; k < n; k++)
        if (fn->kind != NONPOS || x_block[k] <= 0)
          hash = (hash ^ hf_bits(isnan(y_block[k]) ? (real)NAN : y_block[k])) * 0x100000001b3u;
    }
  }
  return hash;
}

static int check_specials(const Function *fn) {
  int failures = 0;
  for (size_t k = 0; k < sizeof specials / sizeof *specials; k++) {
    if (strcmp(specials[k].name, fn->name)) continue;
    const real x = specials[k].x, want = specials[k].y;
    for (int i = 0; i < BLOCK; i++) x_block[i] = x;
    fn->f(x_block, y_block);
    const real y = y_block[0];
    if (isnan(want) ? !isnan(y) : hf_bits(y) != hf_bits(want)) failures += fail(fn, "special value", x, y);
  }
  for (size_t k = 0; fn->f == v_pow && k < sizeof powers / sizeof *powers; k++) {
    const real want = powers[k].y;
    for (int i = 0; i < BLOCK; i++) x_block[i] = powers[k].x, exponents[i] = powers[k].exponent;
    fn->f(x_block, y_block);
    const real y = y_block[0];
    if (isnan(want) ? !isnan(y) : hf_bits(y) != hf_bits(want)) failures += fail(fn, "power", powers[k].x, y);
  }
  return failures;
}

typedef struct {
  double error;
  real x, y;
} Worst;

/* The block's n results against the reference; gives the number of failures. */
static int check_block(const Function *fn, int n, Worst *worst) {
  int failures = 0;
  for (int i = 0; i < n && failures < 10; i++) {
    const real x = x_block[i], y = y_block[i];
    if (fn->kind == NONPOS && x > 0) continue;
    const wide ref = fn->ref(x);
    if (isnan(ref) || isnan(y)) {
      if (!isnan(ref) || !isnan(y)) failures += fail(fn, "NaN", x, y);
      continue;
    }
    const int is_difference = fn->kind == OF_X || fn->kind == OF_ONE;
    if (!is_difference && !signbit(ref) != !signbit(y)) failures += fail(fn, "sign", x, y);
    if (!(y >= fn->lo && y <= fn->hi)) failures += fail(fn, "range", x, y);
    if (fn->kind == ODD && hf_bits(negated[i]) != hf_bits(-y)) failures += fail(fn, "not odd", x, y);
    const double error = ulp_error(y, ref, fn->kind == OF_X ? (wide)x : fn->kind == OF_ONE ? 1 : ref);
    if (error > worst->error) *worst = (Worst){error, x, y};
  }
  return failures;
}

static int measure(const Function *fn, uint64_t stride) {
  Worst worst = {0, 0, 0};
  int failures = check_specials(fn);
  for (const Range *range = ranges; range < ranges + N_RANGES; range++) {
    for (uint64_t i = 0, n = BLOCK; n == BLOCK && failures < 10; i += BLOCK) {
      n = (uint64_t)fill(range, i, stride);
      fn->f(x_block, y_block);
      if (fn->kind == ODD) {
        for (int k = 0; k < BLOCK; k++) x_block[k] = -x_block[k];
        fn->f(x_block, negated);
        for (int k = 0; k < BLOCK; k++) x_block[k] = -x_block[k];
      }
      failures += check_block(fn, (int)n, &worst);
    }
  }
  if (worst.error > fn->bound) failures += fail(fn, "over its bound", worst.x, worst.y);
  const uint64_t sum = checksum(fn);
  if (HF_HAS_FMA && sum != fn->checksum) failures += fail(fn, "other bits than those of its checksum", 0, 0);
  printf("%-10s %.4f ULP (bound %.1f) at %a  checksum 0x%016llx  %s\n", fn->name, worst.error, fn->bound,
         (double)worst.x, (unsigned long long)sum, failures ? "FAIL" : "ok");
  fflush(stdout);
  return failures;
}

int main(int argc, char **argv) {
  uint64_t stride = 1;
  int failures = 0, n_wanted = 0;
  const char *wanted[N_FUNCTIONS];
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--stride") && i + 1 < argc && (stride = strtoull(argv[i + 1], NULL, 10)) > 0 &&
        stride <= UINT32_MAX) {
      i++;
    } else {
      int known = 0;
      for (int k = 0; k < N_FUNCTIONS; k++) known |= !strcmp(argv[i], functions[k].name);
      if (!known || n_wanted == N_FUNCTIONS) {
        fprintf(stderr, "usage: ulp [--stride N] [function ...]; not understood: %s\n", argv[i]);
        return 2;
      }
      wanted[n_wanted++] = argv[i];
    }
  }
  for (int k = 0; k < N_FUNCTIONS; k++) {
    int run = n_wanted == 0;
    for (int i = 0; i < n_wanted; i++) run |= !strcmp(wanted[i], functions[k].name);
    if (run) failures += measure(&functions[k], stride);
  }
  return failures != 0;
}
