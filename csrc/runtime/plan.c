/* The executor: walks a plan's records, step after step, on a team of threads.
 *
 * Work is split by shape alone: thread t of T takes the units between fixed marks, so neighbouring row-local records give
 * a thread the rows it wrote itself and need no barrier. The lowering marks the records that do need one.
 *
 * A yield record ends the call as a pause does, but always, and with the cursor behind it. Rejected: a callback from here
 * (it would need the interpreter's lock inside a team, and could not let two plans of one thread take turns).
 */
#include <stdatomic.h>
#include <time.h>

#include "args.h"
#include "threads.h"

typedef struct team_state {
  hf_plan *plan;
  hf_run *run;
  hf_barrier barrier;
  double start;
  volatile int status;
  int stop; /* written by the last thread to reach a barrier, read by all after it */
} team_state;

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

static int yields_at(const hf_run *run, const hf_record *r) { return r->yields && run->only_record < 0; }

typedef struct sync_point {
  team_state *state;
  int64_t step, record;
  int entry; /* of this call: it does something before it pauses, however small its budget */
} sync_point;

/* Every thread has arrived: the one place where the step changes and where a run may end early. */
static void at_sync_point(void *context) {
  const sync_point *p = context;
  team_state *s = p->state;
  hf_run *run = s->run;
  const hf_record *r = s->plan->records + p->record;
  if (p->record == 0 || p->step == run->cursor_step) bind_batch(s->plan, batch_of(run, p->step));
  if (s->status != HF_OK) {
    s->stop = 1;
    return;
  }
  if (yields_at(run, r)) {
    run->yielded = ((const hf_yield_args *)r->args)->tag;
    s->status = HF_YIELDED;
    s->stop = 1;
    return;
  }
  if (run->budget_seconds <= 0 || r->update || p->entry) return;
  if (p->record != 0 && !s->plan->slow) return;
  if (now() - s->start > run->budget_seconds) {
    s->status = HF_PAUSED;
    s->stop = 1;
  }
}

/* This thread's units of one piece of record r. */
static inline void run_share(const hf_record *r, const hf_ctx *ctx, int64_t piece, int thread, int team) {
  if (team == 1 && r->pieces == 1) {
    if (r->units > 0) r->kernel(r->args, ctx, 0, r->units);
    return;
  }
  if (r->single) {
    if (thread == 0 && r->units > 0) r->kernel(r->args, ctx, 0, r->units);
    return;
  }
  if (r->shared_units) { /* in one piece */
    const int64_t from = r->shared_units * thread / team - r->shared_before;
    const int64_t to = r->shared_units * (thread + 1) / team - r->shared_before;
    const int64_t first = from > 0 ? from : 0, last = to < r->units ? to : r->units;
    if (first < last) r->kernel(r->args, ctx, first, last);
    return;
  }
  const int64_t grains = (r->units + r->grain - 1) / r->grain;
  const int64_t from = grains * piece / r->pieces, count = grains * (piece + 1) / r->pieces - from;
  const int64_t lo = (from + count * thread / team) * r->grain, end = (from + count * (thread + 1) / team) * r->grain;
  const int64_t hi = end < r->units ? end : r->units;
  if (lo < hi) r->kernel(r->args, ctx, lo, hi);
}

/* The record after (step, record). */
static void go_past(const hf_plan *plan, int64_t *step, int64_t *record) {
  if (++*record == plan->n_records) {
    *record = 0;
    ++*step;
  }
}

static void team_member(void *context, int thread, int team) {
  team_state *s = context;
  hf_plan *plan = s->plan;
  hf_run *run = s->run;
  hf_ctx ctx = {.seed = run->seed,
                .index = run->index,
                .thread = thread,
                .n_threads = team,
                .scratch = plan->scratch + (size_t)thread * plan->scratch_bytes,
                .scratch_bytes = plan->scratch_bytes,
                .status = &s->status};
  const int64_t first_step = run->cursor_step, first_record = run->cursor_record, first_piece = run->cursor_piece;
  int64_t step = first_step, i = first_record, piece = first_piece;
  for (; step < run->n_steps; step++) {
    ctx.step = run->step0 + step;
    ctx.scalars = run->scalars ? run->scalars + step * run->scalar_stride : 0;
    ctx.first = step * run->batch;
    ctx.batch = batch_of(run, step);
    for (i = step == first_step ? first_record : 0; i < plan->n_records; i++) {
      const hf_record *r = plan->records + i;
      const int entry = step == first_step && i == first_record;
      for (piece = entry ? first_piece : 0; piece < r->pieces; piece++) {
        if (i == 0 || r->barrier || r->yields || entry || piece > 0) {
          sync_point p = {s, step, i, entry && piece == first_piece};
          hf_barrier_wait(&s->barrier, team, at_sync_point, &p);
          if (s->stop) {
            if (s->status == HF_YIELDED) go_past(plan, &step, &i);
            goto out;
          }
        }
        if (run->only_record < 0 || i == run->only_record) run_share(r, &ctx, piece, thread, team);
      }
    }
    piece = 0;
  }
out:;
  /* the last record of the last step may have failed with no barrier after it */
  sync_point p = {s, step, i, 0};
  hf_barrier_wait(&s->barrier, team, 0, &p);
  if (thread == 0) {
    run->cursor_step = step;
    run->cursor_record = step < run->n_steps ? i : 0;
    run->cursor_piece = step < run->n_steps ? piece : 0;
  }
}

int hf_plan_run(hf_plan *plan, hf_run *run, int n_threads) {
  if (plan->n_records == 0) run->cursor_step = run->n_steps;
  if (run->cursor_step >= run->n_steps) return HF_OK;
  team_state s = {.plan = plan, .run = run, .status = HF_OK};
  if (run->budget_seconds > 0) s.start = now();
  hf_team_run(n_threads, team_member, &s);
  return s.status;
}

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t draw(uint64_t *state) {
  uint64_t z = *state += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

/* Records [first, first + n) by virtual threads: piece `piece` of the first, the first piece of the others. A thread that
 * was drawn goes on for a while, perhaps to the end: threads far apart find a missing barrier most often. */
static void run_virtually(const hf_plan *plan, const hf_run *run, hf_ctx *ctx, int64_t first, int64_t piece, int64_t n,
                          uint64_t *random) {
  const int team = ctx->n_threads;
  int64_t done[HF_MAX_VIRTUAL] = {0};
  for (int left = team; left > 0;) {
    int thread = (int)(draw(random) % (uint64_t)team);
    while (done[thread] == n) thread = (thread + 1) % team;
    ctx->thread = thread;
    do {
      const int64_t i = first + done[thread]++;
      if (run->only_record < 0 || i == run->only_record)
        run_share(plan->records + i, ctx, i == first ? piece : 0, thread, team);
    } while (done[thread] < n && draw(random) % 4);
    left -= done[thread] == n;
  }
}

int hf_plan_run_debug(hf_plan *plan, hf_run *run, int n_threads, uint64_t seed) {
  volatile int status = HF_OK; /* virtual threads share the first one's scratch: it holds nothing between two records */
  hf_ctx ctx = {.seed = run->seed,
                .index = run->index,
                .n_threads = n_threads,
                .scratch = plan->scratch,
                .scratch_bytes = plan->scratch_bytes,
                .status = &status};
  int64_t step = run->cursor_step, i = run->cursor_record, piece = run->cursor_piece;
  if (plan->n_records == 0) step = run->n_steps;
  while (step < run->n_steps && status == HF_OK) {
    const hf_record *r = plan->records + i;
    bind_batch(plan, batch_of(run, step));
    ctx.step = run->step0 + step;
    ctx.scalars = run->scalars ? run->scalars + step * run->scalar_stride : 0;
    ctx.first = step * run->batch;
    ctx.batch = batch_of(run, step);
    if (yields_at(run, r)) {
      run->yielded = ((const hf_yield_args *)r->args)->tag;
      status = HF_YIELDED;
      go_past(plan, &step, &i);
      break;
    }
    int64_t n = 1; /* up to where threads meet: before a barrier, and between the pieces of a record */
    int64_t pieces_left = r->pieces - piece - 1;
    for (; pieces_left == 0 && i + n < plan->n_records && !r[n].barrier && !r[n].yields; n++)
      pieces_left = r[n].pieces - 1;
    run_virtually(plan, run, &ctx, i, piece, n, &seed);
    if (pieces_left > 0) {
      piece = n == 1 ? piece + 1 : 1;
      i += n - 1;
    } else {
      piece = 0;
      i += n - 1;
      go_past(plan, &step, &i);
    }
  }
  run->cursor_step = step;
  run->cursor_record = i;
  run->cursor_piece = piece;
  return status;
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
