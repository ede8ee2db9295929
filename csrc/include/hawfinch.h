/* hawfinch: the C interface of the engine. No Python in it.
 *
 * Design
 * (a) A plan is a flat array of records, {kernel, argument struct, units of work}, over one arena that the caller owns.
 *     The executor (runtime/plan.c) walks it. Rejected: a graph of nodes with virtual methods, which puts a pointer
 *     chase and a size computation before every kernel.
 * (b) Argument structs hold resolved pointers and sizes. What depends on the batch size is listed once as patches
 *     (value = per_row * batch + fixed), rewritten when the batch size changes. Rejected: kernels that multiply by the
 *     batch size themselves, which would put the batch rule into every kernel.
 * (c) Every kernel computes units [lo, hi) of its op; the result of a unit does not depend on lo or hi. So the split over
 *     threads can't change a bit of the result.
 */
#ifndef HAWFINCH_H
#define HAWFINCH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HF_ALIGN 64        /* bytes: every buffer of a plan starts on a cache line */
#define HF_NORM_CHUNK 4096 /* elements per partial sum of grad_norm */
#define HF_SWEEP_CHUNK 1024 /* parameters per unit of an update */
#define HF_COL_BLOCK 64    /* columns per unit of a matmul that is split by columns */
#define HF_PRODUCT_BYTES (1 << 20) /* at the end of the scratch: the rows of a product that an optimiser takes */

typedef enum hf_dtype { HF_FLOAT32 = 0, HF_FLOAT64 = 1 } hf_dtype;

/* Element types of a user's array, in the order of hf_array.dtype. */
typedef enum hf_source_dtype {
  HF_SRC_F32,
  HF_SRC_F64,
  HF_SRC_I8,
  HF_SRC_I16,
  HF_SRC_I32,
  HF_SRC_I64,
  HF_SRC_U8,
  HF_SRC_U16,
  HF_SRC_U32,
  HF_SRC_U64,
  HF_SRC_BOOL
} hf_source_dtype;

typedef enum hf_reduce_kind { HF_SUM, HF_MEAN, HF_MAX, HF_MIN, HF_ARGMAX, HF_MAX_ABS } hf_reduce_kind;

/* A user's array (rows, shape[0], shape[1], ...): strides in bytes, never written. */
typedef struct hf_array {
  const char *data;
  int64_t rows, row_stride;
  int64_t dtype, ndim;       /* ndim inner dimensions, at most 6; 0 for a vector of rows */
  int64_t shape[6], stride[6];
} hf_array;

typedef enum hf_status {
  HF_OK = 0,
  HF_PAUSED = 1,      /* the deadline passed: call again to go on */
  HF_NONFINITE = 2,   /* loss or gradient not finite at run->step: parameters are those before that step */
  HF_BAD_INDEX = 3    /* a gather index or label outside its range */
} hf_status;

/* What a kernel knows besides its arguments. */
typedef struct hf_ctx {
  uint64_t seed;
  int64_t step;              /* steps done before this one, over the life of the trainer */
  const double *scalars;     /* this step's numbers: columns of the update, see defs/optim.def */
  int64_t batch;             /* rows in this step */
  int64_t first;             /* position of the batch's first row in the epoch */
  const int64_t *index;      /* the epoch's row order, or NULL: rows first, first + 1, ... */
  int thread, n_threads;
  char *scratch;             /* this thread's own workspace */
  size_t scratch_bytes;
  volatile int *status;      /* hf_status */
} hf_ctx;

typedef void (*hf_kernel)(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi);

typedef struct hf_record {
  hf_kernel kernel;
  const void *args;
  int64_t units;             /* work is units [0, units), shared between threads */
  double done;               /* the part of a step up to and with this record, by estimated time */
  int32_t grain;             /* a thread's share starts at a multiple of grain */
  int32_t pieces;            /* a long record is done in this many pieces, with a look at the clock between them */
  uint8_t single;            /* 1: thread 0 does it all */
  uint8_t barrier;           /* 1: every thread has finished the records before this one */
  uint8_t update;            /* 1: changes parameters or state: never interrupted, skipped once a step has failed */
} hf_record;

/* *(int64_t *)target = per_row * batch + fixed */
typedef struct hf_patch {
  int64_t *target;
  int64_t per_row, fixed;
} hf_patch;

typedef struct hf_plan {
  int64_t n_records, n_patches;
  hf_record *records;
  hf_patch *patches;
  char *scratch;             /* max_threads blocks of scratch_bytes */
  size_t scratch_bytes;
  int64_t bound_batch;       /* batch size that the patches were last applied for; -1: none */
  int64_t slow;              /* 1: look at the clock at every barrier, not only between steps */
  double seconds[2], work[2]; /* lately measured: time and steps of one thread, and of a team */
  double since, wait;        /* seconds of runs since the slower one was last tried, and until it is again */
} hf_plan;

/* One call: steps [cursor_step, n_steps) of an epoch, batches of `batch` rows out of `rows` (the last one may be short). */
typedef struct hf_run {
  int64_t n_steps, batch, rows;
  const int64_t *index;      /* (rows) or NULL */
  const double *scalars;     /* (n_steps, scalar_stride) or NULL where no record asks for them */
  int64_t scalar_stride;     /* 0: the same row for every step */
  uint64_t seed;
  int64_t step0;             /* steps done before the epoch */
  double budget_seconds;     /* give control back after about this long; <= 0: never */
  int64_t only_record;       /* >= 0: run this record alone (diagnosis); -1: all */
  int64_t cursor_step, cursor_record, cursor_piece; /* in and out: where to go on */
} hf_run;

int hf_plan_run(hf_plan *plan, hf_run *run, int n_threads);

/* The same with one thread or n_threads, whichever has been the faster lately on this plan. May give HF_PAUSED early. */
int hf_plan_run_auto(hf_plan *plan, hf_run *run, int n_threads);

/* Threads that a call may use: min(affinity, cgroup quota, OpenMP's own limit), read at each call. */
int hf_max_threads(void);
const char *hf_openmp_runtime(void);

/* Kernel tables. isa: "baseline", "avx2", "avx512", "neon", "ref". */
int hf_isa_count(void);
const char *hf_isa_name(int i);      /* every ISA that this build and this CPU can run, best last */
hf_kernel hf_kernel_for(int isa, hf_dtype dtype, int op);

/* Row order of an epoch: a permutation of [0, n) from (seed, epoch) alone. */
void hf_permutation(int64_t *index, int64_t n, uint64_t seed, uint64_t epoch);
/* out[i] uniform in [lo, hi) or normal(lo = mean, hi = std), from (seed, stream, i) alone. */
void hf_random_uniform(double *out, int64_t n, uint64_t seed, uint64_t stream, double lo, double hi);
void hf_random_normal(double *out, int64_t n, uint64_t seed, uint64_t stream, double mean, double std);
/* Flat element number of the first NaN or infinity of a float array, else -1. */
int64_t hf_first_nonfinite(const hf_array *a, int64_t first_row, int64_t n_rows);

int hf_cuda_available(void);

#ifdef __cplusplus
}
#endif
#endif
