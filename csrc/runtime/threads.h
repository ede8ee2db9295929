/* Teams of threads: the one place that knows OpenMP.
 *
 * Design
 * (a) One parallel region per run; inside it the executor's own spinning barrier (hf_barrier_wait). Rejected: a region per
 *     op (a fork and join of 0.5 to 50 us each) and `omp barrier` (a futex when threads outnumber cores).
 *     It spins, so that the scheduler sees two busy threads and gives each a core, and then sleeps: when threads outnumber
 *     cores, a spinning thread keeps the one that it waits for from running. Each sleep shortens the next spins.
 * (b) The team size is an argument (num_threads clause). Never omp_set_num_threads: that leaks into other users of the
 *     same runtime.
 * (c) A process-wide count of threads in use: a run takes what is free, at least one, so eight Python threads that
 *     predict at once do not start eight full teams.
 * (d) After fork, libgomp's pool in the child consists of dead threads and a region hangs. The child's regions start from
 *     a new pthread, which gets a pool of its own. Rejected: pausing the runtime before fork (unspecified while
 *     another thread runs a region) and going serial in the child.
 */
#ifndef HF_THREADS_H
#define HF_THREADS_H

#include <stdatomic.h>

typedef struct hf_barrier {
  atomic_int arrived, phase, sleepers, patience;
} hf_barrier;

/* Waits for all of the team; the last thread to arrive calls last(context) while the others wait. */
void hf_barrier_wait(hf_barrier *b, int team, void (*last)(void *context), void *context);

/* Calls body(context, thread, team) on every thread of a team of at most n; the team may be smaller. n == 1: no OpenMP. */
void hf_team_run(int n, void (*body)(void *context, int thread, int team), void *context);

/* Threads that a call may use: min(affinity, cgroup quota, OpenMP's own limit), read at each call. */
int hf_max_threads(void);
const char *hf_openmp_runtime(void);

#endif
