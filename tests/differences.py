"""Derivatives by central differences, of fourth order."""

import numpy as np

RTOL = 5e-6  # of the largest entry: what fourth-order differences with steps of 1e-3 of numbers around 1 can tell


def differences(f, x, h=1e-3):
    """The gradient of the scalar f at x: (f(x - 2h) - 8 f(x - h) + 8 f(x + h) - f(x + 2h)) / 12h for each element."""
    g = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        values = []
        for step in (-2, -1, 1, 2):
            moved = x.copy()
            moved[at] += step * h
            values.append(f(moved))
        g[at] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
    return g


def close(got, want):
    assert got.shape == want.shape and got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=RTOL, atol=RTOL * max(1e-3, np.abs(want).max(initial=0)))
