#define _GNU_SOURCE
#include "threads.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

#ifdef _OPENMP
#include <omp.h>
#endif

static inline void spin_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Sleeps unless *word has changed from value already; wakes up when it has, or for no reason. */
#ifdef __linux__
static void sleep_while(atomic_uint *word, unsigned value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}
static void wake_all(atomic_uint *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }
#else
static pthread_mutex_t sleeping = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void sleep_while(atomic_uint *word, unsigned value) {
  pthread_mutex_lock(&sleeping);
  while (atomic_load(word) == value) pthread_cond_wait(&changed, &sleeping);
  pthread_mutex_unlock(&sleeping);
}
static void wake_all(atomic_uint *word) {
  (void)word;
  pthread_mutex_lock(&sleeping);
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&sleeping);
}
#endif

enum { MAX_TEAMS = 16, MAX_THREADS = 256 }; /* more callers at once, and more threads: alone, without them */
enum {
  LATE = 50,
  LEAST_SPINS = 1000,
  MOST_SPINS = 50000
}; /* at 26 ns (Zen 5; 12 to 40 elsewhere): 1.3 us, 26 us, 1.3 ms */

/* A share, and the thread that it belongs to. In a line of its own, as mostly its own thread takes it. */
typedef struct member {
  _Alignas(64) atomic_uint taken; /* in this round, or, where nobody has yet, in the one before; 0: not of the team */
  int thread;
  int helps; /* this thread took another's share the last time it looked */
  struct team *team;
} member;

typedef struct team {
  atomic_int busy;
  int n_threads; /* of `members`, whose threads exist; the first is whoever calls */
  hf_share *share;
  hf_next *next;
  void *context;
  _Alignas(64) atomic_uint now; /* odd: the number of the round that goes on; even: there is none */
  atomic_int size, sleepers, patience;
  _Alignas(64) atomic_int done; /* shares of this round */
  member members[MAX_THREADS];
} team;

static team teams[MAX_TEAMS];
static atomic_int threads_in_use; /* by runs of more than one thread */

static void set_now(team *t, unsigned now) {
  atomic_store(&t->now, now);
  if (atomic_load(&t->sleepers) > 0 && atomic_exchange(&t->sleepers, 0) > 0) wake_all(&t->now);
}

/* A thread that comes late, with a round that is over, gets no share: that has been taken in a later one. While a share
 * is held its round can't end, so share, next and context stay as they are. */
static inline int take(member *m, unsigned round) {
  unsigned before = round - 2;
  return atomic_load_explicit(&m->taken, memory_order_relaxed) == before &&
         atomic_compare_exchange_strong(&m->taken, &before, round);
}

/* Shares of this round: a thread's own, and then those that no thread has begun, for which it waits a moment, unless there
 * were such the last time. */
static void do_shares(team *t, unsigned round, int thread) {
  const int size = atomic_load_explicit(&t->size, memory_order_relaxed);
  if (thread >= size) return; /* of a larger team than this */
  member *me = t->members + thread;
  for (int k = 0; k < size; k++) {
    for (int spins = me->helps ? LATE : 0; k == 1 && spins < LATE; spins++) {
      if (atomic_load_explicit(&t->now, memory_order_relaxed) != round) return;
      spin_pause();
    }
    const int share = (thread + k) % size, taken = take(t->members + share, round);
    if (k > 0) me->helps = taken;
    if (!taken) continue;
    t->share(t->context, thread, share, size);
    if (atomic_fetch_add_explicit(&t->done, 1, memory_order_acq_rel) < size - 1) continue;
    atomic_store_explicit(&t->done, 0, memory_order_relaxed);
    set_now(t, t->next(t->context) ? round + 2 : round + 1);
    return;
  }
}

/* Waits until t->now is another; returns it. */
static unsigned wait_past(team *t, unsigned before) {
  const int patience = MOST_SPINS >> atomic_load_explicit(&t->patience, memory_order_relaxed);
  const int most = patience > LEAST_SPINS ? patience : LEAST_SPINS;
  unsigned now;
  for (int spins = 0; spins < most; spins++) {
    now = atomic_load_explicit(&t->now, memory_order_acquire);
    if (now != before) {
      if (spins > 0) atomic_store_explicit(&t->patience, 0, memory_order_relaxed);
      return now;
    }
    spin_pause();
  }
  if (patience > LEAST_SPINS) atomic_fetch_add_explicit(&t->patience, 1, memory_order_relaxed);
  while ((now = atomic_load(&t->now)) == before) {
    atomic_store(&t->sleepers, 1);
    sleep_while(&t->now, before);
  }
  return now;
}

static void *work(void *arg) {
  const member *m = arg;
  for (unsigned now = atomic_load(&m->team->now);; now = wait_past(m->team, now))
    if (now % 2) do_shares(m->team, now, m->thread);
  return 0;
}

/* Starts what is missing of n threads, with all signals left to others; returns how many there are now, at most n. */
static int start_threads(team *t, int n) {
  sigset_t all, before;
  pthread_attr_t detached;
  pthread_t thread;
  if (t->n_threads < 1) t->n_threads = 1;
  if (n <= t->n_threads) return n;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  for (; t->n_threads < n; t->n_threads++) {
    member *m = t->members + t->n_threads;
    m->team = t, m->thread = t->n_threads;
    if (pthread_create(&thread, &detached, work, m) != 0) break;
  }
  pthread_attr_destroy(&detached);
  pthread_sigmask(SIG_SETMASK, &before, 0);
  return t->n_threads;
}

static team *free_team(void) {
  for (team *t = teams; t < teams + MAX_TEAMS; t++)
    if (!atomic_load(&t->busy) && !atomic_exchange(&t->busy, 1)) return t;
  return 0;
}

static void run_team(team *t, int n, hf_share *share, hf_next *next, void *context) {
  unsigned now = atomic_load(&t->now) + 1;
  t->share = share, t->next = next, t->context = context;
  atomic_store(&t->size, n);
  for (int i = 0; i < t->n_threads; i++) atomic_store(&t->members[i].taken, i < n ? now - 2 : 0);
  set_now(t, now);
  for (; now % 2; now = wait_past(t, now)) do_shares(t, now, 0);
}

/* The child has the calling thread alone. */
static void after_fork_in_child(void) {
#ifndef __linux__
  sleeping = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER; /* a thread that is no more may have held it */
  changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
#endif
  atomic_store(&threads_in_use, 0);
  for (team *t = teams; t < teams + MAX_TEAMS; t++) {
    t->n_threads = 0;
    atomic_store(&t->busy, 0);
    atomic_store(&t->now, 0);
    atomic_store(&t->sleepers, 0);
    atomic_store(&t->done, 0);
  }
}

__attribute__((constructor)) static void register_fork_handler(void) { pthread_atfork(0, 0, after_fork_in_child); }

/* CPUs' worth of quota in cgroup v2 or v1, rounded up; 0 when there is no limit. */
static int cgroup_limit(void) {
  double quota = -1, period = 0;
  char text[64];
  FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
  if (f) {
    if (fscanf(f, "%63s %lf", text, &period) == 2 && strcmp(text, "max") != 0) quota = atof(text);
    fclose(f);
  } else {
    f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r");
    if (f) {
      if (fscanf(f, "%lf", &quota) != 1) quota = -1;
      fclose(f);
      f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r");
      if (f) {
        if (fscanf(f, "%lf", &period) != 1) period = 0;
        fclose(f);
      }
    }
  }
  if (quota <= 0 || period <= 0) return 0;
  const int n = (int)((quota + period - 1) / period);
  return n < 1 ? 1 : n;
}

int hf_max_threads(void) {
  static atomic_int quota = -1; /* the file is read once: a container's quota outlives the process */
  int limit = atomic_load(&quota);
  if (limit < 0) {
    limit = cgroup_limit();
    atomic_store(&quota, limit);
  }
  int n = 1;
#ifdef _OPENMP
  n = omp_get_max_threads();
  if (omp_get_thread_limit() < n) n = omp_get_thread_limit();
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) < n) n = CPU_COUNT(&set);
#endif
  if (limit > 0 && limit < n) n = limit;
#endif
  return n < 1 ? 1 : n;
}

const char *hf_openmp_runtime(void) {
#ifdef _OPENMP
#if defined(__clang__)
  return "LLVM OpenMP";
#else
  return "GNU libgomp";
#endif
#else
  return "none";
#endif
}

/* Takes up to n - 1 more threads than the caller's own from the process-wide budget. */
static int take_threads(int n) {
  const int budget = hf_max_threads();
  const int limit = n > budget ? n : budget; /* an explicit request beyond the machine's size is honoured when idle */
  int used = atomic_load(&threads_in_use), take;
  do {
    take = limit - used < n ? limit - used : n;
    if (take < 2) return 1;
  } while (!atomic_compare_exchange_weak(&threads_in_use, &used, used + take));
  return take;
}

void hf_team_run(int n, hf_share *share, hf_next *next, void *context) {
  const int taken = n > 1 ? take_threads(n < MAX_THREADS ? n : MAX_THREADS) : 1;
  team *t = taken > 1 ? free_team() : 0;
  const int size = t ? start_threads(t, taken) : 1;
  if (size > 1)
    run_team(t, size, share, next, context);
  else
    do share(context, 0, 0, 1);
    while (next(context));
  if (t) atomic_store(&t->busy, 0);
  if (taken > 1) atomic_fetch_sub(&threads_in_use, taken);
}
