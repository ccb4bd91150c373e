"""Bounds against norms of random steps, best steps against a minimiser, and iterations of ReLU networks."""

import numpy as np
import scipy.optimize

from closedform.theory.equilibria import monotone_operators
from zoo.calls import Call
from zoo.checks import rejected


def drawn_weights(seed, size=8, m=0.5):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, size, size)) / np.sqrt(size)
    return (1 - m) * np.eye(size) - a.T @ a + b - b.T


def test_monotonicity_and_lipschitz_constant():
    for seed in range(5):
        weights = drawn_weights(seed)
        rest = np.eye(8) - weights
        m, L = float(monotone_operators.monotonicity(weights)), float(monotone_operators.lipschitz(weights))
        assert m > 0.5 - 1e-12
        x = np.random.default_rng(1).normal(size=(8, 2000))
        assert np.all(np.sum(x * (rest @ x), axis=0) >= m * np.sum(x**2, axis=0))
        assert np.all(np.linalg.norm(rest @ x, axis=0) <= L * np.linalg.norm(x, axis=0))
        worst = np.linalg.eigh((rest + rest.T) / 2)[1][:, 0]
        np.testing.assert_allclose(worst @ rest @ worst, m, rtol=1e-10)
        np.testing.assert_allclose(np.linalg.svd(rest)[1][0], L, rtol=1e-12)


def assert_bounds(forward_fn, reflected_fn):
    """No step of a random operator shrinks less; some operator, a scaled rotation at m and L, shrinks as little."""
    for seed in range(5):
        rest = np.eye(8) - drawn_weights(seed)
        m, L = np.linalg.eigvalsh((rest + rest.T) / 2)[0], np.linalg.norm(rest, 2)
        for step in (0.3 * m / L**2, m / L**2, 1 / L):
            forward, backward = np.eye(8) - step * rest, np.linalg.inv(np.eye(8) + step * rest)
            assert np.linalg.norm(forward, 2) <= float(forward_fn(step, m, L)) + 1e-12
            assert np.linalg.norm(forward @ backward, 2) <= float(reflected_fn(step, m, L)) + 1e-12
    m, L, step = 0.5, 4.0, 0.2
    rotation = np.array([[m, -np.sqrt(L**2 - m**2)], [np.sqrt(L**2 - m**2), m]])
    forward, backward = np.eye(2) - step * rotation, np.linalg.inv(np.eye(2) + step * rotation)
    np.testing.assert_allclose(np.linalg.norm(forward, 2), forward_fn(step, m, L), rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(forward @ backward, 2), reflected_fn(step, m, L), rtol=1e-12)


def test_contractions():
    forward, reflected = monotone_operators.forward_backward_contraction, monotone_operators.peaceman_rachford_contraction
    assert_bounds(forward, reflected)
    rejected(assert_bounds, lambda a, m, L: forward(a, m, L) ** 2, reflected)
    rejected(assert_bounds, lambda a, m, L: forward(a, L, L), reflected)
    rejected(assert_bounds, forward, lambda a, m, L: reflected(a, m, L) ** 2)
    rejected(assert_bounds, forward, forward)


def test_best_and_largest_steps():
    m, L = 0.5, 4.01
    best = scipy.optimize.minimize_scalar(
        lambda a: float(monotone_operators.forward_backward_contraction(a, m, L)), bounds=(0, 0.1), options={"xatol": 1e-9}
    )
    np.testing.assert_allclose(monotone_operators.best_step(m, L), best.x, rtol=1e-5)
    np.testing.assert_allclose(best.fun, np.sqrt(1 - m**2 / L**2), rtol=1e-12)
    np.testing.assert_allclose(best.fun, 0.9922, atol=5.1e-5)
    end = float(monotone_operators.largest_stable_step(m, L))
    np.testing.assert_allclose(monotone_operators.forward_backward_contraction(end, m, L), 1, rtol=1e-12)
    reflected = scipy.optimize.minimize_scalar(
        lambda a: float(monotone_operators.peaceman_rachford_contraction(a, m, L)), bounds=(0, 1), options={"xatol": 1e-9}
    )
    np.testing.assert_allclose([reflected.x, reflected.fun], [1 / L, np.sqrt((L - m) / (L + m))], rtol=1e-5)


def test_a_relu_network():
    """Picard's iteration diverges or cycles where forward-backward steps contract, none less than the bound."""
    weights, u = drawn_weights(3, size=20), np.cos(np.arange(20))
    rest = np.eye(20) - weights
    m, L = float(monotone_operators.monotonicity(weights)), float(monotone_operators.lipschitz(weights))
    assert np.max(np.abs(np.linalg.eigvals(weights))) > 1
    step = float(monotone_operators.best_step(m, L))
    bound = float(monotone_operators.forward_backward_contraction(step, m, L))
    z, other, ratios = np.zeros(20), np.ones(20), []
    for _ in range(4000):
        before = np.linalg.norm(z - other)
        z, other = (np.maximum(x - step * (rest @ x - u), 0) for x in (z, other))
        if before > 1e-9:
            ratios.append(np.linalg.norm(z - other) / before)
    assert max(ratios) <= bound + 1e-12
    np.testing.assert_allclose(z, np.maximum(weights @ z + u, 0), atol=1e-6)


def test_componentwise_radius():
    weights = drawn_weights(0)
    expected = np.max(np.abs(np.linalg.eigvals(np.abs(weights))))
    np.testing.assert_allclose(monotone_operators.componentwise_radius(weights), expected, rtol=1e-12)
    scaled = 0.9 / expected * weights
    z, other = np.zeros(8), 10 * np.ones(8)
    for _ in range(400):
        z, other = np.abs(scaled @ z - 1), np.abs(scaled @ other - 1)  # |x| is 1-Lipschitz, and no proximal operator
    np.testing.assert_allclose(z, other, atol=1e-12)


def tanh_of(step):
    """The proximal operator of step * g, g that of tanh: x + step (artanh x - x) = v, by bisection."""

    def prox(v):
        low, high = -np.ones_like(v), np.ones_like(v)
        for _ in range(50):  # fewer than the bits of a number, so that the middle is never 1
            middle = (low + high) / 2
            below = middle + step * (np.arctanh(middle) - middle) < v
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (low + high) / 2

    return prox


def test_tanh_is_a_proximal_operator_and_no_projection():
    """tanh(v) minimises (x - v)^2/2 + g(x) with the g of the docstring; for a multiple of g another function does."""
    g = lambda x: x * np.arctanh(x) + np.log1p(-(x**2)) / 2 - x**2 / 2  # noqa: E731
    for v in (-2.0, -0.3, 0.8):
        for step in (1.0, 0.3):
            found = scipy.optimize.minimize_scalar(
                lambda x, v=v, step=step: (x - v) ** 2 / 2 + step * g(x), bounds=(-1 + 1e-12, 1 - 1e-12), method="bounded"
            ).x
            np.testing.assert_allclose(found, tanh_of(step)(np.array(v)), atol=1e-5)
            assert (abs(found - np.tanh(v)) < 1e-5) == (step == 1.0)


def rest(weights, u, prox, step, reflected=False):
    """Where forward-backward or Peaceman and Rachford rest, and the largest factor between the iterates of two starts."""
    rest_of = np.eye(len(u)) - weights
    inverse = np.linalg.inv(np.eye(len(u)) + step * rest_of)

    def advance(z):
        if not reflected:
            return prox(z - step * (rest_of @ z - u))
        back = 2 * prox(z) - z
        return 2 * inverse @ (back + step * u) - back

    pair, factors = (np.zeros(len(u)), 3 * np.cos(np.arange(len(u)))), []
    for _ in range(600):
        before = np.linalg.norm(pair[0] - pair[1])
        pair = advance(pair[0]), advance(pair[1])
        if before > 1e-9:
            factors.append(np.linalg.norm(pair[0] - pair[1]) / before)
    return (prox(pair[0]) if reflected else pair[0]), max(factors)


def test_splittings_find_the_network_by_projections_and_by_the_proximal_operator_of_the_step():
    weights, u = drawn_weights(3, m=1.0), 2 * np.cos(np.arange(8))
    m, L = float(monotone_operators.monotonicity(weights)), float(monotone_operators.lipschitz(weights))
    assert np.linalg.norm(weights, 2) > 1
    steps = {False: m / L**2, True: 1 / L}
    bounds = {
        False: float(monotone_operators.forward_backward_contraction(steps[False], m, L)),
        True: float(monotone_operators.peaceman_rachford_contraction(steps[True], m, L)),
    }
    clip = lambda v: np.clip(v, -0.5, 1.0)  # noqa: E731
    for reflected, step in steps.items():
        for activation, prox, right in ((clip, clip, True), (np.tanh, tanh_of(step), True), (np.tanh, np.tanh, False)):
            z, factor = rest(weights, u, prox, step, reflected)
            assert factor <= bounds[reflected] + 1e-9
            residual = np.abs(activation(weights @ z + u) - z).max()
            assert residual < 1e-6 if right else residual > 1e-2, (reflected, residual)
    # |v| is 1-Lipschitz and not monotone: 2|v| - v is steeper than the bound allows
    v, w = -np.ones(8), -2 * np.ones(8)
    assert np.linalg.norm(2 * np.abs(v) - v - 2 * np.abs(w) + w) > np.linalg.norm(v - w)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything

SMALL = np.array([[0.5, -0.3], [0.8, 0.1]])
PAIR = {"monotonicity": np.array([0.5, 1.0]), "lipschitz": np.array([4.0, 1.5])}


def pairs(rng, **more):
    m = 10 ** rng.uniform(-2, 2, 2)
    return {"monotonicity": m, "lipschitz": m * 10 ** rng.uniform(0.01, 2, 2), **more}


CALLS = [
    Call(monotone_operators.monotonicity, {"weights": SMALL}),
    Call(monotone_operators.lipschitz, {"weights": SMALL}),
    Call(monotone_operators.componentwise_radius, {"weights": SMALL}, scaling={"weights": 1}, degree=1),
    Call(monotone_operators.best_step, PAIR, draw=pairs, scaling={"monotonicity": 1, "lipschitz": 1}, degree=-1),
    Call(monotone_operators.largest_stable_step, PAIR, draw=pairs, scaling={"monotonicity": 1, "lipschitz": 1}, degree=-1),
    *[
        Call(
            function,
            {"step": 0.2, **PAIR},
            draw=lambda rng: pairs(rng, step=10 ** rng.uniform(-2, 2)),
            scaling={"step": -1, "monotonicity": 1, "lipschitz": 1},
        )
        for function in (
            monotone_operators.forward_backward_contraction,
            monotone_operators.peaceman_rachford_contraction,
        )
    ],
]
