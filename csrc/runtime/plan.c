/* The executor: walks a plan's records, step after step, on a team of threads.
 *
 * Work is split by shape alone: share t of T is the units between fixed marks, so neighbouring row-local records give
 * a share the rows that it wrote itself and need no barrier. The lowering marks the records that do need one.
 *
 * A yield record ends the call as a pause does, but always, and with the cursor behind it. Rejected: a callback from here
 * (it would need the interpreter's lock inside a team, and could not let two plans of one thread take turns).
 */
#include <time.h>

#include "args.h"
#include "threads.h"

/* One call, as a team sees it: round after round, each from the run's cursor to where threads meet next. */
typedef struct call {
  hf_plan *plan;
  hf_run *run;
  double start, budget;
  volatile int status;
  int64_t n; /* records of this round: piece cursor_piece of the first, the first piece of the others */
} call;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Rows in step `step`: the last batch of an epoch may be short. */
static int64_t batch_of(const hf_run *run, int64_t step) {
  const int64_t left = run->rows - step * run->batch;
  return left < run->batch ? left : run->batch;
}

static void bind_batch(hf_plan *plan, int64_t batch) {
  if (plan->bound_batch == batch) return;
  for (int64_t i = 0; i < plan->n_patches; i++)
    *plan->patches[i].target = plan->patches[i].per_row * batch + plan->patches[i].fixed;
  plan->bound_batch = batch;
}

/* This share's units of one piece of record r. */
static inline void run_units(const hf_record *r, const hf_ctx *ctx, int64_t piece, int share, int team) {
  if (team == 1 && r->pieces == 1) {
    if (r->units > 0) r->kernel(r->args, ctx, 0, r->units);
    return;
  }
  if (r->single) {
    if (share == 0 && r->units > 0) r->kernel(r->args, ctx, 0, r->units);
    return;
  }
  if (r->shared_units) { /* in one piece */
    const int64_t from = r->shared_units * share / team - r->shared_before;
    const int64_t to = r->shared_units * (share + 1) / team - r->shared_before;
    const int64_t first = from > 0 ? from : 0, last = to < r->units ? to : r->units;
    if (first < last) r->kernel(r->args, ctx, first, last);
    return;
  }
  const int64_t grains = (r->units + r->grain - 1) / r->grain;
  const int64_t from = grains * piece / r->pieces, count = grains * (piece + 1) / r->pieces - from;
  const int64_t lo = (from + count * share / team) * r->grain, end = (from + count * (share + 1) / team) * r->grain;
  const int64_t hi = end < r->units ? end : r->units;
  if (lo < hi) r->kernel(r->args, ctx, lo, hi);
}

static hf_ctx context_of(call *c, int thread) {
  const hf_plan *plan = c->plan;
  const hf_run *run = c->run;
  const int64_t step = run->cursor_step;
  return (hf_ctx){.seed = run->seed,
                  .step = run->step0 + step,
                  .scalars = run->scalars ? run->scalars + step * run->scalar_stride : 0,
                  .batch = batch_of(run, step),
                  .first = step * run->batch,
                  .index = run->index,
                  .scratch = plan->scratch + (size_t)thread * plan->scratch_bytes,
                  .scratch_bytes = plan->scratch_bytes,
                  .status = &c->status};
}

static inline int64_t piece_of(const call *c, int64_t k) { return k == 0 ? c->run->cursor_piece : 0; }

static inline void run_record(const call *c, int64_t k, const hf_ctx *ctx, int share, int team) {
  const int64_t i = c->run->cursor_record + k;
  if (c->run->only_record < 0 || i == c->run->only_record)
    run_units(c->plan->records + i, ctx, piece_of(c, k), share, team);
}

static void run_share(void *context, int thread, int share, int team) {
  call *c = context;
  const hf_ctx ctx = context_of(c, thread);
  for (int64_t k = 0; k < c->n; k++) run_record(c, k, &ctx, share, team);
}

/* Moves the cursor past the round's records, all of which are done. */
static void go_past(call *c) {
  hf_run *run = c->run;
  const int64_t last = c->n - 1, piece = piece_of(c, last) + 1;
  run->cursor_record += last;
  run->cursor_piece = piece < c->plan->records[run->cursor_record].pieces ? piece : 0;
  if (run->cursor_piece == 0 && ++run->cursor_record == c->plan->n_records) {
    run->cursor_record = 0;
    run->cursor_step++;
  }
}

/* The one place where the step changes and where a run may end early. 0: there is no further round. */
static int next_round(void *context) {
  call *c = context;
  hf_plan *plan = c->plan;
  hf_run *run = c->run;
  const int entry = c->n == 0; /* of this call: it does something before it pauses, however small its budget */
  if (!entry) go_past(c);
  if (run->cursor_step >= run->n_steps || c->status != HF_OK) return 0;
  if (run->cursor_record == 0 || entry) bind_batch(plan, batch_of(run, run->cursor_step));
  const hf_record *r = plan->records + run->cursor_record, *end = plan->records + plan->n_records;
  c->n = 1;
  if (r->yields && run->only_record < 0) {
    run->yielded = ((const hf_yield_args *)r->args)->tag;
    c->status = HF_YIELDED;
    go_past(c);
    return 0;
  }
  if (c->budget > 0 && !r->update && !entry && (run->cursor_record == 0 || plan->slow) &&
      now() - c->start > c->budget) {
    c->status = HF_PAUSED;
    return 0;
  }
  int more = run->cursor_piece + 1 < r->pieces;
  for (r++; !more && r < end && !r->barrier && !r->yields; r++, c->n++) more = r->pieces > 1;
  return 1;
}

int hf_plan_run(hf_plan *plan, hf_run *run, int n_threads) {
  if (plan->n_records == 0) run->cursor_step = run->n_steps;
  call c = {.plan = plan, .run = run, .budget = run->budget_seconds, .status = HF_OK};
  if (c.budget > 0) c.start = now();
  if (next_round(&c)) hf_team_run(n_threads, run_share, next_round, &c);
  return c.status;
}

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t draw(uint64_t *state) {
  uint64_t z = *state += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

/* The round by virtual threads. A thread that was drawn goes on for a while, perhaps to the end: threads far apart find a
 * missing barrier most often. They share one scratch: it holds nothing between two records. */
static void run_virtually(call *c, int team, uint64_t *random) {
  const hf_ctx ctx = context_of(c, 0);
  int64_t done[HF_MAX_VIRTUAL] = {0};
  for (int left = team; left > 0;) {
    int share = (int)(draw(random) % (uint64_t)team);
    while (done[share] == c->n) share = (share + 1) % team;
    do run_record(c, done[share]++, &ctx, share, team);
    while (done[share] < c->n && draw(random) % 4);
    left -= done[share] == c->n;
  }
}

int hf_plan_run_debug(hf_plan *plan, hf_run *run, int n_threads, uint64_t seed) {
  if (plan->n_records == 0) run->cursor_step = run->n_steps;
  call c = {.plan = plan, .run = run, .status = HF_OK};
  while (next_round(&c)) run_virtually(&c, n_threads, &seed);
  return c.status;
}

/* Steps done so far, with parts of a step. Its records differ, so they count by their estimated times. */
static double progress(const hf_plan *plan, const hf_run *run) {
  if (run->cursor_step >= run->n_steps || plan->n_records == 0) return (double)run->n_steps;
  const hf_record *r = plan->records + run->cursor_record;
  const double before = run->cursor_record ? r[-1].time_share : 0;
  return (double)run->cursor_step + before + (r->time_share - before) * (double)run->cursor_piece / r->pieces;
}

/* A team is worth its barriers only while it has its cores: next to other busy processes a barrier can cost a time slice
 * instead of 0.3 us, and no table knows that. So both ways are timed for TRIAL seconds, the faster one is used, and the
 * other is tried again: soon, as a team starts slowly, then after twice as long each time, up to AGAIN seconds of runs
 * (not of the clock: the first run after an idle time would always be the trial, and cold). The result has the same
 * bits either way. */
int hf_plan_run_auto(hf_plan *plan, hf_run *run, int n_threads) {
  static const double TRIAL = 0.004, SOON = 0.02, AGAIN = 2, MEMORY = 0.2; /* seconds */
  if (n_threads <= 1) return hf_plan_run(plan, run, 1);
  const double start = now();
  const int team_faster = plan->seconds[1] * plan->work[0] < plan->seconds[0] * plan->work[1];
  int team = plan->seconds[0] < TRIAL ? 0 : plan->seconds[1] < TRIAL ? 1 : team_faster;
  if (plan->seconds[0] >= TRIAL && plan->seconds[1] >= TRIAL && plan->since > plan->wait) {
    plan->wait = plan->wait > 0 ? plan->wait * 2 : SOON;
    if (plan->wait > AGAIN) plan->wait = AGAIN;
    plan->since = 0;
    team = !team_faster;
    plan->seconds[team] = plan->work[team] = 0;
  }
  const double budget = run->budget_seconds, before = progress(plan, run);
  if (plan->seconds[team] < TRIAL && (budget <= 0 || budget > TRIAL)) run->budget_seconds = TRIAL;
  const int status = hf_plan_run(plan, run, team ? n_threads : 1);
  run->budget_seconds = budget;
  const double taken = now() - start;
  plan->since += taken;
  plan->seconds[team] += taken;
  plan->work[team] += progress(plan, run) - before;
  if (plan->seconds[team] > MEMORY) {
    plan->seconds[team] /= 2;
    plan->work[team] /= 2;
  }
  return status;
}
