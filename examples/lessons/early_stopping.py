"""Early stopping: training loss falls for ever, validation loss does not; keep the best weights.

A net with far more parameters than rows learns the noise in the end. How well it does on data it has not seen is
asked after every epoch, and what was best is what is kept.

Run: python examples/lessons/early_stopping.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

rng = np.random.default_rng(1)
x = rng.uniform(-3, 3, (130, 1)).astype(np.float32)
y = (np.sin(2 * x) + 0.5 * rng.normal(size=x.shape)).astype(np.float32)
train, held_out = (x[:30], y[:30]), (x[30:], y[30:])
line = np.linspace(-3, 3, 300, dtype=np.float32)[:, None]


def net():
    return hf.Sequential(hf.Linear(200), hf.Tanh(), hf.Linear(200), hf.Tanh(), hf.Linear(1))


trainer = hf.Trainer(net(), "mse", hf.Adam(2e-3), seed=0)
history = trainer.fit(*train, epochs=1500, batch_size=30, validation_data=held_out)
to_the_end = trainer.model.predict(line)

stopped = hf.Trainer(net(), "mse", hf.Adam(2e-3), seed=0)
stopping = hf.EarlyStopping("val_loss", patience=300)
short = stopped.fit(*train, epochs=1500, batch_size=30, validation_data=held_out, callbacks=[stopping])
best = int(np.argmin(short["val_loss"]))
print(f"to the end:     training loss {history['loss'][-1]:.3f}, validation loss {history['val_loss'][-1]:.3f}")
kept = stopped.evaluate(*held_out)["loss"]
print(f"early stopping: {len(short)} epochs, best in epoch {best}, validation loss of the net that is kept {kept:.3f}")

fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4.4))
left.semilogy(history["loss"], label="training loss"), left.semilogy(history["val_loss"], label="validation loss")
(
    left.axvline(best, color="k", ls=":", label="best epoch"),
    left.axvline(len(short), color="grey", ls="--", label="stopped"),
)
left.set(xlabel="epoch"), left.legend()
right.plot(x, y, ".", color="grey"), right.plot(line, np.sin(2 * line), "k:", label="truth")
right.plot(line, to_the_end, label="trained to the end"), right.plot(line, stopped.model.predict(line), label="stopped")
right.set(ylim=(-2.5, 2.5)), right.legend()
fig.tight_layout()
fig.savefig("early_stopping.png", dpi=110)
