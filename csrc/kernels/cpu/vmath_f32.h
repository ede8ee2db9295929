/* The float32 functions of vmath.h. */
#ifndef HF_VMATH_F32_H
#define HF_VMATH_F32_H

/* Adding HF_ROUND rounds to the nearest integer (|v| < 2^22) and leaves that integer in the low mantissa bits. With
 * HF_ROUND + 127 + b the low 9 bits hold the biased exponent, so `bits << 23` is 2^(n+b): one shift, no conversion. */
#define HF_ROUND 0x1.8p23f
#define HF_LOG2E 0x1.715476p+0f
#define HF_LN2 0x1.62e43p-1f
/* ln2 = HI + LO; HI has 16 bits, so n * HI is exact for |n| < 256, with FMA and without. */
#define HF_LN2_HI 0x1.62e4p-1f
#define HF_LN2_LO 0x1.7f7d1cp-20f

/* e^r, |r| <= ln2: minimax, degree 7, relative error 2^-26.0. */
HF_INLINE real hf_exp_wide_poly(real r) {
  real p = 0x1.9bb144p-13f;
  p = hf_fma(p, r, 0x1.71c4cap-10f);
  p = hf_fma(p, r, 0x1.112722p-7f);
  p = hf_fma(p, r, 0x1.5549dcp-5f);
  p = hf_fma(p, r, 0x1.555512p-3f);
  p = hf_fma(p, r, 0x1.00000cp-1f);
  p = hf_fma(p, r, 1.0f);
  return hf_fma(p, r, 1.0f);
}

/* e^x = p(r) s s with s = 2^h, h = round(x / (2 ln2)). The squared scale reaches from 2^-150 to 2^128 with one shift,
 * so overflow and gradual underflow come from the last multiplication; splitting 2^n costs three more integer
 * operations and saves one FMA. Outside [-104, 89] the result is 0 or inf anyway.
 * Worst 1.62 ULP, no FMA 1.96. */
HF_INLINE real hf_exp(real x) {
  x = x < -104.0f ? -104.0f : x;
  x = x > 89.0f ? 89.0f : x;
  real t = hf_fma(x, 0.5f * HF_LOG2E, HF_ROUND + 127.0f);
  real h = t - (HF_ROUND + 127.0f);
  real r = hf_fma(h, -2.0f * HF_LN2_HI, x);
  r = hf_fma(h, -2.0f * HF_LN2_LO, r);
  real s = hf_from_bits(hf_bits(t) << 23);
  return hf_exp_wide_poly(r) * s * s;
}

/* e^x for x <= 0: as only underflow is possible, a scale of 2^(n+64) and then 2^-64 will do, and |r| <= ln2/2: minimax,
 * degree 6, relative error 2^-28.2. */
HF_INLINE real hf_exp_nonpos(real x) {
  x = x < -104.0f ? -104.0f : x;
  real t = hf_fma(x, HF_LOG2E, HF_ROUND + 191.0f);
  real n = t - (HF_ROUND + 191.0f);
  real r = hf_fma(n, -HF_LN2_HI, x);
  r = hf_fma(n, -HF_LN2_LO, r);
  real p = 0x1.6a495cp-10f;
  p = hf_fma(p, r, 0x1.1239a0p-7f);
  p = hf_fma(p, r, 0x1.5558b4p-5f);
  p = hf_fma(p, r, 0x1.555492p-3f);
  p = hf_fma(p, r, 0x1.fffffcp-2f);
  p = hf_fma(p, r, 1.0f);
  p = hf_fma(p, r, 1.0f);
  return p * hf_from_bits(hf_bits(t) << 23) * 0x1p-64f;
}

/* e^-g = (1 - p) s for 0 <= g < 80, with s = 2^n, n <= 0, g = u - n ln2, p = 1 - e^-u, |u| <= ln2/2: minimax, degree 6,
 * relative error 2^-26.1. ln2 in one constant suffices where s (1 - p) is added to or subtracted from 1: its error
 * n 2^-29 is damped by 2^n. */
HF_INLINE real hf_exp_neg_parts(real g, real *s) {
  real t = hf_fma(g, -HF_LOG2E, HF_ROUND + 127.0f);
  real n = t - (HF_ROUND + 127.0f);
  real u = hf_fma(n, HF_LN2, g);
  real p = -0x1.6b9caap-10f;
  p = hf_fma(p, u, 0x1.122560p-7f);
  p = hf_fma(p, u, -0x1.5556f2p-5f);
  p = hf_fma(p, u, 0x1.5554b4p-3f);
  p = hf_fma(p, u, -0x1.fffffep-2f);
  *s = hf_from_bits(hf_bits(t) << 23);
  return hf_fma(p, u * u, u);
}

/* P of e^r = 1 + r + r^2 P(r), |r| <= ln2/2: the polynomial above at -r. */
HF_INLINE real hf_exp_poly(real r) {
  real p = 0x1.6b9caap-10f;
  p = hf_fma(p, r, 0x1.122560p-7f);
  p = hf_fma(p, r, 0x1.5556f2p-5f);
  p = hf_fma(p, r, 0x1.5554b4p-3f);
  return hf_fma(p, r, 0x1.fffffep-2f);
}

/* e^x - 1 = 2 ((e^r - 1) 2^(n-1) + (2^(n-1) - 1/2)); half scale, as n = 128 occurs below the overflow threshold.
 * The last select keeps -0 and subnormals.
 * Worst 1.53 ULP, no FMA 1.66. */
HF_INLINE real hf_expm1(real x) {
  real c = x < -30.0f ? -30.0f : x;
  c = c > 89.0f ? 89.0f : c;
  real t = hf_fma(c, HF_LOG2E, HF_ROUND + 126.0f);
  real n = t - (HF_ROUND + 126.0f);
  real r = hf_fma(n, -HF_LN2_HI, c);
  r = hf_fma(n, -HF_LN2_LO, r);
  real s = hf_from_bits(hf_bits(t) << 23);
  real p = hf_fma(hf_exp_poly(r), r * r, r);
  real y = 2.0f * hf_fma(p, s, s - 0.5f);
  return hf_abs(x) < 0x1p-25f ? x : y;
}

/* k ln2 + log(1+f), f in [sqrt(1/2)-1, sqrt(2)-1], k a whole number: f - f^2/2 + f^3 P(f), minimax, P of degree 6,
 * relative error 2^-24.9. The large terms are added last, so the error for k = 0 is relative to f. */
HF_INLINE real hf_log_poly(real f, real k) {
  real p = 0x1.645de2p-4f;
  p = hf_fma(p, f, -0x1.242fb8p-3f);
  p = hf_fma(p, f, 0x1.3172fep-3f);
  p = hf_fma(p, f, -0x1.5382a6p-3f);
  p = hf_fma(p, f, 0x1.98d824p-3f);
  p = hf_fma(p, f, -0x1.000380p-2f);
  p = hf_fma(p, f, 0x1.5556d8p-2f);
  p = hf_fma(p, f, -0.5f);
  p = hf_fma(p, f * f, k * HF_LN2_LO);
  return hf_fma(k, HF_LN2_HI, p + f);
}

#define HF_SQRT_HALF_BITS 0x3f3504f3u

/* x = 2^k (1+f); subnormals are scaled by 2^23 first. Worst 1.22 ULP, no FMA 1.23. */
HF_INLINE real hf_log(real x) {
  real v = x < 0x1p-126f ? x * 0x1p23f : x;
  real k0 = x < 0x1p-126f ? -23.0f : 0.0f;
  uint32_t k = (uint32_t)((int32_t)(hf_bits(v) - HF_SQRT_HALF_BITS) >> 23);
  real f = hf_from_bits(hf_bits(v) - (k << 23)) - 1.0f;
  real y = hf_log_poly(f, (real)(int32_t)k + k0);
  y = x < INFINITY ? y : x;
  return x > 0.0f ? y : x == 0.0f ? -INFINITY : NAN;
}

/* 1+x = 2^k (1+f) with k from the rounded sum, but f = (x 2^-k - 1) + 2^-k from x itself, rounded where |f| is least:
 * no correction term and no division. k reaches 128, where 2^-k is taken as 0. The last select keeps -0.
 * Worst 1.78 ULP, no FMA 1.80. */
HF_INLINE real hf_log1p(real x) {
  uint32_t k = (uint32_t)((int32_t)(hf_bits(1.0f + x) - HF_SQRT_HALF_BITS) >> 23) << 23;
  real s = hf_from_bits(0x3f800000u - k);
  s = s > 0.0f ? s : 0.0f;
  real f = hf_from_bits(hf_bits(x) - k) + (s - 1.0f);
  real y = hf_log_poly(f, (real)((int32_t)k >> 23));
  y = x < INFINITY ? y : x;
  y = x > -1.0f ? y : x == -1.0f ? -INFINITY : NAN;
  return x == 0.0f ? x : y;
}

/* tanh|x| = (1 - e^-2|x|) / (1 + e^-2|x|): no cancellation in either, and numerator <= denominator, so never above 1.
 * F / (2 - F), F the numerator, saves an operation but doubles the error of F near 1. 1 from |x| = 9.02 on.
 * Worst 1.97 ULP, no FMA 2.02. */
HF_INLINE real hf_tanh(real x) {
  real a = hf_abs(x), s;
  a = a > 10.0f ? 10.0f : a;
  real p = hf_exp_neg_parts(a + a, &s);
  real y = hf_fma(p, s, 1.0f - s) / hf_fma(-p, s, 1.0f + s);
  return hf_signed(y, x);
}

/* From e^-|x|: the small side keeps its relative accuracy down to the subnormals. Worst 2.41 ULP, no FMA 2.41. */
HF_INLINE real hf_sigmoid(real x) {
  real e = hf_exp_nonpos(-hf_abs(x));
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

/* erf|x| = 1 - e^-g, g = -log erfc|x| = x (1 + q(x)) smooth on the whole of [0, 3.95] (beyond it erf rounds to 1), so
 * one formula serves small and large x. q: minimax in the relative error of erf, degree 8, 2^-27.8, by Estrin's scheme:
 * with Horner's the chain of dependent operations took a third longer. Worst 2.04 ULP, no FMA 2.25. */
HF_INLINE real hf_erf(real x) {
  real a = hf_abs(x), s;
  a = a > 3.95f ? 3.95f : a;
  real a2 = a * a, a4 = a2 * a2;
  real q0 = hf_fma(0x1.45f300p-1f, a, 0x1.06eba8p-3f), q2 = hf_fma(-0x1.39b7cap-6f, a, 0x1.a4f8c4p-4f);
  real q4 = hf_fma(0x1.b744ccp-10f, a, -0x1.637a0ep-13f), q6 = hf_fma(0x1.f28ad0p-14f, a, -0x1.4e2998p-11f);
  real q = hf_fma(hf_fma(-0x1.3b0290p-17f, a4, hf_fma(q6, a2, q4)), a4, hf_fma(q2, a2, q0));
  real p = hf_exp_neg_parts(hf_fma(q, a, a), &s);
  real y = hf_fma(p, s, 1.0f - s);
  return hf_signed(y, x);
}

/* The normal distribution's tail: 1 - Phi(a) = 2^-h(a) = p s with s = 2^-n, n whole, for 0 <= a <= HF_TAIL_END, where h
 * reaches 127 and s is 0. h: degree 8 with h(0) = 1, minimax in 2^-h dh over [0, 6], 2^-26.9, and growing beyond. p:
 * 2^-f, |f| <= 1/2, degree 6, relative error 2^-28.3. Both in pairs of terms (Estrin), for their chain is what takes
 * the time. */
#define HF_TAIL_END 9.95f
HF_INLINE real hf_normal_tail(real a, real *s) {
  real a2 = a * a, a4 = a2 * a2;
  real h0 = hf_fma(0x1.26aed4p+0f, a, 1.0f), h2 = hf_fma(0x1.ae0a84p-5f, a, 0x1.d63ac2p-2f);
  real h4 = hf_fma(0x1.1d2acep-13f, a, -0x1.ced2d4p-8f), h6 = hf_fma(-0x1.4afb92p-15f, a, 0x1.874146p-13f);
  real h = hf_fma(hf_fma(0x1.7d58fcp-19f, a4, hf_fma(h6, a2, h4)), a4, hf_fma(h2, a2, h0));
  real t = HF_ROUND + 127.0f - h;
  real f = h + (t - (HF_ROUND + 127.0f)), f2 = f * f;
  real p4 = hf_fma(0x1.416b52p-13f, f, -0x1.5f082ep-10f), p2 = hf_fma(0x1.3b2de0p-7f, f, -0x1.c6af7cp-5f);
  real p0 = hf_fma(0x1.ebfbdcp-3f, f, -0x1.62e430p-1f);
  *s = hf_from_bits(hf_bits(t) << 23);
  return hf_fma(hf_fma(hf_fma(p4, f2, p2), f2, p0), f, 1.0f);
}

/* x Phi(x) = max(x, 0) - |x| (1 - Phi(|x|)), without the cancellation of 1 + erf; -inf gives 0. The minimum is one of
 * bits, an instruction less, and the select keeps NaN. Worst 1.72 ULP of x, no FMA 1.88. */
HF_INLINE real hf_gelu(real x) {
  uint32_t u = hf_bits(x) & 0x7fffffffu, end = hf_bits(HF_TAIL_END);
  real a = hf_from_bits(u < end ? u : end), s;
  real p = hf_normal_tail(a, &s);
  return hf_fma(-(a * s), p, x <= 0.0f ? 0.0f : x);
}

/* Phi(x) + x phi(x), phi the normal density. */
HF_INLINE real hf_gelu_slope(real x) {
  real a = hf_abs(x), s;
  a = a > HF_TAIL_END ? HF_TAIL_END : a;
  real p = hf_normal_tail(a, &s), e = hf_exp_nonpos(-0.5f * a * a);
  real bell = a * e * 0x1.988454p-2f;
  real y = hf_fma(p, s, -bell); /* of -|x| */
  return x < 0.0f ? y : 1.0f - y;
}

/* max(x,0) + log(1+e), e = e^-|x| in [0, 1], where log1p needs no range reduction: e - e^2/2 + e^3 P(e), minimax, P of
 * degree 7, relative error 2^-27.0. Worst 1.94 ULP, no FMA 2.22. */
HF_INLINE real hf_softplus(real x) {
  real e = hf_exp_nonpos(-hf_abs(x));
  real p = -0x1.e1da7cp-9f;
  p = hf_fma(p, e, 0x1.665264p-6f);
  p = hf_fma(p, e, -0x1.f2fe82p-5f);
  p = hf_fma(p, e, 0x1.c38e0ap-4f);
  p = hf_fma(p, e, -0x1.3edae8p-3f);
  p = hf_fma(p, e, 0x1.94f9bcp-3f);
  p = hf_fma(p, e, -0x1.ff7d58p-3f);
  p = hf_fma(p, e, 0x1.55527ep-2f);
  p = hf_fma(p, e, -0.5f);
  return (x > 0.0f ? x : 0.0f) + hf_fma(p, e * e, e);
}

#endif
