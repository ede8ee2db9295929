"""An independent account of what the records of a plan touch, and checks of memory and barriers against it."""

import itertools

import numpy as np

from hawfinch.compiler.memory import ALIGN, Dynamic, base_of
from hawfinch.ir import numel, size_at


# ---- what a record touches, from its fields and the heads of csrc/kernels/ref/*.c ----
def touched(step, lo, hi, batch):
    """(tensor, element numbers, is written) for units [lo, hi) of a step."""
    f = step.fields

    def size(value):
        return [size(v) for v in value] if isinstance(value, list) else size_at(value, batch)

    def program(fields, rows, cols=None):
        dims = size(fields["dim"])
        shape = (len(rows), *dims)
        if cols is None:
            cols = np.arange(dims[2])
        grid = np.ix_(rows, np.arange(dims[0]), np.arange(dims[1]), cols)
        whole = ((grid[0] * dims[0] + grid[1]) * dims[1] + grid[2]) * dims[2] + grid[3]
        assert len(shape) == 4
        for j, t in enumerate(fields["out"]):
            yield t, rows if fields["row_sum"] and fields["row_sum"][j] else whole, True
        stride, row = size(fields["in_stride"]), size(fields["in_row"])
        for i, t in enumerate(fields["in"]):
            s = stride[3 * i : 3 * i + 3]
            yield t, grid[0] * row[i] + grid[1] * s[0] + grid[2] * s[1] + grid[3] * s[2], False

    def matrix(rows, cols, row, col=1):
        return np.add.outer(np.asarray(rows) * row, np.asarray(cols) * col)

    units = np.arange(lo, hi)
    if step.op == "ewise":
        yield from program(f, units)
    elif step.op == "matmul":
        m, n, k, x_row, x_col, w_row, w_col = size([f[v] for v in ("m", "n", "k", "x_row", "x_col", "w_row", "w_col")])
        rows, cols = (np.arange(m), np.arange(lo * 64, min(hi * 64, n))) if f["by_cols"] else (units, np.arange(n))
        yield f["y"], matrix(rows, cols, n), True
        yield f["x"], matrix(rows, np.arange(k), x_row, x_col), False
        yield f["w"], matrix(np.arange(k), cols, w_row, w_col), False
        if f["bias"] is not None:
            yield f["bias"], cols, False
        if f["epilogue"]:
            yield from program(f["epilogue"], rows, cols)
    elif step.op == "reduce":
        outer, red, inner = size([f["outer"], f["red"], f["inner"]])
        o, i = (np.arange(outer), units) if f["by_inner"] else (units, np.arange(inner))
        yield f["y"], matrix(o, i, inner), True
        yield f["x"], np.add.outer(np.add.outer(o * red * inner, np.arange(red) * inner), i), False
    elif step.op in ("moments", "norm_grad"):
        outer, red, inner = size([f["outer"], f["red"], f["inner"]])
        o, i = (np.arange(outer), units) if f["by_inner"] else (units, np.arange(inner))
        whole = np.add.outer(np.add.outer(o * red * inner, np.arange(red) * inner), i)
        sums = matrix(o, i, inner)
        statistics = matrix(o, np.arange(red), red) if f.get("by_red") else sums
        touched = {name: (sums, True) for name in ("mean", "var")}
        if step.op == "norm_grad":
            touched = {name: (sums, True) for name in ("dgamma", "dbeta")}
            touched |= {name: (statistics, False) for name in ("mean", "rstd")} | {"dy": (whole, False)}
            touched |= {name: (sums, False) for name in ("scale", "shift") if f[name] is not None}
        for name, (where, written) in (touched | {"x": (whole, False)}).items():
            yield f[name], where, written
    elif step.op == "norm_row_grad":
        whole = matrix(units, np.arange(size(f["cols"])), size(f["cols"]))
        every = np.arange(size(f["cols"]))
        touched = {
            "dx": (whole, True),
            "dy": (whole, False),
            "x": (whole, False),
            "mean": (units, False),
            "rstd": (units, False),
            "gamma": (every, False),
        }
        for name, (where, written) in touched.items():
            if f[name] is not None:
                yield f[name], where, written
    elif step.op == "softmax":
        whole = matrix(units, np.arange(size(f["cols"])), size(f["cols"]))
        yield f["y"], whole, True
        yield f["x"], whole, False
    elif step.op == "softmax_cross_entropy":
        whole = matrix(units, np.arange(size(f["cols"])), size(f["cols"]))
        for name, where, written in (
            ("loss", units, True),
            ("dx", whole, True),
            ("x", whole, False),
            ("labels", units, False),
            ("target", whole, False),
            ("dloss", units * f["dloss_row"], False),
        ):
            if f[name] is not None:
                yield f[name], where, written
    elif step.op == "copy":
        dims = size(f["dim"])
        grid = np.ix_(units, *(np.arange(d) for d in dims[1:]))
        for name in ("y", "x"):
            t, offset = f[name]
            yield (
                t,
                size(offset) + sum(g * s for g, s in zip(grid, size(f[f"{name}_stride"]), strict=True)),
                name == "y",
            )
    elif step.op == "gather":
        cols = size(f["cols"])
        yield f["y"], matrix(units, np.arange(cols), cols), True
        yield f["index"], units, False
        yield f["table"], np.arange(size(f["table_rows"]) * cols), False
    elif step.op == "interp":
        whole = matrix(units, np.arange(size(f["cols"])), size(f["cols"]))
        for name in ("y", "slope", "x"):
            yield f[name], whole, name != "x"
        yield f["knots"], np.arange(size(f["cols"]) * f["n"]), False
        yield f["values"], np.arange(f["n"]), False
    elif step.op == "scatter_add":
        rows, cols = size([f["rows"], f["cols"]])
        yield f["dtable"], matrix(units, np.arange(cols), cols), True
        yield f["dy"], np.arange(rows * cols), False
        yield f["index"], np.arange(rows), False
    elif step.op == "int_to_real":
        whole = matrix(units, np.arange(size(f["elems"])), size(f["elems"]))
        yield f["y"], whole, True
        yield f["x"], whole, False
    elif step.op == "correct":
        yield f["y"], units, True
        yield f["x"], matrix(units, np.arange(size(f["cols"])), size(f["cols"])), False
        yield f["labels"], units, False
    elif step.op == "dim_value":
        yield f["y"], units, True
    else:
        raise AssertionError(f"no account of {step.op}: add one")


def share(step, thread, team, batch):
    """Units of one thread: csrc/runtime/plan.c."""
    units = size_at(step.units, batch)
    if step.single:
        return (0, units) if thread == 0 else (0, 0)
    grains = -(-units // step.grain)
    return tuple(min(grains * t // team * step.grain, units) for t in (thread, thread + 1))


def cells(plan, t, elements):
    """The 4-byte cells that elements of a tensor lie in: (buffer, cell numbers)."""
    buffer, start = plan.layout.place(t)
    buffer = ("dynamic", buffer.number) if isinstance(buffer, Dynamic) else id(buffer)
    width = (8 if t.dtype == "int" else plan.layout.itemsize) // 4
    elements = np.unique(np.asarray(elements).ravel())
    return buffer, (start // 4 + elements[:, None] * width + np.arange(width)).ravel()


def races(plan, batch=1, teams=(2, 3, 5)):
    """Pairs of steps of which one writes what another thread reads or writes, with no barrier between them."""
    found = []
    for team in teams:
        since = []  # (step number, thread, buffer, cells, written) from the last barrier on
        for number, (step, barrier) in enumerate(zip(plan.steps, plan.barriers, strict=True)):
            if barrier:
                since = []
            mine = []
            for thread in range(team):
                lo, hi = share(step, thread, team, batch)
                if lo < hi:
                    for t, elements, written in touched(step, lo, hi, batch):
                        mine.append((number, thread, *cells(plan, t, elements), written))
            for (n, a, buffer, where, w), (n2, b, other, there, v) in itertools.product([*since, *mine], mine):
                if (n, a) != (n2, b) and a != b and buffer == other and (w or v) and np.intersect1d(where, there).size:
                    found.append((team, plan.steps[n].op, n, plan.steps[n2].op, n2))
            since += mine
    return found


def tensors_of(step):
    return {id(base_of(t)): base_of(t) for t in (*step.reads, *step.writes)}


def check_accounts(plan, batch=1):
    """reads and writes name every tensor that the record touches, within its bounds."""
    for step in plan.steps:
        named = {id(base_of(t)) for t in step.reads}, {id(base_of(t)) for t in step.writes}
        for t, elements, written in touched(step, 0, size_at(step.units, batch), batch):
            base = id(base_of(t))
            assert base in named[written] or (not written and base in named[1]), f"{step.op}: {t} is not named"
            elements = np.asarray(elements)
            if elements.size:
                assert elements.min() >= 0 and elements.max() < size_at(numel(base_of(t).shape), batch), (step.op, t)


def check_memory(plan, keep=(), batch=None):
    """No two live tensors overlap in the arena, except an output that takes over an input in that input's last step."""
    batch = plan.capacity if batch is None else batch
    born, dies, tensors = {}, {}, {}
    for number, step in enumerate(plan.steps):
        for key, t in tensors_of(step).items():
            if key not in plan.layout.places:
                born.setdefault(key, number)
                dies[key] = number
                tensors[key] = t
    for t in keep:
        if id(base_of(t)) in dies:
            dies[id(base_of(t))] = len(plan.steps)
    span = {}
    for key, t in tensors.items():
        start = plan.layout.offsets[key]
        n = size_at(numel(t.shape), batch) * (8 if t.dtype == "int" else plan.layout.itemsize)
        assert start % ALIGN == 0 and start + n <= plan.arena.nbytes
        span[key] = (start, start + n)
    taken_over = 0
    for a, b in itertools.combinations(tensors, 2):
        if span[a][0] < span[b][1] and span[b][0] < span[a][1]:
            first, second = (a, b) if born[a] < born[b] else (b, a)
            assert born[first] != born[second]
            assert dies[first] <= born[second], f"{tensors[first]} and {tensors[second]} live at once in the same place"
            if dies[first] == born[second]:
                step = plan.steps[born[second]]
                assert (second, first) in [(id(base_of(o)), id(base_of(i))) for o, i in step.in_place], step.op
                assert span[first] == span[second]
                taken_over += 1
    live = [sum(span[k][1] - span[k][0] for k in tensors if born[k] <= n <= dies[k]) for n in range(len(plan.steps))]
    assert plan.arena.nbytes >= max(live, default=0) - sum(span[k][1] - span[k][0] for k in tensors) * (taken_over > 0)
    return taken_over, sum(-(-(b - a) // ALIGN) * ALIGN for a, b in span.values())


def check(plan, batch=1):
    check_accounts(plan, batch)
    check_memory(plan)
    assert not races(plan, batch)
