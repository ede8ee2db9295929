"""First and second derivatives of every op against central differences of its NumPy reference."""

import math

import numpy as np
import pytest
from cases import CASES, IDS, cast, outputs
from differences import close, differences

import hawfinch as hf

O = hf.ops
rng = np.random.default_rng(11)


def away_from(kinks, x):
    for k in kinks:
        x = np.where(np.abs(x - k) < 0.05, k + 0.07, x)
    return x


def small(case):
    """Variants of at most 140 input numbers, with at least one of each set of attributes."""
    chosen = [(s, a) for s, a in case.variants if sum(math.prod(x) for x in s) <= 140]
    assert {str(a) for _, a in case.variants} == {str(a) for _, a in chosen}, case.name
    return chosen


def at_smooth_points(case, shapes):
    inputs = case.inputs(shapes, seed=1)
    return [away_from(case.kinks, x) if i in case.grad else x for i, x in enumerate(inputs)]


DIFFERENTIABLE = [(c, i) for c, i in zip(CASES, IDS, strict=True) if c.grad]


@pytest.mark.parametrize("case", [c for c, _ in DIFFERENTIABLE], ids=[i for _, i in DIFFERENTIABLE])
def test_gradient(case):
    """d sum(op(x) * projection) for a random projection, by each input."""
    checked = 0
    for shapes, attrs in small(case):
        inputs = at_smooth_points(case, shapes)
        projection = rng.normal(size=np.shape(outputs(case.ref(*inputs, **attrs))[0]))
        wrt = [i for i in case.grad if i < len(shapes)]

        def loss(*xs, case=case, attrs=attrs, projection=projection):
            return O.sum(outputs(case.call(*xs, **attrs))[0] * projection)

        def reference(x, i, case=case, attrs=attrs, projection=projection, inputs=inputs):
            return np.sum(outputs(case.ref(*inputs[:i], x, *inputs[i + 1 :], **attrs))[0] * projection)

        value, grads = hf.value_and_grad(loss, wrt)(*cast(inputs, "float64"))
        np.testing.assert_allclose(value, reference(inputs[0], 0), rtol=1e-11, atol=1e-11)
        for i, g in zip(wrt, grads, strict=True):
            close(g, differences(lambda x, i=i: reference(x, i), inputs[i]))
            checked += g.size
    assert checked >= 5


def few(case):
    return [(s, a) for s, a in small(case) if sum(math.prod(x) for x in s) <= 30][:12]


@pytest.mark.parametrize("case", [c for c, _ in DIFFERENTIABLE], ids=[i for _, i in DIFFERENTIABLE])
def test_second_derivative(case):
    """The Hessian times a vector, as ``hvp`` and as a gradient of a gradient, against differences along that vector of
    the gradient that test_gradient checks."""
    for shapes, attrs in few(case):
        inputs = cast(at_smooth_points(case, shapes), "float64")
        wrt = [i for i in case.grad if i < len(shapes)]
        projection = rng.normal(size=np.shape(outputs(case.ref(*inputs, **attrs))[0]))
        directions = [rng.normal(size=inputs[i].shape) for i in wrt]

        def scalar(*xs, case=case, attrs=attrs, projection=projection, inputs=inputs, wrt=wrt):
            all_inputs = list(inputs)
            for i, x in zip(wrt, xs, strict=True):
                all_inputs[i] = x
            y = outputs(case.call(*all_inputs, **attrs))[0]
            return O.sum(O.square(y) * projection)  # square: also where the op is linear

        numbers = tuple(range(len(wrt)))
        first = hf.grad(scalar, numbers)

        def slope(*xs, first=first, directions=directions):
            total = 0.0
            for g, d in zip(first(*xs), directions, strict=True):
                total = total + O.sum(g * d)
            return total

        def moved(by, first=first, wrt=wrt, inputs=inputs, directions=directions):
            return first(*[inputs[i] + by * d for i, d in zip(wrt, directions, strict=True)])

        points = tuple(inputs[i] for i in wrt)
        product = hf.hvp(scalar, points, directions)
        second = hf.grad(slope, numbers)(*points)
        steps = [moved(s * 1e-3) for s in (-2, -1, 1, 2)]
        for i, (g, p) in enumerate(zip(second, product if len(wrt) > 1 else (product,), strict=True)):
            a, b, c, d = (step[i] for step in steps)
            want = (a - 8 * b + 8 * c - d) / 12e-3
            close(g, want)
            close(np.asarray(p), want)


@pytest.mark.parametrize("case", [c for c, _ in DIFFERENTIABLE], ids=[i for _, i in DIFFERENTIABLE])
def test_jvp(case):
    """All results and their derivatives along a vector, against differences of the NumPy reference."""
    for shapes, attrs in few(case):
        inputs = cast(at_smooth_points(case, shapes), "float64")
        wrt = [i for i in case.grad if i < len(shapes)]
        directions = [rng.normal(size=inputs[i].shape) for i in wrt]

        def fill(xs, inputs=inputs, wrt=wrt):
            all_inputs = list(inputs)
            for i, x in zip(wrt, xs, strict=True):
                all_inputs[i] = x
            return all_inputs

        points = [inputs[i] for i in wrt]
        value, slope = hf.jvp(lambda *xs, c=case, a=attrs, f=fill: c.call(*f(xs), **a), points, directions)
        steps = [
            outputs(case.ref(*fill([x + s * 1e-3 * d for x, d in zip(points, directions, strict=True)]), **attrs))
            for s in (-2, -1, 1, 2)
        ]
        for want, y, got, a, b, c, d in zip(
            outputs(case.ref(*inputs, **attrs)), outputs(value), outputs(slope), *steps, strict=True
        ):
            np.testing.assert_allclose(y, want, rtol=1e-11, atol=1e-11)
            close(np.asarray(got), np.asarray((a - 8 * b + 8 * c - d) / 12e-3))


def test_the_differences_notice_a_wrong_gradient():
    x = rng.normal(size=5)
    close(np.cos(x), differences(lambda v: np.sin(v).sum(), x))
    with pytest.raises(AssertionError):
        close(np.cos(x) * (1 + 2e-5), differences(lambda v: np.sin(v).sum(), x))
