// Measures what this machine can do: machine fma|triad THREADS SECONDS prints FLOP/s or bytes/s.
//
// fma:   independent chains of float fused multiply-adds in registers, on vectors as wide as the compiler's target has.
// triad: a = b + s * c over three float arrays of 256 MiB together, 12 bytes per element as STREAM counts it.
// Build: cc -O3 -march=native -ffp-contract=fast -pthread machine.c

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__AVX512F__)
#define WIDTH 64
#define CHAINS 24
#elif defined(__AVX__)
#define WIDTH 32
#define CHAINS 12
#else
#define WIDTH 16
#define CHAINS 24
#endif

typedef float vec __attribute__((vector_size(WIDTH)));

enum { LANES = WIDTH / 4, MAX_THREADS = 256, TRIAD_FLOATS = (256 << 20) / 12 };

typedef struct {
    float *a, *b, *c;
    size_t n;
    double seconds, rate;
} Task;

static pthread_barrier_t start;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *fma_task(void *arg)
{
    Task *task = arg;
    vec acc[CHAINS];
    float one = 0.999f, add = 1e-3f;
    __asm__ volatile("" : "+m"(one), "+m"(add)); // unknown to the compiler
    vec x = one - (vec){0}, y = add - (vec){0};
#pragma GCC unroll 24
    for (int i = 0; i < CHAINS; i++) acc[i] = y * (float)i;
    pthread_barrier_wait(&start);
    const double t0 = now();
    double flops = 0, spent;
    do {
        for (int k = 0; k < 10000; k++)
#pragma GCC unroll 24
            for (int i = 0; i < CHAINS; i++) acc[i] = acc[i] * x + y;
        flops += 2.0 * 10000 * CHAINS * LANES;
        spent = now() - t0;
    } while (spent < task->seconds);
#pragma GCC unroll 24
    for (int i = 1; i < CHAINS; i++) acc[0] += acc[i];
    __asm__ volatile("" : : "m"(acc[0]));
    task->rate = flops / spent;
    return NULL;
}

static void *triad_task(void *arg)
{
    Task *task = arg;
    for (size_t i = 0; i < task->n; i++) task->a[i] = 0, task->b[i] = 1, task->c[i] = 2;
    pthread_barrier_wait(&start);
    const double t0 = now();
    double bytes = 0, spent;
    do {
        for (size_t i = 0; i < task->n; i++) task->a[i] = task->b[i] + 3 * task->c[i];
        __asm__ volatile("" : : "r"(task->a) : "memory");
        bytes += 12.0 * (double)task->n;
        spent = now() - t0;
    } while (spent < task->seconds);
    task->rate = bytes / spent;
    return NULL;
}

int main(int argc, char **argv)
{
    const int threads = argc == 4 ? atoi(argv[2]) : 0;
    if (threads < 1 || threads > MAX_THREADS) {
        fprintf(stderr, "usage: machine fma|triad THREADS SECONDS\n");
        return 2;
    }
    const int triad = !strcmp(argv[1], "triad");
    Task task[MAX_THREADS] = {0};
    pthread_t id[MAX_THREADS];
    pthread_barrier_init(&start, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) {
        task[i].seconds = atof(argv[3]);
        if (triad) {
            task[i].n = TRIAD_FLOATS / (size_t)threads;
            float *all = malloc(3 * sizeof(float) * task[i].n);
            if (!all) return 1;
            task[i].a = all, task[i].b = all + task[i].n, task[i].c = all + 2 * task[i].n;
        }
        pthread_create(&id[i], NULL, triad ? triad_task : fma_task, &task[i]);
    }
    double rate = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(id[i], NULL);
        rate += task[i].rate;
    }
    printf("%.6g\n", rate);
    return 0;
}
