"""``signal``: how activations and gradients fare on their way through a net, layer by layer."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler.autodiff import gradients
from ..errors import import_extra
from ..ir import PARAM, Array, Tensor, apply, collector_paused, leaf, size_at, tracing
from ..nn import ReLU, Sigmoid, Tanh
from ..nn.module import Module
from ..ops.elementwise import COPY
from ..train.batch_trace import BatchTrace
from ..values import check_whole
from .surface import Surface

ROWS = 256
NEAR = 0.01  # of the way between both ends of a sigmoid: a unit nearer to one is saturated


class Layer(NamedTuple):
    """A layer's signal. name: its path. kind: its class. shape: of a row's output. mean, deviation: of its outputs over
    all rows and units. zeros: the share of outputs that are 0. dead: of a ReLU the share of units that are 0 for all
    rows. saturated: of a sigmoid or tanh the share of outputs within 1 % of its ends. gradient: the norm of the loss's
    gradient by its outputs. parameter_gradient, parameter_norm: of its own parameters; 0 where it has none."""

    name: str
    kind: str
    shape: tuple[int, ...]
    mean: float
    deviation: float
    zeros: float
    dead: float
    saturated: float
    gradient: float
    parameter_gradient: float
    parameter_norm: float

    @property
    def ratio(self) -> float:
        """The norm of its parameters' gradient over that of the parameters; NaN where it has none."""
        return self.parameter_gradient / self.parameter_norm if self.parameter_norm > 0 else float("nan")


def unit_shares(layer: Module, out: Array) -> tuple[float, float]:
    """Shares of a layer's units that are dead and of its outputs, (rows, ...), that are saturated."""
    if isinstance(layer, ReLU):
        return float(np.mean((out <= 0).all(0))), 0.0
    if isinstance(layer, Sigmoid | Tanh):
        low = 0.0 if isinstance(layer, Sigmoid) else -1.0
        return 0.0, float(np.mean(np.minimum(out - low, 1.0 - out) < NEAR * (1.0 - low)))
    return 0.0, 0.0


class Signal:
    """What ``signal`` found: ``layers``, a ``Layer`` each, in the order in which they work; ``loss``, that of the
    rows."""

    def __init__(self, layers: list[Layer], loss: float, rows: int):
        self.layers, self.loss, self._rows = layers, loss, rows

    def __getitem__(self, name: str) -> Layer:
        """The layer of this path. Raises KeyError."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"no layer {name!r}; there are {', '.join([layer.name for layer in self.layers])}")

    def __repr__(self) -> str:
        lines = [f"signal: loss {self.loss:.4g} of {self._rows} rows"]
        head = ("layer", "kind", "shape", "mean", "deviation", "zeros", "dead", "saturated", "gradient", "ratio")
        table = [head]
        for s in self.layers:
            shares = [f"{v:.2f}" if v else "" for v in (s.zeros, s.dead, s.saturated)]
            ratio = f"{s.ratio:.1e}" if s.parameter_norm > 0 else ""
            numbers = (f"{s.mean:.3g}", f"{s.deviation:.3g}", *shares, f"{s.gradient:.1e}", ratio)
            table.append((s.name, s.kind, "x".join(map(str, s.shape)), *numbers))  # type: ignore[arg-type]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for line in table:
            cells = [f"{v:<{w}}" if i < 2 else f"{v:>{w}}" for i, (v, w) in enumerate(zip(line, widths, strict=True))]
            lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)

    def plot(self, ax: Any = None) -> Any:
        """Draws, from the first layer to the last, the deviation of the outputs and the norm of the gradient by them,
        both on log scales; shares of dead and saturated units as bars. Gives the two Axes. Needs matplotlib.

        ax: two Axes to draw into; default a new figure.
        """
        plt = import_extra("matplotlib.pyplot", "plot")
        n = len(self.layers)
        if ax is None:
            width = max(5.0, 0.5 * n + 2)
            ax = plt.subplots(2, 1, figsize=(width, 5), sharex=True, layout="constrained")[1]
        upper, lower = ax
        at = np.arange(n)
        for axes, values, name in (
            (upper, [s.deviation for s in self.layers], "deviation of outputs"),
            (lower, [s.gradient for s in self.layers], "norm of gradient"),
        ):
            known = np.array([v if v > 0 else np.nan for v in values])
            axes.plot(at, known, marker="o", color="tab:blue")
            if np.isfinite(known).any():
                axes.set_yscale("log")
            axes.set_ylabel(name, color="tab:blue")
            axes.grid(alpha=0.3)
        shares = upper.twinx()
        shares.bar(at - 0.15, [s.dead for s in self.layers], 0.3, color="tab:red", alpha=0.4, label="dead")
        shares.bar(at + 0.15, [s.saturated for s in self.layers], 0.3, color="tab:purple", alpha=0.4, label="saturated")
        shares.set_ylim(0, 1)
        shares.set_ylabel("share of units")
        shares.legend(frameon=False, fontsize=8, loc="upper right")
        lower.set_xticks(at, [f"{s.name}\n{s.kind}" for s in self.layers], fontsize=8)
        return ax


def signal(
    model: Module, x: Any, y: Any, *, loss: Any, rows: int = ROWS, training: bool = True, seed: int = 0
) -> Signal:
    """Statistics of activations and gradients, layer by layer, on some rows.

    Of each layer's outputs a: mean, deviation (the root mean square of a - mean), the shares of zeros, of dead and of
    saturated units; the norm of dL/da, L the mean loss; and of its parameters p the norm of dL/dp beside that of p.
    Outputs and gradients whose sizes stay alike from layer to layer are what initialisations aim at (Glorot, Bengio,
    "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010; He et al., ICCV 2015).

    model: not changed; built by seed where it is not. loss: as for ``Trainer``. rows: how many of x are used, drawn by
    seed; default 256. training: default True, layers in training mode, with the random numbers of one step. All is
    computed in the model's dtype, in one plan: it costs compiling it, up to 0.1 s, and one step of so many rows.
    A layer that is called twice has the outputs of its last call. Raises ArgumentError and what ``fit`` does.

    >>> import numpy as np, hawfinch as hf
    >>> x = np.random.default_rng(0).normal(size=(100, 8))
    >>> model = hf.Sequential(*[m for _ in range(8) for m in (hf.Linear(8), hf.Sigmoid())], hf.Linear(1))
    >>> found = hf.signal(model, x, x[:, :1], loss=hf.MSE())
    >>> found["0"].gradient < 1e-4 * found["16"].gradient
    True
    """
    dtype = model.dtype if isinstance(model, Module) else "float32"
    surface = Surface(
        model, x, y, loss, dtype=dtype, training=bool(training), seed=seed, rows=check_whole(rows, "rows", 1)
    )
    outputs: dict[int, tuple[Module, Tensor]] = {}

    def keep(layer: Module, out: Any) -> Any:
        if isinstance(out, Tensor) and out.dtype == "real":
            outputs[id(layer)] = (layer, out)
        return out

    path_of = {id(m): path for path, m in surface.model.modules() if path}
    with collector_paused():
        trace = BatchTrace(surface.model, surface.key, keep)
        kept = [(path_of[i], m, t) for i, (m, t) in outputs.items() if i in path_of and not list(m.children())]
        leaves = [leaf(trace.graph, PARAM, p) for p in surface.trainable.values()]
        tensors = [t for _, _, t in kept]
        found = gradients(trace.graph, trace.loss, [*tensors, *leaves])
        shapes = [*[t.shape for t in tensors], *[p.shape for p in surface.trainable.values()]]
        with tracing(trace.graph):
            slopes = [apply(COPY, 0.0, shape=shape) if g is None else g for g, shape in zip(found, shapes, strict=True)]
        n = surface.data.rows
        arrays = [np.zeros([size_at(s, n) for s in t.shape], dtype) for t in (*tensors, *slopes)]
        homes: list[Any] = [(surface.number, 0), *[(a, 0) for a in arrays]]
        surface.plan(trace.graph, trace.sources, [], [trace.loss, *tensors, *slopes], homes)()
    outs, by_outputs = arrays[: len(kept)], arrays[len(kept) : 2 * len(kept)]
    of = dict(zip(surface.trainable, arrays[2 * len(kept) :], strict=True))
    values = {name: p.data for name, p in surface.trainable.items()}
    layers = [
        _layer(path, m, out, slope, {k: (of[k], values[k]) for k in of if k.rpartition(".")[0] == path})
        for (path, m, _), out, slope in zip(kept, outs, by_outputs, strict=True)
    ]
    return Signal(layers, float(surface.number[0]), n)


def _layer(path: str, layer: Module, out: Array, slope: Array, own: dict[str, tuple[Array, Any]]) -> Layer:
    a = out.astype(np.float64)
    return Layer(
        path,
        type(layer).__name__,
        out.shape[1:],
        float(a.mean()),
        float(a.std()),
        float(np.mean(a == 0)),
        *unit_shares(layer, out),
        _norm(slope),
        float(np.sqrt(sum([_norm(g) ** 2 for g, _ in own.values()]))),
        float(np.sqrt(sum([_norm(p) ** 2 for _, p in own.values()]))),
    )


def _norm(a: Array) -> float:
    return float(np.linalg.norm(np.ravel(a).astype(np.float64)))
