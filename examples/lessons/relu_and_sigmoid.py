"""ReLU as a sum of ever more shifted sigmoids; and why deep nets of sigmoids hardly learn.

sigmoid(z - 1/2) + sigmoid(z - 3/2) + sigmoid(z - 5/2) + ... comes close to softplus(z), and ReLU is what is left of
it far away: one unit that has many thresholds, and a slope that is 1, not at most 1/4. Multiplied over layers, that
is the difference between a gradient that arrives and one that does not.

Run: python examples/lessons/relu_and_sigmoid.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

images, labels = hf.data.load_digits()
x = images.reshape(len(images), -1).astype(np.float32)

fig, axes = plt.subplots(1, 3, figsize=(13, 4))
z = np.linspace(-3, 6, 300)
for n in (1, 2, 4, 8):
    axes[0].plot(z, sum(1 / (1 + np.exp(-(z - 0.5 - k))) for k in range(n)), label=f"{n} sigmoids", lw=1)
axes[0].plot(z, np.maximum(z, 0), "k", lw=2, label="ReLU")
axes[0].set(xlabel="z", title="one ReLU is many sigmoids", ylim=(-0.2, 6))
print("64 sigmoids and softplus differ by at most", end=" ")
print(f"{max(abs(sum(1 / (1 + np.exp(-(z - 0.5 - k))) for k in range(64)) - np.log1p(np.exp(z)))):.3f}")

depths = (1, 2, 4, 6, 8)
for activation, init in (("sigmoid", "xavier_uniform"), ("relu", "kaiming_uniform")):
    accuracy, ratio = [], []
    for depth in depths:
        layers = [layer for _ in range(depth) for layer in (hf.Linear(32, init=init), activation)]
        model = hf.Sequential(*layers, hf.Linear(10)).build((64,), seed=1)
        before = {k: v.copy() for k, v in model.parameters().items()}
        hf.Trainer(model, "softmax_cross_entropy", hf.SGD(1.0)).step(x[:256], labels[:256])  # moves by the gradient
        first, last = "0.weight", f"{2 * depth}.weight"
        size = {k: float(np.sqrt(np.mean((model.parameters()[k] - before[k]) ** 2))) for k in (first, last)}
        ratio.append(size[first] / size[last])
        trainer = hf.Trainer(model, "softmax_cross_entropy", hf.SGD(0.1), metrics=["accuracy"], seed=0)
        accuracy.append(trainer.fit(x, labels, epochs=25)["accuracy"][-1])
    print(f"{activation}: training accuracy by depth", dict(zip(depths, np.round(accuracy, 2).tolist(), strict=True)))
    axes[1].semilogy(depths, ratio, "o-", label=activation)
    axes[2].plot(depths, accuracy, "o-", label=activation)
axes[1].set(xlabel="hidden layers", title="gradient of the first layer over that of the last")
axes[2].set(xlabel="hidden layers", title="training accuracy, digits, 25 epochs of SGD")
for ax in axes:
    ax.legend()
fig.tight_layout()
fig.savefig("relu_and_sigmoid.png", dpi=110)
