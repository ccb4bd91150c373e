"""XOR data: fair and independent signs down to the bits they come from, labels, clusters, sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.tasks import xor

_sample = jax.jit(xor.sample, static_argnums=(1, 2))
_sample_gaussian = jax.jit(xor.sample_gaussian, static_argnums=(1, 2, 3))
_sample_cluster = jax.jit(xor.sample_cluster, static_argnums=(1, 2))


def _draw_everything(key):
    return xor.sample(key, 40, 3), xor.sample_gaussian(key, 40, 3), xor.sample_cluster(key, 40, 3)


def _assert_signs(signs_fn, num_draws=40):
    """Fair, pairwise independent over samples and over coordinates, in every one of the 32 bit positions of a word.

    Bounds are 4.5 standard errors of a mean of signs, for the largest of a few thousand correlations: the chance that
    the right implementation fails for a fresh key is below 5 %, and the keys here are fixed.
    """
    num_samples, dim = 64, 48
    draws = np.stack([signs_fn(jax.random.key(seed), num_samples, dim) for seed in range(num_draws)])
    assert draws.shape == (num_draws, num_samples, dim)
    assert set(np.unique(draws)) == {-1.0, 1.0}
    # The mean of every sample over draws and coordinates: a bit position that is stuck shows here, whatever its order.
    np.testing.assert_allclose(draws.mean(axis=(0, 2)), 0, atol=4.5 / np.sqrt(num_draws * dim))
    np.testing.assert_allclose(draws.mean(axis=(0, 1)), 0, atol=4.5 / np.sqrt(num_draws * num_samples))
    between_samples = np.einsum("nsd,ntd->st", draws, draws) / (num_draws * dim)
    np.testing.assert_allclose(between_samples, np.eye(num_samples), atol=4.5 / np.sqrt(num_draws * dim))
    between_coordinates = np.einsum("nsd,nse->de", draws, draws) / (num_draws * num_samples)
    np.testing.assert_allclose(between_coordinates, np.eye(dim), atol=4.5 / np.sqrt(num_draws * num_samples))
    flat = draws.reshape(num_draws, -1)
    between_draws = flat @ flat.T / flat.shape[1]
    np.testing.assert_allclose(between_draws, np.eye(num_draws), atol=4.5 / np.sqrt(flat.shape[1]))


def test_signs_are_fair_and_independent():
    _assert_signs(xor.signs)


def _biased(key, num_samples, dim):
    return jnp.where(jax.random.uniform(key, (num_samples, dim)) < 0.55, 1.0, -1.0)


def _stuck_bit(key, num_samples, dim):
    return xor.signs(key, num_samples, dim).at[::32].set(1.0)


def _same_words_twice(key, num_samples, dim):
    return jnp.tile(xor.signs(key, num_samples // 2, dim), (2, 1))


def _one_row_for_all(key, num_samples, dim):
    return jnp.broadcast_to(xor.signs(key, 1, dim), (num_samples, dim))


def _key_ignored(key, num_samples, dim):
    return xor.signs(jax.random.key(0), num_samples, dim)


def _zero_one(key, num_samples, dim):
    return (xor.signs(key, num_samples, dim) + 1) / 2


@pytest.mark.parametrize("wrong", [_biased, _stuck_bit, _same_words_twice, _one_row_for_all, _key_ignored, _zero_one])
def test_signs_reject(wrong):
    with pytest.raises(AssertionError):
        _assert_signs(wrong)


@pytest.mark.parametrize(("num_samples", "dim"), [(1, 1), (32, 3), (33, 3), (50, 3), (96, 5)])
def test_signs_are_the_bits_of_the_words(num_samples, dim):
    """Every sign is its own bit: position k of word (r, i) goes to sample (31 - k) * rows + r, coordinate i."""
    key = jax.random.key(7)
    num_rows = -(-num_samples // 32)
    words = np.asarray(jax.random.bits(key, (num_rows, dim), jnp.uint32)).astype(np.uint64)
    expected = np.empty((32 * num_rows, dim))
    for position in range(32):
        bit = (words >> np.uint64(position)) & np.uint64(1)
        first = (31 - position) * num_rows
        expected[first : first + num_rows] = np.where(bit == 1, -1.0, 1.0)
    np.testing.assert_array_equal(xor.signs(key, num_samples, dim), expected[:num_samples])


def test_signs_are_the_same_in_both_precisions():
    key = jax.random.key(5)
    with jax.enable_x64(False):
        single = xor.signs(key, 40, 3)
    double = xor.signs(key, 40, 3)
    assert single.dtype == jnp.float32
    assert double.dtype == jnp.float64
    np.testing.assert_array_equal(np.asarray(single), np.asarray(double))


@pytest.mark.parametrize("x64", [False, True])
def test_dtype_is_the_default_one(x64):
    with jax.enable_x64(x64):
        expected = jnp.dtype("float64" if x64 else "float32")
        drawn = jax.eval_shape(_draw_everything, jax.random.key(0))
        assert {leaf.dtype for leaf in jax.tree.leaves(drawn)} == {expected}


def test_sample_depends_on_the_key_alone():
    one, same, other = (xor.sample(jax.random.key(seed), 40, 3)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_jit_equals_eager_and_vmap_equals_loop():
    keys = jax.random.split(jax.random.key(0), 3)
    jitted = jax.jit(_draw_everything)
    mapped = jax.jit(jax.vmap(_draw_everything))(keys)
    for seed, key in enumerate(keys):
        jax.tree.map(lambda u, v, seed=seed: np.testing.assert_allclose(u[seed], v, rtol=1e-13), mapped, jitted(key))
    jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, rtol=1e-13), jitted(keys[0]), _draw_everything(keys[0]))


def _assert_parity(label_fn):
    x = jnp.array([[1.0, -1, 1], [-1, 1, -1], [1, 1, -1], [-1, -1, 1], [2.0, -3, 1]])
    np.testing.assert_array_equal(label_fn(x), [1, 1, -1, -1, 6])
    np.testing.assert_array_equal(label_fn(x[0]), 1)
    np.testing.assert_array_equal(label_fn(x.reshape(5, 1, 3)), label_fn(x)[:, None])


def test_parity_is_minus_the_product():
    _assert_parity(xor.parity)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x[..., 0] * x[..., 1],  # the other sign
        lambda x: -x[..., 1] * x[..., 2],  # the paper's indices from one taken from zero
        lambda x: -jnp.prod(x, axis=-1),
        xor.sign_parity,
        lambda x: -2 * x[..., 0] * x[..., 1],
    ],
)
def test_parity_rejects(wrong):
    with pytest.raises(AssertionError):
        _assert_parity(wrong)


def test_sign_parity_is_its_sign():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(200, 4)))
    np.testing.assert_array_equal(xor.sign_parity(x), np.sign(xor.parity(x)))
    np.testing.assert_array_equal(xor.sign_parity(x[0]), xor.sign_parity(x)[0])


def test_sample_carries_its_label_and_every_cluster_alike():
    x, y = map(np.asarray, _sample(jax.random.key(2), 6400, 5))
    np.testing.assert_array_equal(y, -x[:, 0] * x[:, 1])
    share = [np.mean(np.all(x[:, :2] == mu, axis=1)) for mu in xor.CLUSTERS]
    np.testing.assert_allclose(share, 0.25, atol=4 * np.sqrt(3 / 16 / 6400))


def test_gaussian_inputs_and_both_labels():
    num_samples, dim = 20_000, 3
    drawn, y = _sample_gaussian(jax.random.key(2), num_samples, dim)
    np.testing.assert_array_equal(y, xor.sign_parity(drawn))
    x = np.asarray(drawn)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=4 / np.sqrt(num_samples))
    np.testing.assert_allclose(x.T @ x / num_samples, np.eye(dim), atol=4 * np.sqrt(2 / num_samples))
    np.testing.assert_allclose(np.mean(x**4, axis=0), 3, atol=4 * np.sqrt(96 / num_samples))
    # sign_parity correlates with x_1 x_2 by -E|x_1| E|x_2| = -2/pi: the factor between the two rates of section 3.7
    np.testing.assert_allclose(np.mean(y * x[:, 0] * x[:, 1]), -2 / np.pi, atol=4 / np.sqrt(num_samples))
    same_x, real = _sample_gaussian(jax.random.key(2), num_samples, dim, xor.parity)
    np.testing.assert_array_equal(same_x, x)
    np.testing.assert_array_equal(real, xor.parity(drawn))


def test_clusters_are_in_the_order_of_the_docstring():
    mu_1, mu_2 = np.array([1, -1]), np.array([1, 1])
    np.testing.assert_array_equal(xor.CLUSTERS, [mu_1, -mu_1, mu_2, -mu_2])
    np.testing.assert_array_equal(xor.CLUSTER_LABELS, xor.parity(jnp.asarray(xor.CLUSTERS, float)))


def test_cluster_points_are_fresh_off_the_plane():
    num_samples, dim = 500, 7
    x = np.asarray(_sample_cluster(jax.random.key(3), num_samples, dim))
    assert x.shape == (4, num_samples, dim)
    np.testing.assert_array_equal(x[..., :2], np.broadcast_to(xor.CLUSTERS[:, None], (4, num_samples, 2)))
    np.testing.assert_array_equal(xor.parity(jnp.asarray(x)), np.tile(xor.CLUSTER_LABELS[:, None], (1, num_samples)))
    perp = x[..., 2:]
    assert set(np.unique(perp)) == {-1.0, 1.0}
    np.testing.assert_allclose(perp.mean(axis=1), 0, atol=4.5 / np.sqrt(num_samples))
    between_clusters = np.einsum("cni,kni->ck", perp, perp) / (num_samples * (dim - 2))
    np.testing.assert_allclose(between_clusters, np.eye(4), atol=4.5 / np.sqrt(num_samples * (dim - 2)))


def test_two_coordinates_suffice():
    x, y = _sample(jax.random.key(0), 5, 2)
    assert x.shape == (5, 2)
    assert y.shape == (5,)
    np.testing.assert_array_equal(_sample_cluster(jax.random.key(0), 3, 2)[:, 0], xor.CLUSTERS)


@pytest.mark.parametrize("draw", [xor.sample, xor.sample_gaussian, xor.sample_cluster])
def test_bad_sizes_are_named(draw):
    with pytest.raises(ValueError, match="dim must be at least 2, got 1"):
        draw(jax.random.key(0), 5, 1)
    with pytest.raises(ValueError, match="num_samples must be at least 1, got 0"):
        draw(jax.random.key(0), 0, 5)


def test_signs_refuse_empty_sizes():
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        xor.signs(jax.random.key(0), 5, 0)
    with pytest.raises(ValueError, match="num_samples must be at least 1, got -1"):
        xor.signs(jax.random.key(0), -1, 5)
