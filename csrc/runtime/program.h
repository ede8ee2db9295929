/* Elementwise programs: how hf_ewise_args.code is laid out. Shared by ref/ewise.c, cpu/ewise.c and the lowering.
 *
 * One instruction is one int64: opcode | dst << 8 | a << 16 | b << 24 | c << 32 | stream << 40, with its immediate in
 * imm[same position]. Registers hold one block of elements: inputs in[i] from HF_REG_IN on, outputs out[j] from HF_REG_OUT
 * on, temporaries from HF_REG_TEMP on (constants.def).
 * stream tells the random instructions of a plan apart: numbers in [0, 2^23).
 *
 * Random instructions (seed and step are those of the run, position is the element's number in the program's domain):
 *   dropout           a, imm = p: a / (1 - p), or 0 with probability p
 *   random_uniform    no operand: in [0, 1)
 *   random_normal     no operand: mean 0, standard deviation 1
 *   random_bernoulli  no operand, imm = p: 1 with probability p, else 0
 * An output may share memory with an input of the same layout if it is written no earlier than that input's last read.
 */
#ifndef HF_PROGRAM_H
#define HF_PROGRAM_H

#include "args.h"

enum hf_instr {
#define HF_UNARY(name, expr) HF_I_##name,
#define HF_BINARY(name, expr) HF_I_##name,
#define HF_BINARY_OR_IMM(name, expr) HF_I_##name, HF_I_##name##_imm,
#define HF_TERNARY(name, expr) HF_I_##name, HF_I_##name##_b, HF_I_##name##_c,
#define HF_RANDOM(name) HF_I_##name,
#include "ewise.def"
  HF_N_INSTR
};

static inline int hf_code_op(int64_t code) { return (int)(code & 255); }
static inline int hf_code_dst(int64_t code) { return (int)(code >> 8 & 255); }
static inline int hf_code_a(int64_t code) { return (int)(code >> 16 & 255); }
static inline int hf_code_b(int64_t code) { return (int)(code >> 24 & 255); }
static inline int hf_code_c(int64_t code) { return (int)(code >> 32 & 255); }
static inline uint32_t hf_code_stream(int64_t code) { return (uint32_t)(code >> 40 & 0x7fffff); }

#endif
