"""Two interleaved half circles: the smallest whole program. Run: python examples/moons.py"""

import numpy as np

import hawfinch as hf

rng = np.random.default_rng(0)
angle = rng.uniform(0, np.pi, 2000)
y = rng.integers(0, 2, 2000)
x = np.stack([np.cos(angle) * (1 - 2 * y) + y, np.sin(angle) * (1 - 2 * y) + 0.5 * y], axis=1)
x = (x + rng.normal(0, 0.1, x.shape)).astype(np.float32)

model = hf.Sequential(hf.Linear(32), hf.ReLU(), hf.Linear(32), hf.ReLU(), hf.Linear(2))
trainer = hf.Trainer(model, loss=hf.SoftmaxCrossEntropy(), optimizer=hf.Adam(lr=5e-3), metrics=["accuracy"], seed=0)
history = trainer.fit(x[:1500], y[:1500], epochs=30, batch_size=64, validation_data=(x[1500:], y[1500:]))
print(history)
print(model.summary())
