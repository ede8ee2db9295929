"""BatchRenorm: batch norm whose training and inference agree."""

from __future__ import annotations

from .. import ops
from ..errors import ArgumentError
from ..ir import Tensor
from ..values import check_real, check_whole, short
from .batch_norm import BatchNorm


class BatchRenorm(BatchNorm):
    """y = ((x - mean) / std * r + d) * weight + bias; r = std / running std, d = (mean - running mean) / running std.

    So in training each feature is normalised by the running averages, as in inference, but the gradient goes through
    the batch's mean and std, and none through r and d. r is limited to [1/rmax, rmax], d to [-dmax, dmax]; with rmax =
    1 and dmax = 0 it is BatchNorm. For small batches, and rows that are no random sample. Arguments and state are
    BatchNorm's (std is sqrt(var + eps), and the running variance is unbiased and averaged as such; in the paper the
    average is of std). rmax: default 3. dmax: default 5. rmax_steps, dmax_steps: (first, last): the limits go from 1
    and 0, before the first training step, straight to theirs at the last; default (0, 0): from the beginning. The
    paper: (5000, 40000) and (5000, 25000), momentum 0.01, for training that begins far from its end. The steps
    are counted in the state "steps". Ioffe, NeurIPS 2017.

    >>> import numpy as np, hawfinch as hf
    >>> model = hf.Sequential(hf.BatchRenorm(momentum=0.0)).build((1,))
    >>> model.buffers()["0.running_var"][:] = 4
    >>> x = np.array([[1.0], [3.0]])  # their own variance is 1
    >>> round(hf.Trainer(model, "mse").step(x, model.predict(x)), 6)  # in training as in inference
    0.0
    """

    def __init__(
        self,
        *,
        rmax: float = 3.0,
        dmax: float = 5.0,
        rmax_steps: tuple[int, int] = (0, 0),
        dmax_steps: tuple[int, int] = (0, 0),
        eps: float = 1e-5,
        momentum: float = 0.1,
    ):
        super().__init__(eps=eps, momentum=momentum)
        self.rmax = check_real(rmax, "BatchRenorm: rmax", "from 1", lambda v: 1 <= v < float("inf"))
        self.dmax = check_real(dmax, "BatchRenorm: dmax", "from 0", lambda v: 0 <= v < float("inf"))
        self.rmax_steps = _steps("rmax_steps", rmax_steps)
        self.dmax_steps = _steps("dmax_steps", dmax_steps)

    def _normalize(
        self, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        # the first batch_norm gives the statistics alone: its y is not used, and the two share the rest
        _, batch_mean, batch_var = ops.batch_norm(x, 1.0, 0.0, self.eps)
        std, batch_std = ops.sqrt(var + self.eps), ops.sqrt(batch_var + self.eps)
        steps = self.state("steps", (1,), "zeros")
        rmax, dmax = _limit(steps, 1.0, self.rmax, self.rmax_steps), _limit(steps, 0.0, self.dmax, self.dmax_steps)
        r = ops.stop_gradient(_within(batch_std / std, 1.0 / rmax, rmax))
        d = ops.stop_gradient(_within((batch_mean - mean) / std, -dmax, dmax))
        self.update_state("steps", steps + 1.0)
        return ops.batch_norm(x, weight * r, weight * d + bias, self.eps)


def _limit(step: Tensor, start: float, end: float, span: tuple[int, int]) -> Tensor:
    """From start before the first step of the span straight to end at the last."""
    first, last = span
    if last == 0:
        return step * 0.0 + end
    return ops.clip((step - first) * (1 / max(last - first, 1)), 0.0, 1.0) * (end - start) + start


def _within(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return ops.minimum(ops.maximum(x, low), high)


def _steps(name: str, given: object) -> tuple[int, int]:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ArgumentError(f"BatchRenorm: {name} must be a pair (first, last) of steps, not {short(given)}")
    first = check_whole(given[0], f"BatchRenorm: {name}[0]")
    return first, check_whole(given[1], f"BatchRenorm: {name}[1]", first)
