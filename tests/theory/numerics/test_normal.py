"""The normal density, and quotients by a deviation that may be 0."""

import math

import jax
import mpmath
import numpy as np
import pytest

from closedform.theory.numerics import normal
from zoo.calls import Call


def test_standardize_has_no_floor():
    """Homogeneous at every scale, in both precisions, with its slopes; 0 for 0/0."""
    for dtype, scales in ((np.float64, (1e-300, 1e-12, 1, 1e300)), (np.float32, (1e-36, 1e-12, 1, 1e36))):
        for scale in map(dtype, scales):
            value, slopes = jax.value_and_grad(normal.standardize, argnums=(0, 1))(dtype(0.75) * scale, dtype(0.5) * scale)
            np.testing.assert_allclose([value, slopes[0] * scale, slopes[1] * scale], [1.5, 2, -3], rtol=1e-6)
    np.testing.assert_array_equal(normal.standardize([0, 1, -1, 3, 1], [0, 0, 0, 1e-3, math.inf]), [0, 40, -40, 40, 0])


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 3e-6), (np.float64, 3e-15)])
def test_pdf_difference_keeps_its_digits(dtype, rtol):
    """Near 0, in the tails, at equal and at opposite points; in relation to the rounding of x^2/2 in the exponent."""
    x = np.array([1e-9, 1e-9, 0.5, 6.0, 12.0, 3.0, -3.0, 0.0, 2.0], dtype)
    y = np.array([3e-9, 2.0, -0.4, 6.5, -11.0, 3.0, 3.0, 0.0, 40.0], dtype)
    with mpmath.workdps(50):
        exact = [float(mpmath.npdf(float(a)) - mpmath.npdf(float(b))) for a, b in zip(x, y, strict=True)]
    scale = 1 + np.minimum(np.abs(x), np.abs(y)) ** 2
    errors = np.abs(np.subtract(jax.jit(normal.pdf_difference)(x, y), exact))
    np.testing.assert_array_less(errors, rtol * scale * np.abs(exact) + 1e-300)
    slopes = jax.vmap(jax.grad(normal.pdf_difference, argnums=(0, 1)))(x, y)
    phi = np.exp(-(np.stack([x, y]).astype(float) ** 2) / 2) / math.sqrt(2 * math.pi)
    np.testing.assert_allclose(slopes, np.stack([-x, y]) * phi, rtol=1e-4, atol=1e-30)


def test_tails_keep_their_digits():
    """phi/Phi, its excess over |x| and ln Phi on both sides of where their forms change, against mpmath."""
    x = np.array([-1e4, -300.0, -40.0, -12.0, -8.01, -7.99, -6.0, -2.0, 0.0, 1e-3, 3.0, 8.0, 20.0])
    with mpmath.workdps(120):
        ratio = [mpmath.npdf(t) / mpmath.ncdf(t) for t in map(float, x)]
        excess = [float(r + t) for r, t in zip(ratio, map(float, x), strict=True)]
        log = [float(mpmath.log(mpmath.ncdf(t))) for t in map(float, x)]
    np.testing.assert_allclose(jax.jit(normal.inverse_mills)(x), np.array(ratio, float), rtol=2e-14)
    np.testing.assert_allclose(jax.jit(normal.inverse_mills_excess)(x), excess, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(normal.log_cdf)(x), log, rtol=1e-13)


CALLS = [
    Call(normal.normal_pdf, {"x": np.array([0.3, -2.0])}, edges={"x": (0.0, math.inf, -60.0)}),
    Call(normal.standardize, {"value": np.array([0.3, -2.0]), "std": np.array([1.2, 0.5])}, scaling={"value": 1, "std": 1}),
]
