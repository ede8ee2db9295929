/* Field descriptors: what the lowering needs to fill an argument struct by name. */
#ifndef HF_FIELDS_H
#define HF_FIELDS_H

#include "args.h"

typedef enum hf_field_kind { HF_KIND_PTR, HF_KIND_DIM, HF_KIND_INT, HF_KIND_REAL, HF_KIND_ARGS } hf_field_kind;

/* count: of HF_KIND_ARGS the number of the op whose arguments these are */
typedef struct hf_field {
  const char *name;
  int64_t op, kind, offset, count;
} hf_field;

enum { HF_MAX_FIELDS = 512 };

/* Writes every field of every op to out(HF_MAX_FIELDS), gives their number. */
int hf_describe_fields(hf_field *out);

extern const char *const hf_op_names[HF_N_OPS];
extern const int64_t hf_args_size[HF_N_OPS];

/* The constants of constants.def, and the kinds of reduction in order. */
typedef struct hf_constant {
  const char *name;
  int64_t value;
} hf_constant;
extern const hf_constant hf_constants[];
extern const int hf_n_constants;
extern const char *const hf_reduce_names[];
extern const int hf_n_reduce;

/* Instruction names of elementwise programs, in opcode order. */
extern const char *const hf_instr_names[];
extern const int hf_n_instr;

/* optim.def as text: lines "common since", "rule adam", and behind a rule "hyper lr", "slot m". */
extern const char hf_rules[];

#endif
