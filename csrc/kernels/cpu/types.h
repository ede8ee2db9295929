/* The type that a kernel file is built for: float, or double with -DHF_F64. */
#ifndef HF_TYPES_H
#define HF_TYPES_H

#include <stdint.h>

#ifdef HF_F64
typedef double real;
#else
typedef float real;
#endif

/* A call would keep its loop from being vectorised. */
#define HF_INLINE static inline __attribute__((always_inline))

/* Sums of contiguous runs go to a fixed number of lanes (64 bytes' worth), lane i taking elements i, i + LANES, ..., and
 * end in a fixed tree: the same order on every ISA. */
enum { LANES = 64 / sizeof(real) };

#endif
