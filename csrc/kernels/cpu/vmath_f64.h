/* The float64 functions of vmath.h.
 *
 * Design: accuracy first. Each function has the reduction that keeps its worst error near 1 ULP, and shares what it
 * can: one polynomial for all exponentials, one for both logarithms, one scaled complementary error function for erf,
 * gelu and its slope. Where small arguments need a form of their own (tanh, erf), both are computed and one is
 * selected.
 */
#ifndef HF_VMATH_F64_H
#define HF_VMATH_F64_H

/* Adding HF_ROUND rounds to the nearest integer (|v| < 2^51) and leaves that integer in the low mantissa bits. With
 * HF_ROUND + 1023 + b the low 12 bits hold the biased exponent, so `bits << 52` is 2^(n+b): one shift. */
#define HF_ROUND 0x1.8p52
#define HF_LOG2E 0x1.71547652b82fep+0
/* ln2 = HI + LO; HI has 42 bits, so n * HI is exact for |n| < 2048, with FMA and without. */
#define HF_LN2_HI 0x1.62e42fefa38p-1
#define HF_LN2_LO 0x1.ef35793c7673p-45

HF_INLINE real hf_pow2_of_round(real t) { return hf_from_bits(hf_bits(t) << 52); }

/* P of e^r = 1 + r + r^2 P(r), |r| <= ln2/2: degree 10, minimax in the relative error of e^r - 1, 2^-60.0. */
HF_INLINE real hf_exp_poly(real r) {
  real p = 0x1.1f5d0fdbc50abp-29;
  p = hf_fma(p, r, 0x1.af5e39334c5d9p-26);
  p = hf_fma(p, r, 0x1.27e4ea2d38ceep-22);
  p = hf_fma(p, r, 0x1.71ddf8ec0faa4p-19);
  p = hf_fma(p, r, 0x1.a01a01a214cbep-16);
  p = hf_fma(p, r, 0x1.a01a01afa15dfp-13);
  p = hf_fma(p, r, 0x1.6c16c16c1616ep-10);
  p = hf_fma(p, r, 0x1.111111110f6fap-7);
  p = hf_fma(p, r, 0x1.5555555555559p-5);
  p = hf_fma(p, r, 0x1.5555555555559p-3);
  return hf_fma(p, r, 0.5);
}

/* e^r - 1, |r| <= ln2/2. */
HF_INLINE real hf_exp_rest(real r) { return hf_fma(hf_exp_poly(r), r * r, r); }

/* e^x = e^r 2^n, n = round(x / ln2). 2^n is the product of two powers, half of n each, so that overflow and gradual
 * underflow come from the last multiplication. Outside [-746, 710] the result is 0 or inf anyway.
 * Worst 0.98 ULP, no FMA 0.95. */
HF_INLINE real hf_exp(real x) {
  x = x < -746.0 ? -746.0 : x;
  x = x > 710.0 ? 710.0 : x;
  const real t = hf_fma(x, HF_LOG2E, HF_ROUND + 2046.0), n = t - (HF_ROUND + 2046.0);
  real r = hf_fma(n, -HF_LN2_HI, x);
  r = hf_fma(n, -HF_LN2_LO, r);
  const real_bits both = hf_bits(t), half = both >> 1;
  return (1.0 + hf_exp_rest(r)) * hf_from_bits(half << 52) * hf_from_bits((both - half) << 52);
}

/* e^(x - down), x <= 0, 0 <= down < 0.01: as only underflow is possible, a scale of 2^(n+64) and then 2^-64 will do. */
HF_INLINE real hf_exp_nonpos_less(real x, real down) {
  x = x < -746.0 ? -746.0 : x;
  const real t = hf_fma(x, HF_LOG2E, HF_ROUND + 1087.0), n = t - (HF_ROUND + 1087.0);
  real r = hf_fma(n, -HF_LN2_HI, x);
  r = hf_fma(n, -HF_LN2_LO, r - down);
  return (1.0 + hf_exp_rest(r)) * hf_pow2_of_round(t) * 0x1p-64;
}

/* e^x for x <= 0. Worst 0.98 ULP, no FMA 0.94. */
HF_INLINE real hf_exp_nonpos(real x) { return hf_exp_nonpos_less(x, 0.0); }

/* e^x - 1 = 2 ((s - 1/2) + s r + s (e^r - 1 - r)), s = 2^(n-1); half scale, as n = 1024 occurs below the overflow
 * threshold. The first sum and the reduction of r keep what they round off (`lost`): its error and that of r are
 * otherwise as large as the last one. The last select keeps -0 and subnormals. Worst 1.12 ULP, no FMA 1.15. */
HF_INLINE real hf_expm1(real x) {
  real c = x < -40.0 ? -40.0 : x;
  c = c > 710.0 ? 710.0 : c;
  const real t = hf_fma(c, HF_LOG2E, HF_ROUND + 1022.0), n = t - (HF_ROUND + 1022.0), s = hf_pow2_of_round(t);
  const real reduced = hf_fma(n, -HF_LN2_HI, c), r = hf_fma(n, -HF_LN2_LO, reduced);
  const real r_lost = hf_fma(n, -HF_LN2_LO, reduced - r);
  const real a = s - 0.5, b = s * r, sum = a + b, lost = b - (sum - a);
  const real y = 2.0 * (sum + hf_fma(hf_fma(hf_exp_poly(r), r * r, r_lost), s, lost));
  return hf_abs(x) < 0x1p-54 ? x : y;
}

/* k ln2 + log(1+f), f in [-1/4, 1/2], k a whole number. With s = f / (2+f) and z = s^2: log(1+f) = 2 atanh s = f -
 * f^2/2 + s (f^2/2 + z Q(z)), where the quotient's error hardly counts. Q: degree 7, minimax in the error relative to
 * log(1+f), 2^-62. The large terms are added last, so the error for k = 0 is relative to f. */
HF_INLINE real hf_log_parts(real f, real k) {
  const real s = f / (2.0 + f), z = s * s, half = 0.5 * f * f;
  real q = 0x1.1b3b8984abfc5p-3;
  q = hf_fma(q, z, 0x1.0dd6e5931edf5p-3);
  q = hf_fma(q, z, 0x1.3b3501766c967p-3);
  q = hf_fma(q, z, 0x1.745c5180868dbp-3);
  q = hf_fma(q, z, 0x1.c71c746e9df18p-3);
  q = hf_fma(q, z, 0x1.2492492211e3ap-2);
  q = hf_fma(q, z, 0x1.999999999bd8fp-2);
  q = hf_fma(q, z, 0x1.5555555555550p-1);
  const real low = hf_fma(hf_fma(q, z, half), s, k * HF_LN2_LO);
  return hf_fma(k, HF_LN2_HI, f - (half - low));
}

/* The exponent k of v = 2^k (1+f), f in [-1/4, 1/2], in the place of a double's; v normal and positive. There is no
 * arithmetic shift of 64 bits before AVX-512: hence the bias. */
HF_INLINE real_bits hf_log_exponent(real v) {
  return ((hf_bits(v) + 0x0008000000000000u) & 0xfff0000000000000u) - 0x3ff0000000000000u;
}

/* The whole number k from k in the place of the exponent. */
HF_INLINE real hf_log_whole(real_bits k) {
  return hf_from_bits(((k + 0x3ff0000000000000u) >> 52) | 0x4330000000000000u) - (0x1p52 + 1023.0);
}

/* x = 2^k (1+f); subnormals are scaled by 2^54 first. Worst 0.88 ULP, no FMA 0.87. */
HF_INLINE real hf_log(real x) {
  const real v = x < 0x1p-1022 ? x * 0x1p54 : x, k0 = x < 0x1p-1022 ? -54.0 : 0.0;
  const real_bits k = hf_log_exponent(v);
  real y = hf_log_parts(hf_from_bits(hf_bits(v) - k) - 1.0, hf_log_whole(k) + k0);
  y = x < INFINITY ? y : x;
  return x > 0.0 ? y : x == 0.0 ? -INFINITY : NAN;
}

/* 1+x = 2^k (1+f) with k from the rounded sum, but f = x 2^-k + (2^-k - 1) from x itself: exact, for its terms lie
 * within a factor of 2 wherever k is not 0 (that is why f begins at -1/4), or, from k = 53 on, off by what does not
 * count beside k. k reaches 1024, where 2^-k is taken as 0. The last select keeps -0. Worst 0.89 ULP, no FMA 0.89. */
HF_INLINE real hf_log1p(real x) {
  const real_bits k = hf_log_exponent(1.0 + x);
  real s = hf_from_bits(0x3ff0000000000000u - k);
  s = s > 0.0 ? s : 0.0;
  real y = hf_log_parts(hf_from_bits(hf_bits(x) - k) + (s - 1.0), hf_log_whole(k));
  y = x < INFINITY ? y : x;
  y = x > -1.0 ? y : x == -1.0 ? -INFINITY : NAN;
  return x == 0.0 ? x : y;
}

/* 1 - 2 / (1 + e^2|x|) from 0.55 on, where the quotient is below 1/2; 1 from |x| = 19.1 on. Before: |x| + |x| z P(z),
 * z = x^2, P of degree 10, relative error of tanh 2^-60. Worst 1.32 ULP, no FMA 1.33. */
HF_INLINE real hf_tanh(real x) {
  real a = hf_abs(x);
  a = a > 20.0 ? 20.0 : a;
  const real t = hf_fma(a, 2.0 * HF_LOG2E, HF_ROUND + 1023.0), n = t - (HF_ROUND + 1023.0), s = hf_pow2_of_round(t);
  real r = hf_fma(n, -HF_LN2_HI, a + a);
  r = hf_fma(n, -HF_LN2_LO, r);
  const real far = 1.0 - 2.0 / hf_fma(hf_exp_rest(r), s, s + 1.0), z = a * a;
  real p = -0x1.48d51bef6cddcp-16;
  p = hf_fma(p, z, 0x1.5e37d228b1a85p-14);
  p = hf_fma(p, z, -0x1.e9b91bfbb4674p-13);
  p = hf_fma(p, z, 0x1.348b802b55853p-11);
  p = hf_fma(p, z, -0x1.7d90de906722bp-10);
  p = hf_fma(p, z, 0x1.d6d2b2a69408fp-9);
  p = hf_fma(p, z, -0x1.226e2fba1ca2bp-7);
  p = hf_fma(p, z, 0x1.664f485f50dbap-6);
  p = hf_fma(p, z, -0x1.ba1ba1b99d33ap-5);
  p = hf_fma(p, z, 0x1.1111111110a66p-3);
  p = hf_fma(p, z, -0x1.5555555555552p-2);
  const real near = hf_fma(a * z, p, a);
  return hf_signed(a < 0.55 ? near : far, x);
}

/* From e^-|x|: the small side keeps its relative accuracy down to the subnormals. Worst 2.37 ULP, no FMA 2.39. */
HF_INLINE real hf_sigmoid(real x) {
  const real e = hf_exp_nonpos(-hf_abs(x));
  return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

/* max(x,0) + log(1 + e^-|x|): no overflow. Worst 1.63 ULP, no FMA 1.63. */
HF_INLINE real hf_softplus(real x) { return (x > 0.0 ? x : 0.0) + hf_log1p(hf_exp_nonpos(-hf_abs(x))); }

/* e^(-c a^2), c a power of 2: a^2 exactly, in two parts, the first from the upper half of a's bits. An error of half an
 * ULP of a^2 would be one of a^2/2 ULP of the result. */
HF_INLINE real hf_bell(real a, real c) {
  const real upper = hf_from_bits(hf_bits(a) & 0xfffffffff8000000u);
  return hf_exp_nonpos_less(-c * upper * upper, c * (a - upper) * (a + upper));
}

/* e^(x^2) erfc(x), 0 <= x <= 27.4, = P(v) / (x + 3/4), v = (x - 4) / (x + 4) (a rational map after Shepherd and
 * Laframboise, Math. Comp. 36, 1981, by which one polynomial reaches from 0 to far out; with 3/4 P stays between 0.57
 * and 0.78, so that errors of v hardly count). P: degree 22, least squares on Chebyshev nodes, relative error 2^-55.7;
 * even and odd terms apart (one chain takes twice the time). */
HF_INLINE real hf_erfcx(real x) {
  const real v = hf_fma(-8.0, 1.0 / (x + 4.0), 1.0), w = v * v;
  real even = -0x1.aa82cb6d2ece9p-31;
  even = hf_fma(even, w, -0x1.452b07a879a73p-28);
  even = hf_fma(even, w, 0x1.4747ea0d9ffc4p-25);
  even = hf_fma(even, w, 0x1.54c658115fd16p-24);
  even = hf_fma(even, w, -0x1.473b16c8a569cp-18);
  even = hf_fma(even, w, 0x1.2439d1ecd9e1ep-14);
  even = hf_fma(even, w, -0x1.92ff04ca76f8bp-12);
  even = hf_fma(even, w, -0x1.d03e76293e994p-8);
  even = hf_fma(even, w, -0x1.9f2d6b7a3a94dp-6);
  even = hf_fma(even, w, -0x1.7d661b517b750p-6);
  even = hf_fma(even, w, 0x1.feeed64c703c6p-5);
  even = hf_fma(even, w, 0x1.4d2ec42da8b94p-1);
  real odd = -0x1.b7e9e308d314fp-28;
  odd = hf_fma(odd, w, 0x1.cdd985247874ap-25);
  odd = hf_fma(odd, w, -0x1.a6495483604fbp-22);
  odd = hf_fma(odd, w, 0x1.71f940c4d4879p-19);
  odd = hf_fma(odd, w, -0x1.a960cb6265f86p-17);
  odd = hf_fma(odd, w, -0x1.4f0ca5a627d46p-14);
  odd = hf_fma(odd, w, 0x1.2f96e1d9be508p-9);
  odd = hf_fma(odd, w, 0x1.f7bc26ee7a018p-7);
  odd = hf_fma(odd, w, 0x1.fd5ea9573b4a1p-6);
  odd = hf_fma(odd, w, -0x1.cbcbb937c3247p-8);
  odd = hf_fma(odd, w, -0x1.139d67c45f2dap-3);
  return hf_fma(odd, v, even) / (x + 0.75);
}

/* 1 - erfc|x| from 0.82 on, where erfc is below 1/4; 1 from |x| = 5.93 on. Before: |x| + |x| Q(x^2), Q of degree 10,
 * relative error of erf 2^-56.0. Worst 1.28 ULP, no FMA 1.31. */
HF_INLINE real hf_erf(real x) {
  real a = hf_abs(x);
  a = a > 6.0 ? 6.0 : a;
  const real far = hf_fma(-hf_bell(a, 1.0), hf_erfcx(a), 1.0), z = a * a;
  real q = 0x1.6cf2b2d7e58aep-27;
  q = hf_fma(q, z, -0x1.50acfab0c9c10p-23);
  q = hf_fma(q, z, 0x1.b821aae293938p-20);
  q = hf_fma(q, z, -0x1.f4b0364a1b8a9p-17);
  q = hf_fma(q, z, 0x1.f9a17cad62908p-14);
  q = hf_fma(q, z, -0x1.c02da6964855cp-11);
  q = hf_fma(q, z, 0x1.565bcccacfa13p-8);
  q = hf_fma(q, z, -0x1.b82ce310f9f4bp-6);
  q = hf_fma(q, z, 0x1.ce2f21a03e045p-4);
  q = hf_fma(q, z, -0x1.812746b03798dp-2);
  q = hf_fma(q, z, 0x1.06eba8214db68p-3);
  return hf_signed(a < 0.82 ? hf_fma(q, a, a) : far, x);
}

/* |x|, but no larger than where 1 - Phi vanishes; NaN stays. */
#define HF_TAIL_END 38.65
HF_INLINE real hf_tail_argument(real x) {
  const real a = hf_abs(x);
  return a > HF_TAIL_END ? HF_TAIL_END : a;
}

/* x Phi(x) = max(x, 0) - |x| (1 - Phi(|x|)), without the cancellation of 1 + erf; 1 - Phi(a) = erfc(a / sqrt 2) / 2.
 * -inf gives 0. Worst 2.25 ULP of x (5.4 of the result, x < 0), no FMA 2.25. */
HF_INLINE real hf_gelu(real x) {
  const real a = hf_tail_argument(x);
  return hf_fma(-0.5 * a * hf_erfcx(a * M_SQRT1_2), hf_bell(a, 0.5), x <= 0.0 ? 0.0 : x);
}

/* Phi(x) + x phi(x), phi the normal density: both have the factor e^(-x^2/2). Worst 1.39 ULP of 1, no FMA 1.39. */
HF_INLINE real hf_gelu_slope(real x) {
  const real a = hf_tail_argument(x);
  const real y = hf_fma(a, -0x1.9884533d43651p-2, 0.5 * hf_erfcx(a * M_SQRT1_2)) * hf_bell(a, 0.5); /* of -|x| */
  return x < 0.0 ? y : 1.0 - y;
}

#endif
