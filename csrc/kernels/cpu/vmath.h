/* Scalar, branch-free elementary functions of `real` for `#pragma omp simd` loops.
 *
 * Design note. Each function is straight-line C: selects, integer operations on the bits and hf_fma, so one source
 * vectorises for SSE2, AVX2, AVX-512 and NEON, and every FMA ISA performs the same IEEE operations in the same order:
 * equal bits. Compile with -ffp-contract=off; never with -ffast-math (it would fold the rounding trick below).
 * Rejected: intrinsics per ISA (four sources to keep equal); table lookups (gathers, slow on AVX2, none on NEON);
 * rcp/rsqrt with Newton steps (their bits differ between vendors); libm, also in float64 (an element at a time, and its
 * bits are those of the machine that it came with). float32 and float64 share names and ideas, not polynomials: what is
 * one exponential in float32 (tanh, erf) is worth a second polynomial in float64, where accuracy is what it is for.
 *
 * Polynomials are own fits, minimax in the *relative* error of the function unless said otherwise, coefficients rounded
 * one by one, lowest order first, the rest refitted each time. ULP errors are measured by tests/c/ulp.c: float32 over
 * all 2^32 floats, float64 over 10^8 points; "no FMA" is the baseline x86-64 build.
 *
 * The functions: hf_abs, hf_sqrt, hf_fma; hf_exp, hf_exp_nonpos (of x <= 0), hf_expm1, hf_log, hf_log1p; hf_tanh,
 * hf_sigmoid, hf_erf; hf_softplus, log(1 + e^x); hf_gelu, x Phi(x); hf_gelu_slope, its derivative; hf_pow;
 * hf_sinpi, hf_cospi, the sine and cosine of pi x.
 */
#ifndef HF_VMATH_H
#define HF_VMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef HF_F64
typedef uint64_t real_bits;
#define HF_BUILTIN(name) __builtin_##name
#else
typedef uint32_t real_bits;
#define HF_BUILTIN(name) __builtin_##name##f
#endif

HF_INLINE real_bits hf_bits(real x) {
  real_bits u;
  memcpy(&u, &x, sizeof u);
  return u;
}

HF_INLINE real hf_from_bits(real_bits u) {
  real x;
  memcpy(&x, &u, sizeof x);
  return x;
}

#if !defined(HF_NO_FMA) &&                                                                                             \
    (defined(__FMA__) || defined(__AVX512F__) || defined(__ARM_FEATURE_FMA) || defined(__aarch64__))
#define HF_HAS_FMA 1
HF_INLINE real hf_fma(real a, real b, real c) { return HF_BUILTIN(fma)(a, b, c); }
#else
#define HF_HAS_FMA 0
HF_INLINE real hf_fma(real a, real b, real c) { return a * b + c; }
#endif

HF_INLINE real hf_abs(real x) { return HF_BUILTIN(fabs)(x); }
HF_INLINE real hf_sqrt(real x) { return HF_BUILTIN(sqrt)(x); }

/* y >= 0 with the sign of x. */
HF_INLINE real hf_signed(real y, real x) {
  const real_bits sign = (real_bits)1 << (8 * sizeof(real) - 1);
  return hf_from_bits(hf_bits(y) | (hf_bits(x) & sign));
}

#ifdef HF_F64
#include "vmath_f64.h"
#else
#include "vmath_f32.h"
#endif
#include "vmath_pow.h"
#include "vmath_sine.h"

#undef HF_BUILTIN
#endif
