"""Batch norm on and off, before and after the activation, over a grid of rates and initialisations.

Normalised, a layer's output no longer depends on how large its weights are: a net trains over a far wider range of
rates and beginnings. Digits, a deep narrow net, a few epochs each; many nets at once with `fit_many`.

Run: python examples/lessons/batch_norm.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

images, labels = hf.data.load_digits()
x = images.reshape(len(images), -1).astype(np.float32)
order = np.random.default_rng(0).permutation(len(x))
train, test = order[:1400], order[1400:]
rates = np.geomspace(1e-3, 3, 8)
spreads = np.geomspace(0.02, 1, 7)  # standard deviation of the first weights


def net(kind, spread):
    def init(shape, fan_in, fan_out, draw):
        return draw.normal(int(np.prod(shape)), spread).reshape(shape)

    blocks = {
        "no batch norm": lambda: (hf.Linear(24, init=init), hf.ReLU()),
        "before the activation": lambda: (hf.Linear(24, init=init), hf.BatchNorm(), hf.ReLU()),
        "after the activation": lambda: (hf.Linear(24, init=init), hf.ReLU(), hf.BatchNorm()),
    }
    return hf.Sequential(*[layer for _ in range(5) for layer in blocks[kind]()], hf.Linear(10))


fig, axes = plt.subplots(1, 3, figsize=(13, 4.2), sharey=True)
for ax, kind in zip(axes, ("no batch norm", "before the activation", "after the activation"), strict=True):
    pairs = [(lr, spread) for spread in spreads for lr in rates]
    options = dict(loss="softmax_cross_entropy", metrics=["accuracy"], seed=0)
    nets = [(net(kind, spread), dict(optimizer=hf.SGD(lr, momentum=0.9), **options)) for lr, spread in pairs]
    held_out = (x[test], labels[test])
    histories = hf.fit_many(nets, x[train], labels[train], epochs=4, batch_size=64, validation_data=held_out)
    scores = [0.0 if h.error else h["val_accuracy"][-1] for h in histories]
    table = np.array(scores).reshape(len(spreads), len(rates))
    print(f"{kind:22} best {table.max():.3f}, above 0.8 in {int((table > 0.8).sum())} of {table.size} corners")
    image = ax.imshow(table, origin="lower", vmin=0, vmax=1, cmap="viridis", aspect="auto")
    ax.set_xticks(range(0, len(rates), 2), [f"{r:.1g}" for r in rates[::2]])
    ax.set_yticks(range(len(spreads)), [f"{s:.2g}" for s in spreads])
    ax.set(title=kind, xlabel="learning rate")
axes[0].set_ylabel("standard deviation of the first weights")
fig.colorbar(image, ax=axes, label="test accuracy after 4 epochs")
fig.savefig("batch_norm.png", dpi=110)
