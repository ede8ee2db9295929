# Part of _core.pyx: coordinate descent for linear models, a sweep a call. Arrays are float64 and C-contiguous.

cdef extern from "coordinate.h" nogil:
    double hf_elastic_net_sweep(double *, double *, const double *, const double *, int64_t, int64_t, double, double, int)
    double hf_dual_sweep(double *, double *, uint8_t *, const double *, const double *, const double *, const double *,
                         const double *, const double *, const int64_t *, int64_t, int64_t, double)


def elastic_net_sweep(double[::1] w not None, double[::1] r not None, const double[:, ::1] columns not None,
                      const double[::1] norms not None, double l1, double l2, bint positive):
    """See csrc/solvers/coordinate.h."""
    cdef int64_t d = columns.shape[0], n = columns.shape[1]
    cdef double largest
    if w.shape[0] != d or norms.shape[0] != d or r.shape[0] != n or d == 0 or n == 0:
        raise ValueError("elastic_net_sweep: shapes differ")
    with nogil:
        largest = hf_elastic_net_sweep(&w[0], &r[0], &columns[0, 0], &norms[0], n, d, l1, l2, positive)
    return largest


def dual_sweep(double[::1] beta not None, double[::1] w not None, uint8_t[::1] still not None,
               const double[:, ::1] x not None, const double[::1] norms not None, const double[::1] t not None,
               const double[::1] damp not None, const double[::1] low not None, const double[::1] high not None,
               const int64_t[::1] order not None, double eps):
    """See csrc/solvers/coordinate.h. order: row numbers in [0, n)."""
    cdef int64_t n = x.shape[0], d = x.shape[1], rows = order.shape[0], k
    cdef double largest = 0
    if w.shape[0] != d or d == 0:
        raise ValueError("dual_sweep: shapes differ")
    for size in (beta.shape[0], still.shape[0], norms.shape[0], t.shape[0], damp.shape[0], low.shape[0], high.shape[0]):
        if size != n:
            raise ValueError("dual_sweep: shapes differ")
    for k in range(rows):
        if not 0 <= order[k] < n:
            raise ValueError("dual_sweep: a row number is out of range")
    if rows:
        with nogil:
            largest = hf_dual_sweep(&beta[0], &w[0], &still[0], &x[0, 0], &norms[0], &t[0], &damp[0], &low[0],
                                    &high[0], &order[0], rows, d, eps)
    return largest
