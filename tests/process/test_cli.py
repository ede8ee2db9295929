"""The command line: real runs on small tables, and every mistake in one line."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.cli import main
from hawfinch.data import TableEncoder, read_table

COMMAND = [sys.executable, "-W", "error", "-m", "hawfinch.cli"]


def fresh(*args: str | Path, **kwargs):
    """Runs the command in a new process."""
    return subprocess.run([*COMMAND, *map(str, args)], capture_output=True, text=True, timeout=60, **kwargs)


@pytest.fixture
def run(capsys):
    """run(*args) -> (exit status, stdout, stderr)."""

    def run(*args: str | Path):
        status = main([str(a) for a in args])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def fails(run):
    """fails(*args) -> the message of the one line on stderr."""

    def fails(*args: str | Path) -> str:
        status, out, err = run(*args)
        assert status == 2 and err.count("\n") == 1 and err.startswith("hawfinch: error: "), (status, out, err)
        return err.removeprefix("hawfinch: error: ").rstrip("\n")

    return fails


def rows_of(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text), delimiter=delimiter))


def flowers(path: Path, n: int = 90, *, header: bool = True, delimiter: str = ",") -> Path:
    """Three kinds that differ in length and in colour; one column of quoted texts, one constant column."""
    rng = np.random.default_rng(0)
    with open(path, "w", newline="", encoding="utf-8") as file:
        write = csv.writer(file, delimiter=delimiter)
        if header:
            write.writerow(["length", "colour", "batch", "kind"])
        for i in range(n):
            kind = i % 3
            colour = ("white", "red, dark", 'so-called "red"')[kind if rng.random() < 0.8 else 0]
            write.writerow([f"{kind * 2 + rng.normal():.3f}", colour, 7, ("setosa", "virginica", "versicolor")[kind]])
    return path


def houses(path: Path, n: int = 200, delimiter: str = ";") -> Path:
    rng = np.random.default_rng(1)
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        write = csv.writer(file, delimiter=delimiter)
        write.writerow(["size", "town", "price"])
        for _ in range(n):
            size, town = rng.uniform(20, 200), int(rng.integers(2))
            write.writerow(
                [f"{size:.1f}", ("Oslo", "Rome")[town], f"{1000 * size * (1 + town) + rng.normal(0, 3000):.0f}"]
            )
    return path


# --------------------------------------------------------------------------------------------------------- round trips


def test_classify_round_trip_in_a_fresh_process(tmp_path, run):
    data, net = flowers(tmp_path / "flowers.csv"), tmp_path / "net.safetensors"
    status, out, err = run("train", data, "--target", "kind", "--out", net, "--epochs", 30)
    assert status == 0 and err == ""
    assert "flowers.csv: 90 rows, 3 input columns: length, colour (3 categories), batch\n" in out
    assert "task: classify column 'kind', since it holds 3 different texts (--task changes it)\n" in out
    assert "72 rows to train on, 18 to validate\n" in out
    assert "epoch  3/30   loss " in out and "epoch 30/30   loss " in out and out.count("validation accuracy") == 10
    assert "of 18 rows right; always answering 'setosa': 0.3333)\n" in out
    assert out.endswith(f"wrote {net}; next: hawfinch predict {net} NEW_DATA\n")

    model = hf.load(net)
    encoder = TableEncoder.from_dict(json.loads(model.metadata["hawfinch.table"]))
    table = read_table(data)
    expected = encoder.decode(model.predict(encoder.transform(table))).tolist()
    assert np.mean(np.array(expected) == table.texts(3)) > 0.8

    told = fresh("predict", net, data)
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines() == ["prediction", *expected]
    right = int((np.array(expected) == table.texts(3)).sum())
    assert told.stderr.startswith(
        f"scored against column 'kind': accuracy {right / 90:.4f} ({right} of 90 rows right; "
    )


def test_probabilities(tmp_path, run):
    data, net, out = flowers(tmp_path / "flowers.csv"), tmp_path / "net.safetensors", tmp_path / "p.csv"
    assert run("train", data, "--target", "kind", "--out", net, "--epochs", 5, "--quiet")[0] == 0
    status, printed, err = run("predict", net, data, "--proba", "--out", out)
    assert status == 0 and printed == "" and err.startswith(f"wrote 90 predictions to {out}\n")
    head, *rows = rows_of(out.read_text())
    assert head == ["prediction", "p(setosa)", "p(versicolor)", "p(virginica)"]
    p = np.array([row[1:] for row in rows], float)
    assert len(rows) == 90 and np.abs(p.sum(axis=1) - 1).max() < 3e-6
    assert [head[1 + i][2:-1] for i in p.argmax(axis=1)] == [row[0] for row in rows]


def test_regress_round_trip_in_a_fresh_process(tmp_path, run):
    data, net = houses(tmp_path / "houses.csv"), tmp_path / "net.safetensors"
    status, out, _ = run("train", data, "--target", "price", "--out", net, "--epochs", 60, "--hidden", "32")
    assert status == 0 and "task: regress column 'price', since it holds 200 different whole numbers " in out
    line = next(line for line in out.splitlines() if line.startswith("validation: "))
    r2 = float(line.split("R2 ")[1].split(",")[0])
    rmse = float(line.split("RMSE ")[1].split()[0])
    assert r2 > 0.97 and 2000 < rmse < 20000 and "in the units of 'price' (40 rows, standard deviation " in line

    model = hf.load(net)
    encoder = TableEncoder.from_dict(json.loads(model.metadata["hawfinch.table"]))
    expected = encoder.decode(model.predict(encoder.transform(read_table(data))))
    told = fresh("predict", net, data)
    assert told.returncode == 0, told.stderr
    np.testing.assert_allclose(np.array(told.stdout.split()[1:], float), expected, rtol=1e-8)
    assert told.stderr.startswith("scored against column 'price': R2 0.9")


def test_same_seed_same_net_for_any_threads(tmp_path, run):
    data = flowers(tmp_path / "flowers.csv")
    for name, more in (("a", []), ("b", ["--threads", 2]), ("c", ["--seed", 1])):
        assert run("train", data, "--target", "kind", "--out", tmp_path / name, "--epochs", 3, *more)[0] == 0
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b and a != c


def test_columns_reordered_extra_or_without_target(tmp_path, run):
    data, net = flowers(tmp_path / "flowers.csv"), tmp_path / "net.safetensors"
    assert run("train", data, "--target", "kind", "--out", net, "--epochs", 5)[0] == 0
    expected = run("predict", net, data)[1]
    with open(data, newline="") as file:
        rows = list(csv.reader(file))
    other = tmp_path / "other.csv"
    with open(other, "w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([["note", *row[2::-1]] for row in rows])
    assert run("predict", net, other) == (0, expected, "")


def test_text_without_header_and_target_by_number(tmp_path, run):
    data, net = flowers(tmp_path / "flowers.csv", header=False, delimiter=";"), tmp_path / "net.safetensors"
    for more in ([], ["--no-header"], ["--no-header", "--delimiter", ";"]):
        status, out, _ = run("train", data, "--target", "-1", "--out", net, "--epochs", 5, *more)
        assert status == 0 and "90 rows, 3 input columns\n" in out
        assert "task: classify column 3 (counted from 0), since it holds 3 different texts " in out
    answers = run("predict", net, data)[1]
    features = tmp_path / "features.csv"
    with open(data, newline="") as file, open(features, "w", newline="") as cut:
        csv.writer(cut).writerows(row[:3] for row in csv.reader(file, delimiter=";"))
    assert run("predict", net, features) == (0, answers, "")


def test_arrays(tmp_path, run):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(80, 3)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int) * 3
    np.savez(tmp_path / "d.npz", x=x, y=y)
    np.savez(tmp_path / "x.npz", x=x)
    np.save(tmp_path / "x.npy", x)
    net = tmp_path / "net.safetensors"
    status, out, _ = run("train", tmp_path / "d.npz", "--out", net, "--epochs", 20)
    assert status == 0 and "holds 2 different whole numbers" in out
    first = run("predict", net, tmp_path / "d.npz")
    assert set(first[1].split()) == {"prediction", "0", "3"} and "rows right; always answering '0': " in first[2]
    assert run("predict", net, tmp_path / "x.npz") == run("predict", net, tmp_path / "x.npy") == (0, first[1], "")


def test_options_reach_the_net(tmp_path, run):
    data, net = flowers(tmp_path / "flowers.csv"), tmp_path / "net.safetensors"
    options = ("--hidden", "5,4", "--dropout", "0.5", "--batch-size", 7, "--lr", "1e-2", "--test-size", "0.5")
    more = ("--ignore", "colour", "--categorical", "batch", "--task", "classify")
    status, out, _ = run("train", data, "--target", "kind", "--out", net, "--epochs", 2, *options, *more)
    assert (
        status == 0
        and "45 rows to train on, 45 to validate" in out
        and "task: classify column 'kind', as asked\n" in out
    )
    assert "2 input columns: length, batch (1 categories)" in out
    model = hf.load(net)
    assert [v.shape for k, v in model.parameters().items() if v.ndim == 2] == [(2, 5), (5, 4), (4, 3)]
    assert repr(model).count("Dropout(p=0.5)") == 2
    assert run("train", data, "--target", "kind", "--out", net, "--epochs", 2, "--hidden", 0)[0] == 0
    assert len(hf.load(net).parameters()) == 2


def test_best_epoch_is_kept(tmp_path, run):
    """With a huge learning rate in the middle of the run, the last epoch is not the best: what is saved must be."""
    data, net = houses(tmp_path / "houses.csv", 60), tmp_path / "net.safetensors"
    status, out, _ = run(
        "train", data, "--target", "price", "--out", net, "--epochs", 10, "--lr", "0.5", "--hidden", "8"
    )
    assert status == 0
    losses = [float(line.split("validation loss ")[1]) for line in out.splitlines() if line.startswith("epoch ")]
    best = int(np.argmin(losses)) + 1
    assert f"kept epoch {best} of 10, " in out
    line = next(line for line in out.splitlines() if line.startswith("validation: R2 "))
    model = hf.load(net)
    encoder = TableEncoder.from_dict(json.loads(model.metadata["hawfinch.table"]))
    scale = encoder.to_dict()["target"]["scaler"]["scale"][0]
    rmse = float(line.split("RMSE ")[1].split()[0])
    assert (rmse / scale) ** 2 == pytest.approx(min(losses), rel=1e-3)


# ---------------------------------------------------------------------------------------------------------------- demo


def test_demo_learns_real_digits_and_draws(tmp_path, run):
    out = tmp_path / "new" / "demo"
    status, text, err = run("demo", "--epochs", 4, "--out", out)
    assert status == 0 and err == ""
    assert text.startswith("1797 handwritten digits of 8 x 8 pixels: 1438 to train on, with 4 copies of each")
    assert [line[:9] for line in text.splitlines()[1:5]] == [f"epoch {i}/4" for i in (1, 2, 3, 4)]
    line = next(line for line in text.splitlines() if line.startswith("test accuracy "))
    assert float(line.split()[2]) >= 97.5
    assert "900 steps of 32 images in " in text and " steps per second\n" in text
    assert f"wrote digits.safetensors, history.json, curves.png to {out}\n" in text

    history = json.loads((out / "history.json").read_text())
    assert [len(history[k]) for k in ("loss", "accuracy", "val_loss", "val_accuracy")] == [4] * 4
    assert history["steps"] == 900 and history["seconds"] > 0
    x, y = hf.data.load_digits()
    _, x_test, _, y_test = hf.data.train_test_split(x, y, stratify=y)
    logits = hf.load(out / "digits.safetensors").predict(x_test)
    assert (logits.argmax(axis=1) == y_test).mean() == pytest.approx(history["test_accuracy"])
    picture = (out / "curves.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n" and len(picture) > 10_000


def test_demo_touches_no_matplotlib_state_and_can_be_quiet(tmp_path):
    code = (
        "import sys; from hawfinch.cli import main; status = main(sys.argv[1:]);"
        "assert 'matplotlib.pyplot' not in sys.modules; sys.exit(status)"
    )
    args = ["demo", "--epochs", "1", "--quiet", "--threads", "1", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *args], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and done.stderr == ""
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["test", "225"]


def test_demo_without_matplotlib_says_how_to_get_it(tmp_path, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, text, _ = run("demo", "--epochs", 1, "--out", tmp_path)
    assert status == 0 and "no curves.png: matplotlib is not installed; pip install 'hawfinch[plot]'\n" in text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["digits.safetensors", "history.json"]


# ------------------------------------------------------------------------------------------------------ the rest of it


def test_info_version_and_help(run):
    assert run("info") == (0, hf.show_config() + "\n", "")
    status, text, _ = run("--version")
    assert status == 0 and text.startswith("hawfinch 0.")
    for args in ([], ["demo"], ["train"], ["predict"], ["info"]):
        status, text, _ = run(*args, "--help")
        assert status == 0 and text.startswith("usage: hawfinch") and "(default: None)" not in text


def test_ctrl_c_exits_130(tmp_path):
    command = [*COMMAND, "demo", "--epochs", "100000", "--out", str(tmp_path)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        while line and not line.startswith("epoch "):
            line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and err == "hawfinch: interrupted\n"


def test_a_reader_that_leaves_is_no_crash(tmp_path, run):
    data, net = flowers(tmp_path / "flowers.csv", 6000), tmp_path / "net.safetensors"
    assert run("train", data, "--target", "kind", "--out", net, "--epochs", 1)[0] == 0
    with subprocess.Popen(
        [*COMMAND, "predict", str(net), str(data)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as p:
        assert p.stdout is not None and p.stderr is not None
        p.stdout.close()
        assert p.stderr.read() == b"" and p.wait(30) == 1


def test_mistakes_in_the_arguments(tmp_path, fails):
    data = flowers(tmp_path / "flowers.csv")
    train = ("train", data, "--target", "kind", "--out", tmp_path / "net")
    assert fails() == "the following arguments are required: COMMAND (see 'hawfinch --help')"
    assert fails("fit").startswith("argument COMMAND: invalid choice: 'fit' (choose from")
    assert fails("train", data).startswith("the following arguments are required: --out (see 'hawfinch train --help')")
    assert fails(*train, "--epochs", 0).startswith("argument --epochs: '0' is not a whole number from 1 (see ")
    assert fails(*train, "--epochs", "ten").startswith("argument --epochs: 'ten' is not a whole number from 1")
    assert fails(*train, "--dropout", 1).startswith("argument --dropout: '1' is not a number from 0 to below 1")
    assert fails(*train, "--lr", "nan").startswith("argument --lr: 'nan' is not a number above 0")
    assert fails(*train, "--test-size", "20").startswith("argument --test-size: '20' is not a number between 0 and 1")
    assert fails(*train, "--hidden", "64,x").startswith(
        "argument --hidden: '64,x' is not a list of layer widths such as"
    )
    assert fails(*train, "--task", "rank").startswith("argument --task: invalid choice: 'rank'")
    assert fails(*train, "--delimiter", "::").startswith("argument --delimiter: '::' is not one character (or 'tab')")
    assert fails(*train, "--epoch", 3).startswith("unrecognized arguments: --epoch 3")
    assert fails("train", data, "--out", tmp_path / "net") == (
        "--target is needed: the name or number of the column to predict"
    )


def test_mistakes_in_the_files_named(tmp_path, fails):
    data = flowers(tmp_path / "flowers.csv")
    args = ("--target", "kind", "--out")
    assert fails("train", tmp_path / "no.csv", *args, tmp_path / "n") == f"{tmp_path}/no.csv: No such file or directory"
    assert fails("train", tmp_path, *args, tmp_path / "n") == f"{tmp_path}: Is a directory"
    assert fails("train", data, *args, tmp_path) == f"--out {tmp_path} is a folder; give a file name"
    missing = tmp_path / "no" / "net"
    assert fails("train", data, *args, missing) == f"--out {missing}: there is no folder {missing.parent}"
    before = data.read_bytes()
    assert fails("train", data, *args, data) == f"--out {data} is the input itself, which would be lost"
    assert fails("predict", data, data).startswith(f"{data} is no usable net (the net comes first, then the data): ")
    assert data.read_bytes() == before
    assert "No such file" in fails("predict", tmp_path / "no.safetensors", data)
    assert fails("demo", "--out", data) == f"{data}: File exists"


def test_mistakes_in_the_training_table(tmp_path, fails):
    def message(text: str, *more: str, target: str = "y") -> str:
        path = tmp_path / "t.csv"
        path.write_text(text)
        return fails("train", path, "--target", target, "--out", tmp_path / "net", *more)

    body = "".join(f"{i},{i % 2}\n" for i in range(8))
    assert message("") == "t.csv is empty"
    assert message("a,y\n") == "t.csv has a header line and no rows below it"
    assert message("a,y\n1,2\n1\n").startswith("t.csv, line 3: 1 cells, but line 1 has 2")
    assert message("a,y\n" + body, target="Y") == "t.csv has no column 'Y'. Did you mean 'y'? Columns: 'a', 'y'."
    assert message("a,y\n" + body, target="7") == "t.csv has no column 7: its 2 columns are numbered 0 to 1"
    assert message("a,y\n1,5\n2,5\n") == "the target column 'y' is '5' in every row: there is nothing to learn"
    assert message("a,y\n1,cat\n2,cat\n") == "the target column 'y' is 'cat' in every row: there is nothing to learn"
    assert message("a,y\n" + body + "nan,1\n") == (
        "t.csv, line 10, column 'a': missing value ('nan'); fill it in or remove the row"
    )
    assert message("a,y\n" + body + ",1\n") == "t.csv, line 10, column 'a': missing value; fill it in or remove the row"
    assert message("a,y\n" + body + "inf,1\n") == "t.csv, line 10, column 'a': inf is not a finite number"
    assert message("a,y\n" + body + "x,1\n").startswith("t.csv, line 10, column 'a': 'x' is not a number, but 8 of")
    assert message("a,y\n1,0\n2,1\n") == "t.csv has 2 rows; training needs at least 5"
    assert message("a,y\n" + body, "--ignore", "a") == "t.csv has no column left to predict 'y' from"
    assert not (tmp_path / "net").exists()


def test_mistakes_at_prediction(tmp_path, run, fails):
    net, path = tmp_path / "net.safetensors", tmp_path / "new.csv"
    assert run("train", flowers(tmp_path / "f.csv"), "--target", "kind", "--out", net, "--epochs", 1)[0] == 0

    def message(text: str, *more: str) -> str:
        path.write_text(text)
        return fails("predict", net, path, *more)

    head = "length,colour,batch\n"
    assert message("length,color,batch\n1,white,7\n") == (
        "new.csv lacks column 'colour' of the training data. Did you mean 'color' for 'colour'? "
        "Its columns: 'length', 'color', 'batch'"
    )
    assert message("1,white,7\n2,white,7\n").startswith("new.csv lacks columns 'length', 'colour', 'batch'")
    assert message(head + "1,white,7\nlong,white,7\n") == "new.csv, line 3, column 'length': 'long' is not a number"
    assert message(head + "1,white,7\n2,blue,7\n") == (
        "new.csv, line 3, column 'colour': category 'blue' was not in the training data. "
        "Known: 'red, dark', 'so-called \"red\"', 'white'"
    )
    assert message(head + "1,white\n") == (
        "new.csv, line 2: 2 cells, but line 1 has 3 (delimiter ','); a cell that contains the delimiter needs quotes"
    )
    assert message(head) == "new.csv has a header line and no rows below it"
    assert message("") == "new.csv is empty"
    assert message(head + "1e300,white,7\n").endswith("1e300 is too far from the values of the training data")
    path.write_text(head + "1,white,7\n")
    assert "would be lost" in fails("predict", net, path, "--out", path)
    assert "would be lost" in fails("predict", net, path, "--out", net)


def test_a_target_that_cannot_be_scored_is_no_error(tmp_path, run):
    net, path = tmp_path / "net.safetensors", tmp_path / "new.csv"
    assert run("train", flowers(tmp_path / "f.csv"), "--target", "kind", "--out", net, "--epochs", 1)[0] == 0
    path.write_text("length,colour,batch,kind\n1,white,7,\n2,white,7,setosa\n")
    status, out, err = run("predict", net, path)
    assert status == 0 and len(out.splitlines()) == 3
    assert err == (
        "not scored against column 'kind': "
        "new.csv, line 2, column 'kind': missing value; fill it in or remove the row\n"
    )


def test_probabilities_of_a_regression(tmp_path, run, fails):
    data, net = houses(tmp_path / "houses.csv"), tmp_path / "net.safetensors"
    assert run("train", data, "--target", "price", "--out", net, "--epochs", 1)[0] == 0
    assert fails("predict", net, data, "--proba") == f"--proba is for classifiers; {net} predicts the number 'price'"


def test_a_net_that_train_did_not_write(tmp_path, run, fails):
    data, net = flowers(tmp_path / "f.csv"), tmp_path / "net.safetensors"
    model = hf.Sequential(hf.Linear(2)).build((3,))
    model.save(net)
    assert fails("predict", net, data).startswith(f"{net} was not written by 'hawfinch train', so it does not say how")
    for state in ("{", "{}", "[]"):
        model.save(net, metadata={"hawfinch.table": state})
        assert "table encoder is damaged" in fails("predict", net, data)
    net.write_bytes(b"\0" * 7)
    assert fails("predict", net, data).startswith(f"{net} is no usable net ")


def test_a_run_that_diverges_says_so(tmp_path, fails):
    message = fails("train", houses(tmp_path / "h.csv"), "--target", "price", "--out", tmp_path / "net", "--lr", "1e30")
    assert "finite" in message
    assert not (tmp_path / "net").exists()
