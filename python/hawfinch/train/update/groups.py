"""Groups: which settings hold for which parameter, by patterns of names.

Design: the layout of the parameter buffer is the model's alone, so patterns may overlap, change between fits and differ
between trainers while views of the parameters stay live. Rejected: a range of the buffer for each group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...errors import ArgumentError
from ...optim import Optimizer
from ...schedules import Schedule
from ...values import matching


def by_name(what: str, patterns: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Name -> the value of the last pattern that matches it."""
    names = list(names)
    return {name: value for pattern, value in patterns.items() for name in matching(what, pattern, names)}


def pattern_of(patterns: Mapping[str, Any], value: Any) -> str:
    """The last pattern that has this value; "" where none has."""
    return next((pattern for pattern in reversed(list(patterns)) if patterns[pattern] is value), "")


def check_patterns(what: str, patterns: Any, kind: type, example: str) -> dict[str, Any]:
    """patterns as a dict; raises ArgumentError unless its values are of this kind."""
    if patterns is None:
        return {}
    if not isinstance(patterns, Mapping):
        raise ArgumentError(f"{what}: expected a dict such as {example}, got {patterns!r:.80}")
    for pattern, value in patterns.items():
        if not isinstance(value, kind):
            raise ArgumentError(f"{what}: expected a dict such as {example}; {pattern!r} has {value!r:.80}")
    return dict(patterns)


def group_optimizers(parts: Mapping[str, Optimizer], groups: Mapping[str, Any]) -> dict[str, Optimizer]:
    """Name -> the optimiser with the settings of its groups, for the names that are in one; later groups win. parts:
    name -> the optimiser without them."""
    given: dict[str, dict[str, Any]] = {}
    for pattern, options in groups.items():
        for name in matching("groups", pattern, parts):
            given[name] = {**given.get(name, {}), **options}
    known: dict[Any, Optimizer] = {}  # one for each set of options
    found = {}
    for name, options in given.items():
        key = (id(parts[name]), *((k, id(v)) for k, v in options.items()))
        if key not in known:
            known[key] = _with(parts[name], options)
        found[name] = known[key]
    return found


def check_groups(optimizer: Optimizer, groups: Any) -> tuple[dict[str, Any], list[Optimizer]]:
    """groups as a dict, and all optimisers that there may be; raises ArgumentError for what is no setting of any."""
    found = check_patterns("groups", groups, dict, "{'*.bias': dict(weight_decay=0.0)}")
    optimizers = list(optimizer.parts)
    for options in found.values():
        wrong: list[ArgumentError] = []
        for part in optimizer.parts:
            try:
                optimizers.append(_with(part, options))
            except ArgumentError as error:
                wrong.append(error)
        if len(wrong) == len(optimizer.parts):
            raise wrong[0]
    return found, optimizers


def sparse_names(
    groups: Mapping[str, Mapping[str, Any]], names: Iterable[str], default: Iterable[str] = ()
) -> list[str]:
    """Those whose last group that says ``sparse`` says True, and those of ``default`` where none says it."""
    said = {k: options["sparse"] for k, options in groups.items() if "sparse" in options}
    chosen = dict.fromkeys(default, True) | by_name("groups", said, names)
    return [name for name, sparse in chosen.items() if sparse]


def adaptive_limits(groups: Mapping[str, Mapping[str, Any]], names: Iterable[str], of_all: Any) -> dict[str, float]:
    """Name -> the limit of adaptive clipping, for those that have one. of_all: what the optimiser says."""
    names = list(names)
    said = {k: options["clip_adaptive"] for k, options in groups.items() if "clip_adaptive" in options}
    found = {**dict.fromkeys(names, of_all), **by_name("groups", said, names)}
    return {name: float(limit) for name, limit in found.items() if limit is not None}


def _with(optimizer: Optimizer, options: Mapping[str, Any]) -> Optimizer:
    options = dict(options)
    if not isinstance(sparse := options.pop("sparse", False), bool):
        raise ArgumentError(f"groups: sparse must be True or False, got {sparse!r:.80}")
    for name in options:
        if not isinstance(name, str):
            raise ArgumentError(f"groups: expected settings by name such as dict(lr=0.1), got {options!r:.80}")
        if name.startswith("clip") and name != "clip_adaptive":
            raise ArgumentError(f"groups: {name} is of the whole gradient, not of a group; give it to the optimiser")
    base = optimizer.hyperparameters
    scaled = {k: v.scaled(base[k]) if isinstance(v, Schedule) and k in base else v for k, v in options.items()}
    return optimizer.replace(**scaled)
