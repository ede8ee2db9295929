#define _GNU_SOURCE
#include "threads.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
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

static atomic_int threads_in_use; /* by runs of more than one thread */
static atomic_int used_openmp;    /* this process has started a region */
static atomic_int forked_after_use;

static void after_fork_in_child(void) {
  atomic_store(&threads_in_use, 0);
  if (atomic_load(&used_openmp)) atomic_store(&forked_after_use, 1);
}

__attribute__((constructor)) static void register_fork_handler(void) { pthread_atfork(0, 0, after_fork_in_child); }

static inline void spin_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

enum { LEAST_SPINS = 1000, MOST_SPINS = 50000 }; /* about 12 us and 0.6 ms */

/* Sleeps unless *word has changed from value already; wakes up when it has, or for no reason. */
static void sleep_while(atomic_int *word, int value) {
#ifdef __linux__
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
#else
  (void)word, (void)value;
  sched_yield();
#endif
}

static void wake_all(atomic_int *word) {
#ifdef __linux__
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
#else
  (void)word;
#endif
}

void hf_barrier_wait(hf_barrier *b, int team, void (*last)(void *context), void *context) {
  if (team == 1) {
    if (last) last(context);
    return;
  }
  const int phase = atomic_load_explicit(&b->phase, memory_order_acquire);
  if (atomic_fetch_add_explicit(&b->arrived, 1, memory_order_acq_rel) == team - 1) {
    if (last) last(context);
    atomic_store_explicit(&b->arrived, 0, memory_order_relaxed);
    atomic_store(&b->phase, phase + 1);
    if (atomic_load(&b->sleepers) > 0) wake_all(&b->phase);
    return;
  }
  const int patience = MOST_SPINS >> atomic_load_explicit(&b->patience, memory_order_relaxed);
  const int most = patience > LEAST_SPINS ? patience : LEAST_SPINS;
  for (int spins = 0; spins < most; spins++) {
    if (atomic_load_explicit(&b->phase, memory_order_acquire) != phase) {
      atomic_store_explicit(&b->patience, 0, memory_order_relaxed);
      return;
    }
    spin_pause();
  }
  if (patience > LEAST_SPINS) atomic_fetch_add_explicit(&b->patience, 1, memory_order_relaxed);
  atomic_fetch_add(&b->sleepers, 1);
  while (atomic_load(&b->phase) == phase) sleep_while(&b->phase, phase);
  atomic_fetch_sub(&b->sleepers, 1);
}

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

#ifdef _OPENMP
typedef struct region {
  int n;
  void (*body)(void *, int, int);
  void *context;
} region;

static void *start_region(void *arg) {
  const region *r = arg;
#pragma omp parallel num_threads(r->n)
  r->body(r->context, omp_get_thread_num(), omp_get_num_threads());
  return 0;
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
#endif

void hf_team_run(int n, void (*body)(void *context, int thread, int team), void *context) {
#ifdef _OPENMP
  if (n > 1) n = take_threads(n);
  if (n > 1) {
    region r = {n, body, context};
    pthread_t helper;
    atomic_store(&used_openmp, 1);
    if (!atomic_load(&forked_after_use))
      start_region(&r);
    else if (pthread_create(&helper, 0, start_region, &r) == 0)
      pthread_join(helper, 0);
    else
      body(context, 0, 1);
    atomic_fetch_sub(&threads_in_use, n);
    return;
  }
#endif
  (void)n;
  body(context, 0, 1);
}
