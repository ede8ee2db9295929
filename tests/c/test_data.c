/* Kernels that move data, every ISA against the reference, bit for bit, whole and in pieces: load_batch from every element
 * type, layout and row order; copy, gather, scatter_add, order_rows, sum_rows, correct, grad_bound. Those of plain.c, which
 * are their own reference: against their formula, written here. `test_data [seed [cases]]`. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "isa.h"

enum { BYTES = 1 << 16, ROWS = 40 };

static uint64_t state = 1;
static uint32_t draw(void) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 33);
}
static int64_t below(int64_t n) { return draw() % n; }
static int chance(int one_in) { return below(one_in) == 0; }

static _Alignas(64) char source[BYTES], table[BYTES], want[BYTES], got[BYTES];
static int64_t index_of[ROWS], order[2 * ROWS];

typedef struct test_case {
  int op;
  union {
    hf_load_batch_args load;
    hf_store_batch_args store;
    hf_copy_args copy;
    hf_gather_args gather;
    hf_scatter_add_args scatter;
    hf_order_rows_args order;
    hf_sum_rows_args sum;
    hf_int_to_real_args real;
    hf_correct_args correct;
    hf_accumulate_args sums;
    hf_dim_value_args dim;
    hf_grad_check_args check;
    hf_grad_bound_args bound;
    hf_scalars_args scalars;
    hf_interp_args interp;
  } args;
  hf_dtype dtype;
  void **out; /* the field of args that gets the result */
  int64_t units;
  hf_ctx ctx;
} test_case;

static hf_array array;

/* Reals that end up in [-4, 4], with a few that no int64 holds. */
static double number(void) {
  static const double odd[] = {1e30, -1e30, INFINITY, -INFINITY, 9.3e18, 0x1p63, -0x1p63, 0.0, -0.0};
  return chance(9) ? odd[below(9)] : (double)(int32_t)draw() / 0x1p29;
}

static void fill_reals(char *to, int wide) {
  for (int64_t i = 0; i < BYTES / (wide ? 8 : 4); i++) {
    const double v = number();
    const float f = (float)v;
    memcpy(to + i * (wide ? 8 : 4), wide ? (const void *)&v : (const void *)&f, wide ? 8 : 4);
  }
}

/* A view of source: rows of up to three dimensions, some of them reversed, spread, transposed or broadcast. */
static void make_load(test_case *c) {
  static const int64_t sizes[] = {4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 1};
  hf_load_batch_args *p = &c->args.load;
  p->ahead = chance(2) ? 0 : 1 + below(3);
  array = (hf_array){.dtype = below(11), .ndim = below(4)};
  const int64_t size = sizes[array.dtype];
  for (int64_t i = 0; i < BYTES; i++) source[i] = (char)draw();
  if (array.dtype <= HF_SRC_F64) fill_reals(source, array.dtype == HF_SRC_F64);
  if (array.dtype == HF_SRC_BOOL)
    for (int64_t i = 0; i < BYTES; i++) source[i] &= 1;
  int64_t step = size, order_of[4] = {0, 1, 2, 3}; /* of the axes, 0: rows; the last one is densest */
  for (int64_t d = array.ndim; d > 0 && chance(2); d--) {
    const int64_t e = below(d + 1), t = order_of[d];
    order_of[d] = order_of[e];
    order_of[e] = t;
  }
  const int64_t rows = 2 * ROWS;
  char *start = source;
  for (int64_t d = array.ndim; d >= 0; d--) {
    const int64_t axis = order_of[d], n = axis ? (chance(8) ? 0 : 1 + below(5)) : rows;
    int64_t stride = chance(9) ? 0 : chance(4) ? 2 * step : step;
    if (axis) {
      array.shape[axis - 1] = n;
      step = stride && n ? stride * n : step;
      if (chance(4) && n) {
        start += (n - 1) * stride;
        stride = -stride;
      }
      array.stride[axis - 1] = stride;
    } else {
      array.row_stride = stride;
      step = stride ? stride * n : step;
    }
  }
  if (step > BYTES) { /* one row for all */
    array.row_stride = 0;
    for (int d = 0; d < 3; d++) array.stride[d] = size;
    start = source;
  }
  array.data = start;
  array.rows = rows;
  p->source = &array;
  p->rows = c->units = 1 + below(ROWS);
  p->elems = 1;
  for (int64_t d = 0; d < array.ndim; d++) p->elems *= array.shape[d];
  p->to_int = chance(2);
  c->out = &p->dst;
  c->ctx.first = below(ROWS);
  for (int64_t i = 0; i < 2 * ROWS; i++) order[i] = below(rows);
  c->ctx.index = chance(2) ? order : NULL;
}

static void make_copy(test_case *c) {
  hf_copy_args *p = &c->args.copy;
  int64_t to = 1, from = 1;
  p->itemsize = chance(2) ? 4 : 8;
  for (int64_t d = 5; d >= 0; d--) {
    p->dim[d] = 1 + below(d == 5 ? 9 : 3);
    p->y_stride[d] = to;
    to *= p->dim[d];
    p->x_stride[d] = chance(5) ? 0 : from;
    from *= p->dim[d] + chance(4);
  }
  int64_t back = 0;
  for (int d = 0; d < 6; d++)
    if (chance(4)) {
      back += p->x_stride[d] * (p->dim[d] - 1);
      p->x_stride[d] = -p->x_stride[d];
    }
  p->x = source + back * p->itemsize;
  c->out = &p->y;
  c->units = p->dim[0];
}

static void make_gather(test_case *c) {
  hf_gather_args *p = &c->args.gather;
  const int wrong = chance(6);
  p->rows = c->units = 1 + below(ROWS);
  p->cols = below(20);
  p->table_rows = 1 + below(9);
  p->itemsize = chance(2) ? 4 : 8;
  for (int64_t i = 0; i < p->rows; i++) index_of[i] = below(p->table_rows + wrong) - (wrong && chance(2));
  p->table = table;
  p->index = index_of;
  c->out = &p->y;
}

static void make_scatter_add(test_case *c) {
  hf_scatter_add_args *p = &c->args.scatter;
  p->rows = 1 + below(ROWS);
  p->cols = below(20);
  p->table_rows = c->units = 1 + below(9);
  for (int64_t i = 0; i < p->rows; i++) index_of[i] = below(p->table_rows + 2) - 1;
  p->dy = table; /* small whole numbers: sums are exact */
  p->index = index_of;
  c->out = &p->dtable;
}

static double real_at(const void *p, int64_t i, hf_dtype dtype) {
  return dtype == HF_FLOAT64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

static void put_real(char *out, int64_t i, double v, hf_dtype dtype) {
  const float f = (float)v;
  if (dtype == HF_FLOAT64)
    memcpy(out + 8 * i, &v, 8);
  else
    memcpy(out + 4 * i, &f, 4);
}

static int64_t order_of[ROWS], row_of[ROWS];

static void make_order_rows(test_case *c) {
  hf_order_rows_args *p = &c->args.order;
  p->rows = 1 + below(ROWS);
  p->table_rows = 1 + below(chance(2) ? 5 : 100);
  for (int64_t i = 0; i < p->rows; i++) index_of[i] = below(p->table_rows + 2) - 1;
  p->index = index_of;
  p->order = order_of;
  p->row = row_of;
  c->units = 1;
  c->out = chance(2) ? &p->order : &p->row;
}

static void make_sum_rows(test_case *c) {
  make_order_rows(c);
  hf_order_rows_args order = c->args.order;
  order.order = order_of, order.row = row_of;
  hf_kernel_for(0, HF_FLOAT64, HF_OP_order_rows)(&order, &c->ctx, 0, 1);
  hf_sum_rows_args *p = &c->args.sum;
  *p = (hf_sum_rows_args){.dy = table, .order = order_of, .row = row_of, .rows = order.rows, .cols = below(20)};
  c->units = p->rows + below(3);
  c->out = &p->g;
}

static void make_store(test_case *c) {
  hf_store_batch_args *p = &c->args.store;
  p->src = source;
  p->rows = c->units = 1 + below(ROWS);
  p->row_bytes = below(100);
  c->ctx.first = below(9);
  c->out = &p->dst;
}

static void make_int_to_real(test_case *c) {
  hf_int_to_real_args *p = &c->args.real;
  p->x = source;
  p->rows = c->units = 1 + below(ROWS);
  p->elems = below(20);
  c->out = &p->y;
}

static void make_correct(test_case *c) {
  hf_correct_args *p = &c->args.correct;
  p->x = table;
  p->rows = c->units = 1 + below(ROWS);
  p->cols = 1 + below(9);
  for (int64_t i = 0; i < p->rows; i++) index_of[i] = below(p->cols);
  p->labels = index_of;
  c->out = &p->y;
}

static void make_accumulate(test_case *c) {
  hf_accumulate_args *p = &c->args.sums;
  p->value = table;
  p->weight = chance(2) ? table + 8 : NULL;
  p->rows = below(ROWS);
  c->units = 1 + below(8);
  c->out = &p->sums;
}

static void make_dim_value(test_case *c) {
  c->args.dim.n = below(1 << 20);
  c->units = 1;
  c->out = &c->args.dim.y;
}

static double scalars[8];
static void *nowhere;

static void make_scalars(test_case *c) {
  for (int i = 0; i < 8; i++) scalars[i] = number();
  c->ctx.scalars = scalars;
  c->args.scalars.column = below(4);
  c->args.scalars.n = below(5);
  c->units = 1;
  c->out = &c->args.scalars.y;
}

static void make_grad_check(test_case *c) {
  static double partial[ROWS];
  hf_grad_check_args *p = &c->args.check;
  for (int i = 0; i < ROWS; i++) partial[i] = chance(99) ? INFINITY : (double)below(1000);
  scalars[0] = chance(2) ? 0 : 1.5;
  c->ctx.scalars = scalars;
  p->partial = partial;
  p->chunks = below(ROWS);
  p->loss = chance(3) ? NULL : chance(3) ? source : table;
  c->units = 1;
  c->out = &p->scale;
}

static void make_grad_bound(test_case *c) {
  hf_grad_bound_args *p = &c->args.bound;
  for (int i = 3; i < BYTES; i += 4) source[i] &= 0x7f, table[i] &= 0x7f; /* no signs: these are absolute values */
  p->x_max = chance(2) ? source : table;
  p->w_max = chance(2) ? source + 256 : table;
  p->rows = below(ROWS);
  c->units = 1;
  c->out = &nowhere;
}

/* Knots 0, 1/2, 1 or 2 apart, so that all that is on the line is exact; x of the table is whole. */
static void make_interp(test_case *c) {
  static char other[BYTES];
  hf_interp_args *p = &c->args.interp;
  p->rows = c->units = 1 + below(ROWS);
  p->cols = 1 + below(9);
  p->n = 2 + below(8);
  for (int64_t j = 0; j < p->cols; j++) {
    double knot = (double)below(9) / 2 - 5;
    for (int64_t k = 0; k < p->n; k++, knot += 0.5 * (double)(1 << below(3)) * !chance(4))
      put_real(source, j * p->n + k, knot, c->dtype);
  }
  p->x = table;
  p->knots = source;
  p->values = table + 64;
  p->y = p->slope = other;
  c->out = chance(2) ? &p->y : &p->slope;
}

/* ---- what the kernels of plain.c are to write; gives the status ---- */
static int want_store(const test_case *c, hf_dtype dtype, char *out) {
  (void)dtype;
  const hf_store_batch_args *p = &c->args.store;
  for (int64_t row = 0; row < p->rows; row++)
    for (int64_t b = 0; b < p->row_bytes; b++)
      out[(c->ctx.first + row) * p->row_bytes + b] = source[row * p->row_bytes + b];
  return HF_OK;
}

static int want_int_to_real(const test_case *c, hf_dtype dtype, char *out) {
  const hf_int_to_real_args *p = &c->args.real;
  for (int64_t e = 0; e < p->rows * p->elems; e++) {
    int64_t v;
    memcpy(&v, source + 8 * e, 8);
    if (dtype == HF_FLOAT64)
      put_real(out, e, (double)v, dtype);
    else
      put_real(out, e, (float)v, dtype); /* rounded once */
  }
  return HF_OK;
}

static int want_accumulate(const test_case *c, hf_dtype dtype, char *out) {
  const hf_accumulate_args *p = &c->args.sums;
  for (int64_t i = 0; i < c->units; i++) {
    put_real(out, 2 * i, 0 + real_at(p->value, i, dtype), HF_FLOAT64);
    put_real(out, 2 * i + 1, p->weight ? real_at(p->weight, 0, dtype) : (double)p->rows, HF_FLOAT64);
  }
  return HF_OK;
}

static int want_dim_value(const test_case *c, hf_dtype dtype, char *out) {
  put_real(out, 0, (double)c->args.dim.n, dtype);
  return HF_OK;
}

static int want_scalars(const test_case *c, hf_dtype dtype, char *out) {
  for (int64_t i = 0; i < c->args.scalars.n; i++) put_real(out, i, scalars[c->args.scalars.column + i], dtype);
  return HF_OK;
}

static int want_grad_check(const test_case *c, hf_dtype dtype, char *out) {
  const hf_grad_check_args *p = &c->args.check;
  double squares = 0;
  for (int64_t i = p->chunks; i > 0; i--)
    squares += ((const double *)p->partial)[i - 1]; /* whole numbers: in any order */
  put_real(out, 0, scalars[0] == 0 ? 1 : fmin(1, scalars[0] / (sqrt(squares) + 1e-6)), dtype);
  return isinf(squares) || (p->loss && !isfinite(real_at(p->loss, 0, dtype))) ? HF_NONFINITE : HF_OK;
}

static int want_interp(const test_case *c, hf_dtype dtype, char *out) {
  const hf_interp_args *p = &c->args.interp;
  for (int64_t e = 0; e < p->rows * p->cols; e++) {
    const double x = real_at(p->x, e, dtype);
    const int64_t first = e % p->cols * p->n;
    int64_t below_x = 0, up_to_x = 0; /* knots */
    for (int64_t k = 0; k < p->n; k++) {
      below_x += real_at(p->knots, first + k, dtype) < x;
      up_to_x += real_at(p->knots, first + k, dtype) <= x;
    }
    const int64_t left = up_to_x > 0 ? up_to_x - 1 : 0, right = below_x < p->n ? below_x : p->n - 1;
    const double k0 = real_at(p->knots, first + left, dtype), k1 = real_at(p->knots, first + right, dtype);
    const double v0 = real_at(p->values, left, dtype), v1 = real_at(p->values, right, dtype);
    double y, slope = 0;
    if (below_x == 0)
      y = real_at(p->values, 0, dtype);
    else if (up_to_x == p->n)
      y = real_at(p->values, p->n - 1, dtype);
    else if (up_to_x > below_x) { /* on knots: the mean of the first's value and the last's, and the line behind */
      y = (v0 + v1) / 2;
      if (up_to_x == below_x + 1)
        slope = (real_at(p->values, up_to_x, dtype) - v0) / (real_at(p->knots, first + up_to_x, dtype) - k0);
    } else {
      slope = (v1 - v0) / (k1 - k0);
      y = v0 + (x - k0) * slope;
    }
    put_real(out, e, c->out == (void **)&p->y ? y : slope, dtype);
  }
  return HF_OK;
}

static const struct {
  const char *name;
  int op;
  void (*make)(test_case *);
  int (*want)(const test_case *, hf_dtype, char *); /* NULL: what the reference kernel writes */
} ops[] = {
    {"load_batch", HF_OP_load_batch, make_load, NULL},
    {"copy", HF_OP_copy, make_copy, NULL},
    {"gather", HF_OP_gather, make_gather, NULL},
    {"scatter_add", HF_OP_scatter_add, make_scatter_add, NULL},
    {"order_rows", HF_OP_order_rows, make_order_rows, NULL},
    {"sum_rows", HF_OP_sum_rows, make_sum_rows, NULL},
    {"store_batch", HF_OP_store_batch, make_store, want_store},
    {"int_to_real", HF_OP_int_to_real, make_int_to_real, want_int_to_real},
    {"correct", HF_OP_correct, make_correct, NULL},
    {"accumulate", HF_OP_accumulate, make_accumulate, want_accumulate},
    {"dim_value", HF_OP_dim_value, make_dim_value, want_dim_value},
    {"scalars", HF_OP_scalars, make_scalars, want_scalars},
    {"grad_check", HF_OP_grad_check, make_grad_check, want_grad_check},
    {"grad_bound", HF_OP_grad_bound, make_grad_bound, NULL},
    {"interp", HF_OP_interp, make_interp, want_interp},
};

static void clear(const test_case *c, char *out) {
  memset(out, c->op == HF_OP_accumulate ? 0 : 0x5A, BYTES); /* it adds */
}

/* The result and the status; what is not written stays 0x5A. */
static int run(test_case *c, hf_kernel kernel, char *out, int in_pieces) {
  volatile int status = HF_OK;
  clear(c, out);
  *c->out = out;
  hf_ctx ctx = c->ctx;
  ctx.status = &status;
  for (int64_t hi = c->units, lo; hi > 0; hi = lo) {
    lo = in_pieces ? below(hi) : 0;
    kernel(&c->args, &ctx, lo, hi);
  }
  return status;
}

int main(int argc, char **argv) {
  const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
  const int n_cases = argc > 2 ? atoi(argv[2]) : 2000;
  int failed = 0;
  for (size_t o = 0; o < sizeof ops / sizeof *ops; o++)
    for (hf_dtype dtype = HF_FLOAT32; dtype <= HF_FLOAT64; dtype++) {
      int bad = 0;
      for (int i = 0; i < n_cases; i++) {
        test_case c = {.op = ops[o].op, .dtype = dtype};
        state = (seed << 32) + (uint64_t)i * 0x9E3779B97F4A7C15u;
        for (int64_t b = 0; b < BYTES / 8; b++) {
          const double v = (double)below(9) - 4;
          const float f = (float)v;
          memcpy(table + b * 8, &v, 8);
          for (int h = 0; h < 2 && dtype == HF_FLOAT32; h++) memcpy(table + b * 8 + 4 * h, &f, 4);
        }
        if (c.op == HF_OP_grad_check || c.op == HF_OP_grad_bound)
          fill_reals(source, dtype); /* some not finite, some near the end */
        ops[o].make(&c);
        clear(&c, want);
        const int status = ops[o].want ? ops[o].want(&c, dtype, want) : run(&c, hf_kernel_for(0, dtype, c.op), want, 0);
        for (int isa = 0; isa < hf_isa_count(); isa++)
          for (int in_pieces = 0; in_pieces < 2; in_pieces++)
            if (run(&c, hf_kernel_for(isa, dtype, c.op), got, in_pieces) != status || memcmp(got, want, BYTES)) {
              printf("  %s %s on %s: case %d of seed %llu differs\n", ops[o].name, dtype ? "f64" : "f32",
                     hf_isa_name(isa), i, (unsigned long long)seed);
              bad++;
            }
      }
      printf("%-12s %s  %d cases: %s\n", ops[o].name, dtype ? "f64" : "f32", n_cases, bad ? "FAIL" : "ok");
      failed += bad;
    }
  return failed != 0;
}
