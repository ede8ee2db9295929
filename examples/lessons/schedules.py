"""Schedules: a rate that is right at the beginning is too large at the end.

A constant large rate gets near the minimum fast and then dances around it; a small one is slow. What falls gets
both; a warm-up lets a net that knows nothing begin with small steps.

Run: python examples/lessons/schedules.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

s = hf.schedules
kinds = {
    "constant 0.02": s.Constant(0.02),
    "constant 0.002": s.Constant(0.002),
    "step": s.Step(0.02, every=220, factor=0.3),
    "1 / t": s.InverseTime(0.02, rate=0.01),
    "exponential": s.Exponential(0.02, factor=0.995),
    "cosine, warm-up": s.Cosine(0.02, warmup=0.1),
    "one cycle": s.OneCycle(0.02),
    "flat, then cosine": s.FlatCosine(0.02),
    "cosine, then small": s.Cosine(0.02, steps=600).then(s.Constant(1e-4)),
}
images, labels = hf.data.load_digits()
x = images.reshape(len(images), -1).astype(np.float32)
order = np.random.default_rng(0).permutation(len(x))
train, test = order[:1408], order[1408:]

fig, axes = plt.subplots(1, 3, figsize=(14, 4.4))
print("means over 5 seeds, 20 epochs of Adam")
for k, (name, schedule) in enumerate(kinds.items()):
    nets = [
        (hf.Sequential(hf.Linear(64), hf.ReLU(), hf.Linear(64), hf.ReLU(), hf.Linear(10)), dict(seed=seed))
        for seed in range(5)
    ]
    options = dict(loss="softmax_cross_entropy", optimizer=hf.Adam(schedule), metrics=["accuracy"])
    nets = [(net, own | options) for net, own in nets]
    histories = hf.fit_many(
        nets, x[train], labels[train], epochs=20, batch_size=32, validation_data=(x[test], labels[test])
    )
    loss = np.mean([h["loss"] for h in histories], 0)
    accuracy = np.mean([h["val_accuracy"][-1] for h in histories])
    print(f"{name:19} training loss {loss[-1]:.1e}, test accuracy {accuracy:.4f}")
    axes[0].plot(schedule.at(np.arange(880), 880), color=f"C{k}")
    axes[1].semilogy(loss, color=f"C{k}")
    axes[2].barh(name, 1 - accuracy, color=f"C{k}")
axes[0].set(title="rate by step")
axes[1].set(title="training loss by epoch")
axes[2].set(title="test error")
fig.tight_layout()
fig.savefig("schedules.png", dpi=110)
