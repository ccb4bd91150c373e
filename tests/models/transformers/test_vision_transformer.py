"""The image classifier against numpy, and its settings."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.transformers import ode_transformer, vision_transformer
from closedform.models.transformers.vision_transformer import Config


def moved(params, shift):
    def one(leaf):
        return leaf + shift * jnp.sin(1.0 + jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape)

    return jax.tree.map(one, params)


def test_logits_against_numpy():
    config = Config(side=6, patch=3, num_classes=4)
    params = moved(vision_transformer.init(jax.random.key(0), config), 0.1)
    image = np.array(jax.random.normal(jax.random.key(1), (6, 6)))
    embed, norm, head = (params.layers[name] for name in ("embed", "norm", "head"))
    tokens = np.stack([image[row : row + 3, column : column + 3].ravel() for row in (0, 3) for column in (0, 3)])
    tokens = tokens @ np.asarray(embed["kernel"][...]) + np.asarray(embed["bias"][...]) + np.asarray(params.position)
    after = np.asarray(ode_transformer.apply(params.blocks, jnp.asarray(tokens), config.stack)).mean(axis=0)
    after = (after - after.mean()) / np.sqrt(after.var() + 1e-6)
    after = after * np.asarray(norm["scale"][...]) + np.asarray(norm["bias"][...])
    expected = after @ np.asarray(head["kernel"][...]) + np.asarray(head["bias"][...])
    got = vision_transformer.evaluate(params, jnp.asarray(image.ravel()), config)
    np.testing.assert_allclose(got.logits, expected, rtol=1e-9, atol=1e-11)
    assert float(got.num_sublayers) == 2 * config.stack.num_layers
    batch = jnp.stack([jnp.asarray(image.ravel()), jnp.cos(jnp.arange(36.0))])
    one_by_one = jnp.stack([vision_transformer.apply(params, one, config) for one in batch])
    np.testing.assert_allclose(vision_transformer.evaluate(params, batch, config).logits, one_by_one, rtol=1e-11)


def test_patches_are_where_they_were():
    assert vision_transformer.patches(jnp.arange(16.0), 2).tolist() == [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
        [8, 9, 12, 13],
        [10, 11, 14, 15],
    ]


@pytest.mark.slow
def test_weights_are_shared_by_layers_that_have_one_block():
    stack = Config().stack
    ends = 4 * 8 + 8 + 16 + 8 * 10 + 10 + 16 * 8
    block = 4 * 64 + 2 * 8 * 16 + 16 + 8
    for num_blocks in (1, 2, 4):
        config = Config(stack=replace(stack, num_blocks=num_blocks))
        params = vision_transformer.init(jax.random.key(0), config)
        assert vision_transformer.num_parameters(params) == ends + num_blocks * block


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "tolerance"), [("rk4", 1e-7), ("dopri5", 1e-5)])
def test_gradient_is_that_of_differences(scheme, tolerance):
    # the steps of an adaptive scheme move with the weights, and derivatives take them for fixed: hence a tight rtol
    config = Config(stack=replace(Config().stack, scheme=scheme, num_blocks=2, rtol=1e-9))
    params = vision_transformer.init(jax.random.key(0), config)
    x = jax.random.normal(jax.random.key(1), (64,))

    def loss(shift):
        return jnp.sum(jax.nn.log_softmax(vision_transformer.apply(moved(params, shift), x, config))[:3])

    difference = (loss(1e-6) - loss(-1e-6)) / 2e-6
    assert float(jax.grad(loss)(0.0)) == pytest.approx(float(difference), rel=tolerance)


def test_an_image_of_another_size():
    params = vision_transformer.init(jax.random.key(0), Config())
    with pytest.raises(ValueError, match=r"x must have side\^2 = 64 pixels along its last axis, got shape \(100,\)"):
        vision_transformer.apply(params, jnp.zeros(100))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"patch": 3}, "side must be a multiple of patch = 3, got 8"),
        ({"num_classes": 0}, "num_classes must be a whole number of at least 1, got 0"),
    ],
)
def test_wrong_settings(changed, message):
    with pytest.raises(ValueError, match=message):
        Config(**changed)
