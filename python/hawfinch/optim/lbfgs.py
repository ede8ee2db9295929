"""L-BFGS: a search along directions that earlier gradients have made, over all rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ArgumentError
from ..schedules import Schedule
from ..values import check_whole, is_word
from .base import Optimizer


class LBFGS(Optimizer):
    """Limited-memory BFGS for smooth losses over all rows: few, dear steps, and the last digits of a minimum.

    A step is up to ``max_iter`` iterations: d = -H g, with H made of the last ``history_size`` changes of parameters
    and gradient; then p += t d, t from a search for the strong Wolfe conditions (1e-4, 0.9) that begins at lr (the very
    first at min(1, 1 / |g|_1) lr), or with line_search None t = lr. It ends where max|g| <= tolerance_grad, or where
    max|t d| or the change of the loss is below tolerance_change, or after max_eval evaluations.

    lr: default 1, a number; max_iter 20; max_eval max_iter * 5 // 4; tolerance_grad 1e-7; tolerance_change 1e-9;
    history_size 100 (10 is often enough: state is 2 history_size + 2 times the parameters); line_search "strong_wolfe"
    (PyTorch's ``line_search_fn`` is None by default). An epoch is one step, its loss that before the step; rows come
    as they lie. L2 penalties count as part of the loss.

    Raises ArgumentError where ``fit`` is not given arrays and ``batch_size="full"``, and with what makes no sense of a
    search: groups, L1, constraints, average, accumulate, reduce, a schedule. A Python loop over one plan: dear for tiny
    nets. Liu, Nocedal, Math. Programming 45, 1989; Nocedal, Wright, Numerical Optimization, algorithms 3.5 and 3.6.

    >>> import hawfinch as hf
    >>> x = np.random.default_rng(0).normal(size=(64, 3))
    >>> model = hf.Sequential(hf.Linear(1)).astype("float64")
    >>> trainer = hf.Trainer(model, "mse", hf.LBFGS())
    >>> history = trainer.fit(x, x @ [[1.0], [2.0], [3.0]] + 4.0, epochs=2, batch_size="full")
    >>> model.parameters()["0.weight"].round(6).ravel().tolist()
    [1.0, 2.0, 3.0]
    """

    rule = "sgd"  # the sweep of the plan, at a rate of 0
    searches = True
    settings = ("max_iter", "max_eval", "history_size", "line_search")

    def __init__(
        self,
        lr: float = 1.0,
        *,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search: str | None = "strong_wolfe",
    ):
        given = dict(max_iter=max_iter, max_eval=max_eval, history_size=history_size, line_search=line_search)
        for name, value in given.items():
            setattr(self, name, self._checked_setting(name, value))
        super().__init__(lr, None, None, tolerance_grad=tolerance_grad, tolerance_change=tolerance_change)

    def _checked_setting(self, name: str, value: Any) -> Any:
        if name == "line_search":
            if not (value is None or is_word(value, "strong_wolfe")):
                raise ArgumentError(f"LBFGS: line_search must be 'strong_wolfe' or None, got {value!r:.80}")
            return value
        return None if name == "max_eval" and value is None else check_whole(value, f"LBFGS: {name}", 1)

    def _check(self) -> None:
        for name, value in self.hyperparameters.items():
            if isinstance(value, Schedule) or callable(value):
                raise ArgumentError(f"LBFGS: {name} must be a number, not a schedule, got {value!r:.80}")
        for name in ("clip_norm", "clip_value"):
            if getattr(self, name) is not None:
                raise ArgumentError(f"LBFGS: {name} makes no sense of a search; leave it out")

    @property
    def kind(self) -> str:
        return f"lbfgs {self.history_size}"  # type: ignore[attr-defined]

    @property
    def slots(self) -> tuple[str, ...]:
        """Its state: ``search_slots``."""
        return tuple(self.search_slots(0))

    def search_slots(self, n: int) -> dict[str, int]:
        """Sizes of its buffers for n parameters."""
        size: int = self.history_size  # type: ignore[attr-defined]
        return {"steps": size * n, "changes": size * n, "direction": n, "gradient_before": n}

    def columns(self, rule: str, common: Mapping[str, Any]) -> dict[str, Any]:
        return {**super().columns(rule, common), "lr": 0.0}
