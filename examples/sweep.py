"""A hundred nets at once, each stopped on its own: a sweep over rate, width and seed. Run: python examples/sweep.py"""

import itertools

import hawfinch as hf

x, y = hf.data.load_digits()
xt, xv, yt, yv = hf.data.train_test_split(x, y, test_size=0.2, seed=0)


class Patience:
    """Stops a net whose validation loss has not fallen for three epochs."""

    def __init__(self) -> None:
        self.best, self.since = float("inf"), 0

    def on_epoch_end(self, trainer: hf.Trainer, epoch: int, logs: dict[str, float]) -> None:
        self.since = 0 if logs["val_loss"] < self.best else self.since + 1
        self.best = min(self.best, logs["val_loss"])
        trainer.stop = self.since >= 3


grid = list(itertools.product([3e-4, 1e-3, 3e-3, 1e-2, 3e-2], [16, 32, 64, 128], range(5)))
nets = [
    (
        hf.Sequential(hf.Linear(width), hf.ReLU(), hf.Dropout(0.2), hf.Linear(10)),
        {
            "loss": "softmax_cross_entropy",
            "optimizer": hf.Adam(lr=lr),
            "seed": seed,
            "callbacks": [Patience()],
            "metrics": ["accuracy"],
        },
    )
    for lr, width, seed in grid
]
histories = hf.fit_many(nets, xt, yt, epochs=60, batch_size=32, validation_data=(xv, yv))

ranking = sorted(range(len(nets)), key=lambda i: min(histories[i]["val_loss"]))
for i in ranking[:5]:
    lr, width, seed = grid[i]
    accuracy = max(histories[i]["val_accuracy"])
    print(f"lr {lr:<6g} width {width:<4} seed {seed}: accuracy {accuracy:.3f} in {len(histories[i])} epochs")
