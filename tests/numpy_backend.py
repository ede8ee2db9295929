"""A second backend: whole plans, step by step, in NumPy float64, from the named fields of the steps.

As it does not fuse, it gets primitive ops, a record each, and it gives every tensor memory of its own, full of NaN at
each step: so it is an oracle of rewriting, grouping, kernels, lowering and memory at once. With ``fuses=True`` it runs
the very steps of the CPU, each op of ops.def by its formula (at the head of csrc/kernels/ref/*.c): an oracle of kernels
and memory. A kernel is a function of (fields, run).
"""

import math

import numpy as np
import references
from cases import ELEMENTWISE
from optim_cases import CASES, PARTS, TRUST
from references import normal_cdf

from hawfinch import _core
from hawfinch.compiler.memory import Dynamic, Source, base_of
from hawfinch.ir import Dim, Tensor, numel, size_at
from hawfinch.optim import Optimizer, Rprop

KERNELS = {}  # op of ops.def -> function(fields, run)


def kernel(function):
    KERNELS[function.__name__] = function
    return function


# ---- fields ----
class Fields:
    """The fields of a step as kernels read them: numbers as ints, floats and lists of them; tensors as flat views."""

    def __init__(self, fields, run):
        self._fields, self._run = fields, run

    def __getattr__(self, name):
        return self._value(self._fields[name])

    def has(self, name):
        return self._fields.get(name) is not None

    def _value(self, value):
        if isinstance(value, list):
            return [self._value(v) for v in value]
        if isinstance(value, dict):
            return Fields(value, self._run)
        if isinstance(value, Dim):
            return value.at(self._run.batch)
        if isinstance(value, Tensor):
            return self._run.flat(value)
        if isinstance(value, Dynamic):
            return self._run.buffer(value).view(np.uint8)[value.offset :]
        if isinstance(value, Source):
            return self._run.sources[value.number]
        if isinstance(value, tuple):
            flat, offset = self.part(value)
            return flat[offset:]
        return value

    def part(self, value):
        """(flat, first element) of a field that is a tensor or (tensor, offset)."""
        value = self._fields[value] if isinstance(value, str) else value
        t, offset = value if isinstance(value, tuple) else (value, 0)
        return self._run.flat(t), size_at(offset, self._run.batch)

    def matrix(self, name, *shape):
        return getattr(self, name).reshape(shape)


def strided(flat, shape, strides):
    """flat seen with these strides in elements; asserts that no element lies outside of it."""
    last = sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    assert 0 in shape or (min(strides, default=0) >= 0 and last < flat.size), (flat.size, shape, strides)
    return np.lib.stride_tricks.as_strided(flat, shape, [s * flat.itemsize for s in strides])


# ---- elementwise programs ----
def gelu_slope(a):
    return normal_cdf(a) + np.where(np.abs(a) > 40, 0.0, a * np.exp(-0.5 * a * a) / math.sqrt(2 * math.pi))


NOT_PUBLIC = {  # instruction of ewise.def -> its meaning, and which of a, b, c and the immediate it takes
    "constant": (np.full_like, "ai"),
    "copy": (lambda a: a, "a"),
    "rsub": (lambda a, imm: imm - a, "ai"),
    "rdiv": (lambda a, imm: imm / a, "ai"),
    "gelu_slope": (gelu_slope, "a"),
    "relu_mask": (lambda a, b: np.where(b > 0, a, 0.0), "ab"),
    "fma": (lambda a, b, c: a * b + c, "abc"),
    "fms": (lambda a, b, c: a * b - c, "abc"),
    "fnma": (lambda a, b, c: c - a * b, "abc"),
}


def of_row(case):
    """The same of a row of cases.py."""
    options = len(case.draws) == 1 and any(attrs for _, attrs in case.variants)
    return lambda *given: np.asarray(case.ref(*given), np.float64), "abc"[: len(case.draws)] + "i" * options


MEANING = NOT_PUBLIC | {name: of_row(case) for name, case in ELEMENTWISE.items()}


def meaning_of(name):
    """Of an instruction; name_imm, name_b and name_c take the immediate in place of an operand."""
    if name in MEANING:
        return MEANING[name]
    stem, _, form = name.rpartition("_")
    return MEANING[stem][0], {"imm": "ai", "b": "aic", "c": "abi"}[form]


def philox(counter, key):
    """Philox4x32-10: the four words of each counter (arrays of uint64 that hold 32 bits)."""
    c, (k0, k1) = counter, key
    low, high = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> high) ^ c[1] ^ np.uint64(k0), p1 & low, (p0 >> high) ^ c[3] ^ np.uint64(k1), p0 & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def random_words(seed, step, stream, n):
    """The word of each of n elements: csrc/runtime/random.h."""
    e = np.arange(n, dtype=np.uint64)
    block, low = (e >> np.uint64(6)) * np.uint64(16) + (e & np.uint64(15)), np.uint64(0xFFFFFFFF)
    counter = [block & low, block >> np.uint64(32), np.full_like(e, stream), np.full_like(e, step) & low]
    words = philox(counter, (seed & 0xFFFFFFFF, (seed >> 32) ^ (step >> 32)))
    return np.choose((e >> np.uint64(4) & np.uint64(3)).astype(int), words)


def uniform(words, more):
    return (words << np.uint64(21) | more >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(words, n):
    """Box and Muller, of the words of whole groups of 32: the two of a pair are 16 apart."""
    u, v = np.moveaxis(words.astype(np.float64).reshape(-1, 2, 16), 1, 0)
    radius, angle = np.sqrt(-2 * np.log((u + 0.5) * 2.0**-32)), v * (2 * np.pi * 2.0**-32)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)[:n]


def bernoulli(words, p):
    return (words < int(max(p, 0.0) * 4294967296.0)) * 1.0 if p < 1 else np.ones(words.shape)


def dropped(a, words, p):
    return np.where(words >= int(p * 4294967296.0), a * (1 / (1 - p)), 0.0) if p < 1 else np.zeros_like(a)


RANDOM = {  # instruction -> its meaning, of (a, immediate, the words of a stream for n elements)
    "dropout": lambda a, p, words: dropped(a, words(a.size).reshape(a.shape), p),
    "random_uniform": lambda a, _, words: uniform(words(a.size), words(a.size, 1 << 23)).reshape(a.shape),
    "random_normal": lambda a, _, words: normal(words(-(-a.size // 32) * 32), a.size).reshape(a.shape),
    "random_bernoulli": lambda a, p, words: bernoulli(words(a.size), p).reshape(a.shape),
}
INSTRUCTIONS = [RANDOM.get(name) or meaning_of(name) for name in _core.INSTRUCTIONS]


@kernel
def ewise(f, run):
    domain = (f.rows, *f.dim)
    summed = {j: kind for j, kind in enumerate(f.row_sum) if kind}
    if 0 in domain:
        for j, kind in summed.items():
            f.out[j][...] = np.nan if kind == _core.CONSTANTS["HF_ROW_MEAN"] else 0.0
        return
    inner = f.in_stride
    registers = {}
    for i, (flat, row) in enumerate(zip(f._fields["in"], f.in_row, strict=True)):
        registers[i] = strided(f._value(flat), domain, (row, *inner[3 * i : 3 * i + 3]))
    outputs = [np.empty(domain) if j in summed else flat.reshape(domain) for j, flat in enumerate(f.out)]
    for code, imm in zip(f.code, f.imm, strict=True):
        a, b, c = (registers.get(code >> shift & 255, 0.0) for shift in (16, 24, 32))
        given = {"a": np.broadcast_to(a, domain), "b": b, "c": c, "i": imm}
        meaning = INSTRUCTIONS[code & 255]
        if callable(meaning):
            stream = code >> 40 & 0x7FFFFF
            value = meaning(given["a"], imm, lambda n, more=0, s=stream: random_words(run.seed, run.step, s + more, n))
        else:
            value = meaning[0](*[given[k] for k in meaning[1]])
        to = code >> 8 & 255
        if _core.CONSTANTS["HF_REG_OUT"] <= to < _core.CONSTANTS["HF_REG_TEMP"]:  # outputs are memory from here on
            place = outputs[to - _core.CONSTANTS["HF_REG_OUT"]]
            place[...] = value
            value = place
        registers[to] = value
    for j, kind in summed.items():
        rows = outputs[j].reshape(f.rows, -1)
        f.out[j].reshape(-1)[...] = rows.mean(1) if kind == _core.CONSTANTS["HF_ROW_MEAN"] else rows.sum(1)


# ---- products ----
def product(f):
    x = strided(f.x, (f.m, f.k), (f.x_row, f.x_col))
    w = strided(f.w, (f.k, f.n), (f.w_row, f.w_col))
    return x @ w


@kernel
def matmul(f, run):
    y = product(f)
    f.y.reshape(y.shape)[...] = y + f.bias if f.has("bias") else y
    if f.has("epilogue"):
        ewise(f.epilogue, run)


@kernel
def matmul_symmetric(f, run):
    assert not f.bf16
    x = strided(f.x, (f.n, f.k), (f.row, f.col))
    y = f.scale * (x @ x.T) + f.diagonal * np.eye(f.n)
    f.y.reshape(y.shape)[...] = y + f.add * x if f.add else y


@kernel
def matmul_bf16(f, run):
    raise NotImplementedError("rounds its operands: not in float64")


# ---- reductions and statistics ----
REDUCTIONS = {
    "sum": lambda x: x.sum(1),
    "mean": lambda x: x.sum(1) / x.shape[1] if x.shape[1] else x.sum(1) * np.nan,
    "max": lambda x: x.max(1, initial=-np.inf),
    "min": lambda x: x.min(1, initial=np.inf),
    "argmax": lambda x: x.argmax(1) if x.shape[1] else np.zeros((x.shape[0], x.shape[2]), np.int64),
    "max_abs": lambda x: np.abs(x).max(1, initial=0.0),
}
REDUCE_NAMES = {number: name for name, number in _core.REDUCE_KINDS.items()}


@kernel
def reduce(f, run):
    x = f.matrix("x", f.outer, f.red, f.inner)
    f.y[...] = REDUCTIONS[REDUCE_NAMES[f.kind]](x).ravel()


@kernel
def moments(f, run):
    x = f.matrix("x", f.outer, f.red, f.inner)
    f.mean[...] = x.mean(1).ravel()
    if f.has("var"):
        f.var[...] = x.var(1).ravel()


@kernel
def norm_grad(f, run):
    shape, unit = (f.outer, f.red, f.inner), (f.outer, 1, f.inner)
    dy, x = f.matrix("dy", *shape), f.matrix("x", *shape)
    along = (f.outer, f.red, 1) if f.by_red else unit
    mean, rstd = f.matrix("mean", *along), f.matrix("rstd", *along)
    if f.has("scale"):
        dy = np.where((x - mean) * f.matrix("scale", *unit) + f.matrix("shift", *unit) > 0, dy, 0.0)
    f.dgamma[...] = (dy * ((x - mean) * rstd)).sum(1).ravel()
    f.dbeta[...] = dy.sum(1).ravel()


@kernel
def norm_row_grad(f, run):
    shape = (f.rows, f.cols)
    h = f.matrix("dy", *shape) * (f.gamma if f.has("gamma") else 1.0)
    rstd, centred = f.rstd[:, None], f.has("mean")
    xhat = (f.matrix("x", *shape) - (f.mean[:, None] if centred else 0.0)) * rstd
    m = h.mean(1, keepdims=True) if centred else 0.0
    f.matrix("dx", *shape)[...] = rstd * (h - m - xhat * (h * xhat).mean(1, keepdims=True))


# ---- softmax ----
def shifted(f):
    x = f.matrix("x", f.rows, f.cols)
    x = x - x.max(1, keepdims=True, initial=-np.inf)
    return x, np.exp(x).sum(1, keepdims=True)


@kernel
def softmax(f, run):
    x, total = shifted(f)
    f.matrix("y", f.rows, f.cols)[...] = x - np.log(total) if f.log else np.exp(x) / total


@kernel
def softmax_cross_entropy(f, run):
    (x, total), cols = shifted(f), f.cols
    if f.has("labels"):
        good = (f.labels >= 0) & (f.labels < cols)
        if not good.all():
            run.status = _core.BAD_INDEX
        target = np.eye(cols)[np.where(good, f.labels, 0)] * good[:, None]
        sum_t = np.ones((f.rows, 1))
    else:
        target, good = f.matrix("target", f.rows, cols), np.full(f.rows, True)
    t = (1 - f.smoothing) * target + f.smoothing / cols
    if not f.has("labels"):
        sum_t = t.sum(1, keepdims=True)
    loss = np.log(total)[:, 0] * sum_t[:, 0] - np.where(t != 0, t * x, 0.0).sum(1)
    if f.has("dx"):
        dloss = f.dloss if f.dloss_row else f.dloss[0]
        dx = (np.exp(x) / total * sum_t - t) * np.reshape(dloss, (-1, 1))
        f.matrix("dx", f.rows, cols)[...] = np.where(good[:, None], dx, 0.0)
    if f.has("loss"):
        f.loss[...] = np.where(good, loss, 0.0)


# ---- data movement ----
@kernel
def copy(f, run):
    dim = f.dim
    (y, y_first), (x, x_first) = f.part("y"), f.part("x")
    grid = np.ix_(*(np.arange(n) for n in dim))
    to = y_first + sum(i * s for i, s in zip(grid, f.y_stride, strict=True))
    source = x_first + sum(i * s for i, s in zip(grid, f.x_stride, strict=True))
    assert 0 in dim or (np.min(to) >= 0 and np.min(source) >= 0)
    y[np.broadcast_to(to, dim)] = x[np.broadcast_to(source, dim)]


def rows_in_range(f, run):
    index, n = f.index, f.table_rows
    good = (index >= 0) & (index < n)
    if not good.all():
        run.status = _core.BAD_INDEX
    return np.where(good, index, 0), good


@kernel
def gather(f, run):
    index, good = rows_in_range(f, run)
    rows = f.matrix("table", f.table_rows, f.cols)[index]
    f.matrix("y", f.rows, f.cols)[...] = np.where(good[:, None], rows, 0)


@kernel
def interp(f, run):
    x, knots = f.matrix("x", f.rows, f.cols), f.matrix("knots", f.cols, f.n)
    y, slope = f.matrix("y", f.rows, f.cols), f.matrix("slope", f.rows, f.cols)
    for j in range(f.cols):
        y[:, j], slope[:, j] = references.interp(x[:, j], knots[j], f.values)


@kernel
def scatter_add(f, run):
    index, good = rows_in_range(f, run)
    table = np.zeros((f.table_rows, f.cols))
    np.add.at(table, index[good], f.matrix("dy", f.rows, f.cols)[good])
    f.matrix("dtable", *table.shape)[...] = table


@kernel
def order_rows(f, run):
    order = f.order[...] = np.argsort(f.index, kind="stable")
    t = f.index[order]
    f.row[...] = np.where((np.diff(t, prepend=-1) != 0) & (t >= 0) & (t < f.table_rows), t, -1)


@kernel
def sum_rows(f, run):
    g, dy, at = f.g.reshape(-1, f.cols), f.dy.reshape(f.rows, f.cols), 0
    g[...] = 0
    for k, i in enumerate(f.order):
        at = k if f.row[k] >= 0 else at
        g[at] += dy[i]


@kernel
def load_batch(f, run):
    a = f.source
    rows = run.first + (np.arange(f.rows) + f.ahead) % max(f.rows, 1)
    values = a[rows if run.index is None else run.index[rows]].reshape(f.rows, f.elems)
    f.matrix("dst", f.rows, f.elems)[...] = values


@kernel
def store_batch(f, run):
    n = f.rows * f.row_bytes
    f.dst[run.first * f.row_bytes : run.first * f.row_bytes + n] = f.src.view(np.uint8)[:n]


@kernel
def dim_value(f, run):
    f.y[...] = f.n


@kernel
def int_to_real(f, run):
    f.y[...] = f.x


@kernel
def correct(f, run):
    f.y[...] = f.matrix("x", f.rows, f.cols).argmax(1) == f.labels


@kernel
def accumulate(f, run):
    f.sums[0] += f.value[0]
    f.sums[1] += f.weight[0] if f.has("weight") else f.rows


# ---- the update ----
def fail(run):
    if run.status == _core.OK:
        run.status = _core.NONFINITE


@kernel
def grad_norm(f, run):
    n, chunk = f.n, _core.CONSTANTS["HF_NORM_CHUNK"]
    for i in range(-(-n // chunk)):
        part = f.g[i * chunk : min((i + 1) * chunk, n)]
        f.partial[i] = (part * part).sum()


@kernel
def grad_check(f, run):
    total, max_norm = f.partial[: f.chunks].sum(), run.scalars[f.column]
    scale = max_norm / (np.sqrt(total) + 1e-6) if max_norm > 0 else 1.0
    f.scale[0] = scale if scale < 1 else 1.0
    if not (np.isfinite(total) and (not f.has("loss") or np.isfinite(f.loss[0]))):
        fail(run)


@kernel
def grad_bound(f, run):
    if not f.rows * f.x_max.max(initial=0.0) * f.w_max.max(initial=0.0) < np.finfo(np.float64).max / 2:
        fail(run)


@kernel
def scalars(f, run):
    f.y[...] = run.scalars[f.column : f.column + f.n]


def schedule_free(p, g, s, t, lr, betas, eps, weight_decay, mix):
    """By z and x, of which p is (1 - betas[0]) z + betas[0] x; the part of z in x is given."""
    z = p + s["average_gap"]
    x = (p - (1 - betas[0]) * z) / betas[0]
    s["v"] = betas[1] * s["v"] + (1 - betas[1]) * g * g
    z = z - lr * (g / (np.sqrt(s["v"] / (1 - betas[1] ** t)) + eps) + weight_decay * p)
    x = x + mix * (z - x)
    y = (1 - betas[0]) * z + betas[0] * x
    s["average_gap"] = z - y
    return y


RULES = {case.optimizer().rule: case.update for case in CASES.values()} | PARTS  # rule of optim.def -> its formula
RULES["schedule_free"] = schedule_free
PAIRS = {**Optimizer.pairs, **Rprop.pairs}
RULE_NAMES = {number: name for name, (number, _, _) in _core.RULES.items()}


def ruled(name, p, g, slots, t, columns):
    """The new p by a rule; the slots take their new values."""
    _, hyper, slot_names = _core.RULES[name]
    options = {k: columns[k] for k in hyper}
    for pair, names in PAIRS.items():
        if names[0] in options:
            options[pair] = tuple(options.pop(name) for name in names)
    state = {k: slot.copy() for k, slot in zip(slot_names, slots, strict=True)}
    p = RULES[name](p, g, state, t, **options)
    for k, slot in zip(slot_names, slots, strict=True):
        slot[...] = state[k]
    return p


@kernel
def sweep(f, run):
    """What is around a rule: csrc/kernels/ref/optim.c."""
    name = RULE_NAMES[f.rule]
    every = product(f.product).ravel() if f.has("product") else f.g
    for r, (offset, n, column, unit) in enumerate(f.runs.view(np.int64).reshape(f.n_runs, 4)):
        part = slice(offset, offset + n)
        columns = dict(zip((*_core.COMMON_COLUMNS, *_core.RULES[name][1]), run.scalars[column:], strict=False))
        if not columns["active"]:
            continue
        columns["lr"] *= f.trust[r] if f.has("trust") else 1.0
        old, p, g, clip = f.p[part].copy(), f.p[part], every[part] * f.scale[0], columns["clip_value"] or np.inf
        g = np.clip(g, -clip, clip) + columns["decay"] * p + columns["l1"] * np.sign(p)
        p = p * (1 - columns["lr"] * columns["decoupled"])
        new = ruled(name, p, g, [slot[part] for slot in f.slot], run.step + columns["since"], columns)
        if not f.measure:
            f.p[part] = new
        if f.has("average"):
            keep, gain = run.scalars[f.average_column : f.average_column + 2]
            f.average[part] = keep * f.average[part] + gain * f.p[part]
        if f.has("sums"):  # all of them in the run's first unit
            sums = f.sums.reshape(-1, 3)
            sums[unit:] = 0
            sums[unit] = [(v**2).sum() for v in (every[part], f.p[part], new if f.measure else new - old)]


@kernel
def run_sums(f, run):
    runs = f.runs.view(np.int64).reshape(f.n_runs, 4)
    for r, (_, _, column, unit) in enumerate(runs):
        columns = dict(
            zip((*_core.COMMON_COLUMNS, *_core.RULES[RULE_NAMES[f.rule]][1]), run.scalars[column:], strict=False)
        )
        if not columns["active"]:
            continue
        total = f.sums.reshape(-1, 3)[unit : runs[r + 1][3] if r + 1 < len(runs) else f.units].sum(0)
        if f.has("trust"):
            both = np.sqrt(total[1:])
            f.trust[r] = TRUST[RULE_NAMES[f.rule]](*both, **columns) if both.all() else 1.0


@kernel
def sweep_rows(f, run):
    name, used = RULE_NAMES[f.rule], f.row >= 0
    columns = dict(zip((*_core.COMMON_COLUMNS, *_core.RULES[name][1]), run.scalars[f.column :], strict=False))
    p, rows = f.p.reshape(-1, f.cols), f.row[used]
    old, clip = p[rows], columns["clip_value"] or np.inf
    g = np.clip(f.g.reshape(-1, f.cols)[: f.rows][used] * f.scale[0], -clip, clip)
    g = g + columns["decay"] * old + columns["l1"] * np.sign(old)
    state = [slot.reshape(p.shape)[rows] for slot in f.slot]
    old = old * (1 - columns["lr"] * columns["decoupled"])
    p[rows] = ruled(name, old, g, state, run.step + columns["since"], columns)
    for slot, new in zip(f.slot, state, strict=True):
        slot.reshape(p.shape)[rows] = new


# ---- runs ----
class NumPyPlan:
    """What ``_core.Plan`` is for the CPU."""

    def __init__(self, plan):
        assert plan.dtype == "float64", "the NumPy backend is for float64 plans"
        self.plan, self.sources, self.dynamic = plan, {}, ()
        self.busy, self.halt, self.last_step = False, None, 0

    def set_source(self, number, a):
        self.sources[number] = a

    def drop_sources(self):
        self.sources.clear()

    def buffer(self, place):
        return (self.dynamic[place.number] if isinstance(place, Dynamic) else place).reshape(-1)

    def flat(self, t):
        """The elements of t: a view of just its own extent."""
        n, dtype = size_at(numel(t.shape), self.batch), np.int64 if t.dtype == "int" else np.float64
        key = id(base_of(t))
        if key not in self.plan.layout.places:
            if key not in self.own:
                self.own[key] = np.full(n, np.nan if dtype is np.float64 else np.iinfo(dtype).min, dtype)
            return self.own[key]
        place, start = self.plan.layout.place(t)
        raw = self.buffer(place).view(np.uint8)[start : start + n * 8]
        assert raw.size == n * 8, f"{t} ends outside of its buffer"
        return raw.view(dtype)

    def run(
        self,
        dynamic=(),
        n_steps=1,
        batch=1,
        rows=1,
        index=None,
        scalars=None,
        seed=0,
        step0=0,
        threads=1,
        only_record=-1,
        first_step=0,
    ):
        self.dynamic, self.status, self.index, self.seed = dynamic, _core.OK, index, seed
        with np.errstate(all="ignore"):
            for step in range(first_step, n_steps):
                self.step, self.first = step0 + step, step * batch
                self.scalars = None if scalars is None else scalars[step if len(scalars) > 1 else 0]
                self.batch, self.own = min(batch, rows - step * batch), {}
                for i, record in enumerate(self.plan.steps):
                    if only_record in (-1, i):
                        KERNELS[record.op](Fields(record.fields, self), self)
                    if self.status != _core.OK:
                        return self.status, step
        return self.status, n_steps


class NumPy:
    """The backend: ``hawfinch.runtime.backend.Backend``."""

    def __init__(self, fuses=False):
        self.fuses = fuses

    def arena(self, nbytes):
        return np.zeros(nbytes, np.uint8)

    def bind(self, plan, max_threads):
        return NumPyPlan(plan)
