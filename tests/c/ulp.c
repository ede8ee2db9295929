/* Measures the float32 functions of vmath.h against the float64 libm, over all 2^32 floats.
 *
 *   gcc -O3 -mavx512f -mprefer-vector-width=512 -ffp-contract=off -fno-math-errno -fno-trapping-math -fopenmp-simd \
 *       -I csrc/cpu tests/c/ulp.c -lm -o ulp && ./ulp [--stride N] [--bits] [function ...]
 *
 * --stride N looks at every Nth bit pattern only (default 1, all: about a minute a function); --bits skips the
 * reference and prints checksums over exactly those patterns instead (seconds a function). Without --bits the checksum
 * is over a fixed sample, whatever the stride, so builds for different ISAs can be compared: all FMA ISAs must agree.
 *
 * Exits 1 if an error is over its bound, a special value is wrong, a NaN or a sign appears or vanishes, a result leaves
 * its range, or an odd function is not odd. One ULP is the float32 spacing in the binade of the true result.
 */
#include "types.h"
#include "vmath.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HF_F64
#error "ulp.c measures float32; the float64 functions are libm's"
#endif

enum { BLOCK = 4096, SAMPLE_STRIDE = 251 };

static double ref_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double ref_gelu(double x) { return x < -40 ? 0 : 0.5 * x * erfc(-x * M_SQRT1_2); }
static double ref_softplus(double x) { return (0 > x ? 0 : x) + log1p(exp(-fabs(x))); }

#define VECTOR(name)                                                                                                   \
    static void v_##name(const float *x, float *y) {                                                                   \
        _Pragma("omp simd") for (int i = 0; i < BLOCK; i++) y[i] = hf_##name(x[i]);                                    \
    }
VECTOR(exp)
VECTOR(expm1)
VECTOR(log)
VECTOR(log1p)
VECTOR(tanh)
VECTOR(sigmoid)
VECTOR(erf)
VECTOR(softplus)
VECTOR(gelu)
VECTOR(sqrt)
VECTOR(abs)

typedef struct {
  const char *name;
  void (*f)(const float *, float *);
  double (*ref)(double);
  double bound;  /* ULP */
  double lo, hi; /* range of the results */
  int odd;
  int of_x; /* the error in ULP of x, where the result is a small difference of terms of x's size */
} Function;

static const Function functions[] = {
    {"exp", v_exp, exp, 2.5, 0, INFINITY, 0, 0},
    {"expm1", v_expm1, expm1, 2.5, -1, INFINITY, 0, 0},
    {"log", v_log, log, 2.5, -INFINITY, INFINITY, 0, 0},
    {"log1p", v_log1p, log1p, 2.5, -INFINITY, INFINITY, 0, 0},
    {"tanh", v_tanh, tanh, 2.5, -1, 1, 1, 0},
    {"sigmoid", v_sigmoid, ref_sigmoid, 2.5, 0, 1, 0, 0},
    {"erf", v_erf, erf, 2.5, -1, 1, 1, 0},
    {"softplus", v_softplus, ref_softplus, 2.5, 0, INFINITY, 0, 0},
    {"gelu", v_gelu, ref_gelu, 2, -0.17, INFINITY, 0, 1},
    {"sqrt", v_sqrt, sqrt, 0.5, -0.0, INFINITY, 0, 0},
    {"abs", v_abs, fabs, 0, 0, INFINITY, 0, 0},
};
enum { N_FUNCTIONS = sizeof functions / sizeof *functions };

/* Exact results, compared with their sign; NaN stands for any NaN. */
static const struct {
  const char *name;
  float x, y;
} specials[] = {
    {"exp", 0.0f, 1.0f},
    {"exp", -0.0f, 1.0f},
    {"exp", INFINITY, INFINITY},
    {"exp", -INFINITY, 0.0f},
    {"exp", 0x1.62e430p+6f, INFINITY}, /* the first x that overflows */
    {"exp", -104.0f, 0.0f},
    {"expm1", 0.0f, 0.0f},
    {"expm1", -0.0f, -0.0f},
    {"expm1", 0x1p-149f, 0x1p-149f},
    {"expm1", INFINITY, INFINITY},
    {"expm1", -INFINITY, -1.0f},
    {"expm1", 0x1.62e430p+6f, INFINITY},
    {"log", 0.0f, -INFINITY},
    {"log", -0.0f, -INFINITY},
    {"log", 1.0f, 0.0f},
    {"log", INFINITY, INFINITY},
    {"log", -INFINITY, NAN},
    {"log", -0x1p-149f, NAN},
    {"log1p", 0.0f, 0.0f},
    {"log1p", -0.0f, -0.0f},
    {"log1p", -0x1p-149f, -0x1p-149f},
    {"log1p", -1.0f, -INFINITY},
    {"log1p", -0x1.000002p+0f, NAN},
    {"log1p", INFINITY, INFINITY},
    {"log1p", -INFINITY, NAN},
    {"tanh", 0.0f, 0.0f},
    {"tanh", -0.0f, -0.0f},
    {"tanh", 0x1p-149f, 0x1p-149f},
    {"tanh", 20.0f, 1.0f},
    {"tanh", INFINITY, 1.0f},
    {"tanh", -INFINITY, -1.0f},
    {"sigmoid", 0.0f, 0.5f},
    {"sigmoid", -0.0f, 0.5f},
    {"sigmoid", INFINITY, 1.0f},
    {"sigmoid", -INFINITY, 0.0f},
    {"erf", 0.0f, 0.0f},
    {"erf", -0.0f, -0.0f},
    {"erf", 5.0f, 1.0f},
    {"erf", INFINITY, 1.0f},
    {"erf", -INFINITY, -1.0f},
    {"gelu", INFINITY, INFINITY},
    {"gelu", -INFINITY, 0.0f},
    {"gelu", -10.0f, 0.0f},
    {"softplus", INFINITY, INFINITY},
    {"softplus", -INFINITY, 0.0f},
    {"softplus", 1000.0f, 1000.0f},
    {"sqrt", 0.0f, 0.0f},
    {"sqrt", -0.0f, -0.0f},
    {"sqrt", -1.0f, NAN},
    {"sqrt", INFINITY, INFINITY},
    {"abs", -0.0f, 0.0f},
    {"abs", -INFINITY, INFINITY},
};

static float x_block[BLOCK], y_block[BLOCK], negated[BLOCK];

static float from_bits(uint32_t u) {
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

static uint32_t to_bits(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}

/* Fills x_block with the patterns first, first + stride, ... below 2^32 (padded with 0) and returns how many. */
static int fill(uint64_t first, uint64_t stride) {
  int n = 0;
  for (int i = 0; i < BLOCK; i++) {
    uint64_t u = first + (uint64_t)i * stride;
    x_block[i] = u >> 32 ? 0.0f : from_bits((uint32_t)u);
    n += !(u >> 32);
  }
  return n;
}

static int fail(const Function *fn, const char *what, float x, float y) {
  printf("%-9s FAIL %s: f(%a) = %a (input bits %08x)\n", fn->name, what, (double)x, (double)y, to_bits(x));
  return 1;
}

/* |y - ref| in ULP of unit >= 0. Beyond the float range both count as 2^128, so an inf that rounding asks for costs at most
 * half an ULP. */
static double ulp_error(float y, double ref, double unit) {
  double a = fabs(ref) < 0x1p128 ? fabs(ref) : 0x1p128, b = fabsf(y) < INFINITY ? fabs((double)y) : 0x1p128;
  if (a == b) return 0;
  uint64_t u;
  memcpy(&u, &unit, sizeof u);
  int e = (int)(u >> 52) - 1023;
  e = e < -126 ? -126 : e > 127 ? 127 : e;
  u = (uint64_t)(e - 23 + 1023) << 52;
  double ulp;
  memcpy(&ulp, &u, sizeof ulp);
  return fabs(a - b) / ulp;
}

/* FNV-1a over 32-bit words. Any NaN counts as the same: the sign of a new NaN, sqrt(-1), is the processor's choice. */
static uint64_t checksum(const Function *fn, uint64_t stride) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (uint64_t first = 0; !(first >> 32); first += BLOCK * stride) {
    int n = fill(first, stride);
    fn->f(x_block, y_block);
    for (int i = 0; i < n; i++) hash = (hash ^ to_bits(isnan(y_block[i]) ? NAN : y_block[i])) * 0x100000001b3u;
  }
  return hash;
}

static int check_specials(const Function *fn) {
  int failures = 0;
  for (size_t k = 0; k < sizeof specials / sizeof *specials; k++) {
    if (strcmp(specials[k].name, fn->name)) continue;
    float x = specials[k].x, want = specials[k].y;
    for (int i = 0; i < BLOCK; i++) x_block[i] = x;
    fn->f(x_block, y_block);
    float y = y_block[0];
    if (isnan(want) ? !isnan(y) : to_bits(y) != to_bits(want)) failures += fail(fn, "special value", x, y);
  }
  return failures;
}

static int measure(const Function *fn, uint64_t stride) {
  double worst = 0;
  float worst_x = 0, worst_y = 0;
  int failures = check_specials(fn);
  for (uint64_t first = 0; !(first >> 32) && failures < 10; first += BLOCK * stride) {
    int n = fill(first, stride);
    fn->f(x_block, y_block);
    if (fn->odd) {
      for (int i = 0; i < BLOCK; i++) x_block[i] = -x_block[i];
      fn->f(x_block, negated);
      for (int i = 0; i < BLOCK; i++) x_block[i] = -x_block[i];
    }
    for (int i = 0; i < n && failures < 10; i++) {
      float x = x_block[i], y = y_block[i];
      double ref = fn->ref(x);
      if (isnan(ref) || isnan(y)) {
        if (!isnan(ref) || !isnan(y)) failures += fail(fn, "NaN", x, y);
        continue;
      }
      if (!signbit(ref) != !signbit(y) && !(fn->of_x && y == 0)) failures += fail(fn, "sign", x, y);
      if (!(y >= fn->lo && y <= fn->hi)) failures += fail(fn, "range", x, y);
      if (fn->odd && to_bits(negated[i]) != to_bits(-y)) failures += fail(fn, "not odd", x, y);
      double error = ulp_error(y, ref, fabs(fn->of_x ? (double)x : ref));
      if (error > worst) worst = error, worst_x = x, worst_y = y;
    }
  }
  if (worst > fn->bound) failures += fail(fn, "over its bound", worst_x, worst_y);
  unsigned long long sum = checksum(fn, SAMPLE_STRIDE);
  printf("%-9s %.4f ULP (bound %.1f) at %14a (bits %08x)  checksum %016llx  %s\n", fn->name, worst, fn->bound,
         (double)worst_x, to_bits(worst_x), sum, failures ? "FAIL" : "ok");
  fflush(stdout);
  return failures;
}

int main(int argc, char **argv) {
  uint64_t stride = 1;
  int only_bits = 0, failures = 0, n_wanted = 0;
  const char *wanted[N_FUNCTIONS];
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--bits")) {
      only_bits = 1;
    } else if (!strcmp(argv[i], "--stride") && i + 1 < argc && (stride = strtoull(argv[i + 1], NULL, 10)) > 0 &&
               stride <= UINT32_MAX) {
      i++;
    } else {
      int known = 0;
      for (int k = 0; k < N_FUNCTIONS; k++) known |= !strcmp(argv[i], functions[k].name);
      if (!known || n_wanted == N_FUNCTIONS) {
        fprintf(stderr, "usage: ulp [--stride N] [--bits] [function ...]; not understood: %s\n", argv[i]);
        return 2;
      }
      wanted[n_wanted++] = argv[i];
    }
  }
  for (int k = 0; k < N_FUNCTIONS; k++) {
    int run = n_wanted == 0;
    for (int i = 0; i < n_wanted; i++) run |= !strcmp(wanted[i], functions[k].name);
    if (!run) continue;
    if (only_bits) {
      printf("%-9s %016llx\n", functions[k].name, (unsigned long long)checksum(&functions[k], stride));
      fflush(stdout);
    } else {
      failures += measure(&functions[k], stride);
    }
  }
  return failures != 0;
}
