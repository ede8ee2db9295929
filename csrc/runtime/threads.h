/* Teams of threads: the one place that starts any.
 *
 * Design
 * (a) A call is rounds, and each round has a share for each thread of the team. Whoever is through with its own share takes
 *     those that nobody has begun. So a thread that is still being woken, or that has no core because another process
 *     or another pool spins on it, holds nobody up, but for a share that it is in the middle of; the call ends without
 *     it, too. Rejected: OpenMP. All threads of a region must have come and left before it ends (beside one busy process
 *     calls of 0.1 ms lasted 4 ms and more), its threads spin on after each region, and a forked child hangs.
 *     Rejected: a barrier that all threads reach themselves (beside two busy processes a step of 7 us took 150 us on
 *     average).
 *     A thread that waits spins, so that the scheduler sees two busy threads and gives each a core, and then sleeps: when
 *     threads outnumber cores, it keeps the one that it waits for from running. Each sleep shortens the next spins.
 * (b) The team size is an argument. OpenMP is asked how many threads there should be, so that OMP_NUM_THREADS and
 *     threadpoolctl have their effect, and for nothing else.
 * (c) A process-wide count of threads in use: a run takes what is free, at least one, so eight Python threads that
 *     predict at once do not start eight full teams.
 * (d) After fork the child has none of the threads, and starts its own when it needs them.
 */
#ifndef HF_THREADS_H
#define HF_THREADS_H

typedef void hf_share(void *context, int thread, int share, int team);
typedef int hf_next(void *context);

/* On a team of at most n threads, perhaps fewer: share once for each share in [0, team) of a round, on whichever thread,
 * then next on one of them while the others wait, and so on for as long as it returns 1. */
void hf_team_run(int n, hf_share *share, hf_next *next, void *context);

/* Threads that a call may use: min(affinity, cgroup quota, OpenMP's own limit), read at each call. */
int hf_max_threads(void);
const char *hf_openmp_runtime(void);

#endif
