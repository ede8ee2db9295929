"""RMSprop's step on a slope that is flat, then steep, then flat: by its alpha, with Adagrad beside it.

Both divide the gradient by the root of what its square has been. Adagrad remembers everything: after the steep part
its steps are small for ever. RMSprop forgets at the rate alpha, and takes full steps again. At the start its
average is 0, so that the first step is lr / sqrt(1 - alpha): ten times lr at alpha 0.99.

Run: python examples/lessons/rmsprop.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf


class Slope(hf.Module):
    def forward(self, x):
        return x * self.param("p", (1,), "zeros")


slope = np.where((np.arange(300) >= 100) & (np.arange(300) < 150), 10.0, 1.0)  # the gradient at each step
fig, (top, bottom) = plt.subplots(2, 1, figsize=(10, 6.5), sharex=True)
racers = {f"RMSprop, alpha {a}": hf.RMSprop(0.01, alpha=a) for a in (0.5, 0.9, 0.99)} | {"Adagrad": hf.Adagrad(0.01)}
for name, optimizer in racers.items():
    model = Slope().astype("float64").build((1,))
    trainer = hf.Trainer(model, lambda prediction, target: prediction, optimizer)
    at = [0.0]
    for g in slope:
        trainer.step(np.array([[g]]), np.zeros((1, 1)))
        at.append(float(model.parameters()["p"][0]))
    steps = -np.diff(at)
    print(f"{name:19} first step {steps[0]:.4f}, last before the slope {steps[99]:.4f}, at the end {steps[-1]:.4f}")
    bottom.semilogy(steps, label=name)
top.plot(slope, "k")
top.set(title="gradient", ylim=(0, 11))
bottom.set(title="step taken, lr 0.01", xlabel="step", ylim=(5e-5, 0.2))
bottom.legend()
fig.tight_layout()
fig.savefig("rmsprop.png", dpi=110)
