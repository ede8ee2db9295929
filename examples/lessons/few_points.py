"""A line, a conic and a free net on few points: the set of functions decides what can be learnt, and from how much.

Two classes and 20 points, then 200. A line can't follow them; a conic (a linear model of x, y, x², xy, y²) fits,
and is stiff enough to be right between the points; a free net fits as well, and is right where the points are. With
many points the difference goes.

Run: python examples/lessons/few_points.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf


def truth(p):
    return (p[:, 0] ** 2 / 2 + p[:, 1] ** 2 > 0.5).astype(int)


def conic(p):
    return np.c_[p, p[:, 0] ** 2, p[:, 0] * p[:, 1], p[:, 1] ** 2].astype(np.float32)


def same(p):
    return p.astype(np.float32)


nets = {"a line": (same, []), "a conic": (conic, []), "a free net": (same, [50, 50])}
rng = np.random.default_rng(1)
test = rng.uniform(-1.3, 1.3, (4000, 2))
axis = np.linspace(-1.4, 1.4, 120)
grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)

fig, axes = plt.subplots(2, 4, figsize=(13, 6.6))
for row, n in enumerate((20, 200)):
    scores = {name: [] for name in nets}
    for draw in range(8):
        points = rng.uniform(-1.3, 1.3, (n, 2))
        for column, (name, (inputs, hidden)) in enumerate(nets.items()):
            model = hf.Sequential(*[layer for width in hidden for layer in (hf.Linear(width), hf.Tanh())], hf.Linear(2))
            trainer = hf.Trainer(model, "softmax_cross_entropy", hf.Adam(0.02), metrics=["accuracy"], seed=draw)
            trainer.fit(inputs(points), truth(points), epochs=500 * 20 // n, batch_size=20)
            scores[name].append(trainer.evaluate(inputs(test), truth(test))["accuracy"])
            if draw == 0:
                margin = np.diff(model.predict(inputs(grid)))[:, 0].reshape(120, 120)
                ax = axes[row, column]
                ax.contourf(axis, axis, margin, levels=[-1e9, 0, 1e9], colors=["#9ecae1", "#fcae91"])
                ax.contour(axis, axis, (axis**2 / 2 + axis[:, None] ** 2), levels=[0.5], colors="k", linestyles=":")
                ax.scatter(*points.T, c=truth(points), cmap="coolwarm", edgecolors="k", s=18)
                ax.set_title(f"{name}, {n} points: {scores[name][0]:.2f}")
                ax.axis("off")
    for name, values in scores.items():
        print(
            f"{n:3} points, {name:10} test accuracy {np.mean(values):.3f} (from {min(values):.3f} to {max(values):.3f})"
        )
    axes[row, 3].boxplot(list(scores.values()), tick_labels=list(scores))
    axes[row, 3].set(title=f"test accuracy, 8 draws of {n}", ylim=(0.4, 1.02))
fig.tight_layout()
fig.savefig("few_points.png", dpi=110)
