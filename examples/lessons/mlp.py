"""A multilayer perceptron: what hidden units add to a linear model.

A linear model can only cut the plane in half. Each ReLU unit folds it along one line, and the output adds the folds
up: more units, more folds.

Run: python examples/lessons/mlp.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

rng = np.random.default_rng(0)
t, y = rng.uniform(0.3, 3 * np.pi, 800), rng.integers(0, 2, 800)
x = np.stack([np.cos(t + np.pi * y), np.sin(t + np.pi * y)], 1) * t[:, None] / 10 + rng.normal(0, 0.03, (800, 2))
x = x.astype(np.float32)

grid = np.stack(np.meshgrid(np.linspace(-1.1, 1.1, 160), np.linspace(-1.1, 1.1, 160)), -1).astype(np.float32)
fig, axes = plt.subplots(1, 4, figsize=(13, 3.6))
for ax, hidden in zip(axes, ([], [8], [64], [64, 64]), strict=True):
    layers = [layer for n in hidden for layer in (hf.Linear(n), hf.ReLU())]
    model = hf.Sequential(*layers, hf.Linear(2))
    trainer = hf.Trainer(model, hf.SoftmaxCrossEntropy(), hf.Adam(1e-2), metrics=["accuracy"], seed=0)
    history = trainer.fit(x, y, epochs=120, batch_size=64)
    name = "-".join(["2", *map(str, hidden), "2"])
    print(f"{name}: loss {history['loss'][-1]:.3f}, accuracy {history['accuracy'][-1]:.3f}")
    margin = np.diff(model.predict(grid.reshape(-1, 2)))[:, 0].reshape(160, 160)
    ax.contourf(grid[..., 0], grid[..., 1], np.tanh(margin / 4), levels=20, cmap="RdBu_r", vmin=-1, vmax=1, alpha=0.8)
    ax.scatter(*x.T, c=y, s=4, cmap="RdBu_r", edgecolors="none")
    ax.set_title(f"{name}\naccuracy {history['accuracy'][-1]:.2f}")
    ax.axis("off")
fig.tight_layout()
fig.savefig("mlp.png", dpi=110)
