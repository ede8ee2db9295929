"""L1, L2 and elastic net: the paths of coefficients as the penalty grows.

L2 shrinks all weights together and makes none zero; L1 takes the same amount from each, so that one after the other
becomes zero; the elastic net does both, and keeps correlated inputs together. Here 3 of 10 inputs matter, and two
of these are nearly the same.

Run: python examples/lessons/penalties.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

rng = np.random.default_rng(0)
x = rng.normal(size=(200, 10))
x[:, 1] = x[:, 0] + 0.1 * rng.normal(size=200)  # inputs 0 and 1 are twins
y = x[:, [0]] + x[:, [1]] - 2 * x[:, [2]] + 0.5 * rng.normal(size=(200, 1))

strengths = np.geomspace(0.01, 10, 13)
kinds = {"L2": hf.L2, "L1": hf.L1, "elastic net, half and half": lambda strength: hf.ElasticNet(strength, l1_ratio=0.5)}
fig, axes = plt.subplots(1, 3, figsize=(14, 4.2), sharey=True)
for ax, (name, penalty) in zip(axes, kinds.items(), strict=True):
    paths = []
    for strength in strengths:
        model = hf.Sequential(hf.Linear(1)).astype("float64")
        schedule = hf.schedules.Cosine(0.05)
        trainer = hf.Trainer(model, "mse", hf.Adam(schedule), regularizers={"0.weight": penalty(strength)}, seed=0)
        trainer.fit(x, y, epochs=300, batch_size="full")
        paths.append(model.parameters()["0.weight"][:, 0].copy())
    paths = np.array(paths)
    small = [int((abs(p) < 0.01).sum()) for p in paths]
    print(f"{name:27} weights below 0.01 by strength: {small}")
    for i, path in enumerate(paths.T):
        ax.semilogx(
            strengths,
            path,
            lw=2 if i < 3 else 0.8,
            color=f"C{i}" if i < 3 else "grey",
            label=f"input {i}" if i < 3 else None,
        )
    ax.set(title=name, xlabel="strength of the penalty")
axes[0].legend()
fig.tight_layout()
fig.savefig("penalties.png", dpi=110)
