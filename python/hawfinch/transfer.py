"""Transfer and layer-wise learning: a net that begins with what another one, or it itself, has learnt before.

What to train of a net that was trained before is a matter of how many rows there are (``freeze_by_rows``): few rows,
the head alone; more, the last layers; many, all of it, lower layers at smaller rates (``discriminative_rates``) or one
after the other from the top (``GradualUnfreeze``). Weights are taken over with ``Module.load_weights``.

Design: a stage is a child of the model that holds parameters, named by the pattern of its arrays ("0.*"), lowest first,
in the order of ``model.parameters()``; so all of it is said in the patterns that ``freeze``, ``groups`` and
``regularizers`` take. Rejected: a model class with a body and a head, into which every net would have to be put.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from .errors import ArgumentError, unknown_name
from .nn import Linear, Module, Sequential
from .optim import Optimizer
from .schedules import Scaled
from .train.history import History
from .train.trainer import Trainer
from .values import CheckedCall, check_real, matches, names_of

__all__ = ["GradualUnfreeze", "discriminative_rates", "freeze_by_rows", "pretrain_layers", "replace", "stages"]


def stages(model: Module) -> list[str]:
    """Patterns of the names of each stage's arrays, the lowest first: children of the model that hold parameters.

    A model whose only such child is a model itself has that one's stages. Raises NotBuiltError before ``build``.

    >>> import hawfinch as hf
    >>> hf.transfer.stages(hf.Sequential(hf.Linear(4), hf.BatchNorm(), "relu", hf.Linear(2)).build((3,)))
    ['0.*', '1.*', '3.*']
    """
    names, prefix = list(model.parameters()), ""
    while True:
        # a child may be in a list or dict: its path, not only its first word
        paths = [f"{prefix}{name}" for name, _ in _at(model, prefix).children()]
        held = [p for p in paths if any(k.startswith(f"{p}.") for k in names)]
        own = [k for k in names if k.startswith(prefix) and not any(k.startswith(f"{p}.") for p in held)]
        if len(held) != 1 or own:
            break
        prefix = f"{held[0]}."
        if not list(_at(model, prefix).children()):
            break
    first: dict[str, int] = {}
    for i, k in enumerate(names):
        stage = next((f"{p}.*" for p in held if k.startswith(f"{p}.")), k)
        first.setdefault(stage, i)
    return sorted(first, key=first.__getitem__)


def _at(model: Module, prefix: str) -> Module:
    return dict(model.modules())[prefix.rstrip(".")]


def replace(model: Module, name: str | int, layer: Module) -> Module:
    """Puts another layer in the place of one: a new head for new classes. Returns the model.

    name: the layer's path, as in the names of its parameters ("3", "blocks.0.b"); -1, of a Sequential, is the last one.
    The other layers keep their arrays; those of the new one are made at the next ``build``, ``fit`` or ``predict``.
    Raises ArgumentError with near matches where there is no such layer.

    >>> import hawfinch as hf
    >>> model = hf.Sequential(hf.Linear(4), "relu", hf.Linear(2)).build((3,))
    >>> hf.transfer.replace(model, -1, hf.Linear(7)).predict([[1.0, 2.0, 3.0]]).shape
    (1, 7)
    """
    if not isinstance(layer, Module):
        raise ArgumentError(f"replace: expected a layer, got {layer!r:.80}")
    known = dict(model.modules())
    if isinstance(name, int | np.integer) and not isinstance(name, bool):
        if not isinstance(model, Sequential) or not -len(model) <= name < len(model):
            raise ArgumentError(f"replace: {name} is no layer of {type(model).__name__}; give a path such as 'head'")
        name = str(int(name) % len(model))
    if not isinstance(name, str) or not name or name not in known:
        raise unknown_name("layer", name, [path for path in known if path])
    old = known[name]
    for module in known.values():
        for attribute, value in list(vars(module).items()):
            new = _exchanged(value, old, layer)
            if new is not value:
                setattr(module, attribute, new)
    return model


def _exchanged(value: Any, old: Module, new: Module) -> Any:
    """value with ``new`` wherever ``old`` was; the same object where it was nowhere."""
    if value is old:
        return new
    if isinstance(value, list | tuple):
        items = [_exchanged(v, old, new) for v in value]
        return value if all(a is b for a, b in zip(items, value, strict=True)) else type(value)(items)
    if isinstance(value, dict):
        pairs = {k: _exchanged(v, old, new) for k, v in value.items()}
        return value if all(pairs[k] is value[k] for k in value) else pairs
    return value


def discriminative_rates(model: Module, factor: float = 1 / 2.6) -> dict[str, dict[str, Any]]:
    """``groups`` for a Trainer: the top stage learns at the optimiser's rate, each one below at ``factor`` times the
    rate of the one above. factor: in (0, 1], default 1 / 2.6. Howard, Ruder, ACL 2018.

    >>> import hawfinch as hf
    >>> model = hf.Sequential(hf.Linear(4), "relu", hf.Linear(2)).build((3,))
    >>> trainer = hf.Trainer(model, "mse", groups=hf.transfer.discriminative_rates(model, 0.5))
    >>> trainer.optimizer.lr, hf.transfer.discriminative_rates(model, 0.5)["0.*"]["lr"].factor
    (0.001, 0.5)
    """
    factor = check_real(factor, "discriminative_rates: factor", "in (0, 1]", lambda v: 0 < v <= 1)
    found = stages(model)
    return {stage: {"lr": Scaled(factor**k)} for k, stage in enumerate(reversed(found)) if k}


def freeze_by_rows(model: Module, rows: int, *, parameters_per_row: float = 50.0) -> list[str]:
    """Freezes what so many rows can't train well, and returns the patterns of what is trained: a rule of thumb.

    From the top down, a stage is trained as long as all trained stages together have at most ``parameters_per_row``
    (default 50) parameters for each row; the head always is. So few rows train the head alone, more the last layers,
    many all. What was frozen before does not matter. It is a rule for a body that was trained on far more rows than
    there are now; where the two tasks differ much, training all of it can be better at any number of rows.
    Raises ArgumentError for rows < 1.

    >>> import hawfinch as hf
    >>> model = hf.Sequential(hf.Linear(50), "relu", hf.Linear(20), "relu", hf.Linear(3)).build((100,))
    >>> hf.transfer.freeze_by_rows(model, 5), hf.transfer.freeze_by_rows(model, 50)
    (['4.*'], ['2.*', '4.*'])
    >>> hf.transfer.freeze_by_rows(model, 500)
    ['0.*', '2.*', '4.*']
    """
    if isinstance(rows, bool) or not isinstance(rows, int | np.integer) or rows < 1:
        raise ArgumentError(f"freeze_by_rows: rows must be a whole number >= 1, got {rows!r}")
    most = rows * check_real(parameters_per_row, "freeze_by_rows: parameters_per_row", "above 0", lambda v: v > 0)
    sizes = {k: a.size for k, a in model.parameters().items()}
    trained: list[str] = []
    total = 0
    for stage in reversed(stages(model)):
        total += sum(n for k, n in sizes.items() if matches(k, stage))
        if trained and total > most:
            break
        trained.insert(0, stage)
    model.unfreeze()
    below = [stage for stage in stages(model) if stage not in trained]
    if below:
        model.freeze(*below)
    return trained


class GradualUnfreeze(metaclass=CheckedCall):
    """A callback: the fit begins with the head alone, and from then on thaws one stage more, from the top, every
    ``every`` epochs. Howard, Ruder, ACL 2018.

    every: default 1. Running statistics thaw with their stage. What is thawed stays so after the fit; a new fit begins
    with the head again. Raises ArgumentError for every < 1.

    >>> import numpy as np, hawfinch as hf
    >>> model = hf.Sequential(hf.Linear(4), "relu", hf.Linear(2)).build((3,))
    >>> before = model.parameters()["0.weight"].copy()
    >>> trainer = hf.Trainer(model, "mse")
    >>> x, y = np.ones((8, 3)), np.ones((8, 2))
    >>> _ = trainer.fit(x, y, epochs=2, callbacks=[hf.transfer.GradualUnfreeze(every=2)])
    >>> bool((model.parameters()["0.weight"] == before).all()), list(model.trainable())[0]
    (True, '0.weight')
    """

    def __init__(self, every: int = 1):
        if isinstance(every, bool) or not isinstance(every, int | np.integer) or every < 1:
            raise ArgumentError(f"GradualUnfreeze: every must be a whole number of epochs >= 1, got {every!r}")
        self.every, self._epochs = int(every), 0

    def on_fit_begin(self, trainer: Any) -> None:
        """Freezes all below the head, or below what was thawed when the fit was saved."""
        self._apply(trainer.model)

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        """Thaws the next stage, if it is time."""
        self._epochs += 1
        if self._epochs % self.every == 0:
            self._apply(trainer.model)

    def on_fit_end(self, trainer: Any) -> None:
        """The next fit begins with the head."""
        self._epochs = 0

    def _apply(self, model: Module) -> None:
        found = stages(model)
        frozen = found[: max(len(found) - 1 - self._epochs // self.every, 0)]
        model.unfreeze()
        if frozen:
            model.freeze(*frozen)

    def get_state(self) -> int:
        """Epochs of the fit that are done."""
        return self._epochs

    def set_state(self, values: int) -> None:
        """Goes on from ``get_state``."""
        self._epochs = int(values)


def pretrain_layers(
    model: Sequential,
    x: Any,
    *,
    epochs: int = 10,
    batch_size: int | str = 32,
    optimizer: str | Optimizer = "adam",
    noise: float = 0.0,
    seed: int = 0,
    threads: int | None = None,
) -> list[History]:
    """Greedy layer-wise pre-training: each layer but the head learns, as half of an autoencoder, to keep its input.

    Block by block from below (a Linear and what follows it, up to the next Linear), the block and a new Linear back to
    its inputs are trained by mean squared error on what the blocks below give for x; the new Linear is then thrown
    away. Fine-tune the model with a Trainer afterwards. No targets are needed, so rows without labels count.

    model: a Sequential over (rows, features); built or not. x: (rows, features), best scaled to unit variance. noise:
    standard deviation of Gaussian noise on each block's inputs (a denoising autoencoder), default 0. epochs,
    batch_size, optimizer, seed, threads: as for Trainer, for each block. Returns a History for each block.

    Raises ArgumentError for a model that is no Sequential, or has no layer below its head. Bengio, Lamblin, Popovici,
    Larochelle, NeurIPS 2006; Vincent et al., ICML 2008.

    >>> import numpy as np, hawfinch as hf
    >>> x = np.random.default_rng(0).normal(size=(200, 6))
    >>> model = hf.Sequential(hf.Linear(4), "tanh", hf.Linear(3), "tanh", hf.Linear(1))
    >>> histories = hf.transfer.pretrain_layers(model, x, epochs=5)
    >>> len(histories), histories[0]["loss"][-1] < histories[0]["loss"][0]
    (2, True)
    """
    if not isinstance(model, Sequential):
        raise ArgumentError(f"pretrain_layers: expected a Sequential, got {type(model).__name__}")
    noise = check_real(noise, "pretrain_layers: noise", ">= 0 and finite", lambda v: 0 <= v < float("inf"))
    starts = [i for i, layer in enumerate(model.layers) if isinstance(layer, Linear)]
    if len(starts) < 2:
        raise ArgumentError("pretrain_layers: the model needs at least one Linear below its head")
    given = np.asarray(x)
    if given.ndim != 2:
        raise ArgumentError(f"pretrain_layers: x must be (rows, features), got shape {given.shape}")
    model.build(given.shape[1:], seed=seed) if model.inputs is None else model.home()
    rng = np.random.default_rng(seed)
    histories = []
    layers = [*model.layers[: starts[0]]]  # before the first Linear, such as scaling
    if layers:
        given = np.asarray(Sequential(*layers).astype(model.dtype).predict(given))
    for begin, end in pairwise(starts):
        block = model.layers[begin:end]
        autoencoder = Sequential(*block, Linear(given.shape[1])).astype(model.dtype)
        noisy = given if noise == 0 else given + noise * rng.normal(size=given.shape)
        trainer = Trainer(autoencoder, "mse", optimizer, seed=seed)
        histories.append(trainer.fit(noisy, given, epochs=epochs, batch_size=batch_size, threads=threads))
        given = np.asarray(Sequential(*block).astype(model.dtype).predict(given))
    model.home()
    return histories


def __dir__() -> list[str]:
    return names_of(globals())
