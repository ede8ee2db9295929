/* Argument structs, one per op, made from ops.def: hf_matmul_args and so on. */
#ifndef HF_ARGS_H
#define HF_ARGS_H

#include "constants.h"
#include "plan.h"

#define HF_OP(name, ref, fast) HF_OP_##name,
enum hf_op {
#include "ops.def"
  HF_N_OPS
};

#define HF_OP(name, ref, fast) typedef struct hf_##name##_args {
#define HF_PTR(name) void *name;
#define HF_PTRS(name, count) void *name[count];
#define HF_DIM(name) int64_t name;
#define HF_DIMS(name, count) int64_t name[count];
#define HF_INT(name) int64_t name;
#define HF_INTS(name, count) int64_t name[count];
#define HF_REAL(name) double name;
#define HF_REALS(name, count) double name[count];
#define HF_EWISE(name) struct hf_ewise_args name;
#define HF_MATMUL(name) struct hf_matmul_args name;
#define HF_END(name) } hf_##name##_args;
#include "ops.def"

/* The part of y(m, n) that units [lo, hi) of a matrix product stand for: rows, or blocks of columns. */
typedef struct hf_region {
  int64_t r0, r1, c0, c1;
} hf_region;

static inline hf_region hf_matmul_region(int64_t by_cols, int64_t m, int64_t n, int64_t lo, int64_t hi) {
  if (!by_cols) return (hf_region){lo, hi, 0, n};
  return (hf_region){0, m, lo * HF_COL_BLOCK, hi * HF_COL_BLOCK < n ? hi * HF_COL_BLOCK : n};
}

#endif
