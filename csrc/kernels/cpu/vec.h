/* One vector register of `real`, for the matmul micro-kernel alone: the other kernels use `omp simd`.
 *
 *   vreal, VL elements     vload, vstore (unaligned)      vset1(x)    vfma(a, b, c) = a * b + c
 *   vload_n, vstore_n: the first n elements only (0 < n <= VL), the others 0; what lies behind them is never touched.
 *   MASKED: they cost no more than vload and vstore
 *   vtranspose(v): VL vectors in place
 *   vfold(v, count): v[0] = the sum of each of count vectors (a power of 2, at most VL), by halves: lane l + lane
 *   l + VL / 2, and so on
 *   KEEP(v): v stays in a register, instead of being loaded again at each use
 *   MR1, MR2, MR4, MR8, MR16: most rows of a register tile that is 1, 2, ... vectors wide (accumulators + operands fit)
 *   VREGS: vector registers
 */
#ifndef HF_VEC_H
#define HF_VEC_H

#include "types.h"

#if defined(HF_ISA_avx512) || defined(HF_ISA_avx2)
#include <immintrin.h>
#elif defined(HF_ISA_neon)
#include <arm_neon.h>
#endif

#if defined(HF_ISA_avx512)
enum { MR1 = 16, MR2 = 14, MR4 = 6, MR8 = 3, MR16 = 1, VREGS = 32 };
#ifdef HF_F64
typedef __m512d vreal;
enum { VL = 8 };
#define vload(p) _mm512_loadu_pd(p)
#define vstore(p, v) _mm512_storeu_pd(p, v)
#define vset1(x) _mm512_set1_pd(x)
#define vfma(a, b, c) _mm512_fmadd_pd(a, b, c)
#define vload_n(p, n) _mm512_maskz_loadu_pd((__mmask8)(0xffu >> (8 - (n))), p)
#define vstore_n(p, v, n) _mm512_mask_storeu_pd(p, (__mmask8)(0xffu >> (8 - (n))), v)
#else
typedef __m512 vreal;
enum { VL = 16 };
#define vload(p) _mm512_loadu_ps(p)
#define vstore(p, v) _mm512_storeu_ps(p, v)
#define vset1(x) _mm512_set1_ps(x)
#define vfma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vload_n(p, n) _mm512_maskz_loadu_ps((__mmask16)(0xffffu >> (16 - (n))), p)
#define vstore_n(p, v, n) _mm512_mask_storeu_ps(p, (__mmask16)(0xffffu >> (16 - (n))), v)
#endif

#elif defined(HF_ISA_avx2)
enum { MR1 = 12, MR2 = 6, MR4 = 2, MR8 = 1, MR16 = 0, VREGS = 16 };
#ifdef HF_F64
typedef __m256d vreal;
enum { VL = 4 };
#define vload(p) _mm256_loadu_pd(p)
#define vstore(p, v) _mm256_storeu_pd(p, v)
#define vset1(x) _mm256_set1_pd(x)
#define vfma(a, b, c) _mm256_fmadd_pd(a, b, c)
#define vmask(n) _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3))
#define vload_n(p, n) _mm256_maskload_pd(p, vmask(n))
#define vstore_n(p, v, n) _mm256_maskstore_pd(p, vmask(n), v)
#else
typedef __m256 vreal;
enum { VL = 8 };
#define vload(p) _mm256_loadu_ps(p)
#define vstore(p, v) _mm256_storeu_ps(p, v)
#define vset1(x) _mm256_set1_ps(x)
#define vfma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define vmask(n) _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#define vload_n(p, n) _mm256_maskload_ps(p, vmask(n))
#define vstore_n(p, v, n) _mm256_maskstore_ps(p, vmask(n), v)
#endif

#elif defined(HF_ISA_neon)
enum { MR1 = 16, MR2 = 12, MR4 = 6, MR8 = 2, MR16 = 1, VREGS = 32 };
#ifdef HF_F64
typedef float64x2_t vreal;
enum { VL = 2 };
#define vload(p) vld1q_f64(p)
#define vstore(p, v) vst1q_f64(p, v)
#define vset1(x) vdupq_n_f64(x)
#define vfma(a, b, c) vfmaq_f64(c, a, b)
#else
typedef float32x4_t vreal;
enum { VL = 4 };
#define vload(p) vld1q_f32(p)
#define vstore(p, v) vst1q_f32(p, v)
#define vset1(x) vdupq_n_f32(x)
#define vfma(a, b, c) vfmaq_f32(c, a, b)
#endif

#else /* baseline: 16-byte vectors of the compiler's own, multiply and add rounded apart */
enum { MR1 = 10, MR2 = 5, MR4 = 2, MR8 = 1, MR16 = 0, VREGS = 16 };
enum { VL = 16 / sizeof(real) };
typedef real vreal __attribute__((vector_size(16)));
typedef real vreal_unaligned __attribute__((vector_size(16), aligned(sizeof(real)), may_alias));
#define vload(p) ((vreal) * (const vreal_unaligned *)(p))
#define vstore(p, v) (*(vreal_unaligned *)(p) = (v))
#define vset1(x) ((x) - (vreal){0})
#define vfma(a, b, c) ((a) * (b) + (c))
#endif

#ifdef vload_n
enum { MASKED = 1 };
#else
enum { MASKED = 0 };
static inline vreal vload_n(const real *p, int n) {
  real t[VL] = {p[0]};
#pragma GCC unroll 4
  for (int l = 1; l < VL; l++)
    if (l < n) t[l] = p[l];
  return vload(t);
}
static inline void vstore_n(real *p, vreal v, int n) {
  real t[VL];
  vstore(t, v);
#pragma GCC unroll 4
  for (int l = 0; l < VL; l++)
    if (l < n) p[l] = t[l];
}
#endif

#ifndef __clang__
#ifdef HF_F64
typedef int64_t vindex __attribute__((vector_size(sizeof(vreal))));
#else
typedef int32_t vindex __attribute__((vector_size(sizeof(vreal))));
#endif
#endif

#if defined(HF_ISA_avx512)
#define KEEP(v) __asm__("" : "+v"(v))
#elif defined(HF_ISA_neon)
#define KEEP(v) __asm__("" : "+w"(v))
#else
#define KEEP(v) __asm__("" : "+x"(v))
#endif

/* v = its transpose, VL x VL, in log2(VL) rounds: each swaps the off-diagonal s x s blocks of all 2s x 2s blocks. */
HF_INLINE void vtranspose(vreal *v) {
#ifndef __clang__
  vindex lane;
#pragma GCC unroll 16
  for (int l = 0; l < VL; l++) lane[l] = l;
#endif
#pragma GCC unroll 4
  for (int s = 1; s < VL; s *= 2) {
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++) {
      if (i & s) continue;
      const vreal a = v[i], b = v[i + s];
#ifdef __clang__ /* has no __builtin_shuffle, and makes shuffles of this */
#pragma GCC unroll 16
      for (int l = 0; l < VL; l++) {
        v[i][l] = l & s ? b[l - s] : a[l];
        v[i + s][l] = l & s ? b[l] : a[l + s];
      }
#else
      const vindex from_b = ((lane & s) != 0) & (VL - s); /* b's lanes count from VL */
      v[i] = __builtin_shuffle(a, b, lane + from_b);
      v[i + s] = __builtin_shuffle(a, b, lane + s + from_b);
#endif
    }
  }
}

/* A round halves the lanes of each sum and packs the sums of two vectors into one: the lanes without bit h and those
 * with it, a's before b's. */
HF_INLINE void vfold(vreal *v, int count) {
#pragma GCC unroll 4
  for (int h = VL / 2; h > 0; h /= 2) {
    const int paired = count > 1;
    count = (count + 1) / 2;
#ifndef __clang__
    vindex low;
#pragma GCC unroll 16
    for (int q = 0; q < VL; q++) {
      const int r = q % (VL / 2);
      low[q] = r / h * 2 * h + r % h + (q < VL / 2 ? 0 : VL);
    }
#endif
#pragma GCC unroll 8
    for (int i = 0; i < count; i++) {
      const vreal a = v[paired ? 2 * i : i], b = v[paired ? 2 * i + 1 : i];
#ifdef __clang__
      vreal x = a, y = a;
#pragma GCC unroll 16
      for (int q = 0; q < VL; q++) {
        const int r = q % (VL / 2), l = r / h * 2 * h + r % h;
        x[q] = q < VL / 2 ? a[l] : b[l];
        y[q] = q < VL / 2 ? a[l + h] : b[l + h];
      }
      v[i] = x + y;
#else
      v[i] = __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, low + h);
#endif
    }
  }
}

#endif
