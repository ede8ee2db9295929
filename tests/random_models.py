"""Random models, trained for some steps on the CPU and in NumPy: forward, backward and update must agree.

A model is a DAG drawn from (seed, number) alone: layers, ops, shared weights, several inputs, indices into tables; its
batch, the short last one, its loss and its optimiser are drawn as well. From the command line, any number of them:

    python tests/random_models.py --models 100000 --seed 7
    python tests/random_models.py --seed 7 --only 1234
"""

import argparse
import sys
import time
from types import SimpleNamespace

import numpy as np
from numpy_backend import NumPy
from optim_cases import CASES as OPTIMIZERS

import hawfinch as hf
from hawfinch.runtime.backend import CPU, using
from hawfinch.train.update import products

O = hf.ops


def pick(rng, items):
    return items[int(rng.integers(len(items)))]


APART = np.sin(np.arange(400.0))  # so that an argmax does not hang on the last digits of columns that are equal
IDS = 7  # rows of a table that integers index
ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu", "silu", "softplus", "leaky_relu", "elu", "abs", "square", "neg")
POINTWISE = {
    **{name: (lambda x, name=name: getattr(O, name)(x)) for name in ACTIVATIONS},
    "exp": lambda x: O.exp(O.tanh(x)),
    "log": lambda x: O.log(O.square(x) + 0.5),
    "sqrt": lambda x: O.sqrt(O.abs(x) + 0.1),
    "reciprocal": lambda x: O.reciprocal(O.square(x) + 1.0),
    "clip": lambda x: O.clip(x, -0.7, 0.9),
    "expm1": lambda x: O.expm1(O.minimum(x, 0.5)),
    "log1p": lambda x: O.log1p(O.abs(x)),
    "erf": lambda x: O.erf(x),
    "pow": lambda x: (O.square(x) + 0.3) ** 1.7,
    "sign": lambda x: O.sign(x + 0.3) + x,  # not at 0, where dead units are
    "scale": lambda x: 0.5 - x / 3.0,
}
PAIRS = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: O.tanh(a) * b,
    "div": lambda a, b: a / (O.square(b) + 1.0),
    "maximum": lambda a, b: O.maximum(a, b),
    "minimum": lambda a, b: O.minimum(a, b),
    "where": lambda a, b: O.where(a > 0.1, b, a),
    "fma": lambda a, b: a * 0.5 + b * b,
    "row_dot": lambda a, b: a * O.sum(a * b, 1, True) * 0.1,
    "column_dot": lambda a, b: a + O.mean(O.tanh(a) * b, 0, True),
    "gram": lambda a, b: O.tanh(a) @ (O.transpose(O.tanh(a)) @ O.tanh(b)) * (1.0 / 64),
}
ROWS = {
    "softmax": lambda x: O.softmax(x),
    "log_softmax": lambda x: O.log_softmax(x),
    "minus_max": lambda x: x - O.max(x, 1, True),
    "minus_min": lambda x: x - O.min(x, 1, True),
    "centre": lambda x: x - O.mean(x, 0, True),
    "by_sum": lambda x: x / (O.sum(O.square(x), 1, True) + 1.0),
    "over_batch": lambda x: x * O.sum(O.tanh(x)) * 0.05,
    "batch_max": lambda x: x - O.max(O.max(x, 1), 0),
    "outer": lambda x: O.sum(O.tanh(x[:, :, None]) * x[:, None, :], 2) * 0.2,
    "turned": lambda x: O.reshape(O.transpose(O.reshape(x, (-1, 1, x.shape[1])), (0, 2, 1)), (-1, x.shape[1])),
}


class Model(hf.Module):
    """The values of a recipe; the last one, and those that nothing reads, make the output."""

    def __init__(self, recipe, layers, n_in, outputs):
        self.recipe, self.layers, self.n_in = recipe, layers, n_in
        self.heads = [hf.Linear(n) for n in outputs]

    def forward(self, *xs):
        ids = xs[-1] if any(step[0] == "lookup" for step in self.recipe) else None
        values, read = list(xs[: self.n_in]), set()
        for what, a, b, detail in self.recipe:
            x, y = values[a], values[b]
            read |= {a, b}
            if what == "layer":
                values.append(self.layers[detail](x))
            elif what == "concat":
                values.append(O.concat([x, y], 1))
            elif what == "slice":
                values.append(x[:, slice(*detail)])
            elif what == "pad":
                values.append(O.pad(x, [(0, 0), detail], 0.25))
            elif what == "fold":
                values.append(folded(x, *detail))
            elif what == "weight":
                name, shape = detail
                w = self.param(name, shape, "xavier_normal", fan(shape))
                values.append(O.tanh(x) * w if len(shape) == 1 else x @ O.transpose(w))
            elif what == "table":
                name, shape = detail
                rows = O.gather(
                    self.param(name, shape, "xavier_normal", fan(shape)), O.argmax(x + APART[: shape[0]], 1)
                )
                values.append(y + rows)
            elif what == "lookup":
                name, shape = detail
                values.append(x + O.gather(self.param(name, shape, "xavier_normal", shape), ids))
            elif what in POINTWISE:
                values.append(POINTWISE[what](x))
            elif what in ROWS:
                values.append(ROWS[what](x))
            else:
                values.append(PAIRS[what](x, y))
        last = values[-1]
        loose = [v for i, v in enumerate(values[:-1]) if i not in read and i >= self.n_in]
        if loose:
            last = O.concat([last, *loose], 1)
        outputs = tuple(head(last) for head in self.heads)
        return outputs if len(outputs) > 1 else outputs[0]


def fan(shape):
    return shape if len(shape) == 2 else shape * 2


def folded(x, p, q, axis, how):
    """(B, p q) as (B, p, q), reduced and repeated along an axis."""
    v = O.reshape(x, (-1, p, q))
    r = {"sum": O.sum, "mean": O.mean, "max": O.max}[how](v, axis, True)
    return O.reshape(v - r * 0.5, (-1, p * q))


def draw(seed, number):
    """(model, loss, optimiser, data, how to train) of a number."""
    rng = np.random.default_rng([seed, number])
    large = rng.random() < 0.03  # across the chunks of kernels: 64 rows, 64 columns
    width = lambda: int(rng.integers(1, 80 if large else 10))  # noqa: E731
    widths = [width() for _ in range(1 if rng.random() < 0.7 else 2)]
    n_in = len(widths)
    recipe, layers = [], []
    often = {"linear": 5, "layer": 3, "point": 5, "pair": 4, "rows": 2, "move": 2, "weight": 1, "table": 1, "lookup": 1}
    kinds = [kind for kind, n in often.items() for _ in range(n)]
    for _ in range(int(rng.integers(1, 13))):
        a, b = (int(rng.integers(max(0, len(widths) - 4), len(widths))) for _ in range(2))
        w, kind = widths[a], pick(rng, kinds)
        out, step = w, None
        if kind == "linear":
            shared = [i for i, (made, n, m) in enumerate(layers) if made is hf.Linear and n == w]
            if shared and rng.random() < 0.4:
                i = pick(rng, shared)
            else:
                i = len(layers)
                layers.append((hf.Linear, w, width()))
            out, step = layers[i][2], ("layer", a, a, i)
        elif kind == "layer":
            layers.append((pick(rng, [hf.BatchNorm, hf.LayerNorm, hf.Dropout]), w, w))
            step = ("layer", a, a, len(layers) - 1)
        elif kind == "point":
            step = (pick(rng, list(POINTWISE)), a, a, None)
        elif kind == "rows":
            step = (pick(rng, list(ROWS)), a, a, None)
        elif kind == "pair":
            alike = [i for i, n in enumerate(widths) if n == w]
            step = (pick(rng, list(PAIRS)), a, pick(rng, alike), None)
        elif kind == "weight":
            shape = (w,) if rng.random() < 0.5 else (width(), w)
            out, step = shape[0], ("weight", a, a, (f"w{len(recipe)}", shape))
        elif kind == "table":
            step = ("table", a, b, (f"t{len(recipe)}", (w, widths[b])))
            out = widths[b]
        elif kind == "lookup":
            step = ("lookup", a, a, (f"e{len(recipe)}", (IDS, w)))
        elif (move := pick(rng, ["concat", "slice", "pad", "fold"])) == "concat":
            out, step = w + widths[b], ("concat", a, b, None)
        elif move == "slice":
            bounds = (int(rng.integers(0, w)), w, int(rng.integers(1, 3))) if rng.random() < 0.7 else (None, None, -1)
            out, step = len(range(*slice(*bounds).indices(w))), ("slice", a, a, bounds)
        elif move == "pad":
            around = tuple(int(n) for n in rng.integers(0, 3, 2))
            out, step = w + sum(around), ("pad", a, a, around)
        else:
            p = pick(rng, [d for d in range(1, w + 1) if w % d == 0])
            step = ("fold", a, a, (p, w // p, int(rng.integers(1, 3)), pick(rng, ["sum", "mean", "max"])))
        widths.append(out)
        recipe.append(step)
    rows = int(rng.integers(1, 150 if large else 20))
    batch = int(rng.integers(1, rows + 3))
    made = [
        kind(m) if kind is hf.Linear else kind(float(rng.uniform(0, 0.9))) if kind is hf.Dropout else kind()
        for kind, _, m in layers
    ]
    x = tuple(rng.normal(size=(rows, n)) for n in widths[:n_in])
    if any(step[0] == "lookup" for step in recipe):
        x = (*x, rng.integers(0, IDS, rows))
    outputs = [int(n) for n in rng.integers(1, 6, 1 if rng.random() < 0.8 else 2)]
    losses, ys = zip(*[draw_loss(rng, rows, n) for n in outputs], strict=True)
    loss, y = (losses, ys) if len(outputs) > 1 else (losses[0], ys[0])
    lr, clip = 10 ** rng.uniform(-4, -1.5), pick(rng, [None, None, 0.3])
    more = {"clip_norm": clip, "clip_value": pick(rng, [None, None, 0.2]), "weight_decay": pick(rng, [0.0, 0.05])}
    # no row has an eps near rounding errors, which would blow these up to a step of lr; Lion takes their sign
    row = OPTIMIZERS[pick(rng, [name for name in OPTIMIZERS if name not in ("lion", "rprop")])]
    optimizer = row.optimizer(lr=lr, **more)
    weight = rng.uniform(0, 2, rows) if rng.random() < 0.2 else None
    how = {
        "batch": batch,
        "weight": weight,
        "shuffle": bool(rng.random() < 0.5),
        "epochs": 1 + (rows < 2 * batch),
        "products": bool(rng.random() < 0.3),
        "validate": bool(rng.random() < 0.2),
    }
    model = Model(tuple(recipe), made, n_in, outputs).astype("float64")
    return model, loss, optimizer, (x, y), how


def draw_loss(rng, rows, n):
    """A loss and targets for n outputs."""
    kind = pick(rng, ["mse", "mae", "huber", "labels", "probabilities", "bce"])
    if kind in ("labels", "probabilities"):
        y = rng.integers(0, n, rows) if kind == "labels" else rng.dirichlet(np.ones(n), rows)
        return hf.SoftmaxCrossEntropy(label_smoothing=pick(rng, [0.0, 0.1])), y
    if kind == "bce":
        return hf.BCEWithLogits(), rng.integers(0, 2, (rows, n)) * 1.0
    return {"mse": hf.MSE, "mae": hf.MAE, "huber": hf.Huber}[kind](), rng.normal(size=(rows, n))


class Nudge:
    """Changes all parameters by up to so much at the beginning and after each step."""

    def __init__(self, size):
        self.size, self.rng = size, np.random.default_rng(0)

    def on_fit_begin(self, trainer):
        for p in trainer.model.parameters().values():
            p += self.size * self.rng.uniform(-1, 1, p.shape)

    def on_step_end(self, trainer, step, loss):
        self.on_fit_begin(trainer)


class Virtual(CPU):
    """The CPU with virtual threads, one at a time in an order drawn from ``order``: sees a barrier that is missing."""

    def __init__(self, threads, order):
        self.threads, self.order = threads, order

    def bind(self, plan, max_threads):
        core = super().bind(plan, max_threads)

        def run(
            dynamic=(), n_steps=1, batch=1, rows=1, index=None, scalars=None, seed=0, step0=0, threads=1, *rest, **kw
        ):
            given = dynamic, n_steps, batch, rows, index, scalars, seed, step0, *rest
            return core.run_debug(self.threads, self.order, *given)

        return SimpleNamespace(run=run, set_source=core.set_source, drop_sources=core.drop_sources, **IDLE)


IDLE = {"busy": False, "halt": None, "last_step": 0}


def trained(seed, number, backend, callbacks=()):
    """All that training model ``number`` on a backend leaves behind, by name."""
    model, loss, optimizer, (x, y), how = draw(seed, number)
    few = tuple(v[:16] for v in x)  # more would go in chunks, and here rows may depend on each other
    x, few = (x, few) if len(x) > 1 else (x[0], few[0])
    least = products.LEAST_PRODUCT
    if how["products"] and isinstance(backend, CPU):  # small weights, too, take their gradient from a product
        products.LEAST_PRODUCT = 1
    try:
        with using(backend):
            trainer = hf.Trainer(model, loss, optimizer, seed=number, threads=1)
            history = trainer.fit(
                x,
                y,
                epochs=how["epochs"],
                batch_size=how["batch"],
                sample_weight=how["weight"],
                shuffle=how["shuffle"],
                validation_data=(x, y) if how["validate"] else None,
                callbacks=callbacks,
            )
            left = {**model.parameters(), **model.buffers()}
            predicted = model.predict(few)
            left.update(enumerate(predicted) if isinstance(predicted, tuple) else {"prediction": predicted}.items())
            left.update({f"history of {k}": np.array(history[k]) for k in history.to_dict()})
        return left
    except hf.NonFiniteError:
        return {}
    finally:
        products.LEAST_PRODUCT = least


class Difference(AssertionError):
    """What the CPU and NumPy leave behind is not the same."""


def run(seed, number, tolerance=1e-9):
    """Trains model ``number`` on both; raises Difference where they differ by more than the model's own condition."""
    numpy = NumPy(fuses=number % 4 == 0)
    found, wanted = trained(seed, number, CPU()), trained(seed, number, numpy)
    if found.keys() != wanted.keys():
        raise Difference(f"the CPU left {sorted(found)}, NumPy {sorted(wanted)}")
    bad = [name for name in found if far(found[name], wanted[name]) > tolerance]
    if bad:  # as far as the same model ends when its parameters change in their last digits: that is its condition
        moved = trained(seed, number, numpy, [Nudge(1e-13)])
        slack = 10 * max(far(moved.get(k, np.inf), wanted[k]) for k in wanted)
        bad = [k for k in bad if far(found[k], wanted[k]) > tolerance + slack]
    if bad:
        raise Difference(", ".join(f"{name} differs by {far(found[name], wanted[name]):.2g}" for name in bad))
    if number % 3 == 0:
        again = trained(seed, number, Virtual(2 + number % 4, number))
        bad = [name for name in found if not np.array_equal(found[name], again[name])]
        if bad:
            raise Difference(f"{', '.join(bad)}: other bits with {2 + number % 4} threads")


def far(a, b):
    """The largest distance between a and b, relative to their size where that is more than 1."""
    with np.errstate(invalid="ignore"):
        d = np.abs(a - b) / max(1.0, np.abs(b).max(initial=0.0))
    return np.inf if np.isnan(d).any() else d.max(initial=0.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="this model alone, with its recipe")
    parser.add_argument("--keep-going", action="store_true")
    args = parser.parse_args()
    numbers = range(args.models) if args.only is None else [args.only]
    start, failed = time.process_time(), 0
    for number in numbers:
        if args.only is not None:
            model, *rest = draw(args.seed, number)
            print(*model.recipe, model.layers, *rest, sep="\n")
        try:
            run(args.seed, number)
        except Exception as error:
            failed += 1
            print(f"model {number}: {type(error).__name__}: {error}\n    {reproducer(args.seed, number)}", flush=True)
            if args.only is not None:
                raise
            if not args.keep_going:
                return 1
    print(f"{len(numbers)} models, {failed} failed, {time.process_time() - start:.1f} s")
    return failed > 0


def reproducer(seed, number):
    return f"python tests/random_models.py --seed {seed} --only {number}"


if __name__ == "__main__":
    sys.exit(main())
