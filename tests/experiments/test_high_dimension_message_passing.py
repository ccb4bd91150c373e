"""Message passing, binary weights and random features: what holds at any size, full-size agreement, and mistakes refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special

from closedform.experiments.high_dimension import binary_weights, message_passing, random_features
from closedform.solvers import message_passing as solver
from closedform.sweeps import agrees, compare, find, run
from closedform.theory.high_dimension import input_covariance, losses
from closedform.theory.high_dimension.label_channels import Labels
from closedform.theory.kernels.spectrum import Spectrum
from closedform.theory.random_matrices import marchenko_pastur, random_feature_risk
from zoo.checks import changed, rejected


def key(seed=0):
    return jax.random.key(seed, impl="threefry2x32")


SMALL = message_passing.Config(dim=200, ratio=2.0, ridge=1.0, norm_squared=1.5, noise_std=0.5, num_iterations=8)
simulated = jax.jit(lambda key: message_passing.simulate(key, SMALL))


def assert_first_responses(response, ratio, ridge, rho, noise_std):
    """After one iteration from weights 0 the response has no scatter: every field is 0."""
    start = 1 / ridge
    s = optimize.brentq(lambda s: s - start * special.expit(-s), 0, 10)
    curvature = special.expit(s) * special.expit(-s)
    logistic = 1 / (ridge + ratio * curvature / (1 + start * curvature))
    bayes = 1 / (1 / rho + ratio * (2 / np.pi) / (rho + noise_std**2))
    np.testing.assert_allclose(np.asarray(response)[:, 0], [logistic, bayes], rtol=1e-12)


def assert_at_rest(overlaps):
    """The last three iterations are the same to 1e-3; and of the four draws three at least gain from Onsager's term."""
    logistic, without = np.asarray(overlaps[0]), np.asarray(overlaps[1])
    assert np.ptp(logistic[:, -3:], axis=1).max() < 1e-3
    assert np.mean(logistic[:, -1] > 1.02 * without[:, -1]) >= 0.75


def test_message_passing_at_small_size():
    results = [simulated(key(seed)) for seed in range(4)]
    assert_first_responses(results[0].response, 2.0, 1.0, 1.5, 0.5)
    rejected(assert_first_responses, results[0].response, 2.0, 1.0, 1.5, 0.25)
    rejected(assert_first_responses, results[0].response, 2.0, 1.0, 1.0, 0.5)
    overlap = jnp.stack([result.overlap[0] for result in results])
    without = jnp.stack([result.without_onsager for result in results])
    assert_at_rest((overlap, without))
    rejected(assert_at_rest, (without, overlap))
    np.testing.assert_array_equal(results[0].overlap[0, 0], results[0].without_onsager[0])  # it has no term to miss


def test_entropy_of_known_states():
    """Without samples all weights are possible; where they are found one is left; anywhere by the formula in numpy."""
    rng = np.random.default_rng(0)
    x, teacher = rng.standard_normal((30, 20)), np.sign(rng.standard_normal(20))
    y = np.sign(x @ teacher)
    known = np.ones(30, bool)
    arrays, bethe_entropy = [jnp.asarray(part) for part in (x, y)], jax.jit(binary_weights.bethe_entropy)

    def entropy(weights, variance, pull, known=known):
        state = solver.State(jnp.asarray(weights), jnp.asarray(variance), jnp.asarray(pull))
        return float(bethe_entropy(state, *arrays, jnp.asarray(known)))

    def assert_right(entropy_fn):
        np.testing.assert_allclose(entropy_fn(np.zeros(20), 1.0, np.zeros(30), ~known), np.log(2), rtol=1e-12)
        np.testing.assert_allclose(entropy_fn(teacher, 1e-6, np.zeros(30)), 0, atol=1e-9)
        w, pull = np.tanh(rng.standard_normal(20)), rng.standard_normal(30)
        h, omega = np.arctanh(w), x @ w / np.sqrt(20) - 0.7 * pull
        samples = special.log_ndtr(y * omega / np.sqrt(0.7)) + 0.7 * pull**2 / 2
        expected = np.log(2) + np.mean(np.log(np.cosh(h)) - h * w) + samples.sum() / 20
        np.testing.assert_allclose(entropy_fn(w, 0.7, pull), expected, rtol=1e-9)

    assert_right(entropy)
    rejected(assert_right, lambda *state: entropy(*state) + 0.01)
    rejected(assert_right, lambda w, v, g, *rest: entropy(w, v, 0 * g, *rest))


def test_covariances_of_features():
    """Eigenvalues and powers of a small draw against a covariance of 400,000 samples."""
    config = random_features.Config(dim=7, num_samples=10, num_features=(4,), norm_squared=2.0)

    @jax.jit
    def drawn():
        state = random_features.init(key(), config)
        return state, random_features._modes(state, config, 4, 1)

    state, (o, G) = drawn()
    rng = np.random.default_rng(0)
    a = rng.standard_normal((400_000, 7))
    b = special.erf(a @ np.asarray(state.projection).T / np.sqrt(14))
    u = a @ np.asarray(state.teacher) / np.sqrt(7)

    def assert_right(eigenvalues, power):
        values, vectors = np.linalg.eigh(b.T @ b / len(b))
        np.testing.assert_allclose(eigenvalues, values, rtol=0.01)
        np.testing.assert_allclose(power, 4 * (vectors.T @ (b.T @ u / len(b))) ** 2, rtol=0.02, atol=2e-3)

    assert_right(o, G)
    rejected(assert_right, o, G / 2)
    rejected(assert_right, o**0.5, G)


@pytest.mark.parametrize(
    ("experiment", "changes", "message"),
    [
        (binary_weights, {"ratios": (1.0, 0.5)}, r"ratios must rise, got \(1\.0, 0\.5\)"),
        (binary_weights, {"crossings": (2.0, 1.5)}, r"crossings must rise, got \(2\.0, 1\.5\)"),
        (random_features, {"num_features": (20, 10)}, r"num_features must rise, got \(20, 10\)"),
        (random_features, {"num_features": (97, 101, 103)}, r"num_features must have a common multiple.*got \(97, 101, 103\)"),
    ],
)
def test_wrong_settings(experiment, changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        experiment.Config(**changes)


def test_ridge_regression_of_numbers_on_error_functions():
    """Recorded errors of random features erf(x/sqrt 2): inputs 1000, a linear teacher of numbers, and label noise."""
    p, linear, rest = 1000.0, np.pi**-0.5, 1 / 3 - 1 / np.pi
    spectrum = Spectrum(np.array([linear**2 / p]), np.array([p]), rest)
    for samples, features, ridge, noise, test in ((1.5, 1.0, 0.1, 0.1, 0.582005457), (2.0, 3.0, 0.01, 0.05, 0.154492648)):
        found = random_feature_risk.risk(samples * p, features * p, ridge, spectrum, np.ones(1), noise).test
        np.testing.assert_allclose(found, test, rtol=2e-9)
        rejected(np.testing.assert_allclose, found - noise, test, 2e-9)  # without the noise of the new label


@pytest.mark.slow
def test_least_squares_on_features_is_known_twice():
    """Labels are a multiple of the field, and noise: the error of ridge regression on random features, by another method."""
    p, ratio, ridge, linear, rest, rho = 1000.0, 1.5, 0.1, np.pi**-0.5, 1 / 3 - 1 / np.pi, 2.0
    slope = np.sqrt(2 / (np.pi * rho))

    def assert_equal(count, power=1.0):
        low, high = marchenko_pastur.support(count / p)
        s = float(low) + float(high - low) * np.sin(np.linspace(0, np.pi / 2, 400_001)) ** 2  # dense at the edges
        below = np.asarray(marchenko_pastur.cdf(s, count / p))
        s = np.where(places < below[0], 0, np.interp(places, below, s)) if count > p else np.interp(places, below, s)
        o, G = input_covariance.random_features(s, linear, rest, count / p, rho)
        at = input_covariance.solve(ratio * p / count, ridge, o, power * G, losses.SQUARE, Labels(rho))
        spectrum = Spectrum(np.array([linear**2 / p]), np.array([p]), rest)
        known = random_feature_risk.risk(ratio * p, count, ridge, spectrum, np.array([slope**2 * rho]), 1 - slope**2 * rho)
        np.testing.assert_allclose(1 - 2 * slope * at.overlap + at.norm, known.test, rtol=2e-5)
        np.testing.assert_allclose(2 * at.training_loss, known.train, rtol=2e-5)

    places = (np.arange(3000) + 0.5) / 3000  # the atom of 2/3 at three features an input is 2000 of them
    for count in (500.0, 1000.0, 3000.0):
        assert_equal(count)
    rejected(assert_equal, 1000.0, 0.5)


@pytest.mark.slow
def test_message_passing(tmp_path):
    """Full size: order parameters of both algorithms at every iteration; an iteration late, or off by 2 %, is refused."""
    experiment = find("high_dimension/message_passing")
    result = run(experiment, experiment.default_config(), results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    expected = {  # message passing for logistic regression, from the specification
        "overlap": (1.016734, 1.260612, 1.308732, 1.313138, 1.311989),
        "norm": (1.575017, 2.082883, 2.174192, 2.173581, 2.167237),
        "response": (1.509767, 1.415898, 1.448661, 1.463191, 1.466105),
    }
    for field, values in expected.items():
        found = result["prediction"][field].sel(algorithm="logistic", iteration=[1, 2, 3, 4, 5])
        np.testing.assert_allclose(found, values, rtol=0, atol=6e-7)
        for wrong in (lambda right: right.shift(iteration=1, fill_value=0), lambda right: 1.03 * right):
            assert not agrees(compare(experiment, changed(result, **{field: wrong})))


@pytest.mark.slow
def test_binary_weights(tmp_path):
    """Full size: paths, entropies, thresholds; nothing is found at 1.3 samples a dimension, almost all at 2."""
    experiment = find("high_dimension/binary_weights")
    result = run(experiment, experiment.default_config(), results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    share = result["simulation"]["recovered"].mean("seed")
    assert float(share.sel(crossing=1.3)) == 0
    assert float(share.sel(crossing=2.0)) > 0.9
    for wrong in (
        {"overlap": lambda q: q.shift(iteration=1, fill_value=0)},
        {"norm": lambda q: 0.97 * q},
        {"entropy": lambda s: s + 0.03},
        {"information_threshold": 1.4926},
        {"algorithmic_threshold": 1.2447},
    ):
        assert not agrees(compare(experiment, changed(result, **wrong)))


@pytest.mark.slow
def test_random_features(tmp_path):
    """Full size: order parameters, errors and losses for both losses; the curve of other numbers of features is refused."""
    experiment = find("high_dimension/random_features")
    result = run(experiment, experiment.default_config(), results=tmp_path, progress=False)
    assert agrees(compare(experiment, result))
    for field in ("overlap", "norm", "weight_norm", "training_loss"):
        wrong = {field: lambda right: right.roll(num_features=1)}
        assert not agrees(compare(experiment, changed(result, **wrong)))
    assert not agrees(compare(experiment, changed(result, norm=lambda q: q / 2)))
