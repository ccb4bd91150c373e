"""The contrastive loss by covariances against means over pairs, and what layers make of features against numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.linear import contrastive, deep_linear
from closedform.tasks import augmentation_pairs
from zoo.checks import rejected


@functools.cache
def given(num_samples):
    """A problem of two features, a network, and pairs of views."""
    keys = jax.random.split(jax.random.key(0, impl="threefry2x32"), 3)
    problem = augmentation_pairs.draw(keys[0], (1.0, 0.5), (0.3, 0.7))
    params = deep_linear.init(keys[1], deep_linear.Config(2, (3,), 2, "unit_gaussian", 0.6))
    return problem, params, augmentation_pairs.sample(keys[2], num_samples, problem)


def assert_mean_over_pairs(loss_fn):
    """-2 E f(x).f(x^+) + E (f(x).f(x^-))^2, over 200000 pairs and negatives, written out in numpy."""
    problem, params, views = given(200_000)
    B = np.asarray(deep_linear.product(params))
    x, plus = (np.asarray(view) @ B.T for view in views)
    positive, negative = np.sum(x * plus, axis=1), np.sum(x[1:] * plus[:-1], axis=1)
    error = 5 * (2 * positive.std() + np.square(negative).std()) / np.sqrt(len(x))
    np.testing.assert_allclose(
        loss_fn(params, problem.clean, problem.view), np.mean(negative**2) - 2 * positive.mean(), atol=error
    )


def test_the_loss_of_infinitely_many_pairs():
    loss = contrastive.population_loss
    assert_mean_over_pairs(loss)
    rejected(assert_mean_over_pairs, lambda params, C, S: loss(params, C, S) / 2)
    rejected(assert_mean_over_pairs, lambda params, C, S: loss(params, S, S))
    rejected(assert_mean_over_pairs, lambda params, C, S: loss(params, C, C))


def test_the_loss_of_a_batch():
    """All pairs of different samples are negatives, in both orders."""
    _, params, (x, plus) = given(5)
    one, other = (np.asarray(view) @ np.asarray(deep_linear.product(params)).T for view in (x, plus))
    negative = np.mean([(one[i] @ other[j]) ** 2 for i in range(5) for j in range(5) if i != j])
    expected = negative - 2 * np.mean([one[i] @ other[i] for i in range(5)])
    np.testing.assert_allclose(contrastive.batch_loss(params, x, plus), expected, rtol=1e-12)
    with pytest.raises(ValueError, match=r"^x must have at least 2 samples, got 1$"):
        contrastive.batch_loss(params, x[:1], plus[:1])


def test_energies_and_mixing():
    problem, params, _ = given(5)
    basis = np.asarray(problem.basis)
    first, second = map(np.asarray, params.weights)
    energies, mixing = contrastive.energies(params, problem.basis), contrastive.mixing(params, problem.basis)
    for layer, below in enumerate((first, second @ first)):
        gram = basis.T @ below.T @ below @ basis
        np.testing.assert_allclose(energies[layer], np.diag(gram), rtol=1e-12)
        np.testing.assert_allclose(mixing[layer], np.sqrt(2) * abs(gram[0, 1]) / np.linalg.norm(gram), rtol=1e-12)
    aligned = deep_linear.rotated(params._replace(weights=(jnp.eye(3, 2), jnp.eye(2, 3))), jnp.eye(2), problem.basis)
    np.testing.assert_allclose(contrastive.mixing(aligned, problem.basis), 0, atol=1e-15)
