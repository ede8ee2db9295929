"""How parameters start: distributions by their formulas, orthogonal matrices, "auto" and "data"."""

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch import initializers as I
from hawfinch.errors import ArgumentError, FormatError

IN, OUT = 200, 300
UNIFORM = math.sqrt(3)  # largest value over deviation
DRAW = I.Draw(3, 1)


def values(init: Any, shape: tuple[int, ...] = (IN, OUT), seed: int = 0) -> np.ndarray:
    fan = (math.prod(shape[:-1]), shape[-1])
    return np.asarray(init(shape, *fan, I.Draw(seed, 1))).reshape(shape)


# deviation, mean, and the largest value over the deviation (None: a normal one, four to five and a half)
FORMULAS: dict[str, tuple[float, float, float | None]] = {
    "torch_default": (1 / math.sqrt(3 * IN), 0, UNIFORM),
    "variance_scaling": (1 / math.sqrt(IN), 0, None),
    "kaiming_uniform": (math.sqrt(2 / IN), 0, UNIFORM),
    "kaiming_normal": (math.sqrt(2 / IN), 0, None),
    "xavier_uniform": (math.sqrt(2 / (IN + OUT)), 0, UNIFORM),
    "xavier_normal": (math.sqrt(2 / (IN + OUT)), 0, None),
    "lecun_uniform": (math.sqrt(1 / IN), 0, UNIFORM),
    "lecun_normal": (math.sqrt(1 / IN), 0, None),
    "normal": (1, 0, None),
    "uniform": (math.sqrt(1 / 12), 0.5, UNIFORM),
    "truncated_normal": (0.8796256610342398, 0, 2 / 0.8796256610342398),
    "zeros": (0, 0, 0),
    "ones": (0, 1, 0),
}
SAME = {"he_uniform": "kaiming_uniform", "he_normal": "kaiming_normal", "glorot_uniform": "xavier_uniform"}
SAME |= {"glorot_normal": "xavier_normal"}
OTHERS = {"orthogonal", "auto", "data"}


@pytest.mark.parametrize("name", I.INITIALIZERS.keys() - OTHERS)
def test_distribution(name: str) -> None:
    std, mean, largest = FORMULAS[SAME.get(name, name)]
    w = values(I.get_initializer(name)) - mean
    assert w.std() == pytest.approx(std, rel=0.01)
    assert w.mean() == pytest.approx(0, abs=4 * std / math.sqrt(w.size) + 1e-12)
    top = np.abs(w).max() / (std or 1)
    assert 4 < top < 5.5 if largest is None else top == pytest.approx(largest, rel=1e-3)
    if std and largest is None:  # a normal one: its fourth moment
        assert (w**4).mean() / std**4 == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize(
    ("init", "variance"),
    [
        (I.VarianceScaling(3.0), 3 / IN),
        (I.VarianceScaling(3.0, "fan_out"), 3 / OUT),
        (I.VarianceScaling(3.0, "fan_avg", "uniform"), 6 / (IN + OUT)),
        (I.VarianceScaling(3.0, distribution="truncated_normal"), 3 / IN),
        (I.KaimingNormal("tanh", mode="fan_out"), 25 / 9 / OUT),
        (I.KaimingUniform("leaky_relu"), 2 / 1.0001 / IN),
        (I.KaimingUniform(2.0, mode="fan_avg"), 8 / (IN + OUT)),
        (I.XavierUniform("tanh"), 25 / 9 * 2 / (IN + OUT)),
        (I.XavierNormal(0.5), 0.5 / (IN + OUT)),
        (I.Normal(0.1, mean=3.0), 0.01),
        (I.Uniform(-1.0, 3.0), 16 / 12),
    ],
)
def test_options(init: Any, variance: float) -> None:
    assert values(init).var() == pytest.approx(variance, rel=0.02)


def test_truncated_normal() -> None:
    w = values(I.TruncatedNormal(std=2.0, mean=1.0, low=0.0, high=2.0))
    assert w.min() >= 0 and w.max() <= 2
    z = 0.5  # of the bounds; variance of a normal cut at +-z: 1 - 2 z phi(z) / (2 Phi(z) - 1)
    phi, inside = math.exp(-z * z / 2) / math.sqrt(2 * math.pi), math.erf(z / math.sqrt(2))
    assert w.std() == pytest.approx(2 * math.sqrt(1 - 2 * z * phi / inside), rel=0.01)


@pytest.mark.parametrize("shape", [(40, 40), (70, 30), (30, 70), (1, 5), (5, 1), (3, 4, 20), (6,)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    w = values(I.Orthogonal(gain=2.0), shape).reshape(-1, shape[-1])
    gram = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-13)


def test_orthogonal_matrices_are_uniform() -> None:
    """Entries of a random 3x3 rotation or reflection: mean 0, variance 1/3, fourth moment 3/15, no preferred sign."""
    q = np.stack([values(I.Orthogonal(), (3, 3), seed) for seed in range(4000)])
    np.testing.assert_allclose(q.mean(0), 0, atol=0.04)
    np.testing.assert_allclose((q**2).mean(0), 1 / 3, atol=0.02)
    np.testing.assert_allclose((q**4).mean(0), 1 / 5, atol=0.02)
    assert np.linalg.det(q).mean() == pytest.approx(0, abs=0.06)


def test_orthogonal_has_its_own_bits() -> None:
    """Fixed numbers from fixed draws: elementwise steps, so that no library's order of sums is in them."""

    class Fixed(I.Draw):
        def normal(self, n: int, std: float) -> np.ndarray:
            return np.cumsum(np.arange(n) * 3 % 7 - 2.75)

    w = np.asarray(I.Orthogonal()((9, 5), 9, 5, Fixed(0, 0)))
    assert [v.hex() for v in w.ravel()[[0, 7, 22, 44]]] == BITS


BITS = ["-0x1.1d8dc19868676p-1", "-0x1.63ff8044e1fe2p-1", "-0x1.ec8175721570dp-3", "0x1.463c603f17b2cp-2"]


def test_values_depend_on_the_seed_and_the_place_alone() -> None:
    def net() -> hf.Sequential:
        return hf.Sequential(hf.Linear(4, init="orthogonal"), "relu", hf.Linear(3, init="truncated_normal"))

    first, other = net().build((5,), seed=3).parameters(), net()
    layers = [hf.Linear(4, init="orthogonal"), hf.Linear(3, init="truncated_normal")]
    layers[1].build((4,), seed=8)  # made and used in another order
    again = other.build((5,), seed=3).parameters()
    assert {k: v.tobytes() for k, v in first.items()} == {k: v.tobytes() for k, v in again.items()}
    assert net().build((5,), seed=4).parameters()["0.weight"].tobytes() != first["0.weight"].tobytes()


# ---- chosen by what follows ----
class Functions(hf.Module):
    """Activations as functions, and a sum on the way."""

    def __init__(self) -> None:
        self.a, self.b, self.c, self.d = (hf.Linear(4) for _ in range(4))

    def forward(self, x: Any) -> Any:
        h = hf.ops.relu(self.a(x)) + x
        h = hf.ops.silu(self.b(h))
        return self.d(hf.ops.sigmoid(self.c(h) + x))


HE, GLOROT, LECUN = I.KaimingNormal(), I.XavierUniform(), I.LeCunNormal()


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        *[(name, HE) for name in ("relu", "elu", "gelu", "silu", "mish", "softplus", "hard_swish")],
        *[(name, GLOROT) for name in ("tanh", "sigmoid", "hard_sigmoid", "softmax", "log_softmax")],
        ("selu", LECUN),
        (hf.LeakyReLU(0.5), I.KaimingNormal(math.sqrt(2 / 1.25))),
        (hf.PReLU(), I.KaimingNormal(math.sqrt(2 / (1 + 0.0625)))),
        (hf.Parametric("selu"), LECUN),
        (hf.Linear(3), GLOROT),
    ],
)
def test_auto_follows_the_activation(layer: Any, expected: Any) -> None:
    for between in ([], [hf.BatchNorm()], [hf.LayerNorm(), hf.Dropout(0.1)], [hf.RMSNorm()]):
        model = hf.Sequential(hf.Linear(4), *between, layer, hf.Linear(2, init="ones")).build((4,), init="auto")
        arrays = model._arrays()
        assert arrays["0.weight"].init == expected
        assert arrays["0.bias"].init == I.Constant(0.0)
        assert (model.parameters()[f"{2 + len(between)}.weight"] == 1).all(), "the layer's own word counts"


def test_auto_in_a_forward_of_ones_own() -> None:
    arrays = Functions().build((4,), init="auto")._arrays()
    assert [arrays[f"{k}.weight"].init for k in "abcd"] == [HE, HE, GLOROT, GLOROT]
    one = hf.Sequential(hf.Linear(4, init="auto"), "relu", hf.Linear(4)).build((4,))._arrays()
    assert one["0.weight"].init == HE and one["2.weight"].init == one["2.bias"].init == I.TorchDefault()


def test_the_init_of_a_trainer_and_of_many() -> None:
    x = np.random.default_rng(0).normal(size=(20, 4))
    model = hf.Sequential(hf.Linear(4), "relu", hf.Linear(1))
    hf.Trainer(model, "mse", init="he_uniform").fit(x, x[:, :1])
    assert model._arrays()["2.weight"].init == I.KaimingUniform()
    nets = [(hf.Sequential(hf.Linear(1)), {"loss": "mse", "init": i, "optimizer": hf.SGD(0.0)}) for i in ("ones", None)]
    hf.fit_many(nets, x, x[:, :1])
    assert (nets[0][0].parameters()["0.weight"] == 1).all() and nets[1][0]._arrays()[
        "0.weight"
    ].init == I.TorchDefault()


# ---- by data ----
@pytest.mark.parametrize("activation", ["relu", "tanh", "selu"])
def test_data_gives_each_layer_variance_one(activation: str) -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(700, 8)) * [1, 10, 100, 1, 1, 1, 1, 0.1] + 3).astype(np.float32)
    layers = [
        hf.Linear(32),
        activation,
        hf.BatchNorm(momentum=0.0),
        hf.Maxout(16),
        hf.Linear(16, init="ones"),
        hf.Linear(1),
    ]
    model = hf.Sequential(layers).astype("float64")
    hf.Trainer(model, "mse", hf.SGD(lr=0.0), init="data").step(x, x[:, :1])
    for i in (0, 3, 5):
        h = x
        for layer in model.layers[: i + 1]:
            h = layer.predict(h)
        assert h.std() == pytest.approx(1, rel=1e-10), i
    assert (model.parameters()["4.weight"] == 1).all()


def test_data_scales_once_and_the_same_for_any_threads() -> None:
    x = np.random.default_rng(0).normal(size=(5000, 8)).astype(np.float32)
    found = []
    for threads in (1, 2):
        model = hf.Sequential(hf.Linear(64), "relu", hf.Linear(1))
        trainer = hf.Trainer(model, "mse", hf.SGD(lr=0.0), init="data", threads=threads)
        trainer.fit(x, x[:, :1])
        first = {k: v.tobytes() for k, v in model.parameters().items()}
        trainer.fit(100 * x, x[:, :1])
        assert {k: v.tobytes() for k, v in model.parameters().items()} == first
        found.append(first)
    assert found[0] == found[1]


def test_data_without_variance_leaves_the_weights() -> None:
    model = hf.Sequential(hf.Linear(3, bias=False))
    hf.Trainer(model, "mse", hf.SGD(lr=0.0), init="data").step(np.zeros((4, 3)), np.zeros((4, 3)))
    w = model.parameters()["0.weight"]
    np.testing.assert_allclose(w @ w.T, np.eye(3), atol=1e-6)


def test_a_file_keeps_the_initializer(tmp_path: Path) -> None:
    inits: list[Any] = ["he_normal", I.VarianceScaling(0.5, "fan_out"), I.XavierNormal("tanh"), I.LeCunNormal(), None]
    model = hf.Sequential(*[hf.Linear(2, init=i) for i in inits]).build((2,))
    model.save(tmp_path / "m")
    other = hf.load(tmp_path / "m")
    assert [layer.init for layer in other.layers] == inits
    with pytest.raises(FormatError, match="initializer 'Value'"):
        hf.files.model.rebuild({"initializer": "Value", "kwargs": {}})
    with pytest.raises(FormatError, match="'Normal' does not fit"):
        hf.files.model.rebuild({"initializer": "Normal", "kwargs": {"std": -1}})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hf.Linear(3, init="he_norml"), "unknown initializer 'he_norml'. Did you mean 'he_normal'"),
        (lambda: hf.Linear(3, init=I.KaimingNormal), r"unknown initializer 'KaimingNormal\(\)'"),
        (lambda: hf.Linear(3, init=3), "unknown initializer 3"),
        (lambda: hf.Maxout(3, init="x"), "unknown initializer"),
        (lambda: I.KaimingNormal(mode="fan_inn"), "unknown mode 'fan_inn'. Did you mean 'fan_in'"),
        (lambda: I.KaimingNormal(gain="rel"), "unknown gain 'rel'. Did you mean 'relu'"),
        (lambda: I.XavierNormal(gain=math.inf), "gain must be a number that is finite"),
        (lambda: I.VarianceScaling(-1), "scale must be a number from 0"),
        (lambda: I.VarianceScaling(distribution="norm"), "unknown distribution 'norm'. Did you mean 'normal'"),
        (lambda: I.TruncatedNormal(low=5.0, high=6.0), "less than 1 %"),
        (lambda: I.TruncatedNormal(low=1.0, high=-1.0), "less than 1 %"),
        (lambda: I.Uniform(1.0, 0.0), "high must be a number from low = 1.0"),
        (lambda: I.Constant("a"), "value must be a number"),
        (lambda: I.Initializer()((2,), 1, 2, DRAW), "Initializer defines no __call__"),
        (lambda: hf.Linear(3, init="data").build((2,)), "data.* needs data: give it to Trainer"),
        (lambda: hf.Linear(3).build((2,), init="data"), "has no data: give it to Trainer"),
        (lambda: hf.Linear(3).build((2,)).build((2,), init="ones"), "'ones': the model is built"),
        (lambda: hf.Trainer(hf.Linear(3).build((2,)), "mse", init="data"), "'data': the model is built"),
        (lambda: hf.Trainer(hf.Linear(3), "mse", init="dat"), "Did you mean 'data'"),
    ],
)
def test_wrong_options(call: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


NORMAL_BITS = "-0x1.0df24641539bbp-8 -0x1.ab003b6a2f986p-1 0x1.b9ad3469b0bfep-2 -0x1.4b2862328d779p-2"
DIGEST = "f8afb7b0f9d8633e"


def test_normal_draws_have_the_same_bits_everywhere() -> None:
    """Recorded on x86-64 and on aarch64: no libm is in them, and no fused multiply-add."""
    z = I.Draw(0, 0).normal(4, 1.0)
    assert " ".join(v.hex() for v in z) == NORMAL_BITS
    many = np.concatenate([I.Draw(7, 3).normal(100_001, 1.0), I.Draw(2**64 - 1, 9).normal(50_000, 0.5)])
    digest = hashlib.sha256(many.astype("<f8").tobytes()).hexdigest()
    assert digest[:16] == DIGEST


def test_normal_draws_are_normal() -> None:
    """Box-Muller of the uniform draws of the same place; the distribution, its moments and its tails."""
    n = 1_000_000
    z = I.Draw(5, 2).normal(n, 1.0)
    u = (I.Draw(5, 2).uniform(n, 1.0) + 1) / 2
    radius, angle = np.sqrt(-2 * np.log(u[::2])), 2 * np.pi * u[1::2]
    np.testing.assert_allclose(z[::2], radius * np.cos(angle), atol=1e-13)
    np.testing.assert_allclose(z[1::2], radius * np.sin(angle), atol=1e-13)
    ordered = np.sort(z)
    below = (1 + hf.ops.erf(ordered / np.sqrt(2))) / 2
    distance = np.abs(below - (np.arange(n) + 0.5) / n).max()  # Kolmogorov, Smirnov
    assert distance * math.sqrt(n) < 1.63  # of one in a hundred
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert (z**power).mean() == pytest.approx(moment, abs=3 * math.sqrt(spread / n))
    for limit in (3.0, 4.0, 4.5):
        expected = n * math.erfc(limit / math.sqrt(2))
        assert (np.abs(z) > limit).sum() == pytest.approx(expected, abs=3.5 * math.sqrt(expected))
    assert np.corrcoef(z[::2], z[1::2])[0, 1] == pytest.approx(0, abs=3 / math.sqrt(n / 2))
