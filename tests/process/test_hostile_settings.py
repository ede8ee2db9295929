"""Wrong settings, everywhere: an error of hawfinch's, or a result, never a raw Python error from inside."""

import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hostile import HOSTILE, X, Y

import hawfinch as hf
from hawfinch.errors import HawfinchError

MODULES = (hf, hf.initializers, hf.metrics, hf.nn, hf.schedules)
CLASSES = {
    value.__name__: value
    for module in MODULES
    for value in (getattr(module, name) for name in dir(module))
    if isinstance(value, type)
    and not issubclass(value, Exception | Warning)
    and value.__module__.startswith("hawfinch")
    and not issubclass(value, type)
    and value is not hf.Optimizer
}
GIVEN = {"out": 3, "monitor": "loss", "milestones": [2, 3], "model": hf.Sequential(hf.Linear(3)), "loss": "mse"}
# Not what is huge: it is copied, or gone through.
VALUES = {name: value for name, value in HOSTILE.items() if name not in ("huge by strides", "rows of nothing")}


def net() -> hf.Sequential:
    return hf.Sequential(hf.Linear(3)).build((4,))


def hold(call: Callable[[], Any], what: str) -> None:
    try:
        call()
    except HawfinchError:
        pass
    except Exception as error:
        pytest.fail(f"{what}: {type(error).__name__}: {error}")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_argument_of_every_constructor(name: str) -> None:
    kind = CLASSES[name]
    arguments = inspect.signature(kind).parameters.values()
    needed = {p.name: GIVEN.get(p.name, 0.5) for p in arguments if p.default is p.empty and p.kind < p.VAR_POSITIONAL}
    for p in arguments:
        for text, value in VALUES.items():
            if p.kind is p.VAR_POSITIONAL:
                hold(lambda value=value: kind(value), f"{name}({text})")  # type: ignore[misc]
            elif p.kind is not p.VAR_KEYWORD:
                options = {**needed, p.name: value}
                hold(lambda options=options: kind(**options), f"{name}({p.name}={text})")  # type: ignore[misc]


class Metric(hf.metrics.Metric):
    def __init__(self, sums: Any = None, end: Any = 1.0):
        self.given = [sums, end]

    def sums(self, prediction: Any, target: Any, weight: Any) -> Any:
        return hf.ops.sum(prediction) if self.given[0] is None else self.given[0]

    def finalise(self, sums: Any) -> Any:
        return self.given[1]


def junk(base: type, method: str, value: Any, **more: Any) -> Any:
    """An object of a class of the user's own whose method gives this value."""
    return type("Own", (base,), {method: lambda self, *args, **kwargs: value, **more})()


def fit(**options: Any) -> Any:
    return hf.Trainer(net(), options.pop("loss", "mse"), **options).fit(X, Y)


RESULTS: dict[str, Callable[[Any], Any]] = {
    "loss": lambda v: fit(loss=lambda p, t: v),
    "Loss.check": lambda v: fit(loss=junk(hf.Loss, "check", v, __call__=lambda self, p, t: hf.ops.abs(p - t))),
    "Loss.row_weights": lambda v: fit(loss=junk(hf.Loss, "row_weights", v, __call__=lambda self, p, t: hf.ops.abs(p))),
    "metric": lambda v: fit(metrics=[lambda p, t: v]),
    "Metric.sums": lambda v: fit(metrics=[Metric(sums=v)]),
    "Metric.finalise": lambda v: fit(metrics=[Metric(end=v)]),
    "learning rate": lambda v: fit(optimizer=hf.SGD(lambda step: v)),
    "Schedule.at": lambda v: fit(optimizer=hf.SGD(junk(hf.schedules.Schedule, "at", v))),
    "Average.factors": lambda v: fit(average=junk(hf.Average, "factors", v)),
    "Constraint.apply": lambda v: fit(constraints={"*": junk(hf.Constraint, "apply", v)}),
    "Constraint.numbers": lambda v: fit(constraints={"*": type("Own", (hf.Constraint,), {"numbers": v})()}),
    "callback": lambda v: hf.Trainer(net(), "mse").fit(X, Y, callbacks=[lambda *args: v]),
    "chunks": lambda v: hf.Trainer(net(), "mse").fit(lambda: v),
    "chunk": lambda v: hf.Trainer(net(), "mse").fit(lambda: [v]),
    "targets of a chunk": lambda v: hf.Trainer(net(), "mse").fit(lambda: [(X, v)]),
    "forward": lambda v: junk(hf.Module, "forward", v).build((4,)),
    "initializer": lambda v: hf.Linear(3, init=lambda *args: v).build((4,)),
    "fan": lambda v: junk(
        hf.Module, "forward", None, forward=lambda self, x: x + self.param("a", (4,), "ones", v)
    ).build((4,)),
    "group": lambda v: fit(groups={"*": {"lr": v}}),
    "set": lambda v: hf.Trainer(net(), "mse").set(lr=v),
    "seed of a call": lambda v: [hf.compile(lambda x: x + 1)(X, seed=seed) for seed in (0, v)],
    "batch_size": lambda v: hf.Trainer(net(), "mse").fit(X, Y, batch_size=v),
    "astype": lambda v: net().astype(v),
    "save": lambda v: net().save(v),
    "model of load": lambda v: hf.load("none", v) if not isinstance(v, hf.Module) and v is not None else None,
    "x of fit_many": lambda v: hf.fit_many([(net(), {"loss": "mse"})], v, Y),
    "fit_many": lambda v: hf.fit_many(v, X, Y),
}


@pytest.mark.parametrize("name", RESULTS)
def test_what_functions_of_the_user_give(name: str, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for text, value in VALUES.items():
        hold(lambda value=value: RESULTS[name](value), f"{name}: {text}")  # type: ignore[misc]
