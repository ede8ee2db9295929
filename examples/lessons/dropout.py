"""Dropout, and a column that is missing at test time.

Two sensors measure the same thing, one a little better. A plain net leans on both as it likes; one that was trained
with input dropout has seen each of them missing, and knows what the other is worth.

Run: python examples/lessons/dropout.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

rng = np.random.default_rng(0)
n, sensors = 3000, 8
hidden = rng.normal(size=(n, 1))
x = (hidden + np.linspace(0.1, 0.8, sensors) * rng.normal(size=(n, sensors))).astype(np.float32)  # the first is best
y = np.sin(2 * hidden).astype(np.float32)
train, test = slice(0, 2000), slice(2000, None)

rates = (0.0, 0.1, 0.3, 0.5)
fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4.4))
for rate in rates:
    model = hf.Sequential(hf.Dropout(rate), hf.Linear(64), hf.ReLU(), hf.Linear(64), hf.ReLU(), hf.Linear(1))
    trainer = hf.Trainer(model, "mse", hf.Adam(2e-3), seed=0)
    trainer.fit(x[train], y[train], epochs=40, batch_size=64)
    errors = [trainer.evaluate(x[test], y[test])["loss"]]
    for column in range(sensors):
        broken = x[test].copy()
        broken[:, column] = 0.0  # its mean
        errors.append(trainer.evaluate(broken, y[test])["loss"])
    print(f"dropout {rate}: test error {errors[0]:.3f}, without the best column {errors[1]:.3f}")
    left.plot(range(-1, sensors), errors, "o-", label=f"dropout {rate}")
    first = model.parameters()["1.weight"]
    right.plot(np.sqrt((first**2).mean(1)), "o-", label=f"dropout {rate}")
left.set(title="test error when a column is missing", xlabel="missing column (-1: none)", ylabel="mean squared error")
right.set(title="size of the first layer's weights", xlabel="column, best first")
left.legend(), right.legend()
fig.tight_layout()
fig.savefig("dropout.png", dpi=110)
