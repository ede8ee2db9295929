"""Five linear models side by side: one set of functions, five ideas of how good one is.

All cut the plane by a line, f(x) = x w + b = 0, and score a row by its margin m = t f(x), t = -1 or 1. Least squares
punishes rows for being right by too much, and is drawn to outliers; the perceptron is content with m > 0; hinge losses
ask for m >= 1 and then do not care; logistic regression never stops caring, ever less.

Run: python examples/lessons/linear_models.py
"""

import matplotlib.pyplot as plt
import numpy as np

import hawfinch as hf

rng = np.random.default_rng(3)
x = np.r_[rng.normal((-1, -0.6), 0.7, (60, 2)), rng.normal((1, 0.6), 0.7, (60, 2)), rng.normal((7, 3), 0.5, (15, 2))]
t = np.r_[-np.ones(60), np.ones(75)]  # the last 15 are far out, on the right side of any good line
fresh = np.r_[rng.normal((-1, -0.6), 0.7, (4000, 2)), rng.normal((1, 0.6), 0.7, (4000, 2))]
truth = np.r_[-np.ones(4000), np.ones(4000)]

m = np.linspace(-2.5, 3, 300)
losses = {
    "least squares": (1 - m) ** 2,
    "logistic": np.log1p(np.exp(-m)) / np.log(2),
    "perceptron": np.maximum(0, -m),
    "hinge": np.maximum(0, 1 - m),
    "squared hinge": np.maximum(0, 1 - m) ** 2,
}
models = {
    "least squares": hf.linear.LinearRegression(),
    "logistic": hf.linear.LogisticRegression(),
    "perceptron": hf.linear.Perceptron(),
    "hinge": hf.linear.LinearSVC(loss="hinge"),
    "squared hinge": hf.linear.LinearSVC(),
}
fig, (left, right) = plt.subplots(1, 2, figsize=(12.5, 5))
left.step(m, m < 0, "k", lw=1, label="wrong or right")
right.scatter(*x.T, c=t, cmap="coolwarm", s=12)
for k, (name, model) in enumerate(models.items()):
    model.fit(x, t)
    w, b = np.ravel(model.coef_), float(np.ravel(model.intercept_)[0])
    wrong = np.mean(np.sign(fresh @ w + b) != truth)
    print(f"{name:14} error on fresh rows without outliers {wrong:.3f}, |w| {np.hypot(*w):.2f}")
    left.plot(m, losses[name], color=f"C{k}", label=name, linestyle="--" if name == "squared hinge" else "-")
    ends = np.array([-4.0, 4.0])
    right.plot(ends, -(w[0] * ends + b) / w[1], color=f"C{k}", label=f"{name}: {wrong:.1%} wrong")
left.set(title="loss over the margin", xlabel="margin t f(x)", ylim=(-0.1, 6)), left.legend()
right.set(title="the lines", xlim=(-3.5, 8.5), ylim=(-3.5, 5)), right.legend()
fig.tight_layout()
fig.savefig("linear_models.png", dpi=110)
