"""The optimiser race: trajectories in a curved valley, with the library's own optimisers.

Rosenbrock's valley (1 - a)^2 + 10 (b - a^2)^2 is steep across and nearly flat along. Plain descent bounces or
crawls; momentum adds up what is steady; Adagrad, RMSprop and Adam divide by how large each gradient has been.

Run: python examples/lessons/valley.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf


class Point(hf.Module):
    """Two numbers, whatever comes in."""

    def forward(self, x):
        return x * 0.0 + self.param("at", (2,), lambda shape, fan_in, fan_out, draw: np.array([-1.2, 1.0]))


def height(point, target):
    a, b = point[:, 0], point[:, 1]
    return (1.0 - a) ** 2 + 10.0 * (b - a * a) ** 2


racers = {
    "SGD": hf.SGD(0.006),
    "momentum": hf.SGD(0.003, momentum=0.9),
    "Nesterov": hf.SGD(0.003, momentum=0.9, nesterov=True),
    "Adagrad": hf.Adagrad(0.3),
    "RMSprop": hf.RMSprop(0.01),
    "Adam": hf.Adam(0.05),
    "Lion": hf.Lion(0.02),
}
zeros = np.zeros((1, 2))
fig, (left, right) = plt.subplots(1, 2, figsize=(13, 5))
a, b = np.meshgrid(np.linspace(-1.6, 1.6, 200), np.linspace(-0.6, 1.7, 200))
left.contour(
    a, b, (1 - a) ** 2 + 10 * (b - a * a) ** 2, levels=np.geomspace(0.05, 60, 22), cmap="Greys_r", linewidths=0.6
)
for name, optimizer in racers.items():
    model = Point().astype("float64").build((2,))
    trainer, path, losses = hf.Trainer(model, height, optimizer), [], []
    for _ in range(300):
        path.append(model.parameters()["at"].copy())
        losses.append(trainer.step(zeros, zeros))
    print(f"{name:9} loss after 300 steps {losses[-1]:.2e}")
    left.plot(*np.array(path).T, lw=1.2, label=name), right.semilogy(losses, lw=1.2, label=name)
left.plot(1, 1, "k*", ms=14)
left.set(title="300 steps from (-1.2, 1)", xlim=(-1.6, 1.6), ylim=(-0.6, 1.7), xlabel="a", ylabel="b")
right.set(title="height", xlabel="step", ylim=(1e-6, 20)), right.legend()
fig.tight_layout()
fig.savefig("valley.png", dpi=110)
