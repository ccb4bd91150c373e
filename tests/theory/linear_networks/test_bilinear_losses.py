"""The losses against samples, the minima against descent on the weights, search over grids, and regression on samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from closedform.theory.linear_networks import bilinear_losses as losses
from zoo.calls import Call
from zoo.checks import rejected

TARGET = np.array([2, 1, 0.4, 0.1, -0.3, -1.2])
DIM, SAMPLES = 6, 1_000_000

gaussian_loss, noisy_loss, wiener, isotropic_shrinkage, weight_decay_optimum, trained_readout_optimum = map(
    jax.jit,
    (
        losses.gaussian_loss,
        losses.noisy_loss,
        losses.wiener,
        losses.isotropic_shrinkage,
        losses.weight_decay_optimum,
        losses.trained_readout_optimum,
    ),
)


@pytest.fixture(scope="module")
def delta():
    """Not symmetric, of a trace about as large as its norm."""
    return np.random.default_rng(1).standard_normal((DIM, DIM)) / 2 + np.eye(DIM) / 2


@pytest.fixture(scope="module")
def covariance():
    root = np.random.default_rng(2).standard_normal((DIM, DIM)) / 2
    return root @ root.T


@pytest.fixture(scope="module")
def normal():
    return np.random.default_rng(3).standard_normal((SAMPLES, DIM))


def quadratic(x, matrix):
    return np.einsum("ni,ni->n", x @ matrix, x)


def assert_sampled(values, predicted):
    """The mean of the sampled values, within four standard errors."""
    assert abs(np.mean(values) - predicted) < 4 * np.std(values) / np.sqrt(len(values))


# --- population losses -----------------------------------------------------------------------------------------------------


def test_gaussian_loss(delta, covariance, normal):
    values = quadratic(normal, delta) ** 2
    assert_sampled(values, gaussian_loss(delta))
    rejected(assert_sampled, values, 2 * np.sum(delta**2) + np.trace(delta) ** 2)  # not symmetrised
    rejected(assert_sampled, values, gaussian_loss(delta) - np.trace(delta) ** 2)
    x = normal @ np.linalg.cholesky(covariance).T
    linear, constant = np.linspace(-1, 2, DIM), -2.5
    values = (quadratic(x, delta) + x @ linear + constant) ** 2
    assert_sampled(values, gaussian_loss(delta, covariance, linear, constant))
    rejected(assert_sampled, values, gaussian_loss(delta, covariance, linear, -constant))
    rejected(assert_sampled, values, gaussian_loss(delta, covariance, None, constant) + linear @ linear)
    parts = losses.gaussian_loss(delta, linear=linear) - losses.gaussian_loss(delta)
    np.testing.assert_allclose(parts, linear @ linear, rtol=1e-12)
    # the antisymmetric part does not act
    np.testing.assert_allclose(gaussian_loss(delta - delta.T + np.eye(DIM)), gaussian_loss(np.eye(DIM)), rtol=1e-12)


def test_losses_of_other_inputs(delta, normal):
    rng = np.random.default_rng(4)
    sphere = normal * np.sqrt(DIM) / np.linalg.norm(normal, axis=1, keepdims=True)
    signs, uniform = rng.choice([-1.0, 1.0], (SAMPLES, DIM)), rng.uniform(-1, 1, (SAMPLES, DIM)) * np.sqrt(3)
    skewed = rng.exponential(size=(SAMPLES, DIM)) - 1  # third moment 2, fourth 9
    cases = [
        (sphere, losses.sphere_loss(delta)),
        (signs, losses.iid_loss(delta, -2.0)),
        (uniform, losses.iid_loss(delta, -1.2)),
        (skewed, losses.iid_loss(delta, 6.0)),
    ]
    for x, predicted in cases:
        values = quadratic(x, delta) ** 2
        assert_sampled(values, predicted)
        rejected(assert_sampled, values, losses.gaussian_loss(delta))
        rejected(assert_sampled, values, predicted - np.trace(delta) ** 2)


def test_truncation_error(delta):
    values, vectors = np.linalg.eigh(delta + delta.T)
    kept = vectors[:, 2:] @ np.diag(values[2:]) @ vectors[:, 2:].T
    np.testing.assert_allclose(losses.truncation_error(values[:2]), gaussian_loss(delta + delta.T - kept), rtol=1e-12)


# --- noisy inputs ----------------------------------------------------------------------------------------------------------


def test_noisy_loss(delta, normal):
    x, y, noise = np.linspace(-1, 1.5, DIM), 0.7, 0.3
    values = (y - quadratic(x + np.sqrt(noise) * normal, delta)) ** 2
    predicted = noisy_loss(delta, x, y, noise)
    q = (delta + delta.T) / 2
    assert_sampled(values, predicted)
    rejected(assert_sampled, values, noisy_loss(delta, x, y, np.sqrt(noise)))  # the standard deviation for the variance
    rejected(assert_sampled, values, predicted - 2 * noise**2 * np.sum(q**2))
    rejected(assert_sampled, values, predicted - 2 * noise * np.sum((q @ x) ** 2))
    np.testing.assert_allclose(noisy_loss(delta, x, y, 0.0), (y - x @ delta @ x) ** 2, rtol=1e-12)


def regression(x, y, constant):
    """Least squares on the products x_i x_j, i <= j, and a constant if asked for."""
    rows, columns = np.triu_indices(x.shape[1])
    gram, moment = 0, 0
    for part, values in zip(np.array_split(x, 50), np.array_split(y, 50), strict=True):
        features = np.concatenate([part[:, rows] * part[:, columns], np.ones((len(part), int(constant)))], axis=1)
        gram, moment = gram + features.T @ features, moment + features.T @ values
    found = np.linalg.solve(gram, moment)
    q = np.zeros((x.shape[1], x.shape[1]))
    q[rows, columns] = found[: len(rows)] / 2
    return q + q.T, found[-1]


def test_wiener_filter_is_the_regression_on_noisy_inputs(delta, covariance, normal):
    target, noise = (delta + delta.T) / 2, 0.4
    x = normal @ np.linalg.cholesky(covariance).T
    seen = x + np.sqrt(noise) * np.random.default_rng(5).standard_normal(x.shape)
    q, constant = regression(seen, quadratic(x, target), constant=True)

    def assert_close(found):
        np.testing.assert_allclose(found.q, q, atol=0.01)
        np.testing.assert_allclose(found.constant, constant, atol=0.01)

    assert_close(wiener(delta, covariance, noise))
    rejected(assert_close, wiener(delta, covariance, np.sqrt(noise)))
    rejected(assert_close, losses.Affine(target, jnp.asarray(0.0)))
    whole = wiener(delta, covariance, 0.0)
    np.testing.assert_allclose(whole.q, target, atol=1e-10)
    np.testing.assert_allclose(whole.constant, 0, atol=1e-10)


def test_isotropic_shrinkage_is_the_minimum_without_a_constant(delta, normal):
    target, noise = (delta + delta.T) / 2, 0.5
    x = normal[: SAMPLES // 5]
    seen = x + np.sqrt(noise) * np.random.default_rng(6).standard_normal(x.shape)
    q, _ = regression(seen, quadratic(x, target), constant=False)

    def assert_close(found):
        np.testing.assert_allclose(found, q, atol=0.02)  # 0.01 at a million samples

    found = isotropic_shrinkage(delta, noise)
    assert_close(found)
    rejected(assert_close, target / (1 + noise) ** 2)  # the trace of the filter with a constant
    rejected(assert_close, target / (1 + noise))
    trace = np.trace(target) * 1.5**-2 * (1 + DIM * noise / (DIM + 2))
    np.testing.assert_allclose(np.trace(found), trace, rtol=1e-12)
    # exactly the least mean noisy loss: 2 tr(D S D S) + (tr D S + c)^2 with the conditional mean of the target
    scale = 1 + noise
    away, constant = found - target / scale**2, -np.trace(target) * noise / scale
    slope = jax.grad(losses.gaussian_loss)(away, np.eye(DIM) * scale, None, constant)
    np.testing.assert_allclose(slope, 0, atol=1e-12)


# --- weight decay ----------------------------------------------------------------------------------------------------------


def descended(target, weight_decay, steps=20_000, rate=0.02):
    """W, V after gradient descent on 2 |D|^2 + (tr D)^2 + (omega/2)(|W|^2 + |V|^2), in directions of its own."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((len(target), len(target))))[0]
    matrix = basis @ np.diag(target) @ basis.T
    w, v = 0.5 * rng.standard_normal((2, len(target), len(target)))
    for _ in range(steps):
        D = (w @ v.T + v @ w.T) / 2 - matrix
        G = 4 * D + 2 * np.trace(D) * np.eye(len(target))
        w, v = w - rate * (G @ v + weight_decay * w), v - rate * (G @ w + weight_decay * v)
    return w, v


@pytest.mark.parametrize(
    ("weight_decay", "expected"),
    [
        (0.5, [-1.04375, -0.14375, 0.00625, 0.30625, 0.90625, 1.90625]),
        (1.5, [-2.2 / 3, 0, 0, 0.35 / 3, 2.15 / 3, 5.15 / 3]),
    ],
)
def test_descent_on_the_weights_reaches_the_optimum(weight_decay, expected):
    found = np.asarray(weight_decay_optimum(TARGET, weight_decay))
    np.testing.assert_allclose(np.sort(found), expected, atol=1e-12)
    np.testing.assert_allclose(np.sum(found - TARGET), -weight_decay / 8 if weight_decay == 0.5 else -0.55 / 3, atol=1e-12)
    w, v = descended(TARGET, weight_decay)
    q = np.linalg.eigvalsh((w @ v.T + v @ w.T) / 2)

    def assert_reached(predicted):
        np.testing.assert_allclose(q, np.sort(predicted), atol=1e-6)

    assert_reached(found)
    np.testing.assert_allclose(np.sum(w**2) + np.sum(v**2), 2 * np.sum(np.abs(found)), rtol=1e-6)
    rejected(assert_reached, weight_decay_optimum(TARGET, 2 * weight_decay))  # a threshold of omega/2
    rejected(assert_reached, np.sign(TARGET) * np.maximum(np.abs(TARGET) - weight_decay / 4, 0))  # without the trace


def objective(q, target, weight_decay):
    return 2 * np.sum((q - target) ** 2) + np.sum(q - target) ** 2 + weight_decay * np.sum(np.abs(q))


def test_weight_decay_optimum_is_the_minimum_everywhere():
    """The subgradient of a convex objective: no search needed. Ties, zeros, one sign, any order, nothing kept."""
    rng = np.random.default_rng(7)
    spectra = [*rng.standard_normal((4, 6)), np.zeros(6), np.ones(6), np.array([1, 1, 0, 0, -1, -1.0]), -TARGET, TARGET * 1e-9]
    for target in spectra:
        for weight_decay in (0.0, 0.3, 2.0, 7.0, 1e3):
            q = np.asarray(weight_decay_optimum(target, weight_decay))
            slope = 4 * (q - target) + 2 * np.sum(q - target)
            scale = 1e-13 * (1 + weight_decay)
            np.testing.assert_allclose(slope[q != 0], -weight_decay * np.sign(q[q != 0]), atol=scale)
            assert np.all(np.abs(slope[q == 0]) <= weight_decay + scale)
            np.testing.assert_allclose(weight_decay_optimum(target[::-1], weight_decay)[::-1], q, atol=scale)
    np.testing.assert_allclose(weight_decay_optimum(TARGET, 0.0), TARGET, rtol=1e-15)


def test_rank_falls_in_steps_along_the_path():
    decay = np.linspace(0, 16, 161)
    path = np.asarray(jax.vmap(losses.weight_decay_optimum, (None, 0))(TARGET, decay))
    np.testing.assert_allclose(path[15], weight_decay_optimum(TARGET, 1.5), rtol=1e-12)
    rank = np.sum(path != 0, axis=1)
    assert rank[0] == 6
    assert rank[-1] == 0
    assert np.all(np.diff(rank) <= 0)
    assert np.abs(np.diff(path, axis=0)).max() < 0.2 * 0.1 * 2  # continuous: no slope is above 1/4 (1 + 6/8)


def test_trained_readout_against_weights_and_grid():
    """One input: L + (omega/2)(p^2 + w^2 + v^2), whose trace term is absent; and a grid over q."""

    def value(q, target, weight_decay):
        return 2 * (q - target) ** 2 + 1.5 * weight_decay * np.abs(q) ** (2 / 3)

    grid = np.linspace(-2.5, 2.5, 2_000_001)
    for target in (2.0, 0.7, -1.2):
        critical = 4 * (abs(target) / 2) ** (4 / 3)
        for share in (0.0, 0.2, 0.8, 0.999, 1.001, 1.1, 3.0):
            omega = share * critical
            found = float(trained_readout_optimum(np.array([target]), omega)[0])
            values = value(grid, target, omega)
            best = grid[np.argmin(values)]
            np.testing.assert_allclose(found, best, atol=3e-6)
            assert value(found, target, omega) <= values.min() + 1e-12

            def weights(parameters, target=target, omega=omega):
                return 2 * (np.prod(parameters) - target) ** 2 + omega / 2 * np.sum(parameters**2)

            sizes = (abs(target) * np.array([1e-6, 0.6, 0.8, 1])) ** (1 / 3)
            starts = [size * np.array([np.sign(target), 1, 1]) for size in sizes]
            ends = [minimize(weights, start, method="BFGS", options=dict(gtol=1e-9)) for start in starts]
            end = min(ends, key=lambda end: end.fun)
            np.testing.assert_allclose(np.prod(end.x), found, atol=1e-5)
            np.testing.assert_allclose(end.fun, value(found, target, omega), atol=1e-8)

    def assert_jump(optimum_fn):
        """From q*/2 to 0, at 4 (|q*|/2)^(4/3)."""
        size = np.array([0.3, 1.0, 2.5])
        for target in size:
            critical = 4 * (target / 2) ** (4 / 3)
            below, above = (float(optimum_fn(np.array([target]), critical * (1 + sign * 1e-9))[0]) for sign in (-1, 1))
            np.testing.assert_allclose(below, target / 2, rtol=1e-8)
            assert above == 0

    assert_jump(trained_readout_optimum)
    rejected(assert_jump, weight_decay_optimum)
    rejected(assert_jump, lambda z, omega: trained_readout_optimum(z, 1.5 * omega))


def test_other_minimum_ends_where_said():
    """Beyond 12 (q*/4)^(4/3) the cost rises from 0 on; below it has a minimum that ends at q*/4."""
    q = np.linspace(1e-6, 1, 100_001)
    for share, falls in ((0.999, True), (1.001, False)):
        slope = 4 * (q - 1) + share * 12 * 0.25 ** (4 / 3) * q ** (-1 / 3)
        assert np.any(slope < 0) == falls
        np.testing.assert_allclose(q[np.argmin(slope)], 0.25, atol=0.01)


def test_a_unit_of_both_signs_is_cheaper_than_two():
    """The restriction in the docstring: sym(w v') with w.v = 0, |w| = |v| = p has two eigenvalues, +-p^3/2."""
    p = 1.3
    w, v = np.array([p, 0.0]), np.array([0.0, p])
    values = np.linalg.eigvalsh(p * (np.outer(w, v) + np.outer(v, w)) / 2)
    np.testing.assert_allclose(values, [-(p**3) / 2, p**3 / 2], rtol=1e-12)
    one = 3 * p**2 / 2
    np.testing.assert_allclose(one, 1.5 * np.sum(np.abs(values)) ** (2 / 3), rtol=1e-12)
    assert one < 1.5 * np.sum(np.abs(values) ** (2 / 3))


# --- as programs -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_derivatives(delta):
    for optimum in (weight_decay_optimum, trained_readout_optimum):
        derivative = jax.jit(jax.jacrev(optimum, (0, 1)))
        found = derivative(TARGET, 0.5)
        assert all(np.isfinite(part).all() for part in found)
        change = (np.asarray(optimum(TARGET, 0.5 + 1e-6)) - np.asarray(optimum(TARGET, 0.5 - 1e-6))) / 2e-6
        np.testing.assert_allclose(found[1], change, rtol=1e-6, atol=1e-8)
        at_zero = derivative(np.zeros(6), 0.0)
        assert all(np.isfinite(part).all() for part in at_zero)
    slope = jax.grad(losses.gaussian_loss)(jnp.asarray(delta))
    symmetric = (delta + delta.T) / 2
    np.testing.assert_allclose(slope, 4 * symmetric + 2 * np.trace(delta) * np.eye(DIM), rtol=1e-12)


@pytest.mark.slow
def test_dtype_follows_the_input_and_jit_changes_nothing(delta, covariance):
    calls = [
        (losses.gaussian_loss, (delta, covariance, np.ones(DIM), 0.5)),
        (losses.sphere_loss, (delta,)),
        (losses.iid_loss, (delta, -1.2)),
        (losses.truncation_error, (TARGET,)),
        (losses.noisy_loss, (delta, np.ones(DIM), 0.5, 0.3)),
        (losses.wiener, (delta, covariance, 0.3)),
        (losses.isotropic_shrinkage, (delta, 0.3)),
        (losses.weight_decay_optimum, (TARGET, 0.5)),
        (losses.trained_readout_optimum, (TARGET, 0.5)),
    ]
    for function, arguments in calls:
        eager, jitted = function(*arguments), jax.jit(function)(*arguments)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), eager, jitted)
        with jax.enable_x64(False):
            single = jax.jit(function)(*(jnp.asarray(argument, jnp.float32) for argument in arguments))
        assert {leaf.dtype for leaf in jax.tree.leaves(single)} == {jnp.dtype("float32")}
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5), single, eager)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (losses.gaussian_loss, (np.ones((2, 3)),), r"delta must have the shape \(dim, dim\)"),
        (losses.gaussian_loss, (np.eye(2), np.eye(3)), r"covariance must have the shape .* in delta, got \(3, 3\)"),
        (losses.gaussian_loss, (np.eye(2), None, np.ones(3)), "linear must have the shape"),
        (losses.noisy_loss, (np.eye(2), np.ones(3), 0.0, 0.1), "x must have the shape"),
        (losses.gaussian_loss, (np.eye(2), -np.eye(2)), "covariance must be symmetric and positive semi-definite"),
        (losses.gaussian_loss, (np.eye(2), np.array([[1.0, 0.5], [0.2, 1.0]])), "covariance must be symmetric"),
        (losses.iid_loss, (np.eye(2), -2.1), "excess_kurtosis must be at least -2"),
        (losses.noisy_loss, (np.eye(2), np.ones(2), 0.0, -0.1), "noise_variance must be at least 0"),
        (losses.wiener, (np.eye(2), np.eye(3), 0.1), "covariance must have the shape"),
        (losses.wiener, (np.eye(2), np.eye(2), -0.1), "noise_variance must be at least 0"),
        (losses.wiener, (np.eye(2), np.diag([1, -1]), 0.1), "covariance must be symmetric"),
        (losses.isotropic_shrinkage, (np.eye(2), -0.1), "noise_variance must be at least 0"),
        (losses.weight_decay_optimum, (np.ones(2), -0.1), "weight_decay must be at least 0"),
        (losses.trained_readout_optimum, (np.ones(2), -0.1), "weight_decay must be at least 0"),
    ],
)
def test_bad_arguments_are_named(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


# --------------------------------------------------------------------------------------------------- ends of the ranges


@pytest.mark.slow
def test_lists_and_integers():
    """As written by hand: no dtype comes from an argument that has none."""
    np.testing.assert_allclose(losses.weight_decay_optimum([1.5, 0.8], 1), [1.5 - 0.125, 0.8 - 0.125], rtol=1e-14)  # T = -1/4
    np.testing.assert_allclose(losses.trained_readout_optimum([1, -2], 0), [1, -2], rtol=1e-15)
    assert losses.gaussian_loss([[1, 2], [0, -1]]) == 8  # 2 (1 + 1 + 1 + 1)
    assert losses.gaussian_loss([[1, 2], [0, -1]], [[1, 0], [0, 2]], [1, 1], 1) == 2 * (1 + 2 + 2 + 4) + 0 + 3
    assert losses.displacement([[1, 2], [0, -1]], [1, 1], [0, 0], [True, False]) == 3
    with jax.enable_x64(False):
        assert losses.weight_decay_optimum([1.5, 0.8], 1).dtype == jnp.float32


@pytest.mark.slow
def test_infinite_noise_and_decay():
    """What is all noise tells nothing: the constant is the mean of the target. Infinite decay leaves nothing."""
    q, covariance = np.array([[1.0, 0.5], [0.5, -2.0]]), np.array([[2.0, 0.3], [0.3, 1.0]])
    for noise in (1e30, np.inf):
        found = losses.wiener(q, covariance, noise)
        np.testing.assert_allclose(found.q, 0, atol=1e-28)
        np.testing.assert_allclose(found.constant, np.sum(q * covariance), rtol=1e-14)
    np.testing.assert_array_equal(losses.isotropic_shrinkage(q, np.inf), np.zeros((2, 2)))
    # the trace comes back as 1/((d + 2) sigma^2), whose square in the denominator must not overflow
    with jax.enable_x64(False):
        np.testing.assert_allclose(np.diag(losses.isotropic_shrinkage(np.float32(q), 1e25)), -0.25e-25, rtol=1e-6)
    for optimum in (losses.weight_decay_optimum, losses.trained_readout_optimum):
        np.testing.assert_array_equal(optimum(TARGET, np.inf), np.zeros(6))
        np.testing.assert_array_equal(jax.grad(lambda e, optimum=optimum: jnp.sum(optimum(e, np.inf)))(TARGET), np.zeros(6))


def test_little_noise_costs_its_own_size():
    """The constant is sigma^2 tr Q* to first order, of which S - S (S + sigma^2)^-1 S keeps no digit."""
    q, covariance = np.diag([3.0, 1.0, -0.5]), np.array([[2.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 1.5]])
    for noise in (1e-9, 1e-14, 1e-20):
        np.testing.assert_allclose(losses.wiener(q, covariance, noise).constant, 3.5 * noise, rtol=5 * noise + 1e-13)


def test_covariance_of_lower_rank():
    """Inputs in a subspace, without noise: the target there, and no constant. With a little noise the same, almost."""
    row = np.array([1.0, 2.0, -1.0]) / np.sqrt(6)
    other = np.array([1.0, 0.0, 1.0]) / np.sqrt(2)
    q = np.array([[1.0, 0.5, 0.0], [0.5, -2.0, 0.3], [0.0, 0.3, 0.7]])
    for vectors in ([row], [row, other]):
        space = sum(np.outer(v, v) for v in vectors)
        for noise in (0.0, 1e-9):
            found = losses.wiener(q, 2.5 * space, noise)
            # beside noise 1e-9 the rounding of the covariance, 1e-16, is an eigenvalue of 1e-7
            np.testing.assert_allclose(found.q, space @ q @ space, atol=1e-14 if noise == 0 else 1e-6)
            np.testing.assert_allclose(found.constant, np.trace(q @ space) * noise, atol=1e-15)
    np.testing.assert_array_equal(losses.wiener(q, np.zeros((3, 3)), 0.0).q, np.zeros((3, 3)))


def test_signs_add_up_to_a_constant():
    """Rademacher inputs and a diagonal D: x^T D x is tr D, and a loss below 0 is none."""
    rng = np.random.default_rng(8)
    for _ in range(20):
        diagonal = rng.standard_normal(5) * [1, 1e3, 1e-3, 1, 1]
        np.testing.assert_allclose(losses.iid_loss(np.diag(diagonal), -2), np.sum(diagonal) ** 2, rtol=1e-14)


# ----------------------------------------------------------------------------------------------------- displacement


def test_displacement_is_that_of_the_mean_output_for_any_inputs():
    rng = np.random.default_rng(3)
    q, added, linear, x = (rng.normal(size=size) for size in ((4, 4), 4, 4, (50, 4)))
    x = np.abs(x)  # not Gaussian, with a mean

    def f(x, linear):
        return np.einsum("ni,ij,nj->n", x, q, x) + x @ linear

    def assert_change(mean):
        for row in (linear, None):
            expected = np.mean(f(x + added, 0 * linear if row is None else row) - f(x, 0 * linear if row is None else row))
            np.testing.assert_allclose(losses.displacement(q, added, mean, row), expected, rtol=1e-12)

    assert_change(x.mean(axis=0))
    rejected(assert_change, 0 * added)
    with pytest.raises(ValueError, match=r"mean must have the shape \(dim,\) with dim = 4"):
        losses.displacement(q, added, linear[:3])


# ---------------------------------------------------------------------------------------- what test_calls asks of everything


def symmetric(rng, dim=3, rank=None):
    """A covariance, of a random scale."""
    root = rng.standard_normal((dim, rank or dim)) * 10 ** rng.uniform(-3, 3)
    return root @ root.T


def symmetric_direction(x, rng):
    step = rng.standard_normal(x.shape)
    return np.abs(x).max() * (step + step.T) / 10


D = np.array([[1.3, 0.4, -0.2], [0.1, -0.8, 0.5], [0.3, 0.7, 0.2]])
S = np.array([[1.5, 0.3, -0.2], [0.3, 0.8, 0.1], [-0.2, 0.1, 0.5]])
ROW, Q_STAR = np.array([0.7, -1.2, 0.4]), np.array([2.0, 0.7, -0.3, -1.1])
ZERO, LOW_RANK = np.zeros((3, 3)), np.outer(ROW, ROW)
SPECTRA = [Q_STAR * [0, 1, 1, 1], np.zeros(4), Q_STAR * [1, 1e-9, 1e-9, 1], np.array([1.0, 1, -1, -1])]

CALLS = [
    Call(
        losses.gaussian_loss,
        {"delta": D, "covariance": S, "linear": ROW, "constant": 0.4},
        cases=[{"delta": ZERO}, {"covariance": ZERO}, {"covariance": LOW_RANK}, {"linear": 0 * ROW, "constant": 0.0}],
        scaling={"delta": 1, "linear": 1, "constant": 1},
        degree=2,
        draw=lambda rng: {"delta": D * 10 ** rng.uniform(-2, 2, (3, 3)), "covariance": symmetric(rng)},
        directions={"covariance": symmetric_direction},
    ),
    Call(losses.gaussian_loss, {"delta": D}, label="identity", scaling={"delta": 1}, degree=2),
    Call(losses.sphere_loss, {"delta": D}, cases=[{"delta": ZERO}], scaling={"delta": 1}, degree=2),
    Call(
        losses.iid_loss,
        {"delta": D, "excess_kurtosis": -1.2},
        cases=[{"delta": np.diag(ROW), "excess_kurtosis": -2.0}, {"delta": np.diag([1.0, -1, 0]), "excess_kurtosis": -2.0}],
        scaling={"delta": 1},
        degree=2,
    ),
    Call(
        losses.truncation_error,
        {"eigenvalues": Q_STAR},
        cases=[{"eigenvalues": np.zeros(4)}],
        scaling={"eigenvalues": 1},
        degree=2,
    ),
    Call(
        losses.noisy_loss,
        {"q": D, "x": ROW, "y": 0.6, "noise_variance": 0.3},
        cases=[{"q": ZERO}, {"x": 0 * ROW}],
        scaling={"q": 1, "y": 1},
        degree=2,
    ),
    Call(
        losses.wiener,
        {"target": D, "covariance": S, "noise_variance": 0.3},
        cases=[
            *(
                {"covariance": np.eye(3)},
                {"covariance": ZERO},
                {"covariance": LOW_RANK},
                {"noise_variance": 1e-12},
                {"noise_variance": 1e12},
            ),
            *({"covariance": LOW_RANK, "noise_variance": 0.0}, {"covariance": ZERO, "noise_variance": 0.0}),
        ],
        kinks=["case 5", "case 6"],  # the rank of the covariance is the rank of the result
        scaling={"covariance": 1, "noise_variance": 1},
        degree=(0, 1),
        single=lambda arguments: (
            np.linalg.cond(arguments["covariance"] + min(arguments["noise_variance"], 1e9) * np.eye(3)) < 1e3
        ),  # see the docstring
        draw=lambda rng: {
            "target": D * 10 ** rng.uniform(-2, 2, (3, 3)),
            "covariance": symmetric(rng),
            "noise_variance": 10 ** rng.uniform(-3, 3),
        },
        directions={"covariance": symmetric_direction},
    ),
    Call(
        losses.isotropic_shrinkage,
        {"target": D, "noise_variance": 0.3},
        cases=[{"target": ZERO}],
        edges={"noise_variance": [0.0, 1e-12, 1.0, 1e12, 1e30, np.inf]},
    ),
    Call(losses.displacement, {"q": D, "added": ROW, "mean": ROW[::-1].copy(), "linear": -2 * ROW}, cases=[{"added": 0 * ROW}]),
    Call(
        losses.displacement,
        {"q": D, "added": ROW, "mean": ROW[::-1].copy()},
        label="no linear term",
        scaling={"q": 1},
        degree=1,
    ),
    *(
        Call(
            optimum,
            {"eigenvalues": Q_STAR, "weight_decay": 0.9},
            cases=[{"eigenvalues": spectrum} for spectrum in SPECTRA],
            edges={"weight_decay": [0.0, 1e-9, 1e12, np.inf]},
            scaling={"eigenvalues": 1, "weight_decay": power},
            degree=1,
        )
        for optimum, power in ((losses.weight_decay_optimum, 1), (losses.trained_readout_optimum, 4 / 3))
    ),
]
