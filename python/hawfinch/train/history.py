"""History: what happened in each epoch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import NonFiniteError, import_extra
from ..values import CheckedCall


class History(metaclass=CheckedCall):
    """Loss and metrics per epoch, numbers or arrays. ``history["loss"]``; names of validation values begin with
    ``val_``.

    With several losses ``loss`` is the weighted sum, and each output has NAME_loss and NAME_METRIC. ``error``: the
    NonFiniteError that ended the training of this net in ``fit_many``, else None. ``best_epoch``: the epoch, counted
    from 0, whose weights the last fit has left in the model, where ``EarlyStopping`` chose them, else None.
    ``history[name]`` raises KeyError for a name that is not there, with those that are.

    >>> history = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse").fit([[1.0]], [[2.0]], epochs=3)
    >>> len(history), list(history.to_dict()), history["loss"][-1] < history["loss"][0]
    (3, ['loss'], True)
    """

    def __init__(self) -> None:
        self.error: NonFiniteError | None = None
        self._values: dict[str, list[Any]] = {}
        self.epochs = 0
        self.best_epoch: int | None = None

    @classmethod
    def from_dict(cls, values: dict[str, list[Any]], epochs: int) -> History:
        """The inverse of ``to_dict``. Raises ValueError for what is none.

        >>> import hawfinch as hf
        >>> hf.History.from_dict({"loss": [2.0, 1.0]}, 2)
        History(2 epochs: loss 1)
        """
        history = cls()
        history.epochs = epochs
        for name, column in values.items():
            history._values[str(name)] = [np.array(v, float) if isinstance(v, list) else float(v) for v in column]
            if len(column) > epochs:
                raise ValueError(f"{len(column)} values of {name!r} in {epochs} epochs")
        return history

    def take(self, other: History) -> None:
        """Becomes a copy of another history.

        >>> import hawfinch as hf
        >>> history = hf.History()
        >>> history.take(hf.History.from_dict({"loss": [2.0]}, 1))
        >>> history["loss"]
        [2.0]
        """
        self._values = {k: list(v) for k, v in other._values.items()}
        self.epochs, self.error, self.best_epoch = other.epochs, other.error, other.best_epoch

    def add(self, logs: dict[str, Any]) -> None:
        """One more epoch: its values by name."""
        self.epochs += 1
        for k, v in logs.items():
            self._values.setdefault(k, []).append(v)

    def __getitem__(self, name: str) -> list[Any]:
        if name not in self._values:
            raise KeyError(f"no {name!r} in the history; it has {', '.join(self._values) or 'no epochs yet'}")
        return self._values[name]

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __len__(self) -> int:
        return self.epochs

    def to_dict(self) -> dict[str, list[Any]]:
        """Name -> one value per epoch, arrays as lists; a copy, ready for JSON.

        >>> import hawfinch as hf
        >>> hf.Trainer(hf.Sequential(hf.ReLU()), "mse").fit([[1.0]], [[3.0]], epochs=2).to_dict()
        {'loss': [4.0, 4.0]}
        """
        return {k: [v.tolist() if isinstance(v, np.ndarray) else v for v in c] for k, c in self._values.items()}

    def __repr__(self) -> str:
        last = ", ".join(f"{k} {v[-1]:.4g}" for k, v in self.numbers().items())
        end = "" if self.error is None else "; not finite"
        return f"History({self.epochs} epochs{': ' + last if last else ''}{end})"

    def numbers(self) -> dict[str, list[float]]:
        """The columns of numbers, without those of arrays, such as confusion matrices.

        >>> import hawfinch as hf
        >>> hf.Trainer(hf.Sequential(hf.ReLU()), "mse").fit([[1.0]], [[3.0]]).numbers()
        {'loss': [4.0]}
        """
        return {k: v for k, v in self._values.items() if v and not any([isinstance(n, np.ndarray) for n in v])}

    def plot(self, ax: Any = None) -> Any:
        """Draws loss (left axis) and metrics (right axis), training solid, validation dashed, and a line at the best
        epoch. Gives the Axes.

        ax: matplotlib Axes to draw into; default: a new figure. Needs matplotlib (``pip install hawfinch[plot]``).
        """
        plt = import_extra("matplotlib.pyplot", "plot")

        if ax is None:
            ax = plt.subplots(figsize=(7, 4), layout="constrained")[1]
        columns = self.numbers()
        metrics = [k for k in columns if k.removeprefix("val_") != "loss"]
        right: Any = ax.twinx() if metrics else None
        colors = iter(plt.rcParams["axes.prop_cycle"].by_key()["color"])
        names = ["loss", *dict.fromkeys(k.removeprefix("val_") for k in metrics)]
        lines = []
        for name in names:
            target = ax if name == "loss" else right
            color = next(colors)
            for key, style in ((name, "-"), (f"val_{name}", "--")):
                if key in columns:
                    values = columns[key]
                    epochs = range(self.epochs - len(values) + 1, self.epochs + 1)
                    marker = "o" if len(values) == 1 else None
                    lines += target.plot(epochs, values, style, color=color, label=key, marker=marker)
        if self.best_epoch is not None:
            ax.axvline(self.best_epoch + 1, color="gray", linestyle=":", linewidth=1)
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss")
        if right is not None:
            right.set_ylabel(", ".join(names[1:]))
        ax.legend(lines, [str(line.get_label()) for line in lines], loc="center right", frameon=False)
        ax.grid(alpha=0.3)
        return ax
