"""Frozen stages against end-to-end: features made by hand, learnt without labels, or learnt for the task.

A chain of steps, each made well by itself, is not the best chain: end-to-end, every layer is trained for what comes
out at the end. Stages that are frozen cost less and need fewer labels. Digits; a net whose first layers are frozen
at random, frozen after pre-training without labels, or trained.

Run: python examples/lessons/frozen_stages.py
"""

import time

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

images, labels = hf.data.load_digits()
x = images.reshape(len(images), -1).astype(np.float32)
order = np.random.default_rng(0).permutation(len(x))
test = order[1200:]
counts = (20, 50, 100, 300, 1200)


def net(seed):
    return hf.Sequential(hf.Linear(48), hf.Tanh(), hf.Linear(24), hf.Tanh(), hf.Linear(10)).build((64,), seed=seed)


def run(kind, rows, seed):
    model = net(seed)
    if "pre-trained" in kind:  # all rows, no labels
        hf.transfer.pretrain_layers(model, x[order[:1200]], epochs=10, optimizer=hf.Adam(3e-3), seed=seed)
    if "frozen" in kind:
        model.freeze("0.*", "2.*")
    trainer = hf.Trainer(model, "softmax_cross_entropy", hf.Adam(5e-3), metrics=["accuracy"], seed=seed)
    trainer.fit(x[order[:rows]], labels[order[:rows]], epochs=max(20, 12000 // rows), batch_size=32)
    accuracy = trainer.evaluate(x[test], labels[test])["accuracy"]
    begin = time.perf_counter()
    trainer.fit(x[order[:rows]], labels[order[:rows]], epochs=100, batch_size=32)  # compiled already
    return accuracy, time.perf_counter() - begin


kinds = ("frozen, random", "frozen, pre-trained", "end-to-end", "end-to-end, pre-trained")
fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4.4))
for kind in kinds:
    found = np.array([[run(kind, rows, seed) for seed in range(2)] for rows in counts]).mean(1)
    print(f"{kind:24} test accuracy by labelled rows", dict(zip(counts, found[:, 0].round(3).tolist(), strict=True)))
    left.semilogx(counts, found[:, 0], "o-", label=kind)
    right.barh(kind, 1e3 * found[-1, 1])
left.set(xlabel="rows with labels", ylabel="test accuracy"), left.legend()
right.set(title="100 epochs with all rows, ms")
fig.tight_layout()
fig.savefig("frozen_stages.png", dpi=110)
