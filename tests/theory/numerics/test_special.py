"""Special functions against mpmath."""

import jax
import mpmath
import numpy as np

from closedform.theory.numerics import special


def test_exponential_integrals_against_mpmath():
    x = np.concatenate([np.geomspace(1e-12, 1e4, 90), [0.37, 1.4999, 1.5, 1.5001, 39.999, 40, 40.001]])
    with mpmath.workdps(30):
        ei = np.array([float(mpmath.ei(v) * mpmath.exp(-v)) for v in map(mpmath.mpf, x)])
        e1 = np.array([float(mpmath.e1(v) * mpmath.exp(v)) for v in map(mpmath.mpf, x)])
    np.testing.assert_allclose(jax.jit(special.scaled_ei)(x), ei, rtol=2e-14, atol=2e-15)
    np.testing.assert_allclose(jax.jit(special.scaled_e1)(x), e1, rtol=5e-15)
    with jax.enable_x64(False):
        np.testing.assert_allclose(jax.jit(special.scaled_ei)(x.astype("f")), ei, rtol=3e-6, atol=1e-6)
        np.testing.assert_allclose(jax.jit(special.scaled_e1)(x.astype("f")), e1, rtol=5e-6)
