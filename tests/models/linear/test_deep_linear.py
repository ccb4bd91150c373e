"""Starts of the deep linear network against what defines them, and its matrices against the network applied to vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.linear import deep_linear
from closedform.models.linear.deep_linear import Config
from zoo.checks import rejected

WIDER = Config(dim=3, widths=(5, 4), num_outputs=2, scale=0.5)


def key(seed=0):
    return jax.random.key(seed, impl="threefry2x32")


def drawn(config, seed=0):
    return deep_linear.init(key(seed), config)


def numbers(config=WIDER, seed=0):
    rng = np.random.default_rng(seed)
    return deep_linear.Params(tuple(jnp.asarray(rng.normal(size=shape)) for shape in config.shapes))


def test_matrices_are_those_of_the_network():
    params, basis = numbers(), np.eye(3)
    through = jax.vmap(lambda x: deep_linear.layers(params, x))(basis)
    for seen, matrix in zip(through, deep_linear.products(params), strict=True):
        np.testing.assert_allclose(seen.T, matrix, rtol=1e-5)
    np.testing.assert_allclose(deep_linear.product(params), np.linalg.multi_dot(params.weights[::-1]), rtol=1e-5)
    np.testing.assert_allclose(deep_linear.apply(params, basis[0]), deep_linear.product(params)[:, 0], rtol=1e-5)


@pytest.mark.parametrize("inner", [1, 8, 9])
def test_products_written_out_are_products(inner):
    rng = np.random.default_rng(inner)
    a, b = jnp.asarray(rng.normal(size=(3, inner))), jnp.asarray(rng.normal(size=(inner, 2)))
    np.testing.assert_allclose(deep_linear.matmul(a, b), np.asarray(a) @ np.asarray(b), rtol=1e-12)


@pytest.mark.parametrize("widths", [(5, 4), (1,), (), (2, 2, 2)])
def test_balanced_starts_are_balanced(widths):
    def assert_balanced(config):
        params = drawn(config)
        for difference in deep_linear.imbalances(params):
            np.testing.assert_allclose(difference, 0, atol=1e-6)
        values = np.linalg.svd(np.asarray(deep_linear.product(params)), compute_uv=False)
        assert np.sum(values > 1e-6) == min(3, 2, *widths, 9)

    config = Config(dim=3, widths=widths, num_outputs=2, scheme="balanced", scale=0.8)
    assert_balanced(config)
    if len(widths) > 0:
        rejected(assert_balanced, Config(dim=3, widths=widths, num_outputs=2, scheme="unit_gaussian", scale=0.8))


@pytest.mark.parametrize(("imbalance", "sizes"), [(0.7, (2, 3, 4)), (-0.7, (4, 3, 2)), (0.0, (3, 5, 2)), (2.0, (4, 2, 3))])
def test_imbalanced_starts(imbalance, sizes):
    """W_2^T W_2 - W_1 W_1^T = lambda I, with more hidden units than inputs (lambda > 0) or than outputs (lambda < 0)."""
    dim, width, num_outputs = sizes

    def assert_multiple_of_identity(wanted):
        params = drawn(Config(dim, (width,), num_outputs, "lambda_balanced", 0.9, imbalance))
        np.testing.assert_allclose(deep_linear.imbalances(params)[0], wanted * np.eye(width), atol=1e-6)
        assert np.linalg.norm(np.asarray(deep_linear.product(params))) > 0.1

    assert_multiple_of_identity(imbalance)
    if imbalance:
        rejected(assert_multiple_of_identity, -imbalance)


def test_the_product_of_a_balanced_start_is_a_gaussian_matrix():
    """Its mean square is a^(2 L), its fourth moment three times the square, and its entries are uncorrelated."""
    config = Config(dim=3, widths=(4, 3), num_outputs=2, scheme="balanced", scale=0.5)

    def entries(key):
        return deep_linear.product(deep_linear.init(key, config)) / 0.5**3

    # one after the other: with jaxlib before 0.11.1, two batches of decompositions can wait for one another for ever
    found = np.asarray(jax.lax.map(entries, jax.random.split(key(), 8000))).reshape(8000, 6)
    np.testing.assert_allclose(found.T @ found / 8000, np.eye(6), atol=5 * (2 / 8000) ** 0.5)
    np.testing.assert_allclose(np.mean(found**4, axis=0), 3, atol=5 * (96 / 8000) ** 0.5)


def test_gaussian_and_aligned_starts():
    wide = Config(dim=400, widths=(100,), num_outputs=50, scale=0.3)
    first, second = drawn(wide).weights
    np.testing.assert_allclose([first.std() * 20, second.std() * 10], 0.3, rtol=0.03)  # inputs 400 and 100
    first, second = drawn(Config(400, (100,), 50, "unit_gaussian", 0.3)).weights
    np.testing.assert_allclose([first.std(), second.std()], 0.3, rtol=0.03)
    aligned = drawn(Config(dim=3, widths=(5, 4), num_outputs=2, scheme="aligned", scale=0.5))
    np.testing.assert_allclose(deep_linear.product(aligned), 0.5**3 * np.eye(2, 3))


def test_rotated():
    params, rng = numbers(), np.random.default_rng(1)
    left, right = (jnp.asarray(np.linalg.qr(rng.normal(size=(n, n)))[0]) for n in (2, 3))
    expected = left @ np.asarray(deep_linear.product(params)) @ right.T
    np.testing.assert_allclose(deep_linear.product(deep_linear.rotated(params, left, right)), expected, rtol=1e-5)
    one = deep_linear.Params((params.weights[0][:2],))  # one layer is turned on both sides
    expected = left @ one.weights[0] @ right.T
    np.testing.assert_allclose(deep_linear.product(deep_linear.rotated(one, left, right)), expected, rtol=1e-5)


def test_population_loss_is_the_mean_over_samples():
    params, rng = numbers(), np.random.default_rng(2)
    x, y = jnp.asarray(rng.normal(size=(50, 3))), jnp.asarray(rng.normal(size=(50, 2)))
    square = float(np.mean(np.sum(np.square(y), axis=1)))

    def assert_mean(loss_fn):
        expected = np.mean(np.sum((y - x @ np.asarray(deep_linear.product(params)).T) ** 2, axis=1)) / 2
        np.testing.assert_allclose(loss_fn(params, x.T @ x / 50, y.T @ x / 50, square), expected, rtol=1e-5)

    assert_mean(deep_linear.population_loss)
    rejected(assert_mean, lambda p, covariance, cross, square: deep_linear.population_loss(p, covariance, 2 * cross, square))


def test_tangent_matrix():
    """x^T M x' is the inner product of the gradients of the output in all weights."""
    params = numbers(Config(dim=3, widths=(5, 4), num_outputs=1))
    x = np.random.default_rng(3).normal(size=(4, 3))
    gradients = jax.vmap(jax.grad(lambda p, x: deep_linear.apply(p, x)[0]), (None, 0))(params, x)
    flat = np.concatenate([np.asarray(g).reshape(4, -1) for g in gradients.weights], axis=1)
    np.testing.assert_allclose(x @ np.asarray(deep_linear.tangent_matrix(params)) @ x.T, flat @ flat.T, rtol=1e-4)
    with pytest.raises(ValueError, match="one output, got 2"):
        deep_linear.tangent_matrix(numbers())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scheme": "lambda_balanced", "widths": (2, 2)}, "widths must be one hidden layer"),
        ({"imbalance": 1.0}, "imbalance must be 0 unless scheme is lambda_balanced, got 1.0 with gaussian"),
        ({"scheme": "lambda_balanced", "imbalance": 1.0, "widths": (9,)}, "at most num_outputs 8 for an imbalance above 0"),
        ({"scheme": "lambda_balanced", "imbalance": -1.0, "dim": 4}, "at most dim 4 for an imbalance below 0"),
        ({"scale": -1.0}, "scale"),
        ({"widths": (0,)}, "widths"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Config(**arguments)


def test_inputs_are_one_example():
    with pytest.raises(ValueError, match="one example"):
        deep_linear.apply(numbers(), jnp.ones((2, 3)))
