/* Linked instead of the CUDA backend when that is not built. */
#include "isa.h"

int hf_cuda_available(void) { return 0; }
