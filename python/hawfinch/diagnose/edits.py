"""Changes of a model: copies with other layers, untrained where the change asks for it.

Design: a model is changed layer by layer, wherever in its tree the layer stands, so that nets of the user's own classes
can be changed too; only what needs an order of layers (a layer put between two, the last activation) needs a
Sequential. Rejected: changes of the traced graph, which the user could not write down as code.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir import Tensor
from ..nn import AlphaDropout, BatchNorm, Dropout, GaussianNoise, Linear, Module, ReLU, Sequential
from ..nn.activations import ACTIVATIONS
from ..transfer import replace

NOISES = (Dropout, AlphaDropout, GaussianNoise)
ACTIVATION_LAYERS = tuple(ACTIVATIONS.values())


class LeaveOut(Module):
    """x (rows, features) with 0 in the place of some features."""

    def __init__(self, features: list[int]):
        self.features = list(features)

    def forward(self, x: Tensor) -> Tensor:
        shape = tuple([int(size) for size in x.shape[1:] if isinstance(size, int)])
        kept = np.ones(math.prod(shape), np.float32)
        kept[self.features] = 0.0
        return x * kept.reshape(shape)


def untrained(model: Module) -> Module:
    """A copy without values, to be built and initialised anew; layers keep the initializers that they name. Nothing is
    frozen."""
    fresh = copy.deepcopy(model)
    for _, module in fresh.modules():
        inside = module._hf
        inside.own, inside.inputs, inside.store = {}, None, None
        inside.outputs, inside.output_names, inside.trace = (), (), None
        inside.changed()
    fresh._hf.metadata = {**model.metadata}
    return fresh


def is_built(model: Module) -> bool:
    """Whether the model has values."""
    return model.inputs is not None


def layers_of(model: Module, *kinds: type) -> list[tuple[str, Any]]:
    """Path and layer of all layers of these classes."""
    return [(path, m) for path, m in model.modules() if isinstance(m, kinds)]


def exchanged(model: Module, make: Callable[[str, Module], Module | None], *, anew: bool = False) -> Module:
    """A copy in which each layer for which ``make`` gives another is that one. anew: with no values."""
    changed = untrained(model) if anew else copy.deepcopy(model)
    for path, module in list(changed.modules()):
        if path and dict(changed.modules()).get(path) is module:
            other = make(path, module)
            if other is not None and other is not module:
                replace(changed, path, other)
    return changed


def flat(model: Module) -> list[Module] | None:
    """The layers of a Sequential, those of Sequentials in it too, in order; None of other models."""
    if not isinstance(model, Sequential):
        return None
    found: list[Module] = []
    for layer in model.layers:
        found += flat(layer) or [layer]
    return found


def rebuilt(model: Module, layers: list[Module]) -> Module:
    """A Sequential of layers without values, with the dtype and initializer of a model."""
    new = Sequential(*[untrained(layer) for layer in layers]).astype(model.dtype)
    new._hf.init = model._hf.init
    return new


def before(model: Module, layer: Module) -> Module:
    """The model behind one more layer. A Sequential stays one."""
    layers = flat(model)
    if layers is not None:
        return rebuilt(model, [layer, *layers])
    return Sequential(layer, untrained(model)).astype(model.dtype)


def last_linear(layers: list[Module]) -> int | None:
    """The place of the last Linear."""
    places = [i for i, layer in enumerate(layers) if isinstance(layer, Linear)]
    return places[-1] if places else None


def end_of(model: Module) -> Module | None:
    """The activation behind the last Linear of a Sequential, if there is one."""
    layers = flat(model)
    at = None if layers is None else last_linear(layers)
    if layers is None or at is None:
        return None
    return next((layer for layer in layers[at + 1 :] if isinstance(layer, ACTIVATION_LAYERS)), None)


def without_end(model: Module) -> Module | None:
    """Without the activation behind the last Linear; None where there is none, or the model is no Sequential."""
    layers, end = flat(model), end_of(model)
    if layers is None or end is None:
        return None
    return rebuilt(model, [layer for layer in layers if layer is not end])


def with_head(model: Module, out: int) -> Module | None:
    """With so many outputs, and no activation behind them; None where the model is no Sequential with a Linear."""
    layers = flat(model)
    at = None if layers is None else last_linear(layers)
    if layers is None or at is None:
        return None
    return rebuilt(model, [*layers[:at], Linear(out)])


def without_noise(model: Module) -> Module | None:
    """Without dropout and its kin; None where there is none."""
    if not layers_of(model, *NOISES):
        return None
    layers = flat(model)
    if layers is not None:
        return rebuilt(model, [layer for layer in layers if not isinstance(layer, NOISES)])
    changed = untrained(model)
    for _, layer in layers_of(changed, *NOISES):
        setattr(layer, "std" if isinstance(layer, GaussianNoise) else "p", 0.0)
    return changed


def widths(model: Module) -> list[int]:
    """Outputs of each Linear, in order."""
    return [layer.out for _, layer in layers_of(model, Linear)]


def with_default_starts(model: Module) -> Module:
    """Without initializers of its layers, so that the trainer's ``init`` says how all of them start."""
    changed = untrained(model)
    changed._hf.init = None
    for _, layer in changed.modules():
        if getattr(layer, "init", None) is not None:
            setattr(layer, "init", None)  # noqa: B010
    return changed


def with_activation(model: Module, make: Callable[[], Module] = ReLU) -> Module | None:
    """Each hidden activation, and where two Linears follow on one another without one a new one, is of this kind."""
    layers = flat(model)
    at = None if layers is None else last_linear(layers)
    if layers is None or at is None:
        return None
    body: list[Module] = []
    for layer in layers[:at]:
        body += [] if isinstance(layer, ACTIVATION_LAYERS) else [layer]
        if isinstance(layer, Linear):
            body.append(make())
    body = _behind_norms(body, make)
    return rebuilt(model, [*body, *layers[at:]])


def _behind_norms(layers: list[Module], make: Callable[[], Module]) -> list[Module]:
    """An activation that stands between a Linear and its norm, behind the norm."""
    kind, moved = type(make()), list(layers)
    for i in range(len(moved) - 1):
        if isinstance(moved[i], kind) and isinstance(moved[i + 1], BatchNorm):
            moved[i], moved[i + 1] = moved[i + 1], moved[i]
    return moved


def wider(model: Module, factor: int) -> Module | None:
    """With ``factor`` times as many units in each hidden Linear; None where there is none."""
    found = widths(model)
    if len(found) < 2:
        return None
    changed = untrained(model)
    hidden = [layer for _, layer in layers_of(changed, Linear)][:-1]
    for layer in hidden:
        layer.out = min(layer.out * factor, max(4096, layer.out))
    return changed


def mlp(out: int, hidden: list[int], *, norm: bool = True, dropout: float = 0.0) -> list[Module]:
    """Layers of a net that is known to train well: Linear, BatchNorm, ReLU, Dropout."""
    layers: list[Module] = []
    for n in hidden:
        layers += [Linear(n), *([BatchNorm()] if norm else []), ReLU(), *([Dropout(dropout)] if dropout else [])]
    return [*layers, Linear(out)]
