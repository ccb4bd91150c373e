"""Acceptance values of a power-law covariance and of random features, and the Hessian of a finite sample."""

import jax.numpy as jnp
import numpy as np
import pytest

from closedform.theory.high_dimension import convex_learning, input_covariance, losses
from closedform.theory.high_dimension.label_channels import Labels
from zoo.calls import Call
from zoo.checks import rejected

CALLS = [
    Call(
        lambda ratio, ridge, eigenvalues, power, teacher: input_covariance.solve(
            ratio, ridge, eigenvalues, power, losses.SQUARE, teacher
        ),
        {
            "ratio": 2.0,
            "ridge": 0.3,
            "eigenvalues": np.array([0.5, 1.5, 1.0]),
            "power": np.array([0.0, 1.8, 0.7]),
            "teacher": Labels(1.0, 0.5, 0.1),
        },
        of=input_covariance.solve,
        edges={"eigenvalues": [np.ones(3), np.array([0.0, 2.0, 3.0])], "power": [np.zeros(3)]},
        cases=[{"teacher.flips": 0.5}, {"ridge": 1e4}, {"ratio": 50.0}],
        draw=lambda rng: {"ratio": 2 * 10 ** rng.uniform(-1, 1), "ridge": 0.3 * 10 ** rng.uniform(-1, 1)},
        differentiable=False,  # the derivative is that of convex_learning's fixed point
        rounding=16.0,
    ),
    Call(
        input_covariance.random_features,
        {
            "eigenvalues": np.array([0.1, 2.0]),
            "linear": 0.5,
            "nonlinear_variance": 0.1,
            "features_per_dim": 2.0,
            "norm_squared": 1.5,
        },
    ),
]


def test_power_law_and_isotropic():
    eigenvalues = np.arange(1, 401.0) ** -0.5
    eigenvalues /= eigenvalues.mean()

    def assert_fact(power):
        found = input_covariance.solve(2.0, 0.1, eigenvalues, power, losses.LOGISTIC, Labels(1.0))
        values = (found.overlap, found.norm, found.response, found.weight_norm, found.error, found.training_loss)
        expected = (1.866257361, 4.731543504, 3.662775428, 3.994677864, 0.171727916, 0.182075391)
        np.testing.assert_allclose(values, expected, rtol=3e-9)

    assert_fact(eigenvalues**2)  # g = Omega theta
    rejected(assert_fact, eigenvalues)  # g = theta in size, which is as large in the mean


@pytest.mark.slow
def test_isotropic():
    one = input_covariance.solve(3.0, 0.5, np.ones(400), np.full(400, 4.0), losses.LOGISTIC, Labels(4.0, 1.0))
    same = convex_learning.solve(3.0, 0.5, losses.LOGISTIC, Labels(4.0, 1.0))
    np.testing.assert_allclose(np.array(one), np.array(same), rtol=1e-10)


@pytest.mark.slow
def test_random_features():
    """erf(x/sqrt 2), n/p = 2, d/p = 1: the law of the eigenvalues at 4000 quantiles leaves 1e-5."""
    angle = (np.arange(400_000) + 0.5) / 400_000 * np.pi
    s, mass = 2 + 2 * np.cos(angle), 1 - np.cos(angle)  # Marchenko and Pastur's law at c = 1, from large to small
    below = np.cumsum(mass[::-1]) / mass.sum()
    s = np.interp((np.arange(4000) + 0.5) / 4000, below, s[::-1])
    o, G = input_covariance.random_features(s, 1 / np.sqrt(np.pi), 1 / 3 - 1 / np.pi, 1.0)
    found = input_covariance.solve(2.0, 0.01, o, G, losses.LOGISTIC, Labels())
    values = (found.overlap, found.norm, found.response, found.weight_norm, found.error, found.training_loss)
    expected = (1.986475098, 8.456610205, 5.445305325, 31.592775656, 0.260630834, 0.187008857)
    np.testing.assert_allclose(values, expected, rtol=1e-6)


@pytest.mark.slow
def test_response_is_the_trace_of_the_inverse_hessian():
    """Square loss: V = tr Omega (lambda + X^T X/d)^-1/d of one large draw, and |w|^2/d of it."""
    rng, d = np.random.default_rng(0), 1200
    eigenvalues = np.linspace(0.2, 1.8, d)
    x = rng.normal(size=(2 * d, d)) * np.sqrt(eigenvalues)
    theta = rng.choice([-1.0, 1.0], d)
    y = np.sign(x @ theta)
    inverse = np.linalg.inv(0.3 * np.eye(d) + x.T @ x / d)
    w = inverse @ x.T @ y / np.sqrt(d)
    found = input_covariance.solve(2.0, 0.3, eigenvalues, eigenvalues**2, losses.SQUARE, Labels(eigenvalues.mean()))
    np.testing.assert_allclose(found.response, np.sum(eigenvalues * np.diag(inverse)) / d, rtol=5e-3)
    np.testing.assert_allclose((found.norm, found.weight_norm), (np.mean(eigenvalues * w**2), np.mean(w**2)), rtol=0.05)
    np.testing.assert_allclose(found.overlap, np.mean(eigenvalues * theta * w), rtol=0.03)


def test_refusals():
    with pytest.raises(ValueError, match=r"power must explain at most teacher.norm_squared"):
        input_covariance.solve(2.0, 0.1, [1.0, 1.0], [1.0, 2.0], losses.SQUARE, Labels())
    with pytest.raises(ValueError, match="loss must be a Loss of a margin"):
        input_covariance.solve(2.0, 0.1, jnp.ones(2), jnp.ones(2), losses.huber(1.0), Labels())
