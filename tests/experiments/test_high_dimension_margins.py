"""Margins, capacity, clusters and outliers at small sizes and at those of the figures, and the logistic fit without a ridge."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.experiments.high_dimension import capacity, margins, mixture, outliers
from closedform.solvers import newton
from closedform.sweeps import agrees, compare, find, run
from closedform.tasks import generalised_linear
from closedform.theory.high_dimension import convex_learning, losses, robust_regression
from closedform.theory.high_dimension.label_channels import LOGIT, Labels
from zoo.checks import changed, rejected
from zoo.checks import config as unchecked


def key(seed=0):
    return jax.random.key(seed, impl="threefry2x32")


@pytest.mark.parametrize(
    ("experiment", "changes", "message"),
    [
        (capacity, {"margin_ratios": (1.0, 2.5)}, "margin_ratios must be below 2, where random labels have a margin, got 2.5"),
        (capacity, {"dim": 1, "ratios": (0.5,)}, "ratios must leave a sample at dim 1 and margin_dim 200"),
        (margins, {"dim": 1, "ratios": (0.1,)}, "ratios must leave a sample at dim 1, got 0.1"),
        (margins, {"losses": ()}, "losses must be a list of at least 1"),
        (mixture, {"positive_share": 1.0}, "positive_share must be"),
        (mixture, {"dim": 1, "ratio": 0.2}, "ratio must leave a sample at dim 1, got 0.2"),
        (mixture, {"noise_variance": 0.0}, "noise_variance must be a positive number"),
        (
            outliers,
            {"shares": (0.1, 1.5)},
            "shares must be a list of at least 1, each entry a number of at least 0 and at most 1, ",
        ),
        (outliers, {"deltas": (0.0,)}, "deltas must be a list of at least 1, each entry a positive number"),
    ],
)
def test_refusals(experiment, changes, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        unchecked(experiment.Config, **changes)


@functools.cache
def without_ridge():
    """m, q and V of the logistic fit without a ridge, of 8 draws at n/d = 4 of a logit teacher of norm 5."""
    d = 200

    def one(key):
        key_teacher, key_data = jax.random.split(key)
        theta = generalised_linear.teacher(key_teacher, d, 5.0)
        x, y = generalised_linear.sample_labels(key_data, 4 * d, theta, link="logit")
        features = x / jnp.sqrt(1.0 * d)
        w = newton.fit(features, y, 0.0).weights
        return jnp.stack([theta @ w / d, w @ w / d, newton.response(features, y, 0.0, w)])

    return np.asarray(jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(key(), 8)))


def assert_without_ridge(m, q, V):
    """Within 4 standard errors and, relatively, 3/d of m, 6/d of q and 11/d of V, as measured at this ratio."""
    measured = without_ridge()
    error = 4 * measured.std(axis=0, ddof=1) / len(measured) ** 0.5
    allowed = error + np.array([3, 6, 11]) / 200 * measured.mean(axis=0)
    assert np.all(np.abs(measured.mean(axis=0) - [m, q, V]) < allowed)


@pytest.mark.slow
def test_the_logistic_fit_without_a_ridge():
    found = jax.jit(lambda: convex_learning.solve(4.0, 0.0, losses.LOGISTIC, Labels(5.0), LOGIT))()
    np.testing.assert_allclose(found.overlap / 5, 1.871489724, rtol=1e-7)  # bias
    np.testing.assert_allclose((4 * (found.norm - found.overlap**2 / 5)) ** 0.5, 6.347703074, rtol=1e-7)  # spread
    np.testing.assert_allclose(found.response, 5.475860518, rtol=1e-7)
    assert_without_ridge(found.overlap, found.norm, found.response)
    rejected(assert_without_ridge, 5.0, found.norm, found.response)  # no bias
    rejected(assert_without_ridge, found.overlap, found.overlap**2 / 5, found.response)  # no spread
    rejected(assert_without_ridge, found.overlap, found.norm, 1.5 * found.response)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["margins", "capacity", "mixture"])
def test_agrees_at_full_size(name, tmp_path):
    experiment = find(f"high_dimension/{name}")
    assert agrees(compare(experiment, run(experiment, seeds=16, results=tmp_path, progress=False)))


@pytest.mark.slow
def test_outliers_at_full_size(tmp_path):
    experiment, config = find("high_dimension/outliers"), outliers.Config()
    result = run(experiment, config, seeds=16, results=tmp_path, progress=False)

    def assert_agrees(result):
        assert agrees(compare(experiment, result))

    assert_agrees(result)
    shares, deltas = np.array(config.shares), np.array(config.deltas)
    variances = (1 - shares) * config.noise_variance + shares * config.outlier_variance
    normal = [robust_regression.huber(2.0, config.ridge, deltas, [variance], [1.0]).mse for variance in variances]
    rejected(assert_agrees, changed(result, mse=np.array(normal)))  # one normal law of the same variance
    rejected(assert_agrees, changed(result, mse_absolute=lambda right: result["prediction"]["mse"][:, 0]))
    rejected(assert_agrees, changed(result, training_loss=lambda right: 2 * right))  # a loss without its 1/2
