/* hf_pow of vmath.h, for both types: e^(y log|x|) with log|x| and the product in two parts each.
 *
 * Design: an error of the exponent is one of the result, and the exponent reaches 745 (104 in float32), so the logarithm
 * needs 11 (8) bits more than a number has. A second number holds what the first rounds off. The last sum of the
 * exponential is the only rounding that counts, so results that are numbers, as 3^2 = 9, are met. Vectorised on all ISAs
 * but the baseline in float64. Rejected: libm (an element at a time, and its bits are the machine's), and e^(y log x)
 * from the functions of vmath.h (an error of up to 700 ULP).
 */
#ifndef HF_VMATH_POW_H
#define HF_VMATH_POW_H

#ifdef HF_F64
#define HF_OF_TYPE(f32, f64) f64
#else
#define HF_OF_TYPE(f32, f64) f32
#endif
enum { HF_FRACTION = HF_OF_TYPE(23, 52), HF_BIAS = HF_OF_TYPE(127, 1023) };

/* a b - p, exactly, for p = a b rounded. */
HF_INLINE real hf_product_rest(real a, real b, real p) {
#if HF_HAS_FMA
  return hf_fma(a, b, -p);
#else
  const real_bits mask = ~(((real_bits)1 << HF_OF_TYPE(12, 27)) - 1);
  const real a1 = hf_from_bits(hf_bits(a) & mask), b1 = hf_from_bits(hf_bits(b) & mask), a2 = a - a1, b2 = b - b1;
  return ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2;
#endif
}

/* (high, low) with high + low = log v, v normal and positive. v = 2^k (1+f), f in [sqrt(1/2)-1, sqrt(2)-1],
 * s = f / (2+f), z = s^2: k ln2 + 2 s + s z (2/3 + z Q(z)), all in two parts but z Q(z). Q: degree 3 (float64: 8), minimax
 * in the error relative to the logarithm, 2^-41.3 (2^-73.6). k0 is added to k. */
HF_INLINE void hf_log_in_two(real v, real k0, real *high, real *low) {
  const real_bits one = (real_bits)HF_BIAS << HF_FRACTION, magic = (real_bits)(HF_BIAS + HF_FRACTION) << HF_FRACTION;
  const real_bits one_less_root = HF_OF_TYPE(0x4afb0d, 0x95f619980c433); /* as bits: 1 - sqrt(1/2) */
  const real_bits e = (hf_bits(v) + one_less_root) >> HF_FRACTION;
  const real k = (hf_from_bits(e | magic) - (real)((1ull << HF_FRACTION) + HF_BIAS)) + k0;
  const real f = hf_from_bits(hf_bits(v) - (e << HF_FRACTION) + one) - 1;
  const real d = 2 + f, d_low = f - (d - 2), inverse = 1 / d, s = f * inverse;
  const real s_low = -(hf_product_rest(s, d, f) + s * d_low) * inverse;
  const real z = s * s, z_low = hf_product_rest(s, s, z) + 2 * s * s_low;
#ifdef HF_F64
  real q = 0x1.e2b8073aaa78fp-4;
  q = hf_fma(q, z, 0x1.a5c14dae23eb1p-4);
  q = hf_fma(q, z, 0x1.e26695002fdd4p-4);
  q = hf_fma(q, z, 0x1.110edf353aea8p-3);
  q = hf_fma(q, z, 0x1.3b13bcaeb87f0p-3);
  q = hf_fma(q, z, 0x1.745d1721b73c1p-3);
  q = hf_fma(q, z, 0x1.c71c71c75c6e9p-3);
  q = hf_fma(q, z, 0x1.24924924922e5p-2);
  q = hf_fma(q, z, 0x1.999999999999ap-2);
#else
  real q = 0x1.97e99ap-3f;
  q = hf_fma(q, z, 0x1.c5bfd6p-3f);
  q = hf_fma(q, z, 0x1.249500p-2f);
  q = hf_fma(q, z, 0x1.999996p-2f);
#endif
  const real third = HF_OF_TYPE(0x1.555556p-1f, 0x1.5555555555555p-1);
  const real third_low = HF_OF_TYPE(-0x1.555556p-26f, 0x1.5555555555555p-55);
  const real c = z * third, c_low = hf_fma(z_low, third, hf_fma(z, third_low, hf_product_rest(z, third, c)));
  const real square = z * z * q, t = c + square, t_low = (square - (t - c)) + c_low;
  const real st = s * t, st_low = hf_fma(s_low, t, hf_fma(s, t_low, hf_product_rest(s, t, st)));
  const real whole = k * HF_LN2_HI, sum = whole + 2 * s, sum_low = 2 * s - (sum - whole);
  *high = sum + st;
  *low = (sum_low + (st - (*high - sum))) + (hf_fma(k, HF_LN2_LO, st_low) + 2 * s_low);
}

/* e^(x + x_low), |x| <= HF_POW_END, |x_low| small beside 1: as hf_exp of float64, but the last sum is rounded once. */
#define HF_POW_END HF_OF_TYPE(110.0f, 760.0)
HF_INLINE real hf_exp_of_two(real x, real x_low) {
  const real shift = (real)HF_ROUND + 2 * HF_BIAS, t = hf_fma(x, HF_LOG2E, shift), n = t - shift;
  const real r0 = hf_fma(n, -HF_LN2_HI, x), r1 = hf_fma(n, -HF_LN2_LO, x_low), r = r0 + r1;
  const real one_r = 1 + r, low = (r - (one_r - 1)) + (r1 - (r - r0));
  const real p = one_r + hf_fma(hf_exp_poly(r), r * r, low);
  const real_bits both = hf_bits(t), half = both >> 1;
  return p * hf_from_bits(half << HF_FRACTION) * hf_from_bits((both - half) << HF_FRACTION);
}

/* All bits where the condition holds. Selects by y alone would be made branches where y is a constant. */
#define HF_WHERE(condition) ((condition) ? ~(real_bits)0 : (real_bits)0)

/* All bits where b >= 0 is no whole number: from 2^FRACTION on all are. */
HF_INLINE real_bits hf_where_broken(real b) {
  const real round = (real)(1ull << HF_FRACTION);
  return HF_WHERE((b + round) - round != b) & HF_WHERE(b < round);
}

/* x^y with the special values of C: x^0 = 1^y = 1 even for NaN; x < 0 only to whole numbers y.
 * Worst 0.82 ULP, float64 1.05, most where |y log x| is near its end. */
HF_INLINE real hf_pow(real x, real y) {
  const real a = hf_abs(x), b = hf_abs(y);
  const real least = HF_OF_TYPE(0x1p-126f, 0x1p-1022), up = HF_OF_TYPE(0x1p23f, 0x1p52);
  real log, log_low;
  hf_log_in_two(a < least ? a * up : a, a < least ? (real)-HF_FRACTION : 0, &log, &log_low);
  log = a == 0 ? -(real)INFINITY : a < (real)INFINITY ? log : a;
  const real p = y * log, rest = hf_fma(y, log_low, hf_product_rest(y, log, p));
  const real size = hf_abs(p), end = hf_signed(HF_POW_END, p);
  const real r = hf_exp_of_two(size > HF_POW_END ? end : p, size > HF_POW_END ? 0 : rest);
  const real_bits broken = hf_where_broken(b), odd = hf_where_broken((real)0.5 * b) & ~broken;
  const real_bits invalid = broken & HF_WHERE(x < 0) & HF_WHERE(a < (real)INFINITY);
  const real_bits one = HF_WHERE(y == 0) | HF_WHERE(x == 1) | (HF_WHERE(a == 1) & HF_WHERE(b == (real)INFINITY));
  const real_bits sign = (hf_bits(x) ^ hf_bits(a)) & odd;
  const real_bits result = (hf_bits(r) ^ sign) | (hf_bits((real)NAN) & invalid);
  return hf_from_bits((result & ~one) | (hf_bits(1) & one));
}

#undef HF_WHERE
#undef HF_OF_TYPE
#endif
