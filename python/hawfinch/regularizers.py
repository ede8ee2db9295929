"""Regularisers: penalties on parameters, by pattern of their names: ``Trainer(regularizers={"0.weight":
hf.L2(1e-4)})``.

Design: a penalty is l1 sum|p| + l2 sum p**2, so that its gradient is a column of the sweep and no gradient has to be
stored for it; like weight decay it comes after clipping, and is apart from decoupled weight decay. The loss in the
History is without penalties; they have a column of their own, "penalty". Strengths are numbers or schedules. Rejected:
penalties as terms of the traced loss, which would store and read the gradient of every weight.

The subgradient of |p| makes weights small, but hardly ever 0. With ``proximal=True`` the l1 part is no gradient: after
the optimiser's own step, each weight moves by lr * l1 towards 0 and stops there, p = sign(p) max(|p| - lr l1, 0), which
is the proximal step (ISTA) of gradient descent. Under SGD without momentum it minimises the same sum; the adaptive
rules scale each weight's gradient but not this step, so that with Adam the penalty is as strong for each weight however
large its gradients are, as AdamW's weight decay is. Beck, Teboulle, SIAM J. Imaging Sci. 2, 2009.
"""

from __future__ import annotations

from typing import Any

from .errors import ArgumentError
from .schedules import Number, Schedule, check_number
from .values import Value, names_of

__all__ = ["L1", "L2", "ElasticNet", "Regularizer"]


class Regularizer(Value):
    """Base. ``l1``, ``l2``: the factors of sum|p| and of sum p**2; each a number or a schedule.

    >>> import hawfinch as hf
    >>> hf.L2(0.1).l1, hf.L2(0.1).l2
    (0.0, 0.1)
    """

    l1: Any = 0.0
    l2: Any = 0.0
    proximal: bool = False  # the l1 part is a step of its own, after the optimiser's


class L1(Regularizer):
    """strength * sum|p|; its gradient is strength sign(p), 0 at 0. Makes weights small, and many of them close to 0.

    strength: a number >= 0 or a schedule. proximal: default False; True makes exact zeros: after each update
    p = sign(p) max(|p| - lr strength, 0), see above. Raises ArgumentError for others. Tibshirani, J. R. Statist. Soc. B
    58, 1996.

    >>> import hawfinch as hf
    >>> x = np.random.default_rng(0).normal(size=(64, 5))
    >>> model = hf.Sequential(hf.Linear(1))
    >>> trainer = hf.Trainer(model, "mse", hf.SGD(0.1), regularizers={"*.weight": hf.L1(0.2, proximal=True)})
    >>> history = trainer.fit(x, 2 * x[:, :1], epochs=50, batch_size=64)
    >>> (model.parameters()["0.weight"] != 0).ravel().tolist()
    [True, False, False, False, False]
    """

    def __init__(self, strength: Number, *, proximal: bool = False):
        self.l1 = check_number("L1", "strength", strength)
        self.proximal = _flag("L1", proximal)


class L2(Regularizer):
    """strength * sum p**2, as in Keras; its gradient is 2 strength p. Half of what AdamW calls weight_decay.

    strength: a number >= 0 or a schedule. Raises ArgumentError for others.

    >>> import hawfinch as hf
    >>> x = [[0.0], [0.0]]
    >>> model = hf.Sequential(hf.Linear(1)).build((1,))
    >>> trainer = hf.Trainer(model, "mse", hf.SGD(0.1), regularizers={"0.weight": hf.L2(0.5)})
    >>> before = model.parameters()["0.weight"].copy()
    >>> loss = trainer.step(x, x)
    >>> bool(abs(model.parameters()["0.weight"] - 0.9 * before).max() < 1e-6)
    True
    """

    def __init__(self, strength: Number):
        self.l2 = check_number("L2", "strength", strength)


class ElasticNet(Regularizer):
    """strength * (l1_ratio sum|p| + (1 - l1_ratio) sum p**2), without a factor 1/2. l1_ratio: in [0, 1], default 0.5.

    ``hf.linear.ElasticNet`` is scikit-learn's, with the half: (1 - l1_ratio) / 2 sum p**2. proximal: as in ``L1``, of
    the l1 part. Raises ArgumentError for strengths that are no number >= 0. Zou, Hastie, J. R. Statist. Soc. B 67,
    2005.

    >>> import hawfinch as hf
    >>> hf.ElasticNet(0.1, l1_ratio=0.5).l2
    0.05
    """

    def __init__(self, strength: float, *, l1_ratio: float = 0.5, proximal: bool = False):
        if (
            any(isinstance(v, Schedule) or callable(v) for v in (strength, l1_ratio))
            or not 0 <= check_number("ElasticNet", "l1_ratio", l1_ratio) <= 1
        ):
            raise ArgumentError(f"ElasticNet: expected numbers, l1_ratio in [0, 1]; got {strength!r}, {l1_ratio!r}")
        strength = check_number("ElasticNet", "strength", strength)
        self.l1, self.l2 = strength * l1_ratio, strength * (1 - l1_ratio)
        self.proximal = _flag("ElasticNet", proximal)


def _flag(what: str, proximal: Any) -> bool:
    if not isinstance(proximal, bool):
        raise ArgumentError(f"{what}: proximal must be True or False, got {proximal!r:.80}")
    return proximal


def __dir__() -> list[str]:
    return names_of(globals())
