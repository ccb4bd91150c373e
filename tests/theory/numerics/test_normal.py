"""The normal density, and quotients by a deviation that may be 0."""

import math

import jax
import numpy as np

from closedform.theory.numerics import normal
from zoo.calls import Call


def test_standardize_has_no_floor():
    """Homogeneous at every scale, in both precisions, with its slopes; 0 for 0/0."""
    for dtype, scales in ((np.float64, (1e-300, 1e-12, 1, 1e300)), (np.float32, (1e-36, 1e-12, 1, 1e36))):
        for scale in map(dtype, scales):
            value, slopes = jax.value_and_grad(normal.standardize, argnums=(0, 1))(dtype(0.75) * scale, dtype(0.5) * scale)
            np.testing.assert_allclose([value, slopes[0] * scale, slopes[1] * scale], [1.5, 2, -3], rtol=1e-6)
    np.testing.assert_array_equal(normal.standardize([0, 1, -1, 3, 1], [0, 0, 0, 1e-3, math.inf]), [0, 40, -40, 40, 0])


CALLS = [
    Call(normal.normal_pdf, {"x": np.array([0.3, -2.0])}, edges={"x": (0.0, math.inf, -60.0)}),
    Call(normal.standardize, {"value": np.array([0.3, -2.0]), "std": np.array([1.2, 0.5])}, scaling={"value": 1, "std": 1}),
]
