# cython: language_level=3
"""The only boundary to C: check, fill structs, release the GIL, one C call.

Design: a plan's records are filled by field name from the descriptors that csrc/defs/ops.def generates, so there is no code per op
here. Rejected: one wrapper function per kernel, which drifts from the C side as ops are added.

Yields: a plan may hold steps made by ``ir.yield_step(tag, tensors)``. There ``Plan.run`` returns (YIELDED, step), every thread
having done all before it, and ``Plan.yielded`` is the tag. The caller reads and writes the tensors (``runtime.Plan.view``, or the
buffers that it gave), then calls ``Plan.resume()``, which returns what ``run`` does: YIELDED again at the next yield, OK at
the end, ... ``Plan.abandon()`` ends the run there. Until then the plan is busy. So two plans can take turns:

    status, step = plan.core.run(...)
    while status == _core.YIELDED:
        combine(plan.core.yielded)
        status, step = plan.core.resume()
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

import os

import numpy as np

cimport numpy as cnp

cnp.import_array()


cdef extern from "hawfinch.h" nogil:
    enum:
        HF_OK
        HF_PAUSED
        HF_NONFINITE
        HF_BAD_INDEX
        HF_YIELDED
        HF_SRC_F32
        HF_SRC_F64
        HF_SRC_I8
        HF_SRC_I16
        HF_SRC_I32
        HF_SRC_I64
        HF_SRC_U8
        HF_SRC_U16
        HF_SRC_U32
        HF_SRC_U64
        HF_SRC_BOOL
    ctypedef struct hf_array:
        const char *data
        int64_t rows, row_stride, dtype, ndim
        int64_t shape[6]
        int64_t stride[6]
    const char *hf_version()

cdef extern from "plan.h" nogil:
    ctypedef struct hf_ctx:
        pass
    ctypedef void (*hf_kernel)(const void *, const hf_ctx *, int64_t, int64_t)
    ctypedef struct hf_record:
        hf_kernel kernel
        const void *args
        int64_t units, shared_before, shared_units
        int grain, pieces
        double time_share
        uint8_t single, barrier, yields, update
    ctypedef struct hf_patch:
        int64_t *target
        int64_t per_row, fixed
    ctypedef struct hf_plan:
        int64_t n_records, n_patches
        hf_record *records
        hf_patch *patches
        char *scratch
        size_t scratch_bytes
        int64_t bound_batch, slow
    ctypedef struct hf_run:
        int64_t n_steps, batch, rows
        const int64_t *index
        const double *scalars
        int64_t scalar_stride
        uint64_t seed
        int64_t step0
        double budget_seconds
        int64_t only_record, cursor_step, cursor_record, cursor_piece, yielded
    enum:
        HF_MAX_VIRTUAL
    int hf_plan_run(hf_plan *, hf_run *, int)
    int hf_plan_run_auto(hf_plan *, hf_run *, int)
    int hf_plan_run_debug(hf_plan *, hf_run *, int, uint64_t)

cdef extern from "threads.h" nogil:
    int hf_max_threads()
    const char *hf_openmp_runtime()

cdef extern from "isa.h" nogil:
    int hf_isa_count()
    const char *hf_isa_name(int)
    hf_kernel hf_kernel_for(int, int, int)
    int hf_cuda_available()

cdef extern from "random.h" nogil:
    void hf_permutation(int64_t *, int64_t, uint64_t, uint64_t)
    void hf_random_uniform(double *, int64_t, uint64_t, uint64_t, double, double)
    void hf_random_normal(double *, int64_t, uint64_t, uint64_t, double, double)

cdef extern from "checks.h" nogil:
    int64_t hf_first_nonfinite(const hf_array *, int64_t, int64_t)

cdef extern from "constants.h" nogil:
    enum:
        HF_MAX_SOURCES

cdef extern from "fields.h" nogil:
    enum:
        HF_MAX_FIELDS
        HF_KIND_PTR
        HF_KIND_INT
        HF_KIND_REAL
        HF_KIND_ARGS
        HF_N_OPS
    ctypedef struct hf_field:
        const char *name
        int64_t op, kind, offset, count
    int hf_describe_fields(hf_field *)
    const char *hf_op_names[]
    int64_t hf_args_size[]
    const char *hf_instr_names[]
    int hf_n_instr
    const char *hf_rules
    ctypedef struct hf_constant:
        const char *name
        int64_t value
    hf_constant hf_constants[]
    int hf_n_constants
    const char *hf_reduce_names[]
    int hf_n_reduce

OK, PAUSED, NONFINITE, BAD_INDEX, YIELDED = HF_OK, HF_PAUSED, HF_NONFINITE, HF_BAD_INDEX, HF_YIELDED


def _describe():
    cdef hf_field fields[HF_MAX_FIELDS]
    cdef int n = hf_describe_fields(fields)
    ops = [hf_op_names[i].decode() for i in range(HF_N_OPS)]
    by_op = {name: {} for name in ops}
    for i in range(n):
        by_op[ops[fields[i].op]][fields[i].name.decode()] = (fields[i].kind, fields[i].offset, fields[i].count)
    return {name: i for i, name in enumerate(ops)}, by_op


OPS, FIELDS = _describe()
OP_NAMES = list(OPS)
CONSTANTS = {hf_constants[i].name.decode(): hf_constants[i].value for i in range(hf_n_constants)}
REDUCE_KINDS = {hf_reduce_names[i].decode(): i for i in range(hf_n_reduce)}
INSTRUCTIONS = [hf_instr_names[i].decode() for i in range(hf_n_instr)]
VERSION = hf_version().decode()
ISAS = [hf_isa_name(i).decode() for i in range(hf_isa_count())]


def _describe_rules():
    """Of optim.def: the columns that every set of scalars begins with, and per rule (number, hyperparameters, slots)."""
    common, rules = [], {}
    for line in hf_rules.decode().split("\n")[:-1]:
        kind, name = line.split()
        if kind == "common":
            common.append(name)
        elif kind == "rule":
            hyper, slots = [], []
            rules[name] = len(rules), hyper, slots
        else:
            (hyper if kind == "hyper" else slots).append(name)
    return tuple(common), {name: (i, tuple(h), tuple(s)) for name, (i, h, s) in rules.items()}


COMMON_COLUMNS, RULES = _describe_rules()


def _choose_isa():
    forced = os.environ.get("HAWFINCH_ISA")
    if not forced:
        return ISAS[-1]
    if forced not in ISAS:
        raise ImportError(f"HAWFINCH_ISA={forced!r} can't run on this machine; choose one of: {', '.join(ISAS)}")
    return forced


_ISA = _choose_isa()


def kernel_isa():
    """The ISA whose kernels new plans use."""
    return _ISA


def has_fast_kernel(str op):
    """Whether the ISA in use has a float32 kernel for op that is not the reference kernel."""
    return hf_kernel_for(ISAS.index(_ISA), 0, OPS[op]) != hf_kernel_for(ISAS.index("ref"), 0, OPS[op])


def max_threads():
    return hf_max_threads()


def openmp_runtime():
    return hf_openmp_runtime().decode()


def cuda_available():
    return bool(hf_cuda_available())


def address(cnp.ndarray array not None):
    """Address of the first element."""
    return <size_t>cnp.PyArray_DATA(array)


cdef int _source_dtype(cnp.ndarray a) except -1:
    cdef int t = cnp.PyArray_TYPE(a)
    if not cnp.PyArray_ISNOTSWAPPED(a):
        raise TypeError(f"byte-swapped dtype {a.dtype}")
    if t == cnp.NPY_FLOAT32: return HF_SRC_F32
    if t == cnp.NPY_FLOAT64: return HF_SRC_F64
    if t == cnp.NPY_BOOL: return HF_SRC_BOOL
    kind, size = a.dtype.kind, a.dtype.itemsize
    if kind == "i": return {1: HF_SRC_I8, 2: HF_SRC_I16, 4: HF_SRC_I32, 8: HF_SRC_I64}[size]
    if kind == "u": return {1: HF_SRC_U8, 2: HF_SRC_U16, 4: HF_SRC_U32, 8: HF_SRC_U64}[size]
    raise TypeError(f"unsupported dtype {a.dtype}")


cdef int _fill_array(hf_array *out, cnp.ndarray a) except -1:
    cdef int d, n = cnp.PyArray_NDIM(a)
    if n < 1 or n > 7:
        raise ValueError("1 to 7 dimensions")
    out.data = <const char *>cnp.PyArray_DATA(a)
    out.rows = cnp.PyArray_DIM(a, 0)
    out.row_stride = cnp.PyArray_STRIDE(a, 0)
    out.dtype = _source_dtype(a)
    out.ndim = n - 1
    for d in range(1, n):
        out.shape[d - 1] = cnp.PyArray_DIM(a, d)
        out.stride[d - 1] = cnp.PyArray_STRIDE(a, d)
    return 0


def first_nonfinite(cnp.ndarray a not None):
    """Index tuple of the first NaN or infinity of a float array of 1 to 7 dimensions, or None."""
    cdef hf_array h
    cdef int64_t hit = -1, row = 0, n, chunk
    _fill_array(&h, a)
    if h.dtype > HF_SRC_F64 or a.size == 0:
        return None
    chunk = max(1, (16 << 20) // max(1, a.size // h.rows))
    while row < h.rows and hit < 0:
        n = min(chunk, h.rows - row)
        with nogil:
            hit = hf_first_nonfinite(&h, row, n)
        row += n
        PyErr_CheckSignals()
    return None if hit < 0 else tuple(int(i) for i in np.unravel_index(hit, (<object>a).shape))


def permutation(int64_t n, uint64_t seed, uint64_t epoch):
    """The row order of an epoch: int64 (n,)."""
    out = np.empty(n, np.int64)
    cdef int64_t *p = <int64_t *>cnp.PyArray_DATA(<cnp.ndarray>out)
    with nogil:
        hf_permutation(p, n, seed, epoch)
    return out


def random_uniform(int64_t n, uint64_t seed, uint64_t stream, double lo, double hi):
    out = np.empty(n)
    hf_random_uniform(<double *>cnp.PyArray_DATA(<cnp.ndarray>out), n, seed, stream, lo, hi)
    return out


def random_normal(int64_t n, uint64_t seed, uint64_t stream, double mean, double std):
    out = np.empty(n)
    hf_random_normal(<double *>cnp.PyArray_DATA(<cnp.ndarray>out), n, seed, stream, mean, std)
    return out


cdef inline int run_team(hf_plan *plan, hf_run *run, int threads) noexcept nogil:
    """threads < 0: a team of -threads where that is faster than one thread."""
    return hf_plan_run_auto(plan, run, -threads) if threads < 0 else hf_plan_run(plan, run, threads)


@cython.final
cdef class Plan:
    """Records over buffers that Python owns. One run at a time: callers keep a pool of plans for parallel use."""

    cdef hf_plan plan
    cdef char *args
    cdef hf_array *sources
    cdef int64_t **dynamic_target
    cdef int64_t *dynamic_offset
    cdef int64_t *dynamic_number
    cdef int n_dynamic, max_threads, n_yields
    cdef hf_run state  # of the run that goes on, or waits at a yield
    cdef int threads, debug_threads  # debug_threads: of a run_debug, else 0
    cdef uint64_t debug_seed
    cdef bint keeps_lock
    cdef public bint busy
    cdef public object stop_event  # None, or what ends runs from another thread: an Event
    cdef readonly int64_t last_step  # where the last run stopped
    cdef readonly object yielded  # the tag of the yield at which a run waits for resume, else None
    cdef object keep, kept_sources, kept_run
    cdef cnp.ndarray scratch

    def __cinit__(self):
        memset(&self.plan, 0, sizeof(hf_plan))

    def __init__(self, list steps, list time_shares, list pieces, list barriers, value, str isa, bint wide,
                 size_t scratch_bytes, int max_threads, bint slow, bint keeps_lock, keep):
        """value(field, step): the number, Dim, Source or Dynamic that stands for a field which is neither number nor Dim;
        a dict that can be called is asked for value[field] first."""
        cdef size_t total = 0
        cdef int i, op, isa_number = ISAS.index(isa)
        cdef hf_record *r
        cdef list patches = [], dynamics = []
        self.keep, self.max_threads, self.keeps_lock = keep, max_threads, keeps_lock
        self.kept_sources = {}
        for step in steps:
            total += (hf_args_size[OPS[step.op]] + 63) & ~63
        self.args = <char *>calloc(max(total, 1), 1)
        self.plan.records = <hf_record *>calloc(max(len(steps), 1), sizeof(hf_record))
        self.sources = <hf_array *>calloc(HF_MAX_SOURCES, sizeof(hf_array))
        if not self.args or not self.plan.records or not self.sources:
            raise MemoryError()
        cdef char *p = self.args
        for i, step in enumerate(steps):
            op = OPS[step.op]
            r = &self.plan.records[i]
            r.kernel = hf_kernel_for(isa_number, wide, op)
            r.args = p
            r.grain, r.single, r.update, r.yields = step.grain, step.single, step.update, step.yields
            r.shared_before, r.shared_units = step.shared
            self.n_yields += step.yields
            r.time_share, r.pieces, r.barrier = time_shares[i], pieces[i], barriers[i]
            self._fill(p, step.op, step.fields, step, value, patches, dynamics)
            self._store(<char *>&r.units, HF_KIND_INT, step.units, step, value, patches, dynamics)
            p += (hf_args_size[op] + 63) & ~63
        self.plan.n_records = len(steps)
        self.plan.patches = <hf_patch *>calloc(max(len(patches), 1), sizeof(hf_patch))
        self.dynamic_target = <int64_t **>calloc(max(len(dynamics), 1), sizeof(void *))
        self.dynamic_offset = <int64_t *>calloc(max(len(dynamics), 1), sizeof(int64_t))
        self.dynamic_number = <int64_t *>calloc(max(len(dynamics), 1), sizeof(int64_t))
        if not self.plan.patches or not self.dynamic_target or not self.dynamic_offset or not self.dynamic_number:
            raise MemoryError()
        for i, patch in enumerate(patches):
            self.plan.patches[i].target = <int64_t *><size_t>patch[0]
            self.plan.patches[i].per_row, self.plan.patches[i].fixed = patch[1], patch[2]
        self.plan.n_patches = len(patches)
        for i, dyn in enumerate(dynamics):
            self.dynamic_target[i] = <int64_t *><size_t>dyn[0]
            self.dynamic_number[i], self.dynamic_offset[i] = dyn[1], dyn[2]
        self.n_dynamic = len(dynamics)
        self.plan.bound_batch, self.plan.slow = -1, slow
        self.plan.scratch_bytes = scratch_bytes
        raw = np.empty(scratch_bytes * max_threads + 64, np.uint8)
        start = (64 - <size_t>cnp.PyArray_DATA(<cnp.ndarray>raw) % 64) % 64
        self.scratch = raw[start:]
        self.plan.scratch = <char *>cnp.PyArray_DATA(self.scratch)

    def __dealloc__(self):
        free(self.args)
        free(self.plan.records)
        free(self.plan.patches)
        free(self.sources)
        free(self.dynamic_target)
        free(self.dynamic_offset)
        free(self.dynamic_number)

    cdef _fill(self, char *args, str op, dict fields, step, value, list patches, list dynamics):
        """Every field of op's argument struct from fields; what is absent on purpose is None there."""
        cdef int64_t kind, offset, count, k
        cdef dict described = FIELDS[op]
        if fields.keys() != described.keys():
            missing, unknown = described.keys() - fields.keys(), fields.keys() - described.keys()
            raise TypeError(
                f"a record of {step.op}: {op} has the fields {', '.join(described)}; "
                + (f"no value for {', '.join(sorted(missing))} (absent on purpose: None)" if missing else "")
                + ("; " if missing and unknown else "")
                + (f"there is no {', '.join(sorted(unknown))}" if unknown else ""))
        for key, given in fields.items():
            kind, offset, count = <tuple>described[key]
            if given is None:
                if kind != HF_KIND_PTR and kind != HF_KIND_ARGS:
                    raise TypeError(f"a record of {step.op}: field {key} of {op} is a number and can't be None")
            elif kind == HF_KIND_ARGS:
                self._fill(args + offset, OP_NAMES[count], given, step, value, patches, dynamics)
            elif type(given) is list:
                if len(<list>given) > count:
                    raise TypeError(f"a record of {step.op}: field {key} of {op} holds {count} values, "
                                    f"got {len(given)}")
                for k in range(len(<list>given)):
                    self._store(args + offset + 8 * k, kind, (<list>given)[k], step, value, patches, dynamics)
            else:
                self._store(args + offset, kind, given, step, value, patches, dynamics)

    cdef _store(self, char *target, int64_t kind, given, step, value, list patches, list dynamics):
        if kind == HF_KIND_REAL:
            (<double *>target)[0] = given
            return
        if type(given) is not int and type(given).__name__ != "Dim":
            known = (<dict>value).get(given) if isinstance(value, dict) else None
            given = value(given, step) if known is None else known
        name = type(given).__name__
        if type(given) is int:
            (<int64_t *>target)[0] = given
        elif name == "Dim":
            patches.append((<size_t>target, given.per_row, given.fixed))
        elif name == "Source":
            if given.number >= HF_MAX_SOURCES:
                raise ValueError(f"a plan takes at most {HF_MAX_SOURCES} source arrays")
            (<int64_t *>target)[0] = <int64_t>&self.sources[<int>given.number]
        elif name == "Dynamic":
            dynamics.append((<size_t>target, given.number, given.offset))
        else:
            (<int64_t *>target)[0] = int(given)

    def set_source(self, int number, cnp.ndarray a not None):
        """Lets load_batch read rows of a; the plan keeps a reference."""
        _fill_array(&self.sources[number], a)
        self.kept_sources[number] = a

    def drop_sources(self):
        self.kept_sources.clear()

    cdef _begin(self, tuple dynamic, int64_t n_steps, int64_t batch, int64_t rows, cnp.ndarray index,
                cnp.ndarray scalars, uint64_t seed, int64_t step0, int64_t only_record, int64_t first_step):
        cdef int i
        cdef hf_run *run = &self.state
        if self.busy:
            raise RuntimeError("this plan is running already: a trainer can't be used by two threads at once")
        for i in range(self.n_dynamic):
            self.dynamic_target[i][0] = (
                <int64_t>cnp.PyArray_DATA(<cnp.ndarray>dynamic[self.dynamic_number[i]]) + self.dynamic_offset[i])
        run.n_steps, run.batch, run.rows = n_steps, batch, rows
        run.index = NULL if index is None else <const int64_t *>cnp.PyArray_DATA(index)
        run.scalars, run.scalar_stride = NULL, 0
        if scalars is not None:
            if cnp.PyArray_DIM(scalars, 0) != 1 and cnp.PyArray_DIM(scalars, 0) < n_steps:
                raise ValueError(f"scalars: {cnp.PyArray_DIM(scalars, 0)} rows for {n_steps} steps")
            run.scalars = <const double *>cnp.PyArray_DATA(scalars)
            run.scalar_stride = cnp.PyArray_DIM(scalars, 1) if cnp.PyArray_DIM(scalars, 0) > 1 else 0
        run.seed, run.step0 = seed, step0
        run.budget_seconds = 0.05
        run.only_record = only_record
        run.cursor_step = self.last_step = first_step
        run.cursor_record = run.cursor_piece = 0
        self.kept_run = (dynamic, index, scalars)
        self.busy = 1

    cdef tuple _end(self, int status):
        """What run and resume return; the plan is free unless it yielded."""
        self.last_step = self.state.cursor_step
        self.yielded = self.state.yielded if status == HF_YIELDED else None
        self.busy = status == HF_YIELDED
        if not self.busy:
            self.kept_run = None
        return status, self.last_step

    cdef tuple _go(self):
        cdef int status = HF_OK
        try:
            while True:
                if self.stop_event is not None and self.stop_event.is_set():
                    raise KeyboardInterrupt
                with nogil:
                    status = run_team(&self.plan, &self.state, self.threads)
                self.last_step = self.state.cursor_step
                if status != HF_PAUSED:
                    break
                PyErr_CheckSignals()
        except BaseException:
            self._end(HF_PAUSED)
            raise
        return self._end(status)

    def run(self, tuple dynamic=(), int64_t n_steps=1, int64_t batch=1, int64_t rows=1, cnp.ndarray index=None,
            cnp.ndarray scalars=None, uint64_t seed=0, int64_t step0=0, int threads=1, int64_t only_record=-1,
            int64_t first_step=0):
        """Runs steps [first_step, n_steps); returns (status, step where it stopped). Every 50 ms it looks at signals and
        stop_event. After YIELDED the run waits, with its arguments, for ``resume`` or ``abandon``.

        threads: a team's size; negative: that of a team which is used where it has been faster than one thread lately.
        dynamic: the arrays behind the plan's Dynamic addresses, already checked. index: int64 (rows).
        scalars: float64 (n_steps, columns), or (1, columns) where every step has the same.
        """
        if threads == 0 or abs(threads) > self.max_threads:
            raise ValueError(f"threads must be in [1, {self.max_threads}], got {threads}")
        self._begin(dynamic, n_steps, batch, rows, index, scalars, seed, step0, only_record, first_step)
        self.threads, self.debug_threads = threads, 0
        return self._go()

    def resume(self):
        """Goes on after a yield; returns what run does."""
        if self.yielded is None:
            raise RuntimeError("this plan waits at no yield")
        self.yielded = None
        if self.debug_threads:
            return self._end(hf_plan_run_debug(&self.plan, &self.state, self.debug_threads, self.debug_seed))
        return self._go()

    def abandon(self):
        """Ends a run that waits at a yield, if one does: what its step has done so far stays."""
        if self.yielded is not None:
            self._end(HF_PAUSED)

    def run_debug(self, int n_threads, uint64_t order, tuple dynamic=(), int64_t n_steps=1, int64_t batch=1,
                  int64_t rows=1, cnp.ndarray index=None, cnp.ndarray scalars=None, uint64_t seed=0, int64_t step0=0,
                  int64_t only_record=-1, int64_t first_step=0):
        """The same by n_threads (1 to 64) virtual threads, one at a time, in an order drawn from ``order``, between the
        records where threads meet. A missing barrier gives wrong results for some orders, every time."""
        if not 1 <= n_threads <= HF_MAX_VIRTUAL:
            raise ValueError(f"n_threads must be in [1, {HF_MAX_VIRTUAL}], got {n_threads}")
        self._begin(dynamic, n_steps, batch, rows, index, scalars, seed, step0, only_record, first_step)
        self.debug_threads, self.debug_seed = n_threads, order
        return self._end(hf_plan_run_debug(&self.plan, &self.state, n_threads, order))


include "_solvers.pyx"
include "_calls.pyx"  # one module: a second one would hold the C code, and its threads, again
