"""Embeddings that keep neighbours: 64 pixels down to 2 numbers, and how much of the neighbourhood is left.

Trustworthiness (Venna, Kaski 2001): 1 less the share, weighted by rank, of rows that are neighbours in the picture
and are not in the data. Principal components, an autoencoder's middle and a classifier's last layer but one, side
by side.

Run: python examples/lessons/embeddings.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

images, labels = hf.data.load_digits()
x = images.reshape(len(images), -1).astype(np.float32)[:1000]
labels = labels[:1000]


def trustworthiness(high, low, k=10):
    def distances(a):
        return ((a[:, None] - a[None]) ** 2).sum(-1)

    n = len(high)
    rank = distances(high).argsort(1).argsort(1)  # 0: the row itself
    near = distances(low).argsort(1)[:, 1 : k + 1]
    penalty = np.maximum(np.take_along_axis(rank, near, 1) - k, 0).sum()
    return 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * penalty


def hidden(n):
    return hf.Linear(n), hf.ReLU()


centred = x - x.mean(0)
components = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T

autoencoder = hf.Sequential(*hidden(128), *hidden(64), hf.Linear(2), *hidden(64), *hidden(128), hf.Linear(64))
rate = hf.schedules.Cosine(3e-3, warmup=0.05)
hf.Trainer(autoencoder, "mse", hf.Adam(rate), seed=0).fit(x, x, epochs=120, batch_size=50)

classifier = hf.Sequential(*hidden(128), *hidden(64), hf.Linear(2), hf.Linear(10))
hf.Trainer(classifier, "softmax_cross_entropy", hf.Adam(rate), seed=0).fit(x, labels, epochs=60, batch_size=50)

maps = {
    "principal components": components,
    "autoencoder": autoencoder.outputs(x, "4"),
    "classifier": classifier.outputs(x, "4"),
}
fig, axes = plt.subplots(1, 3, figsize=(14, 4.8))
for ax, (name, low) in zip(axes, maps.items(), strict=True):
    score = trustworthiness(x, low)
    print(f"{name:21} trustworthiness {score:.3f}")
    dots = ax.scatter(*low.T, c=labels, cmap="tab10", s=6)
    ax.set_title(f"{name}: {score:.3f}")
    ax.set_xticks([]), ax.set_yticks([])
fig.colorbar(dots, ax=axes, ticks=range(10))
fig.savefig("embeddings.png", dpi=110)
