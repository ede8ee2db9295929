"""Why training fails: tools that measure a net, and a doctor that says what is wrong and proves it.

``hf.diagnose(model, x, y, ...)`` is the doctor; each tool that it works with is here under its own name too,
``hf.diagnose.lr_find`` and so on, and in ``hf``.

Design: a room that is called. ``hf.diagnose`` is a function for its users, and ``hawfinch/diagnose/`` is its room, so
the module itself is callable. Rejected: a function of the room's name, which an ``import hawfinch.diagnose`` would
overwrite with the module; and names that differ by a letter. Files have no tool's name.
"""

import sys
from types import ModuleType

from .gradients import gradient_check as gradient_check

__all__ = ["gradient_check"]


class _Room(ModuleType):
    """The module, which is called as its function ``diagnose``."""


sys.modules[__name__].__class__ = _Room
