"""The kinds of an update: groups, frozen parameters, penalties, constraints, averages, accumulation; against NumPy."""

import copy
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optim_cases import adam

import hawfinch as hf
from hawfinch.errors import ArgumentError
from hawfinch.schedules import Cosine, Plateau, Scaled
from hawfinch.train.update import products

RNG = np.random.default_rng(5)
X = RNG.normal(size=(30, 4))
Y = RNG.normal(size=(30, 3))
Arrays = dict[str, np.ndarray]
LASSO = [0.60075964, 0.0, -1.66126543, 0.0]


def linear(dtype: str = "float64") -> hf.Sequential:
    return hf.Sequential(hf.Linear(3)).astype(dtype).build((4,), seed=1)


def deep(seed: int = 1) -> hf.Sequential:
    return hf.Sequential(hf.Linear(20), hf.BatchNorm(), hf.Tanh(), hf.Linear(3)).build((4,), seed=seed)


def values(model: hf.Module) -> Arrays:
    return {k: v.copy() for k, v in model.parameters().items()}


def gradients(p: Arrays, x: np.ndarray = X, y: np.ndarray = Y) -> Arrays:
    d = 2 * (x @ p["0.weight"] + p["0.bias"] - y) / y.size
    return {"0.weight": x.T @ d, "0.bias": d.sum(0)}


def flat(trainer: hf.Trainer) -> bytes:
    return trainer.model.store().params.tobytes()


def test_groups_by_pattern_later_rows_win() -> None:
    model = linear()
    p = values(model)
    groups = {"*": dict(lr=Scaled(0.5), weight_decay=0.3), "*.bias": dict(weight_decay=0.0, betas=(0.7, 0.8))}
    hf.Trainer(model, "mse", hf.Adam(0.1), groups=groups).fit(X, Y, epochs=5, batch_size=30, shuffle=False)
    slots: dict[str, dict[str, Any]] = {k: {} for k in p}
    for t in range(1, 6):
        g = gradients(p)
        g["0.weight"] += 0.3 * p["0.weight"]
        betas = {"0.weight": (0.9, 0.999), "0.bias": (0.7, 0.8)}
        p = {k: adam(p[k], g[k], slots[k], t, 0.05, betas[k], 1e-8) for k in p}
    for k, v in model.parameters().items():
        np.testing.assert_allclose(v, p[k], rtol=1e-9, atol=1e-12)


def test_a_group_may_have_momentum_where_the_others_have_none() -> None:
    together = hf.Trainer(linear(), "mse", hf.SGD(0.1), groups={"*.bias": dict(momentum=0.9)})
    plain, moving = (hf.Trainer(linear(), "mse", hf.SGD(0.1, momentum=m)) for m in (0.0, 0.9))
    for trainer in (together, plain, moving):
        trainer.fit(X, Y, epochs=1, batch_size=10, shuffle=False)
    assert set(together.slots) == {"velocity"}
    assert not np.array_equal(together.model.parameters()["0.bias"], plain.model.parameters()["0.bias"])


def test_groups_that_change_nothing_give_the_same_bits() -> None:
    results = set()
    for options in ({}, {"groups": {"*.bias": dict(lr=0.01)}}, {"groups": {"0.*": {}, "3.w*": dict(lr=Scaled(1.0))}}):
        for threads in (1, 3):
            trainer = hf.Trainer(deep(), "mse", hf.Adam(0.01), **options)
            trainer.fit(X, Y, epochs=3, batch_size=8, threads=threads)
            results.add(flat(trainer))
    assert len(results) == 1


@pytest.mark.parametrize(
    "options, words",
    [
        ({"groups": {"*.wieght": dict(lr=0.1)}}, "no parameter matches '\\*.wieght'. Did you mean '0.weight'"),
        ({"groups": {"*": dict(wieght_decay=0.1)}}, "Did you mean .weight_decay"),
        ({"groups": {"*": dict(lr=-1)}}, "lr must be finite"),
        ({"groups": {"*": dict(clip_norm=1.0)}}, "of the whole gradient"),
        ({"groups": ["*"]}, "groups: expected a dict"),
        ({"groups": {"*": 3}}, "groups: expected a dict"),
        ({"regularizers": {"*": 0.1}}, "regularizers: expected a dict"),
        ({"regularizers": {"1.*": hf.L2(0.1)}}, "regularizers: no parameter matches '1.\\*'"),
        ({"constraints": {"*": hf.L2(0.1)}}, "constraints: expected a dict"),
        ({"average": 0.9}, "average: expected"),
        ({"accumulate": 0}, "accumulate must be"),
        ({"reduce": 3}, "reduce: expected"),
        ({"accumulate": 1.5}, "accumulate must be"),
    ],
)
def test_bad_options(options: dict[str, Any], words: str) -> None:
    model = linear()
    before = values(model)
    with pytest.raises(ArgumentError, match=words):
        hf.Trainer(model, "mse", **options).fit(X, Y)
    assert all(np.array_equal(before[k], v) for k, v in model.parameters().items())


def test_frozen_parameters_stay_and_keep_their_own_count_of_updates() -> None:
    model = linear()
    p = values(model)
    trainer = hf.Trainer(model, "mse", hf.Adam(0.1, weight_decay=0.1))
    slots: dict[str, dict[str, Any]] = {k: {} for k in p}
    counts = dict.fromkeys(p, 0)
    for frozen in ((), ("0.bias",), (), ("0.weight",), ()):
        model.unfreeze()
        if frozen:
            model.freeze(*frozen)
        trainer.fit(X, Y, epochs=2, batch_size=30, shuffle=False)
        for _ in range(2):
            g = {k: v + 0.1 * p[k] for k, v in gradients(p).items()}
            for k in p:
                if k not in frozen:
                    counts[k] += 1
                    p[k] = adam(p[k], g[k], slots[k], counts[k], 0.1, (0.9, 0.999), 1e-8)
    for k, v in model.parameters().items():
        np.testing.assert_allclose(v, p[k], rtol=1e-9, atol=1e-12)


def test_another_optimiser_counts_from_one() -> None:
    model = linear()
    trainer = hf.Trainer(model, "mse", hf.SGD(0.1))
    trainer.fit(X, Y, epochs=3, batch_size=30)
    fresh = hf.Trainer(copy.deepcopy(model), "mse", hf.Adam(0.1))
    trainer.optimizer = hf.Adam(0.1)
    for t in (trainer, fresh):
        t.fit(X, Y, epochs=3, batch_size=30, shuffle=False)
    assert flat(trainer) == flat(fresh)


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("clip", [{}, {"clip_value": 0.01}])
def test_penalties(monkeypatch: pytest.MonkeyPatch, clip: dict[str, float], taken: bool) -> None:
    """The loss is without them; they come after clipping, also where the gradient is taken from its product."""
    monkeypatch.setattr(products, "LEAST_PRODUCT", 1 if taken else 1 << 60)
    model = linear()
    p = values(model)
    regularizers = {"0.weight": hf.ElasticNet(0.2, l1_ratio=0.5), "*.bias": hf.L2(lambda step: 0.1)}
    trainer = hf.Trainer(model, "mse", hf.SGD(0.1, weight_decay=0.2, **clip), regularizers=regularizers)
    history = trainer.fit(X, Y, epochs=4, batch_size=30, shuffle=False)
    assert trainer.plan(X, Y).describe().count("grad_bound") == taken
    twice = hf.Trainer(linear(), "mse", hf.SGD(0.1, **clip), regularizers={"0.weight": hf.L1(0.1)})
    same = hf.ElasticNet(0.1, l1_ratio=1.0)
    again = hf.Trainer(linear(), "mse", hf.SGD(0.1, **clip), regularizers={"0.weight": same})
    for other in (twice, again):
        other.fit(X, Y, batch_size=30)
    assert flat(twice) == flat(again)
    limit = clip.get("clip_value", np.inf)
    for i in range(4):
        loss = ((X @ p["0.weight"] + p["0.bias"] - Y) ** 2).mean()
        g = {k: np.clip(v, -limit, limit) + 0.2 * p[k] for k, v in gradients(p).items()}
        g["0.weight"] += 0.1 * np.sign(p["0.weight"]) + 0.2 * p["0.weight"]
        g["0.bias"] += 0.2 * p["0.bias"]
        p = {k: v - 0.1 * g[k] for k, v in p.items()}
        w, b = p["0.weight"], p["0.bias"]
        assert history["loss"][i] == pytest.approx(loss, rel=1e-9)
        penalty = 0.1 * np.abs(w).sum() + 0.1 * (w**2).sum() + 0.1 * (b**2).sum()
        assert history["penalty"][i] == pytest.approx(penalty, rel=1e-9)
    for k, v in model.parameters().items():
        np.testing.assert_allclose(v, p[k], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype, threads", [("float64", 1), ("float32", 3)])
def test_max_norm(dtype: str, threads: int) -> None:
    model = linear(dtype)
    p = values(model)
    trainer = hf.Trainer(model, "mse", hf.SGD(1.0), constraints={"*.weight": hf.MaxNorm(0.4)})
    trainer.fit(X, Y, epochs=6, batch_size=30, shuffle=False, threads=threads)
    for _ in range(6):
        g = gradients(p)
        p = {k: v - g[k] for k, v in p.items()}
        p["0.weight"] *= np.minimum(1.0, 0.4 / np.linalg.norm(p["0.weight"], axis=0))
    tolerance = 1e-9 if dtype == "float64" else 2e-5
    for k, v in model.parameters().items():
        np.testing.assert_allclose(v, p[k], rtol=tolerance, atol=tolerance)
    assert np.linalg.norm(p["0.weight"], axis=0).max() == pytest.approx(0.4)
    zero = hf.Trainer(linear(dtype), "mse", hf.SGD(1.0), constraints={"*": hf.MaxNorm(0.0)})
    zero.fit(X, Y)
    assert not np.frombuffer(flat(zero), dtype).any()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_proximal_l1_is_a_soft_threshold_after_the_rule(accumulate: int) -> None:
    """By lr l1 of the step and the group, zeros exact, before constraints, and only where a step updates."""
    model = linear()
    p = values(model)
    strength = hf.schedules.Step(0.5, every=2, factor=0.5)
    trainer = hf.Trainer(
        model,
        "mse",
        hf.Adam(0.02),
        groups={"0.weight": dict(lr=Scaled(2.0))},
        regularizers={"0.weight": hf.L1(strength, proximal=True)},
        accumulate=accumulate,
    )
    history = trainer.fit(X, Y, epochs=8, batch_size=30 // accumulate, shuffle=False)
    slots: dict[str, dict[str, Any]] = {k: {} for k in p}
    for t in range(1, 9):
        g, step = gradients(p), (t - 1) * accumulate + accumulate - 1
        l1 = 0.5 * 0.5 ** (step // 2)
        p = {
            k: adam(p[k], g[k], slots[k], t, lr, (0.9, 0.999), 1e-8) for k, lr in (("0.weight", 0.04), ("0.bias", 0.02))
        }
        w = p["0.weight"]
        p["0.weight"] = np.sign(w) * np.maximum(np.abs(w) - 0.04 * l1, 0)
        assert history["penalty"][t - 1] == pytest.approx(l1 * np.abs(p["0.weight"]).sum(), rel=1e-9)
    for k, v in model.parameters().items():
        np.testing.assert_allclose(v, p[k], rtol=1e-9, atol=1e-12)


def test_proximal_l1_finds_the_lasso() -> None:
    """scikit-learn's Lasso(alpha=0.3, fit_intercept=False) on these data; its objective is half of ours at 2 alpha."""
    w = np.array([1.0, 0.0, -2.0, 0.0])
    x, y = X, (X @ w)[:, None]
    model = hf.Sequential(hf.Linear(1, bias=False)).astype("float64")
    trainer = hf.Trainer(model, "mse", hf.SGD(0.1), regularizers={"*": hf.L1(0.6, proximal=True)})
    trainer.fit(x, y, epochs=400, batch_size="full")
    found = model.parameters()["0.weight"][:, 0]
    np.testing.assert_allclose(found, LASSO, rtol=1e-6)
    assert found[1] == 0 and found[3] == 0


def test_the_average_is_validated_and_left_in_the_model_and_training_goes_on_from_the_raw_weights() -> None:
    x, y = X.astype(np.float32), Y.astype(np.float32)
    plain = hf.Trainer(deep(), "mse", hf.Adam(0.02), seed=3)
    averaged = hf.Trainer(deep(), "mse", hf.Adam(0.02), seed=3, average=hf.EMA(0.8))
    average: dict[str, np.ndarray] = {}
    arrays = {**plain.model.parameters(), **plain.model.buffers()}

    def follow(*_: Any) -> None:
        for k, v in arrays.items():
            average[k] = 0.8 * average[k] + 0.2 * v if k in average else v.astype(np.float64)

    class Follow:
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            follow()

    view = averaged.model.parameters()["0.weight"]
    for _ in range(2):  # the second fit goes on from the raw weights
        plain.fit(x, y, epochs=3, batch_size=8, callbacks=[Follow()])
        history = averaged.fit(x, y, epochs=3, batch_size=8, validation_data=(x, y))
        assert history["loss"] == plain.history["loss"]
        for k, v in {**averaged.model.parameters(), **averaged.model.buffers()}.items():
            np.testing.assert_allclose(v, average[k], rtol=1e-5, atol=1e-6)
        assert averaged.evaluate(x, y)["loss"] == pytest.approx(history["val_loss"][-1], rel=1e-6)
        assert np.shares_memory(view, averaged.model.store().params)
        assert averaged.slots["average"].tobytes() == flat(plain), "the raw weights"


def test_who_writes_to_the_model_after_a_fit_goes_on_from_there() -> None:
    trainer = hf.Trainer(linear(), "mse", hf.SGD(0.0), average=hf.EMA(0.5))
    trainer.fit(X, Y)
    trainer.model.parameters()["0.weight"][...] = 7.0
    trainer.fit(X, Y)
    assert (trainer.model.parameters()["0.weight"] == 7.0).all(), "the average began anew"
    trainer.model.parameters()["0.weight"][...] = 5.0
    trainer.step(X, Y)
    assert (trainer.model.parameters()["0.weight"] == 5.0).all()


@pytest.mark.parametrize("k", [2, 3, 7])
def test_accumulated_gradients_are_those_of_the_joined_batch(k: int) -> None:
    """30 rows by batches of 4: a short last batch, and a rest of the epoch for every k."""
    model = linear()
    trainer = hf.Trainer(model, "mse", hf.Adam(0.05, clip_norm=0.2, weight_decay=0.1), accumulate=k)
    trainer.fit(X, Y, epochs=3, batch_size=4, shuffle=False)
    joined = hf.Trainer(linear(), "mse", hf.Adam(0.05, clip_norm=0.2, weight_decay=0.1))
    joined.fit(X, Y, epochs=3, batch_size=4 * k, shuffle=False)
    for name, v in model.parameters().items():
        np.testing.assert_allclose(v, joined.model.parameters()[name], rtol=1e-9, atol=1e-12)
    assert trainer.steps == 24 and trainer.state.step - trainer.state.update.skipped == joined.steps


class Together:
    """Averages the arrays of trainers in as many threads."""

    def __init__(self, n: int):
        self.barrier, self.given = threading.Barrier(n, timeout=60), dict[int, np.ndarray]()

    def __call__(self, array: np.ndarray) -> None:
        self.given[threading.get_ident()] = array
        self.barrier.wait()
        mean = np.mean(list(self.given.values()), axis=0)
        self.barrier.wait()
        array[...] = mean
        self.barrier.wait()  # who ends has let go of its array
        self.given.pop(threading.get_ident())


def run_together(trainers: list[hf.Trainer], data: list[tuple[Any, Any]], **fit: Any) -> list[BaseException | None]:
    """A fit of each in a thread of its own; what each raised."""
    raised: list[BaseException | None] = [None] * len(trainers)

    def run(i: int) -> None:
        try:
            trainers[i].fit(*data[i], shuffle=False, **fit)
        except BaseException as e:
            raised[i] = e

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(trainers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.parametrize("accumulate", [1, 2])
def test_trainers_that_average_their_gradients_equal_one_on_the_joined_batch(accumulate: int) -> None:
    x, y = RNG.normal(size=(48, 4)).astype(np.float32), RNG.normal(size=(48, 3)).astype(np.float32)
    together = Together(2)

    def net() -> hf.Sequential:
        return hf.Sequential(hf.Linear(300), hf.Tanh(), hf.Linear(300), hf.Tanh(), hf.Linear(3)).build((4,), seed=1)

    more: dict[str, Any] = dict(optimizer=hf.Adam(1e-3, clip_norm=0.5, eps=1e-4), accumulate=accumulate)
    trainers = [hf.Trainer(net(), "mse", reduce=together, **more) for _ in range(2)]
    parts = [np.arange(48) // 8 % 2 == i for i in range(2)]
    assert run_together(trainers, [(x[p], y[p]) for p in parts], batch_size=8, epochs=3) == [None, None]
    one = hf.Trainer(net(), "mse", **more)
    one.fit(x, y, batch_size=16, epochs=3, shuffle=False)
    assert flat(trainers[0]) == flat(trainers[1]), "the same average on both"
    for name, p in one.model.parameters().items():
        np.testing.assert_allclose(trainers[0].model.parameters()[name], p, atol=1e-6)
    assert trainers[0].steps == 9


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-6)])
def test_batch_norms_of_trainers_together_normalise_over_the_joined_batch(dtype: str, tolerance: float) -> None:
    x, y = RNG.normal(3.0, 2.0, size=(40, 4)).astype(dtype), RNG.normal(size=(40, 3)).astype(dtype)
    x[:, 0] += 50.0  # a mean far from 0, and other statistics in each part
    x[8::16] += 1.0
    together, sizes = Together(2), list[int]()

    def reduce(array: np.ndarray) -> None:
        sizes.append(array.size)
        together(array)

    def net() -> hf.Sequential:
        layers = [hf.BatchNorm(), hf.Linear(20), hf.BatchNorm(), hf.GELU(), hf.Linear(12), hf.BatchNorm(), hf.ReLU()]
        return hf.Sequential(*layers, hf.Linear(3)).astype(dtype).build((4,), seed=1)

    more: dict[str, Any] = dict(optimizer=hf.Adam(1e-3, clip_norm=0.5, eps=1e-3), accumulate=2)
    trainers = [hf.Trainer(net(), "mse", reduce=(reduce, 2), **more) for _ in range(2)]
    parts = [np.r_[0:8, 16:24, 32:36], np.r_[8:16, 24:32, 36:40]]  # batches of 8, 8 and 4
    assert run_together(trainers, [(x[p], y[p]) for p in parts], batch_size=8, epochs=3) == [None, None]
    assert len(sizes) == 2 * 9 * (3 * 4 - 2 + 2), "four per norm, but two for the data's; loss; gradient"
    assert flat(trainers[0]) == flat(trainers[1])
    one = hf.Trainer(net(), "mse", **more)
    one.fit(x, y, batch_size=16, epochs=3, shuffle=False)
    for name, p in {**one.model.parameters(), **one.model.buffers()}.items():
        found = {**trainers[0].model.parameters(), **trainers[0].model.buffers()}[name]
        np.testing.assert_allclose(found, p, rtol=tolerance, atol=tolerance, err_msg=name)
    np.testing.assert_allclose(
        np.mean([t.state.history["loss"] for t in trainers], axis=0), one.state.history["loss"], rtol=10 * tolerance
    )


def bad_loss(prediction: Any, target: Any) -> Any:
    """Infinite where a target is 9, with a finite gradient."""
    wrong = hf.ops.where(hf.ops.equal(target, 9.0), float("inf"), 0.0)
    return hf.ops.mean((prediction - hf.ops.minimum(target, 2.0)) ** 2 + wrong, axis=1)


@pytest.mark.parametrize("bad", ["loss", "input", "batch norm"])
def test_what_is_not_finite_in_one_trainer_stops_all_before_the_update(bad: str) -> None:
    x, y = RNG.normal(size=(2, 24, 4)), RNG.normal(size=(2, 24, 3))
    together = Together(2)
    nets = [deep().astype("float64") if bad == "batch norm" else linear() for _ in range(2)]
    trainers = [hf.Trainer(m, bad_loss, hf.Adam(0.1), reduce=(together, 2)) for m in nets]
    assert run_together(trainers, [(x[i, :8], y[i, :8]) for i in range(2)], batch_size=8, epochs=1) == [None, None]
    before = [(flat(t), {k: v.copy() for k, v in t.model.buffers().items()}) for t in trainers]
    if bad == "loss":
        y[1, 3, 0] = 9.0
    else:
        trainers[1].model.parameters()["0.weight"][0, 0] = 1e200
        x[1, 3] = 1e200
        before[1] = flat(trainers[1]), before[1][1]
    raised = run_together(trainers, list(zip(x, y, strict=True)), batch_size=8, epochs=2)
    assert [type(e) for e in raised] == [hf.NonFiniteError] * 2, raised
    assert "averaged over the trainers" in str(raised[0]) and "step 0" in str(raised[0])
    for t, (parameters, buffers) in zip(trainers, before, strict=True):
        assert flat(t) == parameters and t.steps == 1
        for name, value in t.model.buffers().items():
            np.testing.assert_array_equal(value, buffers[name])


@pytest.mark.parametrize("reduce", [3, (print,), (print, 0), (print, True), ("f", 2)])
def test_a_reduction_is_a_function_and_a_number(reduce: Any) -> None:
    with pytest.raises(ArgumentError, match="reduce"):
        hf.Trainer(linear(), "mse", reduce=reduce)


def test_a_reduction_that_fails_leaves_the_trainer_usable() -> None:
    def fail(gradient: np.ndarray) -> None:
        raise RuntimeError("the network is down")

    trainer = hf.Trainer(linear(), "mse", reduce=fail)
    before = flat(trainer)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="network"):
            trainer.fit(X, Y)
        with pytest.raises(RuntimeError, match="network"):
            trainer.step(X, Y)
    assert flat(trainer) == before and trainer.steps == 0


def options() -> dict[str, Any]:
    return dict(
        optimizer=hf.AdamW(Cosine(0.05, warmup=2), weight_decay=0.1, clip_norm=1.0),
        groups={"*.bias": dict(weight_decay=0.0), "0.*": dict(lr=Scaled(0.5))},
        regularizers={"3.weight": hf.ElasticNet(1e-3)},
        constraints={"*.weight": hf.MaxNorm(1.0)},
        average=hf.EMA(0.9),
        accumulate=2,
        seed=4,
    )


class Stop:
    """Ends the fit at a step, as if the process were killed there, and keeps its state in a file."""

    def __init__(self, path: Path, step: int):
        self.path, self.step = path, step

    def on_step_end(self, trainer: hf.Trainer, step: int, loss: float) -> None:
        if step + 1 == self.step:
            trainer.save_state(self.path)
            raise InterruptedError


@pytest.mark.parametrize("step", [3, 4, 9])
def test_all_together_same_bits_on_any_team_and_resumed(tmp_path: Path, step: int) -> None:
    x, y = X.astype(np.float32), Y.astype(np.float32)
    fit: dict[str, Any] = dict(epochs=4, batch_size=8, validation_data=(x, y))
    results, histories = [], []
    for threads in (1, 3):
        trainer = hf.Trainer(deep(), "mse", **options())
        histories.append(trainer.fit(x, y, threads=threads, **fit).to_dict())
        results.append(flat(trainer) + b"".join(s.tobytes() for s in trainer.slots.values()))
    killed = hf.Trainer(deep(), "mse", **options())
    with pytest.raises(InterruptedError):
        killed.fit(x, y, callbacks=[Stop(tmp_path / "state", step)], **fit)
    again = hf.Trainer(deep(seed=9), "mse", **options())
    histories.append(again.fit(x, y, resume=tmp_path / "state", callbacks=[Stop(tmp_path / "s", -1)], **fit).to_dict())
    results.append(flat(again) + b"".join(s.tobytes() for s in again.slots.values()))
    assert results[0] == results[1] == results[2]
    assert histories[0] == histories[1] == histories[2]
    assert {"loss", "penalty", "val_loss"} <= histories[0].keys()


def test_numbers_are_not_in_the_plan() -> None:
    trainer = hf.Trainer(linear(), "mse", **{**options(), "regularizers": None})
    plan = trainer.plan(X, Y)
    trainer.set(lr=0.2, clip_norm=3.0, weight_decay=0.5)
    assert trainer.plan(X, Y) is plan
    trainer.set(clip_norm=None)
    assert trainer.plan(X, Y) is not plan


def test_fit_many_nets_with_different_numbers_share_a_plan() -> None:
    def nets() -> list[Any]:
        rates = (0.1, 0.2)
        more: dict[str, Any] = dict(loss="mse", average=hf.EMA(0.5))
        return [(linear(), dict(optimizer=hf.SGD(r), groups={"*.bias": dict(lr=r / 2)}, **more)) for r in rates]

    many, alone = nets(), nets()
    hf.fit_many(many, X, Y, epochs=3)
    for (a, _), (b, given) in zip(many, alone, strict=True):
        hf.Trainer(b, **given).fit(X, Y, epochs=3)
        assert a.store().params.tobytes() == b.store().params.tobytes()


def test_plateau_lowers_the_rate_between_epochs() -> None:
    lr = Plateau(0.0, patience=1, monitor="loss", factor=0.5)
    trainer = hf.Trainer(linear(), "mse", hf.SGD(lr, weight_decay=Plateau(0.5, patience=0, monitor="loss", factor=0.5)))
    seen: list[float] = []
    trainer.fit(X, Y, epochs=4, callbacks=[lambda t, *_: seen.append(t.scalars(1)[0, 3])])
    assert seen == [0.5, 0.25, 0.125, 0.0625], "no epoch is better than the first at a rate of 0"
    with pytest.raises(ArgumentError, match="no 'val_loss' in the history"):
        hf.Trainer(linear(), "mse", hf.SGD(Plateau(0.1))).fit(X, Y)


def test_steps_with_a_known_total_take_a_schedule() -> None:
    stepped = hf.Trainer(linear(), "mse", hf.SGD(Cosine(0.1)), total_steps=6)
    fitted = hf.Trainer(linear(), "mse", hf.SGD(Cosine(0.1)))
    fitted.fit(X, Y, epochs=6, batch_size=30, shuffle=False)
    for _ in range(6):
        stepped.step(X, Y)
    assert flat(stepped) == flat(fitted)


def test_what_is_frozen_after_an_averaged_fit_stays_as_it_is_seen() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(64, 3)).astype(np.float32), rng.normal(size=(64, 2)).astype(np.float32)
    model = hf.Sequential(hf.Linear(4), hf.BatchNorm(), hf.Linear(2))
    trainer = hf.Trainer(model, "mse", hf.SGD(0.1), average=hf.EMA(0.9))
    trainer.fit(x, y, epochs=2)
    model.freeze("0.*", "1.*")
    seen = {k: v.copy() for k, v in {**model.parameters(), **model.buffers()}.items()}
    trainer.fit(x, y, epochs=2)
    now = {**model.parameters(), **model.buffers()}
    assert all(np.array_equal(now[k], seen[k]) for k in seen if k[0] in "01")
    assert not np.array_equal(now["2.weight"], seen["2.weight"])
    model.unfreeze()
    trainer.fit(x, y, epochs=1)
    assert not np.array_equal(model.parameters()["0.weight"], seen["0.weight"])
