"""Bias and variance over the size of the model, the noise, and the number of rows.

Train the same net on many draws of the data. Where the mean of their predictions misses the truth is bias; how far
they are from one another is variance. Both are measured here; their sum is the error.

Run: python examples/lessons/bias_and_variance.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

line = np.linspace(-3, 3, 200, dtype=np.float32)[:, None]
truth = np.sin(2 * line)
DRAWS = 16


def bias_and_variance(width, noise, rows):
    nets = []
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        x = rng.uniform(-3, 3, (rows, 1)).astype(np.float32)
        y = (np.sin(2 * x) + noise * rng.normal(size=x.shape)).astype(np.float32)
        nets.append(hf.Sequential(hf.Linear(width), hf.Tanh(), hf.Linear(1)))
        trainer = hf.Trainer(nets[-1], "mse", hf.Adam(hf.schedules.Cosine(0.03)), seed=draw)
        trainer.fit(x, y, epochs=400, batch_size="full")
    predictions = np.array([net.predict(line) for net in nets])
    mean = predictions.mean(0)
    return float(((mean - truth) ** 2).mean()), float(((predictions - mean) ** 2).mean()), predictions


fig, axes = plt.subplots(2, 3, figsize=(13, 7))
for ax, width in zip(axes[0], (1, 6, 60), strict=True):
    bias, variance, predictions = bias_and_variance(width, 0.4, 40)
    ax.plot(line, predictions[:, :, 0].T, "C0", lw=0.5, alpha=0.5)
    ax.plot(line, predictions.mean(0), "C3", lw=2, label="mean of 16 nets")
    ax.plot(line, truth, "k:", label="truth")
    ax.set(title=f"hidden units: {width}\nbias² {bias:.3f}, variance {variance:.3f}", ylim=(-2.2, 2.2))
    ax.legend()
    print(f"{width:2} hidden units: bias^2 {bias:.3f}, variance {variance:.3f}")
studies = {
    "hidden units": [(w, 0.4, 40) for w in (1, 2, 4, 8, 16, 60)],
    "noise": [(16, n, 40) for n in (0.05, 0.2, 0.4, 0.8)],
    "rows": [(16, 0.4, n) for n in (20, 40, 100, 200)],
}
for k, (ax, (name, cases)) in enumerate(zip(axes[1], studies.items(), strict=True)):
    found = np.array([bias_and_variance(*case)[:2] for case in cases])
    at = [case[k] for case in cases]
    ax.loglog(at, found[:, 0], "o-", label="bias²"), ax.loglog(at, found[:, 1], "o-", label="variance")
    ax.loglog(at, found.sum(1), "k--", label="sum")
    ax.set_xticks(at, at)
    ax.minorticks_off()
    ax.set(xlabel=name), ax.legend()
fig.tight_layout()
fig.savefig("bias_and_variance.png", dpi=110)
