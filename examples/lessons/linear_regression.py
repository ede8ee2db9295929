"""Linear regression by hand: three steps, `value_and_grad` and plain gradient descent.

1. A set of functions: y = x w + b. 2. How good: the mean squared error. 3. The best: go down the gradient. The loss
of a linear model is a bowl, so that every start leads to the one minimum, which least squares gives at once.

Run: python examples/lessons/linear_regression.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

rng = np.random.default_rng(0)
x = rng.uniform(-1, 3, (60, 1))
y = 1.5 * x[:, 0] - 0.7 + rng.normal(0, 0.4, 60)


def loss(w, b):
    return hf.ops.mean((x @ w + b - y) ** 2)


loss_and_grad = hf.value_and_grad(loss, argnums=(0, 1))
exact_w, exact_b = np.linalg.lstsq(np.c_[x[:, 0], np.ones(60)], y, rcond=None)[0]

ones = np.c_[x[:, 0], np.ones(60)]
limit = 2 / np.linalg.eigvalsh(2 * ones.T @ ones / 60).max()  # 2 / the largest curvature: beyond it steps grow
paths = {}
for lr in (round(share * limit, 3) for share in (0.05, 0.4, 0.97)):
    w, b, path = np.array([-1.0]), np.array(2.0), []
    for _ in range(60):
        value, (dw, db) = loss_and_grad(w, b)
        path.append((w[0], float(b), float(value)))
        w, b = w - lr * dw, b - lr * db
    paths[lr] = np.array(path)
    print(f"lr {lr}: after 60 steps w {w[0]:.4f}, b {float(b):.4f}, loss {float(loss_and_grad(w, b)[0]):.4f}")
print(f"no rate beyond {limit:.3f} can work")
print(f"least squares:          w {exact_w:.4f}, b {exact_b:.4f}")

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))
ws, bs = np.meshgrid(np.linspace(-1.5, 4, 120), np.linspace(-3, 2.6, 120))
surface = ((ws[..., None] * x[:, 0] + bs[..., None] - y) ** 2).mean(-1)
left.contour(ws, bs, surface, levels=np.geomspace(0.2, 30, 18), cmap="Greys_r", linewidths=0.7)
for lr, path in paths.items():
    left.plot(path[:, 0], path[:, 1], "o-", ms=3, lw=1, label=f"lr {lr}")
    right.semilogy(path[:, 2], label=f"lr {lr}")
left.plot(exact_w, exact_b, "k*", ms=14, label="least squares")
left.set(xlabel="w", ylabel="b", title="60 steps on the bowl", xlim=(-1.5, 4), ylim=(-3, 2.6))
right.set(xlabel="step", ylabel="mean squared error", title="too small is slow, near the limit swings")
left.legend(), right.legend()
fig.tight_layout()
fig.savefig("linear_regression.png", dpi=110)
