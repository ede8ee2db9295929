/* Checks of user data. */
#include "checks.h"

#include <math.h>
#include <string.h>

/* Calls of visit go over the innermost dimension of rows [first, first + n); stops where visit gives >= 0. */
typedef int64_t (*visit_fn)(const hf_array *a, const char *p, int64_t count, int64_t stride, const void *context);

static int64_t visit_rows(const hf_array *a, int64_t first, int64_t n, visit_fn visit, const void *context) {
  static const int64_t one = 1, zero = 0;
  const int64_t last = a->ndim ? a->shape[a->ndim - 1] : one, stride = a->ndim ? a->stride[a->ndim - 1] : zero;
  int64_t runs = 1;
  for (int64_t d = 0; d + 1 < a->ndim; d++) runs *= a->shape[d];
  for (int64_t row = first; row < first + n; row++)
    for (int64_t run = 0; run < runs; run++) {
      const char *p = a->data + row * a->row_stride;
      int64_t rest = run;
      for (int64_t d = a->ndim - 2; d >= 0; d--) {
        p += rest % a->shape[d] * a->stride[d];
        rest /= a->shape[d];
      }
      const int64_t hit = visit(a, p, last, stride, context);
      if (hit >= 0) return (row * runs + run) * last + hit;
    }
  return -1;
}

/* An exponent of all ones is what NaN and infinity share: an integer test that no float flag can defeat. */
static int64_t nonfinite_run(const hf_array *a, const char *p, int64_t count, int64_t stride, const void *context) {
  (void)context;
  const int wide = a->dtype == HF_SRC_F64;
  for (int64_t i = 0; i < count; i += 1024) {
    const int64_t n = count - i < 1024 ? count - i : 1024;
    uint64_t bad = 0;
#define SCAN(type, exponent, step)                    \
  for (int64_t j = 0; j < n; j++) {                   \
    type bits;                                        \
    memcpy(&bits, p + (i + j) * (step), sizeof bits); \
    bad |= (uint64_t)((bits & exponent) == exponent); \
  }
    /* a step known when compiling: these loops vectorise */
    if (wide && stride == 8)
      SCAN(uint64_t, 0x7ff0000000000000u, 8)
    else if (wide)
      SCAN(uint64_t, 0x7ff0000000000000u, stride)
    else if (stride == 4)
      SCAN(uint32_t, 0x7f800000u, 4)
    else
      SCAN(uint32_t, 0x7f800000u, stride)
#undef SCAN
    if (!bad) continue;
    for (int64_t j = 0; j < n; j++) {
      double v;
      float f;
      if (wide)
        memcpy(&v, p + (i + j) * stride, 8);
      else {
        memcpy(&f, p + (i + j) * stride, 4);
        v = f;
      }
      if (!isfinite(v)) return i + j;
    }
  }
  return -1;
}

int64_t hf_first_nonfinite(const hf_array *a, int64_t first_row, int64_t n_rows) {
  if (a->dtype != HF_SRC_F32 && a->dtype != HF_SRC_F64) return -1;
  int64_t items = 1, bytes = a->dtype == HF_SRC_F64 ? 8 : 4;
  int contiguous = 1;
  for (int64_t d = a->ndim - 1; d >= 0; d--) {
    contiguous = contiguous && a->stride[d] == items * bytes;
    items *= a->shape[d];
  }
  if (a->ndim == 0 || (contiguous && a->row_stride == items * bytes)) { /* one run over all rows */
    const int64_t stride = a->ndim == 0 ? a->row_stride : bytes;
    const int64_t hit = nonfinite_run(a, a->data + first_row * a->row_stride, n_rows * items, stride, 0);
    return hit < 0 ? hit : first_row * items + hit;
  }
  return visit_rows(a, first_row, n_rows, nonfinite_run, 0);
}
