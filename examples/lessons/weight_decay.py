"""Weight decay against L2 under Adam: the same under plain descent, not under Adam.

An L2 penalty adds 2 lambda p to the gradient, which Adam then divides by the gradient's own size: weights whose
gradients are large hardly shrink. Decoupled decay (AdamW) takes the share lr lambda of every weight, whatever its
gradient.

Run: python examples/lessons/weight_decay.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

rng = np.random.default_rng(0)
scale = np.geomspace(0.1, 10, 20)  # inputs of unlike size: so are the gradients of their weights
x = (rng.normal(size=(2000, 20)) * scale).astype(np.float32)
y = rng.normal(size=(2000, 1))
y = (y - x @ np.linalg.lstsq(x, y, rcond=None)[0]).astype(np.float32)  # so that gradients are 0 in the mean


def noise(prediction, target):
    """A loss without a minimum: its gradients are noise, and what becomes of a weight is what decay makes of it."""
    return prediction * target


fig, axes = plt.subplots(1, 2, figsize=(12, 4.4), sharey=True)
kinds = {
    "Adam, no decay": (hf.Adam(2e-3), {}),
    "Adam + L2": (hf.Adam(2e-3), {"0.weight": hf.L2(0.03)}),
    "AdamW": (hf.AdamW(2e-3, weight_decay=0.6), {}),
}
for name, (optimizer, penalties) in kinds.items():
    model = hf.Sequential(hf.Linear(1, bias=False)).build((20,))
    weights = model.parameters()["0.weight"]
    weights[:] = 1.0
    trainer = hf.Trainer(model, noise, optimizer, regularizers=penalties, seed=0)
    path = []
    for _ in range(100):
        path.append(np.abs(weights[:, 0]).copy())
        trainer.fit(x, y, epochs=1, batch_size=100)
    path = np.array(path)
    print(f"{name:15} |w| after 100 epochs: smallest input {path[-1, 0]:.3f}, largest input {path[-1, -1]:.3f}")
    if name != "Adam, no decay":
        axes[list(kinds).index(name) - 1].semilogy(path, lw=1)
        axes[list(kinds).index(name) - 1].set(title=f"{name}: |w| of 20 inputs", xlabel="epoch", ylim=(0.02, 1.5))
for ax in axes:
    for line, color in zip(ax.lines, plt.cm.viridis(np.linspace(0, 1, 20)), strict=True):
        line.set_color(color)
fig.colorbar(plt.cm.ScalarMappable(plt.Normalize(-1, 1), "viridis"), ax=axes, label="log10 of the input's size")
fig.savefig("weight_decay.png", dpi=110)
