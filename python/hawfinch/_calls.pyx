"""Short calls that repeat: arrays like those of the last call, in a plan at hand. Included by _core.pyx.

Design: a short way answers None where anything differs from the call that made it, or fails; the caller then goes the
long way, with all its checks and messages. Whether the models behind it are still as they were is asked of a ``Watch``:
one comparison of a counter that these models share, and a look at the lists of layers, which change unseen. Rejected: a
counter for the whole process, which throws away every model's short way when a layer is made anywhere.
"""

cdef int run_once(
    Plan plan, int threads, int64_t rows, const double *scalars, uint64_t seed, int64_t step0) except -1:
    """One step of a plan that nobody else uses."""
    cdef hf_run run
    cdef int status = HF_PAUSED
    if plan.n_yields:
        raise RuntimeError("a plan that yields runs by Plan.run alone")
    run.n_steps, run.batch, run.rows = 1, rows, rows
    run.index, run.scalars, run.scalar_stride = NULL, scalars, 0
    run.seed, run.step0, run.budget_seconds = seed, step0, 0.05
    run.only_record, run.cursor_step, run.cursor_record, run.cursor_piece = -1, 0, 0, 0
    plan.busy = 1
    if plan.keeps_lock and threads == 1:  # over before the clock or the interpreter's lock are worth their time
        run.budget_seconds = 0
        status = run_team(&plan.plan, &run, 1)
    try:
        while status == HF_PAUSED:
            with nogil:
                status = run_team(&plan.plan, &run, threads)
            if status == HF_PAUSED:
                PyErr_CheckSignals()
    finally:
        plan.busy = 0
    return status


# ---- what a short way stands on ----
@cython.final
cdef class Changes:
    """Counts the changes of all layers that belong together: models that share a layer come to share this too."""

    cdef int64_t count
    cdef Changes into  # the one that this has become part of

    cdef Changes top(self):
        cdef Changes one = self
        while one.into is not None:
            one = one.into
        return one

    def add(self):
        """Something has changed."""
        cdef Changes one = self.top()
        one.count += 1

    def join(self, Changes other not None):
        """From now on these two are one."""
        cdef Changes a = self.top(), b = other.top()
        if a is not b:
            a.count += 1
            b.count += 1  # who watches b sees that it is to look again
            b.into = a


@cython.final
cdef class Watch:
    """Whether anything has changed since this was made: by counter, or an item of these lists and dicts."""

    cdef Changes changes
    cdef int64_t count
    cdef tuple containers, items

    def __init__(self, Changes changes not None, containers=()):
        self.changes = changes.top()
        self.count = self.changes.count
        self.containers = tuple(containers)
        self.items = tuple([_items(c) for c in self.containers])

    cpdef bint unchanged(self):
        return self.changes.count == self.count and self.same_items()

    cpdef bint same_items(self):
        """Whether the lists and dicts hold what they held."""
        cdef Py_ssize_t i, k
        cdef tuple items
        for i in range(len(self.containers)):
            now, items = self.containers[i], <tuple>self.items[i]
            if type(now) is not list:
                now = _items(now)
            if len(now) != len(items):
                return False
            for k in range(len(items)):
                if now[k] is not items[k]:
                    return False
        return True


cdef tuple _items(container):
    if isinstance(container, dict):
        return (*container, *container.values())
    return tuple(container)


cdef struct Template:
    int typenum, ndim
    cnp.npy_intp shape[64]


cdef int set_template(Template *t, object array) except -1:
    cdef cnp.ndarray a = array
    cdef int d
    t.typenum, t.ndim = cnp.PyArray_TYPE(a), cnp.PyArray_NDIM(a)
    for d in range(t.ndim):
        t.shape[d] = cnp.PyArray_DIM(a, d)
    return 0


cdef inline bint matches(Template *t, object given, int first):
    """Whether given is an array of the template's dtype, and of its shape from axis ``first`` on."""
    cdef int d
    cdef cnp.ndarray a
    if type(given) is not np.ndarray:
        return False
    a = given
    if cnp.PyArray_TYPE(a) != t.typenum or cnp.PyArray_NDIM(a) != t.ndim:
        return False
    for d in range(first, t.ndim):
        if cnp.PyArray_DIM(a, d) != t.shape[d]:
            return False
    return cnp.PyArray_ISNOTSWAPPED(a)


# ---- compiled functions ----
cpdef enum:
    MOST_ARRAYS = 16  # of a Call


@cython.final
cdef class Call:
    """The short way for a compiled function: contiguous arrays of just these dtypes and shapes."""

    cdef list plans
    cdef tuple watches
    cdef int n_in, n_all, threads, most_threads
    cdef Template templates[MOST_ARRAYS]
    cdef bint several

    def __init__(self, list plans, tuple arrays, int n_in, bint several, int threads, tuple watches=()):
        """plans: the pool. arrays: n_in templates of inputs, then of outputs; several: a tuple is the result.
        watches: of the models that the function calls."""
        cdef int i
        self.plans, self.n_in, self.n_all, self.several, self.threads = plans, n_in, len(arrays), several, threads
        self.most_threads, self.watches = hf_max_threads(), watches
        for i, array in enumerate(arrays):
            set_template(&self.templates[i], array)

    cdef bint _alike(self, int i, object given):
        return matches(&self.templates[i], given, 0) and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>given)

    cdef bint _may_write(self, int number, object out, char **data, tuple args, list results):
        """Whether out is as it should be and apart from the arrays before it."""
        cdef int i
        if not self._alike(number, out) or not cnp.PyArray_ISWRITEABLE(<cnp.ndarray>out):
            return False
        cdef cnp.ndarray other
        cdef char *start = <char *>cnp.PyArray_DATA(<cnp.ndarray>out)
        for i in range(number):
            other = args[i] if i < self.n_in else results[i - self.n_in]
            if start < data[i] + cnp.PyArray_NBYTES(other) and data[i] < start + cnp.PyArray_NBYTES(<cnp.ndarray>out):
                return False
        return True

    def run(self, tuple args, out):
        cdef char *data[MOST_ARRAYS]
        cdef int i, status
        cdef Plan plan
        cdef Template *t
        cdef list results = []
        if len(args) != self.n_in or not self.plans:
            return None
        for watch in self.watches:
            if not (<Watch>watch).unchanged():
                return None
        for i in range(self.n_in):
            if not self._alike(i, args[i]):
                return None
            data[i] = <char *>cnp.PyArray_DATA(<cnp.ndarray>args[i])
        if out is not None:
            if (type(out) is tuple) != self.several or self.several and len(out) != self.n_all - self.n_in:
                return None
            results.extend(out if self.several else (out,))
        else:
            for i in range(self.n_in, self.n_all):
                t = &self.templates[i]
                results.append(cnp.PyArray_EMPTY(t.ndim, t.shape, t.typenum, 0))
        for i in range(self.n_in, self.n_all):
            if out is not None and not self._may_write(i, results[i - self.n_in], data, args, results):
                return None
            data[i] = <char *>cnp.PyArray_DATA(<cnp.ndarray>results[i - self.n_in])
        if self.threads < 0 and hf_max_threads() != self.most_threads:
            return None
        owner = self.plans.pop()
        plan = owner.core
        for i in range(plan.n_dynamic):
            plan.dynamic_target[i][0] = <int64_t>data[plan.dynamic_number[i]] + plan.dynamic_offset[i]
        status = run_once(plan, self.threads, 1, NULL, 0, 0)
        self.plans.append(owner)
        if status != 0:
            return None
        if out is not None:
            return out
        for i in range(len(results)):
            if self.templates[self.n_in + i].ndim == 0:
                results[i] = results[i][()]
        return tuple(results) if self.several else results[0]


# ---- models ----
@cython.final
cdef class Quick:
    """The short way for a model: arrays of the same dtypes and row shapes, any strides, and so many rows."""

    cdef list plans
    cdef Watch watch
    cdef cnp.ndarray value
    cdef int n_sources, threads
    cdef Template templates[8]
    cdef Template out
    cdef int64_t least_rows, most_rows

    def __init__(self, Watch watch not None, list plans, sources, int64_t least_rows, int64_t most_rows, int threads,
                 out=None, value=None):
        """watch: the model's. out: a template of the result of predict; value: where a step leaves the loss."""
        cdef int i
        self.watch, self.plans, self.value, self.threads = watch, plans, value, threads
        self.least_rows, self.most_rows = least_rows, most_rows
        self.n_sources = len(sources)
        for i, source in enumerate(sources):
            set_template(&self.templates[i], source)
        if out is not None:
            set_template(&self.out, out)

    cdef int64_t _load(self, Plan plan, int i, object given) except -2:
        """Points source i at the array; returns its rows, or -1 where it is not like the template or not finite."""
        if not matches(&self.templates[i], given, 1):
            return -1
        _fill_array(&plan.sources[i], <cnp.ndarray>given)
        if hf_first_nonfinite(&plan.sources[i], 0, plan.sources[i].rows) >= 0:
            return -1
        return plan.sources[i].rows

    def predict(self, x):
        """The output for x, or None."""
        cdef Plan plan
        cdef int64_t rows
        cdef cnp.ndarray out
        cdef int i
        if not self.plans or not self.watch.unchanged():
            return None
        owner = self.plans.pop()
        plan = owner.core
        rows = self._load(plan, 0, x)
        if rows < self.least_rows or rows > self.most_rows:
            self.plans.append(owner)
            return None
        self.out.shape[0] = rows
        out = cnp.PyArray_EMPTY(self.out.ndim, self.out.shape, self.out.typenum, 0)
        for i in range(plan.n_dynamic):
            plan.dynamic_target[i][0] = <int64_t>cnp.PyArray_DATA(out) + plan.dynamic_offset[i]
        i = run_once(plan, self.threads, rows, NULL, 0, 0)
        self.plans.append(owner)
        return out if i == 0 else None

    def step(self, x, y, cnp.ndarray scalars not None, uint64_t seed, int64_t step0):
        """The loss of one training step, or None where nothing was done. scalars: float64 (1, columns)."""
        cdef Plan plan = self.plans[0].core
        cdef int64_t rows
        if plan.busy or not self.watch.unchanged():
            return None
        rows = self._load(plan, 0, x)
        if rows < self.least_rows or rows > self.most_rows or self._load(plan, 1, y) != rows:
            return None
        if run_once(plan, self.threads, rows, <const double *>cnp.PyArray_DATA(scalars), seed, step0) != 0:
            return None
        if cnp.PyArray_TYPE(self.value) == cnp.NPY_FLOAT32:
            return (<float *>cnp.PyArray_DATA(self.value))[0]
        return (<double *>cnp.PyArray_DATA(self.value))[0]
