#include "fields.h"

#include "program.h"

#define HF_OP(name, ref, fast) #name,
const char *const hf_op_names[HF_N_OPS] = {
#include "ops.def"
};

#define HF_OP(name, ref, fast) sizeof(hf_##name##_args),
const int64_t hf_args_size[HF_N_OPS] = {
#include "ops.def"
};

#define FIELD(field, kind, count) out[n++] = (hf_field){#field, op, kind, offsetof(self, field), count};
#define HF_OP(name, ref, fast)                 \
  static int describe_##name(hf_field *out) {  \
    typedef hf_##name##_args self;             \
    const int op = HF_OP_##name;               \
    int n = 0;
#define HF_PTR(field) FIELD(field, HF_KIND_PTR, 1)
#define HF_PTRS(field, count) FIELD(field, HF_KIND_PTR, count)
#define HF_DIM(field) FIELD(field, HF_KIND_DIM, 1)
#define HF_DIMS(field, count) FIELD(field, HF_KIND_DIM, count)
#define HF_INT(field) FIELD(field, HF_KIND_INT, 1)
#define HF_INTS(field, count) FIELD(field, HF_KIND_INT, count)
#define HF_REAL(field) FIELD(field, HF_KIND_REAL, 1)
#define HF_REALS(field, count) FIELD(field, HF_KIND_REAL, count)
#define HF_EWISE(field) FIELD(field, HF_KIND_ARGS, HF_OP_ewise)
#define HF_MATMUL(field) FIELD(field, HF_KIND_ARGS, HF_OP_matmul)
#define HF_END(name) \
  return n;          \
  }
#include "ops.def"

int hf_describe_fields(hf_field *out) {
  int n = 0;
#define HF_OP(name, ref, fast) n += describe_##name(out + n);
#include "ops.def"
  return n;
}

const hf_constant hf_constants[] = {
#define HF_CONSTANT(name, value) {#name, name},
#include "constants.def"
};
const int hf_n_constants = sizeof hf_constants / sizeof hf_constants[0];

const char *const hf_reduce_names[] = {
#define HF_REDUCE(name, text) #text,
#include "constants.def"
};
const int hf_n_reduce = sizeof hf_reduce_names / sizeof hf_reduce_names[0];

const char *const hf_instr_names[] = {
#define HF_UNARY(name, expr) #name,
#define HF_BINARY(name, expr) #name,
#define HF_BINARY_OR_IMM(name, expr) #name, #name "_imm",
#define HF_TERNARY(name, expr) #name, #name "_b", #name "_c",
#define HF_RANDOM(name) #name,
#include "ewise.def"
};
const int hf_n_instr = HF_N_INSTR;

const char hf_rules[] =
#define HF_COMMON(name) "common " #name "\n"
#define HF_RULE(name) "rule " #name "\n"
#define HF_HYPER(name) "hyper " #name "\n"
#define HF_SLOT(name) "slot " #name "\n"
#include "optim.def"
    ;
