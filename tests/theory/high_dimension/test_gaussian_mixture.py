"""Clusters: computed facts, the envelope theorem, an iteration in numpy with one mistake on request, thresholds."""

import functools

import jax
import numpy as np
import pytest
from scipy import integrate, optimize, stats

from closedform.theory.high_dimension import gaussian_mixture, losses
from zoo.calls import Call
from zoo.checks import rejected

CALLS = [
    Call(
        lambda ratio, ridge, noise_variance, positive_share: gaussian_mixture.solve(
            ratio, ridge, losses.SQUARE, noise_variance, positive_share, intercept=True
        ),
        {"ratio": 2.0, "ridge": 0.3, "noise_variance": 0.7, "positive_share": 0.3},
        of=gaussian_mixture.solve,
        cases=[{"ridge": 1e6}, {"ridge": 0.0, "ratio": 9.0}, {"positive_share": 0.5}, {"noise_variance": 30.0}],
        differentiable=False,  # by the envelope theorem below
        rounding=64.0,  # Newton's method to rounding of a residual
        draw=lambda rng: {"positive_share": rng.uniform(0.05, 0.95)},
    ),
    Call(gaussian_mixture.bayes_error, {"ratio": np.array([0.5, 2.0]), "noise_variance": 0.7}),
    Call(gaussian_mixture.separable_ratio, {"noise_variance": np.array([0.5, 2.0])}, edges={"noise_variance": [0.1, 1e4]}),
]

# ratio, ridge, noise variance, then what is known of m, q, V, error
LOGISTIC = [
    (2.0, 0.1, 1.0, 1.375596026, 3.535356761, 4.069768635, 0.232206069),
    (1.0, 0.01, 0.5, 2.460781434, None, None, 0.153297146),
    (2.0, 1e5, 1.0, None, None, None, 0.2071080891),
]
HINGE = [
    (2.0, 0.5, 1.0, 0.720906994, 1.026742520, 0.791757263, 0.238400641),
    (2.0, 0.5, 0.5, 0.869175935, 1.143231744, 0.987583971, 0.125149531),
]
SQUARE = [(2.0, 0.1, 1.0, None, None, None, 0.266876039), (2.0, 1e5, 1.0, None, None, None, 0.2071080891)]
UNBALANCED = [
    # the first m, q, V: of this solver, where the intercept and the error are known
    (2.0, 1.0, 1.0, None, None, None, 0.192782912, -1.300478985),
    (2.0, 1.0, 0.5, 0.437333777, 0.268130643, 0.877724972, 0.196867674, -1.225527856),
]
FIELDS = ("overlap", "norm", "response", "error", "intercept")


@functools.cache
def solver(name, unbalanced=False):
    loss = getattr(losses, name)
    if unbalanced:
        return jax.jit(jax.vmap(lambda x: gaussian_mixture.solve(x[0], x[1], loss, x[2], 0.2, intercept=True)))
    return jax.jit(jax.vmap(lambda x: gaussian_mixture.solve(x[0], x[1], loss, x[2])))


def assert_facts(solution, rows):
    for place, field in enumerate(FIELDS):
        for value, row in zip(getattr(solution, field), rows, strict=True):
            if len(row) > 3 + place and row[3 + place] is not None:
                np.testing.assert_allclose(value, row[3 + place], rtol=2e-9, atol=6e-10, err_msg=field)


def test_unbalanced_clusters_with_an_intercept():
    run = solver("LOGISTIC", True)
    points = np.array([row[:3] for row in UNBALANCED])
    assert_facts(run(points), UNBALANCED)
    for wrong in (points * [1, 1, 0.9], points * [1, 0.5, 1], points * [0.5, 1, 1]):
        rejected(assert_facts, run(wrong), UNBALANCED)


def test_hinge():
    run = solver("HINGE")
    points = np.array([row[:3] for row in HINGE])
    assert_facts(run(points), HINGE)
    rejected(assert_facts, run(points * [1, 0.5, 1]), HINGE)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rows"), [("LOGISTIC", LOGISTIC), ("SQUARE", SQUARE)], ids=["logistic", "square"])
def test_other_losses(name, rows):
    assert_facts(solver(name)(np.array([row[:3] for row in rows])), rows)


def oracle(ratio, ridge, variance, share, mistake=None):
    """The hinge's m, q, V, b by plain iteration on a grid; the mistakes that only a variance other than 1 shows."""
    xi = np.linspace(-8, 8, 4001)
    weight = stats.norm.pdf(xi)
    weight /= weight.sum()
    m, q, V, b = 0.5, 1.0, 1.0, 0.0

    def slopes(m, q, V, b):
        width = V if mistake == "prox" else variance * V
        return [np.clip((1 - (m + label * b + np.sqrt(variance * q) * xi)) / width, 0, 1) for label in (1, -1)]

    def unequal(b, m, q, V):
        positive, negative = (weight @ f for f in slopes(m, q, V, b))
        return share * positive - (1 - share) * negative

    def average(f, part):
        return share * (weight @ part(f[0])) + (1 - share) * (weight @ part(f[1]))

    for _ in range(400):
        if share != 0.5:
            b = optimize.brentq(unequal, -9, 9, args=(m, q, V))
        f = slopes(m, q, V, b)
        mean, square, along = average(f, lambda f: f), average(f, np.square), average(f, lambda f: xi * f)
        norm_hat = ratio * square * (1 if mistake == "norm_hat" else variance)
        new = 1 / (ridge - ratio * variance * along / np.sqrt(variance * q))
        V = (V + new) / 2
        m, q = (m + ratio * mean * new) / 2, (q + ((ratio * mean) ** 2 + norm_hat) * new**2) / 2
    return m, q, V


def assert_oracle(order):
    np.testing.assert_allclose(order, [0.869175935, 1.143231744, 0.987583971], rtol=2e-4)


def test_mistakes_that_unit_variance_hides():
    assert_oracle(oracle(2.0, 0.5, 0.5, 0.5))
    for mistake in ("prox", "norm_hat"):
        rejected(assert_oracle, oracle(2.0, 0.5, 0.5, 0.5, mistake))
        np.testing.assert_allclose(oracle(2.0, 0.5, 1.0, 0.5, mistake)[0], 0.720906994, rtol=2e-4)


def assert_envelope(energy_fn):
    """The energy's slope in the ridge is |w|^2/(2d), and in the ratio the mean of the envelope, l(p) + V D f^2/2."""
    found = energy_fn(2.0, 0.5)
    h = 1e-4
    slope = (energy_fn(2.0, 0.5 + h).energy - energy_fn(2.0, 0.5 - h).energy) / (2 * h)
    np.testing.assert_allclose(slope, found.norm / 2, rtol=1e-6)
    norm_hat = (found.norm - found.overlap**2) / found.response**2  # ratio D E f^2
    slope = (energy_fn(2.0 + h, 0.5).energy - energy_fn(2.0 - h, 0.5).energy) / (2 * h)
    np.testing.assert_allclose(slope, found.training_loss + found.response * norm_hat / (2 * 2.0), rtol=1e-6)


def test_envelope_theorem():
    def at(ratio, ridge):
        return jax.tree.map(lambda leaf: float(leaf[0]), solver("HINGE")(np.array([(ratio, ridge, 0.5)] * 2)))

    assert_envelope(at)
    rejected(assert_envelope, lambda ratio, ridge: at(ratio, ridge)._replace(norm=2 * at(ratio, ridge).norm))
    rejected(assert_envelope, lambda ratio, ridge: at(ratio, ridge)._replace(training_loss=0.0))


def assert_thresholds(ratio_fn):
    np.testing.assert_allclose(ratio_fn(np.array([1.0, 0.5])), [3.700033456, 6.662817099], rtol=1e-9)
    for variance in (0.2, 3.0):

        def mean(m, variance=variance):
            width = np.sqrt(variance * (1 + m**2))
            return (
                integrate.quad(lambda x: stats.norm.pdf(x) * (width * x - m) ** 2, m / width, m / width + 12, epsabs=0)[0]
                / variance
            )

        np.testing.assert_allclose(
            ratio_fn(np.array([variance, 1.0]))[0], 1 / optimize.minimize_scalar(mean, (0, 1)).fun, rtol=1e-8
        )


def test_thresholds():
    run = jax.jit(gaussian_mixture.separable_ratio)
    assert_thresholds(run)
    rejected(assert_thresholds, lambda variance: run(variance**2))
    rejected(assert_thresholds, lambda variance: run(variance) / variance)
    # far apart nothing is left of the clusters' distance: random labels
    np.testing.assert_allclose(run(np.array([1e8, 1e9])), 2, rtol=1e-6)


def test_bayes():
    error = gaussian_mixture.bayes_error
    np.testing.assert_allclose(error(2.0, 1.0), 0.207108089, atol=5e-10)
    np.testing.assert_allclose(error([0.0, 1e9], 0.5), [0.5, stats.norm.cdf(-(0.5**-0.5))], rtol=1e-8)
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(300):  # the posterior mean of the centre is along the mean of y x
        centre = rng.standard_normal(400)
        mean = centre / 20 + np.sqrt(0.5 / 800) * rng.standard_normal(400)
        errors.append(stats.norm.cdf(-(centre / 20) @ mean / np.sqrt(0.5 * mean @ mean)))

    def assert_mean(value):
        np.testing.assert_allclose(value, np.mean(errors), atol=5 * np.std(errors) / 300**0.5 + 1e-3)

    assert_mean(error(2.0, 0.5))
    rejected(assert_mean, error(2.0, 0.5**0.5))


def test_refusals():
    for message, call in {
        "noise_variance must be above 0 and finite": lambda: gaussian_mixture.solve(1.0, 1.0, losses.HINGE, 0.0),
        "positive_share must be above 0 and below 1, got 1.0": lambda: gaussian_mixture.solve(1.0, 1.0, losses.HINGE, 1.0, 1.0),
        "loss must be a Loss of a margin": lambda: gaussian_mixture.solve(1.0, 1.0, losses.ABSOLUTE),
    }.items():
        with pytest.raises(ValueError, match=f"^{message}"):
            call()


@pytest.mark.slow
def test_solutions_everywhere():
    """Five decades of the ratio and twelve of the ridge, with an intercept, of clusters near and far; the energy rises."""
    ratio, ridge = (np.ravel(one) for one in np.meshgrid(10.0 ** np.arange(-2, 2.6, 0.5), 10.0 ** np.arange(-8, 5.0)))
    for loss in (losses.LOGISTIC, losses.HINGE, losses.SQUARED_HINGE):
        run = jax.jit(jax.vmap(lambda *x, loss=loss: gaussian_mixture.solve(*x[:2], loss, *x[2:], True), (0, 0, None, None)))
        for clusters in ((1.0, 0.5), (1.0, 0.2), (0.1, 0.5), (0.1, 0.05)):
            found = run(ratio, ridge, *clusters)
            assert np.all(np.isfinite(found.norm))
            assert np.all(np.diff(np.asarray(found.energy).reshape(13, -1), axis=0) > 0)
