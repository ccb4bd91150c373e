import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.fully_connected import random_feature_network as network
from closedform.models.transformers import random_feature_attention as attention
from closedform.tasks import sphere_tokens


def by_loops(w, v, x, augment):
    """f of one example, as the definition reads."""
    u = np.concatenate([x, np.ones((len(x), 1))], axis=1) if augment else x
    heads, keys = w.shape[1], len(u) - 1
    total = 0.0
    for m in range(heads):
        phi = np.zeros(u.shape[1])
        for i in range(1, keys + 1):
            phi += max(u[0] @ w[:, m, :] @ u[i], 0.0) * u[i]
        total += v[m] @ phi / keys
    return total / np.sqrt(heads)


@pytest.fixture(params=[(False, 0.0), (True, 0.0), (False, 1.0), (True, 1.0)], ids=str)
def layer(request):
    augment, mean_strength = request.param
    config = attention.Config(4, 3, 6, augment, 0.5, mean_strength)
    params = attention.init(jax.random.key(0), config)
    params = params._replace(v=jax.random.normal(jax.random.key(1), params.v.shape))
    return config, params, sphere_tokens.sample(jax.random.key(2), 5, 3, 4)


def test_it_is_the_definition(layer):
    config, params, x = layer
    values = jax.vmap(attention.apply, (None, 0))(params, x)
    expected = [by_loops(np.asarray(params.w), np.asarray(params.v), np.asarray(one), config.augment) for one in x]
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-14)


def test_fact_9_order_of_keys_and_joint_sign(layer):
    config, params, x = layer
    one = x[0]
    turned = jnp.concatenate([one[:1], one[1:][::-1]])
    features = attention.features(params.w, one)
    np.testing.assert_allclose(features, attention.features(params.w, turned), rtol=1e-12, atol=1e-15)
    flipped = attention.features(params.w, -one)
    if config.augment:
        assert jnp.max(jnp.abs(features + flipped)) > 1e-3  # the constant breaks the symmetry
    else:
        np.testing.assert_allclose(flipped, -features, rtol=1e-12, atol=1e-15)
    # the query is no key
    swapped = jnp.concatenate([one[1:2], one[:1], one[2:]])
    assert jnp.max(jnp.abs(features - attention.features(params.w, swapped))) > 1e-3


def test_linear_in_the_values_and_features_are_the_gradient(layer):
    _, params, x = layer
    gradient = jax.grad(attention.apply)(params, x[0]).v
    np.testing.assert_allclose(gradient, attention.features(params.w, x[0]), rtol=1e-12, atol=1e-15)


def test_heads_have_the_mean_and_the_deviation_asked_for():
    config = attention.Config(3, 2, 20_000, True, 0.5, 2.0)
    w = np.asarray(attention.init(jax.random.key(0), config).w)
    mean, std = w.mean(axis=1), w.std(axis=1)
    expected = np.diag([2.0, 2.0, 2.0, 0.0])  # no mean at the constant
    np.testing.assert_allclose(mean, expected, atol=5 * 0.5 / np.sqrt(20_000))
    np.testing.assert_allclose(std, 0.5, rtol=0.03)
    assert config.num_features == 80_000


def test_tokens_of_another_dimension_are_refused():
    w = attention.init(jax.random.key(0), attention.Config(4, 3, 2)).w
    with pytest.raises(ValueError, match="dimension of the heads or one less"):
        attention.features(w, jnp.ones((4, 2)))


@pytest.mark.parametrize("field", ["dim", "num_keys", "num_heads"])
def test_sizes_must_be_positive(field):
    with pytest.raises(ValueError, match=f"{field} must be a whole number of at least 1, got 0"):
        attention.Config(**{field: 0})


@pytest.mark.parametrize("name", ["weight_std", "mean_strength"])
def test_scales_must_be_finite(name):
    with pytest.raises(ValueError, match=f"{name} must be a .*number"):
        attention.Config(**{name: float("nan")})


def test_the_network_is_its_definition():
    config = network.Config(4, 3, 7)
    params = network.init(jax.random.key(0), config)
    params = params._replace(v=jax.random.normal(jax.random.key(1), (7,)))
    x = sphere_tokens.sample(jax.random.key(2), 5, 3, 4)
    for one in x:
        z = np.append(np.asarray(one).ravel(), 1.0)
        hidden = np.maximum(z @ np.asarray(params.w) / np.sqrt(5), 0)
        assert float(network.apply(params, one)) == pytest.approx(hidden @ np.asarray(params.v) / np.sqrt(7), rel=1e-12)
        assert z @ z == pytest.approx(5)  # pre-activations have variance 1
