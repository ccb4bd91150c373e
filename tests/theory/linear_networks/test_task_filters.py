"""The best student against a search over its states, the jump against errors on both sides, gains against descent."""

import functools

import jax
import numpy as np
import pytest
from scipy import optimize

from closedform.solvers import reduced_rank
from closedform.theory.linear_networks import task_filters
from zoo.calls import Call
from zoo.checks import rejected

optimum = jax.jit(task_filters.optimum, static_argnums=4)
RNG = np.random.default_rng(0)
B, F = RNG.standard_normal((2, 4)), RNG.standard_normal((3, 4))
COVARIANCE = (lambda A: A @ A.T / 6)(RNG.standard_normal((4, 6)))

# ---------------------------------------------------------------------------------------------------------------- best student


@functools.cache
def searched():
    """Loss, task error and alignment error of the best state u = A h of two numbers, by descent on A; alpha = 0.7."""

    def errors(A):
        seen = A @ COVARIANCE @ A.T

        def left(target):  # E |target h|^2 beyond what is linear in u
            known = target @ COVARIANCE @ A.T
            return np.trace(target @ COVARIANCE @ target.T) - np.trace(known @ np.linalg.solve(seen, known.T))

        return left(B), left(F)

    def loss(z):
        task, aligned = errors(z.reshape(2, 4))
        return task + 0.7 * aligned

    found = min(
        (optimize.minimize(loss, np.random.default_rng(seed).standard_normal(8), tol=1e-7) for seed in range(3)),
        key=lambda one: one.fun,
    )
    return found.fun, *errors(found.x.reshape(2, 4))


def assert_best(optimum_fn):
    loss, *errors = optimum_fn(0.7, B, F, COVARIANCE, 2)
    np.testing.assert_allclose(loss, searched()[0], rtol=1e-8)
    np.testing.assert_allclose(errors, searched()[1:], rtol=1e-4)  # flat at the minimum: the root of the loss's error


def test_the_best_student():
    assert_best(optimum)
    rejected(assert_best, lambda alpha, B, F, Sg, k: optimum(alpha**2, B, F, Sg, k))  # alpha for its root
    rejected(assert_best, lambda alpha, B, F, Sg, k: optimum(alpha, B, F, np.eye(4), k))
    rejected(assert_best, lambda alpha, B, F, Sg, k: optimum(alpha, B, F, Sg, k + 1))
    Z = np.concatenate([B, 0.7**0.5 * F])
    off = Z - np.asarray(reduced_rank.from_moments(COVARIANCE, Z @ COVARIANCE, 2))  # an independent piece of this house
    np.testing.assert_allclose(optimum(0.7, B, F, COVARIANCE, 2).loss, np.trace(off @ COVARIANCE @ off.T), rtol=1e-10)


def test_ends_of_capacity():
    """Without a unit nothing is fitted, with all of them everything; more than that is no help."""
    none = optimum(0.7, B, F, COVARIANCE, 0)
    np.testing.assert_allclose(none.task_error, np.trace(B @ COVARIANCE @ B.T), rtol=1e-12)
    np.testing.assert_allclose(none.alignment_error, np.trace(F @ COVARIANCE @ F.T), rtol=1e-12)
    for count in (4, 5, 9):
        np.testing.assert_allclose(optimum(0.7, B, F, COVARIANCE, count), 0, atol=1e-14)
    many = optimum(np.array([[0.7], [2.0]]), B, F, COVARIANCE, 2)
    assert many.loss.shape == (2, 1)
    np.testing.assert_allclose(many.loss[0, 0], optimum(0.7, B, F, COVARIANCE, 2).loss, rtol=1e-12)


# ------------------------------------------------------------------------------------------------------------------- jump


def assert_jumps(alpha_fn):
    """The relative task error of the best student is 0 just below and 1 just above, for every k, leak, gain and variance."""
    variances, b = [4.0, 9.0, 2.0], 2.0
    for k, leak, gain, v in (
        (1, 1.0, 1.0, 1.0),
        (2, 1.0, 1.0, 1.0),
        (3, 1.0, 1.0, 1.0),
        (1, 0.5, 1.0, 1.0),
        (2, 0.8, 3.0, 0.5),
    ):
        critical = float(alpha_fn(b, variances, k, leak, gain, v))
        filters, covariance = gain * np.diag([leak, leak, leak, 1.0]), np.diag([*variances, v])
        teacher = np.array([[0.0, 0.0, 0.0, b]])
        below, above = optimum(critical * np.array([0.999, 1.001]), teacher, filters, covariance, k).task_error / (v * b**2)
        np.testing.assert_allclose([below, above], [0, 1], atol=1e-12)


def test_the_task_is_dropped_at_once():
    assert_jumps(task_filters.task_drop_alpha)
    rejected(assert_jumps, lambda b, L, k, e, f, v: task_filters.task_drop_alpha(b, L, 1, e, f, v))  # the loudest for the k-th
    rejected(assert_jumps, lambda b, L, k, e, f, v: v * b**2 / (f**2 * e**2 * np.sort(L)[-k]))  # the task costs nothing
    rejected(assert_jumps, lambda b, L, k, e, f, v: task_filters.task_drop_alpha(b, L, k, e**0.5, f, v))
    rejected(assert_jumps, lambda b, L, k, e, f, v: task_filters.task_drop_alpha(b, L, k, e, f))


def test_values_and_where_there_is_no_jump():
    """0.5 for a nuisance of 9 and b = 2; 3.2 with leak 0.5; none below a leak of 1/3, or with more units than nuisances."""
    drop = task_filters.task_drop_alpha
    assert drop(2.0, [9.0], 1) == 0.5
    np.testing.assert_allclose(drop(2.0, [9.0], 1, 0.5), 3.2, rtol=1e-14)
    assert [float(drop(2.0, [9.0, 4.0, 2.0], k)) for k in (1, 2, 3)] == [0.5, 4 / 3, 4.0]
    assert drop(2.0, [9.0, 4.0, 2.0], 4) == np.inf
    assert drop(2.0, [9.0], 1, 1 / 3 - 1e-9) == np.inf
    assert drop(2.0, [1.0], 1) == np.inf
    assert drop(2.0, [], 1) == np.inf
    assert drop(0.0, [9.0], 1) == 0


# ------------------------------------------------------------------------------------------------------------------ gains


@functools.cache
def trained(scale, head=0.0):
    """Singular values of a 4 x 4 filter after descent on |B - C F|^2/2 from scale times a rotation, and the error; numpy."""
    rng = np.random.default_rng(4)
    u, v = np.linalg.qr(rng.standard_normal((2, 2)))[0], np.linalg.qr(rng.standard_normal((4, 4)))[0]
    target = u @ np.diag([4.0, 2.0]) @ v[:, :2].T
    C = head * rng.standard_normal((2, 4))
    w, V = np.linalg.eigh(scale**2 * np.eye(4) + C.T @ C)  # F F^T - C^T C = scale^2 I
    F = (V * np.sqrt(w)) @ V.T @ np.linalg.qr(rng.standard_normal((4, 4)))[0]
    for _ in range(20000):
        off = C @ F - target
        C, F = C - 1e-3 * off @ F.T, F - 1e-3 * C.T @ off
    return np.linalg.svd(F, compute_uv=False), np.sum((C @ F - target) ** 2)


def assert_gains(gains_fn):
    for scale, head in ((1.0, 0.0), (0.3, 0.5)):
        found, error = trained(scale, head)
        assert error < 1e-20
        np.testing.assert_allclose(gains_fn(np.array([4.0, 2.0, 0.0, 0.0]), scale), found, rtol=2e-3)  # steps of 1e-3


def test_gains_are_where_descent_ends():
    assert_gains(task_filters.filter_gains)
    rejected(assert_gains, lambda s, scale: np.where(s > 0, np.sqrt(s), scale))  # of a small start
    rejected(assert_gains, lambda s, scale: task_filters.filter_gains(s, scale**0.5))
    rejected(assert_gains, lambda s, scale: task_filters.filter_gains(s / 2, scale))


def test_acceptance_of_the_starts():
    """From 1e-3: roots of the singular values, and 1e-3; from the identity others keep 1, and the leak is 1 over the gain."""
    s = np.array([1.9517**2, 1.4841**2, 0, 0, 0, 0])
    np.testing.assert_allclose(task_filters.filter_gains(s, 1e-3), [1.9517, 1.4841, *[1e-3] * 4], rtol=1e-6)
    identity = np.asarray(task_filters.filter_gains(s, 1.0))
    np.testing.assert_array_equal(identity[2:], 1)
    np.testing.assert_allclose(task_filters.filter_leak(s, 1.0), 1 / identity, rtol=1e-14)
    # f^2 and c^2 = f^2 - scale^2 have the product s^2
    np.testing.assert_allclose(identity**2 * (identity**2 - 1), s**2, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: task_filters.optimum(0.0, B, F, COVARIANCE, 1), "alpha must be above 0 and finite, got 0.0"),
        (
            lambda: task_filters.optimum(1.0, B, F[:, :3], COVARIANCE, 1),
            r"filters must have the shape \(state, dim\) with dim = 4",
        ),
        (lambda: task_filters.optimum(1.0, B, F, -COVARIANCE, 1), "covariance must be positive semi-definite"),
        (lambda: task_filters.optimum(1.0, B * np.nan, F, COVARIANCE, 1), "teacher must be finite"),
        (lambda: task_filters.task_drop_alpha(2.0, [9.0], 0), "num_features must be at least 1, got 0"),
        (lambda: task_filters.task_drop_alpha(2.0, [-9.0], 1), "variances must be at least 0 and finite"),
        (lambda: task_filters.filter_gains(-1.0, 1.0), "singular_values must be at least 0 and finite"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


# ---------------------------------------------------------------------------------------- what test_calls asks of everything


def symmetric(x, rng):
    change = rng.standard_normal(x.shape)
    return (change + change.T) * 0.1


def positive(rng):
    A = rng.standard_normal((2, 5))
    return {"covariance": A @ A.T / 5, "alpha": rng.uniform(0.1, 5, 2)}


CALLS = [
    Call(
        task_filters.optimum,
        {
            "alpha": np.array([0.3, 2.0]),
            "teacher": np.array([[1.0, 0.5]]),
            "filters": np.array([[1.0, 0.2], [0.0, 0.7]]),
            "covariance": np.array([[1.0, 0.3], [0.3, 2.0]]),
            "num_features": 1,
        },
        draw=positive,
        edges={"teacher": [], "filters": []},
        directions={"covariance": symmetric},
        rounding=300.0,  # what is left are the weakest strengths, with the rounding of the strongest
        differentiable=False,  # errors jump where two strengths are equal, and directions have no derivative there
    ),
    Call(
        task_filters.task_drop_alpha,
        {
            "coefficient": 2.0,
            "variances": np.array([9.0, 4.0]),
            "num_features": 1,
            "leak": np.array([1.0, 0.5]),
            "gain": 1.5,
            "task_variance": 1.0,
        },
        edges={
            "task_variance": [0.5],
            "gain": [0.5],
            "variances": [np.array([0.0, 9.0])],
        },  # where two are equal there is a kink
        draw=lambda rng: {"leak": rng.uniform(0.4, 2, 2), "gain": rng.uniform(0.5, 2), "coefficient": rng.standard_normal()},
        scaling={"coefficient": 1},
        degree=2,
    ),
    Call(
        task_filters.filter_gains,
        {"singular_values": np.array([4.0, 0.5]), "init_scale": 0.3},
        scaling={"singular_values": 2, "init_scale": 1},
        degree=1,
        scales=(1e-6, 1e6),  # squares of squares in float32
    ),
    Call(
        task_filters.filter_leak,
        {"singular_values": np.array([4.0, 0.5]), "init_scale": 0.3},
        scaling={"singular_values": 2, "init_scale": 1},
        scales=(1e-6, 1e6),  # as above
    ),
]
