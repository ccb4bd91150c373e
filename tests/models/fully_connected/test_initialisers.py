"""Orthonormal and Gaussian weights, and LSUV against a loop in numpy: what its variance is taken over, and when it rests."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.fully_connected import deep, initialisers
from closedform.models.fully_connected.deep import Config
from zoo.checks import rejected

SHAPES = Config(dim=6, widths=(6, 4, 9), num_outputs=4)  # square, wide, tall and wide


def assert_orthonormal(weights):
    """W W^T = 1 for out <= in, W^T W = 1 otherwise, to 1e-5 in float32."""
    for weight, shape in zip(weights, SHAPES.shapes, strict=True):
        w = np.asarray(weight, np.float32)
        assert w.shape == shape
        gram = w @ w.T if shape[0] <= shape[1] else w.T @ w
        np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-5)


def test_orthonormal_rows_or_columns():
    draw = jax.jit(lambda key: [initialisers.initialise(key, SHAPES, name).weights for name in ("orthonormal", "lecun")])
    orthonormal, gaussian = draw(jax.random.key(0))
    assert_orthonormal(orthonormal)
    rejected(assert_orthonormal, gaussian)
    rejected(assert_orthonormal, [1.01 * w for w in orthonormal])


def test_variances_of_gaussian_weights():
    """2/n, 2/(n + n') and 1/n for n inputs and n' outputs, and entries that are Gaussian: not cut off."""
    shape, config = (60, 140), Config(dim=140, widths=(), num_outputs=60)
    variances = {"he": 2 / 140, "xavier": 2 / 200, "lecun": 1 / 140}
    drawn = jax.jit(lambda key: {name: initialisers.initialise(key, config, name).weights for name in variances})
    for name, (w,) in drawn(jax.random.key(1)).items():
        w, variance = np.asarray(w), variances[name]
        assert w.shape == shape
        assert abs(np.var(w) / variance - 1) < 4 * np.sqrt(2 / w.size)
        assert abs(np.mean(w**4) / variance**2 - 3) < 4 * np.sqrt(96 / w.size)
        assert np.max(np.abs(w)) > 3 * np.sqrt(variance)
    with pytest.raises(ValueError, match="init must be one of orthonormal, he, xavier, lecun, got 'lsuv'"):
        initialisers.initialise(jax.random.key(1), config, "lsuv")


def all_entries(h, phi):
    return np.var(h)


def sequential(params, batch, phi, tolerance, variance_fn=all_entries):
    """The algorithm as a loop: from the first layer to the last, divide while the variance is off."""
    y, weights, counts = batch, [], []
    for weight, b in zip(params.weights, params.biases, strict=True):
        w, bias, count = np.asarray(weight), np.asarray(b), 0
        while abs((v := variance_fn(y @ w.T + bias, phi)) - 1) > tolerance and count < 20:
            w, count = w / np.sqrt(v), count + 1
        y = phi(y @ w.T + bias)
        weights.append(w)
        counts.append(count)
    return weights, counts


CONFIG = Config(dim=6, widths=(9, 4, 4, 4, 4), num_outputs=2, activation="softplus")


@functools.cache
def started():
    params = jax.jit(lambda key: initialisers.initialise(key, CONFIG, "orthonormal"))(jax.random.key(2))
    biased = params._replace(biases=tuple(0.3 * jax.random.normal(jax.random.key(3), b.shape) for b in params.biases))
    batch = 1.3 * jax.random.normal(jax.random.key(4), (20, 6)) + 0.2
    run = jax.jit(lambda start: initialisers.lsuv(start, batch, CONFIG, 1e-3))
    found = {name: run(start) for name, start in (("plain", params), ("biased", biased))}
    return {"plain": params, "biased": biased}, np.asarray(batch), found


def test_lsuv_is_the_loop():
    """Over all entries, the mean of all removed, before the nonlinearity: other variances are rejected."""
    starts, batch, found = started()
    softplus = lambda z: np.log1p(np.exp(z))  # noqa: E731

    def assert_same(variance_fn, name="plain"):
        weights, counts = sequential(starts[name], batch, softplus, 1e-3, variance_fn)
        params, log = found[name]
        for one, other in zip(params.weights, weights, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10)
        np.testing.assert_array_equal(log.num_rescalings, counts)

    assert_same(all_entries)
    assert_same(all_entries, "biased")
    rejected(assert_same, lambda h, phi: np.mean(np.var(h, axis=0)))  # of each unit over the batch, as in batch normalisation
    rejected(assert_same, lambda h, phi: np.var(phi(h)))  # after the nonlinearity
    rejected(assert_same, lambda h, phi: np.mean(h**2))  # the mean not removed
    rejected(assert_same, lambda h, phi: np.std(h))


def test_log_of_lsuv():
    """One division without biases, more with them; the scale is their product, the variance after it 1 within the tolerance."""
    starts, batch, found = started()
    for name, (params, log) in found.items():
        for before, after, scale in zip(starts[name].weights, params.weights, log.scale, strict=True):
            np.testing.assert_allclose(after, scale * before, rtol=1e-12)
        np.testing.assert_allclose(log.variance_after, 1, atol=1e-3)
        outputs = [deep.preactivations(params, x, CONFIG)[-1] for x in batch[:20]]
        np.testing.assert_allclose(np.var(outputs), log.variance_after[-1], rtol=1e-9)
        jax.tree.map(np.testing.assert_array_equal, params.biases, starts[name].biases)
    assert (np.asarray(found["plain"][1].num_rescalings) <= 1).all()
    np.testing.assert_allclose(found["plain"][1].scale, np.asarray(found["plain"][1].variance_before) ** -0.5, rtol=1e-9)
    assert (np.asarray(found["biased"][1].num_rescalings) > 1).any()


def test_layers_that_fit_or_cannot_be_scaled_are_left_alone():
    config = Config(dim=2, widths=(2,), num_outputs=1, activation="identity")
    params = deep.Params((jnp.eye(2), jnp.zeros((1, 2))), (jnp.zeros(2), jnp.ones(1)))
    same, log = initialisers.lsuv(params, jnp.asarray([[1.0, -1.0], [-1.0, 1.0]]), config)
    jax.tree.map(np.testing.assert_array_equal, same, params)
    np.testing.assert_array_equal(log.num_rescalings, [0, 0])
    np.testing.assert_array_equal(log.variance_after, [1, 0])
    same, log = initialisers.lsuv(params, jnp.full((2, 2), jnp.nan), config)
    np.testing.assert_array_equal(log.num_rescalings, [0, 0])
    _, log = initialisers.lsuv(params, 2 * jnp.asarray([[1.0, -1.0]]), config, max_rescalings=0)
    np.testing.assert_array_equal(log.variance_after, [4, 0])


@pytest.mark.parametrize(
    ("batch", "settings", "message"),
    [
        (np.ones(6), {}, r"batch must have the shape \(example, dim\) and not be empty, got \(6,\)"),
        (np.ones((0, 6)), {}, r"batch must have the shape \(example, dim\) and not be empty, got \(0, 6\)"),
        (np.ones((3, 5)), {}, r"x must have the shape \(dim,\) with dim = 6, got \(5,\)"),
        (np.ones((3, 6)), {"tolerance": float("nan")}, "tolerance must be at least 0, got nan"),
        (np.ones((3, 6)), {"max_rescalings": -1}, "max_rescalings must be at least 0, got -1"),
    ],
)
def test_refused_in_one_line(batch, settings, message):
    with pytest.raises(ValueError, match=message):
        initialisers.lsuv(started()[0]["plain"], batch, CONFIG, **settings)
