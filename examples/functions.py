"""Gradients of plain functions on arrays: logistic regression by hand. Run: python examples/functions.py"""

import numpy as np

import hawfinch as hf


def loss(params, x, y):
    logits = x @ params["w"] + params["b"]
    return hf.ops.mean(hf.ops.softplus(logits) - logits * y)


loss_and_grad = hf.value_and_grad(loss)
rng = np.random.default_rng(0)
x = rng.normal(size=(500, 4))
y = (x @ np.array([1.0, -2.0, 0.5, 0.0]) > 0).astype(float)
params = {"w": np.zeros(4), "b": np.zeros(())}
for _ in range(200):
    value, grad = loss_and_grad(params, x, y)
    params = {name: p - 0.5 * grad[name] for name, p in params.items()}
print(f"loss {value:.4f}, weights {params['w'].round(2)}")
print(loss_and_grad.plan(params, x, y).describe())
