/* The executor: one plan on one thread, on teams, on whichever is faster, with pauses, with yields, and by virtual threads
 * gives the same bits. With ThreadSanitizer (make tsan) also: threads meet wherever one reads what another wrote; `test_plan race` runs a plan without
 * a barrier, which it must report. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "args.h"
#include "isa.h"
#include "program.h"

enum { ROWS = 50, COLS = 70, CAPACITY = ROWS, STEPS = 40, RECORDS = 6, MAX_THREADS = 4, TAG = 5 };

static float a[ROWS * COLS], b[ROWS * COLS], sums[COLS], start[ROWS * COLS];
static double totals[2];
static hf_ewise_args square, update;
static hf_reduce_args down;
static hf_yield_args yield;
static hf_accumulate_args total;
static _Alignas(64) char scratch[MAX_THREADS][64];
static hf_record records[RECORDS];
static hf_patch patches[4];
static hf_plan plan;

static int64_t code(int op, int dst, int x, int y) { return op | dst << 8 | x << 16 | (int64_t)y << 24; }

static hf_record record(int op, const void *args, int64_t units, int barrier) {
  return (hf_record){.kernel = hf_kernel_for(hf_isa_count() - 1, HF_FLOAT32, op),
                     .args = args,
                     .units = units,
                     .grain = 1,
                     .pieces = 1,
                     .barrier = (uint8_t)barrier};
}

/* b = a a + 0.001 by rows; sums = the columns of b, by columns; a -= 0.01 b sums by rows; totals += sums[0], then sums = 0. */
static void make_plan(int yields) {
  for (int i = 0; i < ROWS * COLS; i++) start[i] = (float)((i * 37 % 101) - 50) / 64;
  square = (hf_ewise_args){.out = {b},
                           .in = {a},
                           .rows = ROWS,
                           .dim = {1, 1, COLS},
                           .in_row = {COLS},
                           .in_stride = {0, 0, 1},
                           .n_out = 1,
                           .n_in = 1,
                           .n_code = 2,
                           .imm = {0, 0.001}};
  square.code[0] = code(HF_I_square, HF_REG_TEMP, 0, 0);
  square.code[1] = code(HF_I_add_imm, HF_REG_OUT, HF_REG_TEMP, 0);
  down = (hf_reduce_args){.y = sums, .x = b, .outer = 1, .red = ROWS, .inner = COLS, .kind = HF_MEAN, .by_inner = 1};
  update = (hf_ewise_args){.out = {a},
                           .in = {a, b, sums},
                           .rows = ROWS,
                           .dim = {1, 1, COLS},
                           .in_row = {COLS, COLS, 0},
                           .in_stride = {0, 0, 1, 0, 0, 1, 0, 0, 1},
                           .n_out = 1,
                           .n_in = 3,
                           .n_code = 3,
                           .imm = {0, 0.01}};
  update.code[0] = code(HF_I_mul, HF_REG_TEMP, 1, 2);
  update.code[1] = code(HF_I_mul_imm, HF_REG_TEMP, HF_REG_TEMP, 0);
  update.code[2] = code(HF_I_sub, HF_REG_OUT, 0, HF_REG_TEMP);
  yield = (hf_yield_args){.tag = TAG};
  total = (hf_accumulate_args){.sums = totals, .value = sums, .rows = ROWS};
  records[0] = record(HF_OP_ewise, &square, ROWS, 0);
  records[1] = record(HF_OP_reduce, &down, COLS, 1);
  records[2] = record(HF_OP_ewise, &update, ROWS, 1);
  records[2].pieces = 3;
  records[3] = record(HF_OP_yield, &yield, 1, 0);
  records[3].single = records[3].yields = 1;
  records[4] = record(HF_OP_accumulate, &total, 1, 0);
  records[4].single = records[4].update = 1;
  for (int i = 0; i < 5; i++) records[i].time_share = (i + 1) / 5.0;
  if (!yields) records[3] = records[4];
  /* the last batch is short */
  patches[0] = (hf_patch){&square.rows, 1, 0};
  patches[1] = (hf_patch){&down.red, 1, 0};
  patches[2] = (hf_patch){&records[0].units, 1, 0};
  patches[3] = (hf_patch){&records[2].units, 1, 0};
  plan = (hf_plan){.n_records = yields ? 5 : 4,
                   .n_patches = 4,
                   .records = records,
                   .patches = patches,
                   .scratch = scratch[0],
                   .scratch_bytes = 64,
                   .bound_batch = -1,
                   .slow = 1};
  memcpy(a, start, sizeof a);
  memset(totals, 0, sizeof totals);
}

typedef enum how { TEAM, AUTO, VIRTUAL } how;

/* Runs to the end; counts pauses and yields. */
static int run(how how, int threads, double budget, uint64_t seed, int *pauses, int *yields) {
  hf_run r = {.n_steps = STEPS, .batch = ROWS, .rows = STEPS * ROWS - 7, .budget_seconds = budget, .only_record = -1};
  int status;
  *pauses = *yields = 0;
  do {
    status = how == TEAM   ? hf_plan_run(&plan, &r, threads)
             : how == AUTO ? hf_plan_run_auto(&plan, &r, threads)
                           : hf_plan_run_debug(&plan, &r, threads, seed++);
    *pauses += status == HF_PAUSED;
    *yields += status == HF_YIELDED && r.yielded == TAG;
  } while (status == HF_PAUSED || status == HF_YIELDED);
  return status == HF_OK && r.cursor_step == STEPS && r.cursor_record == 0;
}

int main(int argc, char **argv) {
  static float want[ROWS * COLS];
  double want_totals[2];
  int failed = 0, n = 0, pauses, yields;
  make_plan(0);
  if (!run(TEAM, 1, 0, 0, &pauses, &yields)) return 1;
  memcpy(want, a, sizeof a);
  memcpy(want_totals, totals, sizeof totals);
  if (!(fabs(totals[0]) > 0) || totals[1] != STEPS * ROWS) return 1;
  for (int with_yields = 0; with_yields < 2; with_yields++)
    for (how how = TEAM; how <= VIRTUAL; how++)
      for (int threads = 1; threads <= MAX_THREADS; threads++)
        for (int budget = 0; budget < 2; budget++, n++) {
          make_plan(with_yields);
          const int done = run(how, threads, budget ? 1e-6 : 0, (uint64_t)n, &pauses, &yields);
          const int seen =
              yields == (with_yields ? STEPS : 0) && (!budget || with_yields || how == VIRTUAL || pauses > 0);
          if (done && seen && !memcmp(a, want, sizeof a) && !memcmp(totals, want_totals, sizeof totals)) continue;
          printf("%s, %d threads, %s pauses, %s yields: FAIL (%d pauses, %d yields)\n",
                 how == TEAM   ? "team"
                 : how == AUTO ? "auto"
                               : "virtual",
                 threads, budget ? "with" : "no", with_yields ? "with" : "no", pauses, yields);
          failed++;
        }
  /* What ThreadSanitizer must report, and stop at (halt_on_error). On a busy machine one thread may take all shares before
   * the others wake up, so it is tried for a while. */
  const time_t end = time(0) + (argc > 1 && !strcmp(argv[1], "race") ? 60 : 0);
  while (time(0) < end) {
    make_plan(0);
    records[1].barrier = 0;
    run(TEAM, MAX_THREADS, 0, 0, &pauses, &yields);
  }
  /* a barrier that is missing */
  int seen = 0;
  for (uint64_t seed = 0; seed < 20; seed++) {
    make_plan(0);
    records[1].barrier = 0;
    run(VIRTUAL, 3, 0, seed, &pauses, &yields);
    seen += memcmp(a, want, sizeof a) != 0;
  }
  printf("%d runs, a missing barrier seen by %d of 20 seeds: %s\n", n, seen, failed || !seen ? "FAIL" : "ok");
  return failed || !seen;
}
