"""What a layer represents: a linear probe on each layer's output, and what the layers make of the rows.

A layer's output is one call, `model.outputs(x, "2")`. A linear model on top of it tells how much of the answer can
be read off already. An untrained net is asked too.

Run: python examples/lessons/layer_probes.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, (4000, 2)).astype(np.float32)
radius, angle = np.hypot(*x.T), np.arctan2(*x.T)
y = ((1.5 * radius + angle / (2 * np.pi)) % 1 > 0.5).astype(int)  # arms of a spiral
train, test = slice(0, 3000), slice(3000, None)


def net():
    return hf.Sequential(
        *[layer for _ in range(5) for layer in (hf.Linear(48, init="kaiming_uniform"), hf.ReLU())], hf.Linear(2)
    )


def probe(model, name):
    """Test accuracy of a linear model on the output of layer ``name``; None: on the inputs."""
    features = x if name is None else model.outputs(x, name)
    scaled = hf.data.StandardScaler().fit(features[train]).transform(features)
    linear = hf.Trainer(hf.Sequential(hf.Linear(2)), "softmax_cross_entropy", hf.Adam(0.02), metrics=["accuracy"])
    linear.fit(scaled[train], y[train], epochs=15, batch_size=128)
    return linear.evaluate(scaled[test], y[test])["accuracy"]


fig, axes = plt.subplots(1, 5, figsize=(16, 3.4))
layers = [None, "1", "3", "5", "7", "9"]
trained = None
for name, epochs in (("untrained", 0), ("trained", 60)):
    model = net().build((2,), seed=0)
    trainer = hf.Trainer(
        model, "softmax_cross_entropy", hf.Adam(hf.schedules.Cosine(3e-3)), metrics=["accuracy"], seed=0
    )
    trainer.fit(x[train], y[train], epochs=epochs, batch_size=64)
    scores = [probe(model, layer) for layer in layers]
    print(f"{name:9} net, accuracy of a linear probe by layer:", np.round(scores, 3).tolist())
    axes[0].plot(range(6), scores, "o-", label=name)
    trained = model
axes[0].set(title="linear probe", xlabel="layers below the probe"), axes[0].legend()
for ax, layer in zip(axes[1:], [None, "1", "5", "9"], strict=True):
    features = x[test] if layer is None else trained.outputs(x[test], layer)
    centred = features - features.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    ax.scatter(*(centred @ directions[:2].T).T, c=y[test], cmap="coolwarm", s=4)
    ax.set_title("inputs" if layer is None else f"layer {layer}, two main directions")
    ax.axis("off")
fig.tight_layout()
fig.savefig("layer_probes.png", dpi=110)
