"""What users see: every public name of hawfinch, once each, under its shortest name."""

import inspect
from types import ModuleType
from typing import Any

import hawfinch as hf
import hawfinch.files


def _members(module: ModuleType) -> dict[str, Any]:
    """What a public module shows of its own, without what it imports from other rooms."""
    home = module.__name__
    found = {}
    for name in getattr(module, "__all__", None) or dir(module):
        value = getattr(module, name)
        where = getattr(value, "__module__", None) or ""
        if not name.startswith("_") and callable(value) and (where == home or where.startswith(f"{home}.")):
            found[name] = value
    return found


def public_names() -> dict[str, Any]:
    """hf.Linear, hf.ops.add, ...: classes and functions by name. hf.nn.Linear is hf.Linear, and named once."""
    names = {f"hf.{name}": getattr(hf, name) for name in dir(hf) if not name.startswith("_")}
    modules = {name: value for name, value in names.items() if isinstance(value, ModuleType)}
    found = {name: value for name, value in names.items() if name not in modules}
    for prefix, module in {**modules, "hf.files": hawfinch.files}.items():
        for name, value in _members(module).items():
            if not any(value is known for known in found.values()):
                found[f"{prefix}.{name}"] = value
    return dict(sorted(found.items()))


def public_classes() -> dict[str, type]:
    return {name: value for name, value in public_names().items() if inspect.isclass(value)}


def public_methods() -> dict[str, Any]:
    """hf.Module.predict, ...: methods and properties that a class of hawfinch defines itself."""
    found = {}
    for prefix, cls in public_classes().items():
        for name, value in vars(cls).items():
            if not name.startswith("_") and (
                callable(value) or isinstance(value, property | classmethod | staticmethod)
            ):
                found[f"{prefix}.{name}"] = value
    return found
