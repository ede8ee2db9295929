/* Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11.
 *
 * Design: counter-based, so that any element's number follows from (seed, stream, step, position) alone: no state to
 * save, no mask to store, the same numbers for any split over threads. Rejected: xoshiro per thread (numbers would
 * depend on the thread count) and a stored mask (a tensor more to write and read).
 */
#ifndef HF_RANDOM_H
#define HF_RANDOM_H

#include <stdint.h>

typedef struct hf_philox {
  uint32_t w[4];
} hf_philox;

static inline hf_philox hf_philox4x32(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; round++) {
    const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
    const uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c1 = (uint32_t)p1;
    c3 = (uint32_t)p0;
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return (hf_philox){{c0, c1, c2, c3}};
}

/* The random instructions of elementwise programs make of an element's word w, a number in [0, 2^32):
 *   dropout(a)        0 where w < threshold(p), else a / (1 - p)
 *   random_bernoulli  1 where w < threshold(p), else 0; threshold(p) = p 2^32, and 1 everywhere with p >= 1
 *   random_uniform    in [0, 1): float w >> 8 in units of 2^-24; double w and the upper 21 bits of its word of the stream
 *                     + HF_SECOND_STREAM in units of 2^-53
 *   random_normal     Box and Muller, "A note on the generation of random normal deviates" (1958), of the words u, v of the two
 *                     elements with and without bit 4: sqrt(-2 log((u + 1/2) / 2^32)) times cos(2 pi v / 2^32) without, times
 *                     sin(2 pi v / 2^32) with. At most 6.7.
 *
 * Elements are taken in groups of 64 by their position in the tensor: element e uses word (e >> 4) & 3 of counter
 * (e >> 6) * 16 + (e & 15), so that 16 lanes of one counter block give 64 neighbours without a shuffle.
 *   counter = (block low, block high, stream, step low), key = (seed low, seed high ^ step high)
 */
static inline uint32_t hf_random_word(uint64_t seed, uint64_t step, uint32_t stream, uint64_t e) {
  const uint64_t block = (e >> 6) * 16 + (e & 15);
  const hf_philox r = hf_philox4x32((uint32_t)block, (uint32_t)(block >> 32), stream, (uint32_t)step, (uint32_t)seed,
                                    (uint32_t)(seed >> 32) ^ (uint32_t)(step >> 32));
  return r.w[e >> 4 & 3];
}

enum { HF_SECOND_STREAM = 1 << 23 }; /* instructions have streams below it */

static inline uint32_t hf_random_threshold(double p) {
  return p >= 1 ? UINT32_MAX : p > 0 ? (uint32_t)(p * 4294967296.0) : 0;
}

/* The angle 2 pi v / 2^32 as the s for which its cosine is sin(2 pi s / 2^32), |s| <= 2^30: exact, so that every ISA and
 * dtype has the same argument. */
static inline int32_t hf_random_quarter(uint32_t v) {
  const int32_t a = (int32_t)v;
  return a < 0 ? (1 << 30) + a : (1 << 30) - a;
}

/* Row order of an epoch: a permutation of [0, n) from (seed, epoch) alone. */
void hf_permutation(int64_t *index, int64_t n, uint64_t seed, uint64_t epoch);
/* out[i] uniform in [lo, hi) or normal(lo = mean, hi = std), from (seed, stream, i) alone. */
void hf_random_uniform(double *out, int64_t n, uint64_t seed, uint64_t stream, double lo, double hi);
void hf_random_normal(double *out, int64_t n, uint64_t seed, uint64_t stream, double mean, double std);

#endif
