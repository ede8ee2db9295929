"""A module of your own: residual blocks with shared structure, regression. Run: python examples/residual.py"""

import numpy as np

import hawfinch as hf


class Block(hf.Module):
    def __init__(self, n):
        self.norm, self.a, self.b = hf.LayerNorm(), hf.Linear(n), hf.Linear(n)

    def forward(self, x):
        return x + self.b(hf.ops.gelu(self.a(self.norm(x))))


class Net(hf.Module):
    def __init__(self, n, depth):
        self.inner = hf.Linear(n)
        self.blocks = [Block(n) for _ in range(depth)]
        self.outer = hf.Linear(1)

    def forward(self, x):
        h = self.inner(x)
        for block in self.blocks:
            h = block(h)
        return self.outer(h)


rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, (4000, 3)).astype(np.float32)
y = (np.sin(3 * x[:, :1]) * x[:, 1:2] + x[:, 2:] ** 2).astype(np.float32)
trainer = hf.Trainer(Net(32, 3), loss="mse", optimizer=hf.AdamW(lr=3e-3, clip_norm=1.0), metrics=["mae"])
for epochs, lr in ((20, 3e-3), (20, 3e-4)):
    trainer.set(lr=lr)
    trainer.fit(x[:3500], y[:3500], epochs=epochs, batch_size=64, validation_data=(x[3500:], y[3500:]))
print(trainer.history)
