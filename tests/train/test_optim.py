"""hawfinch.optim: every optimiser and option against its formula in NumPy, and the slots that it keeps."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from optim_cases import AVERAGED, CASES, SEARCHES, WHOLE

import hawfinch as hf
from hawfinch import optim
from hawfinch._core import RULES
from hawfinch.errors import ArgumentError
from hawfinch.optim import OPTIMIZERS

RNG = np.random.default_rng(5)
X = RNG.normal(size=(30, 4))
Y = RNG.normal(size=(30, 3))
Arrays = dict[str, np.ndarray]


def gradients(p: Arrays) -> Arrays:
    """Of the mean square error of a linear layer."""
    d = 2 * (X @ p["0.weight"] + p["0.bias"] - Y) / Y.size
    return {"0.weight": X.T @ d, "0.bias": d.sum(0)}


@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.05}, {"clip_norm": 1e9}, {"clip_value": 0.01}], ids=str)
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", CASES)
def test_formula(name: str, decay: float, clip: dict[str, float]) -> None:
    """12 steps in float64. Clipping comes before weight decay, which reaches biases too."""
    case = CASES[name]
    model = hf.Sequential(hf.Linear(3)).astype("float64").build((4,))
    p = {k: v.copy() for k, v in model.parameters().items()}
    trainer = hf.Trainer(model, "mse", case.optimizer(weight_decay=decay, **clip))
    trainer.fit(X, Y, batch_size=30, epochs=12, shuffle=False)
    slots: dict[str, dict[str, Any]] = {k: {} for k in p}
    coupled, apart = (0.0, decay) if case.optimizer().decoupled else (decay, 0.0)
    options = dict(case.options)
    if case.takes_decay:
        coupled, options["weight_decay"] = 0.0, decay
    for t in range(1, 13):
        g = gradients(p)
        norm = np.sqrt(sum((v**2).sum() for v in g.values()))
        scale = min(1.0, clip["clip_norm"] / (norm + 1e-6)) if "clip_norm" in clip else 1.0
        limit = clip.get("clip_value", np.inf)
        g = {k: np.clip(v * scale, -limit, limit) + coupled * p[k] for k, v in g.items()}
        lr = case.options["lr"]
        p = {k: case.update(v * (1 - lr * apart), g[k], slots[k], t, **options) for k, v in p.items()}
    for k, v in model.parameters().items():
        np.testing.assert_allclose(v, p[k], rtol=1e-10, atol=1e-13)
    kept = {s for values in slots.values() for s in values}
    assert set(trainer.slots) == kept
    for name, place in model.store().parameters.items():
        for s in kept:
            mine = trainer.slots[s][place.offset :][: p[name].size].reshape(place.shape)
            np.testing.assert_allclose(mine, slots[name][s], rtol=1e-9, atol=1e-13)


GROUPED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("sgd", {}, {"momentum": 0.9, "nesterov": True}),
    ("momentum", {}, {"dampening": 0.4}),
    ("momentum", {}, {"momentum": 0.0}),
    ("nesterov", {}, {"nesterov": False, "dampening": 0.4}),
    ("rmsprop", {}, {"centered": True}),
    ("rmsprop momentum", {}, {"centered": True, "momentum": 0.0}),
    ("adam", {}, {"amsgrad": True, "lr": 0.01}),
    ("amsgrad decoupled", {"weight_decay": 0.1}, {"amsgrad": False, "weight_decay": 0.0}),
    ("nadam", {"weight_decay": 0.1}, {"decoupled_weight_decay": True, "momentum_decay": 0.1}),
    ("lars", {}, {"trust_ratio": False, "weight_decay": 0.0}),
    ("lamb", {}, {"trust_ratio": False, "lr": 0.01}),
    ("radam", {"weight_decay": 0.1}, {"betas": (0.7, 0.9), "decoupled_weight_decay": True}),
]


@pytest.mark.parametrize(("name", "more", "of_bias"), GROUPED)
def test_groups_set_any_hyperparameter(name: str, more: dict[str, Any], of_bias: dict[str, Any]) -> None:
    """What is True or False too: the rule of all is the richest that one of them needs."""
    case = CASES[name]
    model = hf.Sequential(hf.Linear(3)).astype("float64").build((4,))
    p = {k: v.copy() for k, v in model.parameters().items()}
    trainer = hf.Trainer(model, "mse", case.optimizer(**more), groups={"*.bias": of_bias})
    trainer.fit(X, Y, batch_size="full", epochs=8, shuffle=False)
    options = {"0.weight": {**case.options, **more}, "0.bias": {**case.options, **more, **of_bias}}
    slots: dict[str, dict[str, Any]] = {k: {} for k in p}
    for t in range(1, 9):
        for k, g in gradients(p).items():
            mine = dict(options[k])
            if case.takes_decay:
                p[k] = case.update(p[k], g, slots[k], t, **mine)
                continue
            decay, apart = mine.pop("weight_decay", 0.0), mine.pop("decoupled_weight_decay", case.make is hf.AdamW)
            old = p[k] * (1 - mine["lr"] * decay) if apart else p[k]
            p[k] = case.update(old, g if apart else g + decay * old, slots[k], t, **mine)
    for k, v in model.parameters().items():
        np.testing.assert_allclose(v, p[k], rtol=1e-10, atol=1e-13)


def along(optimizer: hf.Optimizer, g: np.ndarray, steps: int) -> np.ndarray:
    """What the parameters do, (steps, n), where the gradient is always g."""
    model = hf.Sequential(hf.Linear(len(g), bias=False)).astype("float64").build((1,))
    trainer = hf.Trainer(model, lambda p, t: hf.ops.sum(p * t, 1), optimizer)
    place, moves = model.parameters()["0.weight"], []
    for _ in range(steps):
        before = place.copy()
        trainer.step(np.ones((1, 1)), g[None])
        moves.append((place - before)[0])
    return np.array(moves)


SLOPES = np.array([-3.0, 0.5, 100.0, -1e-3])


def test_a_constant_gradient_gives_adam_steps_of_lr_sign() -> None:
    for optimizer in (hf.Adam(0.01), hf.Adam(0.01, amsgrad=True), hf.AdamW(0.01, weight_decay=0.0), hf.Adamax(0.01)):
        moves = along(optimizer, SLOPES, 20)
        if optimizer == hf.Adam(0.01, amsgrad=True):  # its v is corrected as if it were the average
            moves = moves[:1]
        np.testing.assert_allclose(moves, np.broadcast_to(-0.01 * np.sign(SLOPES), moves.shape), rtol=2e-5)


def test_adagrad_is_the_root_mean_square_form_with_a_rate_that_falls() -> None:
    moves, t = along(hf.Adagrad(0.1, eps=0.0), SLOPES, 9), np.arange(1, 10)[:, None]
    root_mean_square = np.abs(SLOPES)
    np.testing.assert_allclose(moves, -0.1 / np.sqrt(t) * SLOPES / root_mean_square, rtol=1e-12)


def test_the_first_step_of_rmsprop_is_longer() -> None:
    """Its average begins at 0."""
    np.testing.assert_allclose(along(hf.RMSprop(0.01, eps=0.0), SLOPES, 1)[0], -0.1 * np.sign(SLOPES), rtol=1e-12)


def test_a_centred_rmsprop_survives_a_gradient_that_never_changes() -> None:
    """Its variance is then 0, up to rounding, which must not become the root of a negative number."""
    assert np.isfinite(along(hf.RMSprop(0.01, alpha=0.5, centered=True), SLOPES, 100)).all()


@pytest.mark.parametrize("decay", [0.0, 4e-3, 0.3])
def test_nadams_product_after_many_steps(decay: float) -> None:
    """In closed form, against the product of all factors."""
    optimizer, g = hf.NAdam(1.0, betas=(0.995, 0.0), momentum_decay=decay, eps=0.0), np.array([1.0])
    moves = along(optimizer, g, 1200)[:, 0]
    t = np.arange(1, 1202)
    mu = 0.995 * (1 - 0.5 * 0.96 ** (t * decay))
    product, m = np.cumprod(mu), 1 - 0.995 ** t[:-1]
    want = mu[1:] * m / (1 - product[1:]) + (1 - mu[:-1]) / (1 - product[:-1])
    np.testing.assert_allclose(moves, -want, rtol=1e-9)  # moves are differences of parameters up to 1e3


def test_radam_waits_until_its_average_can_be_trusted() -> None:
    """With the default beta2 it takes five steps of momentum first."""
    moves = along(hf.RAdam(0.01), SLOPES, 6)
    np.testing.assert_allclose(moves[:5], np.broadcast_to(-0.01 * SLOPES, (5, 4)), rtol=1e-9)
    assert np.ptp(np.abs(moves[5])) < 1e-3 * np.abs(moves[5]).max()


def test_every_optimiser_has_a_row() -> None:
    public = {getattr(hf, name) for name in optim.__all__} - {hf.Optimizer}
    rows = {case.make for case in (*CASES.values(), *WHOLE.values(), *AVERAGED.values())}
    assert rows | set(SEARCHES) == public == set(OPTIMIZERS.values())


def test_every_rule_is_used_by_a_row() -> None:
    optimizers = [case.optimizer() for case in (*CASES.values(), *AVERAGED.values())]
    used = {o.rule for o in optimizers} | {o.measured for o in optimizers} - {""}
    assert used | {"moved"} == set(RULES)  # which test_watch.py has for the optimisers of WHOLE


def test_defaults_are_pytorchs() -> None:
    adam, adamw = hf.Adam(), hf.AdamW()
    expected = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
    assert adam.lr == adamw.lr == 1e-3
    assert adam.options == expected and adamw.options == {**expected, "weight_decay": 0.01}
    assert hf.SGD().options == {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0}
    assert hf.RMSprop().options == {"alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "weight_decay": 0.0}
    assert hf.Adagrad().options == {"lr_decay": 0.0, "eps": 1e-10, "weight_decay": 0.0}
    assert hf.NAdam().options == {**expected, "momentum_decay": 4e-3} and hf.RAdam().options == expected
    assert hf.Adamax().options == expected and hf.NAdam().lr == hf.Adamax().lr == 2e-3 and hf.RAdam().lr == 1e-3
    assert hf.RMSprop().lr == hf.Adagrad().lr == 0.01
    assert repr(hf.SGD(0.5, momentum=0.9)) == "SGD(lr=0.5, momentum=0.9, dampening=0.0, weight_decay=0.0)"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_names(name: str) -> None:
    def run(optimizer: Any) -> bytes:
        model = hf.Sequential(hf.Linear(3))
        hf.Trainer(model, "mse", optimizer).fit(X, Y, epochs=3, batch_size="full")
        return b"".join(v.tobytes() for v in model.parameters().values())

    assert run(name) == run(OPTIMIZERS[name]())


@pytest.mark.parametrize("name", CASES)
def test_every_size_of_buffer(name: str) -> None:
    """Around vectors, chunks and the grain of threads: each element gets the same update, whoever does it."""
    make = CASES[name].optimizer

    class Free(hf.Module):
        def __init__(self, n: int):
            self.n = n

        def forward(self, x: Any) -> Any:
            return x * self.param("p", (self.n,), "ones")

    wide = None
    for n in (5000, 1, 7, 15, 16, 17, 1023, 1024, 1025, 4095, 4097):
        outcome = []
        for threads in (1, 3):
            model = Free(n)
            trainer = hf.Trainer(model, lambda p, t: hf.ops.sum(p - t, 1), make())
            x = (np.arange(5000, dtype=np.float32)[:n] % 13 - 6)[None]
            for _ in range(3):
                trainer.step(x, np.zeros_like(x), threads=threads)
            outcome.append(model.parameters()["p"].copy())
        assert outcome[0].tobytes() == outcome[1].tobytes()
        if make().measured:  # the others' norm is part of it
            continue
        wide = outcome[0] if wide is None else wide
        assert outcome[0].tobytes() == wide[:n].tobytes()


def test_clip_norm_of_many_parameters() -> None:
    """Over more than one chunk of the sum of squares, and over all parameters together."""
    model = hf.Sequential(hf.Linear(300), hf.Tanh(), hf.Linear(3)).astype("float64").build((4,))
    before = np.concatenate([v.ravel() for v in model.parameters().values()])
    free = hf.Trainer(model, "mse", hf.SGD(lr=1.0, clip_norm=1e-3))
    free.step(X, Y)
    moved = np.concatenate([v.ravel() for v in model.parameters().values()]) - before
    norm = np.sqrt((free.gradient**2).sum())
    assert norm > 1e-3
    assert np.sqrt((moved**2).sum()) == pytest.approx(1e-3 * norm / (norm + 1e-6), rel=1e-9)


def test_lr_zero_moves_nothing() -> None:
    for name in OPTIMIZERS:
        model = hf.Sequential(hf.Linear(3)).build((4,))
        before = {k: v.copy() for k, v in model.parameters().items()}
        more = {"vectors": hf.AdamW(0.0)} if name == "muon" else {}
        hf.Trainer(model, "mse", OPTIMIZERS[name](lr=0.0, **more)).fit(X, Y, epochs=2, batch_size="full")
        assert all(np.array_equal(before[k], v) for k, v in model.parameters().items())


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    "make",
    [
        lambda: hf.SGD(-0.1),
        lambda: hf.SGD(NAN),
        lambda: hf.SGD(INF),
        lambda: hf.SGD("0.1"),
        lambda: hf.SGD(None),
        lambda: hf.SGD([0.1]),
        lambda: hf.SGD(1j),
        lambda: hf.SGD(True),
        lambda: hf.SGD(0.1, momentum=1.0),
        lambda: hf.SGD(0.1, momentum=-0.1),
        lambda: hf.SGD(0.1, momentum=NAN),
        lambda: hf.SGD(0.1, momentum="a"),
        lambda: hf.SGD(0.1, nesterov=True),
        lambda: hf.SGD(0.1, momentum=0.9, nesterov=True, dampening=0.1),
        lambda: hf.SGD(0.1, momentum=0.9, nesterov=True).replace(momentum=0.0),
        lambda: hf.SGD(0.1, momentum=0.9, nesterov=1),
        lambda: hf.SGD(0.1, weight_decay=-1),
        lambda: hf.Adam(amsgrad="yes"),
        lambda: hf.NAdam(momentum_decay=-1),
        lambda: hf.Rprop(etas=(1.1, 1.2)),
        lambda: hf.Rprop(etas=(0.5, 0.9)),
        lambda: hf.Rprop(etas=0.5),
        lambda: hf.Rprop(step_sizes=(1.0, 0.1)),
        lambda: hf.Trainer(hf.Sequential(), "mse", hf.RMSprop(), groups={"*": dict(amsgrad=True)}),
        lambda: hf.Trainer(
            hf.Sequential(), "mse", hf.SGD(momentum=0.9, nesterov=True), groups={"*": dict(momentum=0.0)}
        ),
        lambda: hf.SGD(0.1, weight_decay=INF),
        lambda: hf.Adam(betas=(0.9, 1.0)),
        lambda: hf.Adam(betas=(-0.1, 0.9)),
        lambda: hf.Adam(betas=0.9),
        lambda: hf.Adam(betas=(0.9,)),
        lambda: hf.Adam(betas=(0.9, 0.9, 0.9)),
        lambda: hf.Adam(eps=-1e-8),
        lambda: hf.Adam(eps=NAN),
        lambda: hf.AdamW(weight_decay=NAN),
        lambda: hf.RMSprop(alpha=1.0),
        lambda: hf.RMSprop(alpha="x"),
        lambda: hf.Adagrad(eps=None),
        lambda: hf.Adam(clip_norm=0),
        lambda: hf.Adam(clip_norm=-1),
        lambda: hf.Adam(clip_norm=NAN),
        lambda: hf.Adam(clip_value=0),
        lambda: hf.Adam(clip_value="a"),
        lambda: hf.Trainer(hf.Sequential(), "mse", "adamm"),
        lambda: hf.Trainer(hf.Sequential(), "mse", 3),
        lambda: hf.Trainer(hf.Sequential(), "mse", hf.Adam),
    ],
)
def test_bad_arguments(make: Callable[[], Any]) -> None:
    with pytest.raises(ArgumentError):
        make()


@pytest.mark.parametrize("value", [-1.0, NAN, INF, "a", None, [0.1, 0.2]])
def test_bad_values_of_a_learning_rate_function(value: Any) -> None:
    trainer = hf.Trainer(hf.Sequential(hf.Linear(3)), "mse", hf.SGD(lambda step: value))
    for call in (trainer.fit, trainer.step):
        with pytest.raises(ArgumentError, match="the learning rate at step 0 is"):
            call(X, Y)
    assert trainer.steps == 0


class Bad(hf.schedules.Schedule):
    def __init__(self, values: Any):
        self.values = np.asarray(values)

    def at(self, steps: Any, total: int | None) -> Any:
        return self.values[steps]


@pytest.mark.parametrize("name", ["lr", "weight_decay", "momentum"])
def test_any_hyperparameter_may_be_a_schedule_and_is_checked_before_anything_changes(name: str) -> None:
    values = np.linspace(0.1, 0.5, 8)
    given: dict[str, Any] = {"lr": 0.1, "weight_decay": 0.1, "momentum": 0.5}
    model = hf.Sequential(hf.Linear(3)).build((4,), seed=0)
    trainer = hf.Trainer(model, "mse", hf.SGD(**{**given, name: Bad(values)}))
    trainer.fit(X, Y, batch_size=4, shuffle=False)
    other = hf.Trainer(hf.Sequential(hf.Linear(3)).build((4,), seed=0), "mse", hf.SGD(**given))
    for i, value in enumerate(values):
        other.set(**{name: float(value)})
        other.step(X[4 * i : 4 * i + 4], Y[4 * i : 4 * i + 4])
    assert model.store().params.tobytes() == other.model.store().params.tobytes()

    for bad in (-0.1, NAN, INF):
        before = trainer.model.store().params.tobytes()
        trainer.set(**{name: Bad([0.1, 0.1, bad, 0.1, 0.1, 0.1, 0.1, 0.1])})
        with pytest.raises(ArgumentError, match="at step 10 is"):
            trainer.fit(X, Y, batch_size=4)
        assert trainer.model.store().params.tobytes() == before and trainer.steps == 8


def test_optimisers_are_values() -> None:
    adam = hf.Adam(0.1)
    assert adam == hf.Adam(0.1) and hash(adam) == hash(hf.Adam(0.1)) and adam != hf.Adam(0.2) and adam != hf.AdamW(0.1)
    assert pickle.loads(pickle.dumps(adam)) == adam and copy.deepcopy(adam) is adam
    with pytest.raises(ArgumentError, match=r"trainer.set\(lr=...\)"):
        adam.lr = NAN
    assert adam.replace(lr=0.2, betas=(0.8, 0.9)) == hf.Adam(0.2, betas=(0.8, 0.9)) and adam.lr == 0.1
    assert hf.SGD(0.1).replace(momentum=0.9).slots == ("velocity",)
    for bad in ({"lr": -1}, {"lr": NAN}, {"betas": 3}, {"clip_norm": 0}):
        with pytest.raises(ArgumentError):
            adam.replace(**bad)
    with pytest.raises(ArgumentError, match="'lr'"):
        adam.replace(l=1)


def test_a_trainer_goes_on_with_other_numbers() -> None:
    trainer = hf.Trainer(hf.Sequential(hf.Linear(3)), "mse", hf.Adam(0.1))
    trainer.step(X, Y)
    m = trainer.slots["m"].copy()
    plan = trainer.plan(X, Y, batch_size=30)
    trainer.set(lr=0.0)
    assert trainer.plan(X, Y, batch_size=30) is plan, "numbers are not in the plan"
    before = trainer.model.store().params.tobytes()
    trainer.step(X, Y)
    assert trainer.model.store().params.tobytes() == before and not np.array_equal(trainer.slots["m"], m)
    with pytest.raises(ArgumentError, match="Adam"):
        trainer.set(momentum=0.9)


def test_one_optimizer_for_two_trainers() -> None:
    """It holds settings alone: state is each trainer's own."""
    optimizer = hf.Adam(lr=0.1)
    trainers = [hf.Trainer(hf.Sequential(hf.Linear(3)), "mse", optimizer) for _ in range(2)]
    for _ in range(3):
        assert trainers[0].step(X, Y) == trainers[1].step(X, Y)


def test_settings_changed_between_fits_are_seen() -> None:
    """A new optimiser, loss or setting of one never trains on with the old plan."""
    x = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
    y = x.sum(1, keepdims=True)

    def stepped(change: Callable[[hf.Trainer], None]) -> np.ndarray:
        trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), hf.Huber(1.0), hf.Adam(0.1), seed=3)
        for _ in range(3):
            trainer.step(x, y)
        change(trainer)
        trainer.step(x, y)
        return np.concatenate([p.ravel() for p in trainer.model.parameters().values()])

    plain = stepped(lambda t: None)
    changes: list[Callable[[hf.Trainer], None]] = [
        lambda t: setattr(t, "optimizer", hf.SGD(0.1)),
        lambda t: setattr(t, "loss", hf.MAE()),
        lambda t: setattr(t, "loss", hf.Huber(0.01)),
        lambda t: t.set(clip_value=1e-3),
        lambda t: t.set(lr=0.5),
    ]
    results = [stepped(change) for change in changes]
    assert all(np.isfinite(r).all() and r.tobytes() != plain.tobytes() for r in results)
