"""label_noise finds planted wrong targets, drift finds planted shifts; neither sees what is not there."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

import hawfinch as hf
from hawfinch.diagnose.domains import auc_of
from hawfinch.errors import ArgumentError, ShapeError

mpl.use("agg")
Array = np.ndarray


def blobs(n: int = 300) -> tuple[Array, Array, Array]:
    """Three classes that hardly overlap, 15 labels of which are wrong."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, n)
    x = np.array([[0, 0], [4, 0], [0, 4]])[true] + rng.normal(size=(n, 2)) * 0.7
    given = true.copy()
    given[:15] = (true[:15] + 1) % 3
    return x.astype(np.float32), given, true


def test_wrong_labels_are_found_and_the_right_ones_suggested() -> None:
    x, given, true = blobs()
    noise = hf.label_noise(None, x, given)
    right = [row for row in noise.rows if row < 15]
    assert len(right) >= 14
    assert len(noise.rows) - len(right) <= 3
    assert [s.suggested for s in noise.suspects if s.row < 15] == true[right].tolist()
    assert noise.share == len(noise.rows) / 300
    assert np.median(noise.confidence[:15]) < 0.1
    text = str(noise)
    assert text.startswith(f"label noise: {len(noise.rows)} of 300 rows")
    assert "more" in text.splitlines()[-1]
    assert sum(int(t.get_text()) for t in noise.plot().texts) == len(noise.rows)


def test_clean_labels_are_not_suspected() -> None:
    x, _, true = blobs()
    assert len(hf.label_noise(None, x, true).rows) <= 2


@pytest.mark.parametrize("ending", ["labels", "one hot", "one output"])
def test_with_a_model_of_ones_own(ending: str) -> None:
    x, given, true = blobs()
    y: Any = given
    out, loss = 3, "softmax_cross_entropy"
    if ending == "one hot":
        y = np.eye(3)[given]
    if ending == "one output":
        y, out, loss = (given == 0).astype(float)[:, None], 1, "bce_with_logits"
    model = hf.Sequential(hf.Linear(16), "relu", hf.Linear(out)).build((2,))
    before = model.parameters()["0.weight"].copy()
    noise = hf.label_noise(model, x, y, loss=loss, optimizer=hf.Adam(0.01))
    wrong = [i for i in range(15) if ending != "one output" or 0 in (given[i], true[i])]
    assert len(set(wrong) & set(noise.rows.tolist())) >= 0.7 * len(wrong)
    assert len(noise.rows) <= len(wrong) + 3
    assert np.array_equal(before, model.parameters()["0.weight"])


def test_numbers_far_from_what_nets_say() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 2))
    y = x @ [[1.0], [2.0]] + 0.1 * rng.normal(size=(300, 1))
    y[:6] += 40
    noise = hf.label_noise(None, x, y)
    assert set(noise.rows[:6].tolist()) == set(range(6))
    assert (np.diff(noise.confidence[noise.rows]) <= 0).all()
    assert noise.plot().get_ylabel() == "number that was given"


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x, y: hf.label_noise(None, x[:8], y[:8]), ArgumentError, "8 rows are too few for 5 folds"),
        (lambda x, y: hf.label_noise(None, x, y[:-1]), ShapeError, "300 rows and y has 299"),
        (lambda x, y: hf.label_noise(None, x, -y - 1), ArgumentError, "class numbers begin at 0"),
        (lambda x, y: hf.label_noise(None, x, y, loss="mse"), ArgumentError, "loss is for a model"),
        (lambda x, y: hf.label_noise(hf.Linear(3), x, y), ArgumentError, "the loss is missing"),
        (
            lambda x, y: hf.label_noise(hf.Linear(2), x, np.stack([y > 0, y > 1], 1), loss="bce_with_logits"),
            ArgumentError,
            "one class a row",
        ),
        (lambda x, y: hf.drift(x, x[:, :1]), ShapeError, "2 features a row, x_other 1"),
        (lambda x, y: hf.drift(x, x[:19]), ArgumentError, "x_other has 19 rows"),
        (lambda x, y: hf.drift(x[:, 0], x), ShapeError, "x_train must be"),
        (lambda x, y: hf.drift(x, x, names=["a"]), ArgumentError, "1 names for 2 features"),
    ],
)
def test_bad_input_is_told(call: Any, error: type[Exception], says: str) -> None:
    x, y, _ = blobs()
    with pytest.raises(error, match=says):
        call(x, y)


def test_drift_of_equal_sets_is_chance() -> None:
    rng = np.random.default_rng(0)
    found = [hf.drift(rng.normal(size=(200, 5)), rng.normal(size=(300, 5)), seed=s) for s in range(20)]
    assert sum(f.verdict == "alike" for f in found) >= 19
    spread = np.std([f.auc for f in found])
    assert 0.5 < spread / found[0].deviation < 1.5  # as Mann and Whitney have it


@pytest.mark.parametrize("change", ["mean", "spread"])
def test_the_feature_that_drifted_comes_first(change: str) -> None:
    rng = np.random.default_rng(2)
    x, other = rng.normal(size=(400, 6)), rng.normal(size=(300, 6))
    other[:, 4] = other[:, 4] * 3 if change == "spread" else other[:, 4] + 1.5
    found = hf.drift(x, other, names=list("abcdef"))
    assert found.verdict == "different"
    first = found.features[0]
    assert (first.number, first.name) == (4, "e")
    assert first.distance > 0.2
    assert first.means == (pytest.approx(x[:, 4].mean()), pytest.approx(other[:, 4].mean()))
    assert "e" in str(found).splitlines()[2]
    assert [t.get_text() for t in found.plot().get_yticklabels()] == [f.name for f in found.features]


def test_a_frame_names_its_features() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=["age", "income"])
    assert {f.name for f in hf.drift(frame, frame + 3).features} == {"age", "income"}


def test_area_under_the_curve_counts_ties_half() -> None:
    assert auc_of(np.array([0.0, 1.0, 1.0, 2.0]), np.array([0, 0, 1, 1])) == 0.875
