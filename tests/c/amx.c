/* The AMX kernel of cpu/matmul_bf16.c against the double reference kernel, its tile instructions replaced by C after Intel's
 * manual (no machine here has them): shows indices, edges and blocks right, not the encoding nor the permission. */
#include <assert.h>
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
  float word[16][16];
} tmm[8];

static void load(int t, const void *from, int64_t stride) {
  for (int i = 0; i < 16; i++) memcpy(tmm[t].word[i], (const char *)from + i * stride, 64);
}
static void store(int t, void *to, int64_t stride) {
  for (int i = 0; i < 16; i++) memcpy((char *)to + i * stride, tmm[t].word[i], 64);
}
static float half(float word, int odd) {
  uint32_t u;
  memcpy(&u, &word, sizeof u);
  u = odd ? u & 0xffff0000 : u << 16;
  memcpy(&word, &u, sizeof u);
  return word;
}
/* TDPBF16PS: chains of even and of odd halves from 0, then their sum is added to the destination. */
static void multiply(int c, int a, int b) {
  for (int m = 0; m < 16; m++)
    for (int n = 0; n < 16; n++) {
      float chain[2] = {0, 0};
      for (int k = 0; k < 16; k++)
        for (int odd = 0; odd < 2; odd++)
          chain[odd] = fmaf(half(tmm[a].word[m][k], odd), half(tmm[b].word[k][n], odd), chain[odd]);
      tmm[c].word[m][n] += chain[0] + chain[1];
    }
}

#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadd(t, from, stride) load(t, from, stride)
#define _tile_stored(t, to, stride) store(t, to, stride)
#define _tile_dpbf16ps(c, a, b) multiply(c, a, b)
#define _tile_loadconfig(config) assert((config)->palette == 1 && (config)->rows[7] == 16 && (config)->row_bytes[7] == 64)
#define _tile_release()
#define AMX_CODE
#define hf_kernels_amx_matmul_bf16 emulated /* the real one is linked too */
#undef HF_TABLE
#define HF_TABLE unused_table
#include "kernels.c"

enum { SCRATCH = 1 << 20 };

static void check(int64_t m, int64_t n, int64_t k, int x_turned, int w_turned, int by_cols, int with_bias) {
  float *x = malloc((size_t)(m * k + 1) * 4), *w = malloc((size_t)(k * n + 1) * 4), *bias = malloc((size_t)n * 4);
  float *y = malloc((size_t)(m * n) * 4);
  double *buffers = malloc((size_t)(m * k + k * n + n + m * n) * 8), *wide = buffers;
  char *scratch = malloc(SCRATCH);
  memset(scratch, 0xff, SCRATCH); /* NaN */
  memset(y, 0xff, (size_t)(m * n) * 4);
  hf_matmul_bf16_args a = {.m = m, .n = n, .k = k, .by_cols = by_cols};
  hf_matmul_bf16_args d;
  a.x_row = x_turned ? 1 : k;
  a.x_col = x_turned ? m : 1;
  a.w_row = w_turned ? 1 : n;
  a.w_col = w_turned ? k : 1;
  d = a;
  const struct {
    float *narrow;
    int64_t count;
    void **a, **d;
  } in[] = {{x, m * k, &a.x, &d.x}, {w, k * n, &a.w, &d.w}, {bias, n, &a.bias, &d.bias}};
  for (int i = 0; i < 2 + with_bias; i++) {
    *in[i].a = in[i].narrow;
    *in[i].d = wide;
    for (int64_t e = 0; e < in[i].count; e++) *wide++ = in[i].narrow[e] = (float)(rand() % 20001 - 10000) / 10000;
  }
  a.y = y;
  d.y = wide;
  const hf_ctx ctx = {.scratch = scratch, .scratch_bytes = SCRATCH};
  const int64_t units = by_cols ? (n + HF_COL_BLOCK - 1) / HF_COL_BLOCK : m;
  hf_kernel_for(0, HF_FLOAT64, HF_OP_matmul_bf16)(&d, &ctx, 0, units);
  emulated(&a, &ctx, units / 2, units);
  emulated(&a, &ctx, 0, units / 2);
  for (int64_t i = 0; i < m * n; i++)
    if (!(fabs(y[i] - wide[i]) <= 2 * 0x1p-23 * (1 + (double)k / 2))) {
      printf("%ld x %ld x %ld: element %ld is %g, not %g\n", (long)m, (long)n, (long)k, (long)i, y[i], wide[i]);
      exit(1);
    }
  free(x), free(w), free(bias), free(y), free(buffers), free(scratch);
}

int main(void) {
  static const int64_t size[] = {1, 15, 16, 17, 31, 32, 33, 64, 65, 100};
  if (!__builtin_cpu_supports("avx512bf16")) {
    printf("skipped: packing needs AVX512-BF16\n");
    return 0;
  }
  for (int round = 0; round < 400; round++)
    check(size[rand() % 10], size[rand() % 10], rand() % 2 ? 1 + rand() % 70 : 200 + rand() % 400, rand() % 2,
          rand() % 2, rand() % 2, rand() % 2);
  check(1030, 70, 40, 0, 0, 1, 1);
  check(40, 600, 300, 1, 1, 0, 1);
  printf("ok\n");
  return 0;
}
