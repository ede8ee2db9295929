"""Why training fails: tools that measure a net, and a doctor that says what is wrong and proves it.

``hf.diagnose(model, x, y, ...)`` is the doctor; each tool that it works with is here under its own name too,
``hf.diagnose.lr_find`` and so on, and in ``hf``.

Design: a room that is called. ``hf.diagnose`` is a function for its users, and ``hawfinch/diagnose/`` is its room, so
the module itself is callable. Rejected: a function of the room's name, which an ``import hawfinch.diagnose`` would
overwrite with the module; and names that differ by a letter. Files have no tool's name.
"""

import sys
from types import ModuleType
from typing import Any

from .activations import signal as signal
from .batches import batch_size_study as batch_size_study
from .candidates import model_selection as model_selection
from .critical import critical_point as critical_point
from .decomposition import bias_variance as bias_variance
from .doctor import diagnose as diagnose
from .domains import drift as drift
from .gradients import gradient_check as gradient_check
from .grid import lr_batch_map as lr_batch_map
from .hessian import curvature as curvature
from .landscapes import loss_landscape as loss_landscape, sharpness as sharpness
from .more_rows import learning_curve as learning_curve
from .noise import label_noise as label_noise
from .one_batch import overfit_batch as overfit_batch
from .rates import lr_find as lr_find
from .report import Report as Report
from .watching import Watch as Watch

__all__ = [
    "Report",
    "Watch",
    "batch_size_study",
    "bias_variance",
    "critical_point",
    "curvature",
    "drift",
    "gradient_check",
    "label_noise",
    "learning_curve",
    "loss_landscape",
    "lr_batch_map",
    "lr_find",
    "model_selection",
    "overfit_batch",
    "sharpness",
    "signal",
]


class _Room(ModuleType):
    """The module, which is called as its function ``diagnose``."""

    def __call__(self, *args: Any, **kwargs: Any) -> Report:
        return diagnose(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
