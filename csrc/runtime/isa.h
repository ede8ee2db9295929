/* Kernel tables, and which of them this CPU can run. */
#ifndef HF_ISA_H
#define HF_ISA_H

#include "plan.h"

typedef enum hf_dtype { HF_FLOAT32 = 0, HF_FLOAT64 = 1 } hf_dtype;

/* isa: a number in [0, hf_isa_count()): "ref", "baseline", "avx2", "avx512", "neon". */
int hf_isa_count(void);
const char *hf_isa_name(int i);      /* every ISA that this build and this CPU can run, best last */
hf_kernel hf_kernel_for(int isa, hf_dtype dtype, int op);

int hf_cuda_available(void);

#endif
