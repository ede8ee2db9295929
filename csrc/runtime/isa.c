/* Which kernels this CPU can run, and the table of each.
 *
 * Built with no ISA flags: nothing here may execute an instruction that the oldest CPU lacks. Every table starts as the
 * reference kernels; the fast ones override it entry by entry, so no entry is ever empty.
 */
#include <string.h>

#include "args.h"
#include "isa.h"

#if defined(HF_HAVE_NEON)
#define HF_ISAS(X) X(ref) X(neon)
#elif defined(HF_HAVE_X86)
#define HF_ISAS(X) X(ref) X(baseline) X(avx2) X(avx512)
#else
#define HF_ISAS(X) X(ref)
#endif

#define DECLARE(isa) extern const hf_kernel hf_kernels_##isa##_f32[HF_N_OPS], hf_kernels_##isa##_f64[HF_N_OPS];
HF_ISAS(DECLARE)

typedef struct isa_tables {
  const char *name;
  const hf_kernel *table[2];
} isa_tables;

#define ENTRY(isa) {#isa, {hf_kernels_##isa##_f32, hf_kernels_##isa##_f64}},
static const isa_tables compiled[] = {HF_ISAS(ENTRY)};

/* __builtin_cpu_supports also asks the operating system whether it saves the wide registers. */
static int cpu_runs(const char *isa) {
#if defined(HF_HAVE_X86)
  __builtin_cpu_init();
  if (!strcmp(isa, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (!strcmp(isa, "avx512"))
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
  if (!strcmp(isa, "avx512_bf16")) return __builtin_cpu_supports("avx512bf16"); /* for one kernel of avx512 */
#endif
  (void)isa;
  return 1;
}

static const isa_tables *runnable(int i) {
  for (size_t c = 0; c < sizeof compiled / sizeof compiled[0]; c++)
    if (cpu_runs(compiled[c].name) && i-- == 0) return &compiled[c];
  return 0;
}

int hf_isa_count(void) {
  int n = 0;
  while (runnable(n)) n++;
  return n;
}

const char *hf_version(void) { return HF_VERSION; }

const char *hf_isa_name(int i) {
  const isa_tables *t = runnable(i);
  return t ? t->name : 0;
}

hf_kernel hf_kernel_for(int isa, hf_dtype dtype, int op) {
  const isa_tables *t = runnable(isa);
  if (!t || op < 0 || op >= HF_N_OPS) return 0;
  hf_kernel fast = t->table[dtype][op];
  if (op == HF_OP_matmul_bf16 && !cpu_runs("avx512_bf16")) fast = 0;
  return fast ? fast : compiled[0].table[dtype][op];
}
