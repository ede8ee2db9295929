"""Why the squared error stalls in classification where cross-entropy does not.

One unit, p = sigmoid(x w + b). Far from the answer the sigmoid is flat. The gradient of the squared error by the
logit has the factor p (1 - p), and is nearly 0 where the unit is badly wrong; that of cross-entropy is p - t,
largest there.

Run: python examples/lessons/mse_and_cross_entropy.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

x = np.array([[-2.0], [-1.5], [-1.0], [1.0], [1.5], [2.0]])
t = np.array([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]])


def squared(w, b):
    return hf.ops.mean((hf.ops.sigmoid(x * w + b) - t) ** 2)


def cross_entropy(w, b):
    logits = x * w + b
    return hf.ops.mean(hf.ops.softplus(logits) - logits * t)


fig, axes = plt.subplots(1, 3, figsize=(13, 4))
logit = np.linspace(-8, 8, 200)
p = 1 / (1 + np.exp(-logit))
axes[0].plot(logit, 2 * (p - 1) * p * (1 - p), label="squared error")
axes[0].plot(logit, p - 1, label="cross-entropy")
axes[0].set(xlabel="logit of a row whose target is 1", title="gradient by the logit")
for name, loss in (("squared error", squared), ("cross-entropy", cross_entropy)):
    gradient = hf.value_and_grad(loss, argnums=(0, 1))
    w, b, path = np.array(-6.0), np.array(0.0), []
    for _ in range(200):
        value, (dw, db) = gradient(w, b)
        path.append((float(w), float(value)))
        w, b = w - 0.5 * dw, b - 0.5 * db
    path = np.array(path)
    first = gradient(np.array(-6.0), np.array(0.0))[1][0]
    print(f"{name}: first gradient {first:.5f}, w after 200 steps {path[-1, 0]:.2f}")
    axes[1].plot(path[:, 0], label=name)
ws = np.linspace(-8, 8, 100)
for name, loss in (("squared error", squared), ("cross-entropy", cross_entropy)):
    axes[2].plot(ws, [float(hf.value_and_grad(loss)(np.array(w), np.array(0.0))[0]) for w in ws], label=name)
axes[1].set(xlabel="step", ylabel="w", title="from w = -6: one climbs out, one sits still")
axes[2].set(xlabel="w", ylabel="loss", title="the plain of the squared error", ylim=(0, 4))
for ax in axes:
    ax.legend()
fig.tight_layout()
fig.savefig("mse_and_cross_entropy.png", dpi=110)
