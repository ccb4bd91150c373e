"""Contrastive optima against gradient descent in numpy, and what a downstream task sees against drawn features."""

import functools

import jax
import numpy as np
import pytest
from scipy.optimize import minimize

from closedform.theory.linear_networks import contrastive
from zoo.calls import Call
from zoo.checks import rejected

SIGNALS = np.array([2, 1.5, 1, 0.8, 0.6, 0.5])
NOISE_STDS = np.array([0.3, 1, 0.2, 0.2, 0.1, 0.05])


def covariances(seed=0):
    """C and S in a random basis, and the basis."""
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((6, 6)))[0]
    clean = (basis * SIGNALS**2) @ basis.T
    return clean, clean + (basis * NOISE_STDS**2) @ basis.T, basis


# ---------------------------------------------------------------------------------------------------------- where it ends


def slope(B):
    """The gradient of the loss in B, written out anew."""
    clean, view, _ = covariances()
    return -4 * B @ clean + 4 * B @ view @ B.T @ B @ view


@functools.cache
def minimised(num_outputs):
    """B^T B of least loss over all B, by BFGS."""
    clean, view, _ = covariances()

    def loss(flat):
        B = flat.reshape(num_outputs, 6)
        return -2 * np.trace(B @ clean @ B.T) + np.sum((B @ view @ B.T) ** 2), slope(B).ravel()

    start = 0.3 * np.random.default_rng(1).standard_normal(num_outputs * 6)
    B = minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 2000}).x.reshape(num_outputs, 6)
    return B.T @ B


@functools.cache
def descended():
    """W_1 after gradient descent from a balanced start."""
    rng = np.random.default_rng(1)
    left, right, middle = (np.linalg.qr(rng.standard_normal((n, 6)))[0] for n in (8, 6, 12))
    roots = np.sqrt(0.3 + 0.3 * rng.random(6))
    first, second = (middle * roots) @ right.T, (left * roots) @ middle.T
    for _ in range(2000):
        change = slope(second @ first)
        first, second = first - 0.005 * second.T @ change, second - 0.005 * change @ first.T
    return first


def assert_optimum(gram_fn):
    for num_outputs in (8, 3):
        np.testing.assert_allclose(gram_fn(*covariances()[:2], num_outputs), minimised(num_outputs), atol=1e-7)


def test_the_gram_matrix_of_least_loss():
    """Eight outputs, and three, which keep the features 2, 0.6 and 0.5 of largest correlation and not the largest three."""
    gram = jax.jit(contrastive.optimal_gram, static_argnums=2)
    assert_optimum(gram)
    clean, view, basis = covariances()

    def of_largest_signals(C, S, rank):
        kept = basis[:, : min(rank, 6)]
        return kept @ np.diag(SIGNALS[:rank] / (SIGNALS**2 + NOISE_STDS**2)[:rank]) ** 2 @ kept.T

    def truncated_last(C, S, rank):
        values, vectors = np.linalg.eigh(np.linalg.solve(S, C) @ np.linalg.inv(S))
        return (vectors[:, -rank:] * values[-rank:]) @ vectors[:, -rank:].T

    rejected(assert_optimum, of_largest_signals)
    rejected(assert_optimum, truncated_last)
    rejected(assert_optimum, lambda C, S, rank: np.linalg.inv(S) @ C)  # one inverse
    rejected(assert_optimum, lambda C, S, rank: 2 * np.asarray(gram(C, S, rank)))
    rejected(assert_optimum, lambda C, S, rank: gram(C, S - C, rank))  # the noise in place of the view
    for rank in (3, 6, 8):
        inside = basis.T @ np.asarray(gram(clean, view, rank)) @ basis
        np.testing.assert_allclose(inside, np.diag(contrastive.feature_weights(SIGNALS, NOISE_STDS, rank) ** 2), atol=1e-12)


def assert_layer_weights(weights_fn):
    first = descended()
    values, vectors = np.linalg.eigh(np.asarray(contrastive.optimal_gram(*covariances()[:2], 8)))
    gram = (vectors * np.asarray(weights_fn(np.sqrt(values), 1, 2)) ** 2) @ vectors.T
    np.testing.assert_allclose(first.T @ first, gram, atol=0.01 * np.linalg.norm(gram))  # finite steps break the balance


def test_weights_before_the_head_are_roots():
    weights = contrastive.layer_weights
    assert_layer_weights(weights)
    rejected(assert_layer_weights, lambda q, layer, depth: q)
    rejected(assert_layer_weights, lambda q, layer, depth: q ** (layer / depth / 2))
    np.testing.assert_array_equal(weights([0.0, 4.0], 0, 3), 1)
    np.testing.assert_allclose(weights([0.0, 4.0], 3, 3), [0, 4], rtol=1e-15)
    with pytest.raises(ValueError, match=r"^layer must be at most the depth 2, got 3$"):
        weights([1.0], 3, 2)


def test_kept_features():
    q = SIGNALS / (SIGNALS**2 + NOISE_STDS**2)
    np.testing.assert_allclose(contrastive.feature_weights(SIGNALS, NOISE_STDS, 6), q, rtol=1e-14)
    np.testing.assert_allclose(contrastive.feature_weights(SIGNALS, NOISE_STDS, 3), q * [1, 0, 0, 0, 1, 1], rtol=1e-14)
    np.testing.assert_array_equal(contrastive.feature_weights([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], 2), [0.5, 0.5, 0])
    np.testing.assert_array_equal(contrastive.feature_weights([0.0, 0.0, 1.0], [0.0, 1.0, 5.0], 1), [0, 0, 1 / 26])


def test_a_tie_at_the_cut_keeps_the_rank():
    gram = contrastive.optimal_gram(np.eye(3), 2 * np.eye(3), 2)
    np.testing.assert_allclose(np.linalg.eigvalsh(gram), [0, 0.25, 0.25], atol=1e-15)


def test_covariances_that_are_none_are_refused():
    for C, S, message in (
        ([[1.0, 2.0], [2.0, 1.0]], np.eye(2), "covariance must be positive semi-definite"),
        (np.eye(2), [[1.0, 0.0], [1.0, 1.0]], "view_covariance must be symmetric"),
        (np.diag([1.0, 0.0]), np.diag([1.0, 0.0]), "view_covariance must be positive definite"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            contrastive.optimal_gram(C, S, 1)


# ------------------------------------------------------------------------------------------------------------- downstream


def assert_three_cases(share_difference_fn):
    """Feature 0 in company of three others: better before the head if too strong, too noisy, or weak against its noise."""
    rng = np.random.default_rng(0)
    for phi, sigma, better in ((2.0, 0.1, True), (0.8, 0.9, True), (0.15, 0.4, True), (0.7, 0.1, False), (0.4, 0.2, False)):
        signals, noise = np.array([phi, 1, 0.8, 0.6]), np.array([sigma, 0.2, 0.2, 0.1])
        q = signals / (signals**2 + noise**2)
        z = rng.standard_normal((20000, 4)) * signals
        before, behind = ((z * w).var(axis=0) / (z * w).var(axis=0).sum() for w in (np.sqrt(q), q))
        found = np.asarray(share_difference_fn(signals, q))
        np.testing.assert_allclose(found, before - behind, atol=0.01)
        assert (found[0] > 0) == better
        assert (q[0] < float(contrastive.critical_weight(signals, q))) == better


def test_when_the_layer_before_the_head_is_better():
    assert_three_cases(contrastive.earlier_advantage)
    rejected(assert_three_cases, lambda phi, q: -contrastive.earlier_advantage(phi, q))
    rejected(assert_three_cases, lambda phi, q: contrastive.earlier_advantage(np.sqrt(phi), q))  # weights of deviations
    rejected(assert_three_cases, lambda phi, q: contrastive.earlier_advantage(phi, q**2))
    np.testing.assert_array_equal(contrastive.variance_shares([0.0, 1.0], [3.0, 0.0]), 0)
    np.testing.assert_array_equal(contrastive.earlier_advantage([1.0, 2.0], [0.7, 0.7]), 0)  # of equal weights none is better
    np.testing.assert_allclose(contrastive.critical_weight([1.0, 2.0], [0.7, 0.7]), 0.7, rtol=1e-15)


def assert_half_circle(noise_fn):
    """At the critical noise the two shares of the feature are equal, though its own weight is in the sums."""
    others = np.array([1, 0.8, 0.6]), np.array([0.2, 0.2, 0.1])
    weights = contrastive.feature_weights(*others, 3)
    for phi in (0.1, 0.5, 0.7):
        sigma = float(noise_fn(phi, contrastive.critical_weight(others[0], weights)))
        signals, noise = (np.array([first, *rest]) for first, rest in zip((phi, sigma), others, strict=True))
        gain = contrastive.earlier_advantage(signals, contrastive.feature_weights(signals, noise, 4))
        np.testing.assert_allclose(gain[0], 0, atol=1e-12)


def test_the_boundary_in_the_plane_of_signal_and_noise():
    noise = contrastive.critical_noise
    assert_half_circle(noise)
    rejected(assert_half_circle, lambda phi, q: noise(phi, q) ** 2)
    rejected(assert_half_circle, lambda phi, q: noise(phi, 1.1 * q))
    np.testing.assert_array_equal(noise([0.0, 2.0, 3.0], 0.5), 0)


# ---------------------------------------------------------------------------------------- what test_calls asks of everything


def symmetric(x, rng):
    change = rng.standard_normal(x.shape)
    return (change + change.T) * np.max(np.abs(x)) * 0.1


def drawn(rng):
    one, other = rng.standard_normal((2, 3, 5))
    return {"covariance": one @ one.T, "view_covariance": one @ one.T + other @ other.T}


CALLS = [
    Call(
        contrastive.optimal_gram,
        {
            "covariance": np.diag([1.0, 0.5, 0.3]),
            "view_covariance": np.array([[2, 0.3, 0], [0.3, 1, 0], [0, 0, 0.5]]),
            "rank": 2,
        },
        directions={"covariance": symmetric, "view_covariance": symmetric},
        draw=drawn,
        rounding=30.0,  # the covariance of views is inverted twice
    ),
    Call(
        contrastive.feature_weights,
        {"signals": np.array([1.2, 0.6, 0.9]), "noise_stds": np.array([0.3, 0.9, 0.4]), "rank": 2},
        scaling={"signals": 1, "noise_stds": 1},
        degree=-1,
        kinks=("signals[0]=0.0", "signals=0.0", "signals repeated"),  # a feature without signal is none, and ties are cut
    ),
    Call(contrastive.layer_weights, {"weights": np.array([0.7, 1.9]), "layer": 1, "depth": 3}),
    Call(
        contrastive.variance_shares, {"signals": np.array([1.2, 0.6]), "weights": np.array([0.7, 1.9])}, scaling={"weights": 1}
    ),
    Call(
        contrastive.earlier_advantage,
        {"signals": np.array([1.2, 0.6]), "weights": np.array([0.7, 1.9])},
        scaling={"signals": 1},
    ),
    Call(
        contrastive.critical_weight,
        {"signals": np.array([1.2, 0.6]), "weights": np.array([0.7, 1.9])},
        scaling={"weights": 1},
        degree=1,
        kinks=("weights=0.0",),  # a mean over no features
    ),
    Call(
        contrastive.critical_noise,
        {"signal": np.array([0.2, 0.5]), "others": 1.3},
        scaling={"signal": 1, "others": -1},
        degree=1,
    ),
]
