/* hawfinch: what a C program needs to know of the engine. No Python in it.
 *
 * Arrays go in as struct hf_array, wherever they lie; calls answer with an hf_status. The engine's own structs (plans,
 * records) are in runtime/plan.h and may change with every version.
 */
#ifndef HAWFINCH_H
#define HAWFINCH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Element types of a user's array, in the order of hf_array.dtype. */
typedef enum hf_source_dtype {
  HF_SRC_F32,
  HF_SRC_F64,
  HF_SRC_I8,
  HF_SRC_I16,
  HF_SRC_I32,
  HF_SRC_I64,
  HF_SRC_U8,
  HF_SRC_U16,
  HF_SRC_U32,
  HF_SRC_U64,
  HF_SRC_BOOL
} hf_source_dtype;

/* A user's array (rows, shape[0], shape[1], ...): strides in bytes, never written. */
typedef struct hf_array {
  const char *data;
  int64_t rows, row_stride;
  int64_t dtype, ndim;       /* ndim inner dimensions, at most 6; 0 for a vector of rows */
  int64_t shape[6], stride[6];
} hf_array;

typedef enum hf_status {
  HF_OK = 0,
  HF_PAUSED = 1,      /* the time is over: call again to go on */
  HF_NONFINITE = 2,   /* loss or gradient not finite: parameters are those before that step */
  HF_BAD_INDEX = 3,   /* a gather index or label outside its range */
  HF_YIELDED = 4      /* at a yield record: the caller may read and write buffers, and call again to go on */
} hf_status;

/* "major.minor.patch" */
const char *hf_version(void);

#ifdef __cplusplus
}
#endif
#endif
