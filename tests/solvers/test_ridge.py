import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from closedform.solvers import ridge

RNG = np.random.default_rng(0)


def normal_equations(features, y, delta):
    return np.linalg.solve(features.T @ features + delta * np.eye(features.shape[1]), features.T @ y)


@pytest.mark.parametrize(("samples", "width"), [(40, 7), (7, 40), (20, 20), (1, 3)])
def test_primal_and_dual_are_the_minimum(samples, width):
    features, y = RNG.standard_normal((samples, width)), RNG.standard_normal((samples, 2))
    for target in (y, y[:, 0]):
        weights = jax.jit(ridge.fit)(features, target, 0.3)
        np.testing.assert_allclose(weights, normal_equations(features, target, 0.3), rtol=1e-9, atol=1e-12)
    assert np.abs(weights - normal_equations(features, y[:, 0], 0.3 * samples)).max() > 1e-3 or samples == 1  # not divided by n


def test_a_kernel_gives_the_same_function():
    features, test, y = RNG.standard_normal((30, 50)), RNG.standard_normal((9, 50)), RNG.standard_normal(30)
    coefficients = ridge.fit_kernel(jnp.asarray(features @ features.T), jnp.asarray(y), 0.2)
    direct = test @ np.asarray(ridge.fit(jnp.asarray(features), jnp.asarray(y), 0.2))
    np.testing.assert_allclose(test @ features.T @ coefficients, direct, rtol=1e-10)


def test_many_panels_against_lapack():
    """Beyond one panel of the factorisation, and a number of rows that no panel divides."""
    features, y = RNG.standard_normal((700, 730)) / 27, RNG.standard_normal((700, 3))
    matrix = features @ features.T
    expected = linalg.cho_solve(linalg.cho_factor(matrix + 0.01 * np.eye(700)), y)
    np.testing.assert_allclose(jax.jit(ridge.fit_kernel)(matrix, y, 0.01), expected, rtol=1e-8, atol=1e-8)
    weights = jax.jit(ridge.fit)(features, y, 0.01)
    np.testing.assert_allclose(weights, features.T @ expected, rtol=1e-8, atol=1e-8)


def test_it_maps_over_the_ridge_and_has_its_derivative():
    features, y = jnp.asarray(RNG.standard_normal((12, 30))), jnp.asarray(RNG.standard_normal(12))
    ridges = jnp.array([0.01, 0.1, 1.0])
    mapped = jax.jit(jax.vmap(ridge.fit, (None, None, 0)))(features, y, ridges)
    for weights, delta in zip(mapped, ridges, strict=True):
        np.testing.assert_allclose(weights, ridge.fit(features, y, delta), rtol=1e-9)

    def size(delta, features):
        return jnp.sum(ridge.fit(features, y, delta) ** 2)

    slope, pull = jax.jit(jax.grad(size, (0, 1)))(0.1, features)
    change = (size(0.1 + 1e-6, features) - size(0.1 - 1e-6, features)) / 2e-6
    assert float(slope) == pytest.approx(float(change), rel=1e-6)
    step = 1e-6 * jnp.asarray(RNG.standard_normal(features.shape))
    change = (size(0.1, features + step) - size(0.1, features - step)) / 2
    assert float(jnp.sum(pull * step)) == pytest.approx(float(change), rel=1e-5)


def kernel(a, b):
    return jnp.exp(-jnp.sum((a["x"] - b["x"]) ** 2)) * a["scale"] * b["scale"]


@pytest.mark.slow
@pytest.mark.parametrize("block_size", [1, 3, 4, 7, 100])
def test_gram_by_blocks_is_the_whole(block_size):
    x = {"x": jnp.asarray(RNG.standard_normal((7, 3))), "scale": jnp.arange(1.0, 8)}
    y = {"x": jnp.asarray(RNG.standard_normal((5, 3))), "scale": jnp.arange(1.0, 6)}
    whole = jax.vmap(jax.vmap(kernel, (None, 0)), (0, None))
    np.testing.assert_allclose(ridge.gram(kernel, x, block_size=block_size), whole(x, x), rtol=1e-12)
    np.testing.assert_allclose(ridge.gram(kernel, x, y, block_size), whole(x, y), rtol=1e-12)
    np.testing.assert_allclose(ridge.gram(kernel, y, x, block_size), whole(y, x), rtol=1e-12)
    parts = ridge.gram(lambda a, b: jnp.stack([kernel(a, b), 2 * kernel(a, b)]), x, block_size=block_size)
    np.testing.assert_allclose(parts[..., 1], 2 * whole(x, x), rtol=1e-12)


def test_bad_input_is_refused_before_anything_compiles():
    features, y = jnp.ones((4, 3)), jnp.ones(4)
    with pytest.raises(ValueError, match=r"y must have the shape .* with sample = 4 as in features, got \(3,\)"):
        ridge.fit(features, jnp.ones(3), 1.0)
    with pytest.raises(ValueError, match="ridge must be at least 0 and finite, got -1"):
        ridge.fit(features, y, -1.0)
    with pytest.raises(ValueError, match="gram must be finite"):
        ridge.fit_kernel(jnp.full((4, 4), jnp.nan), y, 1.0)
    with pytest.raises(ValueError, match="y must be finite"):
        ridge.fit(features, y * jnp.inf, 1.0)
    with pytest.raises(ValueError, match="block_size must be at least 1, got 0"):
        ridge.gram(lambda a, b: a @ b, features, block_size=0)
    for ridge_ in (np.inf, np.nan):
        with pytest.raises(ValueError, match="ridge must be at least 0 and finite"):
            ridge.fit(features, y, ridge_)
    with pytest.raises(ValueError, match=r"ridge must be a single number, got shape \(2,\)"):
        ridge.fit(features, y, np.ones(2))
    with pytest.raises(ValueError, match=r"features must not be empty, got shape \(4, 0\)"):
        ridge.fit(features[:, :0], y, 1.0)
    with pytest.raises(ValueError, match=r"gram must have the shape"):
        ridge.fit_kernel(features, y, 1.0)


def deficient(samples, width, rank, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((samples, rank)) @ rng.standard_normal((rank, width)), rng.standard_normal((samples, 2))


@pytest.mark.parametrize("shape", [(6, 4, 2), (4, 6, 2), (5, 5, 5), (3, 1, 1)], ids=str)
def test_ridge_zero_gives_the_solution_of_least_norm(shape):
    features, y = deficient(*shape)
    matrix = features @ features.T
    for small in (0, 1e-18):
        np.testing.assert_allclose(ridge.fit(features, y, small), np.linalg.lstsq(features, y)[0], rtol=1e-9, atol=1e-12)
        expected = np.linalg.pinv(matrix, rcond=1e-12, hermitian=True) @ y
        np.testing.assert_allclose(ridge.fit_kernel(matrix, y, small), expected, rtol=1e-8, atol=1e-11)
    under_jit = jax.jit(lambda features, y: ridge.fit(features, y, 0.0))(features, y)
    np.testing.assert_allclose(under_jit, ridge.fit(features, y, 0.0), rtol=1e-10, atol=1e-13)


def test_kernels_of_rank_one():
    """(1 1' + r)^-1 t for t = 0..4, of sum 10: the coefficients have the sum 10/(5 + r)."""
    for ones, rtol in ((np.ones((5, 5)), 1e-9), (np.ones((5, 5), np.float32), 1e-4)):
        for delta in (0, 1e-16, 1e-14, 1e-12, 1.0):
            coefficients = ridge.fit_kernel(ones, [0, 1, 2, 3, 4], delta)
            np.testing.assert_allclose(coefficients.sum(), 10 / (5 + delta), rtol=rtol)
            assert coefficients.dtype == ones.dtype
    assert np.isnan(ridge.fit_kernel([[1.0, 2.0], [2.0, 1.0]], [1, 1], 0)).any()  # an eigenvalue of -1


def test_derivatives_at_ridge_zero():
    """At a rank that stays, and at repeated eigenvalues."""
    rng = np.random.default_rng(0)
    left, right, d_left, d_right = (rng.standard_normal(shape) for shape in ((6, 2), (2, 4)) * 2)
    y, dy = rng.standard_normal((2, 6))

    def fit(step):
        return ridge.fit((left + step * d_left) @ (right + step * d_right), y + step * dy, 0.0)

    def fit_kernel(step):
        return ridge.fit_kernel((left + step * d_left) @ (left + step * d_left).T, y + step * dy, 0.0)

    for function in (fit, fit_kernel):
        slope = jax.jvp(function, (0.0,), (1.0,))[1]
        np.testing.assert_allclose(slope, (function(1e-6) - function(-1e-6)) / 2e-6, rtol=1e-6, atol=1e-8)
    pull = jax.grad(lambda gram: jnp.sum(ridge.fit_kernel(gram, jnp.array([1.0, 2.0]), 0.0)))(jnp.eye(2))
    np.testing.assert_allclose(pull, -np.ones((2, 1)) * np.array([1.0, 2.0]), rtol=1e-12)


def test_whole_numbers_lists_and_booleans_are_numbers():
    features = [[1, 0], [1, 1], [0, 1]]
    expected = ridge.fit(jnp.asarray(features, float), jnp.array([1.0, 0.0, 1.0]), 0.5)
    for y in ([1, 0, 1], np.array([True, False, True]), np.array([1, 0, 1])):
        for given in (features, np.array(features), np.array(features, bool)):
            np.testing.assert_array_equal(ridge.fit(given, y, np.float64(0.5)), expected)
