/* The random instructions over a block: the numbers of runtime/random.h.
 *
 * Design: 64 neighbours at a time, those of 16 counter blocks, whatever part of them the block has: so numbers don't depend on
 * how a tensor is cut. Rejected: counter blocks of 4 neighbours, whose words would have to be shuffled.
 */
#include "random.h"

/* word[i]: the word of element 64 group + i. */
HF_INLINE void random_words(uint32_t *word, uint64_t group, uint32_t stream, const hf_ctx *ctx) {
  const uint32_t k0 = (uint32_t)ctx->seed, k1 = (uint32_t)(ctx->seed >> 32) ^ (uint32_t)((uint64_t)ctx->step >> 32);
#pragma omp simd
  for (int l = 0; l < 16; l++) {
    const uint64_t block = group * 16 + (uint64_t)l;
    const hf_philox r = hf_philox4x32((uint32_t)block, (uint32_t)(block >> 32), stream, (uint32_t)ctx->step, k0, k1);
    word[l] = r.w[0];
    word[16 + l] = r.w[1];
    word[32 + l] = r.w[2];
    word[48 + l] = r.w[3];
  }
}

/* log((u + 1/2) / 2^32): above 1/2 from the distance to 1, which a float can hold. */
HF_INLINE real random_log(uint32_t u) {
  const real below_1 = ((real)(int32_t)u + (real)0.5) * (real)0x1p-32,
             v = ((real)(u & 0x7fffffff) + (real)0.5) * (real)0x1p-32;
  const real low = hf_log(v), high = hf_log1p(below_1 < 0 ? below_1 : 0);
  return below_1 < 0 ? high : low;
}

HF_INLINE void random_normals(real *z, const uint32_t *word) {
  for (int half = 0; half < 64; half += 32) {
#pragma omp simd
    for (int l = half; l < half + 16; l++) {
      const real radius = hf_sqrt(-2 * random_log(word[l]));
      const uint32_t v = word[l + 16];
      z[l] = radius * hf_sine_of_turn((real)hf_random_quarter(v) * (real)0x1p-32);
      z[l + 16] = radius * hf_sine_of_turn((real)hf_random_quarter(v - (1u << 30)) * (real)0x1p-32);
    }
  }
}

HF_INLINE void random_uniforms(real *z, const uint32_t *word, uint64_t group, uint32_t stream, const hf_ctx *ctx) {
#ifdef HF_F64
  uint32_t more[64];
  random_words(more, group, stream + HF_SECOND_STREAM, ctx);
#pragma omp simd
  for (int i = 0; i < 64; i++) z[i] = (real)(int64_t)((uint64_t)word[i] << 21 | more[i] >> 11) * 0x1p-53;
#else
  (void)group, (void)stream, (void)ctx;
#pragma omp simd
  for (int i = 0; i < 64; i++) z[i] = (real)(int32_t)(word[i] >> 8) * (real)0x1p-24;
#endif
}

/* d(n) = the instruction `op` of a(n), for elements [e0, e0 + n) of the tensor. */
HF_INLINE void random_block(const int op, real *d, const real *a, int64_t n, double p, uint32_t stream, int64_t e0,
                            const hf_ctx *ctx) {
  const real scale = p < 1 ? (real)(1 / (1 - p)) : 0;
  const uint32_t threshold = hf_random_threshold(p);
  const int always = p >= 1;
  uint32_t word[64];
  real z[64];
  (void)scale, (void)threshold, (void)always, (void)z, (void)a;
  for (int64_t e = e0; e < e0 + n;) {
    const uint64_t group = (uint64_t)e >> 6;
    const int64_t from = e & 63, to = e0 + n - e < 64 - from ? from + (e0 + n - e) : 64;
    random_words(word, group, stream, ctx);
    real *dg = d + (e - e0) - from;
    if (op == HF_I_dropout) {
      const real *ag = a + (e - e0) - from;
#pragma omp simd
      for (int64_t i = from; i < to; i++) {
        const real kept = ag[i] * scale;
        dg[i] = word[i] >= threshold ? kept : 0;
      }
    } else if (op == HF_I_random_bernoulli) {
#pragma omp simd
      for (int64_t i = from; i < to; i++) dg[i] = word[i] < threshold || always ? (real)1 : (real)0;
    } else {
      if (op == HF_I_random_normal)
        random_normals(z, word);
      else
        random_uniforms(z, word, group, stream, ctx);
      for (int64_t i = from; i < to; i++) dg[i] = z[i];
    }
    e += to - from;
  }
}

#define HF_RANDOM(name)                                                                                                 \
  static void block_##name(real *d, const real *a, int64_t n, double p, uint32_t stream, int64_t e0, const hf_ctx *ctx) { \
    random_block(HF_I_##name, d, a, n, p, stream, e0, ctx);                                                             \
  }
#include "ewise.def"
