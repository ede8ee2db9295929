/* Every fast kernel of every ISA that this machine runs, float and double, against the double reference kernel.
 *
 * A case is an argument struct with random sizes around the lanes and blocks, and a list of its buffers. Each case
 * checks
 *   (a) the result, within the op's tolerance: |got - want| <= ulps * eps * (scale + |want|), eps of the dtype;
 *   (b) that computing [0, units) in random pieces, last piece first, gives the same bits;
 *   (c) that avx2, avx512 and neon give the same bits;
 *   (d) that nothing outside a buffer is touched (guard zones, exact mallocs) and no input changes;
 *   (e) that no output is read: outputs start as NaN.
 * NaN stands for any NaN. Each line ends in a checksum of the FMA ISA's results, to compare machines (float alone: the
 * double kernels call the platform's libm). `test_kernels [seed [cases per op [op]]]`.
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isa.h"
#include "program.h"

enum { MAX_BUFFERS = 16, MAX_RUNS = 3, GUARD = 64, SCRATCH = 2 << 20, POISON = 0xA5 };

/* ---- random numbers ---- */

static uint64_t state = 1;

static uint32_t draw(void) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 33);
}
static int64_t below(int64_t n) { return n > 0 ? draw() % n : 0; }
static int chance(int one_in) { return below(one_in) == 0; }
/* A float32 number, so that both dtypes start from the same. */
static double uniform(double lo, double hi) { return (float)(lo + (hi - lo) * (draw() / 2147483648.0)); }
/* 0, and one below, at and above the lanes, register tiles and column blocks; at most `most`. */
static int64_t size_up_to(int64_t most) {
  static const int64_t edge[] = {0,  1,  2,  3,  4,  7,  8,  9,  10,  15,  16,  17,  31,  32,  33,
                                 47, 48, 49, 63, 64, 65, 66, 96, 127, 128, 129, 130, 192, 257, 300};
  int64_t n;
  do n = edge[below(sizeof edge / sizeof *edge)];
  while (n > most);
  return n;
}

/* ---- cases ---- */

typedef enum role { IN, OUT, INOUT, IN_INT, OUT_INT, IN_DOUBLE, OUT_DOUBLE, ALIAS } role;

typedef struct buffer {
  role role;
  size_t offset;   /* of the pointer in the argument struct */
  int64_t count;   /* elements; ALIAS: number of the buffer that it points to */
  double *start;   /* IN, INOUT, IN_INT, IN_DOUBLE: values */
} buffer;

typedef struct test_case {
  union {
    hf_ewise_args ewise;
    hf_matmul_args matmul;
    hf_matmul_symmetric_args symmetric;
    hf_reduce_args reduce;
    hf_moments_args moments;
    hf_norm_grad_args norm_grad;
    hf_norm_row_grad_args norm_row_grad;
    hf_softmax_args softmax;
    hf_softmax_cross_entropy_args xent;
    hf_grad_norm_args grad_norm;
    hf_sweep_args sweep;
    hf_sweep_rows_args sweep_rows;
  } args;
  buffer buffers[MAX_BUFFERS];
  int n_buffers;
  int64_t units;
  double scalars[32];
  hf_param_run runs[MAX_RUNS];
  double scale; /* size of the terms that cancel in a result */
} test_case;

static int add(test_case *c, size_t offset, role role, int64_t count, double lo, double hi) {
  buffer *b = &c->buffers[c->n_buffers];
  *b = (buffer){role, offset, count, NULL};
  if (role == IN || role == INOUT || role == IN_INT || role == IN_DOUBLE) {
    b->start = malloc((size_t)(count ? count : 1) * sizeof(double));
    for (int64_t i = 0; i < count; i++) b->start[i] = role == IN_INT ? lo + below((int64_t)(hi - lo)) : uniform(lo, hi);
    if (role == IN && count && c->n_buffers < 3 && chance(12)) b->start[below(count)] = NAN;
  }
  return c->n_buffers++;
}

#define ADD(type, field, ...) add(c, offsetof(type, field), __VA_ARGS__)

static int64_t code(int op, int dst, int a, int b, int cc) {
  return op | dst << 8 | a << 16 | (int64_t)b << 24 | (int64_t)cc << 32 | (int64_t)below(8) << 40;
}

/* A program over n_in inputs: any one instruction, or a chain of smooth ones (a jump would turn a rounding error into a
 * wrong result). Outputs are written last, as an output may be an input. Gives the scale. */
static double make_program(hf_ewise_args *p, int n_in, int n_out) {
  static const int smooth[] = {HF_I_add,          HF_I_sub,     HF_I_mul_imm,    HF_I_tanh,
                               HF_I_sigmoid,      HF_I_relu,    HF_I_softplus,   HF_I_maximum,
                               HF_I_erf,          HF_I_fma,     HF_I_neg,        HF_I_rsub,
                               HF_I_minimum,      HF_I_dropout, HF_I_leaky_relu, HF_I_random_uniform,
                               HF_I_random_normal};
  const int n = chance(2) ? 1 : 1 + (int)below(6);
  p->n_in = n_in;
  p->n_out = n_out;
  for (int q = 0; q < n; q++) {
    int source[3];
    for (int s = 0; s < 3; s++) source[s] = q && chance(2) ? HF_REG_TEMP + (int)below(q) : (int)below(n_in);
    const int op = n == 1 ? (int)below(HF_N_INSTR) : smooth[below(sizeof smooth / sizeof *smooth)];
    const int probability = op == HF_I_dropout || op == HF_I_random_bernoulli;
    p->imm[q] = probability ? (chance(6) ? 1 : 0.25) : uniform(-2, 2);
    p->code[q] = code(op, HF_REG_TEMP + q, source[0], source[1], source[2]);
  }
  for (int j = 0; j < n_out; j++)
    p->code[n + j] = code(HF_I_copy, HF_REG_OUT + j, j ? HF_REG_TEMP + (int)below(n) : HF_REG_TEMP + n - 1, 0, 0);
  p->n_code = n + n_out;
  return n == 1 ? 1 : 64;
}

static void make_ewise(test_case *c) {
  hf_ewise_args *p = &c->args.ewise;
  const int n_in = 1 + (int)below(4), n_out = 1 + (int)below(3), vector = chance(2);
  c->units = p->rows = size_up_to(40);
  for (int d = 0; d < 3; d++) p->dim[d] = vector && d < 2 ? 1 : size_up_to(d == 2 ? (vector ? 300 : 40) : 5);
  if (vector && chance(8)) p->dim[2] = 1024 * (1 + below(2)) + size_up_to(300); /* rows longer than a block */
  const int64_t inner = p->dim[0] * p->dim[1] * p->dim[2], total = p->rows * inner;
  const int64_t full[3] = {p->dim[1] * p->dim[2], p->dim[2], 1};
  c->scale = make_program(p, n_in, n_out);
  const int in_place = chance(2), sums = vector && c->scale > 1 && chance(2); /* of what can't cancel without end */
  for (int j = 0; j < n_out && sums; j++) p->row_sum[j] = j == 0 && in_place ? 0 : below(HF_ROW_MEAN + 1);
  if (sums) c->scale *= 1 + (double)p->dim[2]; /* the errors of elements may have one sign */
  for (int i = 0; i < n_in; i++) {
    /* input 0 is whole; the others may lack the rows or any dimension */
    int64_t extent = 1;
    for (int d = 2; d >= 0; d--)
      if (i == 0 || !chance(3)) {
        p->in_stride[3 * i + d] = i == 0 ? full[d] : extent;
        extent *= p->dim[d];
      }
    if (i == 0 || !chance(3)) {
      p->in_row[i] = extent;
      extent *= p->rows;
    }
    add(c, offsetof(hf_ewise_args, in) + (size_t)i * sizeof(void *), i == 0 && in_place ? INOUT : IN, extent, -2, 2);
  }
  for (int j = 0; j < n_out; j++)
    add(c, offsetof(hf_ewise_args, out) + (size_t)j * sizeof(void *), j == 0 && in_place ? ALIAS : OUT,
        j == 0 && in_place ? 0
        : p->row_sum[j]    ? p->rows
                           : total,
        0, 0);
}

static void make_matmul(test_case *c) {
  hf_matmul_args *p = &c->args.matmul;
  p->m = size_up_to(chance(4) ? 200 : 40);
  p->n = size_up_to(chance(4) ? 300 : 70);
  p->k = chance(12) ? 1030 : size_up_to(130);
  if (chance(4)) { /* few columns: sums in lanes */
    p->n = size_up_to(16);
    p->k = 200 + size_up_to(900);
  }
  const int x_transposed = chance(2), w_transposed = chance(2);
  p->x_row = x_transposed ? 1 : p->k;
  p->x_col = x_transposed ? p->m : 1;
  p->w_row = w_transposed ? 1 : p->n;
  p->w_col = w_transposed ? p->k : 1;
  p->by_cols = chance(2);
  c->units = p->by_cols ? (p->n + HF_COL_BLOCK - 1) / HF_COL_BLOCK : p->m;
  c->scale = 1 + (double)p->k / 2;
  const int y = ADD(hf_matmul_args, y, OUT, p->m * p->n, 0, 0);
  ADD(hf_matmul_args, x, IN, p->m * p->k, -1, 1);
  ADD(hf_matmul_args, w, IN, p->k * p->n, -1, 1);
  if (chance(2)) ADD(hf_matmul_args, bias, IN, p->n, -1, 1);
  if (chance(2)) {
    hf_ewise_args *e = &p->epilogue;
    const size_t at = offsetof(hf_matmul_args, epilogue), in = at + offsetof(hf_ewise_args, in);
    const int vector = chance(2);
    e->rows = p->m;
    e->dim[0] = e->dim[1] = 1;
    e->dim[2] = p->n;
    e->in_row[0] = p->n;
    e->in_row[1] = vector ? 0 : p->n;
    e->in_stride[2] = e->in_stride[5] = 1;
    e->n_in = 2;
    e->n_out = 1;
    e->n_code = 3;
    e->code[0] = code(HF_I_relu, HF_REG_TEMP, 0, 0, 0);
    e->code[1] = code(HF_I_mul, HF_REG_TEMP + 1, HF_REG_TEMP, 1, 0);
    e->code[2] = code(chance(2) ? HF_I_dropout : HF_I_add_imm, HF_REG_OUT, HF_REG_TEMP + 1, 0, 0);
    e->imm[2] = 0.5;
    add(c, at + offsetof(hf_ewise_args, out), ALIAS, y, 0, 0);
    add(c, in, ALIAS, y, 0, 0);
    add(c, in + sizeof(void *), IN, vector ? p->n : p->m * p->n, -1, 1);
  }
}

static void make_matmul_symmetric(test_case *c) {
  hf_matmul_symmetric_args *p = &c->args.symmetric;
  const int by_columns = chance(2);
  p->square = chance(2);
  p->n = size_up_to(chance(4) ? 300 : 130);
  p->k = p->square ? p->n : chance(12) ? 1030 : size_up_to(130);
  p->row = by_columns && !p->square ? 1 : p->k;
  p->col = by_columns && !p->square ? p->n : 1;
  p->scale = chance(2) ? 1 : 0.75;
  p->add = p->square && chance(2) ? -0.5 : 0;
  p->diagonal = chance(2) ? 0 : 2;
  const int64_t blocks = (p->n + HF_SYMMETRIC_BLOCK - 1) / HF_SYMMETRIC_BLOCK;
  c->units = (blocks + 1) / 2;
  c->scale = (1 + (double)p->k / 2) * (1 + sqrt((double)p->k) / 4); /* on the diagonal a sum only grows */
  ADD(hf_matmul_symmetric_args, y, OUT, p->n * p->n, 0, 0);
  const int x = ADD(hf_matmul_symmetric_args, x, IN, p->n * p->k, -1, 1);
  double *v = c->buffers[x].start;
  for (int64_t i = 0; p->square && i < p->n; i++)
    for (int64_t j = 0; j < i; j++) v[j * p->n + i] = v[i * p->n + j];
}

static void make_reduce(test_case *c) {
  hf_reduce_args *p = &c->args.reduce;
  p->kind = below(HF_MAX_ABS + 1);
  p->inner = chance(2) ? 1 : size_up_to(chance(8) ? 1500 : 300);
  p->outer = size_up_to(p->inner == 1 ? 40 : 5);
  p->red = p->inner == 1 && chance(8) ? 1024 + size_up_to(300) : size_up_to(300);
  p->by_inner = chance(2);
  c->units = p->by_inner ? p->inner : p->outer;
  c->scale = p->kind == HF_SUM ? 1 + sqrt((double)p->red) : 1;
  ADD(hf_reduce_args, y, p->kind == HF_ARGMAX ? OUT_INT : OUT, p->outer * p->inner, 0, 0);
  ADD(hf_reduce_args, x, IN, p->outer * p->red * p->inner, -1, 1);
}

/* outer, red, inner of a norm: batch norm, layer norm, or any. Gives the units. */
static int64_t norm_sizes(int64_t *outer, int64_t *red, int64_t *inner, int64_t *by_inner) {
  const int kind = (int)below(3);
  *outer = kind == 0 ? 1 : size_up_to(kind == 1 ? 300 : 5);
  *red = size_up_to(kind == 1 && chance(8) ? 1500 : 300);
  *inner = kind == 1 ? 1 : size_up_to(kind == 0 && chance(8) ? 1500 : 300);
  *by_inner = kind == 0 || (kind == 2 && chance(2));
  return *by_inner ? *inner : *outer;
}

static void make_moments(test_case *c) {
  hf_moments_args *p = &c->args.moments;
  c->units = norm_sizes(&p->outer, &p->red, &p->inner, &p->by_inner);
  c->scale = 3; /* x lies about 3 */
  ADD(hf_moments_args, x, IN, p->outer * p->red * p->inner, 2, 4);
  ADD(hf_moments_args, mean, OUT, p->outer * p->inner, 0, 0);
  if (!chance(4)) ADD(hf_moments_args, var, OUT, p->outer * p->inner, 0, 0);
}

static void make_norm_grad(test_case *c) {
  hf_norm_grad_args *p = &c->args.norm_grad;
  c->units = norm_sizes(&p->outer, &p->red, &p->inner, &p->by_inner);
  p->by_red = chance(2);
  c->scale = 1 + 4 * sqrt((double)p->red);
  const int64_t total = p->outer * p->red * p->inner, sums = p->outer * p->inner;
  const int64_t statistics = p->by_red ? p->outer * p->red : sums;
  ADD(hf_norm_grad_args, dy, IN, total, -1, 1);
  ADD(hf_norm_grad_args, x, IN, total, -1, 1);
  ADD(hf_norm_grad_args, mean, IN, statistics, -0.5, 0.5);
  ADD(hf_norm_grad_args, rstd, IN, statistics, 0.5, 2);
  ADD(hf_norm_grad_args, dgamma, OUT, sums, 0, 0);
  ADD(hf_norm_grad_args, dbeta, OUT, sums, 0, 0);
  if (!p->by_red && chance(2)) {
    ADD(hf_norm_grad_args, scale, IN, sums, -2, 2);
    ADD(hf_norm_grad_args, shift, IN, sums, -1, 1);
  }
}

static void make_norm_row_grad(test_case *c) {
  hf_norm_row_grad_args *p = &c->args.norm_row_grad;
  p->rows = c->units = size_up_to(50);
  p->cols = size_up_to(1500);
  c->scale = 20; /* |h| <= 2, |xhat| <= 3, rstd <= 2 */
  ADD(hf_norm_row_grad_args, dy, IN, p->rows * p->cols, -1, 1);
  ADD(hf_norm_row_grad_args, x, IN, p->rows * p->cols, -1, 1);
  if (chance(2)) ADD(hf_norm_row_grad_args, mean, IN, p->rows, -0.5, 0.5);
  ADD(hf_norm_row_grad_args, rstd, IN, p->rows, 0.5, 2);
  if (chance(2)) ADD(hf_norm_row_grad_args, gamma, IN, p->cols, 0.5, 2);
  ADD(hf_norm_row_grad_args, dx, OUT, p->rows * p->cols, 0, 0);
}

static void make_softmax(test_case *c) {
  hf_softmax_args *p = &c->args.softmax;
  c->units = p->rows = size_up_to(70);
  p->cols = size_up_to(300);
  p->log = chance(2);
  c->scale = p->log ? 8 : 0.1;
  const int in_place = chance(2);
  ADD(hf_softmax_args, x, in_place ? INOUT : IN, p->rows * p->cols, -8, 8);
  ADD(hf_softmax_args, y, in_place ? ALIAS : OUT, in_place ? 0 : p->rows * p->cols, 0, 0);
}

static void make_softmax_cross_entropy(test_case *c) {
  hf_softmax_cross_entropy_args *p = &c->args.xent;
  c->units = p->rows = size_up_to(70);
  p->cols = chance(4) ? 10 : size_up_to(300);
  p->smoothing = chance(2) ? 0 : 0.125;
  p->dloss_row = chance(2);
  const int in_place = chance(2), labels = p->cols == 0 || chance(2), too_low = chance(8), too_high = chance(8);
  c->scale = labels ? 8 : 8 * (1 + (double)p->cols / 2);
  ADD(hf_softmax_cross_entropy_args, x, in_place ? INOUT : IN, p->rows * p->cols, -8, 8);
  if (labels)
    ADD(hf_softmax_cross_entropy_args, labels, IN_INT, p->rows, -too_low, (double)p->cols + too_high);
  else
    ADD(hf_softmax_cross_entropy_args, target, IN, p->rows * p->cols, 0, 1);
  ADD(hf_softmax_cross_entropy_args, dloss, IN, p->dloss_row ? p->rows : 1, 0.5, 2);
  if (in_place)
    ADD(hf_softmax_cross_entropy_args, dx, ALIAS, 0, 0, 0);
  else if (!chance(4))
    ADD(hf_softmax_cross_entropy_args, dx, OUT, p->rows * p->cols, 0, 0);
  if (!chance(4)) ADD(hf_softmax_cross_entropy_args, loss, OUT, p->rows, 0, 0);
}

#include "update_cases.h"

#define HF_RULE(rule) enum { SLOTS_##rule = 0
#define HF_SLOT(name) +1
#define HF_END(rule)                                                                                     \
  };                                                                                                     \
  static void make_##rule(test_case *c) { make_sweep(c, HF_RULE_##rule, SLOTS_##rule); }                 \
  static void make_##rule##_rows(test_case *c) { make_sweep_rows(c, HF_RULE_##rule, SLOTS_##rule); }
#include "optim.def"

/* Op, how its cases are made, tolerance in eps of the dtype. */
static const struct {
  const char *name;
  int op;
  void (*make)(test_case *);
  double ulps;
} ops[] = {
    {"ewise", HF_OP_ewise, make_ewise, 3},
    {"matmul", HF_OP_matmul, make_matmul, 2},
    {"matmul_bf16", HF_OP_matmul_bf16, make_matmul, 2}, /* its struct is that of matmul */
    {"matmul_symmetric", HF_OP_matmul_symmetric, make_matmul_symmetric, 2},
    {"reduce", HF_OP_reduce, make_reduce, 4},
    {"moments", HF_OP_moments, make_moments, 8},
    {"norm_grad", HF_OP_norm_grad, make_norm_grad, 4},
    {"norm_row_grad", HF_OP_norm_row_grad, make_norm_row_grad, 8},
    {"softmax", HF_OP_softmax, make_softmax, 8},
    {"softmax_cross_entropy", HF_OP_softmax_cross_entropy, make_softmax_cross_entropy, 8},
    {"grad_norm", HF_OP_grad_norm, make_grad_norm, 128},
#define HF_RULE(rule) {#rule, HF_OP_sweep, make_##rule, 4}, {#rule " rows", HF_OP_sweep_rows, make_##rule##_rows, 4},
#include "optim.def"
};
enum { N_OPS = sizeof ops / sizeof *ops };

/* ---- running a case ---- */

/* Outputs and in-place buffers, one after the other, as double, and the eps of their type. */
typedef struct result {
  double *value;
  int64_t count;
  double eps;
  int status;
} result;

static size_t element_size(role role, hf_dtype dtype) {
  if (role == IN_INT || role == OUT_INT) return sizeof(int64_t);
  return role == OUT_DOUBLE || role == IN_DOUBLE || dtype == HF_FLOAT64 ? sizeof(double) : sizeof(float);
}

static double get(const buffer *b, hf_dtype dtype, const char *data, int64_t i) {
  if (b->role == IN_INT || b->role == OUT_INT) return (double)((const int64_t *)data)[i];
  return element_size(b->role, dtype) == sizeof(double) ? ((const double *)data)[i] : ((const float *)data)[i];
}

static void put(const buffer *b, hf_dtype dtype, char *data, int64_t i, double v) {
  if (b->role == IN_INT)
    ((int64_t *)data)[i] = (int64_t)v;
  else if (element_size(b->role, dtype) == sizeof(double))
    ((double *)data)[i] = v;
  else
    ((float *)data)[i] = (float)v;
}

static int same(double a, double b) { return a == b || (a != a && b != b); }

static int guard_holds(const char *zone) {
  for (int i = 0; i < GUARD; i++)
    if ((unsigned char)zone[i] != POISON) return 0;
  return 1;
}

static const char *failure; /* what went wrong in the current case */

static result run_case(const test_case *c, hf_kernel kernel, hf_dtype dtype, int in_pieces) {
  test_case copy = *c;
  char *base[MAX_BUFFERS], *scratch = malloc(SCRATCH + GUARD);
  volatile int status = HF_OK;
  result r = {NULL, 0, dtype == HF_FLOAT64 ? 0x1p-52 : 0x1p-23, HF_OK};
  memset(scratch + SCRATCH, POISON, GUARD);
  for (int i = 0; i < c->n_buffers; i++) {
    const buffer *b = &c->buffers[i];
    const int from = b->role == ALIAS ? (int)b->count : i;
    if (b->role != ALIAS) {
      const size_t bytes = (size_t)b->count * element_size(b->role, dtype);
      base[i] = malloc(bytes + 2 * GUARD);
      memset(base[i], POISON, bytes + 2 * GUARD);
      memset(base[i] + GUARD, 0xFF, bytes); /* NaN */
      for (int64_t e = 0; b->start && e < b->count; e++) put(b, dtype, base[i] + GUARD, e, b->start[e]);
      if (b->role == OUT_DOUBLE && c->scalars[0] == 0) r.eps = 0x1p-52; /* the sums of a sweep are of reals */
      r.count += b->role == IN || b->role == IN_INT || b->role == IN_DOUBLE ? 0 : b->count;
    }
    void *data = base[from] + GUARD;
    memcpy((char *)&copy.args + b->offset, &data, sizeof data);
  }
  const hf_ctx ctx = {.seed = 42,
                      .step = 6,
                      .scalars = c->scalars,
                      .batch = 1,
                      .scratch = scratch,
                      .scratch_bytes = SCRATCH,
                      .status = &status};
  if (in_pieces)
    for (int64_t hi = c->units; hi > 0;) {
      const int64_t lo = hi - 1 - below(chance(2) ? hi : hi / 4 + 1);
      kernel(&copy.args, &ctx, lo, hi);
      hi = lo;
    }
  else
    kernel(&copy.args, &ctx, 0, c->units);

  if (!guard_holds(scratch + SCRATCH)) failure = "wrote behind the scratch";
  r.value = malloc((size_t)(r.count ? r.count : 1) * sizeof(double));
  r.status = status;
  int64_t n = 0;
  for (int i = 0; i < c->n_buffers; i++) {
    const buffer *b = &c->buffers[i];
    if (b->role == ALIAS) continue;
    const char *data = base[i] + GUARD;
    if (!guard_holds(base[i]) || !guard_holds(data + (size_t)b->count * element_size(b->role, dtype)))
      failure = "wrote outside a buffer";
    for (int64_t e = 0; e < b->count; e++) {
      const double v = get(b, dtype, data, e);
      if (b->role != IN && b->role != IN_INT && b->role != IN_DOUBLE)
        r.value[n++] = v;
      else if (!same(v, b->start[e]))
        failure = "changed an input";
    }
    free(base[i]);
  }
  free(scratch);
  return r;
}

static int equal_bits(const result *a, const result *b) {
  for (int64_t i = 0; i < a->count; i++)
    if (!same(a->value[i], b->value[i]) || signbit(a->value[i]) != signbit(b->value[i]))
      if (a->value[i] == a->value[i]) return 0;
  return a->status == b->status;
}

/* Worst error in units of the tolerance; infinite where a NaN, an infinity or the status differs. */
static double worst_error(const result *got, const result *want, double ulps, double scale) {
  double worst = got->status == want->status ? 0 : INFINITY;
  for (int64_t i = 0; i < want->count; i++) {
    const double g = got->value[i], w = want->value[i];
    if (same(g, w)) continue;
    const double error = fabs(g - w) / (ulps * got->eps * (scale + fabs(w)));
    worst = error <= worst ? worst : error == error ? error : INFINITY;
  }
  return worst;
}

static int is_fma(const char *isa) { return !strcmp(isa, "avx2") || !strcmp(isa, "avx512") || !strcmp(isa, "neon"); }

static uint64_t checksum;

/* FNV-1a over the results, every NaN as one. */
static void add_to_checksum(const result *r) {
  for (int64_t i = 0; i < r->count; i++) {
    const double v = r->value[i] == r->value[i] ? r->value[i] : 0;
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    checksum = (checksum ^ bits) * 0x100000001b3u;
  }
}

/* All ISAs on one case; gives the worst error of the right ones. */
static double test_one(const test_case *c, int op, double ulps, hf_dtype dtype) {
  const result want = run_case(c, hf_kernel_for(0, HF_FLOAT64, op), HF_FLOAT64, 0);
  result first_fma = {NULL, 0, 0, HF_OK};
  double worst = 0;
  for (int isa = 0; isa < hf_isa_count() && !failure; isa++) {
    const hf_kernel kernel = hf_kernel_for(isa, dtype, op);
    const result whole = run_case(c, kernel, dtype, 0), pieces = run_case(c, kernel, dtype, 1);
    const double error = worst_error(&whole, &want, ulps, c->scale);
    if (error > worst) worst = error;
    if (!(error <= 1)) failure = "differs from the reference";
    if (!equal_bits(&whole, &pieces)) failure = "pieces give other bits than the whole";
    if (is_fma(hf_isa_name(isa)) && first_fma.value && !equal_bits(&whole, &first_fma))
      failure = "ISAs give other bits";
    if (failure) printf("  %s: %s\n", hf_isa_name(isa), failure);
    free(pieces.value);
    if (is_fma(hf_isa_name(isa)) && !first_fma.value) {
      first_fma = whole;
      add_to_checksum(&first_fma);
    } else {
      free(whole.value);
    }
  }
  free(first_fma.value);
  free(want.value);
  return worst;
}

int main(int argc, char **argv) {
  const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
  const int n_cases = argc > 2 ? atoi(argv[2]) : 300;
  int failed = 0;
  printf("ISAs:");
  for (int isa = 0; isa < hf_isa_count(); isa++) printf(" %s", hf_isa_name(isa));
  printf("\n");
  for (int o = 0; o < N_OPS; o++) {
    uint64_t name = 0xcbf29ce484222325u; /* FNV-1a: an op's cases do not depend on the rows before it */
    for (const char *s = ops[o].name; *s; s++) name = (name ^ (uint64_t)*s) * 0x100000001b3u;
    if (argc > 3 && strcmp(argv[3], ops[o].name)) continue;
    for (hf_dtype dtype = HF_FLOAT32; dtype <= HF_FLOAT64; dtype++) {
      double worst = 0;
      int bad = 0;
      checksum = 0xcbf29ce484222325u;
      for (int i = 0; i < n_cases; i++) {
        test_case c = {.scale = 1};
        state = (seed << 32) + name + (uint64_t)i * 0x9E3779B97F4A7C15u;
        failure = NULL;
        ops[o].make(&c);
        const double error = test_one(&c, ops[o].op, ops[o].ulps, dtype);
        if (failure) {
          printf("  %s %s case %d of seed %llu: %g of the tolerance\n", ops[o].name, dtype ? "f64" : "f32", i,
                 (unsigned long long)seed, error);
          bad++;
        }
        if (error > worst) worst = error;
        for (int b = 0; b < c.n_buffers; b++) free(c.buffers[b].start);
      }
      failed += bad;
      printf("%-22s %s  %d cases, worst error %.2f of %g ulps, %016llx: %s\n", ops[o].name, dtype ? "f64" : "f32",
             n_cases, worst, ops[o].ulps, (unsigned long long)checksum, bad ? "FAIL" : "ok");
      fflush(stdout);
    }
  }
  return failed != 0;
}
