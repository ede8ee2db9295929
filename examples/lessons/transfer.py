"""Transfer: a net that has learnt seven digits learns the other three from few rows.

Take the weights over by name, give the net a new head, and train the head, or all of it, at smaller rates below, or
thawed from the top. Here it gains a point or two where rows are few. The head alone loses: features that were
learnt to tell seven digits apart have thrown away part of what tells the others.

Run: python examples/lessons/transfer.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

images, labels = hf.data.load_digits()
x = images.reshape(len(images), -1).astype(np.float32)
low = labels < 7
x_new, y_new = x[~low], labels[~low] - 7


def classifier(classes):
    return hf.Sequential(hf.Linear(128), hf.BatchNorm(), hf.ReLU(), hf.Linear(64), hf.ReLU(), hf.Linear(classes))


source = classifier(7)
hf.Trainer(source, "softmax_cross_entropy", seed=0).fit(x[low], labels[low], epochs=20)
body = {k: v for k, v in {**source.parameters(), **source.buffers()}.items() if not k.startswith("5")}
print(classifier(3).build((64,)).load_weights(body, strict=False))


def run(kind, rows, seed):
    model, groups, callbacks = classifier(3).build((64,), seed=seed), {}, []
    if kind != "from scratch":
        model.load_weights(body, strict=False)
    if kind == "head alone":
        model.freeze("0.*", "1.*", "3.*")
    if kind == "smaller rates below":
        groups = hf.transfer.discriminative_rates(model)
    if kind == "thawed from the top":
        callbacks = [hf.transfer.GradualUnfreeze(every=5)]
    order = np.random.default_rng(seed).permutation(len(x_new))
    few, rest = order[:rows], order[rows:]
    trainer = hf.Trainer(model, "softmax_cross_entropy", hf.Adam(3e-3), groups=groups, metrics=["accuracy"], seed=seed)
    trainer.fit(x_new[few], y_new[few], epochs=30, batch_size=8, callbacks=callbacks)
    return trainer.evaluate(x_new[rest], y_new[rest])["accuracy"]


counts = (6, 12, 25, 50, 100, 200)
fig, ax = plt.subplots(figsize=(8, 4.8))
for kind in ("from scratch", "head alone", "all of it", "smaller rates below", "thawed from the top"):
    scores = [np.mean([run(kind, rows, seed) for seed in range(5)]) for rows in counts]
    print(f"{kind:20} test accuracy by rows", dict(zip(counts, np.round(scores, 3).tolist(), strict=True)))
    ax.semilogx(counts, scores, "o-", label=kind)
ax.set(xlabel="rows of the new task", ylabel="test accuracy, mean of 5 draws"), ax.legend()
ax.set_xticks(counts, counts)
fig.tight_layout()
fig.savefig("transfer.png", dpi=110)
