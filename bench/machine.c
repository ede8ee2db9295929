// Measures what this machine can do: machine LIMIT THREADS SECONDS prints FLOP/s or bytes/s; 0 where the CPU has no such thing.
//
// fma:    independent chains of float fused multiply-adds in registers, on vectors as wide as the compiler's target has.
// bf16:   the same with the dot product of bfloat16 pairs, accumulated in float (AVX512_BF16).
// triad:  a = b + s * c over three float arrays of 256 MiB together, 12 bytes per element as STREAM counts it.
// read:   the sum of four float streams of 256 MiB together, 4 bytes per element.
// update: a = s * a + b, c = s * c + b on the same arrays as triad: each written in place, 24 bytes per element.
// Build: cc -O3 -march=native -ffp-contract=fast -pthread machine.c

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

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

typedef struct Task {
    float *a, *b, *c;
    size_t n;
    void (*pass)(const struct Task *);
    double seconds, rate, bytes;
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

#ifdef __AVX512BF16__
static void *bf16_task(void *arg)
{
    Task *task = arg;
    __m512 acc[CHAINS];
    short one = 0x3f7f, small = 0x3a83; // below 1, and 1e-3
    __asm__ volatile("" : "+m"(one), "+m"(small));
    const __m512bh x = (__m512bh)_mm512_set1_epi16(one), y = (__m512bh)_mm512_set1_epi16(small);
#pragma GCC unroll 24
    for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_set1_ps((float)i);
    pthread_barrier_wait(&start);
    const double t0 = now();
    double flops = 0, spent;
    do {
        for (int k = 0; k < 10000; k++)
#pragma GCC unroll 24
            for (int i = 0; i < CHAINS; i++) acc[i] = _mm512_dpbf16_ps(acc[i], x, y);
        flops += 4.0 * 10000 * CHAINS * LANES;
        spent = now() - t0;
    } while (spent < task->seconds);
#pragma GCC unroll 24
    for (int i = 1; i < CHAINS; i++) acc[0] += acc[i];
    __asm__ volatile("" : : "m"(acc[0]));
    task->rate = flops / spent;
    return NULL;
}
#else
static void *bf16_task(void *arg)
{
    ((Task *)arg)->rate = 0;
    return NULL;
}
#endif

static void triad(const Task *t)
{
    for (size_t i = 0; i < t->n; i++) t->a[i] = t->b[i] + 3 * t->c[i];
}

static void update(const Task *t)
{
    for (size_t i = 0; i < t->n; i++) t->a[i] = 0.5f * t->a[i] + t->b[i];
    for (size_t i = 0; i < t->n; i++) t->c[i] = 0.5f * t->c[i] + t->b[i];
}

static void sum(const Task *t)
{
    enum { STREAMS = 4, VECTORS = 4 };
    const size_t each = t->n * 3 / STREAMS / (LANES * VECTORS) * VECTORS; // vectors of a stream
    const vec *from = (const vec *)t->a;
    vec acc[STREAMS * VECTORS] = {0};
    for (size_t i = 0; i < each; i += VECTORS)
#pragma GCC unroll 16
        for (int k = 0; k < STREAMS * VECTORS; k++) acc[k] += from[(size_t)(k / VECTORS) * each + i + (size_t)(k % VECTORS)];
    for (int k = 1; k < STREAMS * VECTORS; k++) acc[0] += acc[k];
    __asm__ volatile("" : : "m"(acc[0]));
}

static void *stream_task(void *arg)
{
    Task *task = arg;
    for (size_t i = 0; i < task->n; i++) task->a[i] = 0, task->b[i] = 1, task->c[i] = 2;
    pthread_barrier_wait(&start);
    const double t0 = now();
    double bytes = 0, spent;
    do {
        task->pass(task);
        __asm__ volatile("" : : "r"(task->a) : "memory");
        bytes += task->bytes * (double)task->n;
        spent = now() - t0;
    } while (spent < task->seconds);
    task->rate = bytes / spent;
    return NULL;
}

static const struct {
    const char *name;
    void *(*run)(void *);
    void (*pass)(const struct Task *);
    double bytes; // per element of one array
} LIMITS[] = {{"fma", fma_task, NULL, 0},
              {"bf16", bf16_task, NULL, 0},
              {"triad", stream_task, triad, 12},
              {"read", stream_task, sum, 12},
              {"update", stream_task, update, 24}};

int main(int argc, char **argv)
{
    const int threads = argc == 4 ? atoi(argv[2]) : 0;
    int limit = 4;
    while (limit >= 0 && argc == 4 && strcmp(argv[1], LIMITS[limit].name)) limit--;
    if (limit < 0 || threads < 1 || threads > MAX_THREADS) {
        fprintf(stderr, "usage: machine fma|bf16|triad|read|update THREADS SECONDS\n");
        return 2;
    }
    Task task[MAX_THREADS] = {0};
    pthread_t id[MAX_THREADS];
    pthread_barrier_init(&start, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) {
        task[i].seconds = atof(argv[3]);
        task[i].pass = LIMITS[limit].pass, task[i].bytes = LIMITS[limit].bytes;
        if (task[i].pass) {
            task[i].n = TRIAD_FLOATS / (size_t)threads / LANES * LANES;
            float *all = aligned_alloc(WIDTH, 3 * sizeof(float) * task[i].n);
            if (!all) return 1;
            task[i].a = all, task[i].b = all + task[i].n, task[i].c = all + 2 * task[i].n;
        }
        pthread_create(&id[i], NULL, LIMITS[limit].run, &task[i]);
    }
    double rate = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(id[i], NULL);
        rate += task[i].rate;
    }
    printf("%.6g\n", rate);
    return 0;
}
