/* Random fills and the epoch's row order.
 *
 * The functions of vmath.h in double, without fused multiply-adds: the same bits on every machine, whatever it has. libm's
 * would differ in the last ones. */
#include "random.h"

#define HF_F64
#define HF_NO_FMA
#include "../kernels/cpu/types.h"
#include "../kernels/cpu/vmath.h"

/* Streams: counter word 2 keeps these apart from each other and from dropout, whose streams are small numbers. */
enum { STREAM_PERMUTATION = 0x80000000u, STREAM_FILL = 0x90000000u };

/* Uniform in [0, n), n < 2^32 (Lemire, "Fast random integer generation in an interval", without the rejection step: the
 * bias is below n / 2^64). */
static uint64_t below(uint64_t word, uint64_t n) { return (uint64_t)(((unsigned __int128)word * n) >> 64); }

void hf_permutation(int64_t *index, int64_t n, uint64_t seed, uint64_t epoch) {
  hf_philox r = {{0}};
  for (int64_t i = 0; i < n; i++) index[i] = i;
  for (int64_t i = n - 1; i > 0; i--) { /* Fisher-Yates, two positions per counter block */
    const uint64_t c = (uint64_t)i >> 1;
    if (i == n - 1 || (i & 1))
      r = hf_philox4x32((uint32_t)c, (uint32_t)(c >> 32), STREAM_PERMUTATION, (uint32_t)epoch, (uint32_t)seed,
                        (uint32_t)(seed >> 32) ^ (uint32_t)(epoch >> 32));
    const uint64_t word = (uint64_t)r.w[2 * (i & 1)] << 32 | r.w[2 * (i & 1) + 1];
    const int64_t j = (int64_t)below(word, (uint64_t)i + 1), t = index[i];
    index[i] = index[j];
    index[j] = t;
  }
}

/* Two numbers in (0, 1) with 53 bits each, from counter block c of a stream. */
static void unit_pair(uint64_t c, uint64_t seed, uint64_t stream, double *u) {
  const hf_philox r = hf_philox4x32((uint32_t)c, (uint32_t)(c >> 32), STREAM_FILL | (uint32_t)(stream >> 32),
                                    (uint32_t)stream, (uint32_t)seed, (uint32_t)(seed >> 32));
  for (int h = 0; h < 2; h++) {
    const uint64_t word = (uint64_t)r.w[2 * h] << 32 | r.w[2 * h + 1];
    u[h] = ((double)(word >> 12) + 0.5) * 0x1p-52;
  }
}

void hf_random_uniform(double *out, int64_t n, uint64_t seed, uint64_t stream, double lo, double hi) {
  double u[2];
  for (int64_t i = 0; i < n; i += 2) {
    unit_pair((uint64_t)i >> 1, seed, stream, u);
    for (int64_t h = 0; h < 2 && i + h < n; h++) out[i + h] = lo + (hi - lo) * u[h];
  }
}

/* Box-Muller. */
void hf_random_normal(double *out, int64_t n, uint64_t seed, uint64_t stream, double mean, double std) {
  double u[2];
  for (int64_t i = 0; i < n; i += 2) {
    unit_pair((uint64_t)i >> 1, seed, stream, u);
    const double radius = std * hf_sqrt(-2 * hf_log(u[0]));
    out[i] = mean + radius * hf_cospi(2 * u[1]);
    if (i + 1 < n) out[i + 1] = mean + radius * hf_sinpi(2 * u[1]);
  }
}
