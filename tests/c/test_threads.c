/* Teams: every share of every round once, rounds one after the other, by teams that grow and shrink, by callers that come
 * at once, and in a forked child; what a thread of a larger team before does not disturb. */
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CALLERS = 4, CALLS = 300, ROUNDS = 20, MOST = 5 };

typedef struct job {
  atomic_int seen[MOST]; /* how often each share has been done */
  int round, failed, n;
  atomic_int team;
} job;

static void share(void *context, int thread, int share, int team) {
  job *j = context;
  atomic_store(&j->team, team);
  if (team > j->n || thread >= team || share >= team) j->failed = 1;
  if (atomic_fetch_add(&j->seen[share], 1) != j->round) j->failed = 1; /* plain reads: the round can't end meanwhile */
}

static int next(void *context) {
  job *j = context;
  j->round++;
  for (int i = 0; i < atomic_load(&j->team); i++)
    if (atomic_load(&j->seen[i]) != j->round) j->failed = 1;
  return j->round < ROUNDS;
}

static void *caller(void *arg) {
  int *failed = arg;
  for (int k = 0; k < CALLS; k++) {
    job j = {.n = 1 + (k * 7 + *failed) % MOST};
    hf_team_run(j.n, share, next, &j);
    if (j.failed || j.round != ROUNDS) *failed |= 1;
    if (k % 50 == 0) usleep(3000); /* the threads fall asleep */
  }
  return 0;
}

static int callers(void) {
  pthread_t thread[CALLERS];
  int failed[CALLERS] = {0}, any = 0;
  for (int i = 0; i < CALLERS; i++) pthread_create(&thread[i], 0, caller, &failed[i]);
  for (int i = 0; i < CALLERS; i++) pthread_join(thread[i], 0), any |= failed[i];
  return any;
}

int main(void) {
  int failed = 0, status = 0;
  caller(&failed);
  failed |= callers();
#ifdef HF_EMULATED /* qemu-user's own assertions fail in a child that starts threads, forked from a process with some */
  (void)status;
#else
  const pid_t child = fork();
  if (child == 0) {
    caller(&failed);
    _exit(failed | callers());
  }
  failed |= waitpid(child, &status, 0) != child || status != 0;
#endif
  caller(&failed);
  printf("teams: %s\n", failed ? "FAIL" : "ok");
  return failed;
}
