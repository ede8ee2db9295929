/* The fast kernels in one translation unit, built once per ISA and dtype; HF_TABLE and HF_ISA_* come from the command
 * line. An op without a fast kernel has 0 in the table and runs its reference kernel. The order of the includes is the
 * order in which the files use each other.
 */
#include <math.h>
#include <string.h>

#include "types.h"
#include "vmath.h"

#include "program.h"

#include "../plain.c"
#include "reduce.c"
#include "ewise_random.c"
#include "ewise.c"
#include "matmul_pack.c"
#include "matmul_dot.c"
#include "matmul.c"
#include "matmul_bf16.c"
#include "matmul_symmetric.c"
#include "moments.c"
#include "softmax.c"
#include "copy.c"
#include "gather.c"
#include "data.c"
#include "check.c"
#include "optim.c"

#define HF_NO_FAST 0
extern const hf_kernel HF_TABLE[HF_N_OPS];
#define HF_OP(name, ref, fast) [HF_OP_##name] = fast,
const hf_kernel HF_TABLE[HF_N_OPS] = {
#include "ops.def"
};
