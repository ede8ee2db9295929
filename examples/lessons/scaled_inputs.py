"""Scaled and unscaled inputs: the same data, two valleys.

A linear model's curvature by a weight is the mean square of that input. Two inputs of unlike size make a long
narrow valley: the rate must be small for the steep side, and so is far too small along the valley. Scaled, the
valley is round.

Run: python examples/lessons/scaled_inputs.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

rng = np.random.default_rng(0)
raw = np.c_[rng.normal(0, 1, 200), rng.normal(0, 10, 200)]
y = raw @ np.array([2.0, 0.2]) + rng.normal(0, 0.3, 200)
scaled = hf.data.StandardScaler().fit(raw).transform(raw).astype(np.float64)

fig, axes = plt.subplots(1, 3, figsize=(14, 4.4))
for ax, (name, x) in zip(axes, {"as they are": raw, "scaled": scaled}.items(), strict=False):
    gradient = hf.value_and_grad(lambda w: hf.ops.mean((x @ w - (y - y.mean())) ** 2))  # noqa: B023
    curvature = np.linalg.eigvalsh(2 * x.T @ x / len(x))
    best = np.linalg.lstsq(x, y - y.mean(), rcond=None)[0]
    w, path, losses = best + np.array([-2.5, 1.0]), [], []
    for _ in range(40):
        value, dw = gradient(w)
        path.append(w), losses.append(float(value))
        w = w - 0.9 * 2 / curvature.max() * dw
    path = np.array(path)
    print(
        f"{name}: curvatures {curvature.round(2)}, loss after 40 steps {losses[-1]:.3f}, best {gradient(best)[0]:.3f}"
    )
    a, b = np.meshgrid(*[np.linspace(best[i] - 3, best[i] + 3, 120) for i in (0, 1)])
    ax.contour(
        a, b, ((a[..., None] * x[:, 0] + b[..., None] * x[:, 1] - y + y.mean()) ** 2).mean(-1), 16, cmap="Greys_r"
    )
    ax.plot(*path.T, "o-", ms=3, lw=1), ax.plot(*best, "k*", ms=13)
    ax.set(xlabel="first weight", ylabel="second weight", title=f"inputs {name}, 40 steps", aspect="equal")
    axes[2].semilogy(losses, label=f"inputs {name}")
axes[2].set(xlabel="step", ylabel="loss", title="each at 0.9 of its largest rate"), axes[2].legend()
fig.tight_layout()
fig.savefig("scaled_inputs.png", dpi=110)
