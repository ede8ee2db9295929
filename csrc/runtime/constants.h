/* The constants of constants.def. */
#ifndef HF_CONSTANTS_H
#define HF_CONSTANTS_H

enum hf_constants {
#define HF_CONSTANT(name, value) name = value,
#include "constants.def"
};

typedef enum hf_reduce_kind {
#define HF_REDUCE(name, text) name,
#include "constants.def"
} hf_reduce_kind;

#endif
