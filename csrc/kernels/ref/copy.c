/* y[i . y_stride] = x[i . x_stride] for i in dim[0] x ... x dim[5], items of itemsize 4 or 8 bytes, strides in items.
 * x strides may be 0 (broadcast) or negative. Units: dim[0]. Writes with =. y aliases nothing, may be
 * uninitialised. */
static void ref_copy(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  (void)ctx;
  const hf_copy_args *p = args;
  const int64_t *dim = p->dim, *ys = p->y_stride, *xs = p->x_stride, size = p->itemsize;
  int64_t inner = 1;
  for (int d = 1; d < 6; d++) inner *= dim[d];
  for (int64_t e = lo * inner; e < hi * inner; e++) {
    int64_t rest = e, to = 0, from = 0;
    for (int d = 5; d >= 0; d--) {
      const int64_t i = d ? rest % dim[d] : rest;
      to += i * ys[d];
      from += i * xs[d];
      rest /= dim[d];
    }
    memcpy((char *)p->y + to * size, (const char *)p->x + from * size, (size_t)size);
  }
}
