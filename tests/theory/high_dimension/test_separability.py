"""Capacities and largest margins: published and computed values, scipy's integrals and minima, Cover's count."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize, special, stats

from closedform.theory.high_dimension import convex_learning, losses, separability
from closedform.theory.high_dimension.label_channels import LOGIT, Labels
from zoo.calls import Call
from zoo.checks import rejected

TEACHER = Labels(2.0, 0.5, 0.1)
EDGES = [{"teacher.flips": 0.5}, {"teacher.flips": 0.0, "teacher.noise_std": 0.0}, {"teacher.norm_squared": 1e-6}]
CALLS = [
    Call(separability.random_capacity, {"margin": np.array([-0.7, 1.2])}, edges={"margin": [0.0, -8.0, 20.0]}),
    Call(
        lambda margin, teacher: separability.capacity(margin, teacher),
        {"margin": 0.3, "teacher": TEACHER},
        of=separability.capacity,
        cases=[*EDGES, {"margin": 0.0}, {"margin": 30.0}],
        differentiable=False,  # by test_derivatives
        rounding=16.0,  # a sum over twelve nodes a panel
    ),
    Call(
        lambda ratio, teacher: separability.hard_margin(ratio, teacher),
        {"ratio": 0.8, "teacher": TEACHER},
        of=separability.hard_margin,
        cases=[*EDGES, {"ratio": 1e-3}, {"ratio": 3.0}, {"ratio": 5.0}],  # the last two beyond the threshold
        differentiable=False,  # by test_derivatives
        rounding=64.0,  # Newton's method to rounding of a residual
    ),
    Call(separability.cover_probability, {"num_samples": 9, "dim": 4}),
]

# norm, width, flips
THRESHOLDS = {
    (1.0, 1.0, 0.0): 2.695347695,
    (1.0, 0.5, 0.0): 4.137443488,
    (1.0, 0.0, 0.1): 2.992286007,
    (1.0, 0.0, 0.3): 2.145722453,
    (1.0, 0.0, 0.5): 2.0,
    (4.0, 1.0, 0.0): 4.137443488,  # of width over norm alone
    (9.0, 0.0, 0.1): 2.992286007,
}


@functools.cache
def capacities():
    return jax.jit(jax.vmap(lambda margin, norm, width, flips: separability.capacity(margin, Labels(norm, width, flips))))


@functools.cache
def planes():
    return jax.jit(jax.vmap(lambda ratio, norm, width, flips: separability.hard_margin(ratio, Labels(norm, width, flips))))


def assert_thresholds(capacity_fn):
    teachers = np.array(list(THRESHOLDS)).T
    np.testing.assert_allclose(capacity_fn(np.zeros(7), *teachers), list(THRESHOLDS.values()), rtol=1e-9)


def test_thresholds():
    assert_thresholds(capacities())
    rejected(assert_thresholds, lambda k, r, t, f: capacities()(k, r, t, 0 * f))  # flips forgotten
    rejected(assert_thresholds, lambda k, r, t, f: capacities()(k, r**0.5, t, f))
    rejected(assert_thresholds, lambda k, r, t, f: capacities()(k, r, t**2, f))
    nowhere = capacities()(np.zeros(7), np.ones(7), np.zeros(7), np.zeros(7))  # a sign teacher's labels always are
    np.testing.assert_array_equal(nowhere, np.inf)


@pytest.mark.slow
def test_thresholds_of_logistic_labels():
    run = jax.jit(jax.vmap(lambda norm: separability.capacity(0.0, Labels(norm), LOGIT)))
    np.testing.assert_allclose(run(np.array([1.0, 5.0, 25.0])), [2.278220545, 3.071360504, 5.403890621], rtol=2e-9)
    margins = jax.jit(jax.vmap(lambda ratio: separability.hard_margin(ratio, Labels(5.0), LOGIT).margin))
    back = jax.jit(jax.vmap(lambda margin: separability.capacity(margin, Labels(5.0), LOGIT)))
    np.testing.assert_allclose(back(margins(np.array([0.5, 1.0, 3.0]))), [0.5, 1.0, 3.0], rtol=1e-8)


@functools.cache
def by_scipy(margin, norm, width, flips):
    """1/min_t E (kappa sqrt(1 + rho t^2) - t y u - xi)_+^2 over xi in closed form, over y and u by quadrature."""

    def mean(t):
        def integrand(u):
            reach = [margin * np.sqrt(1 + norm * t**2) - sign * t * u for sign in (1, -1)]
            each = [(1 + c**2) * special.ndtr(c) + c * np.exp(-(c**2) / 2) / np.sqrt(2 * np.pi) for c in reach]
            positive = flips + (1 - 2 * flips) * special.ndtr(u / width)
            return np.exp(-(u**2) / (2 * norm)) / np.sqrt(2 * np.pi * norm) * (positive * each[0] + (1 - positive) * each[1])

        return integrate.quad(integrand, -9 * norm**0.5, 9 * norm**0.5, epsabs=1e-12, limit=200)[0]

    return 1 / optimize.minimize_scalar(mean, (0, 1)).fun


def assert_capacity(capacity_fn):
    for arguments in ((0.0, 2.0, 0.5, 0.1), (2.0, 0.5, 0.7, 0.2)):
        np.testing.assert_allclose(capacity_fn(*arguments), by_scipy(*arguments), rtol=1e-8)


def test_capacity_is_a_minimum():
    def one(margin, norm, width, flips):
        return float(capacities()(*(np.full(7, part) for part in (margin, norm, width, flips)))[0])

    assert_capacity(one)
    rejected(assert_capacity, lambda k, r, t, f: one(-k, r, t, f) if k else 1.0)
    rejected(assert_capacity, lambda k, r, t, f: one(k / r**0.5, r, t, f))  # a margin in units of the teacher
    rejected(assert_capacity, lambda k, r, t, f: float(separability.random_capacity(k)))


def assert_gardner(capacity_fn):
    facts = [13.273199837, 2, 0.961205053, 0.519572230, 0.200231016]
    np.testing.assert_allclose(capacity_fn(np.array([-1.0, 0.0, 0.5, 1.0, 2.0])), facts, rtol=4e-9)


def test_gardner():
    capacity = jax.jit(separability.random_capacity)
    assert_gardner(capacity)
    rejected(assert_gardner, lambda k: 1 / ((1 + k**2) * stats.norm.cdf(k)))
    rejected(assert_gardner, lambda k: capacity(2 * k))
    for margin in (-6.0, -1e-8, 4.0):
        moment = integrate.quad(lambda x, k=margin: stats.norm.pdf(x) * (k - x) ** 2, -12, margin, epsabs=0)[0]
        np.testing.assert_allclose(capacity(margin), 1 / moment, rtol=1e-10)
    random = capacities()(np.array([0, 0.5, 1, 2, 3, 1, 1.0]), *(np.full(7, one) for one in (3.0, 0.2, 0.5)))
    np.testing.assert_allclose(random, capacity([0, 0.5, 1, 2, 3, 1, 1]), rtol=1e-10)


RATIOS = np.array([1.0, 3.0, 10.0, 100.0, 0.5, 1.0, 1.5])
FLIPS = np.array([0.0] * 4 + [0.5] * 3)


def assert_planes(found):
    """Sign teacher, then random labels."""
    for field, values in {
        "overlap": [0.853547497, 2.835422508],
        "norm": [1.616395021, 9.903478006],
        "margin": [0.786549842, 0.317765050],
        "error": [0.265711470, 0.142835640, 0.0491833963, 0.00500399196],
        "label_error": [0.265711470, 0.142835640, 0.0491833963, 0.00500399196],
        "support": [0.623722697, 0.298929729],
    }.items():
        np.testing.assert_allclose(getattr(found, field)[: len(values)], values, rtol=3e-9)
    np.testing.assert_allclose(found.margin[4:], [1.034314061, 0.470655353, 0.186108151], rtol=3e-9)
    # in closed form: of a sign teacher by the bivariate normal law, of random labels Phi(kappa)
    cosine = found.overlap / np.sqrt(found.norm)
    for kappa, c, support in list(zip(found.margin, cosine, found.support, strict=True))[:3]:
        both = 2 * stats.multivariate_normal.cdf([kappa, 0], cov=[[1, -c], [-c, 1]], abseps=1e-12, releps=1e-12)
        np.testing.assert_allclose(support, both, rtol=1e-8)
    np.testing.assert_allclose(found.support[4:], stats.norm.cdf(found.margin[4:]), rtol=1e-10)
    np.testing.assert_allclose(found.error, np.arccos(cosine) / np.pi, rtol=1e-9)


def test_planes_of_largest_margin():
    found = jax.tree.map(np.asarray, planes()(RATIOS, np.ones(7), np.zeros(7), FLIPS))
    assert_planes(found)
    for wrong in (
        found._replace(norm=found.norm**0.5),
        found._replace(margin=found.margin**2),
        found._replace(overlap=found.overlap / found.norm**0.5),
        found._replace(support=2 * found.support),
    ):
        rejected(assert_planes, wrong)
    # units: the angle and the margin know tau/sqrt(rho) alone, the overlap has the unit of the teacher
    plain, large = (
        planes()(np.full(7, 1.2), np.full(7, rho), np.full(7, tau), np.full(7, 0.1)) for rho, tau in ((1, 0.5), (9, 1.5))
    )
    np.testing.assert_allclose(large.overlap, 3 * plain.overlap, rtol=1e-9)
    np.testing.assert_allclose(large.margin, plain.margin, rtol=1e-9)
    back = capacities()(np.asarray(plain.margin), np.ones(7), np.full(7, 0.5), np.full(7, 0.1))
    np.testing.assert_allclose(back, 1.2, rtol=1e-9)


def test_beyond_the_threshold_there_is_none():
    ratios = 2.992286007 * np.array([0.5, 0.9, 0.999, 1.001, 2, 10, 1e4])
    found = planes()(ratios, np.ones(7), np.zeros(7), np.full(7, 0.1))
    assert np.all(np.diff(found.margin[:4]) < 0)
    np.testing.assert_array_equal(found.margin[3:], 0)
    np.testing.assert_array_equal(found.norm[3:], np.inf)
    assert np.all(np.isfinite(found.norm[:3]))


@pytest.mark.slow
def test_a_small_ridge_gives_the_largest_margin():
    soft = jax.jit(lambda: convex_learning.solve(2.0, 0.01, losses.HINGE, Labels()))()
    hard = separability.hard_margin(2.0, Labels())
    np.testing.assert_allclose([soft.overlap, soft.norm, soft.error], [hard.overlap, hard.norm, hard.error], rtol=1e-9)
    np.testing.assert_allclose(soft.overlap, 1.825337884, rtol=1e-9)


@pytest.mark.slow
def test_derivatives():
    """Of margin and share of support vectors in ratio, norm, width and flips, by differences."""
    point = np.array([0.8, 2.0, 0.5, 0.1])

    def values(x):
        found = planes()(*(np.full(7, one) for one in x))
        return np.array([found.margin[0], found.support[0]])

    def both(x):
        found = separability.hard_margin(x[0], Labels(x[1], x[2], x[3]))
        return jnp.stack([found.margin, found.support])

    slopes = np.asarray(jax.jit(jax.jacfwd(both))(point)).T
    differences = [(values(point + h) - values(point - h)) / 2e-5 for h in 1e-5 * np.eye(4)]
    np.testing.assert_allclose(slopes, differences, rtol=1e-6)
    rejected(np.testing.assert_allclose, slopes[::-1], differences, 1e-6)


def assert_cover(probability_fn):
    for samples, value in ((85, 0.94943183), (95, 0.69685203), (100, 0.5), (105, 0.31207176), (115, 0.07988075)):
        np.testing.assert_allclose(probability_fn(samples, 50), value, atol=5e-9)
    for samples, dim in ((1, 1), (7, 3), (3000, 1500)):
        np.testing.assert_allclose(probability_fn(samples, dim), stats.binom.cdf(dim - 1, samples - 1, 0.5), rtol=1e-10)


def test_cover():
    cover = separability.cover_probability
    assert_cover(cover)
    rejected(assert_cover, lambda n, d: stats.binom.cdf(d, n - 1, 0.5))
    rejected(assert_cover, lambda n, d: stats.binom.cdf(d - 1, n, 0.5))
    # four points of the plane in general position: of 16 labelings 8 are separable
    assert float(cover(4, 2)) == 0.5


def test_refusals():
    for message, call in {
        "ratio must be above 0 and finite, got 0.0": lambda: separability.hard_margin(0.0, TEACHER),
        "margin must be at least 0 and finite, got -1.0": lambda: separability.capacity(-1.0, TEACHER),
        "teacher.flips must be at least 0 and at most 0.5, got 0.6": lambda: separability.hard_margin(
            1.0, Labels(1.0, 0.0, 0.6)
        ),
        "dim must be at least 1, got 0": lambda: separability.cover_probability(3, 0),
    }.items():
        with pytest.raises(ValueError, match=f"^{message}$"):
            call()
