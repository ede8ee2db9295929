#include "coordinate.h"

#include <math.h>

/* Four partial sums in a fixed order, so that the bits do not depend on the machine. */
static double dot(const double *a, const double *b, int64_t n) {
  double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    s0 += a[i] * b[i];
    s1 += a[i + 1] * b[i + 1];
    s2 += a[i + 2] * b[i + 2];
    s3 += a[i + 3] * b[i + 3];
  }
  for (; i < n; i++) s0 += a[i] * b[i];
  return (s0 + s2) + (s1 + s3);
}

static void add_scaled(double *y, double by, const double *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] += by * x[i];
}

/* argmin of 1/2 (v - z)^2 + by |v| */
static double shrunk(double z, double by) { return z > by ? z - by : z < -by ? z + by : 0.0; }

double hf_elastic_net_sweep(double *w, double *r, const double *columns, const double *norms, int64_t n, int64_t d,
                            double l1, double l2, int positive) {
  double largest = 0;
  for (int64_t j = 0; j < d; j++) {
    if (norms[j] == 0) continue;
    const double *column = columns + j * n, before = w[j];
    double after = shrunk(dot(column, r, n) + before * norms[j], l1) / (norms[j] + l2);
    if (positive && after < 0) after = 0;
    if (after == before) continue;
    w[j] = after;
    add_scaled(r, before - after, column, n);
    largest = fmax(largest, fabs(after - before));
  }
  return largest;
}

double hf_dual_sweep(double *beta, double *w, uint8_t *still, const double *x, const double *norms, const double *t,
                     const double *damp, const double *low, const double *high, const int64_t *order, int64_t rows,
                     int64_t d, double eps) {
  double largest = 0;
  for (int64_t k = 0; k < rows; k++) {
    const int64_t i = order[k];
    const double *row = x + i * d, before = beta[i], curvature = norms[i] + damp[i];
    still[i] = 1;
    if (curvature <= 0) continue; /* a row of zeros: nothing depends on it */
    const double slope = dot(w, row, d) - t[i] + damp[i] * before;
    const double after = fmin(fmax(shrunk(before - slope / curvature, eps / curvature), low[i]), high[i]);
    const double step = after - before;
    still[i] = step == 0 && (after == low[i] || after == high[i] || after == 0);
    if (step == 0) continue;
    beta[i] = after;
    add_scaled(w, step, row, d);
    largest = fmax(largest, step * step * curvature);
  }
  return largest;
}
