"""``gradient_check``: own gradients against central differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, NonFiniteError, ShapeError, import_extra
from ..function import as_input, compile as compiled, flatten, positions, unflatten, value_and_grad
from ..ir import Array, as_array
from ..nn.module import Module
from ..values import check_real, check_whole, is_word, short
from .surface import Surface
from .tails import Tail

EPSILON = 1e-5
LARGEST = 1e140  # gradient, whose square and the squares' sum float64 still holds
VERDICTS = ((1e-7, "right"), (1e-5, "probably right"), (1e-3, "doubtful"), (math.inf, "wrong"))
TOO_SMALL = "too small to tell"
KINKS = "at kinks"
SMALL = 1e-9  # of the whole gradient's norm
DIRECTIONS = 4
LADDER = 10.0 ** np.arange(2, -6, -1)  # steps that are tried where the first one gives something else
MOST_LADDERS = 512  # elements of a parameter that climb it
UNIT = float(np.finfo(np.float64).eps) / 2


class Compared(NamedTuple):
    """One parameter. ``distance``: the larger of that of the elements compared and of what random directions through
    all of it say. ``worst``: the element that is farthest off: (index, own gradient, difference quotient). ``kinks``:
    elements at which the function has no derivative."""

    name: str
    shape: tuple[int, ...]
    compared: int
    distance: float
    verdict: str
    norm: float
    worst: tuple[tuple[int, ...], float, float] | None
    kinks: int


class Probe:
    """A function of arrays, which are perturbed in place, and its own gradient. tails: a faster way for one of them,
    where there is one."""

    def __init__(
        self,
        names: Sequence[str],
        arrays: Sequence[Array],
        slopes: Sequence[Array],
        value: Callable[[], float],
        tail: Callable[[str], Tail | None] = lambda name: None,
    ):
        self.names, self.value, self.tail = names, value, tail
        self.shapes = [a.shape for a in arrays]
        self.arrays = [a.reshape(-1) for a in arrays]
        self.slopes = [np.asarray(g, np.float64).reshape(-1) for g in slopes]
        self.scales = [max(1.0, _rms(a)) for a in self.arrays]
        self.base = value()
        if not np.isfinite(self.base):
            raise NonFiniteError(f"gradient_check: the function is {self.base} at this point: it has no gradient there")
        if max([float(np.abs(g).max(initial=0.0)) for g in self.slopes], default=0.0) > LARGEST:
            raise NonFiniteError(
                "gradient_check: the gradient is too large for float64; bring inputs to numbers around 1"
            )
        self.noise = self._noise()

    def _noise(self) -> float:
        """The rounding error of a value: second differences over steps too short for any curvature."""
        rng = np.random.default_rng(0)
        seconds = []
        for _ in range(4):
            for a, scale in zip(self.arrays, self.scales, strict=True):
                up, down = self.along(a, rng.choice([-1.0, 1.0], a.size), 1e-9 * scale)
                seconds.append(up + down - 2 * self.base)
        return max(_rms(np.array(seconds)) / math.sqrt(6), UNIT * abs(self.base), 1e-300)

    def along(self, a: Array, d: Array, h: float) -> tuple[float, float]:
        """The values at h to both sides along d."""
        kept = a.copy()
        a += h * d
        up = self.value()
        np.subtract(kept, h * d, out=a)
        down = self.value()
        a[...] = kept
        return up, down

    def at(self, a: Array, i: int, h: float) -> tuple[float, float]:
        """The difference quotients to the right and to the left of element i."""
        kept = a[i]
        a[i] = kept + h
        right = (self.value() - self.base) / (a[i] - kept)
        a[i] = kept - h
        left = (self.value() - self.base) / (a[i] - kept)
        a[i] = kept
        return right, left

    def quotients(self, number: int, elements: Array, h: float) -> Array:
        """Central differences of these elements; of all of them in the fastest way there is."""
        a, name = self.arrays[number], self.names[number]
        tail = self.tail(name) if len(elements) == a.size else None
        if tail is not None:
            return tail.quotients(h)
        found = np.empty(len(elements))
        for n, i in enumerate(elements):
            kept = a[i]
            a[i] = kept + h
            up, high = self.value(), a[i]
            a[i] = kept - h
            found[n] = (up - self.value()) / (high - a[i])
            a[i] = kept
        return found


def _rms(a: Array) -> float:
    return float(np.sqrt(np.mean(np.square(a)))) if a.size else 0.0


def _norm(a: Array) -> float:
    return float(np.sqrt(np.sum(np.square(a))))


def relative_distance(a: Array, b: Array) -> float:
    """|a - b| / (|a| + |b|); 0 where both are 0."""
    total = _norm(a) + _norm(b)
    return _norm(a - b) / total if total else 0.0


def _settled(sides: Callable[[float], tuple[float, float]], h: float, noise: float, own: float) -> tuple[float, bool]:
    """(the derivative, whether there is a kink instead), of differences over steps of all sizes around h.

    sides(h): the quotients to the right and to the left. The step is the one whose central difference has the least
    estimated error: rounding, and the change to the next shorter step. Whatever the step, both sides differ by a
    curvature that shrinks with it, or by a kink that does not. At a kink every slope between the two is one; an own
    gradient outside of them proves nothing (NaN): several units may be at their kinks, and bend it to both sides.
    """
    steps = h * LADDER
    pairs = np.array([sides(step) for step in steps])
    middle, gap = pairs.mean(1), np.abs(pairs[:, 0] - pairs[:, 1])
    rounding = noise / steps
    change = np.abs(np.diff(middle, append=np.inf))
    best = int(np.argmin(np.nan_to_num(change + rounding, nan=np.inf)))
    found = float(middle[best])
    shorter = gap[best + 1] / gap[best] if best + 1 < len(gap) and gap[best] else 0.0  # a curvature's: 1/10
    if shorter > 0.3 and gap[best] > 20 * rounding[best] and gap[best] > 1e-6 * (abs(found) + abs(own)):
        low, high = sorted(pairs[best])
        slack = 10 * rounding[best] + 1e-6 * (high - low)
        return own if low - slack <= own <= high + slack else math.nan, True
    return found, False


def _compare(probe: Probe, number: int, elements: Array, epsilon: float, seed: int, whole: float) -> Compared:
    a, own, shape = probe.arrays[number], probe.slopes[number], probe.shapes[number]
    h = epsilon * probe.scales[number]
    noise = probe.noise
    g = own[elements]
    quotients = probe.quotients(number, elements, h)
    kinks = 0

    def off(d: Array, h: float) -> Array:
        """Those that differ by more than rounding, the farthest first."""
        error = np.abs(d - g)
        wrong = np.flatnonzero(~(error <= 1e-8 * _rms(g) + 4 * noise / h))
        return wrong[np.argsort(-error[wrong])]

    for n in off(quotients, h)[:MOST_LADDERS]:
        i = int(elements[n])
        quotients[n], kink = _settled(lambda step, i=i: probe.at(a, i, step), h, noise, float(g[n]))  # type: ignore[misc]
        kinks += kink
    told = ~np.isnan(quotients)
    elements, g, quotients = elements[told], g[told], quotients[told]
    error, scale = quotients - g, max(_norm(g), _norm(quotients))
    distance = relative_distance(quotients, g)
    rng = np.random.default_rng((seed, number))
    squares: list[tuple[float, float]] = []
    size = _norm(own)
    for _ in range(DIRECTIONS if a.size > len(told) else 0):
        d = rng.choice([-1.0, 1.0], a.size)
        slope = float(own @ d)
        along = _direction(probe, a, d, h, slope, size)
        if along is not None:
            squares.append(((along - slope) ** 2, along**2))
    if squares:  # the mean of (v d)^2 over such d is |v|^2
        apart, length = [math.sqrt(sum(column) / len(squares)) for column in zip(*squares, strict=True)]
        distance = max(distance, apart / max(size + length, 1e-300))
        scale = max(scale, size, length)
    worst = int(np.argmax(np.abs(error))) if len(elements) else None
    place = None
    if worst is not None:
        index = tuple(int(v) for v in np.unravel_index(int(elements[worst]), shape))
        place = (index, float(g[worst]), float(quotients[worst]))
    blind = 10 * noise / h * math.sqrt(max(len(elements), 1))
    if not len(elements) and not squares:
        verdict = KINKS
    else:
        verdict = (
            TOO_SMALL if scale <= max(SMALL * whole, blind) and distance > VERDICTS[0][0] else verdict_of(distance)
        )
    return Compared(probe.names[number], shape, len(told), distance, verdict, scale, place, kinks)


def _direction(probe: Probe, a: Array, d: Array, h: float, slope: float, size: float) -> float | None:
    """The derivative along d; None at a kink, of which there may be many, so that no interval is known."""
    up, down = probe.along(a, d, h)
    central = (up - down) / (2 * h)
    if abs(central - slope) <= 1e-8 * size + 4 * probe.noise / h:
        return central

    def sides(step: float) -> tuple[float, float]:
        up, down = probe.along(a, d, step)
        return (up - probe.base) / step, (probe.base - down) / step

    found, kink = _settled(sides, h, probe.noise, slope)
    return None if kink else found


def verdict_of(distance: float) -> str:
    """What a distance says."""
    return next(word for most, word in VERDICTS if distance <= most or most == math.inf)


class GradientCheck:
    """What ``gradient_check`` found: ``rows``, one for each parameter, ``distance`` and ``verdict``, the worst of
    them."""

    def __init__(self, probe: Probe, rows: list[Compared], epsilon: float):
        self._probe, self.rows, self.epsilon = probe, rows, epsilon
        judged = [row for row in rows if row.verdict not in (TOO_SMALL, KINKS)]
        self.distance = max([row.distance for row in judged], default=0.0)
        self.verdict = verdict_of(self.distance) if judged else TOO_SMALL

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the gradient: every distance is at most 1e-5, or too small to tell."""
        return self.distance <= VERDICTS[1][0]

    def __repr__(self) -> str:
        n, total = sum([row.compared for row in self.rows]), sum([math.prod(row.shape) for row in self.rows])
        lines = [f"gradient check: {self.verdict}, distance {self.distance:.1e} ({n} of {total} numbers compared)"]
        table = [("parameter", "shape", "compared", "distance", "verdict")]
        table += [
            (r.name, "x".join(map(str, r.shape)) or "()", str(r.compared), f"{r.distance:.1e}", r.verdict)
            for r in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for name, shape, compared, distance, verdict in table:
            line = f"{name:<{widths[0]}}  {shape:>{widths[1]}}  {compared:>{widths[2]}}  {distance:>{widths[3]}}  "
            lines.append(line + verdict)
        for row in self.rows:
            if row.worst is not None and row.verdict in ("wrong", "doubtful"):
                index, own, found = row.worst
                at = f"[{', '.join(map(str, index))}]" if index else ""
                lines.append(
                    f"{row.name}{at}: the gradient says {own + 0.0:.6g}, differences of the function {found:.6g}"
                )
        kinks = sum([row.kinks for row in self.rows])
        if kinks:
            lines.append(f"{kinks} of the numbers lie at a kink, where the function has no derivative")
        return "\n".join(lines)

    def over_epsilon(self, epsilons: Sequence[float] | None = None, samples: int = 8) -> dict[str, Array]:
        """For each parameter its distance at each epsilon, of a few elements and by plain central differences: at large
        ones their truncation and kinks between, at small ones rounding. Under "epsilon" the epsilons."""
        steps = np.logspace(-1, -11, 21) if epsilons is None else np.asarray(epsilons, np.float64)
        found: dict[str, Array] = {"epsilon": steps}
        rng = np.random.default_rng(0)
        for number, (name, a) in enumerate(zip(self._probe.names, self._probe.arrays, strict=True)):
            elements = rng.choice(a.size, min(samples, a.size), replace=False)
            g, scale = self._probe.slopes[number][elements], self._probe.scales[number]
            found[name] = np.array(
                [
                    relative_distance(
                        np.array([np.mean(self._probe.at(self._probe.arrays[number], i, e * scale)) for i in elements]),
                        g,
                    )
                    for e in steps
                ]
            )
        return found

    def plot(self, ax: Any = None) -> Any:
        """Draws the distance over epsilon, a line for each parameter, with the bounds of the verdicts; gives the Axes.

        A right gradient is a valley: to its right truncation, and jumps where kinks come to lie within the step, to its
        left rounding. A wrong one is a plateau. Needs matplotlib.
        """
        plt = import_extra("matplotlib.pyplot", "plot")
        if ax is None:
            ax = plt.subplots(figsize=(7, 4), layout="constrained")[1]
        curves = self.over_epsilon()
        steps = curves.pop("epsilon")
        for name, distances in curves.items():
            ax.plot(steps, np.maximum(distances, 1e-16), marker=".", label=name)
        for (most, word), color in zip(VERDICTS[:3], ("tab:green", "tab:olive", "tab:red"), strict=True):
            ax.axhline(most, color=color, linestyle=":", linewidth=1)
            ax.annotate(
                word, (1, most), (-3, -3), xycoords=("axes fraction", "data"), textcoords="offset points",
                ha="right", va="top", color=color, fontsize=8,
            )  # fmt: off
        ax.axvline(self.epsilon, color="gray", linestyle="--", linewidth=1)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("epsilon, in units of each parameter's scale")
        ax.set_ylabel("relative distance")
        ax.legend(frameon=False, fontsize=8)
        ax.grid(alpha=0.3)
        return ax


def gradient_check(
    model: Any,
    *args: Any,
    loss: Any = None,
    argnums: int | Sequence[int] = 0,
    gradient: Callable[..., Any] | None = None,
    epsilon: float | None = None,
    samples: int | str = 32,
    rows: int = 32,
    training: bool = True,
    seed: int = 0,
) -> GradientCheck:
    """Compares gradients with differences of the function itself: hf.gradient_check(model, x, y, loss=hf.MSE()), or of
    a function, hf.gradient_check(fn, *args, argnums=0, gradient=None).

    The distance is |g' - g| / (|g'| + |g|), where g'_i = (f(p + h e_i) - f(p - h e_i)) / 2h in float64; at most 1e-7 is
    "right", 1e-5 "probably right", 1e-3 "doubtful", more is "wrong". A parameter whose gradient is under 1e-9 of
    the whole one's norm, or under what rounding hides, is "too small to tell": a bias before a batch norm, a net that
    has converged. Where a difference disagrees, steps of many sizes around h are tried, so that a kink (of a ReLU)
    within the step, or rounding, is no error; at a kink any slope between those of both sides is right.

    model: it is not changed: a copy in float64 is checked, its gradient as training computes it. training: default
    True, layers in training mode, with the random numbers of one step. rows: how many of x are used, drawn by seed;
    default 32. fn: gives a scalar; without ``gradient`` it is made of hf.ops, and the gradient is hf.grad's.
    gradient: a function of the same arguments that gives the gradient by argnums; fn may then be any of arrays.
    samples: numbers of each parameter that are compared one by one, drawn by seed (default 32), or "all". What is not
    drawn is compared along random directions of +-1 through all of the parameter, whose mean square error is that of
    the whole vector. epsilon: h is epsilon times the parameter's scale, max(1, rms); default 1e-5. The 1e-7 that is
    often taught leaves a right gradient of 784-256-10 at a distance of 1e-7 to 4e-7 for rounding alone, 1e-5 at 2e-9.

    Raises ArgumentError, ShapeError, NonFiniteError. Stanford CS231n, "Gradient checks"; Rademacher directions:
    Hutchinson, Communications in Statistics 18, 1989.

    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> model = hf.Sequential(hf.Linear(8), hf.Tanh(), hf.Linear(1))
    >>> check = hf.gradient_check(model, x, x[:, :1] ** 2, loss=hf.MSE())
    >>> check.verdict, [row.name for row in check.rows]
    ('right', ['0.weight', '0.bias', '2.weight', '2.bias'])
    >>> hf.gradient_check(lambda w: np.sum(w**3), x, gradient=lambda w: 2 * w**2).verdict
    'wrong'
    """
    step = EPSILON if epsilon is None else check_real(epsilon, "epsilon", "in (0, 1)", lambda v: 0 < v < 1)
    if not is_word(samples, "all"):
        samples = check_whole(samples, 'samples, where it is not "all",', 1)
    if isinstance(model, Module):
        if gradient is not None or positions(argnums) != 0:
            raise ArgumentError("gradient and argnums are for a function: a model is checked by all its parameters")
        if not 1 <= len(args) <= 2:
            raise ArgumentError(f"gradient_check(model, x, y, loss=...): expected x and y, got {len(args)} arguments")
        probe = _of_model(model, args[0], args[1] if len(args) > 1 else None, loss, rows, training, seed)
    elif callable(model):
        if loss is not None:
            raise ArgumentError("loss is for a model: a function gives its own number")
        probe = _of_function(model, args, argnums, gradient)
    else:
        raise ArgumentError(f"gradient_check takes a model or a function, not {short(model)}")
    rng = np.random.default_rng(check_whole(seed, "seed"))
    whole = math.hypot(*[_norm(g) for g in probe.slopes])
    found = []
    for number, a in enumerate(probe.arrays):
        few = isinstance(samples, int) and samples < a.size
        elements = np.sort(rng.choice(a.size, int(samples), replace=False)) if few else np.arange(a.size)
        found.append(_compare(probe, number, elements, step, seed, whole))
    return GradientCheck(probe, found, step)


def _of_model(model: Module, x: Any, y: Any, loss: Any, rows: int, training: bool, seed: int) -> Probe:
    surface = Surface(model, x, y, loss, training=training, seed=seed, rows=rows)
    surface.checked_value()
    _, g = surface.value_and_gradient()
    arrays: list[Any] = [p.data for p in surface.trainable.values()]
    slopes = list(surface.by_name(g).values())
    return Probe(list(surface.trainable), arrays, slopes, surface.value, lambda name: Tail.of(surface, name))


def _of_function(
    fn: Callable[..., Any], args: tuple[Any, ...], argnums: Any, gradient: Callable[..., Any] | None
) -> Probe:
    leaves, template = flatten(args, lists=True)
    arrays = [as_input(v, f"argument {i}") for i, v in enumerate(leaves)]
    arrays = [np.array(a, np.float64 if a.dtype.kind == "f" else a.dtype, order="C") for a in arrays]
    own = unflatten(template, iter(arrays))
    chosen = positions(argnums)
    numbers = chosen if isinstance(chosen, tuple) else (chosen,)
    if any([not -len(args) <= n < len(args) for n in numbers]):
        raise ArgumentError(f"argnums {argnums!r} is out of range for {len(args)} arguments")
    if gradient is None:
        value = compiled(fn)
        slopes: Any = value_and_grad(fn, chosen)(*own)[1]
    else:
        value, slopes = fn, gradient(*own)  # type: ignore[assignment]
    if not isinstance(chosen, tuple):
        slopes = (slopes,)
    elif not isinstance(slopes, tuple | list) or len(slopes) != len(numbers):
        raise ShapeError(f"gradient must give {len(numbers)} arrays, one for each of argnums; got {short(slopes)}")
    names, points, found = [], [], []
    for n, slope in zip(numbers, slopes, strict=True):
        parts, _ = flatten(own[n])
        gs, _ = flatten(slope)
        if len(gs) != len(parts):
            raise ShapeError(f"gradient gave {len(gs)} arrays for argument {n}, which has {len(parts)}")
        for k, (part, g) in enumerate(zip(parts, gs, strict=True)):
            name = f"argument {n % len(args)}" + (f", array {k}" if len(parts) > 1 else "")
            if part.dtype.kind != "f":
                raise ArgumentError(f"{name} holds integers: there is no gradient by it; choose others with argnums")
            given = as_array(g, f"the gradient by {name}")
            if given.shape != part.shape:
                raise ShapeError(f"gradient gave an array of shape {given.shape} for {name} of shape {part.shape}")
            names.append(name)
            points.append(part)
            found.append(given.astype(np.float64))

    def number() -> float:
        result = as_array(value(*own), "what the function gives")
        if result.size != 1:
            raise ShapeError(f"gradient_check: the function must give a scalar, it gave shape {result.shape}")
        return float(result.reshape(()))

    return Probe(names, points, found, number)
