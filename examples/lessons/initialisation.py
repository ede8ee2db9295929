"""Initialisation: the size of signals layer by layer, forward and back; exploding and vanishing.

A layer multiplies the variance of its inputs by fan_in Var(w), ReLU halves it. With Var(w) = 2 / fan_in (He) it
stays as it is over any depth; with half of that it falls by half a layer, with twice it doubles. The gradient fares
alike on its way back.

Run: python examples/lessons/initialisation.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

depth, width = 30, 128
x = np.random.default_rng(0).normal(size=(256, width)).astype(np.float32)


def normal(gain):
    def init(shape, fan_in, fan_out, draw):
        return draw.normal(int(np.prod(shape)), (gain / fan_in) ** 0.5).reshape(shape)

    return init


fig, axes = plt.subplots(1, 3, figsize=(14, 4.2))
for gain, name in ((1.0, "Var(w) = 1 / fan_in"), (2.0, "2 / fan_in (He)"), (3.0, "3 / fan_in")):
    linear = [hf.Linear(width, init=normal(gain)) for _ in range(depth)]
    linear_out = hf.Linear(1)
    hf.Sequential(*[layer for each in linear for layer in (each, hf.ReLU())], linear_out).build((width,))
    signal, sizes, signs = x, [], []
    for layer in linear:
        signal = np.maximum(layer.predict(signal), 0)
        sizes.append(float(np.sqrt((signal**2).mean())))
        signs.append(signal > 0)
    gradient, back = np.ones((256, 1)) @ linear_out.parameters()["weight"].T, []  # of the output by the last signal
    for layer, positive in zip(linear[::-1], signs[::-1], strict=True):
        gradient = (gradient * positive) @ layer.parameters()["weight"].T
        back.append(float(np.sqrt((gradient**2).mean())))
    axes[0].semilogy(range(1, depth + 1), sizes, label=name), axes[1].semilogy(range(depth, 0, -1), back, label=name)
    axes[2].hist(np.log10(np.abs(signal[signal > 0]) + 1e-30), bins=60, alpha=0.6, label=name)
    print(f"{name}: signal {sizes[0]:.2g} to {sizes[-1]:.2g}, gradient {back[0]:.2g} to {back[-1]:.2g}")
axes[0].set(title="root mean square of a layer's output", xlabel="layer")
axes[1].set(title="root mean square of the gradient by its input", xlabel="layer")
axes[2].set(title=f"log10 of outputs of layer {depth}")
for ax in axes:
    ax.legend()
fig.tight_layout()
fig.savefig("initialisation.png", dpi=110)
