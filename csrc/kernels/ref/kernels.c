/* The reference kernels in one translation unit, built once for float and once for double (-DHF_F64).
 *
 * Design: one scalar formula per op, in the order of the definition, sums in double. It is the oracle of the tests (built
 * for double) and the fallback where an ISA has no fast kernel. HF_TABLE comes from the command line. <tgmath.h> picks the
 * float or the double function by the type of its argument.
 */
#include <float.h>
#include <stdbool.h>
#include <string.h>
#include <tgmath.h>

#include "kernels/cpu/types.h"
#include "runtime/args.h"
#include "runtime/program.h"
#include "runtime/random.h"

/* A NaN counts as larger than any number, as in NumPy's max and argmax; the first of equals wins. */
static inline bool ref_above(real a, real b) { return a > b || (a != a && b == b); }
static inline bool ref_below(real a, real b) { return a < b || (a != a && b == b); }

#include "../plain.c"
#include "ewise.c"
#include "matmul.c"
#include "matmul_bf16.c"
#include "matmul_symmetric.c"
#include "reduce.c"
#include "moments.c"
#include "softmax.c"
#include "copy.c"
#include "gather.c"
#include "data.c"
#include "check.c"
#include "optim.c"

extern const hf_kernel HF_TABLE[HF_N_OPS];
#define HF_OP(name, ref, fast) [HF_OP_##name] = ref,
const hf_kernel HF_TABLE[HF_N_OPS] = {
#include "ops.def"
};
