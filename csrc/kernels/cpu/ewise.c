/* Elementwise programs: every operation of the program over one block, block after block.
 *
 * Design
 * (a) A block of BLOCK elements goes through the whole program before the next one, so intermediates stay in L1 and a
 *     chain of any length reads its inputs and writes its outputs once. Rejected: one pass over the tensor per operation
 *     (memory-bound), and generated C (a compiler on the user's machine).
 * (b) Each instruction is one `omp simd` loop over its expression in ewise.def, so adding one is one line.
 * (c) Broadcast operands are laid out once per call as a block-shaped tile where the block spans whole rows.
 * (d) Where the operands together are larger than a last-level cache (STREAM_BYTES), outputs go past the caches: that saves
 *     reading each line before it is overwritten, and keeps the inputs in the cache for the next record.
 * (e) An output of which only row sums are wanted is summed where its block lies in L1, in the order of reduce_run, and is
 *     stored nowhere. Rejected: a record that reads it again, two passes over memory more.
 *
 * Formula: out[j][r, c] = program(in[i][r * in_row[i] + c * in_stride[i]]).  Shapes: runtime/program.h.
 * An output may be the same buffer as an input of the same layout. Outputs are written (=), never read.
 */
#ifdef __SSE2__
#include <immintrin.h>
#endif

#define E_ABS hf_abs
#define E_SQRT hf_sqrt
#define E_EXP hf_exp
#define E_EXPM1 hf_expm1
#define E_LOG hf_log
#define E_LOG1P hf_log1p
#define E_TANH hf_tanh
#define E_SIGMOID hf_sigmoid
#define E_ERF hf_erf
#define E_SINPI hf_sinpi
#define E_COSPI hf_cospi
#define E_SOFTPLUS hf_softplus
#define E_GELU hf_gelu
#define E_GELU_SLOPE hf_gelu_slope
#define E_FMA hf_fma
#define E_POW hf_pow

enum { BLOCK = 2048 / sizeof(real), STREAM_BYTES = 24 << 20, FAR_BYTES = 1 << 20 };

/* Asks for the lines of x(n). It may lie behind the end of an array: nothing is read. */
HF_INLINE void prefetch_run(const real *x, int64_t n) {
  for (int64_t i = 0; i < n; i += LANES) __builtin_prefetch(x + i);
}

#if defined(HF_ISA_avx512)
#define STREAM_VECTOR(to, from) _mm512_stream_si512((__m512i *)(to), _mm512_loadu_si512(from))
enum { STREAMED = 64 };
#elif defined(HF_ISA_avx2)
#define STREAM_VECTOR(to, from) _mm256_stream_si256((__m256i *)(to), _mm256_loadu_si256((const __m256i *)(from)))
enum { STREAMED = 32 };
#elif defined(__SSE2__)
#define STREAM_VECTOR(to, from) _mm_stream_si128((__m128i *)(to), _mm_loadu_si128((const __m128i *)(from)))
enum { STREAMED = 16 };
#endif

/* to(n) = from(n) past the caches, where the machine has such a store. */
static void stream_copy(real *to, const real *from, int64_t n) {
  int64_t i = 0;
#ifdef STREAM_VECTOR
  enum { N = STREAMED / sizeof(real) };
  for (; i < n && (uintptr_t)(to + i) % STREAMED; i++) to[i] = from[i];
  for (; i + N <= n; i += N) STREAM_VECTOR(to + i, from + i);
#endif
  for (; i < n; i++) to[i] = from[i];
}

typedef struct block_regs {
  real *reg[HF_N_REGS];
  real input[HF_MAX_IN][BLOCK] __attribute__((aligned(64)));
  real output[HF_MAX_OUT][BLOCK] __attribute__((aligned(64)));
  real temp[HF_MAX_TEMP][BLOCK] __attribute__((aligned(64)));
} block_regs;

/* Other threads see what was streamed. */
static inline void stream_end(void) {
#ifdef __SSE2__
  _mm_sfence();
#endif
}

/* The whole program over n elements; e0 is the tensor position of the first. */
static void run_block(const hf_ewise_args *e, const hf_ctx *ctx, block_regs *r, int64_t n, int64_t e0) {
  for (int64_t q = 0; q < e->n_code; q++) {
    const int64_t code = e->code[q];
    const real imm = (real)e->imm[q];
    real *d = r->reg[hf_code_dst(code)];
    const real *pa = r->reg[hf_code_a(code)], *pb = r->reg[hf_code_b(code)], *pc = r->reg[hf_code_c(code)];
    (void)imm, (void)pb, (void)pc;
    switch (hf_code_op(code)) {
#define LOOP(label, decls, expr)                              \
  case label:                                                 \
    _Pragma("omp simd") for (int64_t i = 0; i < n; i++) {     \
      decls;                                                  \
      d[i] = expr;                                            \
    }                                                         \
    break;
#define A const real a = pa[i]
#define B const real b = pb[i]
#define B_IMM const real b = imm
#define C const real c = pc[i]
#define C_IMM const real c = imm
#define HF_UNARY(name, expr) LOOP(HF_I_##name, A; (void)a, expr)
#define HF_BINARY(name, expr) LOOP(HF_I_##name, A; B, expr)
#define HF_BINARY_OR_IMM(name, expr) LOOP(HF_I_##name, A; B, expr) LOOP(HF_I_##name##_imm, A; B_IMM, expr)
#define HF_TERNARY(name, expr)       \
  LOOP(HF_I_##name, A; B; C, expr)   \
  LOOP(HF_I_##name##_b, A; B_IMM; C, expr) \
  LOOP(HF_I_##name##_c, A; B; C_IMM, expr)
#define HF_RANDOM(name) \
  case HF_I_##name: block_##name(d, pa, n, e->imm[q], hf_code_stream(code), e0, ctx); break;
#include "ewise.def"
#undef A
#undef B
#undef B_IMM
#undef C
#undef C_IMM
#undef LOOP
    default: break;
    }
  }
}

/* A plane of the domain: rows x cols, input i at in[i] + row * rs[i] + col * cs[i], outputs at out[j] + row * out_row, or
 * out[j] + row where sum[j]. */
typedef struct plane {
  const real *in[HF_MAX_IN];
  real *out[HF_MAX_OUT];
  int64_t rs[HF_MAX_IN], cs[HF_MAX_IN], out_row, rows, cols, e0;
  int stream, far;
  const int64_t *sum;
} plane;

/* Sums of an output's rows, whose blocks come one after the other. */
typedef struct row_sums {
  real total[LANES], part[LANES];
} row_sums;

/* A block of nr whole rows of nc, or of columns [col, col + nc) of one row of n. The bits are those of reduce_run. */
static void sum_rows(row_sums *s, real *out, const real *x, int64_t nr, int64_t col, int64_t nc, int64_t n, int mean) {
  if (col == 0 && nc == n) {
    for (int64_t y = 0; y < nr; y++) out[y] = reduce_run(HF_SUM, x + y * nc, nc, 0) / (mean ? (real)n : 1);
    return;
  }
  if (col == 0) FOR_LANES s->total[l] = 0;
  if (col % (CHUNK * LANES) == 0) FOR_LANES s->part[l] = 0;
  reduce_lanes(HF_SUM, s->part, x, nc, 0);
  if ((col + nc) % (CHUNK * LANES) && col + nc < n) return;
  FOR_LANES s->total[l] += s->part[l];
  if (col + nc == n) out[0] = reduce_tree(HF_SUM, s->total) / (mean ? (real)n : 1);
}

/* reg = the block (nr rows from row, nc columns from col) of input i; no copy where it is contiguous already. */
static void load_input(const plane *p, block_regs *r, int i, int64_t row, int64_t nr, int64_t col, int64_t nc) {
  const int64_t rs = p->rs[i], cs = p->cs[i];
  const real *src = p->in[i] + row * rs + col * cs;
  if (cs == 1 && (nr == 1 || rs == nc)) {
    r->reg[i] = (real *)src;
    if (p->far && rs != 0) prefetch_run(src + nr * nc, nr * nc);
    return;
  }
  real *dst = r->input[i];
  r->reg[i] = dst;
  for (int64_t y = 0; y < nr; y++, src += rs, dst += nc) {
    if (cs == 1)
      for (int64_t x = 0; x < nc; x++) dst[x] = src[x];
    else if (cs == 0)
      for (int64_t x = 0; x < nc; x++) dst[x] = src[0];
    else
      for (int64_t x = 0; x < nc; x++) dst[x] = src[x * cs];
  }
}

static void run_plane(const hf_ewise_args *e, const hf_ctx *ctx, block_regs *r, const plane *p) {
  const int whole_rows = p->out_row == p->cols && p->cols <= BLOCK / 2;
  const int64_t nr_max = whole_rows ? BLOCK / p->cols : 1, nc_max = whole_rows ? p->cols : BLOCK;
  int loaded[HF_MAX_IN] = {0}; /* this input's block is the same for every block of this size */
  row_sums sums[HF_MAX_OUT];
  for (int64_t row = 0; row < p->rows; row += nr_max) {
    const int64_t nr = p->rows - row < nr_max ? p->rows - row : nr_max;
    for (int64_t col = 0; col < p->cols; col += nc_max) {
      const int64_t nc = p->cols - col < nc_max ? p->cols - col : nc_max;
      for (int i = 0; i < e->n_in; i++) {
        if (loaded[i]) continue;
        load_input(p, r, i, row, nr, col, nc);
        loaded[i] = p->rs[i] == 0 && (p->cs[i] == 0 || whole_rows) && r->reg[i] == r->input[i];
      }
      const int64_t at = row * p->out_row + col;
      for (int j = 0; j < e->n_out; j++)
        r->reg[HF_REG_OUT + j] = p->stream || p->sum[j] ? r->output[j] : p->out[j] + at;
      run_block(e, ctx, r, nr * nc, p->e0 + at);
      for (int j = 0; j < e->n_out; j++) {
        if (p->sum[j])
          sum_rows(&sums[j], p->out[j] + row, r->output[j], nr, col, nc, p->cols, p->sum[j] == HF_ROW_MEAN);
        else if (p->stream)
          stream_copy(p->out[j] + at, r->output[j], nr * nc);
      }
    }
  }
}

/* Rows [r0, r1) of the domain, columns [c0, c1) of its last dimension (all of them but in a matmul's epilogue). */
static void ewise_region(const hf_ewise_args *e, const hf_ctx *ctx, int64_t r0, int64_t r1, int64_t c0, int64_t c1,
                         int stream, int far) {
  block_regs r;
  plane p;
  const int64_t d0 = e->dim[0], d1 = e->dim[1], d2 = e->dim[2], inner = d0 * d1 * d2;
  int flat = c0 == 0 && c1 == d2;
  for (int j = 0; j < e->n_out; j++) {
    flat &= !e->row_sum[j];
    for (int64_t row = r0; e->row_sum[j] && inner == 0 && row < r1; row++)
      ((real *)e->out[j])[row] = e->row_sum[j] == HF_ROW_MEAN ? (real)NAN : 0;
  }
  if (r1 <= r0 || c1 <= c0 || inner == 0) return;
  for (int t = 0; t < HF_MAX_TEMP; t++) r.reg[HF_REG_TEMP + t] = r.temp[t];
  for (int t = 0; t < HF_REG_TEMP; t++) r.reg[t] = 0;
  p.sum = e->row_sum;
  p.stream = stream;
  p.far = far;
  for (int i = 0; i < e->n_in && flat; i++) {
    const int64_t *s = e->in_stride + 3 * i;
    const int scalar = e->in_row[i] == 0 && (d0 == 1 || s[0] == 0) && (d1 == 1 || s[1] == 0) && (d2 == 1 || s[2] == 0);
    const int contiguous =
        e->in_row[i] == inner && (d0 == 1 || s[0] == d1 * d2) && (d1 == 1 || s[1] == d2) && (d2 == 1 || s[2] == 1);
    flat = scalar || contiguous;
    p.rs[i] = 0;
    p.cs[i] = scalar ? 0 : 1;
    p.in[i] = (const real *)e->in[i] + r0 * e->in_row[i];
  }
  if (flat) {
    p.rows = 1;
    p.cols = p.out_row = (r1 - r0) * inner;
    p.e0 = r0 * inner;
    for (int j = 0; j < e->n_out; j++) p.out[j] = (real *)e->out[j] + p.e0;
    run_plane(e, ctx, &r, &p);
    return;
  }
  const int rows_are_planes = d0 == 1 && d1 == 1;
  p.rows = rows_are_planes ? r1 - r0 : d1;
  p.cols = c1 - c0;
  p.out_row = d2;
  for (int64_t row = r0; row < (rows_are_planes ? r0 + 1 : r1); row++)
    for (int64_t i0 = 0; i0 < d0; i0++) {
      p.e0 = row * inner + i0 * d1 * d2 + c0;
      for (int i = 0; i < e->n_in; i++) {
        const int64_t *s = e->in_stride + 3 * i;
        p.in[i] = (const real *)e->in[i] + row * e->in_row[i] + i0 * s[0] + c0 * s[2];
        p.rs[i] = rows_are_planes ? e->in_row[i] : s[1];
        p.cs[i] = s[2];
      }
      for (int j = 0; j < e->n_out; j++) p.out[j] = (real *)e->out[j] + (e->row_sum[j] ? row : p.e0);
      run_plane(e, ctx, &r, &p);
    }
}

/* The epilogue of a matmul: its tile is in the cache. */
static void cpu_ewise_region(const hf_ewise_args *e, const hf_ctx *ctx, int64_t r0, int64_t r1, int64_t c0,
                             int64_t c1) {
  ewise_region(e, ctx, r0, r1, c0, c1, 0, 0);
}

/* Contract: ref_ewise. */
static void cpu_ewise(const void *args, const hf_ctx *ctx, int64_t lo, int64_t hi) {
  const hf_ewise_args *e = args;
  const int64_t inner = e->dim[0] * e->dim[1] * e->dim[2];
  int64_t tensors = 0;
  for (int j = 0; j < e->n_out; j++) tensors += !e->row_sum[j];
  for (int i = 0; i < e->n_in; i++) tensors += e->in_row[i] == inner;
  const int64_t bytes = e->rows * inner * tensors * (int64_t)sizeof(real);
  const int stream = bytes >= STREAM_BYTES;
  ewise_region(e, ctx, lo, hi, 0, e->dim[2], stream, bytes >= FAR_BYTES);
  if (stream) stream_end();
}
