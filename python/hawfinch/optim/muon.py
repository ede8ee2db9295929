"""Muon: momentum, made orthogonal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import ops
from ..errors import ArgumentError, near_names
from ..ir import Shape, Tensor, apply
from ..ops.matmul import MATMUL, MATMUL_SYMMETRIC
from ..schedules import Number
from ..values import check_whole, is_word, matches
from .adam import AdamW
from .base import CLIPS
from .traced import Moving, TracedOptimizer

MOST_STEPS = 99
ADJUSTMENTS = ("original", "match_rms_adamw")


class Muon(TracedOptimizer):
    """Matrices move by their momentum made orthogonal; other parameters follow ``vectors``, an AdamW.

    m = m + (1 - momentum)(g - m); u = g + momentum (m - g), without nesterov m; X = u / max(|u|, eps), Frobenius; then
    ns_steps times X = a X + (b A + c A A) X with A = X X', which brings the singular values near 1; p -= lr f X, after
    p -= lr weight_decay p. f with adjust_lr_fn "original" (default, also None): sqrt(max(1, out / in)); with
    "match_rms_adamw": 0.2 sqrt(max(out, in)), for learning rates and decays of AdamW.

    lr: default 1e-3; weight_decay 0.1; momentum 0.95; nesterov True; ns_coefficients (a, b, c) (3.4445, -4.7750,
    2.0315); eps 1e-7; ns_steps 5. vectors: default AdamW() (lr 1e-3); takes biases, norms, whatever has not two axes,
    and the matrices whose names match a pattern of ``exclude``: default none; name embeddings and the last layer there.
    ``groups`` give each parameter settings of its own optimiser.

    A (rows of a wide matrix, columns of a tall one) and A A are symmetric: one triangle is computed. Products are
    float32 (or the model's float64), where PyTorch's are always bfloat16; ``Trainer(precision="bf16")`` rounds their
    operands. State: that of AdamW. Raises ArgumentError for settings out of range. Jordan et al., 2024,
    kellerjordan.github.io/posts/muon; the second f: Liu et al., arXiv:2502.16982.

    >>> import hawfinch as hf
    >>> x = np.random.default_rng(0).normal(size=(64, 8))
    >>> model = hf.Sequential(hf.Linear(16), hf.ReLU(), hf.Linear(1))
    >>> trainer = hf.Trainer(model, "mse", hf.Muon(0.02, vectors=hf.AdamW(3e-3), exclude="2.*"))
    >>> history = trainer.fit(x, x[:, :1], epochs=30)
    >>> history["loss"][-1] < 0.2 * history["loss"][0]
    True
    """

    decoupled = True
    settings = ("ns_coefficients", "ns_steps", "adjust_lr_fn", "vectors", "exclude")

    def __init__(
        self,
        lr: Number = 1e-3,
        *,
        weight_decay: Number = 0.1,
        momentum: Number = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: Number = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
        vectors: AdamW | None = None,
        exclude: str | Sequence[str] = (),
        clip_norm: float | None = None,
        clip_value: float | None = None,
        clip_adaptive: float | None = None,
    ):
        given = dict(ns_coefficients=ns_coefficients, ns_steps=ns_steps, adjust_lr_fn=adjust_lr_fn, exclude=exclude)
        given["vectors"] = AdamW() if vectors is None else vectors
        for name, value in given.items():
            setattr(self, name, self._checked_setting(name, value))
        numbers = dict(momentum=momentum, weight_decay=weight_decay, eps=eps)
        super().__init__(lr, clip_norm, clip_value, clip_adaptive, {"nesterov": nesterov}, **numbers)

    def _checked_setting(self, name: str, value: Any) -> Any:
        if name == "ns_steps":
            if check_whole(value, "Muon: ns_steps", 1) > MOST_STEPS:
                raise ArgumentError(f"Muon: ns_steps must be at most {MOST_STEPS}, got {value}")
            return int(value)
        if name == "ns_coefficients":
            fine = isinstance(value, tuple | list) and len(value) == 3
            if not fine or not all(isinstance(v, int | float) and math.isfinite(v) for v in value):
                raise ArgumentError(f"Muon: ns_coefficients must be three numbers, got {value!r:.80}")
            return tuple(float(v) for v in value)
        if name == "adjust_lr_fn":
            if value is not None and not is_word(value, *ADJUSTMENTS):
                near = near_names(str(value), ADJUSTMENTS) or ADJUSTMENTS
                raise ArgumentError(f"Muon: adjust_lr_fn {value!r:.80} is not known: {' or '.join(map(repr, near))}?")
            return value or "original"
        if name == "exclude":
            patterns = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else None
            if patterns is None or not all(isinstance(pattern, str) for pattern in patterns):
                raise ArgumentError(f"Muon: exclude must be patterns of names such as '0.*', got {value!r:.80}")
            return patterns
        if not isinstance(value, AdamW):
            raise ArgumentError(f"Muon: vectors must be an AdamW(...), got {value!r:.80}")
        for clip in CLIPS:
            if getattr(value, clip) is not None:
                raise ArgumentError(f"Muon: {clip} is of the whole gradient: Muon({clip}=...), not that of vectors")
        return value

    @property
    def patterns(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.exclude  # type: ignore[attr-defined]

    @property
    def kind(self) -> str:
        return f"muon {self.patterns}"

    def takes(self, name: str, shape: Shape) -> bool:
        return len(shape) == 2 and not any(matches(name, pattern) for pattern in self.patterns)

    def own_slots(self, shape: Shape) -> dict[str, Shape]:
        return {"m": shape}

    def move(self, given: Sequence[Moving]) -> list[tuple[Tensor, dict[str, Tensor]]]:
        means, us = [], []
        for k in given:  # here and below one kind of work of all matrices after the other: threads meet less often
            mean = k.slots["m"] + (1.0 - k.numbers["momentum"]) * (k.g - k.slots["m"])
            means.append(mean)
            us.append(k.g + k.numbers["momentum"] * (mean - k.g) if k.optimizer.nesterov else mean)
        norms = [ops.sum(u * u, 1) for u in us]
        norms = [ops.sqrt(ops.sum(norm)) for norm in norms]
        norms = [
            ops.where(ops.greater(x, k.numbers["eps"]), x, k.numbers["eps"]) for x, k in zip(norms, given, strict=True)
        ]
        xs = [u / norm for u, norm in zip(us, norms, strict=True)]
        for i in range(max(k.optimizer.ns_steps for k in given)):
            some = [j for j, k in enumerate(given) if i < k.optimizer.ns_steps]
            grams = [_gram(xs[j]) for j in some]
            factors = [_factor(a, given[j].optimizer.ns_coefficients) for a, j in zip(grams, some, strict=True)]
            for j, factor in zip(some, factors, strict=True):
                wide = xs[j].shape[0] <= xs[j].shape[1]  # type: ignore[operator]
                xs[j] = _product(factor, xs[j]) if wide else _product(xs[j], factor)
        moved = []
        for k, mean, x in zip(given, means, xs, strict=True):
            n, rate = k.numbers, k.numbers["lr"]
            p = k.p * (1.0 - rate * n["weight_decay"]) - (rate * k.optimizer.factor(k.p.shape)) * x
            moved.append((p, {"m": mean}))
        return moved

    def factor(self, shape: Shape) -> float:
        """Of the learning rate, for a weight (in, out)."""
        rows, cols = shape
        assert isinstance(rows, int) and isinstance(cols, int)
        if self.adjust_lr_fn == "original":  # type: ignore[attr-defined]
            return math.sqrt(max(1.0, cols / rows))
        return 0.2 * math.sqrt(max(rows, cols))


def _gram(x: Tensor) -> Tensor:
    """The smaller of x x' and x' x."""
    kind = "rows" if x.shape[0] <= x.shape[1] else "columns"  # type: ignore[operator]
    return apply(MATMUL_SYMMETRIC, x, kind=kind, scale=1.0, add=0.0, diagonal=0.0, precision="f32")


def _factor(gram: Tensor, coefficients: tuple[float, float, float]) -> Tensor:
    """a I + b A + c A A."""
    a, b, c = coefficients
    return apply(MATMUL_SYMMETRIC, gram, kind="square", scale=c, add=b, diagonal=a, precision="f32")


def _product(x: Tensor, w: Tensor) -> Tensor:
    return apply(MATMUL, x, w, precision="f32")
