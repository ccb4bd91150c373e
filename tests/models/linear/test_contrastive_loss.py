"""The contrastive loss by covariances against means over pairs, and what layers make of features against numpy."""

import jax
import numpy as np
import pytest

from closedform.models.linear import contrastive, deep_linear
from closedform.tasks import augmentation_pairs
from zoo.checks import rejected

KEYS = jax.random.split(jax.random.key(0, impl="threefry2x32"), 3)
PROBLEM = augmentation_pairs.draw(KEYS[0], (1.0, 0.5), (0.3, 0.7))
PARAMS = deep_linear.init(KEYS[1], deep_linear.Config(2, (3,), 2, "unit_gaussian", 0.6))


def assert_mean_over_pairs(loss_fn):
    """-2 E f(x).f(x^+) + E (f(x).f(x^-))^2, over 200000 pairs and negatives, written out in numpy."""
    B = np.asarray(deep_linear.product(PARAMS))
    x, plus = (np.asarray(view) @ B.T for view in augmentation_pairs.sample(KEYS[2], 200_000, PROBLEM))
    positive, negative = np.sum(x * plus, axis=1), np.sum(x[1:] * plus[:-1], axis=1)
    error = 5 * (2 * positive.std() + np.square(negative).std()) / np.sqrt(len(x))
    np.testing.assert_allclose(
        loss_fn(PARAMS, PROBLEM.clean, PROBLEM.view), np.mean(negative**2) - 2 * positive.mean(), atol=error
    )


def test_the_loss_of_infinitely_many_pairs():
    loss = contrastive.population_loss
    assert_mean_over_pairs(loss)
    rejected(assert_mean_over_pairs, lambda params, C, S: loss(params, C, S) / 2)
    rejected(assert_mean_over_pairs, lambda params, C, S: loss(params, S, S))
    rejected(assert_mean_over_pairs, lambda params, C, S: loss(params, C, C))


def test_the_loss_of_a_batch():
    """All pairs of different samples are negatives, in both orders."""
    x, plus = augmentation_pairs.sample(KEYS[2], 5, PROBLEM)
    one, other = (np.asarray(view) @ np.asarray(deep_linear.product(PARAMS)).T for view in (x, plus))
    negative = np.mean([(one[i] @ other[j]) ** 2 for i in range(5) for j in range(5) if i != j])
    expected = negative - 2 * np.mean([one[i] @ other[i] for i in range(5)])
    np.testing.assert_allclose(contrastive.batch_loss(PARAMS, x, plus), expected, rtol=1e-12)
    with pytest.raises(ValueError, match=r"^x must have at least 2 samples, got 1$"):
        contrastive.batch_loss(PARAMS, x[:1], plus[:1])


def test_energies_and_mixing():
    basis = np.asarray(PROBLEM.basis)
    first, second = map(np.asarray, PARAMS.weights)
    energies, mixing = contrastive.energies(PARAMS, PROBLEM.basis), contrastive.mixing(PARAMS, PROBLEM.basis)
    for layer, below in enumerate((first, second @ first)):
        gram = basis.T @ below.T @ below @ basis
        np.testing.assert_allclose(energies[layer], np.diag(gram), rtol=1e-12)
        np.testing.assert_allclose(mixing[layer], np.sqrt(2) * abs(gram[0, 1]) / np.linalg.norm(gram), rtol=1e-12)
    aligned = deep_linear.rotated(PARAMS._replace(weights=(np.eye(3, 2), np.eye(2, 3))), np.eye(2), PROBLEM.basis)
    np.testing.assert_allclose(contrastive.mixing(aligned, PROBLEM.basis), 0, atol=1e-15)
