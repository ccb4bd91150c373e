"""The deep network against a loop over Python numbers, its scalings against their table, and its loops over equal layers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from closedform.models.fully_connected import deep
from closedform.models.fully_connected.deep import Config
from zoo.checks import rejected

SCALINGS = ("standard", "mean_field", "maximal_update")


def numbers(config, seed=0):
    rng = np.random.default_rng(seed)
    weights = tuple(jnp.asarray(rng.normal(size=shape)) for shape in config.shapes)
    return deep.Params(weights, tuple(jnp.asarray(rng.normal(size=out)) for out, _ in config.shapes))


def by_hand(params, x, activation, multipliers):
    y, found = np.asarray(x), []
    for weight, bias, multiplier in zip(params.weights, params.biases, multipliers, strict=True):
        h = multiplier * np.asarray(weight) @ y + np.asarray(bias)
        found.append(h)
        y = activation(h)
    return found


def assert_layers(preactivations_fn, scaling):
    """Widths of all kinds, with a run of equal layers that is one loop; multipliers of the table of the module."""
    config = Config(dim=5, widths=(3, 5, 5, 5, 5, 2), num_outputs=2, activation="erf", scaling=scaling)
    params, x = numbers(config), np.linspace(-1, 1, 5)
    fan_in = [5, 3, 5, 5, 5, 5, 2]
    factors = {
        "standard": [1] * 7,
        "mean_field": [1, *(1 / n for n in fan_in[1:])],
        "maximal_update": [1, *(n**-0.5 for n in fan_in[1:-1]), 1 / 2],
    }
    expected = by_hand(params, x, scipy.special.erf, factors[scaling])
    for one, other in zip(preactivations_fn(params, x, config), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_layers(scaling):
    assert_layers(deep.preactivations, scaling)
    rejected(
        assert_layers, lambda p, x, c: deep.preactivations(p._replace(biases=tuple(0 * b for b in p.biases)), x, c), scaling
    )
    if scaling != "standard":
        rejected(assert_layers, lambda p, x, c: deep.preactivations(p, x, Config(activation="erf")), scaling)


def test_the_output_and_no_hidden_layer():
    config = Config(dim=3, widths=(), num_outputs=2, scaling="maximal_update")
    params = numbers(config)
    np.testing.assert_allclose(deep.apply(params, np.ones(3), config), params.weights[0] @ np.ones(3) + params.biases[0])
    assert config.depth == 0
    assert deep.learning_rate_factors(config) == deep.Params((1.0,), (1.0,))


def test_the_gradient_in_a_bias_is_the_gradient_in_the_preactivation():
    """By hand: delta_l = phi'(h_l) W_{l+1}^T delta_{l+1}; a network of width 1 too."""
    for widths in ((4, 4, 4, 4), (1, 1)):
        config = Config(dim=4, widths=widths, num_outputs=1)
        params, x = numbers(config), np.linspace(-1, 1, 4)
        output = lambda b, p=params, x=x, c=config: deep.apply(p._replace(biases=b), x, c)[0]  # noqa: E731
        found = jax.jit(jax.grad(output))(params.biases)
        h, delta = by_hand(params, x, np.tanh, [1] * (len(widths) + 1)), np.ones(1)
        for layer in range(len(widths), -1, -1):
            np.testing.assert_allclose(found[layer], delta, rtol=1e-10)
            delta = np.asarray(params.weights[layer]).T @ delta
            if layer:
                delta = delta / np.cosh(h[layer - 1]) ** 2


@pytest.mark.parametrize("scaling", SCALINGS)
def test_start_and_learning_rates(scaling):
    """Deviations of weights and factors of learning rates, of widths that differ."""
    config = Config(dim=40, widths=(60, 80), num_outputs=1, weight_variance=4.0, bias_variance=9.0, scaling=scaling)
    params = jax.jit(deep.init, static_argnums=1)(jax.random.key(0), config)
    assert [weight.shape for weight in params.weights] == [(60, 40), (80, 60), (1, 80)]
    by_fan_in = {"standard": (True, True, True)}.get(scaling, (True, False, False))
    for weight, divided in zip(params.weights, by_fan_in, strict=True):
        expected = 2 / math.sqrt(weight.shape[1]) if divided else 2.0
        assert abs(np.std(weight) / expected - 1) < 5 / math.sqrt(2 * weight.size)
    assert abs(np.std(np.concatenate(params.biases)) / 3 - 1) < 5 / math.sqrt(2 * 141)
    assert not np.allclose(params.weights[0][0, 0] * 40**0.5, params.weights[1][0, 0] * 60**0.5)
    factors = deep.learning_rate_factors(config)
    expected = {
        "standard": ((1, 1, 1), (1, 1, 1)),
        "mean_field": ((60, 60 * 80, 80), (60, 80, 1)),
        "maximal_update": ((60, 80, 80), (60, 80, 1)),
    }[scaling]
    assert (factors.weights, factors.biases) == expected


def test_one_hidden_layer_in_mean_field_scaling_is_maximal_update():
    networks = [Config(dim=3, widths=(7,), scaling=scaling) for scaling in SCALINGS[1:]]
    params = jax.jit(lambda key: [deep.init(key, network) for network in networks])(jax.random.key(1))
    jax.tree.map(np.testing.assert_array_equal, *params)
    assert deep.learning_rate_factors(networks[0]) == deep.learning_rate_factors(networks[1])
    assert deep.multipliers(params[0], networks[0]) == deep.multipliers(params[1], networks[1])


@pytest.mark.parametrize("name", ["identity", "relu", "gelu_erf", "tanh", "sin", "softplus"])
def test_activations_have_names(name):
    values = {"identity": 0.5, "relu": 0.5, "gelu_erf": 0.5 * scipy.special.ndtr(0.5), "tanh": math.tanh(0.5)}
    values |= {"sin": math.sin(0.5), "softplus": math.log1p(math.exp(0.5))}
    np.testing.assert_allclose(deep.activation_fn(name)(jnp.asarray(0.5)), values[name], rtol=1e-12)


@pytest.mark.parametrize("name", ["softmax", "relluu", "_relu", "sort", "float32", "add", "pi", ""])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match=f"activation must be identity, .*, got '{name}'"):
        Config(activation=name)


@pytest.mark.parametrize(
    ("change", "x", "message"),
    [
        (lambda p: p, np.ones(4), r"x must have the shape \(dim,\) with dim = 3, got \(4,\)"),
        (lambda p: p, np.ones((2, 3)), r"x must be one example of shape \(dim,\), got \(2, 3\)"),
        (
            lambda p: p._replace(biases=(*p.biases[:-1], jnp.ones(2))),
            np.ones(3),
            r"params.biases\[2\] must have the shape \(1,\)",
        ),
        (
            lambda p: p._replace(weights=(p.weights[0], jnp.ones((4, 5)), p.weights[2])),
            np.ones(3),
            r"params.weights\[1\] must have 4",
        ),
    ],
)
def test_what_does_not_fit_is_refused(change, x, message):
    params = numbers(Config(dim=3, widths=(4, 4)))
    with pytest.raises(ValueError, match=message):
        deep.apply(change(params), x)
