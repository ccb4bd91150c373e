"""The encoder against loops in numpy, what its tokens may know of one another, and copies of tokens as counts."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closedform.models.transformers import transformer
from closedform.models.transformers.transformer import Config
from zoo.checks import config as checked_config
from zoo.checks import rejected

SIZES = {"input_dim": 4, "num_outputs": 2, "dim": 5, "num_heads": 2, "head_dim": 3, "width": 6, "num_layers": 2}
X = np.random.default_rng(0).normal(size=(5, 4))


def drawn(**settings):
    """Numbers from numpy, biases, scales and shifts among them: nothing is compiled."""
    config = Config(**SIZES | {"eps": 1e-2} | settings)
    shapes = jax.eval_shape(lambda: transformer.init(jax.random.key(0), config))
    rng = np.random.default_rng(1)
    return config, jax.tree.map(lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape)), shapes)


@functools.cache
def run(config):
    return jax.jit(lambda params, x, counts=None: transformer.evaluate(params, x, config, counts))


def by_loops(params, x, config, copies):
    """Head by head, query by query; the tokens that are absent are left out."""
    p = jax.tree.map(np.asarray, params)
    x = x @ p.embedding + (0 if p.position is None else p.position[: len(x)])

    def norm(x, part, layer):
        scale, shift = (leaf if layer is None else leaf[layer] for leaf in part)
        return (x - x.mean()) / np.sqrt(x.var() + config.eps) * scale + shift

    kept = []
    for layer in range(config.num_layers):

        def linear(name, x, layer=layer):
            kernel, bias = (leaf[layer] for leaf in getattr(p.layers, name))
            return np.tensordot(x, kernel, x.ndim) + bias

        read = np.array([norm(row, p.layers.norm_attention, layer) for row in x]) if config.norm == "pre" else x
        after, weights = [], np.zeros((config.num_heads, len(x), len(x)))
        for i in range(len(x)):
            seen = [j for j in range(len(x)) if copies[j] > 0 and (j <= i or not config.causal)]
            mixed = np.zeros(p.layers.value.kernel.shape[2:])
            for head in range(config.num_heads):
                query = linear("query", read[i])[head]
                scores = np.array([query @ linear("key", read[j])[head] for j in seen]) / config.head_dim**0.5
                if config.scaling == "log_length":
                    scores = scores * np.log(sum(copies[j] for j in seen))
                share = np.exp(scores) * [copies[j] for j in seen]
                share = share / share.sum()
                weights[head, i, seen] = share
                mixed[head] = share @ [linear("value", read[j])[head] for j in seen]
            row = x[i] + linear("output", mixed)
            row = norm(row, p.layers.norm_attention, layer) if config.norm == "post" else row
            inner = norm(row, p.layers.norm_mlp, layer) if config.norm == "pre" else row
            row = row + linear("mlp_out", transformer.ACTIVATIONS[config.activation](linear("mlp_in", inner)))
            after.append(norm(row, p.layers.norm_mlp, layer) if config.norm == "post" else row)
        x = np.array(after)
        kept.append(weights)
    if config.norm == "pre":
        x = np.array([norm(row, p.norm, None) for row in x])
    here = {"every": slice(None), "first": 0, "last": int(np.sum(np.asarray(copies) > 0)) - 1}
    x = np.average(x, axis=0, weights=copies) if config.readout == "mean" else x[here[config.readout]]
    weights = np.array(kept)
    rows = weights[:, :, here[config.readout]] if config.readout in ("first", "last") else weights
    return x @ p.head.kernel + p.head.bias, rows


CASES = [
    ({"norm": "none", "causal": True, "scaling": "log_length", "readout": "every", "num_positions": 5}, None),
    ({"norm": "post", "scaling": "log_length", "readout": "last", "activation": "tanh"}, [1, 1, 1, 1, 0]),
    ({"norm": "pre", "readout": "mean", "activation": "gelu"}, [1, 2.5, 3, 1, 0]),
]


def assert_as_by_loops(settings, counts, change_fn=lambda config: config):
    config, params = drawn(**settings)
    copies = np.ones(len(X)) if counts is None else counts
    given = None if counts is None else jnp.asarray(counts)
    expected, weights = by_loops(params, X, change_fn(config), copies)
    outputs, attention = run(config)(params, jnp.asarray(X), given)
    np.testing.assert_allclose(outputs, expected, rtol=1e-9)
    np.testing.assert_allclose(attention, weights, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(("settings", "counts"), CASES)
def test_outputs_and_attention_by_loops(settings, counts):
    assert_as_by_loops(settings, counts)


def test_loops_tell_a_wrong_encoder():
    """The order of causal attention, the length that a query sees, and where layer norm stands."""
    settings, counts = CASES[0]
    rejected(assert_as_by_loops, settings, counts, lambda config: replace(config, causal=False))
    rejected(assert_as_by_loops, settings, counts, lambda config: replace(config, scaling="constant"))
    settings, counts = CASES[1]
    rejected(assert_as_by_loops, settings, counts, lambda config: replace(config, head_dim=6))  # the root of all heads
    rejected(assert_as_by_loops, settings, counts, lambda config: replace(config, readout="first"))


def test_a_single_query_is_a_row_of_all():
    """Where there is no layer in front of the last."""
    config, params = drawn(num_layers=1, norm="post", readout="first")
    outputs, attention = run(config)(params, jnp.asarray(X))
    whole = run(replace(config, readout="every"))(params, jnp.asarray(X))
    np.testing.assert_allclose(outputs, whole.outputs[0], rtol=1e-12)
    np.testing.assert_allclose(attention, whole.attention[:, :, 0], rtol=1e-12)


def test_copies_count_as_copies():
    """A row with the count 3 is as good as three rows in attention, ln N and the mean; an absent row is as good as none."""
    config, params = drawn(norm="post", scaling="log_length", readout="mean")
    evaluate, x = run(config), jnp.asarray(X)
    several = evaluate(params, x[jnp.array([0, 1, 1, 1, 2])], jnp.ones(5)).outputs
    counted = evaluate(params, x, jnp.array([1.0, 3, 1, 0, 0])).outputs
    np.testing.assert_allclose(counted, several, rtol=1e-11)
    assert np.abs(counted - evaluate(params, x, jnp.array([1.0, 1, 1, 0, 0])).outputs).max() > 1e-3


def test_a_causal_token_knows_nothing_of_those_behind_it():
    config, params = drawn(causal=True, norm="pre", num_layers=1)
    slope = jax.jit(jax.jacfwd(lambda x: transformer.apply(params, x, config)[2]))(jnp.asarray(X))
    np.testing.assert_array_equal(slope[:, 3:], 0)
    assert np.all(np.abs(slope[:, :3]).max(axis=(0, 2)) > 1e-4)


def test_layer_norm_without_eps_of_equal_entries_is_its_shift():
    part = transformer.Norm(jnp.full(3, 2.0), jnp.array([1.0, 2.0, 3.0]))
    for entries, expected in (([5.0, 5.0, 5.0], [1, 2, 3]), ([1e-9, 0.0, -1e-9], [1 + 6**0.5, 2, 3 - 6**0.5])):
        np.testing.assert_allclose(transformer._normalised(jnp.array(entries), part, 0.0), expected, rtol=1e-12)
    slope = jax.grad(lambda x: jnp.sum(transformer._normalised(x, part, 0.0) ** 2))(jnp.full(3, 5.0))
    assert np.isfinite(slope).all()


def test_sizes_and_scales_of_the_draw():
    config = Config(input_dim=30, dim=40, head_dim=8, num_heads=3, width=50, num_layers=2, num_positions=20, norm="pre")
    params = transformer.init(jax.random.key(0), config)
    layers = params.layers
    assert layers.query.kernel.shape == (2, 40, 3, 8)
    assert layers.output.kernel.shape == (2, 3, 8, 40)
    for kernel, inputs in ((layers.query.kernel, 40), (layers.output.kernel, 24), (layers.mlp_out.kernel, 50)):
        np.testing.assert_allclose(np.std(kernel[0]) * inputs**0.5, 1, atol=0.1)
        assert np.abs(kernel[0] - kernel[1]).max() > 0.1
    for drawn in (params.embedding, params.position):
        np.testing.assert_allclose(np.std(drawn), 1, atol=0.1)
    np.testing.assert_array_equal(params.norm.scale, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head_dim": 0}, "head_dim must be a whole number of at least 1, got 0"),
        ({"norm": "both"}, "norm must be 'none' or 'post' or 'pre', got 'both'"),
        ({"eps": -1e-5}, "eps must be a number of at least 0, got -1e-05"),
        ({"num_positions": -1}, "num_positions must be a whole number of at least 0, got -1"),
    ],
)
def test_config_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        checked_config(Config, **settings)


def test_what_does_not_fit_is_refused():
    config, params = drawn(num_positions=3)
    with pytest.raises(ValueError, match=r"^x must have at most num_positions = 3 tokens, got 5$"):
        transformer.apply(params, jnp.asarray(X), config)
    config, params = drawn()
    with pytest.raises(ValueError, match=r"^counts must have one number for each of the 5 tokens, got shape \(3,\)$"):
        transformer.apply(params, jnp.asarray(X), config, jnp.ones(3))
