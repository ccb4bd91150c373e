"""Powers and eigenvalues of a matrix against numpy, and at scales at which LAPACK in float32 loses its digits."""

import jax.numpy as jnp
import numpy as np

from closedform.theory.numerics import linear

MATRIX = np.array([[0.5, -0.3, 0.2], [0.8, 0.1, 0.0], [-0.4, 0.6, -1.2]])


def test_powers():
    exponents = np.array([[0, 1, 2], [5, 7, 12]])
    expected = [[np.linalg.matrix_power(MATRIX, k) for k in row] for row in exponents]
    np.testing.assert_allclose(linear.powers(exponents, jnp.asarray(MATRIX)), expected, rtol=1e-12, atol=1e-15)


def test_eigenvalues():
    expected = np.sort_complex(np.linalg.eigvals(MATRIX))
    for dtype, rtol in ((np.float64, 1e-12), (np.float32, 1e-5)):
        for scale in (1e-12, 1.0, 1e12):
            found = linear.eigenvalues(jnp.asarray(scale * MATRIX, dtype))
            assert found.dtype == (np.complex128 if dtype is np.float64 else np.complex64)
            np.testing.assert_allclose(np.sort_complex(np.asarray(found)) / scale, expected, rtol=rtol)
    np.testing.assert_array_equal(linear.eigenvalues(jnp.zeros((2, 2))), 0)
