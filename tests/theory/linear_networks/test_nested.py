"""Nested optima against truncated singular value decompositions, sizes between by rotations, speeds by integration."""

import functools

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from closedform.theory.linear_networks import nested
from zoo.calls import Call
from zoo.checks import rejected

EIGENVALUES = np.array([4.0, 2.0, 1.0, 0.5, 0.25])


# ------------------------------------------------------------------------------------------------------------- the optimum


@functools.cache
def data():
    """Inputs of rank 4 in 5 dimensions and two targets, as samples."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 4)) @ rng.standard_normal((4, 5))
    return x, x @ rng.standard_normal((5, 2)) + rng.standard_normal((40, 2))


def best_of_rank(values, rank):
    left, singular, right = np.linalg.svd(values, full_matrices=False)
    return (left[:, :rank] * singular[:rank]) @ right[:rank]


def assert_truncated(errors_fn):
    """Errors of all sizes are those of the truncated singular value decomposition of the samples (Eckart and Young)."""
    x, _ = data()
    truth = [np.sum((x - best_of_rank(x, m)) ** 2) / 40 for m in range(6)]
    np.testing.assert_allclose(
        errors_fn(np.maximum(np.linalg.eigvalsh(x.T @ x / 40), 0), range(6)), truth, rtol=1e-10, atol=1e-12
    )


def test_an_autoencoder_is_at_best_a_truncation():
    def errors(values, sizes):
        return nested.prefix_errors(values, tuple(sizes))

    assert_truncated(errors)
    rejected(assert_truncated, lambda values, sizes: errors(values, np.array(sizes) + 1))  # the m-th is left out too
    rejected(assert_truncated, lambda values, sizes: errors(np.sqrt(values), sizes))
    rejected(assert_truncated, lambda values, sizes: sum(values) - np.append(0, np.cumsum(values))[: len(sizes)])  # not sorted


def assert_reduced_rank(errors_fn):
    """Errors of a regression on m coordinates: least squares, and the truncation of what it explains."""
    x, y = data()
    fitted = x @ np.linalg.lstsq(x, y, rcond=1e-12)[0]
    truth = [np.sum((y - best_of_rank(fitted, m)) ** 2) / 40 for m in range(4)]
    np.testing.assert_allclose(errors_fn(x.T @ x / 40, y.T @ x / 40, np.sum(y**2) / 40), truth, rtol=1e-9)


def test_a_regression_is_at_best_a_truncation_of_its_fit():
    """Through the cross-covariance with whitened inputs, which here leave one direction out."""

    @jax.jit
    def errors(covariance, cross, square):
        found = nested.regression_spectrum(covariance, cross)
        return nested.prefix_errors(found, (0, 1, 2, 3), square - np.sum(found))

    assert_reduced_rank(errors)
    rejected(assert_reduced_rank, lambda covariance, *rest: errors(covariance + np.eye(5), *rest))  # not whitened
    rejected(assert_reduced_rank, lambda covariance, cross, square: errors(covariance, cross, 2 * square))


def test_optimum_of_five_modes():
    """All sizes of four coordinates: 6.5; weights multiply terms; a size beyond the modes costs nothing."""
    assert nested.nested_optimum(EIGENVALUES, (1, 2, 3, 4)) == 6.5
    assert nested.nested_optimum(EIGENVALUES[::-1], (4, 3, 2, 1)) == 6.5
    assert nested.nested_optimum(EIGENVALUES, (2, 9), np.array([3.0, 5.0]), 0.25) == 3 * 2.0 + 5 * 0.25
    assert nested.nested_optimum(EIGENVALUES, (0,)) == 7.75
    with pytest.raises(ValueError, match=r"^weights must be one number or one for each of the 2 sizes, got shape \(3,\)$"):
        nested.nested_optimum(EIGENVALUES, (1, 2), np.ones(3))
    np.testing.assert_array_equal(nested.cell_optimum(EIGENVALUES, (3, 3), (1, 2, 3)), [[3.75, 1.75, 0.75]] * 2)
    np.testing.assert_array_equal(nested.cell_optimum(EIGENVALUES, (4, 1, 3), (1, 4)), [[3.75, 0.25], [3.75] * 2, [3.75] * 2])


# ------------------------------------------------------------------------------------------------ between the trained sizes


def rotated_errors(block, number):
    """Mean errors of every size within a block, over uniformly random rotations, with their standard errors.

    By projection on orthonormal rows, by optimal decoders of them, and by optimal decoders of whitened coordinates.
    """
    rng, size, found = np.random.default_rng(1), len(block), []
    for _ in range(number):
        q, r = np.linalg.qr(rng.standard_normal((size, size)))
        rows = q * np.sign(np.diag(r))
        best = []
        for weights in (rows, rows / np.sqrt(block)):
            for w in (weights[:m] * block for m in range(1, size)):
                inverse = np.linalg.inv(w @ (w / block).T)
                best.append(block.sum() - np.trace(w.T @ inverse @ w))
        projected = [block.sum() - np.trace(rows[:m] * block @ rows[:m].T) for m in range(1, size)]
        found.append([projected, best[: size - 1], best[size - 1 :]])
    return np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(number)


def test_sizes_between_by_random_rotations():
    """A block of three modes, 3000 rotations: on the line by projection and whitened; below it by optimal decoders, by 6 SE."""
    block = np.array([4.0, 1.0, 0.2])
    line = np.asarray(nested.interpolated_error(block, (3,), (1, 2)))
    optimal = np.array([nested.optimal_interpolated_error(block, (3,), m) for m in (1, 2)])
    (projected, best, white), se = rotated_errors(block, 3000)
    for mean, error, law, wrong in zip(
        (projected, white, best), se[[0, 2, 1]], (line, line, optimal), (optimal, optimal, line), strict=True
    ):
        assert (np.abs(mean - law) < 4 * error).all()
        assert (np.abs(mean - wrong) > 6 * error).all()


def assert_optimal(error_fn):
    """The published acceptance numbers, and product rules on the circle and on the sphere."""
    np.testing.assert_allclose(error_fn(EIGENVALUES, (2, 4), 1), 4.578, atol=5e-4)
    np.testing.assert_allclose(error_fn(EIGENVALUES, (2, 4), 1), 1.75 + np.sqrt(8), rtol=1e-12)  # the geometric mean
    np.testing.assert_allclose(error_fn(EIGENVALUES, (2, 4), 3), 0.25 + np.sqrt(0.5), rtol=1e-12)
    block = EIGENVALUES[1:4]
    z, weights = np.polynomial.legendre.leggauss(80)
    angle = np.arange(160) * 2 * np.pi / 160
    squares = np.stack(
        np.broadcast_arrays((1 - z**2)[:, None] * np.cos(angle) ** 2, (1 - z**2)[:, None] * np.sin(angle) ** 2, (z**2)[:, None])
    )

    def mean(values):
        return np.sum(weights * values.mean(axis=1)) / 2

    def dot(values):
        return np.tensordot(values, squares, 1)

    np.testing.assert_allclose(error_fn(EIGENVALUES, (1, 4), 2), 3.75 - mean(dot(block**2) / dot(block)), rtol=1e-10)
    np.testing.assert_allclose(error_fn(EIGENVALUES, (1, 4), 3), 0.25 + mean(1 / dot(1 / block)), rtol=1e-10)


def test_optimal_decoders_between_trained_sizes():
    error = nested.optimal_interpolated_error
    assert_optimal(error)
    rejected(assert_optimal, nested.interpolated_error)
    rejected(assert_optimal, lambda values, sizes, size: error(np.sqrt(values), sizes, size))
    rejected(assert_optimal, lambda values, sizes, size: error(values, sizes, size + 1))
    assert error(EIGENVALUES, (2, 4), 0) == 7.75
    assert error(EIGENVALUES, (2, 4), 4) == 0.25
    with jax.enable_x64(False):
        np.testing.assert_allclose(error(np.float32([4, 2]), (2,), 1), np.sqrt(8), rtol=1e-5)
    wide = np.array([1.0, 1e-12, 1e-12])
    assert 0 < error(wide, (3,), 1) < 1e-5  # far below the line, at 2/3


def test_the_line():
    np.testing.assert_allclose(
        nested.interpolated_error(EIGENVALUES, (2, 4), (0, 1, 2, 3, 4)), [7.75, 4.75, 1.75, 1.0, 0.25], rtol=1e-14
    )
    np.testing.assert_array_equal(nested.interpolated_error(EIGENVALUES, (1, 2, 3), (1, 2, 3)), [3.75, 1.75, 0.75])


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (nested.interpolated_error, (EIGENVALUES, (2, 4), (5,)), "size must be at most 4, the largest of sizes, got 5"),
        (nested.interpolated_error, (EIGENVALUES, (2, 6), (1,)), "sizes must be at most 5, the number of eigenvalues, got 6"),
        (
            nested.optimal_interpolated_error,
            (EIGENVALUES, (1, 5), 3),
            "size must be next to an end of its block, from 1 to 5, got 3",
        ),
        (nested.interpolated_error, (EIGENVALUES, (2, 4), (1.5,)), r"size must be whole numbers, got .*1\.5.*"),
        (nested.prefix_errors, (np.array([1.0, np.nan]), (1,)), r"eigenvalues must be at least 0 and finite, got .*"),
        (nested.prefix_errors, (EIGENVALUES, (-1,)), r"sizes must be at least 0, got .*"),
        (nested.nested_strength, (1.0, 1.0, 1.5, 1.0), r"initial must be at least 0 and at most 1, got 1\.5"),
    ],
)
def test_refusals(function, arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        function(*arguments)


# --------------------------------------------------------------------------------------------------------------- the speed

TIMES = np.array([0.0, 0.3, 0.6, 1.0, 3.0])


def integrated(eigenvalue, initial, count, shared):
    """Gradient flow of one coordinate on the sum of count terms lambda (1 - v_m w)^2, from a balanced start."""
    heads = 1 if shared else count

    def velocity(_, state):
        w, v = state[0], state[1:]
        repeat = count if shared else 1
        slope = 2 * eigenvalue * repeat * (1 - v * w)
        return np.append(np.sum(slope * v), slope * w)

    w = np.sqrt(initial * np.sqrt(heads))
    end = solve_ivp(velocity, (0, 3), np.append(w, np.full(heads, initial / w)), "DOP853", TIMES, rtol=1e-11, atol=1e-13)
    return end.y[0] * end.y[1]


def assert_follows(strength_fn):
    for shared in (False, True):
        for count in (1, 3):
            truth = integrated(1.3, 0.02, count, shared)
            np.testing.assert_allclose(strength_fn(TIMES, 1.3, 0.02, float(count), shared), truth, rtol=1e-8)


def test_strengths_follow_gradient_flow():
    strength = nested.nested_strength
    assert_follows(strength)
    rejected(assert_follows, lambda t, lam, u, count, shared: strength(t, lam, u, count, not shared))  # K for sqrt K
    rejected(assert_follows, lambda t, lam, u, count, shared: strength(t / 2, lam, u, count, shared))  # the loss with 1/2
    rejected(assert_follows, lambda t, lam, u, count, shared: strength(t, lam, u, 1.0, shared))  # without nesting


def test_half_times():
    """ln(1/u_0 - 1)/(4 lambda kappa), where the strength is 1/2."""
    for shared, kappa in ((False, np.sqrt(3)), (True, 3)):
        found = float(nested.nested_half_time(1.3, 0.02, 3.0, shared))
        np.testing.assert_allclose(found, np.log(49) / (4 * 1.3 * kappa), rtol=1e-13)
        np.testing.assert_allclose(nested.nested_strength(found, 1.3, 0.02, 3.0, shared), 0.5, rtol=1e-12)
    assert nested.nested_half_time(1.0, 0.6, 2.0) == 0
    assert nested.nested_half_time(1.0, 0.1, 0.0) == np.inf
    assert nested.nested_strength(np.inf, 1.0, 0.1, 2.0) == 1
    assert nested.nested_strength(5.0, 1.0, 0.1, 0.0) == 0.1


# ------------------------------------------------------------------------------------------------- targets that do not nest


def brute_price(first, second, angle):
    """Over a grid of first rows on the sphere, with the best second row of each: an upper bound that is tight to 1e-4."""
    latitude, longitude = np.meshgrid(np.linspace(0, np.pi / 2, 241), np.linspace(0, np.pi / 2, 13))
    u = np.stack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], -1).reshape(
        -1, 3
    )
    task, plane = np.array([np.cos(angle), 0, np.sin(angle)]), np.diag([1.0, 1.0, 0.0])
    outside = np.eye(3) - u[:, :, None] * u[:, None, :]
    explained = np.sum(u @ plane * u, axis=1) + np.linalg.eigvalsh(outside @ plane @ outside)[:, -1]
    loss = first * (1 - (u @ task) ** 2) + second * (2 - explained)
    best = np.argmin(loss)
    return loss[best], np.arcsin(u[best, 2])


def assert_price(price_fn):
    for settings in ((1.0, 0.5, 0.8), (0.3, 1.0, 1.5), (1.0, 1.0, 0.4)):
        np.testing.assert_allclose(price_fn(*settings), brute_price(*settings)[0], atol=2e-4)


def test_price_of_two_tasks():
    price = nested.two_task_price
    assert_price(price)
    rejected(assert_price, lambda a, b, angle: price(a, b, angle / 2))
    rejected(assert_price, lambda a, b, angle: a * np.sin(angle) ** 2)  # the second task's best subspace is kept
    rejected(assert_price, lambda a, b, angle: price(a, 2 * b, angle))
    for settings in ((1.0, 0.5, 0.8), (0.3, 1.0, 1.5)):
        np.testing.assert_allclose(nested.two_task_angle(*settings), brute_price(*settings)[1], atol=1e-2)
    assert price(1.0, 2.0, 0.0) == price(0.0, 2.0, 0.7) == price(0.0, 0.0, 0.7) == 0
    np.testing.assert_allclose(price(1.0, 3.0, np.pi / 2), 1.0, rtol=1e-14)  # the weaker task is lost
    np.testing.assert_allclose(price(1.0, 1.0, 1e-9), 5e-19, rtol=1e-9)  # no cancellation


# ---------------------------------------------------------------------------------------- what test_calls asks of everything


def symmetric(x, rng):
    change = rng.standard_normal(x.shape)
    return (change + change.T) * np.max(np.abs(x)) * 0.1


TIED = ("eigenvalues repeated", "eigenvalues=0.0", "eigenvalues=4e-09")  # the order of equal eigenvalues is a kink
SPEED = {"eigenvalue": np.array([2.0, 0.5]), "initial": 0.02, "count": 3.0}
CALLS = [
    Call(
        nested.prefix_errors,
        {"eigenvalues": EIGENVALUES, "sizes": (0, 2, 7), "residual": 0.3},
        scaling={"eigenvalues": 1, "residual": 1},
        degree=1,
        kinks=TIED,
    ),
    Call(
        nested.nested_optimum,
        {"eigenvalues": EIGENVALUES, "sizes": (1, 3), "weights": np.array([1.0, 2.0]), "residual": 0.3},
        scaling={"weights": 1},
        degree=1,
        kinks=TIED,
    ),
    Call(
        nested.regression_spectrum,
        {"covariance": np.array([[0.6, 0.2], [0.2, 0.3]]), "cross": np.array([[0.3, 0.1], [-0.2, 0.4], [0.1, 0.1]])},
        scaling={"cross": 1},
        degree=2,
        directions={"covariance": symmetric},
        cases=({"covariance": np.zeros((2, 2))}, {"covariance": np.ones((2, 2)) / 4}, {"cross": np.zeros((3, 2))}),
        kinks=("case 0", "case 1", "case 2"),  # neighbours of low rank have another rank
        draw=lambda rng: {"covariance": np.cov(rng.standard_normal((2, 9))), "cross": rng.standard_normal((3, 2))},
    ),
    Call(nested.cell_optimum, {"eigenvalues": EIGENVALUES, "widths": (4, 2), "sizes": (1, 3)}, kinks=TIED),
    Call(nested.interpolated_error, {"eigenvalues": EIGENVALUES, "sizes": (2, 4), "size": (0, 1, 3)}, kinks=TIED),
    *(
        Call(
            nested.optimal_interpolated_error,
            {"eigenvalues": EIGENVALUES[:4], "sizes": (1, 4), "size": size},
            label=f"size {size}",
            scaling={"eigenvalues": 1},
            degree=1,
            kinks=TIED,
        )
        for size in (2, 3)
    ),
    Call(nested.term_counts, {"sizes": (1, 2, 4), "num_coordinates": 5}),
    Call(nested.nested_strength, {"time": np.array([0.3, 2.0]), **SPEED}, scaling={"time": 1, "eigenvalue": -1}),
    Call(nested.nested_half_time, SPEED, scaling={"eigenvalue": 1}, degree=-1),
    Call(
        nested.two_task_price,
        {"first": np.array([1.0, 0.3]), "second": 0.5, "angle": 0.8},
        scaling={"first": 1, "second": 1},
        degree=1,
    ),
    Call(
        nested.two_task_angle, {"first": np.array([1.0, 0.3]), "second": 0.5, "angle": 0.8}, scaling={"first": 1, "second": 1}
    ),
]
