"""Optimisers that are more than an expression for each element, such as Muon and Adafactor.

Design: such an optimiser is a traced function of a parameter, its gradient, its state and numbers of the step; it goes
down the road of every other function, so that its products run on the kernels of products, elementwise neighbours are
one program, and nothing is allocated in a step. One trace is made of all its parameters. Rejected: records written by
hand for each optimiser, and Python between steps.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from ..ir import Shape, Tensor
from .base import Optimizer


class Moving(NamedTuple):
    """A parameter in a step: its optimiser, its value, its gradient (clipped, with penalties), its state, the numbers;
    and the dtype of all."""

    optimizer: Any
    p: Tensor
    g: Tensor
    slots: Mapping[str, Tensor]
    numbers: Mapping[str, Tensor]
    dtype: str


class TracedOptimizer(Optimizer):
    """Base. ``vectors``: the optimiser of the parameters that it does not take; ``rule`` is that one's.

    ``settings`` are part of the trace. ``patterns``: of names, that it has been given.
    """

    patterns: ClassVar[tuple[str, ...]] = ()
    vectors: Optimizer | None = None

    @property
    def rule(self) -> str:  # type: ignore[override]
        return "" if self.vectors is None else self.vectors.rule

    @property
    def structure(self) -> tuple[Any, ...]:
        """What the trace depends on."""
        names = (*self._flags, *(name for name in self.settings if name != "vectors"))
        return (type(self), *(getattr(self, name) for name in names))

    def part(self, name: str, shape: Shape) -> Optimizer:
        if self.vectors is None or self.takes(name, shape):
            return self
        return self.vectors

    @property
    def parts(self) -> tuple[Optimizer, ...]:
        return (self,) if self.vectors is None else (self, self.vectors)

    def takes(self, name: str, shape: Shape) -> bool:
        """Whether this parameter is its own business."""
        return True

    @abstractmethod
    def own_slots(self, shape: Shape) -> dict[str, Shape]:
        """Its state for a parameter of this shape, by name. A name that ``rule`` has too is a place in that buffer."""

    def numbers(self) -> dict[str, Any]:
        """What ``move`` gets as numbers of the step, by name: hyperparameters, and more."""
        return dict(self.hyperparameters)

    @abstractmethod
    def move(self, given: Sequence[Moving]) -> list[tuple[Tensor, dict[str, Tensor]]]:
        """For each parameter its new value and its new state, in traced ops."""
