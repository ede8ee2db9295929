"""Gradient descent sticks where momentum rolls over the hill.

The same ball on the same ground with the same rate: without momentum it stops in the first hollow, with it what it
has gathered on the way down carries it over. Here momentum is v = 0.9 v + g, p -= lr v; it is often taught as v =
0.9 v - lr g, p += v, which is the same as long as lr stays as it is.

Run: python examples/lessons/momentum.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf


class Ball(hf.Module):
    def forward(self, x):
        return x * 0.0 + self.param("at", (1,), lambda shape, fan_in, fan_out, draw: np.array([-2.6]))


def ground(at, target):
    return 0.15 * (at - 1.2) ** 2 + 0.9 * hf.ops.exp(-((at + 0.6) ** 2) * 3.0)


zero = np.zeros((1, 1))
line = np.linspace(-3, 3.5, 300)
fig, axes = plt.subplots(1, 2, figsize=(13, 4.4), sharey=True)
for ax, momentum in zip(axes, (0.0, 0.9), strict=True):
    model = Ball().astype("float64").build((1,))
    trainer = hf.Trainer(model, ground, hf.SGD(0.08, momentum=momentum))
    path = []
    for _ in range(120):
        path.append(float(model.parameters()["at"][0]))
        trainer.step(zero, zero)
    path = np.array(path)
    heights = 0.15 * (path - 1.2) ** 2 + 0.9 * np.exp(-((path + 0.6) ** 2) * 3)
    print(f"momentum {momentum}: ends at {path[-1]:.3f}")
    ax.plot(line, 0.15 * (line - 1.2) ** 2 + 0.9 * np.exp(-((line + 0.6) ** 2) * 3), "k", lw=1.5)
    ax.quiver(
        path[:-1],
        heights[:-1],
        np.diff(path),
        np.diff(heights),
        np.arange(119),
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.004,
        cmap="plasma",
    )
    ax.plot(path[-1], heights[-1], "o", ms=10)
    ax.set(title=f"momentum {momentum}, 120 steps", xlabel="p", ylabel="loss")
fig.tight_layout()
fig.savefig("momentum.png", dpi=110)
