"""hawfinch: a neural-net engine. The public names, nothing else."""

from typing import TYPE_CHECKING as _TYPE_CHECKING, Any as _Any

from . import (
    augment as augment,
    errors as errors,
    initializers as initializers,
    kernels as kernels,
    metrics as metrics,
    nn as nn,
    ops as ops,
    schedules as schedules,
    values as values,
)
from ._core import VERSION as _VERSION
from .averaging import *  # noqa: F403
from .constraints import *  # noqa: F403
from .errors import HawfinchError as HawfinchError, NonFiniteError as NonFiniteError
from .files.model import load as load, save_model as _save_model
from .files.weights import load_weights as _load_weights
from .function import compile as compile, grad as grad, hvp as hvp, jvp as jvp, value_and_grad as value_and_grad
from .losses import *  # noqa: F403
from .nn import *  # noqa: F403
from .nn import Module as Module
from .nn.summary import summary as _summary
from .optim import *  # noqa: F403
from .predict.predictor import outputs as _outputs, predict as _predict
from .regularizers import *  # noqa: F403
from .show_config import show_config as show_config
from .train.callbacks import Progress as Progress
from .train.checkpoint import Checkpoint as Checkpoint
from .train.early_stopping import EarlyStopping as EarlyStopping
from .train.history import History as History
from .train.many import fit_many as fit_many
from .train.trainer import Trainer as Trainer

Module.uses.update(load_weights=_load_weights, outputs=_outputs, predict=_predict, save=_save_model, summary=_summary)


def _diagnose_trainer(*given: _Any) -> _Any:
    from .diagnose.doctor import of_trainer

    return of_trainer(*given)


Trainer.uses.update(diagnose=_diagnose_trainer)
__version__: str = _VERSION

if _TYPE_CHECKING:
    from . import data as data, linear as linear, transfer as transfer
    from .diagnose import *  # noqa: F403

# The other submodules are rooms of the house, not part of the interface.
_PUBLIC_MODULES = frozenset(
    {
        "augment",
        "data",
        "diagnose",
        "errors",
        "initializers",
        "kernels",
        "linear",
        "metrics",
        "nn",
        "ops",
        "schedules",
        "transfer",
        "values",
    }
)


if not _TYPE_CHECKING:  # a checker would take it for a promise of every name

    def __getattr__(name: str) -> _Any:
        """Imported at their first use: ``data``, whose readers need slow parts of Python, ``linear``, ``transfer``,
        ``diagnose`` and its tools."""
        from importlib import import_module

        if name in ("data", "diagnose", "linear", "transfer"):
            return import_module(f"hawfinch.{name}")
        if not name.startswith("_"):
            tools = import_module("hawfinch.diagnose")
            if name in tools.__all__:
                return getattr(tools, name)
        hint = f"; here it is hf.{values.ELSEWHERE[name]}" if name in values.ELSEWHERE else ""
        raise AttributeError(f"module 'hawfinch' has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    module = type(errors)
    public = {
        name
        for name, value in globals().items()
        if not name.startswith("_") and (not isinstance(value, module) or name in _PUBLIC_MODULES)
    }
    from .diagnose import __all__ as tools

    return sorted(public | _PUBLIC_MODULES | {"__version__"} | set(tools))
