"""Softmax regression: one layer, cross-entropy, and what its weights look like.

The logit of a class is a weighted sum of the pixels, so that a row of weights is a picture: what speaks for the
class (red) and what against it (blue).

Run: python examples/lessons/softmax_regression.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

images, labels = hf.data.load_digits()
x = images.reshape(len(images), -1).astype(np.float32)
order = np.random.default_rng(0).permutation(len(x))
train, test = order[:1400], order[1400:]

model = hf.Sequential(hf.Linear(10))
trainer = hf.Trainer(model, hf.SoftmaxCrossEntropy(), hf.Adam(1e-2), metrics=["accuracy"], seed=0)
history = trainer.fit(x[train], labels[train], epochs=30, validation_data=(x[test], labels[test]))
print(f"test accuracy {history['val_accuracy'][-1]:.3f} with {model.n_parameters} numbers")

two = np.random.default_rng(1).normal(size=(5, 2)) * 3  # softmax over two classes is the sigmoid of their difference
softmax = np.exp(two[:, 1]) / np.exp(two).sum(1)
print("softmax of two and sigmoid:", np.abs(softmax - 1 / (1 + np.exp(two[:, 0] - two[:, 1]))).max() < 1e-12)

weights = model.parameters()["0.weight"].T.reshape(10, 8, 8)
fig, axes = plt.subplots(2, 6, figsize=(11, 4))
for digit, (ax, w) in enumerate(zip(axes[:, :5].flat, weights, strict=True)):
    ax.imshow(w, cmap="RdBu_r", vmin=-abs(weights).max(), vmax=abs(weights).max())
    ax.set_title(str(digit))
    ax.axis("off")
for ax, key in zip(axes[:, 5], ("loss", "accuracy"), strict=True):
    ax.plot(history[key], label="training")
    ax.plot(history[f"val_{key}"], label="test")
    ax.set_title(key)
axes[0, 5].legend()
fig.tight_layout()
fig.savefig("softmax_regression.png", dpi=110)
