/* The executor's data and its calls.
 *
 * Design
 * (a) A plan is a flat array of records, {kernel, argument struct, units of work}, over one arena that the caller owns.
 *     The executor (plan.c) walks it. Rejected: a graph of nodes with virtual methods, which puts a pointer
 *     chase and a size computation before every kernel.
 * (b) Argument structs hold resolved pointers and sizes. What depends on the batch size is listed once as patches
 *     (value = per_row * batch + fixed), rewritten when the batch size changes. Rejected: kernels that multiply by the
 *     batch size themselves, which would put the batch rule into every kernel.
 * (c) Every kernel computes units [lo, hi) of its op; the result of a unit does not depend on lo or hi. So the split over
 *     threads can't change a bit of the result.
 */
#ifndef HF_PLAN_H
#define HF_PLAN_H

#include "hawfinch.h"

/* What a kernel knows besides its arguments. */
typedef struct hf_ctx {
  uint64_t seed;
  int64_t step;              /* steps done before this one, over the life of the trainer */
  const double *scalars;     /* this step's numbers: columns of the update, see defs/optim.def */
  int64_t batch;             /* rows in this step */
  int64_t first;             /* position of the batch's first row in the epoch */
  const int64_t *index;      /* the epoch's row order, or NULL: rows first, first + 1, ... */
  char *scratch;             /* this thread's own workspace */
  size_t scratch_bytes;
  volatile int *status;      /* hf_status */
} hf_ctx;

typedef void (*hf_kernel)(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi);

typedef struct hf_record {
  hf_kernel kernel;
  const void *args;
  int64_t units;             /* work is units [0, units), shared between threads */
  int64_t shared_before;     /* units of the records before this one that are shared as one with it, */
  int64_t shared_units;      /* and of all of them; 0: this record is shared alone */
  double time_share;         /* the part of a step up to and with this record, by estimated time */
  int32_t grain;             /* a thread's share starts at a multiple of grain */
  int32_t pieces;            /* a long record is done in this many pieces, with a look at the clock between them */
  uint8_t single;            /* 1: the first share is all of it */
  uint8_t barrier;           /* 1: every thread has finished the records before this one */
  uint8_t yields;            /* 1: an hf_yield_args; the run gives control back here, all before it done */
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
  const double *scalars;     /* (n_steps, scalar_stride), or NULL where no record asks for them */
  int64_t scalar_stride;     /* 0: the same row for every step */
  uint64_t seed;
  int64_t step0;             /* steps done before the epoch */
  double budget_seconds;     /* give control back after about this long; <= 0: never */
  int64_t only_record;       /* >= 0: run this record alone (diagnosis); -1: all */
  int64_t cursor_step, cursor_record, cursor_piece; /* in and out: where to go on */
  int64_t yielded;           /* out: the tag of the yield record, after HF_YIELDED */
} hf_run;

int hf_plan_run(hf_plan *plan, hf_run *run, int n_threads);

/* The same with one thread or n_threads, whichever has been the faster lately on this plan. May give HF_PAUSED early. */
int hf_plan_run_auto(hf_plan *plan, hf_run *run, int n_threads);

/* The same by n_threads virtual threads, one at a time: between two meeting points each does its records in order, but
 * which thread goes on is drawn from seed. So records that need a barrier and have none give wrong results for some
 * seeds, on one core, every time. No pauses. */
enum { HF_MAX_VIRTUAL = 64 };
int hf_plan_run_debug(hf_plan *plan, hf_run *run, int n_threads, uint64_t seed);

#endif
