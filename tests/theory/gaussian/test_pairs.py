"""The bivariate normal distribution function against scipy's, adaptive integrals, mpmath and closed forms."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import special, stats

from closedform.theory.gaussian import pairs
from zoo.calls import Call
from zoo.checks import rejected
from zoo.gaussian_pairs import AT_ENDS, ENDS, NEAR_ONE, assert_slopes, inner_points, pdf, slow_cdf

bivariate_normal_cdf = jax.jit(pairs.bivariate_normal_cdf)
cdf_slopes = jax.jit(jax.vmap(jax.grad(pairs.bivariate_normal_cdf, argnums=(0, 1, 2))))


def thresholds():
    """Points of every sign and size, on and near the lines h = +-k and the axes."""
    rng = np.random.default_rng(0)
    points = []
    for rho in (0, 0.1, -0.4, 0.7, -0.9, 1, -1, *NEAR_ONE, *(-value for value in NEAR_ONE)):
        q, sign = math.sqrt((1 - rho) * (1 + rho)), math.copysign(1, rho)
        h = rng.normal(size=4) * 1.5
        points += [(h[0], 1.5 * rng.normal(), rho), (h[1], sign * h[1] + q * rng.normal(), rho), (h[2], sign * h[2], rho)]
        points += [(0.0, h[3], rho), (h[3], 0.0, rho), (1e-9, h[2], rho), (0.0, 0.0, rho), (-3.0, 4.0, rho), (6.0, 5.0, rho)]
    return np.array(points)


def assert_cdf(function):
    points = thresholds()
    np.testing.assert_allclose(function(*points.T), [slow_cdf(*point) for point in points], rtol=0, atol=3e-15)


def test_bivariate_normal_cdf():
    assert_cdf(bivariate_normal_cdf)
    zero = np.linspace(-1, 1, 41)
    np.testing.assert_allclose(bivariate_normal_cdf(0.0, 0.0, zero), 0.25 + np.arcsin(zero) / (2 * np.pi), atol=3e-16)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda h, k, rho: bivariate_normal_cdf(h, k, np.clip(rho, -1 + 1e-9, 1 - 1e-9)),  # the usual guard
        lambda h, k, rho: bivariate_normal_cdf(h, k, -rho),
        lambda h, k, rho: bivariate_normal_cdf(-h, -k, rho),  # the upper orthant
        lambda h, k, rho: special.ndtr(h) * special.ndtr(k),
    ],
)
def test_wrong_bivariate_normal_cdfs_are_rejected(wrong):
    rejected(assert_cdf, wrong)


def test_bivariate_normal_cdf_of_scipy_and_mpmath():
    rng = np.random.default_rng(1)
    for rho in (-0.95, -0.3, 0.6, 0.99):
        h, k = rng.normal(size=2)
        scipys = stats.multivariate_normal.cdf([h, k], cov=[[1, rho], [rho, 1]])
        np.testing.assert_allclose(bivariate_normal_cdf(h, k, rho), scipys, atol=1e-14)
    with mpmath.workdps(25):
        for h, k, rho in ((0.3, -0.5, 0.6), (-1.0, -1.2, 0.999), (0.7, -0.7 + 1e-5, -1 + 1e-9), (1.5, 1.5, 1 - 1e-12)):
            h_, k_, top = mpmath.mpf(h), mpmath.mpf(k), mpmath.asin(mpmath.mpf(rho))
            # Plackett: d Phi_2/d rho is the density; in t = arcsin rho, integrated in u = log of the angle left to +-pi/2
            end = mpmath.sign(top) * mpmath.pi / 2

            def density(u, h=h_, k=k_, end=end):
                t = end - mpmath.sign(end) * mpmath.exp(u)
                quadratic = (h**2 + k**2 - 2 * h * k * mpmath.sin(t)) / (2 * mpmath.cos(t) ** 2)
                return mpmath.sign(end) * mpmath.exp(u - quadratic) / (2 * mpmath.pi)

            low, high = mpmath.log(abs(end - top)), mpmath.log(mpmath.pi / 2)
            exact = mpmath.ncdf(h_) * mpmath.ncdf(k_) + mpmath.quad(density, mpmath.linspace(low, high, 9))
            np.testing.assert_allclose(bivariate_normal_cdf(h, k, rho), float(exact), rtol=0, atol=1e-15)


def test_bivariate_normal_cdf_at_infinity_and_beyond_one():
    inf, h = math.inf, 0.4
    np.testing.assert_allclose(bivariate_normal_cdf(inf, h, np.array([-1, -0.3, 0.5, 1])), special.ndtr(h), atol=1e-16)
    assert float(bivariate_normal_cdf(-inf, h, 0.3)) == 0
    assert float(bivariate_normal_cdf(h, h, 1 + 1e-15)) == float(bivariate_normal_cdf(h, h, 1.0))
    single = bivariate_normal_cdf(np.float32(0.3), np.float32(-0.4), np.linspace(-1, 1, 9, dtype=np.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, [slow_cdf(0.3, -0.4, rho) for rho in np.linspace(-1, 1, 9)], atol=2e-7)


def test_bivariate_normal_cdf_slopes():
    points = inner_points(np.random.default_rng(2), *[lambda rng: rng.normal(size=20)] * 2)
    assert_slopes(cdf_slopes, bivariate_normal_cdf, points)
    rejected(assert_slopes, lambda h, k, rho: cdf_slopes(h, k, -rho), bivariate_normal_cdf, points)
    # at the ends: of Phi(min(h, k)) and (Phi(h) - Phi(-k))_+, and 0 in rho
    ends = np.array([(0.3, 0.8, 1.0), (0.8, 0.3, 1.0), (0.3, 0.8, -1.0), (-0.8, 0.3, -1.0), (0.3, 0.3, 1.0)])
    by_h, by_k, by_rho = cdf_slopes(*ends.T)
    half = pdf(0.3) / 2
    np.testing.assert_allclose(by_h, [pdf(0.3), 0, pdf(0.3), 0, half], atol=1e-15)
    np.testing.assert_allclose(by_k, [0, pdf(0.3), pdf(0.8), 0, half], atol=1e-15)
    np.testing.assert_array_equal(by_rho, 0)


@pytest.mark.slow
def test_dtype_follows_the_input_and_numbers_broadcast():
    result = jax.eval_shape(pairs.bivariate_normal_cdf, *map(jnp.asarray, (0, np.float32(0.5), np.full(3, 0.2, np.float32))))
    assert (result.dtype, result.shape) == (jnp.float32, (3,))
    outer = bivariate_normal_cdf(np.zeros((4, 1)), np.zeros((1, 5)), 0.5)
    np.testing.assert_allclose(outer, np.full((4, 5), 1 / 3), rtol=1e-15)


def test_a_correlation_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"^correlation must be at least"):
        pairs.bivariate_normal_cdf(0, 0, -1.5)


def drawn_thresholds(rng):
    """Not far in the tail of both, where errors are as small as elsewhere, but not as small as the value."""
    return {"h": rng.uniform(-3, 6, 2), "k": rng.uniform(-3, 6, 2), "correlation": rng.uniform(-0.6, 0.99, 2)}


CALLS = [
    Call(
        pairs.bivariate_normal_cdf,
        {"h": np.array([0.3, -1.2]), "k": np.array([-0.5, 0.4]), "correlation": np.array([0.6, -0.3])},
        edges={"h": (0.0, -math.inf, math.inf, 50.0), "k": (0.0, math.inf, -50.0), "correlation": ENDS},
        kinks=AT_ENDS,
        draw=drawn_thresholds,
    ),
]
