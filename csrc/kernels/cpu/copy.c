/* Strided copies. The innermost dimension is one memcpy where both are contiguous. */

/* Contract: ref_copy. */
static void cpu_copy(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_copy_args *p = args;
  const int64_t *ys = p->y_stride, *xs = p->x_stride, *dim = p->dim;
  const int64_t n = dim[5], size = p->itemsize;
  for (int64_t i0 = lo; i0 < hi; i0++)
    for (int64_t i1 = 0; i1 < dim[1]; i1++)
      for (int64_t i2 = 0; i2 < dim[2]; i2++)
        for (int64_t i3 = 0; i3 < dim[3]; i3++)
          for (int64_t i4 = 0; i4 < dim[4]; i4++) {
            const int64_t to = i0 * ys[0] + i1 * ys[1] + i2 * ys[2] + i3 * ys[3] + i4 * ys[4];
            const int64_t from = i0 * xs[0] + i1 * xs[1] + i2 * xs[2] + i3 * xs[3] + i4 * xs[4];
            char *y = (char *)p->y + to * size;
            const char *x = (const char *)p->x + from * size;
            if (ys[5] == 1 && xs[5] == 1) {
              memcpy(y, x, (size_t)(n * size));
            } else if (size == 4) {
              for (int64_t i = 0; i < n; i++) memcpy(y + 4 * i * ys[5], x + 4 * i * xs[5], 4);
            } else {
              for (int64_t i = 0; i < n; i++) memcpy(y + 8 * i * ys[5], x + 8 * i * xs[5], 8);
            }
          }
}
