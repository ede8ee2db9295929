/* Coordinate descent for linear models, float64: what sees one coordinate after the other is no tensor program.
 *
 * Letters: n rows, d features. Each call is one sweep; whether to go on is the caller's to say.
 */
#ifndef HF_COORDINATE_H
#define HF_COORDINATE_H

#include <stdint.h>

/* min over w of 1/2 |r|^2 + l1 |w|_1 + l2/2 |w|^2 with r = y - X w (Friedman, Hastie, Tibshirani, J. Stat. Softw. 33, 2010).
 *
 * w (d) and r (n) go in and out. columns (d, n): X transposed; norms (d): |column|^2. A column of zeros keeps its w.
 * positive: w >= 0. Returns the largest |change of w|. */
double hf_elastic_net_sweep(double *w, double *r, const double *columns, const double *norms, int64_t n, int64_t d,
                            double l1, double l2, int positive);

/* The dual of a linear support vector machine, w = sum_i beta_i x_i:
 *   min over beta of 1/2 |w|^2 + sum_i (1/2 damp_i beta_i^2 - t_i beta_i + eps |beta_i|), low_i <= beta_i <= high_i
 * (Hsieh, Chang, Lin, Keerthi, Sundararajan, ICML 2008; Ho, Lin, JMLR 13, 2012). Each step is exact in its beta_i.
 *
 * beta (n) and w (d) go in and out. x (n, d); norms (n): |x_i|^2; order (rows): which rows, in which order.
 * still (n): set to 1 for a row that lies at a bound, or at 0, and wants no move, else to 0. Returns the largest
 * |slope times step| of a row, an estimate of what is to be gained. */
double hf_dual_sweep(double *beta, double *w, uint8_t *still, const double *x, const double *norms, const double *t,
                     const double *damp, const double *low, const double *high, const int64_t *order, int64_t rows,
                     int64_t d, double eps);

#endif
