"""Shares against enumeration and a convex program, growth rates against a search, times against steps, RSA against draws."""

import itertools

import cvxpy
import numpy as np
import pytest

from closedform.theory.feature_learning import feature_bias
from zoo.calls import Call
from zoo.checks import rejected

CUBE = np.array(list(itertools.product([-1.0, 1.0], repeat=3)))
EASY, HARD = CUBE[:, 0], CUBE[:, 1] * CUBE[:, 2]
SIX = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 1], [0, 1, -1], [0, -1, 1], [0, -1, -1]], float)
SIX /= np.linalg.norm(SIX, axis=1, keepdims=True)


def relu(u):
    return np.maximum(u, 0)


# ---------------------------------------------------------------------------------------------------------------- shares


def enumerated(easy_scale, hard_scale):
    """Shares of x_1, x_2 x_3, x_2 and x_3, variance and path norm of the six balanced units, by regressions over all inputs."""
    strengths = np.array([easy_scale] * 2 + [hard_scale / np.sqrt(2)] * 4)
    h = np.sqrt(strengths)[None] * relu(CUBE @ SIX.T)
    h = h - h.mean(axis=0)
    total = np.mean(h**2, axis=0).sum()
    shares = [np.sum(np.mean(h * f[:, None], axis=0) ** 2) / total for f in (EASY, HARD, CUBE[:, 1], CUBE[:, 2])]
    return *shares, total, strengths.sum()


def assert_enumerated(shares_fn):
    for scales in ((1.0, 1.0), (2.0, 0.5), (0.3, 4.0)):
        easy, hard, second, third, variance, norm = enumerated(*scales)
        assert abs(second - third) < 1e-15
        np.testing.assert_allclose(shares_fn(*scales), [easy, hard, second, variance, norm], rtol=1e-13)


def test_shares_are_those_of_the_six_units():
    assert_enumerated(feature_bias.relu_cube_shares)
    right = feature_bias.relu_cube_shares
    rejected(assert_enumerated, lambda t, s: right(s, t))
    rejected(assert_enumerated, lambda t, s: right(t, s)._replace(hard=3 * right(t, s).hard))  # without the dilution
    rejected(assert_enumerated, lambda t, s: right(t, s * np.sqrt(2)))  # units of the hard feature of strength 1
    rejected(assert_enumerated, lambda t, s: right(t, s)._replace(variance=2 * right(t, s).variance))  # not centred


def test_values_of_equal_targets():
    found = feature_bias.relu_cube_shares(1.0, 1.0)
    np.testing.assert_allclose(found, [0.32037, 0.22654, 0.22654, 1.56066, 4.8284], atol=5e-5)
    np.testing.assert_allclose(found.variance, 0.5 + 3 * np.sqrt(2) / 4, rtol=1e-14)
    np.testing.assert_allclose(1 - found.easy - found.hard, 0.4531, atol=5e-5)


def test_one_feature_alone_and_none():
    np.testing.assert_allclose(feature_bias.relu_cube_shares(2.0, 0.0), [1, 0, 0, 1, 4])
    np.testing.assert_allclose(feature_bias.relu_cube_shares(0.0, 1.0)[:3], [0, 1 / 3, 1 / 3])
    np.testing.assert_array_equal(feature_bias.relu_cube_shares(0.0, 0.0), 0)


def assert_smallest_path_norm(norm_fn):
    """A convex program over the six directions and 60 others, with two outputs a unit."""
    rng = np.random.default_rng(0)
    directions = np.concatenate([SIX, (w := rng.standard_normal((60, 3))) / np.linalg.norm(w, axis=1, keepdims=True)])
    features = relu(CUBE @ directions.T)
    a = cvxpy.Variable((len(directions), 2))
    targets = np.stack([1.5 * EASY, 0.7 * HARD], axis=1)
    program = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum(cvxpy.norm(a, axis=1))), [features @ a == targets])
    program.solve(solver=cvxpy.CLARABEL)
    np.testing.assert_allclose(norm_fn(1.5, 0.7), program.value, rtol=1e-6)
    assert np.abs(a.value[6:]).max() < 1e-5


def test_the_six_units_have_the_smallest_path_norm():
    assert_smallest_path_norm(lambda t, s: feature_bias.relu_cube_shares(t, s).path_norm)
    rejected(assert_smallest_path_norm, lambda t, s: 2 * t + 4 * s)  # four units of strength 1 for the hard feature


def test_the_dual_certificate_is_tight_at_the_six_directions_alone():
    rng = np.random.default_rng(1)
    multiplier = np.stack([2 * EASY, np.sqrt(8) * HARD])

    def height(w):
        w = w / np.linalg.norm(w, axis=1, keepdims=True)
        return np.linalg.norm(multiplier @ relu(CUBE @ w.T) / len(CUBE), axis=0)

    np.testing.assert_allclose(height(SIX), 1, rtol=1e-14)
    drawn = rng.standard_normal((20_000, 3))
    found = height(drawn)
    assert found.max() < 1
    nearest = np.max(drawn @ SIX.T / np.linalg.norm(drawn, axis=1, keepdims=True), axis=1)
    assert (nearest[found > 0.999] > 0.99).all()


# ----------------------------------------------------------------------------------------------------------------- times


def growth(w, degree):
    """|E x_1 .. x_k relu(w . x)| for rows w of unit length, by enumeration."""
    x = np.array(list(itertools.product([-1.0, 1.0], repeat=w.shape[1])))
    return np.abs(np.prod(x[:, :degree], axis=1) @ relu(x @ w.T)) / len(x)


def assert_growth_rates(rate_fn):
    """The largest over directions, with a bit that no feature has: the uniform direction, and a search from 400 others."""
    rng = np.random.default_rng(0)
    for degree in (1, 2, 3, 4, 6):
        x = np.array(list(itertools.product([-1.0, 1.0], repeat=degree + 1)))
        f = np.prod(x[:, :degree], axis=1)
        w = rng.standard_normal((400, degree + 1))
        w[0] = np.arange(degree + 1) < degree
        best = 0.0
        for _ in range(20):  # along the gradient: the function is linear between kinks
            w /= np.maximum(np.linalg.norm(w, axis=1, keepdims=True), 1e-300)
            best = max(best, growth(w, degree).max())
            sign = np.sign(f @ relu(x @ w.T))
            w = w + 4 * sign[:, None] * ((f[:, None] * (x @ w.T > 0)).T @ x) / len(x)
        np.testing.assert_allclose(rate_fn(degree), best, rtol=1e-3, atol=1e-12)


def test_growth_rates():
    """1/2, sqrt 2/4, 0 and 1/8 for the degrees 1 to 4."""
    assert_growth_rates(feature_bias.parity_growth_rate)
    rejected(assert_growth_rates, lambda k: 2 * feature_bias.parity_growth_rate(k))
    rejected(assert_growth_rates, lambda k: feature_bias.parity_growth_rate(k) if k != 3 else 0.1)
    found = [float(feature_bias.parity_growth_rate(k)) for k in (1, 2, 3, 4)]
    np.testing.assert_allclose(found, [1 / 2, np.sqrt(2) / 4, 0, 1 / 8], rtol=1e-15)
    for degree in (2, 8, 10):
        uniform = np.ones((1, degree)) / np.sqrt(degree)
        np.testing.assert_allclose(feature_bias.parity_growth_rate(degree), growth(uniform, degree)[0], rtol=1e-13)
    with pytest.raises(ValueError, match=r"^degree must be at least 1, got 0$"):
        feature_bias.parity_growth_rate(0)


def assert_slope_of_steps(slope_fn):
    """Two norms that drive each other at the rate gamma, by steps: time to a product of 1e-3 from two starts."""
    for gamma, eta in ((0.5, 0.02), (np.sqrt(2) / 4, 0.02), (0.3, 1.0)):
        times = []
        for start in (1e-6, 1e-12):
            w, a, count = start, start, 0
            while w * a < 1e-3:
                before, (w, a), count = w * a, (w + eta * gamma * a, a + eta * gamma * w), count + 1
            times.append(eta * (count - np.log(w * a / 1e-3) / np.log(w * a / before)))
        np.testing.assert_allclose(slope_fn(gamma, eta), (times[1] - times[0]) / np.log(1e6), rtol=1e-10)


def test_a_smaller_start_costs_time():
    assert_slope_of_steps(feature_bias.learning_time_slope)
    rejected(assert_slope_of_steps, lambda gamma, eta: 1 / gamma)  # the flow
    rejected(assert_slope_of_steps, lambda gamma, eta: feature_bias.learning_time_slope(2 * gamma, eta))  # of the product
    np.testing.assert_allclose(feature_bias.learning_time_slope([0.5, 2**0.5 / 4]), [2, 2 * 2**0.5], rtol=1e-15)
    np.testing.assert_allclose(feature_bias.learning_time_slope(0.5, 1e-300), 2, rtol=1e-15)
    assert feature_bias.learning_time_slope(0.0, 0.1) == np.inf


# ------------------------------------------------------------------------------------------------------------------- RSA


def assert_correlation_of_draws(correlation_fn):
    """800 inputs with a sign, a Gaussian and a uniform feature: within 0.04, while the kurtosis counts for 0.12."""
    rng = np.random.default_rng(0)
    f = np.stack([rng.choice([-1.0, 1.0], 800), rng.standard_normal(800), rng.uniform(-(3**0.5), 3**0.5, 800)], axis=1)
    one, other, kurtosis = np.array([0.6, 0.3, 0.1]), np.array([0.0, 0.8, 0.2]), np.array([1, 3, 1.8])
    matrices = [((f[:, None] - f[None]) ** 2 @ shares).ravel() for shares in (one, other)]
    np.testing.assert_allclose(correlation_fn(one, other, kurtosis), np.corrcoef(matrices)[0, 1], atol=0.04)


def test_correlation_of_dissimilarities():
    """Shares of 0.55 and 0.05 look like a model of the first feature alone: 0.9959, and 0.0905 with the other."""
    correlation = feature_bias.dissimilarity_correlation
    for model, expected in (([1, 0], 0.9959), ([0, 1], 0.0905)):
        np.testing.assert_allclose(correlation([0.55, 0.05], model, [1, 1]), expected, atol=5e-5)
    assert_correlation_of_draws(correlation)
    rejected(assert_correlation_of_draws, lambda s, t, kurtosis: correlation(s, t, np.ones(3)))
    rejected(assert_correlation_of_draws, lambda s, t, kurtosis: correlation(np.sqrt(s), np.sqrt(t), kurtosis))
    assert correlation([0.3, 0.4], [0, 0], [1, 1]) == 0
    np.testing.assert_allclose(correlation([0.3, 0.4], [30, 40], [1, 3]), 1, rtol=1e-15)


CALLS = [
    Call(
        feature_bias.relu_cube_shares,
        {"easy_scale": np.array([1.0, 2.0]), "hard_scale": np.array([0.5, 1.0])},
        scaling={"easy_scale": 1, "hard_scale": 1},
        degree=(0, 0, 0, 1, 1),
        kinks=("easy_scale=0.0", "hard_scale=0.0"),
    ),
    Call(feature_bias.parity_growth_rate, {"degree": 4}),
    Call(
        feature_bias.learning_time_slope,
        {"growth_rate": np.array([0.5, 0.3]), "learning_rate": np.array([0.02, 1.0])},
        scaling={"growth_rate": 1, "learning_rate": -1},
        degree=-1,
    ),
    Call(
        feature_bias.dissimilarity_correlation,
        {"shares": np.array([0.3, 0.2]), "other": np.array([0.1, 0.4]), "kurtosis": np.array([1.0, 3.0])},
        scaling={"shares": 1},
    ),
]
