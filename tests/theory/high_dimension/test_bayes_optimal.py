"""Overlaps against quadrature and root finding by scipy in the formula's own variables, the published limits, and mutations."""

import jax
import numpy as np
import pytest
from scipy import integrate, optimize, special

from closedform.theory.high_dimension import bayes_optimal
from zoo.calls import Call
from zoo.checks import rejected

overlaps = jax.jit(bayes_optimal.overlap)


def conjugate(q, ratio, rho, variance, labels=2, power=1):
    """hat q by adaptive quadrature over the field omega ~ N(0, q)."""
    s = np.sqrt(variance + rho - q)

    def integrand(x):
        t = np.sqrt(q) * x / s
        log = -(t**2) - np.log(2 * np.pi) - power * special.log_ndtr(t) - x**2 / 2
        return np.exp(log) / np.sqrt(2 * np.pi)

    edge = min(8 * s / np.sqrt(q), 12) if q else 12
    parts = [integrate.quad(integrand, a, b, epsabs=0, epsrel=1e-11)[0] for a, b in ((-edge, 0), (0, edge))]
    return labels * ratio / s**2 * sum(parts)


def by_scipy(ratio, rho, variance, **mutation):
    def excess(q):
        known = rho * conjugate(q, ratio, rho, variance, **mutation)
        return rho * known / (1 + known) - q

    return optimize.brentq(excess, 0, rho * (1 - 1e-9), xtol=1e-13)


POINTS = np.array([(1.0, 1.0, 0.0), (0.1, 2.0, 0.5), (6.0, 0.5, 0.3), (3.0, 4.0, 2.0), (1e-4, 1.0, 0.0)])


def assert_solves(overlap_fn):
    found = overlap_fn(POINTS[:, 0], POINTS[:, 1], np.sqrt(POINTS[:, 2]))
    np.testing.assert_allclose(found, [by_scipy(*point) for point in POINTS], rtol=1e-8)


def test_overlap_solves_the_equation():
    assert_solves(overlaps)
    for mutation in ({"labels": 1}, {"power": 2}):  # one of the two labels; phi^2/Phi^2

        def wrong(*points, mutation=mutation):
            return [by_scipy(a, rho, tau**2, **mutation) for a, rho, tau in zip(*points, strict=True)]

        rejected(assert_solves, wrong)
    rejected(assert_solves, lambda ratio, rho, tau: overlaps(ratio, np.ones(5), tau))  # the norm missing
    rejected(assert_solves, lambda ratio, rho, tau: overlaps(ratio, rho, np.zeros(5)))  # the noise missing


def assert_reference_overlaps(overlap_fn):
    points = [(1, 1, 0), (5, 1, 0), (3, 1, 0.5), (3, 4, 1), (2, 2, 0)]
    expected = [0.486263637, 0.932064246, 0.715664163, 2.862656652, 1.456596348]
    np.testing.assert_allclose(overlap_fn(*np.array(points, float).T), expected, rtol=0, atol=5e-10)


def test_reference_numbers():
    """Overlaps and errors at several ratios, norms and noises; ratio times error at 100 samples a dimension."""
    assert_reference_overlaps(overlaps)
    rejected(assert_reference_overlaps, lambda ratio, rho, tau: overlaps(ratio, rho, tau**2))
    q = np.asarray(overlaps(np.array([1.0, 2, 3, 5, 100]), np.ones(5), np.zeros(5)))
    errors = np.asarray(bayes_optimal.error(q, 1.0, 0.0))
    np.testing.assert_allclose(errors[:4], [0.254372970, 0.174534186, 0.129854826, 0.083935170], rtol=0, atol=5e-10)
    gibbs = float(bayes_optimal.gibbs_error(q[4], 1.0, 0.0))
    np.testing.assert_allclose([100 * errors[4], 100 * gibbs], [0.441638615, 0.624561300], rtol=0, atol=2e-8)
    noisy = bayes_optimal.error(bayes_optimal.overlap(3.0, 1.0, 0.5), 1.0, 0.5)
    np.testing.assert_allclose(noisy, 0.226830812, rtol=0, atol=5e-10)


STEPS = [0, 5, 1, 2, 3, 4, 1000]
evolution = jax.jit(lambda *numbers: bayes_optimal.state_evolution(STEPS, *numbers))


def assert_iterates(evolution_fn):
    """Three iterations by quadrature, at a norm and a noise that are not 0 or 1, published ones, and the end."""
    q, ratio, rho, variance = 0.0, 3.0, 2.0, 0.5
    found = evolution_fn(ratio, rho, variance**0.5)
    assert found[0] == 0
    for step in range(1, 4):
        known = rho * conjugate(q, ratio, rho, variance)
        q = rho * known / (1 + known)
        np.testing.assert_allclose(found[STEPS.index(step)], q, rtol=1e-9)
    published = [0, 0.72542043, 0.56009915, 0.67368065, 0.70846544, 0.72080053, 0.728298174]
    np.testing.assert_allclose(evolution_fn(2.0, 1.0, 0.0), published, rtol=0, atol=5e-9)


def test_state_evolution():
    assert_iterates(evolution)
    rejected(assert_iterates, lambda *numbers: np.roll(evolution(*numbers), -1))
    rejected(assert_iterates, lambda ratio, rho, tau: rho * evolution(ratio, 1.0, tau))
    rejected(assert_iterates, lambda ratio, rho, tau: evolution(ratio / 2, rho, tau))


def assert_errors_of_draws(error_fn, gibbs_fn):
    """Votes of the posterior mean and of a member on fresh labels, whose fields are jointly normal: within four errors."""
    rng, (q, rho, tau), n = np.random.default_rng(0), (1.1, 2.0, 0.7), 400_000
    mean, own, other = rng.standard_normal((3, n)) * np.sqrt([[q], [rho - q], [rho - q]])
    label = np.sign(mean + own + tau * rng.standard_normal(n))
    for votes, expected in ((mean, error_fn(q, rho, tau)), (mean + other, gibbs_fn(q, rho, tau))):
        share = np.mean(np.sign(votes) != label)
        assert abs(share - expected) < 4 * np.sqrt(share * (1 - share) / n)


def test_errors():
    error, gibbs = bayes_optimal.error, bayes_optimal.gibbs_error
    assert_errors_of_draws(error, gibbs)
    rejected(assert_errors_of_draws, gibbs, gibbs)
    rejected(assert_errors_of_draws, error, error)
    rejected(assert_errors_of_draws, lambda q, rho, tau: error(q, rho, 0.0), gibbs)
    rejected(assert_errors_of_draws, error, lambda q, rho, tau: gibbs(q, 1.0, tau) if q < 1 else gibbs(q / rho, 1.0, tau))
    assert float(error(2.0, 2.0, 0.0)) == float(gibbs(2.0, 2.0, 0.0)) == 0
    for one in (error, gibbs):
        with pytest.raises(ValueError, match=r"^overlap must be at most norm_squared, got 1\.5 with norm_squared 1\.0$"):
            one([0.5, 1.5], 1.0, 0.0)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything


def below_the_norm(rng):
    rho = 10 ** rng.uniform(-1, 1)
    return {"overlap": rho * rng.uniform(0, 1), "norm_squared": rho, "noise_std": rng.uniform(0, 2)}


UNITS = {"norm_squared": 1, "noise_std": 0.5}
CALLS = [
    Call(
        bayes_optimal.state_evolution,
        {"steps": [0, 3, 1], "ratio": 1.7, "norm_squared": 1.3, "noise_std": 0.4},
        scaling=UNITS,
        degree=1,
    ),
    Call(
        bayes_optimal.overlap,
        {"ratio": np.array([0.7, 2.5]), "norm_squared": 1.3, "noise_std": 0.4},
        scaling=UNITS,
        degree=1,
    ),
    *(
        Call(
            function,
            {"overlap": 0.6, "norm_squared": 1.3, "noise_std": 0.4},
            # at overlap 0 the Bayes error has an infinite slope, at the norm without noise both have
            edges={"overlap": [0.0, 1.3], "norm_squared": [0.6, 50.0], "noise_std": [0.0, 1e-9, 30.0]},
            cases=[{"overlap": 1.3, "noise_std": 0.0}],
            scaling={"overlap": 1, **UNITS},
            draw=below_the_norm,
        )
        for function in (bayes_optimal.error, bayes_optimal.gibbs_error)
    ),
]
