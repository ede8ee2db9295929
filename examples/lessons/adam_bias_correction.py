"""Adam's bias correction: why the first steps are divided by 1 - beta^t.

Both averages start at 0. After t steps they hold only the share 1 - beta^t of what they are to show; with beta2
0.999 the mean square is far too small for a thousand steps, and uncorrected steps are up to 6.6 times too large.
Corrected, a constant gradient gives steps of exactly lr sign(g), whatever its size.

Run: python examples/lessons/adam_bias_correction.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

t = np.arange(1, 2001)
beta1, beta2 = 0.9, 0.999
m, v = 1 - beta1**t, 1 - beta2**t  # of a gradient that is always 1
uncorrected, corrected = m / np.sqrt(v), (m / (1 - beta1**t)) / np.sqrt(v / (1 - beta2**t))


class Slope(hf.Module):
    def forward(self, x):
        return x * self.param("p", (1,), "zeros")


model = Slope().astype("float64").build((1,))
trainer = hf.Trainer(model, lambda prediction, target: prediction, hf.Adam(1e-3, eps=0.0))
at = [0.0]
for _ in t:
    trainer.step(np.array([[37.0]]), np.zeros((1, 1)))
    at.append(float(model.parameters()["p"][0]))
steps = -np.diff(at) / 1e-3
print(f"hf.Adam on a gradient of 37: steps of lr times {steps.min():.6f} to {steps.max():.6f}")
print(f"without correction: {uncorrected[0]:.2f} at first, at most {uncorrected.max():.2f}, 1 only in the end")

fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4.2))
left.semilogx(t, m, label="average of g, beta1 0.9"), left.semilogx(t, v, label="average of g², beta2 0.999")
left.axhline(1, color="k", lw=0.8)
left.set(title="what the averages show of a gradient that is always 1", xlabel="step")
right.semilogx(t, uncorrected, label="uncorrected"), right.semilogx(t, corrected, label="corrected")
right.semilogx(t, steps, "k:", label="hf.Adam")
right.set(title="step / lr", xlabel="step", ylim=(0, None))
left.legend(), right.legend()
fig.tight_layout()
fig.savefig("adam_bias_correction.png", dpi=110)
