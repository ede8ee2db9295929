"""Batch size, gradient noise and the learning rate.

The gradient of a batch is that of all rows plus noise whose variance falls as 1 / batch. Small batches make more
steps for each look at the data; large ones allow larger rates, up to a point: the best rate grows with the batch,
then no more.

Run: python examples/lessons/batch_size.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

images, labels = hf.data.load_digits()
x = images.reshape(len(images), -1).astype(np.float32)
batches, rates = (4, 16, 64, 256, 1024), np.geomspace(1e-2, 10, 7)

model = hf.Sequential(hf.Linear(32), hf.ReLU(), hf.Linear(10)).build((64,), seed=0)
start = {k: v.copy() for k, v in model.parameters().items()}
trainer = hf.Trainer(model, "softmax_cross_entropy", hf.SGD(1.0))


def gradient(rows):
    """The first weights' gradient: what a step of rate 1 takes away."""
    for name, value in start.items():
        model.parameters()[name][...] = value
    trainer.step(x[rows], labels[rows])
    return start["0.weight"] - model.parameters()["0.weight"]


rng = np.random.default_rng(0)
whole = gradient(np.arange(len(x)))
noise = []
for batch in batches:
    drawn = [gradient(rng.choice(len(x), batch, replace=False)) for _ in range(60)]
    noise.append(np.mean([((g - whole) ** 2).sum() for g in drawn]) / (whole**2).sum())
print("noise / signal by batch:", dict(zip(batches, np.round(noise, 3).tolist(), strict=True)))

fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4.4))
left.loglog(batches, noise, "o-", label="measured")
left.loglog(batches, noise[0] * batches[0] / np.array(batches), "k:", label="1 / batch")
left.set(xlabel="batch", title="variance of the gradient over its square"), left.legend()
for batch in batches:
    options = [dict(loss="softmax_cross_entropy", optimizer=hf.SGD(lr), seed=0) for lr in rates]
    nets = [(hf.Sequential(hf.Linear(32), hf.ReLU(), hf.Linear(10)), option) for option in options]
    histories = hf.fit_many(nets, x, labels, epochs=3, batch_size=batch)
    losses = np.array([np.nan if h.error else h["loss"][-1] for h in histories])
    print(f"batch {batch:4}: best rate {rates[np.nanargmin(losses)]:.3g}, loss after 3 epochs {np.nanmin(losses):.3f}")
    right.semilogx(rates, losses, "o-", label=f"batch {batch}")
right.set(xlabel="learning rate", title="loss after 3 epochs", ylim=(0, 2.4)), right.legend()
fig.tight_layout()
fig.savefig("batch_size.png", dpi=110)
