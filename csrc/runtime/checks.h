/* Checks of user data. */
#ifndef HF_CHECKS_H
#define HF_CHECKS_H

#include "hawfinch.h"

/* Flat element number of the first NaN or infinity of a float array in rows [first_row, first_row + n_rows), else -1. */
int64_t hf_first_nonfinite(const hf_array *a, int64_t first_row, int64_t n_rows);

#endif
