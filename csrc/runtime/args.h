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

/* Update rules, and the first columns of a set of scalars; the rule's hyperparameters follow. */
#define HF_RULE(name) HF_RULE_##name,
enum hf_rule {
#include "optim.def"
  HF_N_RULES
};
#define HF_RULE(name)
#define HF_COMMON(name) HF_COLUMN_##name,
enum hf_column {
#include "optim.def"
  HF_N_COMMON
};

/* Elements [offset, offset + n) of the parameter buffer, with the set of scalars that begins at `column`. Its units are
 * chunks of HF_SWEEP_CHUNK elements (rows of a product), numbered from `unit` on. */
typedef struct hf_param_run {
  int64_t offset, n, column, unit;
} hf_param_run;

/* The part of y(m, n) that units [lo, hi) of a matrix product stand for: rows, or blocks of columns. */
typedef struct hf_region {
  int64_t r0, r1, c0, c1;
} hf_region;

static inline hf_region hf_matmul_region(int64_t by_cols, int64_t m, int64_t n, int64_t lo, int64_t hi) {
  if (!by_cols) return (hf_region){lo, hi, 0, n};
  return (hf_region){0, m, lo * HF_COL_BLOCK, hi * HF_COL_BLOCK < n ? hi * HF_COL_BLOCK : n};
}

#endif
