"""The law against the equations of a general variance profile, sampled matrices, and the uniform disc."""

import functools

import jax
import numpy as np
from scipy.special import gammainc

from closedform.theory.random_matrices import circular_law
from zoo.calls import Call
from zoo.checks import rejected

radial_cdf = jax.jit(circular_law.radial_cdf)
VARIANCES = np.array([0.1, 0.5, 1.0, 2.5])


def general_profile(radius, profile):
    """F(r) by the fixed point of Cook, Hachem, Najim and Renfrew for any profile V/n, damped, and scaled to equal sums."""
    v = profile / len(profile)
    q, other = np.ones(len(v)), np.ones(len(v))
    for _ in range(4000):
        below = radius**2 + (v @ other) * (v.T @ q)
        q, other = (q + v.T @ q / below) / 2, (other + v @ other / below) / 2
        q, other = q * np.sqrt(other.sum() / q.sum()), other * np.sqrt(q.sum() / other.sum())
    return 1 - q @ v @ other / len(v)


def assert_radial(cdf_fn):
    for radius in (0.2, 0.5, 0.9):
        expected = general_profile(radius, np.repeat(VARIANCES[:, None], len(VARIANCES), axis=1))
        np.testing.assert_allclose(cdf_fn(radius, VARIANCES), expected, rtol=1e-9)


def test_radial_cdf():
    assert_radial(radial_cdf)
    rejected(assert_radial, lambda r, v: radial_cdf(r, v**2))
    rejected(assert_radial, lambda r, v: radial_cdf(r, v**0.5))
    rejected(assert_radial, lambda r, v: r**2 / np.mean(v))  # the uniform disc with the same radius
    rejected(assert_radial, lambda r, v: radial_cdf(r**2, v))


def test_limits_of_the_radial_law():
    r = np.array([0.0, 0.3, 1.9, 2.0, np.inf])
    np.testing.assert_allclose(radial_cdf(r, np.array([4.0, 4.0])), [0, 0.0225, 0.9025, 1, 1], rtol=1e-14)
    np.testing.assert_array_equal(radial_cdf(r, np.zeros(3)), 1)
    # eigenvalues of D X and X D are equal: a profile of the columns
    transposed = np.repeat(VARIANCES[None], len(VARIANCES), axis=0)
    np.testing.assert_allclose(radial_cdf(0.5, VARIANCES), general_profile(0.5, transposed), rtol=1e-9)
    # rows of zeros are eigenvalues 0; weights are shares
    shares = np.array([0.25, 0.75])
    assert float(circular_law.radial_cdf(0.0, [0.0, 1.0], shares)) == 0.25
    repeated = np.array([0.5, 2.0, 2.0, 2.0])
    np.testing.assert_allclose(circular_law.radial_cdf(0.6, [0.5, 2.0], shares), radial_cdf(0.6, repeated), rtol=1e-13)
    # at the edge 1 - F = (rho^2 - r^2) rho^2/mean(v^2): the density is uniform, that of size/spread eigenvalues
    edge, kappa = np.mean(VARIANCES), np.mean(VARIANCES**2) / np.mean(VARIANCES) ** 2
    near = 1 - radial_cdf(np.sqrt(edge * (1 - 1e-5)), VARIANCES)
    np.testing.assert_allclose(near, 1e-5 / kappa, rtol=1e-4)


@functools.cache
def moduli(size, repeats, profile=None):
    """Sorted moduli of eigenvalues of Gaussian matrices whose entries have the variances profile/size."""
    rng = np.random.default_rng(size)
    scale = 1.0 if profile is None else np.sqrt(np.asarray(profile))
    draws = [np.linalg.eigvals(scale * rng.normal(size=(size, size)) / np.sqrt(size)) for _ in range(repeats)]
    return np.sort(np.abs(draws), axis=1)


def test_a_sampled_matrix():
    """Means of |lambda|^2 and |lambda|^4 fluctuate by O(1/n), as sums of smooth functions of eigenvalues do."""
    size = 120
    rows = np.repeat(VARIANCES, size // len(VARIANCES))
    values = moduli(size, 3, tuple(map(tuple, np.repeat(rows[:, None], size, axis=1))))
    nodes, weights = np.polynomial.legendre.leggauss(60)
    edge = np.sqrt(np.mean(VARIANCES))
    r, weights = edge * (nodes + 1) / 2, edge * weights / 2
    beyond = 1 - np.asarray(radial_cdf(r, VARIANCES))
    for power in (2, 4):
        np.testing.assert_allclose(np.mean(values**power), weights @ (power * r ** (power - 1) * beyond), atol=3 / size)
    uniform = weights @ (4 * r**3 * (1 - r**2 / edge**2))
    assert abs(np.mean(values**4) - uniform) > 6 / size  # a uniform disc with the same edge is told apart
    np.testing.assert_allclose(circular_law.row_radius(VARIANCES), np.sqrt(np.mean(VARIANCES)), rtol=1e-14)


def assert_radius(radius_fn):
    profile = np.random.default_rng(0).uniform(size=(12, 12)) ** 4
    np.testing.assert_allclose(radius_fn(profile), np.sqrt(np.max(np.abs(np.linalg.eigvals(profile / 12)))), rtol=1e-12)
    rows = np.repeat(VARIANCES[:, None], len(VARIANCES), axis=1)
    np.testing.assert_allclose(radius_fn(rows), circular_law.row_radius(VARIANCES), rtol=1e-12)


def test_radius_of_a_profile():
    assert_radius(circular_law.spectral_radius)
    rejected(assert_radius, lambda v: np.sqrt(np.mean(v)))  # right for rows, not in general
    rejected(assert_radius, lambda v: circular_law.spectral_radius(v) ** 2)


def test_largest_modulus_of_sampled_matrices():
    """Within four standard errors, and the 1 % that the real eigenvalues of small matrices are good for."""

    def assert_largest(modulus_fn):
        largest = moduli(40, 200)[:, -1]
        error = np.std(largest) / np.sqrt(len(largest))
        assert abs(np.mean(largest) - float(modulus_fn(40))) < 4 * error + 0.01

    assert_largest(circular_law.largest_modulus)
    rejected(assert_largest, lambda size: 1.0)
    rejected(assert_largest, lambda size: 1.0 + 3 * (circular_law.largest_modulus(size) - 1))


def assert_product(modulus_fn):
    """The same product by scipy, all its factors, on a fine grid."""
    r = np.linspace(0, 2, 4001)
    for found, spread in zip(modulus_fn(40, np.array([1.0, 2.0])), (1.0, 2.0), strict=True):
        number = 40 / spread
        factors = [gammainc(number - j, number * r**2) for j in range(int(number))]
        below = np.exp(np.sum(np.log(np.maximum(factors, 1e-300)), axis=0) / 2)
        np.testing.assert_allclose(found, np.trapezoid(1 - below, r), rtol=1e-7)


def test_largest_modulus_is_its_product():
    assert_product(circular_law.largest_modulus)
    rejected(assert_product, lambda size, spread: circular_law.largest_modulus(size, np.ones(2)))


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

RADII = np.array([0.3, 0.8])
CALLS = [
    Call(circular_law.spectral_radius, {"profile": np.array([[0.5, 1.0], [2.0, 0.1]])}, scaling={"profile": 1}, degree=0.5),
    Call(circular_law.row_radius, {"variances": VARIANCES}, scaling={"variances": 1}, degree=0.5),
    Call(circular_law.row_radius, {"variances": VARIANCES, "weights": np.array([0.1, 0.2, 0.3, 0.4])}, label="weighted"),
    Call(
        circular_law.radial_cdf,
        {"radius": RADII, "variances": VARIANCES, "weights": np.array([0.1, 0.2, 0.3, 0.4])},
        scaling={"radius": 0.5, "variances": 1},
    ),
    Call(
        circular_law.largest_modulus,
        {"size": 40, "spread": np.array([1.3, 2.1])},
        kinks=["spread[0]=1.0000000021", "spread=1.0000000021"],  # size/spread is next to a whole number
        rounding=4,  # 1 - P is a sum, of which P is what is left of 1
    ),
]
