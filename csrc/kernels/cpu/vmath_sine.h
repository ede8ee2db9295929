/* Sine and cosine by turns, of vmath.h, for both types. */
#ifndef HF_VMATH_SINE_H
#define HF_VMATH_SINE_H

/* sin(2 pi s), |s| <= 1/4: the Taylor series; what is left out is below 7e-10 (float) and 2e-18 (double). */
HF_INLINE real hf_sine_of_turn(real s) {
  static const real c[] = {
      (real)6.283185307179586,  (real)-41.34170224039976, (real)81.60524927607506, (real)-76.70585975306139,
      (real)42.058693944897655, (real)-15.09464257682299, (real)3.819952584848282,
#ifdef HF_F64
      -0.7181223017785006,      0.10422916220813984,      -0.012031585942120627,   0.0011309237482517963,
#endif
  };
  enum { TERMS = sizeof c / sizeof *c };
  const real q = s * s;
  real y = c[TERMS - 1];
#pragma GCC unroll 16
  for (int k = TERMS - 2; k >= 0; k--) y = hf_fma(y, q, c[k]);
  return y * s;
}

/* What x/2 is above the nearest whole number: in [-1/2, 1/2], exact for |x| < 2^23 (double: 2^52), and 0 from there on,
 * where odd and even can hardly be told apart. NaN for what is not finite. */
HF_INLINE real turn_of(real x) {
  const real round = sizeof(real) == sizeof(float) ? (real)0x1.8p23 : (real)0x1.8p52, s = x * (real)0.5;
  const real near = hf_abs(s) < round / 3 ? s : (real)0;
  return near - ((near + round) - round) + (x - x);
}

/* sin(pi x): of a turn beyond a quarter, that of its distance from a half. Error below 2e-7 (double: 4e-16). */
HF_INLINE real hf_sinpi(real x) {
  const real s = turn_of(x), folded = hf_signed((real)0.5 - hf_abs(s), s);
  return hf_sine_of_turn(hf_abs(s) > (real)0.25 ? folded : s);
}

/* cos(pi x), the sine of what is left to a quarter of a turn. Error as of hf_sinpi. */
HF_INLINE real hf_cospi(real x) { return hf_sine_of_turn((real)0.25 - hf_abs(turn_of(x))); }

#endif
