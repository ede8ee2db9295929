"""``hawfinch demo``: from installation to a working net in seconds."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import hawfinch as hf

from ..data import load_digits, shift_images, train_test_split
from ..errors import MissingExtraError, import_extra
from .nets import cosine, mlp
from .options import Commands, add_threads, command, whole

SMOOTHING = 0.1  # of the labels


def add(commands: Commands) -> None:
    p = command(
        commands, "demo", run, "Train on the bundled handwritten digits: seconds from install to a working net."
    )
    p.add_argument("--epochs", type=whole(1), default=20, metavar="N", help="passes over the data")
    p.add_argument("--out", default="hawfinch-demo", metavar="DIR", help="folder for the net, history and curves")
    p.add_argument("--seed", type=whole(0), default=0, metavar="S", help="of weights, order and dropout")
    p.add_argument("--quiet", action="store_true", help="print the result only")
    add_threads(p)


def run(args: argparse.Namespace) -> None:
    say: Callable[..., None] = (lambda *_: None) if args.quiet else print
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    x, y = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, seed=0, stratify=y)
    images = x_train.reshape(-1, 8, 8)
    shifted = [shift_images(images, 1.0, seed=copy).reshape(-1, 64) for copy in range(1, 5)]
    x_fit, y_fit = np.concatenate([x_train, *shifted]), np.tile(y_train, 1 + len(shifted))
    say(
        f"{len(x)} handwritten digits of 8 x 8 pixels: {len(x_train)} to train on, with {len(shifted)} copies of each "
        f"shifted by up to a pixel; {len(x_test)} held out as the test"
    )
    batch = 32
    steps = args.epochs * -(-len(x_fit) // batch)
    model = mlp([256], 0.2, 10)
    trainer = hf.Trainer(
        model,
        loss=hf.SoftmaxCrossEntropy(label_smoothing=SMOOTHING),
        optimizer=hf.AdamW(lr=cosine(4e-3, steps)),
        metrics=["accuracy"],
        seed=args.seed,
        threads=args.threads,
    )

    def report(_: Any, epoch: int, logs: dict[str, float]) -> None:
        count = f"epoch {epoch + 1:{len(str(args.epochs))}}/{args.epochs}"
        say(f"{count}   loss {logs['loss']:.4f}   test accuracy {logs['val_accuracy']:.4f}")

    began = time.perf_counter()
    history = trainer.fit(
        x_fit, y_fit, epochs=args.epochs, batch_size=batch, validation_data=(x_test, y_test), callbacks=[report]
    )
    took = time.perf_counter() - began
    logits = np.asarray(model.predict(x_test))
    wrong = np.flatnonzero(logits.argmax(axis=1) != y_test)
    accuracy = 1 - len(wrong) / len(x_test)
    model.save(out / "digits.safetensors", metadata={"hawfinch.demo": f"test accuracy {accuracy:.4f}"})
    record = history.to_dict() | {"test_accuracy": accuracy, "seconds": took, "steps": trainer.steps}
    (out / "history.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"test accuracy {100 * accuracy:.2f} % ({len(wrong)} of {len(x_test)} wrong)")
    print(f"{trainer.steps} steps of {batch} images in {took:.2f} s: {trainer.steps / took:,.0f} steps per second")
    files = ["digits.safetensors", "history.json"]
    try:
        _draw_demo(out / "curves.png", history.to_dict(), x_test[wrong], y_test[wrong], logits[wrong].argmax(axis=1))
        files.append("curves.png")
    except MissingExtraError as missing:
        say(f"no curves.png: {missing}")
    say(f"wrote {', '.join(files)} to {out}")
    say(f'in Python: model = hawfinch.load("{out / files[0]}"); model.predict(x)')


def _least_loss(smoothing: float, classes: int) -> float:
    """The entropy of a smoothed label: no net gets a smaller loss."""
    rest = smoothing / classes
    top = 1 - smoothing + rest
    return -top * math.log(top) - (classes - 1) * rest * math.log(rest)


def _draw_demo(
    path: Path,
    history: dict[str, list[float]],
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    answers: NDArray[np.int64],
) -> None:
    """Loss, accuracy and the first 8 misread digits. Uses no pyplot: nothing global changes, no window opens."""
    fig = import_extra("matplotlib.figure", "plot").Figure(figsize=(9, 5.4), layout="constrained")
    parts: Any = fig.subfigures(2, 1, height_ratios=[3, 1.15])
    top, bottom = parts
    axes = top.subplots(1, 2)
    epochs = range(1, len(history["loss"]) + 1)
    for ax, name in zip(axes, ("loss", "accuracy"), strict=True):
        ax.plot(epochs, history[name], "o-", ms=3, label="training (shifted images, dropout)")
        ax.plot(epochs, history[f"val_{name}"], "o-", ms=3, label="test")
        ax.set(xlabel="epoch", title=name)
        ax.grid(alpha=0.3)
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_title(f"loss (label smoothing {SMOOTHING}: at best {_least_loss(SMOOTHING, 10):.2f})")
    axes[0].legend(frameon=False)
    shown = min(len(images), 8)
    more = f", the first {shown}" if len(images) > shown else ""
    bottom.suptitle(f"{len(images)} test digits misread{more}" if shown else "no test digit misread", fontsize=11)
    for i, ax in enumerate(bottom.subplots(1, 8)):
        ax.axis("off")
        image = i - (8 - shown) // 2
        if 0 <= image < shown:
            ax.imshow(images[image].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
            ax.set_title(f"{labels[image]} read as {answers[image]}", fontsize=9)
    fig.savefig(path, dpi=120)
