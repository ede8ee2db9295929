"""What the tests of training share: small data, nets, and the state that a step may change."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

import hawfinch as hf

RNG = np.random.default_rng(7)
X = RNG.normal(size=(203, 12)).astype(np.float32)
LABELS = ((X[:, 0] > 0).astype(np.int64) + (X[:, 1] + X[:, 2] > 0)).astype(np.int64)  # 3 classes
Y = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 2])], 1).astype(np.float32)


def net(*, dtype: str = "float32", out: int = 3) -> hf.Sequential:
    model = hf.Sequential(hf.Linear(16), hf.Tanh(), hf.Linear(out))
    model.dtype = dtype
    return model


def full_net(width: int = 24) -> hf.Sequential:
    """Everything that could depend on how work is split."""
    return hf.Sequential(
        hf.Linear(width),
        hf.BatchNorm(),
        hf.ReLU(),
        hf.Dropout(0.3),
        hf.Linear(width),
        hf.LayerNorm(),
        hf.GELU(),
        hf.Dropout(0.1),
        hf.Linear(3),
    )


def make(
    model: hf.Module | None = None, loss: Any = "softmax_cross_entropy", optimizer: Any = None, **more: Any
) -> Any:
    return hf.Trainer(net() if model is None else model, loss, optimizer or hf.Adam(lr=0.01), **more)


def state(trainer: hf.Trainer) -> dict[str, Any]:
    """Everything that a step may change, copied."""
    arrays = {**trainer.model.parameters(), **trainer.model.buffers(), **trainer.slots}
    return {
        **{k: v.copy() for k, v in arrays.items()},
        "steps": trainer.steps,
        "epochs": trainer.epochs,
        "history": trainer.history.to_dict(),
    }


def assert_same_state(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Equal, bit for bit."""
    assert a.keys() == b.keys()
    for name, value in a.items():
        if isinstance(value, np.ndarray):
            assert value.tobytes() == b[name].tobytes(), name
        else:
            assert value == b[name], name


class Branches(hf.Module):
    """Two inputs, a shared layer, two outputs."""

    def __init__(self) -> None:
        self.shared, self.head = hf.Linear(6), {"a": hf.Linear(2), "b": hf.Linear(1)}

    def forward(self, x: Any, z: Any) -> tuple[Any, Any]:
        both = hf.ops.tanh(self.shared(x)) + hf.ops.tanh(self.shared(z))
        return self.head["a"](both), self.head["b"](both)


def both_outputs(prediction: Any, target: Any) -> Any:
    first, second = prediction
    return hf.ops.sum(hf.ops.square(first - target), 1) + hf.ops.square(second)[:, 0]


def threads_left() -> list[str]:
    """Those that read or decode."""
    return [t.name for t in threading.enumerate() if t.name in ("hawfinch-read", "hawfinch-decode")]


def in_threads(work: list[Callable[[], Any]]) -> list[BaseException]:
    """Runs each in its own thread, started together; what they raised."""
    errors: list[BaseException] = []
    gate = threading.Barrier(len(work))

    def run(function: Callable[[], Any]) -> None:
        try:
            gate.wait()
            function()
        except BaseException as error:
            errors.append(error)

    pool = [threading.Thread(target=run, args=(f,)) for f in work]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    return errors
